//! fsmentry: a graph of states. A step that a state does not have cannot be written, so that the
//! wrapper decides what is refused.

use task_lifecycle::Operation::{self, Cancel, Fail, Retry, Start, Succeed, Update};

use crate::task::nine_states;
use crate::wrapped::Decider;
pub use machine::Machine;
use machine::MachineEntry as At;

mod machine {
    fsmentry::fsmentry! {
        #[derive(Clone, Copy)]
        // Without a check on every step that the entry belongs to the state. Nothing here makes
        // one by hand.
        #[fsmentry(unsafe(true))]
        pub enum Machine {
            Starting -> Processing -> Starting,
            Starting -> Cancelled,
            Starting & Processing -> Failed -> StartingAfterFailed,
            Processing -> Succeeded -> StartingAfterSucceeded,
            StartingAfterSucceeded -> ProcessingAfterSucceeded -> StartingAfterSucceeded,
            StartingAfterSucceeded & ProcessingAfterSucceeded & ProcessingAfterFailed -> Succeeded,
            StartingAfterFailed -> ProcessingAfterFailed -> StartingAfterFailed,
            StartingAfterFailed & ProcessingAfterFailed -> Failed,
        }
    }
}

nine_states!(Machine);

impl Decider for Machine {
    const NAME: &'static str = "fsmentry";
    type State = Machine;

    fn new() -> Self {
        Machine::Starting
    }

    fn state(&self) -> Machine {
        *self
    }

    fn step(&mut self, operation: Operation) -> bool {
        match (operation, self.entry()) {
            (Start, At::Starting(to)) => to.processing(),
            (Start, At::StartingAfterSucceeded(to)) => to.processing_after_succeeded(),
            (Start, At::StartingAfterFailed(to)) => to.processing_after_failed(),
            (Retry, At::Processing(to)) => to.starting(),
            (Retry, At::ProcessingAfterSucceeded(to)) => to.starting_after_succeeded(),
            (Retry, At::ProcessingAfterFailed(to)) => to.starting_after_failed(),
            (Succeed, At::Processing(to)) => to.succeeded(),
            (Succeed | Fail, At::ProcessingAfterSucceeded(to)) => to.succeeded(),
            (Succeed, At::ProcessingAfterFailed(to)) => to.succeeded(),
            (Fail, At::ProcessingAfterFailed(to)) => to.failed(),
            (Fail, At::Starting(to)) => to.failed(),
            (Fail, At::Processing(to)) => to.failed(),
            (Cancel, At::Starting(to)) => to.cancelled(),
            (Fail | Cancel, At::StartingAfterSucceeded(to)) => to.succeeded(),
            (Fail | Cancel, At::StartingAfterFailed(to)) => to.failed(),
            (Update, At::Succeeded(to)) => to.starting_after_succeeded(),
            (Update, At::Failed(to)) => to.starting_after_failed(),
            _ => return false,
        }
        true
    }
}
