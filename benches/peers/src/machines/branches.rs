//! Hand-written: the status, the status that a cancel would lead to, and branches.

use std::mem;

use crate::payload::Payloads;
use crate::{Family, Kind, Machine, Status};

pub struct Branches;

impl Family for Branches {
    type Machine<T> = Task<T>;
    const NAME: &'static str = "hand-written, status and target, branches";
    const KIND: Kind = Kind::Hand;
    const SUPPLIES: &'static str = "everything";
}

pub struct Task<T> {
    status: Status,
    /// Where a cancel leads: `Cancelled` exactly while the task is not updating.
    target: Status,
    payloads: Payloads<T>,
}

impl<T> Task<T> {
    #[inline]
    fn is_update(&self) -> bool {
        self.target != Status::Cancelled
    }
}

impl<T> Machine<T> for Task<T> {
    type Refusal = Status;

    #[inline]
    fn new(payload: T) -> Self {
        Self {
            status: Status::Starting,
            target: Status::Cancelled,
            payloads: Payloads::new(payload),
        }
    }

    #[inline]
    fn start(&mut self) -> bool {
        if self.status != Status::Starting {
            return false;
        }
        self.status = Status::Processing;
        true
    }

    #[inline]
    fn succeed(&mut self) -> bool {
        if self.status != Status::Processing {
            return false;
        }
        if self.is_update() {
            self.payloads.settle();
            self.target = Status::Cancelled;
        }
        self.status = Status::Succeeded;
        true
    }

    #[inline]
    fn fail(&mut self) -> bool {
        if self.status != Status::Processing {
            return false;
        }
        self.status = if self.is_update() {
            self.payloads.revert();
            self.target
        } else {
            Status::Failed
        };
        self.target = Status::Cancelled;
        true
    }

    #[inline]
    fn update(&mut self, payload: T) -> bool {
        if !matches!(self.status, Status::Succeeded | Status::Failed) {
            return false;
        }
        self.target = self.status;
        self.status = Status::Starting;
        self.payloads.update(payload);
        true
    }

    #[inline]
    fn cancel(&mut self) -> Result<(), Status> {
        if self.status != Status::Starting {
            return Err(self.status);
        }
        self.status = mem::replace(&mut self.target, Status::Cancelled);
        if self.status != Status::Cancelled {
            self.payloads.revert();
        }
        Ok(())
    }

    #[inline]
    fn status(&self) -> Status {
        self.status
    }

    #[inline]
    fn payload(&self) -> &T {
        self.payloads.current(self.is_update())
    }
}
