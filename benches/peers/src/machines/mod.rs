//! The implementations, one a file.

use crate::payload::Payloads;
use crate::{Machine, Status, Step};

pub mod branches;
pub mod finny;
pub mod fsmentry;
pub mod obvious;
pub mod ours;
pub mod rust_fsm;
pub mod smlang;
pub mod statig;
pub mod table;

/// What a [`Decider`] tells of its states, which every peer has its own enum for.
///
/// With braces, because statig's states have them; those of the others do not mind.
macro_rules! nine_states {
    ($State:ident) => {
        #[inline]
        fn is_update(state: $State) -> bool {
            matches!(
                state,
                $State::StartingAfterSucceeded {}
                    | $State::StartingAfterFailed {}
                    | $State::ProcessingAfterSucceeded {}
                    | $State::ProcessingAfterFailed {}
            )
        }

        fn status(state: $State) -> $crate::Status {
            match state {
                $State::Starting {}
                | $State::StartingAfterSucceeded {}
                | $State::StartingAfterFailed {} => $crate::Status::Starting,
                $State::Processing {}
                | $State::ProcessingAfterSucceeded {}
                | $State::ProcessingAfterFailed {} => $crate::Status::Processing,
                $State::Succeeded {} => $crate::Status::Succeeded,
                $State::Failed {} => $crate::Status::Failed,
                $State::Cancelled {} => $crate::Status::Cancelled,
            }
        }
    };
}
use nine_states;

/// A machine without payloads, which has nine states to express a revert: the five statuses, then
/// `Starting` and `Processing` after `Succeeded` and after `Failed`.
pub trait Decider {
    type State: Copy;
    fn new() -> Self;
    fn state(&self) -> Self::State;
    /// Whether it was accepted.
    fn step(&mut self, step: Step) -> bool;
    fn is_update(state: Self::State) -> bool;
    fn status(state: Self::State) -> Status;
}

/// What a peer that knows no payloads is wrapped in: they are kept beside its machine.
pub struct Beside<D, T> {
    machine: D,
    payloads: Payloads<T>,
}

impl<D: Decider, T> Machine<T> for Beside<D, T> {
    type Refusal = D::State;

    #[inline]
    fn new(payload: T) -> Self {
        Self {
            machine: D::new(),
            payloads: Payloads::new(payload),
        }
    }

    #[inline]
    fn start(&mut self) -> bool {
        self.machine.step(Step::Start)
    }

    #[inline]
    fn succeed(&mut self) -> bool {
        let from = self.machine.state();
        if !self.machine.step(Step::Succeed) {
            return false;
        }
        if D::is_update(from) {
            self.payloads.settle();
        }
        true
    }

    #[inline]
    fn fail(&mut self) -> bool {
        let from = self.machine.state();
        if !self.machine.step(Step::Fail) {
            return false;
        }
        if D::is_update(from) {
            self.payloads.revert();
        }
        true
    }

    #[inline]
    fn update(&mut self, payload: T) -> bool {
        if !self.machine.step(Step::Update) {
            return false;
        }
        self.payloads.update(payload);
        true
    }

    #[inline]
    fn cancel(&mut self) -> Result<(), D::State> {
        let from = self.machine.state();
        if !self.machine.step(Step::Cancel) {
            return Err(from);
        }
        if D::is_update(from) {
            self.payloads.revert();
        }
        Ok(())
    }

    #[inline]
    fn status(&self) -> Status {
        D::status(self.machine.state())
    }

    #[inline]
    fn payload(&self) -> &T {
        self.payloads.current(D::is_update(self.machine.state()))
    }
}
