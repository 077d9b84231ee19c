//! The crate itself.

use crate::{Family, Kind, Machine, Status};
use task_lifecycle::{Task, TransitionError};

pub struct Ours;

impl Family for Ours {
    type Machine<T> = Task<T>;
    const NAME: &'static str = "**task-lifecycle**";
    const KIND: Kind = Kind::Ours;
    const SUPPLIES: &'static str = "";
}

impl<T> Machine<T> for Task<T> {
    type Refusal = TransitionError;

    #[inline]
    fn new(payload: T) -> Self {
        Task::new(payload)
    }

    #[inline]
    fn start(&mut self) -> bool {
        self.start().is_ok()
    }

    #[inline]
    fn succeed(&mut self) -> bool {
        self.succeed().is_ok()
    }

    #[inline]
    fn fail(&mut self) -> bool {
        self.fail().is_ok()
    }

    #[inline]
    fn update(&mut self, payload: T) -> bool {
        self.update(payload).is_ok()
    }

    #[inline]
    fn cancel(&mut self) -> Result<(), TransitionError> {
        self.cancel().map(drop)
    }

    #[inline]
    fn status(&self) -> Status {
        self.status()
    }

    #[inline]
    fn payload(&self) -> &T {
        self.payload()
    }
}
