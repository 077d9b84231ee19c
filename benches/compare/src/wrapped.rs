//! The wrapper of whatever only decides: it keeps the payloads beside it, counts, and makes the
//! record and the error.

use std::mem;

use task_lifecycle::{Event, Operation, Released};

use crate::task::{Family, Kind, Machine, Parts, Record, Refused};

/// A machine of nine states, without payloads and counters.
pub trait Decider {
    const NAME: &'static str;
    const KIND: Kind = Kind::Peer;
    type State: Parts;
    fn new() -> Self;
    fn state(&self) -> Self::State;
    /// Takes the step, or returns false.
    fn step(&mut self, operation: Operation) -> bool;
}

/// The update is laid beside the base, so that a revert has nothing to move.
#[repr(C)]
pub struct Wrapped<D, T> {
    decider: D,
    revision: u64,
    run: u64,
    base: T,
    update: Option<T>,
}

/// A [`Decider`], wrapped for every payload.
pub struct Wrap<D>(D);

impl<D: Decider> Family for Wrap<D> {
    type Task<T> = Wrapped<D, T>;
    const NAME: &'static str = D::NAME;
    const KIND: Kind = D::KIND;
}

impl<D: Decider, T> Machine<T> for Wrapped<D, T> {
    type State = D::State;
    type Record = Record<D::State, T>;
    type Refused = Refused<D::State>;

    fn new(payload: T) -> Self {
        Self { decider: D::new(), revision: 0, run: 0, base: payload, update: None }
    }

    #[inline(always)]
    fn apply(&mut self, event: Event<T>) -> Result<Self::Record, Self::Refused> {
        let operation = event.operation();
        let from = self.decider.state();
        if !self.decider.step(operation) {
            return Err(Refused::new(operation, from));
        }
        self.revision = self.revision.wrapping_add(1);
        if matches!(operation, Operation::Retry | Operation::Update) {
            self.run = self.run.wrapping_add(1);
        }
        let (to, revision, run) = (self.decider.state(), self.revision, self.run);
        let record = |released| Ok(Record { revision, run, released, operation, from, to });
        if from.parts().1.is_none() {
            if let Event::Update(payload) = event {
                self.update = Some(payload);
            }
            return record(Released::Nothing);
        }
        match event {
            Event::Succeed => {
                let Some(update) = self.update.take() else {
                    return record(Released::Nothing);
                };
                record(Released::Previous(mem::replace(&mut self.base, update)))
            }
            Event::Fail | Event::Cancel => {
                let Some(update) = self.update.take() else {
                    return record(Released::Nothing);
                };
                record(Released::Update(update))
            }
            Event::Update(payload) => {
                self.update = Some(payload);
                record(Released::Nothing)
            }
            Event::Start | Event::Retry => record(Released::Nothing),
        }
    }

    fn payload(&self) -> &T {
        self.update.as_ref().unwrap_or(&self.base)
    }
}
