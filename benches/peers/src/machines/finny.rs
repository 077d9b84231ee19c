//! finny: a table of transitions, with queue, timers and inspection, of which none is used.

use crate::machines::{Beside, Decider};
use crate::{Family, Kind, Status, Step};
use LifecycleCurrentState as Current;
use finny::decl::{BuiltFsm, FsmBuilder};
use finny::inspect::null::InspectNull;
use finny::{
    FsmCurrentState, FsmEventQueueNull, FsmFactory as _, FsmFrontend, FsmTimersNull, finny_fsm,
};

pub struct Finny;

impl Family for Finny {
    type Machine<T> = Beside<Frontend, T>;
    const NAME: &'static str = "finny";
    const KIND: Kind = Kind::Peer;
    const SUPPLIES: &'static str = "payloads, error's state";
}

type Frontend = FsmFrontend<Lifecycle, FsmEventQueueNull<Lifecycle>, InspectNull, FsmTimersNull>;

macro_rules! unit_structs {
    ($($name:ident)*) => {
        $(#[derive(Clone, Default)] pub struct $name;)*
    };
}

unit_structs! { Starting Processing Succeeded Failed Cancelled }
unit_structs! { StartingAfterSucceeded StartingAfterFailed }
unit_structs! { ProcessingAfterSucceeded ProcessingAfterFailed }
unit_structs! { Start Succeed Fail Update Cancel }

#[finny_fsm]
fn lifecycle(mut fsm: FsmBuilder<Lifecycle, ()>) -> BuiltFsm {
    fsm.initial_state::<Starting>();
    fsm.state::<Starting>()
        .on_event::<Start>()
        .transition_to::<Processing>();
    fsm.state::<Starting>()
        .on_event::<Cancel>()
        .transition_to::<Cancelled>();
    fsm.state::<Processing>()
        .on_event::<Succeed>()
        .transition_to::<Succeeded>();
    fsm.state::<Processing>()
        .on_event::<Fail>()
        .transition_to::<Failed>();
    fsm.state::<Succeeded>()
        .on_event::<Update>()
        .transition_to::<StartingAfterSucceeded>();
    fsm.state::<Failed>()
        .on_event::<Update>()
        .transition_to::<StartingAfterFailed>();
    fsm.state::<Cancelled>();
    fsm.state::<StartingAfterSucceeded>()
        .on_event::<Start>()
        .transition_to::<ProcessingAfterSucceeded>();
    fsm.state::<StartingAfterSucceeded>()
        .on_event::<Cancel>()
        .transition_to::<Succeeded>();
    fsm.state::<StartingAfterFailed>()
        .on_event::<Start>()
        .transition_to::<ProcessingAfterFailed>();
    fsm.state::<StartingAfterFailed>()
        .on_event::<Cancel>()
        .transition_to::<Failed>();
    fsm.state::<ProcessingAfterSucceeded>()
        .on_event::<Succeed>()
        .transition_to::<Succeeded>();
    fsm.state::<ProcessingAfterSucceeded>()
        .on_event::<Fail>()
        .transition_to::<Succeeded>();
    fsm.state::<ProcessingAfterFailed>()
        .on_event::<Succeed>()
        .transition_to::<Succeeded>();
    fsm.state::<ProcessingAfterFailed>()
        .on_event::<Fail>()
        .transition_to::<Failed>();
    fsm.build()
}

impl Decider for Frontend {
    type State = FsmCurrentState<Current>;

    #[inline]
    fn new() -> Self {
        let (queue, inspect) = (FsmEventQueueNull::new(), InspectNull::new());
        let mut machine = Lifecycle::new_with((), queue, inspect, FsmTimersNull)
            .expect("there is nothing to fail");
        machine.start().expect("the first state has no action");
        machine
    }

    #[inline]
    fn state(&self) -> Self::State {
        self.backend.current_states[0]
    }

    #[inline]
    fn step(&mut self, step: Step) -> bool {
        match step {
            Step::Start => self.dispatch(Start),
            Step::Succeed => self.dispatch(Succeed),
            Step::Fail => self.dispatch(Fail),
            Step::Update => self.dispatch(Update),
            Step::Cancel => self.dispatch(Cancel),
        }
        .is_ok()
    }

    #[inline]
    fn is_update(state: Self::State) -> bool {
        matches!(
            state,
            FsmCurrentState::State(
                Current::StartingAfterSucceeded
                    | Current::StartingAfterFailed
                    | Current::ProcessingAfterSucceeded
                    | Current::ProcessingAfterFailed
            )
        )
    }

    fn status(state: Self::State) -> Status {
        let FsmCurrentState::State(kind) = state else {
            unreachable!("it is started when it is made");
        };
        match kind {
            Current::Starting | Current::StartingAfterSucceeded | Current::StartingAfterFailed => {
                Status::Starting
            }
            Current::Processing
            | Current::ProcessingAfterSucceeded
            | Current::ProcessingAfterFailed => Status::Processing,
            Current::Succeeded => Status::Succeeded,
            Current::Failed => Status::Failed,
            Current::Cancelled => Status::Cancelled,
        }
    }
}
