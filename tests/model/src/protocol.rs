//! The way to a decision, by what was loaded.

use std::error::Error;
use std::sync::Arc;

use task_lifecycle::{Draft, Snapshot, StaleRun, Task};

use crate::change::{Change, Document};
use crate::page::{Fate, Happened};
use crate::world::{Budget, Decision, Intent, Message, Row, SWEEPER, WORKERS, World};
use crate::{Fault, Law};

pub struct Protocol {
    pub budget: Budget,
    pub fault: Option<Fault>,
    pub happened: Arc<Happened>,
}

/// The reason that nothing was decided: whether the caller knows more than was loaded, and the
/// crate's own words.
pub struct No(pub Fate, pub bool, pub Option<Box<dyn Error>>);

impl Protocol {
    pub fn has(&self, fault: Fault) -> bool {
        self.fault == Some(fault)
    }

    /// Returns a law that is broken; of a fault, its own is looked at.
    pub fn broken(&self, world: &World) -> Option<Law> {
        let law = self.fault.map(|fault| fault.row().0);
        let mut laws = Law::ALL.iter().filter(|&&other| law.is_none_or(|law| law == other));
        laws.find(|law| !law.holds(self, world)).copied()
    }

    pub fn decide(&self, row: Option<&Row>, mut intent: Intent) -> Result<Decision, No> {
        let row = row.ok_or(No(Fate::NoTask, !self.has(Fault::NoTaskTakenForOver), None))?;
        if let Some(token) = intent.token {
            self.check(row, intent.change, token).map_err(|stale| {
                let is_ahead = stale.is_ahead() && !self.has(Fault::AheadTakenForOver);
                No(Fate::RunIsOver, is_ahead, Some(stale.into()))
            })?;
        }
        if let Some(named) = intent.named.filter(|_| !self.has(Fault::NamedRevisionIgnored)) {
            row.task.check_revision(named).map_err(|stale| {
                let is_ahead = stale.is_ahead() && !self.has(Fault::AheadRevisionRefused);
                No(Fate::OtherRevision, is_ahead, Some(stale.into()))
            })?;
        }
        let change = self.resolve(row, &mut intent);
        let change = change.ok_or(No(Fate::LeftToOthers, false, None))?;
        let mut draft = Draft::new(row.task.clone());
        if change == Change::Progress && self.has(Fault::EditAdded) {
            intent.mark = draft.payload().written + 1;
        }
        let is_beside = self.has(Fault::StopIsAFlag) || self.has(Fault::StopWithoutEdit);
        if (change != Change::Stop || !is_beside)
            && let Err(no) = change.apply(&mut draft, intent.mark)
            && (draft.revision() == draft.loaded() || !self.has(Fault::HalfADraft))
        {
            return Err(No(Fate::Refused, false, Some(no.into())));
        }
        let compares =
            (intent.who == SWEEPER || intent.change.gets_the_run()) && row.has_lease(true);
        let over = row.lease.filter(|_| compares && !self.has(Fault::LeaseNotCompared));
        Ok(Decision { intent, change, draft, over, again: false, awaited: true })
    }

    /// Turns the wish into a change; `None` if it is left to somebody else.
    fn resolve(&self, row: &Row, intent: &mut Intent) -> Option<Change> {
        use Change::{
            Cancel, Fail, FailUnpushed, GoOn, Halt, Retry, Start, Stop, Succeed, TakeOver,
        };
        let (processing, may_end) = (row.is_processing(), self.may_end(intent.who, row));
        let has_it = WORKERS.contains(&intent.who) && !intent.change.gets_the_run();
        let looks = has_it || !self.has(Fault::StopIsBoundToItsRun);
        let to_stop = self.stop_holds(Some(row)) && looks && !self.has(Fault::StopNotLookedFor);
        Some(match intent.change {
            TakeOver if processing && self.has(Fault::TakeOverInTheSameRun) => GoOn,
            // It was delivered before.
            Start if processing => return None,
            TakeOver if processing && !may_end => return None,
            // The push arrived after all.
            FailUnpushed if processing && !self.has(Fault::PushFailedWhileProcessing) => {
                return None;
            }
            Start | TakeOver | Fail | Retry | Succeed if to_stop => Halt,
            TakeOver if !processing => Start,
            Stop => {
                let first = *intent.queued_run.get_or_insert(row.queued_run);
                if first != row.queued_run && !self.has(Fault::StopRequestedAgain) {
                    return None;
                }
                if processing { Stop } else { Cancel }
            }
            Cancel if processing && self.has(Fault::CancelWhileProcessing) => Halt,
            other => other,
        })
    }

    /// Checks that the run is current, before a change in its name.
    pub fn check(&self, row: &Row, change: Change, token: Message) -> Result<(), StaleRun> {
        let skipped = match change {
            Change::Progress => Fault::EditWithoutCheck,
            Change::FailUnpushed => Fault::PushFailedWithoutCheck,
            _ if change.gets_the_run() => Fault::StartWithoutCheck,
            _ => Fault::FinishWithoutCheck,
        };
        let (task, expected) = (&row.task, token.run);
        if self.has(Fault::MessageByRevision) && change.gets_the_run() {
            let stale = StaleRun { expected, actual: task.run(), status: task.status() };
            return if task.revision().get() == expected.get() { Ok(()) } else { Err(stale) };
        }
        if self.has(skipped) { Ok(()) } else { task.check_run(expected) }
    }

    /// Returns whether somebody else may end the run, or take it over.
    pub fn may_end(&self, who: usize, row: &Row) -> bool {
        let early = match who {
            SWEEPER => self.has(Fault::SweptAtOnce),
            _ => self.has(Fault::TakeOverAtOnce) || self.has(Fault::TakeOverInTheSameRun),
        };
        row.is_processing() && (row.has_lease(true) || early)
    }

    /// Returns whether the owner of the run is to stop.
    pub fn stop_holds(&self, row: Option<&Row>) -> bool {
        let row = row.filter(|row| row.task.status().is_active());
        let request = row.and_then(|row| Some((row, row.stop_requested?)));
        request.is_some_and(|(row, requested)| match self.fault {
            Some(Fault::StopIsAFlag) => true,
            Some(Fault::StopIsBoundToItsRun) => requested == row.task.run(),
            _ => !row.queued_run.is_after(requested),
        })
    }

    /// Writes what the faulty protocol would have stored.
    pub fn spoil(&self, world: &mut World, before: &Row, change: Change) {
        let (Some(fault), Some(row)) = (self.fault, world.row.as_mut()) else { return };
        let is_revert = !row.task.is_update() && change != Change::Succeed;
        let updated = world.onlooker.before.as_ref().filter(|_| is_revert).unwrap_or(&row.task);
        let mut stored: Snapshot<Document> = row.task.clone().into();
        match (fault, change) {
            (Fault::RevisionRestoredOnRevert, _) => stored.revision = updated.revision(),
            (Fault::RunRestoredOnRevert, _) => stored.run = updated.run(),
            (Fault::EditNotCounted, Change::Edit | Change::Progress) => {
                stored.revision = before.task.revision();
            }
            (Fault::RetryInTheSameRun, Change::Retry) => stored.run = before.task.run(),
            (Fault::PreviousInTheMessage, _) => stored.previous = None,
            (Fault::LeaseAfterTheStart, Change::Start | Change::TakeOver) => row.lease = None,
            (Fault::LeaseNotCleared, _) => row.lease = row.lease.or(before.lease),
            (Fault::StopIsAFlag, _) => {
                row.stop_requested = row.stop_requested.or(before.stop_requested);
            }
            (Fault::QueuedRunNotNoted, _) if change.queues() => {
                (row.queued_run, row.stop_requested) = (before.queued_run, before.stop_requested);
            }
            _ => {}
        }
        row.task = Task::try_from(stored).unwrap_or_else(|_| row.task.clone());
    }
}
