//! The check that all implementations do the same work, before any is measured.

use std::cell::Cell;

use task_lifecycle::{Event, Operation, Released, Status};

use crate::payload::Payload;
use crate::task::{Family, Machine, Ours, Parts as _, Record, Refusal as _};

/// Sequences of so many, of all operations but `delete`.
const LENGTH: u32 = if cfg!(debug_assertions) { 6 } else { 7 };
const OPERATIONS: usize = Operation::ALL.len() - 1;

/// A payload that counts how many of it there are.
struct Counted(u64);

thread_local! {
    static ALIVE: Cell<usize> = const { Cell::new(0) };
}

impl Payload for Counted {
    const NAME: &'static str = "";
    fn make(number: u64) -> Self {
        ALIVE.set(ALIVE.get() + 1);
        Self(number)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        ALIVE.set(ALIVE.get() - 1);
    }
}

type State = (Status, Option<Status>);
type Done = (Operation, State, State, u64, u64, Released<u64>);
/// The answer, the task's payload, and how many there are.
type Seen = (Result<Done, (Operation, Status)>, u64, usize);

/// What is seen of each of `operations` on a new task.
fn play<F: Family>(operations: &[Operation]) -> Vec<Seen> {
    let mut task = F::Task::<Counted>::new(Counted::make(0));
    let one = |(number, operation): (u64, &Operation)| {
        let event = Event::new(*operation, Counted::make(number)).expect("no delete");
        let answer = match task.apply(event) {
            Ok(record) => {
                let Record { operation, from, to, revision, run, released } = record.into();
                let released = match released {
                    Released::Nothing => Released::Nothing,
                    Released::Previous(payload) => Released::Previous(payload.0),
                    Released::Update(payload) => Released::Update(payload.0),
                };
                Ok((operation, from.parts(), to.parts(), revision, run, released))
            }
            Err(refused) => Err(refused.parts()),
        };
        (answer, task.payload().0, ALIVE.get())
    };
    (1..).zip(operations).map(one).collect()
}

/// Plays every sequence, and compares it with the crate, which has tests of its own. That every
/// payload is in the task or was handed out is part of it.
///
/// # Errors
///
/// The implementation, the sequence and what was seen.
pub fn check<F: Family>() -> Result<(), String> {
    for sequence in 0..OPERATIONS.pow(LENGTH) {
        let at = |at| Operation::ALL[sequence / OPERATIONS.pow(at) % OPERATIONS];
        let operations: Vec<_> = (0..LENGTH).map(at).collect();
        let (seen, expected) = (play::<F>(&operations), play::<Ours>(&operations));
        if seen != expected || ALIVE.get() != 0 {
            return Err(format!("{}: {operations:?}: {seen:?}, not {expected:?}", F::NAME));
        }
    }
    Ok(())
}
