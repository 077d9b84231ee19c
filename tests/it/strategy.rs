//! The exported strategies make what they say, and shrink to what a reader wants to see.

use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::{Config, TestError, TestRunner};
use task_lifecycle::strategy::{self, Aim};
use task_lifecycle::{Event, Operation, Revision, Run, State, Status, Task};

fn sample<S: Strategy>(strategy: S) -> Vec<S::Value> {
    let mut runner = TestRunner::deterministic();
    (0..500).map(|_| strategy.new_tree(&mut runner).unwrap().current()).collect()
}

#[test]
fn everything_is_reached() {
    fn reaches<T>(values: &[T], percent: usize, what: impl Fn(&T) -> bool) {
        let hits = values.iter().filter(|value| what(value)).count();
        assert!(hits * 100 >= values.len() * percent, "{hits} of {}", values.len());
    }
    let asked = strategy::state().prop_flat_map(|it| (Just(it), strategy::task_in(it, "[a-z]*")));
    assert!(sample(asked).iter().all(|(state, task)| *state == task.state()));
    let stored = sample((strategy::snapshot(any::<u8>()), strategy::broken_snapshot(any::<u8>())));
    for (whole, broken) in stored {
        assert!(Task::try_from(whole).is_ok() && Task::try_from(broken).is_err());
    }
    let values = sample(any::<(Task<u8>, State, Operation, Event<u8>, Status, (Revision, Run))>());
    for state in State::ALL {
        reaches(&values, 5, |it| it.0.state() == *state);
        reaches(&values, 5, |it| it.1 == *state);
    }
    for operation in Operation::ALL {
        reaches(&values, 5, |it| it.2 == *operation);
        let is_event = if *operation == Operation::Delete { 0 } else { 5 };
        reaches(&values, is_event, |it| it.3.operation() == *operation);
    }
    reaches(&values, 5, |it| it.4 == Status::Cancelled);
    reaches(&values, 5, |it| it.5.0.get() > u64::MAX - 4);
    reaches(&values, 5, |it| it.5.1.get() > u64::MAX - 4);
    let drafts = sample(strategy::draft(any::<u8>()));
    reaches(&drafts, 10, |draft| draft.loaded() != draft.revision());
    reaches(&drafts, 3, |draft| draft.queued().is_some());
}

#[test]
fn a_history_is_as_it_was_aimed() {
    let states = State::ALL.iter().filter(|state| state.status() != Status::Cancelled);
    let aims = [Aim::Legal, Aim::Racing, Aim::Updating];
    for (from, aim) in states.flat_map(|&state| aims.map(|aim| (state, aim))) {
        let (mut accepted, mut events) = (0, 0);
        for history in sample(strategy::history(from, aim, 8..=8, 0..100_u32)) {
            assert!((8..=10).contains(&history.len()));
            events += history.len();
            let last = history.iter().fold(from, |state, event| {
                let next = state.apply(event.operation()).ok().flatten();
                accepted += usize::from(next.is_some());
                next.unwrap_or(state)
            });
            assert!(aim != Aim::Updating || last.is_update(), "{history:?}");
        }
        let range = if aim == Aim::Racing { 5..50 } else { 45..95 };
        assert!(
            range.contains(&(accepted * 100 / events)),
            "{accepted} of {events}, {aim:?} {from}"
        );
    }
}

/// Of histories of up to thirty events in which a revert happens, one of a few is shown; three are
/// the fewest.
#[test]
fn a_history_shrinks_to_the_shortest() {
    let config = Config { failure_persistence: None, ..Config::default() };
    let histories = strategy::history(State::NEW, Aim::Legal, 0..30, 0..100_u32);
    let found = TestRunner::new(config).run(&histories, |events| {
        let mut task = Task::new(0);
        let reverted = |event| task.apply(event).is_ok_and(|done| done.reverted());
        prop_assert!(!events.into_iter().any(reverted));
        Ok(())
    });
    let Err(TestError::Fail(_, events)) = found else { panic!("a revert happens: {found:?}") };
    assert!(events.len() <= 8, "{events:?}");
}
