//! statig: a handler a state. What no handler takes is ignored in silence, so that a hook notes
//! what was taken, in a context of the wrapper's.

use crate::machines::{Beside, Decider};
use crate::{Family, Kind, Step};
use statig::Outcome::{self, Super, Transition};
use statig::blocking::{InitializedStateMachine, IntoStateMachineExt as _};
use statig::state_machine;

pub struct Statig;

impl Family for Statig {
    type Machine<T> = Beside<InitializedStateMachine<Lifecycle>, T>;
    const NAME: &'static str = "statig";
    const KIND: Kind = Kind::Peer;
    const SUPPLIES: &'static str = "payloads, refusal, error";
}

pub struct Lifecycle;

#[state_machine(
    initial = "State::starting()",
    state(derive(Clone, Copy)),
    after_transition = "Self::after_transition"
)]
impl Lifecycle {
    #[state]
    fn starting(event: &Step) -> Outcome<State> {
        match event {
            Step::Start => Transition(State::processing()),
            Step::Cancel => Transition(State::cancelled()),
            _ => Super,
        }
    }

    #[state]
    fn processing(event: &Step) -> Outcome<State> {
        match event {
            Step::Succeed => Transition(State::succeeded()),
            Step::Fail => Transition(State::failed()),
            _ => Super,
        }
    }

    #[state]
    fn succeeded(event: &Step) -> Outcome<State> {
        match event {
            Step::Update => Transition(State::starting_after_succeeded()),
            _ => Super,
        }
    }

    #[state]
    fn failed(event: &Step) -> Outcome<State> {
        match event {
            Step::Update => Transition(State::starting_after_failed()),
            _ => Super,
        }
    }

    #[state]
    fn cancelled(context: &mut bool) -> Outcome<State> {
        *context = false; // as it was: this tells statig the type of the context
        Super
    }

    #[state]
    fn starting_after_succeeded(event: &Step) -> Outcome<State> {
        match event {
            Step::Start => Transition(State::processing_after_succeeded()),
            Step::Cancel => Transition(State::succeeded()),
            _ => Super,
        }
    }

    #[state]
    fn starting_after_failed(event: &Step) -> Outcome<State> {
        match event {
            Step::Start => Transition(State::processing_after_failed()),
            Step::Cancel => Transition(State::failed()),
            _ => Super,
        }
    }

    #[state]
    fn processing_after_succeeded(event: &Step) -> Outcome<State> {
        match event {
            Step::Succeed | Step::Fail => Transition(State::succeeded()),
            _ => Super,
        }
    }

    #[state]
    fn processing_after_failed(event: &Step) -> Outcome<State> {
        match event {
            Step::Succeed => Transition(State::succeeded()),
            Step::Fail => Transition(State::failed()),
            _ => Super,
        }
    }

    #[allow(clippy::unused_self, reason = "statig calls it so")]
    fn after_transition(&mut self, _from: &State, _to: &State, accepted: &mut bool) {
        *accepted = true;
    }
}

impl Decider for InitializedStateMachine<Lifecycle> {
    type State = State;

    #[inline]
    fn new() -> Self {
        Lifecycle
            .uninitialized_state_machine()
            .init_with_context(&mut false)
    }

    #[inline]
    fn state(&self) -> State {
        *self.state()
    }

    #[inline]
    fn step(&mut self, step: Step) -> bool {
        let mut accepted = false;
        self.handle_with_context(&step, &mut accepted);
        accepted
    }

    super::nine_states!(State);
}
