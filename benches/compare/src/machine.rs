//! The work that every implementation does, and the wrapper of those that only decide.

use std::{fmt, mem};

use task_lifecycle::{Event, Operation, Released, State, Task, Transition, TransitionError};

/// A task, as an implementation best expresses it.
pub trait Machine<T>: Sized {
    /// One of the nine; `StartingAfterSucceeded` by its `Debug`.
    type State: Copy + fmt::Debug;
    type Record: Into<Record<Self::State, T>>;
    type Refused: fmt::Debug;

    fn new(payload: T) -> Self;
    /// The event comes from a closure, so that there is a function of its own for each operation.
    fn apply(&mut self, event: impl FnOnce() -> Event<T>) -> Answer<Self, T>;
}

pub type Answer<M, T> = Result<<M as Machine<T>>::Record, <M as Machine<T>>::Refused>;

/// A task in a program's own store: a small function lies before each operation.
pub struct Stored<M>(M);

impl<M: Machine<T>, T> Machine<T> for Stored<M> {
    type State = M::State;
    type Record = M::Record;
    type Refused = M::Refused;

    fn new(payload: T) -> Self {
        Self(M::new(payload))
    }

    #[inline]
    fn apply(&mut self, event: impl FnOnce() -> Event<T>) -> Answer<M, T> {
        self.0.apply(event)
    }
}

/// The record of an accepted operation, in the layout of the crate's, which is the fastest for all.
#[derive(Debug)]
#[repr(C)]
pub struct Record<S, T> {
    pub operation: Operation,
    pub from: S,
    pub to: S,
    pub revision: u64,
    pub run: u64,
    pub released: Released<T>,
}

/// The refusal of an operation.
#[derive(Debug)]
#[expect(dead_code, reason = "it is written for its reader")]
pub struct Refused<S> {
    operation: Operation,
    state: S,
}

impl<S> Refused<S> {
    #[cold]
    pub fn new(operation: Operation, state: S) -> Self {
        Self { operation, state }
    }
}

impl<T> Machine<T> for Task<T> {
    type State = State;
    type Record = Transition<T>;
    type Refused = TransitionError;

    fn new(payload: T) -> Self {
        Self::new(payload)
    }

    // The methods and not the crate's own dispatcher, for they are what a program calls.
    #[inline(always)]
    fn apply(&mut self, event: impl FnOnce() -> Event<T>) -> Answer<Self, T> {
        match event() {
            Event::Start => self.start(),
            Event::Retry => self.retry(),
            Event::Succeed => self.succeed(),
            Event::Fail => self.fail(),
            Event::Cancel => self.cancel(),
            Event::Update(payload) => self.update(payload),
        }
    }
}

impl<T> From<Transition<T>> for Record<State, T> {
    fn from(done: Transition<T>) -> Self {
        let Transition { operation, from, to, revision, run, released, .. } = done;
        Self { revision: revision.get(), run: run.get(), released, operation, from, to }
    }
}

/// A machine of nine states, without payloads and counters.
pub trait Decider {
    type State: Copy + fmt::Debug;

    fn new() -> Self;
    fn state(&self) -> Self::State;
    fn is_update(state: Self::State) -> bool;
    /// Takes the step, or returns false.
    fn step(&mut self, operation: Operation) -> bool;
}

/// A [`Decider`] with what it lacks: payloads, the update beside the base; counters, record, error.
#[repr(C)]
pub struct Wrapped<D, T> {
    decider: D,
    revision: u64,
    run: u64,
    base: T,
    update: Option<T>,
}

impl<D: Decider, T> Machine<T> for Wrapped<D, T> {
    type State = D::State;
    type Record = Record<D::State, T>;
    type Refused = Refused<D::State>;

    fn new(payload: T) -> Self {
        Self { decider: D::new(), revision: 0, run: 0, base: payload, update: None }
    }

    #[inline(always)]
    fn apply(&mut self, event: impl FnOnce() -> Event<T>) -> Answer<Self, T> {
        let event = event();
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
        let record = |released| Ok(Record { operation, from, to, revision, run, released });
        if let Event::Update(payload) = event {
            mem::forget(self.update.replace(payload)); // None was there
            return record(Released::Nothing);
        }
        // The state tells before the payload's tag is looked at.
        if matches!(operation, Operation::Start | Operation::Retry) || !D::is_update(from) {
            return record(Released::Nothing);
        }
        let Some(update) = self.update.take() else { return record(Released::Nothing) };
        if operation == Operation::Succeed {
            return record(Released::Previous(mem::replace(&mut self.base, update)));
        }
        record(Released::Update(update))
    }
}
