//! statig: a handler a state. What no handler takes is ignored in silence, so that a hook notes
//! what was taken, in a context of the wrapper's.

use statig::Outcome::{self, Super, Transition};
use statig::blocking::{InitializedStateMachine, IntoStateMachineExt as _};
use statig::state_machine;
use task_lifecycle::Operation::{self, Cancel, Fail, Retry, Start, Succeed, Update};

use crate::task::nine_states;
use crate::wrapped::Decider;

pub struct Lifecycle;

#[rustfmt::skip]
#[state_machine(
    initial = "State::starting()",
    state(derive(Clone, Copy)),
    after_transition = "Self::after_transition"
)]
impl Lifecycle {
    #[state] fn starting(event: &Operation) -> Outcome<State> { match event {
        Start => Transition(State::processing()), Fail => Transition(State::failed()),
        Cancel => Transition(State::cancelled()),
        _ => Super,
    }}
    #[state] fn processing(event: &Operation) -> Outcome<State> { match event {
        Retry => Transition(State::starting()), Succeed => Transition(State::succeeded()),
        Fail => Transition(State::failed()),
        _ => Super,
    }}
    #[state] fn succeeded(event: &Operation) -> Outcome<State> { match event {
        Update => Transition(State::starting_after_succeeded()),
        _ => Super,
    }}
    #[state] fn failed(event: &Operation) -> Outcome<State> { match event {
        Update => Transition(State::starting_after_failed()),
        _ => Super,
    }}
    #[state] fn cancelled(context: &mut bool) -> Outcome<State> {
        *context = false; // as it was: this tells statig the type of the context
        Super
    }
    #[state] fn starting_after_succeeded(event: &Operation) -> Outcome<State> { match event {
        Start => Transition(State::processing_after_succeeded()),
        Fail | Cancel => Transition(State::succeeded()),
        _ => Super,
    }}
    #[state] fn starting_after_failed(event: &Operation) -> Outcome<State> { match event {
        Start => Transition(State::processing_after_failed()),
        Fail | Cancel => Transition(State::failed()),
        _ => Super,
    }}
    #[state] fn processing_after_succeeded(event: &Operation) -> Outcome<State> { match event {
        Retry => Transition(State::starting_after_succeeded()),
        Succeed | Fail => Transition(State::succeeded()),
        _ => Super,
    }}
    #[state] fn processing_after_failed(event: &Operation) -> Outcome<State> { match event {
        Retry => Transition(State::starting_after_failed()),
        Succeed => Transition(State::succeeded()), Fail => Transition(State::failed()),
        _ => Super,
    }}

    #[allow(clippy::unused_self, reason = "statig calls it so")]
    fn after_transition(&mut self, _from: &State, _to: &State, accepted: &mut bool) {
        *accepted = true;
    }
}

nine_states!(State);

pub type Machine = InitializedStateMachine<Lifecycle>;

impl Decider for Machine {
    const NAME: &'static str = "statig";
    type State = State;

    fn new() -> Self {
        Lifecycle.uninitialized_state_machine().init_with_context(&mut false)
    }

    fn state(&self) -> State {
        *self.state()
    }

    fn step(&mut self, operation: Operation) -> bool {
        let mut accepted = false;
        self.handle_with_context(&operation, &mut accepted);
        accepted
    }
}
