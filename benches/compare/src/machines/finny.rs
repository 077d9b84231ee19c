//! finny: a table of transitions, with queue, timers and inspection, of which none is used.

use finny::decl::{BuiltFsm, FsmBuilder};
use finny::inspect::null::InspectNull;
use finny::{
    FsmCurrentState, FsmEventQueueNull, FsmFactory as _, FsmFrontend, FsmTimersNull, finny_fsm,
};
use task_lifecycle::{Operation, Status};

use crate::task::{Parts, nine_states};
use crate::wrapped::Decider;

pub type Frontend =
    FsmFrontend<Lifecycle, FsmEventQueueNull<Lifecycle>, InspectNull, FsmTimersNull>;

macro_rules! unit_structs {
    ($($name:ident)*) => { $(#[derive(Clone, Default)] pub struct $name;)* };
}

unit_structs! { Starting Processing Succeeded Failed Cancelled }
unit_structs! { StartingAfterSucceeded StartingAfterFailed }
unit_structs! { ProcessingAfterSucceeded ProcessingAfterFailed }
unit_structs! { Start Retry Succeed Fail Update Cancel }

#[rustfmt::skip]
#[finny_fsm]
fn lifecycle(mut fsm: FsmBuilder<Lifecycle, ()>) -> BuiltFsm {
    fsm.initial_state::<Starting>();
    fsm.state::<Cancelled>();
    fsm.state::<Starting>().on_event::<Start>().transition_to::<Processing>();
    fsm.state::<Starting>().on_event::<Fail>().transition_to::<Failed>();
    fsm.state::<Starting>().on_event::<Cancel>().transition_to::<Cancelled>();
    fsm.state::<Processing>().on_event::<Retry>().transition_to::<Starting>();
    fsm.state::<Processing>().on_event::<Succeed>().transition_to::<Succeeded>();
    fsm.state::<Processing>().on_event::<Fail>().transition_to::<Failed>();
    fsm.state::<Succeeded>().on_event::<Update>().transition_to::<StartingAfterSucceeded>();
    fsm.state::<Failed>().on_event::<Update>().transition_to::<StartingAfterFailed>();
    fsm.state::<StartingAfterSucceeded>().on_event::<Start>().transition_to::<ProcessingAfterSucceeded>();
    fsm.state::<StartingAfterSucceeded>().on_event::<Fail>().transition_to::<Succeeded>();
    fsm.state::<StartingAfterSucceeded>().on_event::<Cancel>().transition_to::<Succeeded>();
    fsm.state::<StartingAfterFailed>().on_event::<Start>().transition_to::<ProcessingAfterFailed>();
    fsm.state::<StartingAfterFailed>().on_event::<Fail>().transition_to::<Failed>();
    fsm.state::<StartingAfterFailed>().on_event::<Cancel>().transition_to::<Failed>();
    fsm.state::<ProcessingAfterSucceeded>().on_event::<Retry>().transition_to::<StartingAfterSucceeded>();
    fsm.state::<ProcessingAfterSucceeded>().on_event::<Succeed>().transition_to::<Succeeded>();
    fsm.state::<ProcessingAfterSucceeded>().on_event::<Fail>().transition_to::<Succeeded>();
    fsm.state::<ProcessingAfterFailed>().on_event::<Retry>().transition_to::<StartingAfterFailed>();
    fsm.state::<ProcessingAfterFailed>().on_event::<Succeed>().transition_to::<Succeeded>();
    fsm.state::<ProcessingAfterFailed>().on_event::<Fail>().transition_to::<Failed>();
    fsm.build()
}

nine_states!(LifecycleCurrentState);

impl Parts for FsmCurrentState<LifecycleCurrentState> {
    fn parts(self) -> (Status, Option<Status>) {
        match self {
            FsmCurrentState::State(state) => state.parts(),
            FsmCurrentState::Stopped => unreachable!("it is started when it is made"),
        }
    }
}

impl Decider for Frontend {
    const NAME: &'static str = "finny";
    type State = FsmCurrentState<LifecycleCurrentState>;

    fn new() -> Self {
        let (queue, inspect) = (FsmEventQueueNull::new(), InspectNull::new());
        let mut machine = Lifecycle::new_with((), queue, inspect, FsmTimersNull)
            .expect("there is nothing to fail");
        machine.start().expect("the first state has no action");
        machine
    }

    fn state(&self) -> Self::State {
        self.backend.current_states[0]
    }

    fn step(&mut self, operation: Operation) -> bool {
        match operation {
            Operation::Start => self.dispatch(Start).is_ok(),
            Operation::Retry => self.dispatch(Retry).is_ok(),
            Operation::Succeed => self.dispatch(Succeed).is_ok(),
            Operation::Fail => self.dispatch(Fail).is_ok(),
            Operation::Cancel => self.dispatch(Cancel).is_ok(),
            Operation::Update => self.dispatch(Update).is_ok(),
            Operation::Delete => false,
        }
    }
}
