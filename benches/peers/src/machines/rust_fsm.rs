//! rust-fsm: a table of transitions; its error names nothing.

use crate::machines::{Beside, Decider};
use crate::{Family, Kind, Step};
use machine::{Input, State, StateMachine};

pub struct RustFsm;

impl Family for RustFsm {
    type Machine<T> = Beside<StateMachine, T>;
    const NAME: &'static str = "rust-fsm";
    const KIND: Kind = Kind::Peer;
    const SUPPLIES: &'static str = "payloads, error's state";
}

rust_fsm::state_machine! {
    #[derive(Clone, Copy)]
    machine(Starting)

    Starting(Start) => Processing,
    Starting(Cancel) => Cancelled,
    Processing(Succeed) => Succeeded,
    Processing(Fail) => Failed,
    Succeeded(Update) => StartingAfterSucceeded,
    Failed(Update) => StartingAfterFailed,
    StartingAfterSucceeded(Start) => ProcessingAfterSucceeded,
    StartingAfterSucceeded(Cancel) => Succeeded,
    StartingAfterFailed(Start) => ProcessingAfterFailed,
    StartingAfterFailed(Cancel) => Failed,
    ProcessingAfterSucceeded(Succeed) => Succeeded,
    ProcessingAfterSucceeded(Fail) => Succeeded,
    ProcessingAfterFailed(Succeed) => Succeeded,
    ProcessingAfterFailed(Fail) => Failed
}

impl Decider for StateMachine {
    type State = State;

    #[inline]
    fn new() -> Self {
        StateMachine::new()
    }

    #[inline]
    fn state(&self) -> State {
        *self.state()
    }

    #[inline]
    fn step(&mut self, step: Step) -> bool {
        let input = match step {
            Step::Start => Input::Start,
            Step::Succeed => Input::Succeed,
            Step::Fail => Input::Fail,
            Step::Update => Input::Update,
            Step::Cancel => Input::Cancel,
        };
        self.consume(&input).is_ok()
    }

    super::nine_states!(State);
}
