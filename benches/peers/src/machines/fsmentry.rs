//! fsmentry: a graph whose states hold data. A step that a state does not have cannot be written,
//! so that the wrapper decides what is refused.

use crate::machines::{Beside, Decider};
use crate::{Family, Kind, Status, Step};
use machine::{Machine, MachineEntry};

pub struct Fsmentry;

impl Family for Fsmentry {
    type Machine<T> = Beside<Machine, T>;
    const NAME: &'static str = "fsmentry";
    const KIND: Kind = Kind::Peer;
    const SUPPLIES: &'static str = "payloads, refusal, error";
}

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
            Starting(Origin) -> Processing(Origin),
            Starting -> Cancelled,
            Starting & Processing -> Succeeded,
            Starting & Processing -> Failed,
            Succeeded & Failed -> Starting,
        }
    }
}

impl Decider for Machine {
    type State = Machine;

    #[inline]
    fn new() -> Self {
        Machine::Starting(Origin::New)
    }

    #[inline]
    fn state(&self) -> Machine {
        *self
    }

    #[inline]
    fn step(&mut self, step: Step) -> bool {
        match (step, self.entry()) {
            (Step::Start, MachineEntry::Starting(to)) => {
                let origin = *to.as_ref();
                to.processing(origin);
            }
            (Step::Succeed, MachineEntry::Processing(to)) => {
                to.succeeded();
            }
            (Step::Fail, MachineEntry::Processing(to)) => {
                match to.as_ref() {
                    Origin::New | Origin::Failed => to.failed(),
                    Origin::Succeeded => to.succeeded(),
                };
            }
            (Step::Update, MachineEntry::Succeeded(to)) => to.starting(Origin::Succeeded),
            (Step::Update, MachineEntry::Failed(to)) => to.starting(Origin::Failed),
            (Step::Cancel, MachineEntry::Starting(to)) => {
                match to.as_ref() {
                    Origin::New => to.cancelled(),
                    Origin::Succeeded => to.succeeded(),
                    Origin::Failed => to.failed(),
                };
            }
            _ => return false,
        }
        true
    }

    #[inline]
    fn is_update(state: Machine) -> bool {
        match state {
            Machine::Starting(origin) | Machine::Processing(origin) => origin != Origin::New,
            Machine::Succeeded | Machine::Failed | Machine::Cancelled => false,
        }
    }

    fn status(state: Machine) -> Status {
        match state {
            Machine::Starting(_) => Status::Starting,
            Machine::Processing(_) => Status::Processing,
            Machine::Succeeded => Status::Succeeded,
            Machine::Failed => Status::Failed,
            Machine::Cancelled => Status::Cancelled,
        }
    }
}
