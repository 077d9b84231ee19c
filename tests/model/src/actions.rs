//! Which steps can come next.

use std::ops::Range;

use task_lifecycle::{Status, Task};

use crate::Protocol;
use crate::world::{Actor, Budget, Change, EDITOR, Message, SERVERS, SWEEPER, WORKERS, World};

/// A step, by the number of who takes it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Action {
    /// Loads and decides: on a request, on a message, or with what was worked out.
    Begin(usize, Change, Option<Message>),
    LoadAgain(usize),
    Commit(usize, Fate),
    Die(usize),
}

/// What becomes of a commit.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fate {
    Answered,
    /// It arrives, and its maker does not learn whether it was accepted.
    AnswerLost,
    /// It does not arrive, and its maker does not learn that.
    Lost,
}

impl Action {
    /// What is left of the budget after it; `None` if it cannot be afforded.
    pub fn pay(self, left: Budget) -> Option<Budget> {
        let (changes, losses) = match self {
            Self::Begin(_, Change::Start | Change::Succeed | Change::Fail, Some(_))
            | Self::LoadAgain(_)
            | Self::Commit(_, Fate::Answered) => (0, 0),
            Self::Begin(..) => (1, 0),
            Self::Commit(_, Fate::AnswerLost | Fate::Lost) | Self::Die(_) => (0, 1),
        };
        Some(Budget {
            changes: left.changes.checked_sub(changes)?,
            losses: left.losses.checked_sub(losses)?,
        })
    }
}

impl Protocol {
    pub(crate) fn possible(&self, world: &World, actions: &mut Vec<Action>) {
        // Who is idle remembers nothing, so one of two is enough.
        let idle = |mut role: Range<usize>| role.find(|&who| world.actors[who] == Actor::Idle);
        let requests = [Change::Cancel, Change::Update, Change::Delete];
        for (role, changes) in [
            (SERVERS, &requests[..]),
            (SWEEPER, &[Change::Fail, Change::Retry]),
            (EDITOR, &[Change::Edit]),
        ] {
            let changes = changes.iter();
            if let Some(who) = idle(role) {
                actions.extend(changes.map(|&change| Action::Begin(who, change, None)));
            }
        }
        if let Some(who) = idle(WORKERS) {
            for &message in &world.queue {
                actions.push(Action::Begin(who, Change::Start, Some(message)));
                if world.row.as_ref().map(Task::status) == Some(Status::Processing) {
                    // It is delivered again while the run is under way.
                    actions.push(Action::Begin(who, self.take_over(), Some(message)));
                }
            }
        }
        for (who, actor) in world.actors.iter().enumerate() {
            match *actor {
                Actor::Idle => continue,
                Actor::Working(message) => {
                    use Change::{CancelOwn, Fail, Progress, Retry, Succeed};
                    let begin = |change| Action::Begin(who, change, Some(message));
                    actions.extend([Succeed, Fail, Retry, CancelOwn, Progress].map(begin));
                }
                Actor::LoadsAgain(_) | Actor::Unsure(_) => actions.push(Action::LoadAgain(who)),
                Actor::Commits(_) => {
                    actions.push(Action::Commit(who, Fate::Answered));
                    // The sweeper gives up whatever the answer is.
                    if !SWEEPER.contains(&who) {
                        actions.push(Action::Commit(who, Fate::AnswerLost));
                        actions.push(Action::Commit(who, Fate::Lost));
                    }
                }
            }
            if WORKERS.contains(&who) {
                actions.push(Action::Die(who));
            }
        }
        actions.retain(|action| action.pay(world.left).is_some());
    }
}
