//! The strategies make what they say, and shrink to what a reader wants to see.

mod common;

use std::cell::Cell;

use common::check;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestError, TestRunner};
use task_lifecycle::strategy::{self, Aim};
use task_lifecycle::{Event, Operation, State, Status, Task};

#[test]
fn a_task_is_in_the_state_that_was_asked_for() {
    let asked = strategy::state()
        .prop_flat_map(|state| (Just(state), strategy::task_in(state, any::<String>())));
    check(asked, &[("updating", 20)], |(state, task), tally| {
        prop_assert_eq!(task.state(), state);
        if state.is_update() {
            tally.hit("updating");
        }
        Ok(())
    });
}

#[test]
fn any_reaches_every_state_operation_and_event() {
    let floors =
        [("an update", 5), ("a delete", 5), ("Cancelled", 5), ("Update", 5), ("status", 5)];
    let any = any::<(Task<u8>, Operation, State, Event<u8>, Status)>();
    check(any, &floors, |(task, operation, state, event, status), tally| {
        let seen = [
            (task.is_update(), "an update"),
            (operation == Operation::Delete, "a delete"),
            (state.status() == Status::Cancelled, "Cancelled"),
            (event.operation() == Operation::Update, "Update"),
            (status == Status::Failed, "status"),
        ];
        for (_, what) in seen.into_iter().filter(|(hit, _)| *hit) {
            tally.hit(what);
        }
        Ok(())
    });
}

#[test]
fn a_history_is_as_it_was_aimed() {
    let aims = prop::sample::select(&[Aim::Legal, Aim::Racing, Aim::Updating][..]);
    let states = strategy::state()
        .prop_filter("it accepts an event", |state| state.status() != Status::Cancelled);
    let histories = (aims, states).prop_flat_map(|(aim, from)| {
        (Just((aim, from)), strategy::history(from, aim, 8..=8, 0..100_u32))
    });
    let floors = [("Legal, accepted", 100), ("Racing, refused", 50), ("Updating", 20)];
    let (legal, accepted) = (Cell::new(0), Cell::new(0));
    check(histories, &floors, |((aim, from), events), tally| {
        let mut state = from;
        for event in &events {
            let answer = state.apply(event.operation());
            state = answer.ok().flatten().unwrap_or(state);
            match (aim, answer.is_ok()) {
                (Aim::Legal, is_accepted) => {
                    legal.set(legal.get() + 1);
                    accepted.set(accepted.get() + i32::from(is_accepted));
                    if is_accepted {
                        tally.hit("Legal, accepted");
                    }
                }
                (Aim::Racing, false) => tally.hit("Racing, refused"),
                (Aim::Racing, true) | (Aim::Updating, _) => {}
            }
        }
        if aim == Aim::Updating {
            tally.hit("Updating");
            prop_assert!(state.is_update());
        } else {
            prop_assert!(events.len() <= 8);
        }
        Ok(())
    });
    // Three of four and more, but a task that was cancelled accepts nothing.
    let ratio = f64::from(accepted.get()) / f64::from(legal.get());
    assert!((0.6..0.95).contains(&ratio), "{ratio}");
}

#[test]
fn an_update_is_reached_from_nothing() {
    let of = |status| State::from_parts(status, None).unwrap();
    for (from, length) in [(State::NEW, 2), (of(Status::Processing), 2), (of(Status::Failed), 1)] {
        check(strategy::history(from, Aim::Updating, 0, 0..9_u8), &[], |events, _| {
            prop_assert_eq!(events.len(), length);
            Ok(())
        });
    }
}

#[test]
fn a_broken_snapshot_is_no_task() {
    check(strategy::broken_snapshot(any::<u8>()), &[], |broken, _| {
        prop_assert!(Task::try_from(broken).is_err());
        Ok(())
    });
    check(strategy::snapshot(any::<u8>()), &[], |snapshot, _| {
        prop_assert!(Task::try_from(snapshot).is_ok());
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
