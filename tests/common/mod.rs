//! Histories with edits, and a runner that fails a property which did not reach what it is about.

#![allow(dead_code, reason = "each test binary uses its part")]

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt::Debug;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;
use proptest::test_runner::{Config, TestCaseResult, TestRunner};
use task_lifecycle::strategy::{self, Aim};
use task_lifecycle::{Event, Operation, Task};

/// What was reached, by name, over all cases of a property.
#[derive(Default)]
pub(crate) struct Tally(RefCell<BTreeMap<&'static str, u32>>);

impl Tally {
    pub(crate) fn hit(&self, what: &'static str) {
        *self.0.borrow_mut().entry(what).or_default() += 1;
    }
}

/// Runs a property, and then asks that each `(what, percent)` was hit at least so often per
/// hundred cases.
pub(crate) fn check<S: Strategy>(
    strategy: S,
    floors: &[(&'static str, u32)],
    property: impl Fn(S::Value, &Tally) -> TestCaseResult,
) where
    S::Value: Debug,
{
    let config = Config { failure_persistence: None, ..Config::default() };
    let cases = config.cases;
    let tally = Tally::default();
    if let Err(fault) = TestRunner::new(config).run(&strategy, |value| property(value, &tally)) {
        panic!("{fault}");
    }
    for &(what, percent) in floors {
        let hits = tally.0.borrow().get(what).copied().unwrap_or(0);
        assert!(
            u64::from(hits) * 100 >= u64::from(cases) * u64::from(percent),
            "{what}: reached {hits} times in {cases} cases, which is under {percent} %"
        );
    }
}

/// One change of a task.
#[derive(Clone, Debug)]
pub(crate) enum Step<T> {
    Apply(Event<T>),
    Edit(T),
}

impl<T> Step<T> {
    /// The same step with another payload.
    pub(crate) fn map<U>(self, payload: impl FnOnce(T) -> U) -> Step<U> {
        match self {
            Self::Edit(value) => Step::Edit(payload(value)),
            Self::Apply(Event::Start) => Step::Apply(Event::Start),
            Self::Apply(Event::Retry) => Step::Apply(Event::Retry),
            Self::Apply(Event::Succeed) => Step::Apply(Event::Succeed),
            Self::Apply(Event::Fail) => Step::Apply(Event::Fail),
            Self::Apply(Event::Cancel) => Step::Apply(Event::Cancel),
            Self::Apply(Event::Update(value)) => Step::Apply(Event::Update(payload(value))),
        }
    }
}

/// A task in any state, and what happens to it, edits among it.
pub(crate) fn history(longest: usize) -> impl Strategy<Value = (Task<u32>, Vec<Step<u32>>)> {
    let edits = vec((any::<Index>(), 2000..3000_u32), 0..3);
    let history = strategy::task(0..2000_u32).prop_flat_map(move |task| {
        let events = strategy::history(task.state(), Aim::Legal, 0..=longest, 2000..3000_u32);
        (Just(task), events)
    });
    (history, edits).prop_map(|((task, events), edits)| {
        let mut steps: Vec<_> = events.into_iter().map(Step::Apply).collect();
        for (at, payload) in edits {
            steps.insert(at.index(steps.len() + 1), Step::Edit(payload));
        }
        (task, steps)
    })
}

/// Every event.
pub(crate) fn events<T: Clone>(payload: T) -> Vec<Event<T>> {
    let events = Operation::ALL.iter().map(|&op| Event::new(op, payload.clone()));
    events.flatten().collect()
}
