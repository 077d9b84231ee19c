//! smlang: a table of transitions; its error names nothing.

use task_lifecycle::Operation;

use crate::task::nine_states;
use crate::wrapped::Decider;

smlang::statemachine! {
    derive_states: [Clone, Copy],
    transitions: {
        *Starting + Start = Processing, Starting + Fail = Failed, Starting + Cancel = Cancelled,
        Processing + Retry = Starting, Processing + Succeed = Succeeded, Processing + Fail = Failed,
        Succeeded + Update = StartingAfterSucceeded,
        Failed + Update = StartingAfterFailed,
        StartingAfterSucceeded + Start = ProcessingAfterSucceeded,
        StartingAfterSucceeded + Fail = Succeeded, StartingAfterSucceeded + Cancel = Succeeded,
        StartingAfterFailed + Start = ProcessingAfterFailed,
        StartingAfterFailed + Fail = Failed, StartingAfterFailed + Cancel = Failed,
        ProcessingAfterSucceeded + Retry = StartingAfterSucceeded,
        ProcessingAfterSucceeded + Succeed = Succeeded, ProcessingAfterSucceeded + Fail = Succeeded,
        ProcessingAfterFailed + Retry = StartingAfterFailed,
        ProcessingAfterFailed + Succeed = Succeeded, ProcessingAfterFailed + Fail = Failed,
    },
}

nine_states!(States);

pub struct Nothing;

impl StateMachineContext for Nothing {}

pub type Machine = StateMachine<Nothing>;

impl Decider for Machine {
    const NAME: &'static str = "smlang";
    type State = States;

    fn new() -> Self {
        StateMachine::new(Nothing)
    }

    fn state(&self) -> States {
        *self.state()
    }

    fn step(&mut self, operation: Operation) -> bool {
        let event = match operation {
            Operation::Start => Events::Start,
            Operation::Retry => Events::Retry,
            Operation::Succeed => Events::Succeed,
            Operation::Fail => Events::Fail,
            Operation::Cancel => Events::Cancel,
            Operation::Update => Events::Update,
            Operation::Delete => return false,
        };
        self.process_event(event).is_ok()
    }
}
