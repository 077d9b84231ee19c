//! Hand-written: the status, and the status that a cancel would lead to.

use std::mem;

use task_lifecycle::{Operation, Status};

use crate::task::{Kind, Parts};
use crate::wrapped::Decider;

#[derive(Clone, Copy)]
pub struct Target {
    status: Status,
    /// Where a cancel leads: `Cancelled` exactly while the task is not updating.
    target: Status,
}

impl Parts for Target {
    fn parts(self) -> (Status, Option<Status>) {
        (self.status, (self.target != Status::Cancelled).then_some(self.target))
    }
}

impl Decider for Target {
    const NAME: &'static str = "by hand: status and target";
    const KIND: Kind = Kind::Hand;
    const ASKS_STATE: bool = false;
    type State = Self;

    fn new() -> Self {
        Self { status: Status::Starting, target: Status::Cancelled }
    }

    fn state(&self) -> Self {
        *self
    }

    fn step(&mut self, operation: Operation) -> bool {
        match (operation, self.status) {
            (Operation::Start, Status::Starting) => self.status = Status::Processing,
            (Operation::Retry, Status::Processing) => self.status = Status::Starting,
            (Operation::Succeed, Status::Processing) => {
                *self = Self { status: Status::Succeeded, target: Status::Cancelled };
            }
            (Operation::Cancel, Status::Starting) => {
                self.status = mem::replace(&mut self.target, Status::Cancelled);
            }
            (Operation::Fail, Status::Starting | Status::Processing) => {
                self.status = mem::replace(&mut self.target, Status::Cancelled);
                if self.status == Status::Cancelled {
                    self.status = Status::Failed;
                }
            }
            (Operation::Update, Status::Succeeded | Status::Failed) => {
                *self = Self { status: Status::Starting, target: self.status };
            }
            _ => return false,
        }
        true
    }
}
