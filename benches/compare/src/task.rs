//! The work that every implementation does, and the words in which it answers.

use task_lifecycle::{
    Event, Operation, Released, State, Status, Task, Transition, TransitionError,
};

/// A task, as an implementation best expresses it.
pub trait Machine<T>: Sized {
    type State: Parts;
    type Record: Into<Record<Self::State, T>>;
    type Refused: Refusal;

    fn new(payload: T) -> Self;
    fn apply(&mut self, event: Event<T>) -> Result<Self::Record, Self::Refused>;
    #[inline(always)]
    fn update(&mut self, payload: T) -> Result<Self::Record, Self::Refused> {
        self.apply(Event::Update(payload))
    }
    fn payload(&self) -> &T;
}

/// One implementation, for every payload.
pub trait Family {
    type Task<T>: Machine<T>;
    const NAME: &'static str;
    const KIND: Kind;
}

#[derive(Clone, Copy, PartialEq)]
pub enum Kind {
    Ours,
    Hand,
    Obvious,
    Peer,
}

/// One of the nine states: its status, and what it would revert to.
pub trait Parts: Copy {
    fn parts(self) -> (Status, Option<Status>);
}

/// For an enum of the nine states. With braces, because statig's states have them; those of the
/// others do not mind.
macro_rules! nine_states {
    ($State:ident) => {
        impl $crate::task::Parts for $State {
            #[rustfmt::skip]
            fn parts(self) -> (task_lifecycle::Status, Option<task_lifecycle::Status>) {
                use task_lifecycle::Status::{Cancelled, Failed, Processing, Starting, Succeeded};
                match self {
                    $State::Starting {}                 => (Starting, None),
                    $State::Processing {}               => (Processing, None),
                    $State::Succeeded {}                => (Succeeded, None),
                    $State::Failed {}                   => (Failed, None),
                    $State::Cancelled {}                => (Cancelled, None),
                    $State::StartingAfterSucceeded {}   => (Starting, Some(Succeeded)),
                    $State::StartingAfterFailed {}      => (Starting, Some(Failed)),
                    $State::ProcessingAfterSucceeded {} => (Processing, Some(Succeeded)),
                    $State::ProcessingAfterFailed {}    => (Processing, Some(Failed)),
                }
            }
        }
    };
}
pub(crate) use nine_states;

/// What an accepted operation did, in the order that is fastest for most.
#[repr(C)]
pub struct Record<S, T> {
    pub revision: u64,
    pub run: u64,
    pub released: Released<T>,
    pub operation: Operation,
    pub from: S,
    pub to: S,
}

/// Why an operation was refused: names it and the status.
pub trait Refusal: Copy {
    fn parts(self) -> (Operation, Status);
}

#[derive(Clone, Copy)]
pub struct Refused<S> {
    operation: Operation,
    state: S,
}

impl<S> Refused<S> {
    #[cold]
    pub const fn new(operation: Operation, state: S) -> Self {
        Self { operation, state }
    }
}

impl<S: Parts> Refusal for Refused<S> {
    fn parts(self) -> (Operation, Status) {
        (self.operation, self.state.parts().0)
    }
}

/// The crate itself.
pub struct Ours;

impl Family for Ours {
    type Task<T> = Task<T>;
    const NAME: &'static str = "**task-lifecycle**";
    const KIND: Kind = Kind::Ours;
}

impl<T> Machine<T> for Task<T> {
    type State = State;
    type Record = Transition<T>;
    type Refused = TransitionError;

    fn new(payload: T) -> Self {
        Task::new(payload)
    }

    // The methods, and not the crate's own dispatcher, since they are what a program calls.
    #[inline(always)]
    fn apply(&mut self, event: Event<T>) -> Result<Transition<T>, TransitionError> {
        match event {
            Event::Start => self.start(),
            Event::Retry => self.retry(),
            Event::Succeed => self.succeed(),
            Event::Fail => self.fail(),
            Event::Cancel => self.cancel(),
            Event::Update(payload) => self.update(payload),
        }
    }

    fn update(&mut self, payload: T) -> Result<Transition<T>, TransitionError> {
        self.update(payload)
    }

    fn payload(&self) -> &T {
        self.payload()
    }
}

impl Parts for State {
    fn parts(self) -> (Status, Option<Status>) {
        (self.status(), self.previous())
    }
}

impl<T> From<Transition<T>> for Record<State, T> {
    fn from(done: Transition<T>) -> Self {
        let Transition { operation, from, to, revision, run, released, .. } = done;
        Self { revision, run, released, operation, from, to }
    }
}

impl Refusal for TransitionError {
    fn parts(self) -> (Operation, Status) {
        (self.operation(), self.status())
    }
}
