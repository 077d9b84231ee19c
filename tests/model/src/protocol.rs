//! The way to a decision, by what was loaded.

use std::error::Error;

use task_lifecycle::{Draft, Snapshot, StaleRun, Task};

use crate::change::Change;
use crate::laws::{Fault, Law};
use crate::page::Fate;
use crate::world::{Budget, Decision, Intent, Message, Row, SWEEPER, World};

pub struct Protocol {
    pub budget: Budget,
    pub fault: Option<Fault>,
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
        let is_its = |law: &Law| self.fault.is_none_or(|fault| fault.row().0 == *law);
        Law::ALL.iter().copied().filter(is_its).find(|law| !law.holds(self, world))
    }

    pub fn decide(&self, row: Option<&Row>, mut intent: Intent) -> Result<Box<Decision>, No> {
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
        let change = self.resolve(row, &mut intent).ok_or(No(Fate::LeftToOthers, false, None))?;
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
        let compares = intent.who == SWEEPER || intent.change.gets_the_run();
        let compares = compares && !self.has(Fault::LeaseNotCompared);
        let over = row.lease.filter(|lease| compares && lease.over);
        Ok(Box::new(Decision { intent, change, draft, over, again: false, awaited: true }))
    }

    /// Turns the wish into a change; `None` if it is left to somebody else.
    fn resolve(&self, row: &Row, intent: &mut Intent) -> Option<Change> {
        use Change::{
            Cancel, Fail, FailUnpushed, GoOn, Halt, Retry, Start, Stop, Succeed, TakeOver,
        };
        let processing = row.is_processing();
        let looks = intent.held().is_some() || !self.has(Fault::StopIsBoundToItsRun);
        let to_stop = self.stop_holds(Some(row)) && looks && !self.has(Fault::StopNotLookedFor);
        Some(match intent.change {
            TakeOver if processing && self.has(Fault::TakeOverInTheSameRun) => GoOn,
            // It was delivered before.
            Start if processing => return None,
            TakeOver if processing && !self.may_end(intent.who, row) => return None,
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
        let (mut stored, was) = (Snapshot::from(row.task.clone()), &before.task);
        match fault {
            Fault::RevisionRestoredOnRevert => stored.revision = updated.revision(),
            Fault::RunRestoredOnRevert => stored.run = updated.run(),
            Fault::EditNotCounted if matches!(change, Change::Edit | Change::Progress) => {
                stored.revision = was.revision();
            }
            Fault::RetryInTheSameRun if change == Change::Retry => stored.run = was.run(),
            Fault::PreviousInTheMessage => stored.previous = None,
            Fault::LeaseAfterTheStart if change.gets_the_run() => row.lease = None,
            Fault::LeaseNotCleared => row.lease = row.lease.or(before.lease),
            Fault::StopIsAFlag => row.stop_requested = row.stop_requested.or(before.stop_requested),
            Fault::QueuedRunNotNoted if change.queues() => {
                (row.queued_run, row.stop_requested) = (before.queued_run, before.stop_requested);
            }
            _ => {}
        }
        row.task = Task::try_from(stored).unwrap_or_else(|_| row.task.clone());
    }
}
