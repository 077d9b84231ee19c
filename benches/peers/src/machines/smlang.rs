//! smlang: a table of transitions; its error names nothing.

use crate::machines::{Beside, Decider};
use crate::{Family, Kind, Step};

pub struct Smlang;

impl Family for Smlang {
    type Machine<T> = Beside<StateMachine<Nothing>, T>;
    const NAME: &'static str = "smlang";
    const KIND: Kind = Kind::Peer;
    const SUPPLIES: &'static str = "payloads, error's state";
}

smlang::statemachine! {
    derive_states: [Clone, Copy],
    transitions: {
        *Starting + Start = Processing,
        Starting + Cancel = Cancelled,
        Processing + Succeed = Succeeded,
        Processing + Fail = Failed,
        Succeeded + Update = StartingAfterSucceeded,
        Failed + Update = StartingAfterFailed,
        StartingAfterSucceeded + Start = ProcessingAfterSucceeded,
        StartingAfterSucceeded + Cancel = Succeeded,
        StartingAfterFailed + Start = ProcessingAfterFailed,
        StartingAfterFailed + Cancel = Failed,
        ProcessingAfterSucceeded + Succeed = Succeeded,
        ProcessingAfterSucceeded + Fail = Succeeded,
        ProcessingAfterFailed + Succeed = Succeeded,
        ProcessingAfterFailed + Fail = Failed,
    },
}

pub struct Nothing;

impl StateMachineContext for Nothing {}

impl Decider for StateMachine<Nothing> {
    type State = States;

    #[inline]
    fn new() -> Self {
        StateMachine::new(Nothing)
    }

    #[inline]
    fn state(&self) -> States {
        *self.state()
    }

    #[inline]
    fn step(&mut self, step: Step) -> bool {
        let event = match step {
            Step::Start => Events::Start,
            Step::Succeed => Events::Succeed,
            Step::Fail => Events::Fail,
            Step::Update => Events::Update,
            Step::Cancel => Events::Cancel,
        };
        self.process_event(event).is_ok()
    }

    super::nine_states!(States);
}
