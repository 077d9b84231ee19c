//! What several subjects need: a task in each state, every event, and properties with floors.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt::Debug;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestCaseResult, TestRunner};
use task_lifecycle::{Event, Operation, Revision, Run, Snapshot, State, Task};

use Operation::{Cancel, Fail, Start, Succeed, Update};

/// How a new task comes to be in each state, in the order of `State::ALL`.
pub(crate) const PATHS: [&[Operation]; 9] = [
    &[],
    &[Start],
    &[Start, Succeed],
    &[Start, Fail],
    &[Cancel],
    &[Start, Succeed, Update],
    &[Start, Fail, Update],
    &[Start, Succeed, Update, Start],
    &[Start, Fail, Update, Start],
];

/// A task in `state`, brought there by operations: `payload(0)`, and of an update `payload(1)`.
pub(crate) fn task_in<T>(state: State, payload: impl Fn(u32) -> T) -> Task<T> {
    let index = State::ALL.iter().position(|&listed| listed == state).expect("a state of ALL");
    let path = PATHS.get(index).expect("a new state needs a line in PATHS");
    path.iter().fold(Task::new(payload(0)), |mut task, &operation| {
        let event = Event::new(operation, payload(1)).expect("no path deletes");
        task.apply(event).expect("a path is accepted");
        task
    })
}

pub(crate) fn task_in_each_state<T>(payload: impl Fn(u32) -> T) -> impl Iterator<Item = Task<T>> {
    State::ALL.iter().map(move |&state| task_in(state, &payload))
}

/// The same task with other counters.
pub(crate) fn counted<T>(task: Task<T>, revision: u64, run: u64) -> Task<T> {
    let (revision, run) = (Revision::new(revision), Run::new(run));
    Snapshot { revision, run, ..task.into() }.try_into().expect("any counter goes with any state")
}

pub(crate) fn events<T: Clone>(payload: T) -> impl Iterator<Item = Event<T>> {
    Operation::ALL.iter().filter_map(move |&operation| Event::new(operation, payload.clone()))
}

/// How often each thing was reached, over all cases of a property.
#[derive(Default)]
pub(crate) struct Tally(RefCell<BTreeMap<&'static str, u32>>);

impl Tally {
    pub(crate) fn hit(&self, what: &'static str) {
        *self.0.borrow_mut().entry(what).or_default() += 1;
    }
}

/// Runs a property, and then asks that each `(what, percent)` was hit at least so often per
/// hundred cases.
pub(crate) fn check<S: Strategy<Value: Debug>>(
    strategy: S,
    floors: &[(&'static str, u32)],
    property: impl Fn(S::Value, &Tally) -> TestCaseResult,
) {
    let config = Config { failure_persistence: None, ..Config::default() };
    let (cases, tally) = (config.cases, Tally::default());
    if let Err(fault) = TestRunner::new(config).run(&strategy, |value| property(value, &tally)) {
        panic!("{fault}");
    }
    for &(what, percent) in floors {
        let hits = tally.0.borrow().get(what).copied().unwrap_or(0);
        let floor = u64::from(cases) * u64::from(percent) / 100;
        assert!(u64::from(hits) >= floor, "{what}: reached {hits} times in {cases} cases");
    }
}
