//! Hand-written: the state is the enum's tag, and an update lies inside its variant.

use std::mem;

use task_lifecycle::{Event, Operation, Released};

use crate::machines::byte::Byte;
use crate::task::{Family, Kind, Machine, Record, Refused};

pub struct Tag;

impl Family for Tag {
    type Task<T> = Task<T>;
    const NAME: &'static str = "by hand: state in the tag";
    const KIND: Kind = Kind::Hand;
}

pub struct Task<T> {
    revision: u64,
    run: u64,
    state: State<T>,
    base: T,
}

enum State<T> {
    Starting,
    Processing,
    Succeeded,
    Failed,
    Cancelled,
    StartingAfterSucceeded(T),
    StartingAfterFailed(T),
    ProcessingAfterSucceeded(T),
    ProcessingAfterFailed(T),
}

use State::{
    Cancelled, Failed, Processing, ProcessingAfterFailed, ProcessingAfterSucceeded, Starting,
    StartingAfterFailed, StartingAfterSucceeded, Succeeded,
};

impl<T> State<T> {
    fn byte(&self) -> Byte {
        match self {
            Starting => Byte::Starting,
            Processing => Byte::Processing,
            Succeeded => Byte::Succeeded,
            Failed => Byte::Failed,
            Cancelled => Byte::Cancelled,
            StartingAfterSucceeded(_) => Byte::StartingAfterSucceeded,
            StartingAfterFailed(_) => Byte::StartingAfterFailed,
            ProcessingAfterSucceeded(_) => Byte::ProcessingAfterSucceeded,
            ProcessingAfterFailed(_) => Byte::ProcessingAfterFailed,
        }
    }

    /// Becomes `next`, and gives the update that it held.
    fn replace(&mut self, next: Self) -> Option<T> {
        match mem::replace(self, next) {
            StartingAfterSucceeded(update)
            | StartingAfterFailed(update)
            | ProcessingAfterSucceeded(update)
            | ProcessingAfterFailed(update) => Some(update),
            Starting | Processing | Succeeded | Failed | Cancelled => None,
        }
    }
}

/// The record, in the order of the compiler's choice, which is faster here.
pub struct Done<T> {
    operation: Operation,
    from: Byte,
    to: Byte,
    revision: u64,
    run: u64,
    released: Released<T>,
}

impl<T> From<Done<T>> for Record<Byte, T> {
    fn from(Done { operation, from, to, revision, run, released }: Done<T>) -> Self {
        Self { revision, run, released, operation, from, to }
    }
}

impl<T> Machine<T> for Task<T> {
    type State = Byte;
    type Record = Done<T>;
    type Refused = Refused<Byte>;

    fn new(payload: T) -> Self {
        Self { revision: 0, run: 0, state: Starting, base: payload }
    }

    #[inline(always)]
    fn apply(&mut self, event: Event<T>) -> Result<Done<T>, Refused<Byte>> {
        let operation = event.operation();
        let from = self.state.byte();
        let mut released = Released::Nothing;
        let mut keep = |next: fn(T) -> State<T>| {
            if let Some(update) = self.state.replace(Starting) {
                self.state = next(update);
            }
        };
        match (event, from) {
            (Event::Start, Byte::Starting) => self.state = Processing,
            (Event::Start, Byte::StartingAfterSucceeded) => keep(ProcessingAfterSucceeded),
            (Event::Start, Byte::StartingAfterFailed) => keep(ProcessingAfterFailed),
            (Event::Retry, Byte::Processing) => self.state = Starting,
            (Event::Retry, Byte::ProcessingAfterSucceeded) => keep(StartingAfterSucceeded),
            (Event::Retry, Byte::ProcessingAfterFailed) => keep(StartingAfterFailed),
            (Event::Succeed, Byte::Processing) => self.state = Succeeded,
            (Event::Succeed, Byte::ProcessingAfterSucceeded | Byte::ProcessingAfterFailed) => {
                if let Some(update) = self.state.replace(Succeeded) {
                    released = Released::Previous(mem::replace(&mut self.base, update));
                }
            }
            (Event::Fail, Byte::Starting | Byte::Processing) => self.state = Failed,
            (Event::Cancel, Byte::Starting) => self.state = Cancelled,
            (Event::Fail, Byte::StartingAfterSucceeded | Byte::ProcessingAfterSucceeded)
            | (Event::Cancel, Byte::StartingAfterSucceeded) => {
                if let Some(update) = self.state.replace(Succeeded) {
                    released = Released::Update(update);
                }
            }
            (Event::Fail, Byte::StartingAfterFailed | Byte::ProcessingAfterFailed)
            | (Event::Cancel, Byte::StartingAfterFailed) => {
                if let Some(update) = self.state.replace(Failed) {
                    released = Released::Update(update);
                }
            }
            (Event::Update(payload), Byte::Succeeded) => {
                self.state = StartingAfterSucceeded(payload);
            }
            (Event::Update(payload), Byte::Failed) => self.state = StartingAfterFailed(payload),
            _ => return Err(Refused::new(operation, from)),
        }
        self.revision = self.revision.wrapping_add(1);
        if matches!(operation, Operation::Retry | Operation::Update) {
            self.run = self.run.wrapping_add(1);
        }
        let (to, revision, run) = (self.state.byte(), self.revision, self.run);
        Ok(Done { operation, from, to, revision, run, released })
    }

    fn payload(&self) -> &T {
        match &self.state {
            StartingAfterSucceeded(update)
            | StartingAfterFailed(update)
            | ProcessingAfterSucceeded(update)
            | ProcessingAfterFailed(update) => update,
            Starting | Processing | Succeeded | Failed | Cancelled => &self.base,
        }
    }
}
