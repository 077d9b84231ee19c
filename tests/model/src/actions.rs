//! The steps that can come next.

use std::ops::Range;

use stateright::{Model, Property};
use task_lifecycle::Status;

use crate::change::Change::{
    self, Cancel, Delete, Edit, Fail, Prioritize, Progress, Replace, Retry, Start, Stop, Succeed,
    TakeOver, Update, UpdateAndPush,
};
use crate::protocol::Protocol;
use crate::world::{Actor, Budget, EDITOR, Message, SERVERS, SWEEPER, WORKERS, World};
use crate::{Fault, Law};

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Action {
    pub who: usize,
    pub deed: Deed,
    /// Taken from the budget.
    pub cost: Budget,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Deed {
    /// Gets a request, a message or a result, loads (from a replica?) and decides.
    Begin(Change, Option<Message>, bool),
    /// Gets a cancel that names the revision which its client sees.
    BeginNamed,
    Load,
    LoadBehind,
    Commit,
    CommitUnanswered,
    /// A commit without an answer arrives.
    Arrive(usize),
    Push,
    /// It arrives, and gets no answer.
    PushUnanswered,
    PushLost,
    /// A server does not wait for an outcome any longer.
    GiveUp,
    Renew,
    LeaseRunsOut,
    Die,
}

impl Model for Protocol {
    type State = World;
    type Action = Action;

    fn init_states(&self) -> Vec<World> {
        vec![World::new(self.budget)]
    }

    fn actions(&self, world: &World, actions: &mut Vec<Action>) {
        let mut begin = |who, token, cost, changes: &[Change]| {
            for &change in changes {
                let may_be_behind = match change {
                    Start => true,
                    Succeed => self.has(Fault::FinishOnALoadBehind),
                    _ => self.has(Fault::RefusalOnALoadBehind) && SERVERS.contains(&who),
                };
                for &behind in &[false, true][..=usize::from(may_be_behind)] {
                    let deed = Deed::Begin(change, token, behind);
                    actions.push(Action { who, deed, cost: [cost, 0, u8::from(behind)] });
                }
            }
        };
        // Who is idle remembers nothing, so one of two is enough.
        let idle = |mut role: Range<usize>| role.find(|&who| world.actors[who] == Actor::Idle);
        let row = world.row.as_ref();
        let may_end = |who| row.is_some_and(|row| self.may_end(who, row));
        if let Some(who) = idle(SERVERS) {
            begin(who, None, 1, &[Cancel, Update, UpdateAndPush, Replace, Delete, Stop]);
        }
        if let Some(who) = idle(WORKERS) {
            let changes = &[Start, TakeOver][..=usize::from(may_end(who))];
            world.queue.iter().for_each(|&message| begin(who, Some(message), 0, changes));
        }
        for who in WORKERS {
            if let Actor::Working(token) = world.actors[who] {
                begin(who, Some(token), 0, &[Succeed, Fail]);
                begin(who, Some(token), 1, &[Retry, Progress]);
            }
        }
        if world.actors[EDITOR] == Actor::Idle {
            begin(EDITOR, None, 1, &[Edit, Prioritize]);
        }
        if world.actors[SWEEPER] == Actor::Idle {
            if row.is_some_and(|row| row.task.status() == Status::Starting) {
                begin(SWEEPER, None, 1, &[Fail]);
            } else if may_end(SWEEPER) {
                // It follows from a lease that ran out.
                begin(SWEEPER, None, 0, &[Fail, Retry]);
            }
        }
        let mut can = |who, deed, cost| actions.push(Action { who, deed, cost });
        if let Some(who) = idle(SERVERS) {
            can(who, Deed::BeginNamed, [1, 0, 0]);
        }
        if row.is_some_and(|row| row.has_lease(false)) {
            can(SWEEPER, Deed::LeaseRunsOut, [1, 0, 0]);
        }
        for (number, flight) in world.flights.iter().enumerate() {
            can(flight.intent.who, Deed::Arrive(number), [0, 0, 0]);
        }
        for (who, actor) in world.actors.iter().enumerate() {
            for &deed in self.goes_on(world, actor) {
                let is_lost = matches!(deed, Deed::CommitUnanswered | Deed::PushUnanswered)
                    || deed == Deed::PushLost;
                can(who, deed, [0, u8::from(is_lost), u8::from(deed == Deed::LoadBehind)]);
            }
            if WORKERS.contains(&who) && *actor != Actor::Idle {
                can(who, Deed::Die, [0, 1, 0]);
            }
        }
        actions
            .retain(|action| world.left.iter().zip(action.cost).all(|(left, cost)| *left >= cost));
    }

    fn next_state(&self, world: &World, action: Action) -> Option<World> {
        Some(self.step(world, action, None).world)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![Property::always("every law holds", |protocol, world| match protocol.fault {
            Some(fault) => fault.row().0.holds(protocol, world),
            None => Law::ALL.iter().all(|law| law.holds(protocol, world)),
        })]
    }
}

impl Protocol {
    fn goes_on(&self, world: &World, actor: &Actor) -> &'static [Deed] {
        let has_a_lease = world.row.as_ref().is_none_or(|row| row.has_lease(false));
        match actor {
            Actor::Working(_) if !has_a_lease => &[Deed::Renew],
            Actor::Idle | Actor::Working(_) => &[],
            Actor::Pushes(_) => &[Deed::Push, Deed::PushUnanswered, Deed::PushLost],
            // A handler and a request that names a revision are told when a load is behind.
            Actor::Loads(intent) if intent.named.is_some() || intent.change.gets_the_run() => {
                &[Deed::Load, Deed::LoadBehind]
            }
            Actor::Loads(intent)
                if intent.token.is_none() && self.has(Fault::RefusalOnALoadBehind) =>
            {
                &[Deed::Load, Deed::LoadBehind]
            }
            Actor::Loads(_) => &[Deed::Load],
            // Nobody looks at what a priority's commit came to.
            Actor::Commits(decision) if decision.change == Prioritize => &[Deed::Commit],
            Actor::Commits(_) => &[Deed::Commit, Deed::CommitUnanswered],
            Actor::Unsure(decision) if decision.intent.token.is_some() => &[Deed::Load],
            Actor::Unsure(_) => &[Deed::Load, Deed::GiveUp],
        }
    }
}
