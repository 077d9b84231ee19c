//! The steps that can come next.

use std::array;
use std::ops::Range;

use stateright::{Model, Property};
use task_lifecycle::Status;

use crate::change::Change::{
    self, Cancel, Delete, Edit, Fail, Prioritize, Progress, Replace, Retry, Start, Stop, Succeed,
    TakeOver, Update, UpdateAndPush,
};
use crate::laws::Fault;
use crate::protocol::Protocol;
use crate::step::Step;
use crate::world::{Actor, Budget, EDITOR, Message, SERVERS, SWEEPER, WORKERS, World};

const FREE: Budget = [0, 0, 0];
const CHANGE: Budget = [1, 0, 0];
const LOSS: Budget = [0, 1, 0];
const BEHIND: Budget = [0, 0, 1];

impl Model for Protocol {
    type State = World;
    /// The world that a step leads to.
    type Action = World;

    fn init_states(&self) -> Vec<World> {
        vec![World::new(self.budget)]
    }

    fn actions(&self, world: &World, actions: &mut Vec<World>) {
        actions.extend(self.steps(world, false).into_iter().map(|step| step.world));
    }

    fn next_state(&self, _: &World, after: World) -> Option<World> {
        Some(after)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![Property::always("every law holds", |protocol, world| {
            protocol.broken(world).is_none()
        })]
    }
}

impl Protocol {
    pub fn steps<'a>(&'a self, world: &World, tells: bool) -> Vec<Step<'a>> {
        let mut steps = Vec::new();
        let mut can = |who: usize, cost: Budget, act: &dyn Fn(&mut Step<'a>)| {
            if world.left.iter().zip(cost).all(|(left, cost)| *left >= cost) {
                let (world, said) = (world.clone(), tells.then(Vec::new));
                let mut step = Step { protocol: self, world, who, said };
                step.world.left = array::from_fn(|limit| step.world.left[limit] - cost[limit]);
                act(&mut step);
                step.ends();
                steps.push(step);
            }
        };
        let mut begin = |who, token: Option<Message>, cost: Budget, changes: &[Change]| {
            for &change in changes {
                can(who, cost, &|step| step.begins(change, token, false, world.left));
                let may_be_behind = match change {
                    Start => true,
                    Succeed => self.has(Fault::FinishOnALoadBehind),
                    _ => self.has(Fault::RefusalOnALoadBehind) && SERVERS.contains(&who),
                };
                if may_be_behind {
                    let cost = [cost[0], 0, 1];
                    can(who, cost, &|step| step.begins(change, token, true, world.left));
                }
            }
        };
        // Who is idle remembers nothing, so one of two is enough.
        let idle = |mut role: Range<usize>| role.find(|&who| world.actors[who] == Actor::Idle);
        let row = world.row.as_ref();
        let may_end = |who| row.is_some_and(|row| self.may_end(who, row));
        if let Some(who) = idle(SERVERS) {
            begin(who, None, CHANGE, &[Cancel, Update, UpdateAndPush, Replace, Delete, Stop]);
        }
        if let Some(who) = idle(WORKERS) {
            let changes = &[Start, TakeOver][..=usize::from(may_end(who))];
            world.queue.iter().for_each(|&message| begin(who, Some(message), FREE, changes));
        }
        for who in WORKERS {
            if let Actor::Working(token) = world.actors[who] {
                begin(who, Some(token), FREE, &[Succeed, Fail]);
                begin(who, Some(token), CHANGE, &[Retry, Progress]);
            }
        }
        if world.actors[EDITOR] == Actor::Idle {
            begin(EDITOR, None, CHANGE, &[Edit, Prioritize]);
        }
        if world.actors[SWEEPER] == Actor::Idle {
            if row.is_some_and(|row| row.task.status() == Status::Starting) {
                begin(SWEEPER, None, CHANGE, &[Fail]);
            } else if may_end(SWEEPER) {
                // It follows from a lease that ran out.
                begin(SWEEPER, None, FREE, &[Fail, Retry]);
            }
        }
        if let Some(who) = idle(SERVERS) {
            can(who, CHANGE, &Step::begins_named);
        }
        if row.is_some_and(|row| row.has_lease(false)) {
            can(SWEEPER, CHANGE, &Step::lease_runs_out);
        }
        for (number, flight) in world.flights.iter().enumerate() {
            can(flight.intent.who, FREE, &|step| step.arrives(number));
        }
        for (who, actor) in world.actors.iter().enumerate() {
            match actor {
                Actor::Working(token) if row.is_some_and(|row| !row.has_lease(false)) => {
                    can(who, FREE, &|step| step.renews(*token));
                }
                Actor::Idle | Actor::Working(_) => {}
                Actor::Pushes(message) => {
                    can(who, FREE, &|step| step.pushes(*message, true, None));
                    can(who, LOSS, &|step| step.pushes(*message, true, Some("arrives")));
                    can(who, LOSS, &|step| step.pushes(*message, false, Some("is lost")));
                }
                Actor::Loads(intent) => {
                    can(who, FREE, &|step| step.load(*intent, false));
                    // A handler and a request that names a revision are told when a load is behind.
                    let is_told = intent.named.is_some() || intent.change.gets_the_run();
                    let is_fault = intent.token.is_none() && self.has(Fault::RefusalOnALoadBehind);
                    if is_told || is_fault {
                        can(who, BEHIND, &|step| step.load(*intent, true));
                    }
                }
                Actor::Commits(decision) => {
                    can(who, FREE, &|step| step.commits(decision.clone()));
                    // Nobody looks at what a priority's commit came to.
                    if decision.change != Prioritize {
                        can(who, LOSS, &|step| step.commits_unanswered(decision.clone()));
                    }
                }
                Actor::Unsure(decision) => {
                    can(who, FREE, &|step| step.finds_out(decision.clone()));
                    if decision.intent.token.is_none() {
                        can(who, FREE, &|step| step.gives_up(decision));
                    }
                }
            }
            if WORKERS.contains(&who) && *actor != Actor::Idle {
                can(who, LOSS, &Step::dies);
            }
        }
        steps
    }
}
