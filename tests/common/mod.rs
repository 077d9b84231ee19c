//! Strategies, and a runner that fails a property which did not reach what it is about.

#![allow(dead_code, reason = "each test binary uses its part")]

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt::Debug;

use proptest::prelude::*;
use proptest::sample::{Index, select};
use proptest::test_runner::{Config, TestCaseResult, TestRunner};
use task_lifecycle::{Event, Operation, Previous, Snapshot, State, Status, Task};

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
    let config = Config {
        failure_persistence: None,
        ..Config::default()
    };
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

pub(crate) fn state() -> impl Strategy<Value = State> {
    select(State::ALL)
}

pub(crate) fn operation() -> impl Strategy<Value = Operation> {
    select(Operation::ALL)
}

pub(crate) fn status() -> impl Strategy<Value = Status> {
    select(Status::ALL)
}

/// Any revision, the ends of the range among them.
pub(crate) fn revision() -> impl Strategy<Value = u64> {
    prop_oneof![6 => 0..100_u64, 1 => any::<u64>(), 1 => u64::MAX - 3..=u64::MAX]
}

/// A task in `state`, with payloads that differ.
pub(crate) fn task_in(state: State) -> impl Strategy<Value = Task<u32>> {
    (revision(), 0..1000_u32, 1000..2000_u32).prop_map(move |(revision, payload, old)| {
        let previous = state.previous().map(|status| Previous {
            status,
            payload: old,
        });
        let snapshot = Snapshot {
            status: state.status(),
            revision,
            payload,
            previous,
        };
        Task::try_from(snapshot).expect("a state has a stored form")
    })
}

pub(crate) fn task() -> impl Strategy<Value = Task<u32>> {
    state().prop_flat_map(task_in)
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

/// A task and what happens to it: three of four operations are ones that it accepts.
pub(crate) fn history(longest: usize) -> impl Strategy<Value = (Task<u32>, Vec<Step<u32>>)> {
    let picks = prop::collection::vec((0..8_u8, any::<Index>(), 2000..3000_u32), 0..=longest);
    (task(), picks).prop_map(|(task, picks)| {
        let mut state = task.state();
        let steps = picks.into_iter().map(|(kind, index, payload)| {
            if kind == 7 {
                return Step::Edit(payload);
            }
            let mut events = events(payload);
            if kind >= 2 {
                events.retain(|event| state.apply(event.operation()).is_ok());
            }
            // A cancelled task accepts no event at all.
            let Some(event) = events.get(index.index(events.len().max(1))) else {
                return Step::Apply(Event::Update(payload));
            };
            if let Ok(Some(next)) = state.apply(event.operation()) {
                state = next;
            }
            Step::Apply(event.clone())
        });
        let steps = steps.collect();
        (task, steps)
    })
}

/// Every event.
pub(crate) fn events<T>(payload: T) -> Vec<Event<T>> {
    vec![
        Event::Start,
        Event::Retry,
        Event::Succeed,
        Event::Fail,
        Event::Cancel,
        Event::Update(payload),
    ]
}
