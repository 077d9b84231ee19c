//! Machines that only decide: the fastest by hand, and the five crates. Each gets the one relation in the
//! form that its macro wants, and `machine::Wrapped` does the rest for all of them.

use finny::{FsmCurrentState, FsmFactory as _, InspectNull, NoQueue, NoTimers};
use statig::{InitializedStateMachine, IntoStateMachineExt as _};
use task_lifecycle::Operation::{self, Cancel, Delete, Fail, Retry, Start, Succeed, Update};

use crate::machine::{Decider, Wrapped};

/// For each state: the operations that it accepts, and the states that they lead to.
#[rustfmt::skip]
macro_rules! relation {
    ($generate:ident) => { $generate! {
        Starting starting { Start Processing processing, Fail Failed failed, Cancel Cancelled cancelled }
        Processing processing { Retry Starting starting, Succeed Succeeded succeeded, Fail Failed failed }
        Succeeded succeeded { Update StartingAfterSucceeded starting_after_succeeded }
        Failed failed { Update StartingAfterFailed starting_after_failed }
        Cancelled cancelled {}
        StartingAfterSucceeded starting_after_succeeded {
            Start ProcessingAfterSucceeded processing_after_succeeded,
            Fail Succeeded succeeded, Cancel Succeeded succeeded
        }
        StartingAfterFailed starting_after_failed {
            Start ProcessingAfterFailed processing_after_failed, Fail Failed failed, Cancel Failed failed
        }
        ProcessingAfterSucceeded processing_after_succeeded {
            Retry StartingAfterSucceeded starting_after_succeeded,
            Succeed Succeeded succeeded, Fail Succeeded succeeded
        }
        ProcessingAfterFailed processing_after_failed {
            Retry StartingAfterFailed starting_after_failed, Succeed Succeeded succeeded, Fail Failed failed
        }
    } };
}

macro_rules! decider {
    (
        $Machine:ty, $State:ty, $new:expr,
        |$self:ident, $operation:ident| $step:expr, $state:expr,
        |$one:ident| $of_nine:expr, $($Nine:ident)::+
    ) => {
        impl Decider for $Machine {
            type State = $State;
            fn new() -> Self { $new }
            fn state(&self) -> $State { let $self = self; $state }
            fn is_update($one: $State) -> bool {
                use $($Nine)::+ as At;
                matches!(
                    $of_nine,
                    At::StartingAfterSucceeded {} | At::StartingAfterFailed {}
                        | At::ProcessingAfterSucceeded {} | At::ProcessingAfterFailed {}
                )
            }
            fn step(&mut self, $operation: Operation) -> bool { let $self = self; $step }
        }
    };
}

/// Tells a machine its own event of the operation's name.
macro_rules! tell {
    ($machine:ident.$tell:ident($($events:ident)::+), $operation:ident) => {
        match $operation {
            Start => $machine.$tell($($events)::+::Start).is_ok(),
            Retry => $machine.$tell($($events)::+::Retry).is_ok(),
            Succeed => $machine.$tell($($events)::+::Succeed).is_ok(),
            Fail => $machine.$tell($($events)::+::Fail).is_ok(),
            Cancel => $machine.$tell($($events)::+::Cancel).is_ok(),
            Update => $machine.$tell($($events)::+::Update).is_ok(),
            Delete => false,
        }
    };
}

pub type ByByte<T> = Wrapped<Byte, T>;

macro_rules! byte {
    ($($from:ident $at:ident { $($operation:ident $to:ident $go:ident),* })*) => {
        /// By hand: the nine states in a byte.
        #[derive(Clone, Copy, PartialEq, Debug)]
        pub enum Byte { $($from,)* }

        decider! {
            Byte, Byte, Byte::Starting,
            |machine, operation| {
                *machine = match (operation, *machine) {
                    $($(($operation, Byte::$from) => Byte::$to,)*)*
                    _ => return false,
                };
                true
            }, *machine,
            |state| state, Byte
        }
    };
}
relation! { byte }

pub type Finny<T> = Wrapped<finny::Frontend, T>;

/// A table of transitions, with queue, timers and inspection, of which none is used.
mod finny {
    use ::finny::decl::{BuiltFsm, FsmBuilder};
    pub use ::finny::{FsmCurrentState, FsmFactory, inspect::null::InspectNull};
    pub use ::finny::{FsmEventQueueNull as NoQueue, FsmFrontend, FsmTimersNull as NoTimers};

    pub type Frontend = FsmFrontend<Lifecycle, NoQueue<Lifecycle>, InspectNull, NoTimers>;

    macro_rules! units {
        ($($name:ident)*) => { $(#[derive(Clone, Default)] pub struct $name;)* };
    }
    units! { Start Retry Succeed Fail Cancel Update }

    macro_rules! finny {
        ($($from:ident $at:ident { $($operation:ident $to:ident $go:ident),* })*) => {
            units! { $($from)* }

            #[::finny::finny_fsm]
            fn lifecycle(mut fsm: FsmBuilder<Lifecycle, ()>) -> BuiltFsm {
                fsm.initial_state::<Starting>();
                fsm.state::<Cancelled>();
                $($(fsm.state::<$from>().on_event::<$operation>().transition_to::<$to>();)*)*
                fsm.build()
            }
        };
    }
    relation! { finny }
}

decider! {
    finny::Frontend, FsmCurrentState<finny::LifecycleCurrentState>,
    {
        let (queue, inspect) = (NoQueue::new(), InspectNull::new());
        let machine = finny::Lifecycle::new_with((), queue, inspect, NoTimers);
        let mut machine = machine.expect("there is nothing to fail");
        machine.start().expect("the first state has no action");
        machine
    },
    |machine, operation| tell!(machine.dispatch(finny), operation), machine.backend.current_states[0],
    |state| match state {
        FsmCurrentState::State(state) => state,
        FsmCurrentState::Stopped => unreachable!("it is started when it is made"),
    }, finny::LifecycleCurrentState
}

pub type Fsmentry<T> = Wrapped<fsmentry::Machine, T>;

/// A graph of states. A step that a state does not have cannot be written, so what is refused is
/// decided outside of it.
mod fsmentry {
    ::fsmentry::fsmentry! {
        #[derive(Clone, Copy, Debug)]
        // Without a check on every step that the entry belongs to the state.
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

macro_rules! fsmentry {
    ($($from:ident $at:ident { $($operation:ident $to:ident $go:ident),* })*) => {
        decider! {
            fsmentry::Machine, fsmentry::Machine, fsmentry::Machine::Starting,
            |machine, operation| {
                match (operation, machine.entry()) {
                    $($(($operation, fsmentry::MachineEntry::$from(at)) => at.$go(),)*)*
                    _ => return false,
                }
                true
            }, *machine,
            |state| state, fsmentry::Machine
        }
    };
}
relation! { fsmentry }

pub type RustFsm<T> = Wrapped<table::StateMachine, T>;

macro_rules! rust_fsm {
    ($($from:ident $at:ident { $($operation:ident $to:ident $go:ident),* })*) => {
        rust_fsm::state_machine! {
            /// A table of transitions; its error names nothing.
            #[state_machine(input(task_lifecycle::Operation), state(crate::peers::Byte))]
            table(Starting)
            $($($from($operation) => $to,)*)*
        }
    };
}
relation! { rust_fsm }

decider! {
    table::StateMachine, Byte, table::StateMachine::new(),
    |machine, operation| machine.consume(&operation).is_ok(), *machine.state(),
    |state| state, Byte
}

pub type Smlang<T> = Wrapped<smlang::StateMachine<smlang::Nothing>, T>;

/// A table of transitions; its error names nothing.
mod smlang {
    pub struct Nothing;
    impl StateMachineContext for Nothing {}

    macro_rules! smlang {
        (
            $first:ident $at:ident {
                $by:ident $second:ident $go:ident $(, $or:ident $other:ident $by_or:ident)*
            }
            $($from:ident $by_at:ident { $($operation:ident $to:ident $by_go:ident),* })*
        ) => {
            ::smlang::statemachine! {
                derive_states: [Clone, Copy, Debug],
                transitions: {
                    *$first + $by = $second, $($first + $or = $other,)*
                    $($($from + $operation = $to,)*)*
                },
            }
        };
    }
    relation! { smlang }
}

decider! {
    smlang::StateMachine<smlang::Nothing>, smlang::States, Self::new(smlang::Nothing),
    |machine, operation| tell!(machine.process_event(smlang::Events), operation), *machine.state(),
    |state| state, smlang::States
}

pub type Statig<T> = Wrapped<InitializedStateMachine<statig::Lifecycle>, T>;

/// A handler a state. What no handler takes is ignored in silence, so each notes what it takes.
mod statig {
    use ::statig::Outcome::{self, Super, Transition};
    pub use ::statig::blocking::{InitializedStateMachine, IntoStateMachineExt};
    use task_lifecycle::Operation;

    pub struct Lifecycle;

    macro_rules! statig {
        ($($from:ident $at:ident { $($operation:ident $to:ident $go:ident),* })*) => {
            #[::statig::state_machine(
                initial = "State::starting()", state(derive(Clone, Copy, Debug))
            )]
            impl Lifecycle {
                $(#[state] fn $at(event: &Operation, context: &mut bool) -> Outcome<State> {
                    *context = true;
                    match event {
                        $(Operation::$operation => return Transition(State::$go()),)*
                        _ => *context = false,
                    }
                    Super
                })*
            }
        };
    }
    relation! { statig }
}

decider! {
    InitializedStateMachine<statig::Lifecycle>, statig::State,
    statig::Lifecycle.uninitialized_state_machine().init_with_context(&mut false),
    |machine, operation| {
        let mut accepted = false;
        machine.handle_with_context(&operation, &mut accepted);
        accepted
    }, *machine.state(),
    |state| state, statig::State
}
