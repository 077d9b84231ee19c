//! rust-fsm: a table of transitions; its error names nothing.

use task_lifecycle::Operation;

use crate::machines::byte::Byte;
use crate::wrapped::Decider;

rust_fsm::state_machine! {
    #[state_machine(input(task_lifecycle::Operation), state(crate::machines::byte::Byte))]
    pub machine(Starting)

    Starting => { Start => Processing, Fail => Failed, Cancel => Cancelled },
    Processing => { Retry => Starting, Succeed => Succeeded, Fail => Failed },
    Succeeded(Update) => StartingAfterSucceeded,
    Failed(Update) => StartingAfterFailed,
    StartingAfterSucceeded => { Start => ProcessingAfterSucceeded, Fail => Succeeded, Cancel => Succeeded },
    StartingAfterFailed => { Start => ProcessingAfterFailed, Fail => Failed, Cancel => Failed },
    ProcessingAfterSucceeded => { Retry => StartingAfterSucceeded, Succeed => Succeeded, Fail => Succeeded },
    ProcessingAfterFailed => { Retry => StartingAfterFailed, Succeed => Succeeded, Fail => Failed }
}

pub use machine::StateMachine;

impl Decider for StateMachine {
    const NAME: &'static str = "rust-fsm";
    type State = Byte;

    fn new() -> Self {
        StateMachine::new()
    }

    fn state(&self) -> Byte {
        *self.state()
    }

    fn step(&mut self, operation: Operation) -> bool {
        self.consume(&operation).is_ok()
    }
}
