//! Which steps can come next.

use std::ops::Range;

use task_lifecycle::Status;

use crate::change::Change;
use crate::world::{
    Actor, Budget, EDITOR, Flight, Intent, Message, Row, SERVERS, SWEEPER, WORKERS, World,
};
use crate::{Fault, Protocol};

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Action {
    pub who: usize,
    pub deed: Deed,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Deed {
    /// Gets a request, a message or a result, loads and decides.
    Begin {
        change: Change,
        token: Option<Message>,
        behind: bool,
    },
    /// Gets a cancel that names the revision which its client sees.
    BeginNamed,
    Load {
        behind: bool,
    },
    Commit {
        answered: bool,
    },
    /// A commit without an answer arrives.
    Arrive {
        flight: usize,
    },
    Push {
        answered: bool,
        arrives: bool,
    },
    /// A server does not wait for an outcome any longer.
    GiveUp,
    Renew,
    LeaseRunsOut,
    Die,
}

impl Action {
    /// Returns the budget that is left after it; `None` if it cannot be afforded.
    pub fn pay(self, world: &World) -> Option<Budget> {
        use Change::{Fail, Start, Succeed, TakeOver};
        let processing = world.row.as_ref().is_some_and(Row::is_processing);
        let costs = match self.deed {
            // It follows from a lease that ran out.
            Deed::Begin { .. } if self.who == SWEEPER && processing => [0, 0, 0],
            Deed::Begin { change, token, behind } => {
                let goes_on =
                    token.is_some() && matches!(change, Start | TakeOver | Succeed | Fail);
                [u8::from(!goes_on), 0, u8::from(behind)]
            }
            Deed::BeginNamed | Deed::LeaseRunsOut => [1, 0, 0],
            Deed::Load { behind } => [0, 0, u8::from(behind)],
            Deed::Commit { answered } | Deed::Push { answered, .. } => [0, u8::from(!answered), 0],
            Deed::Die => [0, 1, 0],
            Deed::Arrive { .. } | Deed::GiveUp | Deed::Renew => [0, 0, 0],
        };
        let mut left = world.left;
        for (left, cost) in left.iter_mut().zip(costs) {
            *left = left.checked_sub(cost)?;
        }
        Some(left)
    }
}

impl Protocol {
    pub(crate) fn possible(&self, world: &World, actions: &mut Vec<Action>) {
        use Change::{
            Cancel, Delete, Edit, Fail, Prioritize, Progress, Replace, Retry, Start, Stop, Succeed,
            TakeOver, Update, UpdateAndPush,
        };
        let mut begin = |who, token: Option<Message>, changes: &[Change]| {
            for &change in changes {
                let is_fault = match change {
                    Succeed => self.has(Fault::FinishOnALoadBehind),
                    _ => self.has(Fault::RefusalOnALoadBehind) && SERVERS.contains(&who),
                };
                for behind in [false, true] {
                    if !behind || change == Start || is_fault {
                        let deed = Deed::Begin { change, token, behind };
                        actions.push(Action { who, deed });
                    }
                }
            }
        };
        // Who is idle remembers nothing, so one of two is enough.
        let idle = |mut role: Range<usize>| role.find(|&who| world.actors[who] == Actor::Idle);
        if let Some(who) = idle(SERVERS) {
            begin(who, None, &[Cancel, Update, UpdateAndPush, Replace, Delete, Stop]);
        }
        if let Some(who) = idle(WORKERS) {
            let may_end = world.row.as_ref().is_some_and(|row| self.may_end(who, row));
            for &message in &world.queue {
                let changes = if may_end { &[Start, TakeOver][..] } else { &[Start] };
                begin(who, Some(message), changes);
            }
        }
        for who in WORKERS {
            if let Actor::Working(token) = world.actors[who] {
                begin(who, Some(token), &[Succeed, Fail, Retry, Progress]);
            }
        }
        if world.actors[EDITOR] == Actor::Idle {
            begin(EDITOR, None, &[Edit, Prioritize]);
        }
        if let (Actor::Idle, Some(row)) = (&world.actors[SWEEPER], &world.row) {
            if row.task.status() == Status::Starting {
                begin(SWEEPER, None, &[Fail]);
            } else if self.may_end(SWEEPER, row) {
                begin(SWEEPER, None, &[Fail, Retry]);
            }
        }
        if let Some(who) = idle(SERVERS) {
            actions.push(Action { who, deed: Deed::BeginNamed });
        }
        let lease = world.row.as_ref().and_then(|row| row.lease);
        if lease.is_some_and(|lease| !lease.over) {
            actions.push(Action { who: SWEEPER, deed: Deed::LeaseRunsOut });
        }
        for (flight, Flight { who, .. }) in world.flights.iter().enumerate() {
            actions.push(Action { who: *who, deed: Deed::Arrive { flight } });
        }
        for (who, actor) in world.actors.iter().enumerate() {
            let deeds = self.goes_on(world, actor).into_iter();
            actions.extend(deeds.map(|deed| Action { who, deed }));
            if WORKERS.contains(&who) && *actor != Actor::Idle {
                actions.push(Action { who, deed: Deed::Die });
            }
        }
        actions.retain(|action| action.pay(world).is_some());
    }

    fn goes_on(&self, world: &World, actor: &Actor) -> Vec<Deed> {
        match actor {
            Actor::Working(_) if world.row.as_ref().is_some_and(|row| !row.has_lease(false)) => {
                vec![Deed::Renew]
            }
            Actor::Idle | Actor::Working(_) => vec![],
            Actor::Pushes(_) => [(true, true), (false, true), (false, false)]
                .map(|(answered, arrives)| Deed::Push { answered, arrives })
                .into(),
            Actor::Loads(intent) => {
                let loads = [Deed::Load { behind: false }, Deed::Load { behind: true }];
                loads[..=usize::from(self.may_be_behind(intent))].into()
            }
            // Nobody looks at what a priority's commit came to.
            Actor::Commits(decision) if decision.change == Change::Prioritize => {
                vec![Deed::Commit { answered: true }]
            }
            Actor::Commits(_) => [true, false].map(|answered| Deed::Commit { answered }).into(),
            Actor::Unsure(decision) if decision.intent.token.is_some() => {
                vec![Deed::Load { behind: false }]
            }
            Actor::Unsure(_) => vec![Deed::Load { behind: false }, Deed::GiveUp],
        }
    }

    /// A handler and a request that names a revision are told when a load is behind.
    fn may_be_behind(&self, intent: &Intent) -> bool {
        intent.named.is_some()
            || intent.change.gets_the_run()
            || (self.has(Fault::RefusalOnALoadBehind) && intent.token.is_none())
    }
}
