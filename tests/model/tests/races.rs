//! The protocol keeps its laws in every order of events, and each precaution is needed.

use std::thread;

use expect_test::expect_file;
use model::{Fault, Happened, Law, SMALL, Story, check, page, shortest_story};

#[test]
fn every_order_of_events_keeps_the_laws_and_every_fault_breaks_one() {
    let happened = Happened::default();
    let states = SMALL.map(|budget| check(budget, &happened).expect("every law holds"));
    assert!(states.iter().sum::<usize>() >= 1_000_000, "{states:?}");

    let broken: Vec<Law> = Fault::ALL.iter().map(|&(_, law, ..)| law).collect();
    assert!(Law::ALL.iter().all(|(law, _)| broken.contains(law)), "a law that no fault breaks");
    expect_file!["../../STORIES.md"].assert_eq(&page(states, &happened, &stories()));
}

#[test]
fn its_tags_name_laws_of_the_crate() {
    let tags = include_str!("../src/laws.rs")
        .lines()
        .filter_map(|line| line.trim().strip_prefix("// law: "));
    let is_law = |tag: &&str| include_str!("../../README.md").contains(&format!("- `{tag}`: "));
    assert!(
        tags.clone().count() >= 3 && tags.clone().all(|tag| is_law(&tag)),
        "{:?}",
        tags.collect::<Vec<_>>()
    );
}

fn stories() -> Vec<Story> {
    let told = |faults: &'static [_]| -> Vec<Story> {
        let stories = faults.iter().map(|&(fault, law, budget, _)| {
            shortest_story(fault, law, budget)
                .unwrap_or_else(|| panic!("{fault:?} breaks no {law:?}"))
        });
        stories.collect()
    };
    let (first, second) = Fault::ALL.split_at(Fault::ALL.len() / 2);
    let first = thread::spawn(move || told(first));
    let second = told(second);
    first.join().expect("every fault breaks its law").into_iter().chain(second).collect()
}
