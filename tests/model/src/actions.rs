//! Which steps can come next.

use std::ops::Range;

use task_lifecycle::Status;

use crate::change::Change;
use crate::world::{Actor, Budget, EDITOR, Intent, Message, SERVERS, SWEEPER, WORKERS, World};
use crate::{Fault, Protocol};

/// A step, by the number of who takes it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Action {
    /// Gets a request, a message or a result, loads and decides.
    Begin {
        who: usize,
        change: Change,
        token: Option<Message>,
        behind: bool,
    },
    /// Gets a request that names the revision which its client sees.
    BeginNamed {
        who: usize,
        change: Change,
    },
    Load {
        who: usize,
        behind: bool,
    },
    Commit {
        who: usize,
        answered: bool,
    },
    /// A commit without an answer arrives.
    Arrive {
        flight: usize,
    },
    Push {
        who: usize,
        answered: bool,
        arrives: bool,
    },
    /// A server does not wait for an outcome any longer.
    GiveUp {
        who: usize,
    },
    Renew {
        who: usize,
    },
    LeaseRunsOut,
    Die {
        who: usize,
    },
}

impl Action {
    /// What it takes from the budget.
    fn costs(self, world: &World) -> [u8; 3] {
        let processing = world.row.as_ref().is_some_and(|row| row.is_processing());
        match self {
            // It follows from a lease that ran out.
            Self::Begin { who: SWEEPER, .. } if processing => [0, 0, 0],
            Self::Begin { change, token, behind, .. } => {
                use Change::{Fail, Start, Succeed, TakeOver};
                let goes_on =
                    token.is_some() && matches!(change, Start | TakeOver | Succeed | Fail);
                [u8::from(!goes_on), 0, u8::from(behind)]
            }
            Self::BeginNamed { .. } | Self::LeaseRunsOut => [1, 0, 0],
            Self::Load { behind, .. } => [0, 0, u8::from(behind)],
            Self::Commit { answered, .. } | Self::Push { answered, .. } => {
                [0, u8::from(!answered), 0]
            }
            Self::Die { .. } => [0, 1, 0],
            Self::Arrive { .. } | Self::GiveUp { .. } | Self::Renew { .. } => [0, 0, 0],
        }
    }

    /// What is left of the budget after it; `None` if it cannot be afforded.
    pub fn pay(self, world: &World) -> Option<Budget> {
        let [changes, losses, behind] = self.costs(world);
        Some(Budget {
            changes: world.left.changes.checked_sub(changes)?,
            losses: world.left.losses.checked_sub(losses)?,
            behind: world.left.behind.checked_sub(behind)?,
        })
    }
}

impl Protocol {
    pub(crate) fn possible(&self, world: &World, actions: &mut Vec<Action>) {
        use Change::{
            Cancel, Delete, Edit, Fail, Prioritize, Progress, Replace, Retry, Start, Stop, Succeed,
            TakeOver, Update, UpdateAndPush,
        };
        // Who is idle remembers nothing, so one of two is enough.
        let idle = |mut role: Range<usize>| role.find(|&who| world.actors[who] == Actor::Idle);
        let mut begin = |who, change, token| {
            actions.push(Action::Begin { who, change, token, behind: false });
            let handler = WORKERS.contains(&who) && token.is_some() && change == Start;
            let fault = match change {
                Succeed => self.has(Fault::FinishOnALoadBehind),
                _ => self.has(Fault::RefusalOnALoadBehind) && SERVERS.contains(&who),
            };
            if handler || fault {
                actions.push(Action::Begin { who, change, token, behind: true });
            }
        };
        if let Some(who) = idle(SERVERS) {
            for change in [Cancel, Update, UpdateAndPush, Replace, Delete, Stop] {
                begin(who, change, None);
            }
        }
        if let Some(who) = idle(WORKERS) {
            for &message in &world.queue {
                begin(who, Start, Some(message));
                if world.row.as_ref().is_some_and(|row| self.may_end(who, row)) {
                    begin(who, TakeOver, Some(message));
                }
            }
        }
        for who in WORKERS {
            if let Actor::Working(token) = world.actors[who] {
                for change in [Succeed, Fail, Retry, Progress] {
                    begin(who, change, Some(token));
                }
            }
        }
        if world.actors[EDITOR] == Actor::Idle {
            begin(EDITOR, Edit, None);
            begin(EDITOR, Prioritize, None);
        }
        if let (Actor::Idle, Some(row)) = (&world.actors[SWEEPER], &world.row) {
            if row.task.status() == Status::Starting {
                begin(SWEEPER, Fail, None);
            } else if self.may_end(SWEEPER, row) {
                begin(SWEEPER, Fail, None);
                begin(SWEEPER, Retry, None);
            }
        }
        if let Some(who) = idle(SERVERS) {
            actions.push(Action::BeginNamed { who, change: Cancel });
        }
        if world.row.as_ref().and_then(|row| row.lease).is_some_and(|lease| !lease.over) {
            actions.push(Action::LeaseRunsOut);
        }
        let flights = 0..world.flights.len();
        actions.extend(flights.map(|flight| Action::Arrive { flight }));
        for (who, actor) in world.actors.iter().enumerate() {
            self.goes_on(world, who, actor, actions);
        }
        actions.retain(|action| action.pay(world).is_some());
    }

    fn goes_on(&self, world: &World, who: usize, actor: &Actor, actions: &mut Vec<Action>) {
        match actor {
            Actor::Idle => return,
            Actor::Working(_) => {
                if world.row.as_ref().is_some_and(|row| row.lease_is_over() || row.lease.is_none())
                {
                    actions.push(Action::Renew { who });
                }
            }
            Actor::Pushes(_) => {
                for (answered, arrives) in [(true, true), (false, true), (false, false)] {
                    actions.push(Action::Push { who, answered, arrives });
                }
            }
            Actor::Loads(intent) => {
                actions.push(Action::Load { who, behind: false });
                if self.may_be_behind(intent) {
                    actions.push(Action::Load { who, behind: true });
                }
            }
            Actor::Commits(_) => {
                actions.push(Action::Commit { who, answered: true });
                // Nobody looks at what a priority's commit came to.
                if who != EDITOR || actor.intent().is_some_and(|i| i.change == Change::Edit) {
                    actions.push(Action::Commit { who, answered: false });
                }
            }
            Actor::Unsure(decision) => {
                actions.push(Action::Load { who, behind: false });
                let intent = &decision.intent;
                if intent.token.is_none() && intent.change != Change::UpdateAndPush {
                    actions.push(Action::GiveUp { who });
                }
            }
        }
        if WORKERS.contains(&who) {
            actions.push(Action::Die { who });
        }
    }

    /// A handler and a request that names a revision are told when a load is behind.
    fn may_be_behind(&self, intent: &Intent) -> bool {
        intent.named.is_some()
            || intent.change.gets_the_run()
            || (self.has(Fault::RefusalOnALoadBehind) && intent.token.is_none())
    }
}
