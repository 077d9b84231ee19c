//! The exported strategies make what they say, and shrink to what a reader wants to see.

use proptest::prelude::*;
use proptest::test_runner::{Config, TestError, TestRunner};
use task_lifecycle::strategy::{self, Aim};
use task_lifecycle::{Event, Operation, Revision, Run, State, Status, Task};

use crate::common::check;

#[test]
fn everything_is_reached() {
    let states = strategy::state()
        .prop_flat_map(|state| (Just(state), strategy::task_in(state, any::<String>())));
    let values = any::<(Task<u8>, Operation, State, Event<u8>, Status, Revision, Run)>();
    let stored = (strategy::snapshot(any::<u8>()), strategy::broken_snapshot(any::<u8>()));
    let floors =
        ["task", "operation", "state", "event", "status", "revision", "run", "changed", "queued"]
            .map(|what| (what, 4));
    check(
        (states, values, stored, strategy::draft(any::<u8>())),
        &floors,
        |((asked, made), values, (whole, broken), draft), tally| {
            prop_assert_eq!(asked, made.state());
            prop_assert!(Task::try_from(whole).is_ok() && Task::try_from(broken).is_err());
            let (task, operation, state, event, status, revision, run) = values;
            for (is_hit, what) in [
                (task.is_update(), "task"),
                (operation == Operation::Delete, "operation"),
                (state.status() == Status::Cancelled, "state"),
                (event.operation() == Operation::Update, "event"),
                (status == Status::Failed, "status"),
                (revision.get() > u64::MAX - 4, "revision"),
                (run.get() > u64::MAX - 4, "run"),
                (draft.loaded() != draft.revision(), "changed"),
                (draft.queued().is_some(), "queued"),
            ] {
                if is_hit {
                    tally.hit(what);
                }
            }
            Ok(())
        },
    );
}

#[test]
fn a_history_is_as_it_was_aimed() {
    let aims = prop::sample::select(&[Aim::Legal, Aim::Racing, Aim::Updating][..]);
    let states = strategy::state()
        .prop_filter("it accepts an event", |state| state.status() != Status::Cancelled);
    let histories = (aims, states).prop_flat_map(|(aim, from)| {
        (Just((aim, from)), strategy::history(from, aim, 8..=8, 0..100_u32))
    });
    let floors = [
        ("Legal, accepted", 120),
        ("Legal, refused", 20),
        ("Racing, refused", 50),
        ("Updating", 20),
    ];
    check(histories, &floors, |((aim, from), events), tally| {
        let mut state = from;
        for event in &events {
            let answer = state.apply(event.operation());
            state = answer.ok().flatten().unwrap_or(state);
            match (aim, answer.is_ok()) {
                (Aim::Legal, true) => tally.hit("Legal, accepted"),
                (Aim::Legal, false) => tally.hit("Legal, refused"),
                (Aim::Racing, false) => tally.hit("Racing, refused"),
                (Aim::Racing, true) | (Aim::Updating, _) => {}
            }
        }
        if aim == Aim::Updating {
            tally.hit("Updating");
            prop_assert!(state.is_update());
        }
        prop_assert!((8..=10).contains(&events.len()));
        Ok(())
    });
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
