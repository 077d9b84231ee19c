//! The protocol keeps its laws in every order of events, and each precaution is needed.

use std::sync::Arc;
use std::thread;

use expect_test::expect_file;
use model::{Fault, Happened, Law, SMALL, check, page, shortest_story};

#[test]
fn every_order_of_events_keeps_the_laws_and_every_fault_breaks_one() {
    let happened = Arc::<Happened>::default();
    let states = SMALL.map(|budget| check(budget, &happened).expect("every law holds"));
    assert!(states.iter().sum::<usize>() >= 1_000_000, "{states:?}");

    let broken: Vec<Law> = Fault::ALL.iter().map(|fault| fault.row().0).collect();
    assert!(Law::ALL.iter().all(|law| broken.contains(law)), "a law that no fault breaks");
    let story = |&fault| shortest_story(fault).unwrap_or_else(|| panic!("{fault:?} is harmless"));
    let (first, second) = Fault::ALL.split_at(Fault::ALL.len() / 2);
    let stories = thread::scope(|scope| {
        let first = scope.spawn(|| first.iter().map(story).collect::<Vec<_>>());
        let second: Vec<_> = second.iter().map(story).collect();
        [first.join().unwrap(), second].concat()
    });
    expect_file!["../../STORIES.md"].assert_eq(&page(states, &happened, &stories));
}

#[test]
fn its_tags_name_laws_of_the_crate() {
    let lines = include_str!("../src/laws.rs").lines();
    let tags: Vec<_> = lines.filter_map(|line| line.trim().strip_prefix("// law: ")).collect();
    let is_law = |tag| include_str!("../../README.md").contains(&format!("\n- `{tag}`: "));
    assert!(tags.len() >= 3 && tags.iter().all(is_law), "{tags:?}");
}
