//! How everybody goes about it, step by step.

use std::collections::HashSet;
use std::fmt;
use std::mem;
use std::sync::{Mutex, PoisonError};

use task_lifecycle::{Task, TransitionError};

use crate::Fault;
use crate::actions::{Action, Fate};
use crate::world::{
    Actor, Budget, Change, Document, Draft, Intent, Message, NAMES, SERVERS, SWEEPER, World,
};

pub struct Protocol {
    pub budget: Budget,
    pub fault: Option<Fault>,
    pub(crate) happened: Mutex<HashSet<Happened>>,
}

/// What was seen to happen at least once.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Happened {
    Accepted(Change),
    Refused(TransitionError),
    /// Its run was no longer current.
    Dropped(Change),
    /// The task had been deleted.
    Gone(Change),
    /// Both had loaded the same revision.
    Race {
        won: Change,
        lost: Change,
    },
    /// The answer was lost, and the task was found as it was to be.
    Found(Change),
    /// The answer was lost, and the task had moved on.
    Unknown(Change),
    Died,
}

pub type Tell<'a> = &'a mut dyn FnMut(fmt::Arguments<'_>);

impl Protocol {
    #[must_use]
    pub fn new(budget: Budget, fault: Option<Fault>) -> Self {
        Self { budget, fault, happened: Mutex::default() }
    }

    fn note(&self, what: Happened) {
        let happened = self.happened.lock();
        happened.unwrap_or_else(PoisonError::into_inner).insert(what);
    }

    pub(crate) fn step(&self, world: &World, action: Action, tell: Tell<'_>) -> World {
        let mut next = world.clone();
        let world = &mut next;
        match action {
            Action::Begin(who, change, message) => {
                if let (Some(message), true) = (message, change.gets_the_run()) {
                    let (name, run) = (NAMES[who], message.run);
                    tell(format_args!("{name} gets the message of run {run}."));
                    if self.has(Fault::MessageAcknowledgedOnReceipt) {
                        world.queue.remove(&message);
                    }
                }
                let mark = self.mark(world, who, change);
                self.load(world, who, Intent::new(change, mark, message), tell);
                if !matches!(world.actors[who], Actor::Commits(_)) {
                    return next; // It came to nothing, so it takes nothing from the budget.
                }
                world.versions += usize::from(change == Change::Update);
            }
            Action::LoadAgain(who) => match mem::replace(&mut world.actors[who], Actor::Idle) {
                Actor::LoadsAgain(intent) => self.load(world, who, intent, tell),
                Actor::Unsure(draft) => self.find_out(world, who, draft, tell),
                Actor::Idle | Actor::Working(_) | Actor::Commits(_) => {}
            },
            Action::Commit(who, fate) => {
                if let Actor::Commits(draft) = mem::replace(&mut world.actors[who], Actor::Idle) {
                    self.send_commit(world, who, draft, fate, tell);
                }
            }
            Action::Die(who) => {
                tell(format_args!("{} dies.", NAMES[who]));
                self.note(Happened::Died);
                world.actors[who] = Actor::Idle;
            }
        }
        world.left = action.pay(world.left).unwrap_or(world.left);
        next
    }

    /// Loads the row, checks the run and decides on a copy.
    fn load(&self, world: &mut World, who: usize, intent: Intent, tell: Tell<'_>) {
        let (name, change) = (NAMES[who], intent.change);
        world.actors[who] = Actor::Idle;
        let Some(row) = &world.row else {
            tell(format_args!("{name} finds no task."));
            self.note(Happened::Gone(change));
            return self.gives_up(world, who, &intent, tell);
        };
        if let Some(message) = intent.message
            && self.checks(change)
            && let Err(stale) = self.check(row, change, message)
        {
            tell(format_args!("{name} drops {change}: {stale}."));
            self.note(Happened::Dropped(change));
            return self.gives_up(world, who, &intent, tell);
        }
        match change.apply(row.clone(), intent.mark) {
            Ok(after) => {
                let row = Shown(row);
                tell(format_args!("{name} loads the task ({row}) and decides to {change}."));
                world.actors[who] =
                    Actor::Commits(Draft { intent, loaded: row.0.revision(), after });
            }
            Err(refused) => {
                tell(format_args!("{name} is refused: {refused}."));
                self.note(Happened::Refused(refused));
                self.gives_up(world, who, &intent, tell);
            }
        }
    }

    fn send_commit(
        &self,
        world: &mut World,
        who: usize,
        mut draft: Draft,
        fate: Fate,
        tell: Tell<'_>,
    ) {
        let accepted = if fate == Fate::Lost {
            let change = draft.intent.change;
            tell(format_args!("{} commits {change}: it does not arrive.", NAMES[who]));
            false
        } else {
            self.commit(world, who, &mut draft, tell)
        };
        let known = if fate == Fate::Answered {
            Some(accepted || self.has(Fault::ConflictIgnored))
        } else {
            tell(format_args!("The answer is lost."));
            self.guess()
        };
        match known {
            Some(true) => self.succeeds(world, who, draft, tell),
            Some(false) if self.drops_on_conflict() => world.onlooker.dropped(&draft.intent),
            // It sweeps again anyway.
            Some(false) if SWEEPER.contains(&who) => {}
            Some(false) => world.actors[who] = Actor::LoadsAgain(draft.intent),
            None => world.actors[who] = Actor::Unsure(draft),
        }
    }

    /// `UPDATE … WHERE id = ? AND revision = ?`: whether a row was changed.
    fn commit(&self, world: &mut World, who: usize, draft: &mut Draft, tell: Tell<'_>) -> bool {
        let (name, change) = (NAMES[who], draft.intent.change);
        let found = world.row.as_ref().map(Task::revision);
        let fits = found == Some(draft.loaded) || self.has(Fault::CommitWithoutRevision);
        if found.is_none() || !fits {
            tell(format_args!("{name} commits {change}: no row changed."));
            return false;
        }
        for actor in &world.actors {
            if let Actor::Commits(other) = actor
                && other.loaded == draft.loaded
            {
                let (won, lost) = (change, other.intent.change);
                self.note(Happened::Race { won, lost });
            }
        }
        world.row.clone_from(&draft.after);
        self.spoil(world, change);
        match &world.row {
            Some(row) => tell(format_args!("{name} commits {change}: {}.", Shown(row))),
            None => tell(format_args!("{name} commits {change}.")),
        }
        self.note(Happened::Accepted(change));
        draft.intent.happened = true;
        world.onlooker.accepted(draft, world.row.as_ref());
        if !self.has(Fault::MessageAfterTheCommit) {
            self.queue(world, change);
        }
        true
    }

    /// What an update or a retry made ready to start needs a message, in the same transaction.
    fn queue(&self, world: &mut World, change: Change) {
        if let (Change::Update | Change::Retry, Some(row), Some(truth)) =
            (change, &world.row, &world.onlooker.truth)
        {
            world.queue.insert(Message {
                run: if self.has(Fault::MessageByRevision) { row.revision() } else { row.run() },
                sent_for: truth.run(),
                version: row.payload().version,
            });
        }
    }

    /// Loads after a lost answer.
    fn find_out(&self, world: &mut World, who: usize, mut draft: Draft, tell: Tell<'_>) {
        if world.row == draft.after {
            tell(format_args!("{} finds the task as it was to be.", NAMES[who]));
            self.note(Happened::Found(draft.intent.change));
            return self.succeeds(world, who, draft, tell);
        }
        let unchanged = world.row.as_ref().map(Task::revision) == Some(draft.loaded);
        // A worker's run tells what it may try again.
        draft.intent.unsure = !unchanged && draft.intent.message.is_none();
        if draft.intent.unsure && !self.has(Fault::UnknownTriedAgain) {
            self.gives_up(world, who, &draft.intent, tell);
        } else {
            self.load(world, who, draft.intent, tell);
        }
    }

    /// The change was accepted, as far as its maker knows.
    fn succeeds(&self, world: &mut World, who: usize, draft: Draft, tell: Tell<'_>) {
        world.onlooker.told_yes(&draft);
        let change = draft.intent.change;
        if self.has(Fault::MessageAfterTheCommit) {
            self.queue(world, change);
        }
        if SERVERS.contains(&who) {
            tell(format_args!("{} answers yes.", NAMES[who]));
        }
        let (Some(message), Some(task)) = (draft.intent.message, draft.after) else {
            return;
        };
        if change == Change::Progress {
            world.actors[who] = Actor::Working(message);
        } else if change.gets_the_run() {
            let message = Message {
                run: task.run(),
                sent_for: message.sent_for + u64::from(change == Change::TakeOver),
                version: task.payload().version,
            };
            world.actors[who] = Actor::Working(message);
            if self.has(Fault::FinishWithoutReload) {
                tell(format_args!("{} keeps this copy for the end.", NAMES[who]));
                let end = Intent::new(Change::Succeed, draft.intent.mark, Some(message));
                self.load(world, who, end, &mut |_| ());
            }
        }
    }

    /// The change will not be made, as far as its maker knows.
    fn gives_up(&self, world: &mut World, who: usize, intent: &Intent, tell: Tell<'_>) {
        if intent.message.is_some() {
            world.onlooker.dropped(intent);
        } else if intent.unsure {
            tell(format_args!("{} answers that the outcome is unknown.", NAMES[who]));
            self.note(Happened::Unknown(intent.change));
        } else {
            world.onlooker.told_no(intent);
            if SERVERS.contains(&who) {
                tell(format_args!("{} answers no.", NAMES[who]));
            }
        }
    }
}

/// What a story says of a task.
struct Shown<'a>(&'a Task<Document>);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (status, version) = (self.0.status(), self.0.payload().version);
        let (revision, run) = (self.0.revision(), self.0.run());
        write!(f, "{status}, configuration {version}, revision {revision}, run {run}")
    }
}
