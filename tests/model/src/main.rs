//! With `--large`, visits the large budgets, and fails if a law is broken or the number of states
//! is not the one that is written down. Without, names what there is to run.

use std::process::ExitCode;

use model::{Happened, LARGE, check};

fn main() -> ExitCode {
    if !std::env::args().any(|arg| arg == "--large") {
        eprintln!("cargo test -p model: the small budgets, the faults and STORIES.md");
        eprintln!("cargo run --release -p model -- --large: the large budgets");
        return ExitCode::FAILURE;
    }
    let happened = Happened::default();
    let mut code = ExitCode::SUCCESS;
    for (budget, expected) in LARGE {
        let verdict = check(budget, &happened);
        println!("{budget:?}: {} states, expected {expected}", verdict.states);
        if let Some(story) = &verdict.broken {
            println!("{story:#?}");
        }
        if verdict.broken.is_some() || verdict.states != expected {
            code = ExitCode::FAILURE;
        }
    }
    code
}
