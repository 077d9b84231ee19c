//! fsmentry: a graph whose states hold data. A step that a state does not have cannot be written,
//! so that the wrapper decides what is refused.

use task_lifecycle::{Operation, Status};

use crate::task::Parts;
use crate::wrapped::Decider;
pub use machine::Machine;
use machine::MachineEntry::{Failed, Processing, Starting, Succeeded};

/// What a run would revert to.
#[derive(Clone, Copy, PartialEq)]
pub enum Origin {
    New,
    Succeeded,
    Failed,
}

mod machine {
    use super::Origin;

    fsmentry::fsmentry! {
        #[derive(Clone, Copy)]
        // Without a check on every step that the entry belongs to the state. Nothing here makes
        // one by hand.
        #[fsmentry(unsafe(true))]
        pub enum Machine {
            Starting(Origin) -> Processing(Origin) -> Starting,
            Starting -> Cancelled,
            Starting & Processing -> Succeeded,
            Starting & Processing -> Failed,
            Succeeded & Failed -> Starting,
        }
    }
}

impl Parts for Machine {
    fn parts(self) -> (Status, Option<Status>) {
        let previous = |origin| match origin {
            Origin::New => None,
            Origin::Succeeded => Some(Status::Succeeded),
            Origin::Failed => Some(Status::Failed),
        };
        match self {
            Machine::Starting(origin) => (Status::Starting, previous(origin)),
            Machine::Processing(origin) => (Status::Processing, previous(origin)),
            Machine::Succeeded => (Status::Succeeded, None),
            Machine::Failed => (Status::Failed, None),
            Machine::Cancelled => (Status::Cancelled, None),
        }
    }
}

impl Decider for Machine {
    const NAME: &'static str = "fsmentry";
    type State = Machine;

    fn new() -> Self {
        Machine::Starting(Origin::New)
    }

    fn state(&self) -> Machine {
        *self
    }

    fn step(&mut self, operation: Operation) -> bool {
        match (operation, self.entry()) {
            (Operation::Start, Starting(to)) => {
                let origin = *to.as_ref();
                to.processing(origin);
            }
            (Operation::Retry, Processing(to)) => {
                let origin = *to.as_ref();
                to.starting(origin);
            }
            (Operation::Succeed, Processing(to)) => {
                to.succeeded();
            }
            (Operation::Fail, Processing(to)) => {
                match to.as_ref() {
                    Origin::New | Origin::Failed => to.failed(),
                    Origin::Succeeded => to.succeeded(),
                };
            }
            (Operation::Fail, Starting(to)) => {
                match to.as_ref() {
                    Origin::New | Origin::Failed => to.failed(),
                    Origin::Succeeded => to.succeeded(),
                };
            }
            (Operation::Cancel, Starting(to)) => {
                match to.as_ref() {
                    Origin::New => to.cancelled(),
                    Origin::Succeeded => to.succeeded(),
                    Origin::Failed => to.failed(),
                };
            }
            (Operation::Update, Succeeded(to)) => to.starting(Origin::Succeeded),
            (Operation::Update, Failed(to)) => to.starting(Origin::Failed),
            _ => return false,
        }
        true
    }
}
