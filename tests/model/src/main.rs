//! Visits the large budgets with `--large`, and fails if a law is broken or the number of states is
//! not the one that is written down.

use std::sync::Arc;

use model::{LARGE, check};

fn main() {
    assert!(std::env::args().any(|arg| arg == "--large"), "for the small budgets: cargo test");
    for (budget, expected) in LARGE {
        let states = check(budget, &Arc::default()).expect("every law holds");
        println!("{budget:?}: {states} states");
        assert_eq!(states, expected, "lib.rs and STORIES.md say otherwise");
    }
}
