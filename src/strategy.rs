//! Strategies for [`proptest`], for the property tests of a program that embeds the crate. Feature
//! `proptest`.
//!
//! ```
//! use proptest::prelude::*;
//! use task_lifecycle::{State, Task, strategy};
//!
//! proptest!(|(mut task in strategy::task("[a-z]*"))| {
//!     if task.cancel().is_ok() {
//!         prop_assert!(task.status().is_completed());
//!     }
//! });
//!
//! let update = strategy::history(State::NEW, strategy::Aim::Updating, 0..12, 0..100_u32);
//! proptest!(|(events in update)| {
//!     let mut task = Task::new(0);
//!     for event in events {
//!         let _ = task.apply(event);
//!     }
//!     prop_assert!(task.fail().unwrap().reverted());
//! });
//! ```
//!
//! `Status`, `Operation`, `State`, `Revision`, `Run`, `Event<T>` and `Task<T>` also implement
//! [`Arbitrary`], so that `any::<Task<String>>()` is a task in any state.

use core::fmt::Debug;
use core::ops::RangeInclusive;
use std::vec::Vec;

use proptest::arbitrary::{Arbitrary, any, any_with};
use proptest::collection::{SizeRange, vec};
use proptest::option;
use proptest::prop_oneof;
use proptest::sample::select;
use proptest::strategy::{BoxedStrategy, Strategy};

use crate::{Draft, Event, Operation, Previous, Revision, Run, Snapshot, State, Status, Task};

/// Any status.
pub fn status() -> impl Strategy<Value = Status> + Clone {
    select(Status::ALL)
}

/// Any operation.
pub fn operation() -> impl Strategy<Value = Operation> + Clone {
    select(Operation::ALL)
}

/// Any of the nine states. Shrinks towards a new task's.
pub fn state() -> impl Strategy<Value = State> + Clone {
    select(State::ALL)
}

/// Any revision, the ends of the range more often than chance would have them.
pub fn revision() -> impl Strategy<Value = Revision> + Clone {
    counter().prop_map(Revision::new)
}

/// Any run, as [`revision`].
pub fn run() -> impl Strategy<Value = Run> + Clone {
    counter().prop_map(Run::new)
}

fn counter() -> impl Strategy<Value = u64> + Clone {
    const LAST: RangeInclusive<u64> = u64::MAX - 3..=u64::MAX;
    prop_oneof![6 => 0..100_u64, 1 => any::<u64>(), 1 => LAST]
}

/// Any event, an update with a payload of `payload`.
pub fn event<T: Debug>(payload: impl Strategy<Value = T>) -> impl Strategy<Value = Event<T>> {
    (operation(), payload).prop_filter_map("a delete is no event", |(operation, payload)| {
        Event::new(operation, payload)
    })
}

/// A task in any state, its payloads of `payload`.
pub fn task<T: Debug>(payload: impl Strategy<Value = T> + Clone) -> impl Strategy<Value = Task<T>> {
    state().prop_flat_map(move |state| task_in(state, payload.clone()))
}

/// A task in `state`, its payloads of `payload`.
pub fn task_in<T: Debug>(
    state: State,
    payload: impl Strategy<Value = T> + Clone,
) -> impl Strategy<Value = Task<T>> {
    let previous = payload.clone();
    (revision(), run(), payload, previous).prop_filter_map(
        "every state has a stored form",
        move |(revision, run, payload, previous)| {
            let previous = state.previous().map(|status| Previous { status, payload: previous });
            Task::try_from(Snapshot { status: state.status(), revision, run, payload, previous })
                .ok()
        },
    )
}

/// A task as it was loaded, of `payload`, and up to two events on it, accepted or refused.
pub fn draft<T: Debug>(
    payload: impl Strategy<Value = T> + Clone,
) -> impl Strategy<Value = Draft<T>> {
    (task(payload.clone()), vec(event(payload), 0..=2)).prop_map(|(task, events)| {
        let mut draft = Draft::new(task);
        for event in events {
            let _ = draft.apply(event);
        }
        draft
    })
}

/// The kind of history to make.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Aim {
    /// Three of four events are accepted.
    Legal,
    /// Any event at any time, as from clients and workers that know nothing of each other.
    Racing,
    /// As `Legal`, and in the end an update is under way.
    Updating,
}

/// Events for a task in state `from`, `length` of them (and up to two more for
/// [`Aim::Updating`]).
///
/// Shrinks towards the shortest history. A task that is cancelled before it started accepts no
/// further event; `Updating` steers clear of that, and needs a `from` that is not `Cancelled`.
pub fn history<T: Debug>(
    from: State,
    aim: Aim,
    length: impl Into<SizeRange>,
    payload: impl Strategy<Value = T> + Clone,
) -> impl Strategy<Value = Vec<Event<T>>> {
    // `None` is hardly ever drawn: it is there for shrinking, which can then leave an event out.
    let choice = option::weighted(0.999_999, (0..4_u8, 0..Operation::ALL.len(), payload.clone()));
    let choices = vec(choice, length);
    (choices, payload).prop_map(move |(choices, last)| {
        let mut state = from;
        let mut events = Vec::with_capacity(choices.len() + 2);
        for (luck, first, payload) in choices.into_iter().flatten() {
            let wanted = |operation: &Operation| match (aim, state.apply(*operation)) {
                (Aim::Racing, _) => true,
                (Aim::Updating, Ok(Some(next))) => next.status() != Status::Cancelled,
                (Aim::Legal | Aim::Updating, answer) => answer.is_ok() || luck == 3,
            };
            // The next that is wanted, and not one of those that are: so that what is left out in
            // shrinking does not change what follows.
            let turns =
                Operation::ALL.iter().copied().cycle().skip(first).take(Operation::ALL.len());
            let operation = turns
                .filter(|turn| *turn != Operation::Delete)
                .find(wanted)
                .unwrap_or(Operation::Start);
            if let Ok(Some(next)) = state.apply(operation) {
                state = next;
            }
            events.extend(Event::new(operation, payload));
        }
        if aim == Aim::Updating && !state.is_update() {
            if state.status().is_active() {
                events.push(Event::Fail);
            }
            events.push(Event::Update(last));
        }
        events
    })
}

/// A stored form that is a task.
pub fn snapshot<T: Debug>(
    payload: impl Strategy<Value = T> + Clone,
) -> impl Strategy<Value = Snapshot<T>> {
    task(payload).prop_map(Snapshot::from)
}

/// A stored form that no task has.
pub fn broken_snapshot<T: Debug>(
    payload: impl Strategy<Value = T> + Clone,
) -> impl Strategy<Value = Snapshot<T>> {
    let pairs = Status::ALL.iter().flat_map(|&now| Status::ALL.iter().map(move |&old| (now, old)));
    let faults = pairs.filter(|&(now, old)| State::from_parts(now, Some(old)).is_err());
    let payloads = (payload.clone(), payload);
    (select(faults.collect::<Vec<_>>()), revision(), run(), payloads).prop_map(
        |((status, old), revision, run, (payload, previous))| {
            let previous = Some(Previous { status: old, payload: previous });
            Snapshot { status, revision, run, payload, previous }
        },
    )
}

macro_rules! arbitrary {
    ($($Type:ident: $strategy:ident),*) => {$(
        impl Arbitrary for $Type {
            type Parameters = ();
            type Strategy = BoxedStrategy<Self>;

            fn arbitrary_with((): ()) -> Self::Strategy {
                $strategy().boxed()
            }
        }
    )*};
}

arbitrary!(Status: status, Operation: operation, State: state, Revision: revision, Run: run);

impl<T: Arbitrary + 'static> Arbitrary for Event<T> {
    type Parameters = T::Parameters;
    type Strategy = BoxedStrategy<Self>;

    fn arbitrary_with(parameters: Self::Parameters) -> Self::Strategy {
        event(any_with::<T>(parameters)).boxed()
    }
}

impl<T: Arbitrary<Strategy: Clone> + 'static> Arbitrary for Task<T> {
    type Parameters = T::Parameters;
    type Strategy = BoxedStrategy<Self>;

    fn arbitrary_with(parameters: Self::Parameters) -> Self::Strategy {
        task(any_with::<T>(parameters)).boxed()
    }
}
