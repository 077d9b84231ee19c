//! The protocol keeps its laws in every order of events, and each precaution is needed.

use std::thread;

use expect_test::expect_file;
use model::{Fault, Happened, Law, SMALL, Story, check, page, shortest_story};

#[test]
fn every_order_of_events_keeps_the_laws_and_every_fault_breaks_one() {
    let happened = Happened::default();
    let verdicts = SMALL.map(|budget| check(budget, &happened));
    for verdict in &verdicts {
        assert!(verdict.broken.is_none(), "{:#?}", verdict.broken);
    }
    let states: usize = verdicts.iter().map(|verdict| verdict.states).sum();
    assert!(states >= 1_000_000, "{states}");

    for (law, _) in Law::ALL {
        let breaks = |&(_, broken, ..): &(Fault, Law, _, _)| broken == law;
        assert!(Fault::ALL.iter().any(breaks), "no fault breaks {law:?}");
    }
    let page = page(&verdicts, &happened, &stories());
    expect_file!["../STORIES.md"].assert_eq(&page);
}

fn stories() -> Vec<Story> {
    let (first, second) = Fault::ALL.split_at(Fault::ALL.len() / 2);
    thread::scope(|scope| {
        let halves = [first, second].map(|half| scope.spawn(|| half.iter().map(story).collect()));
        let halves = halves.map(|half| half.join().expect("each fault breaks its law"));
        halves.into_iter().flat_map(|half: Vec<Story>| half).collect()
    })
}

fn story(&(fault, law, budget, _): &(Fault, Law, model::Budget, &str)) -> Story {
    let story = shortest_story(fault, law, budget);
    story.unwrap_or_else(|| panic!("{fault:?} does not break {law:?}"))
}
