//! The protocol without one of its precautions.

use task_lifecycle::{Snapshot, StaleRun, Task};

use crate::Protocol;
use crate::world::{Change, Document, Message, World};

/// A precaution that is left out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fault {
    CommitWithoutRevision,
    RevisionRestoredOnRevert,
    EditNotCounted,
    ConflictIgnored,
    StartWithoutCheck,
    EditWithoutCheck,
    FinishWithoutCheck,
    RunRestoredOnRevert,
    RetryInTheSameRun,
    TakeOverInTheSameRun,
    StartUnsigned,
    MessageByRevision,
    MessageAfterTheCommit,
    MessageAcknowledgedOnReceipt,
    FinishWithoutReload,
    ConflictDropsTheResult,
    UnknownTakenForNo,
    UnknownTakenForYes,
    UnknownTriedAgain,
    PreviousInTheMessage,
}

impl Fault {
    /// With the titles of their stories.
    pub const ALL: [(Self, &'static str); 20] = [
        (Self::CommitWithoutRevision, "Commit without comparing the revision"),
        (Self::RevisionRestoredOnRevert, "Restore the revision on a revert"),
        (Self::EditNotCounted, "Edit without counting a revision"),
        (Self::ConflictIgnored, "Ignore that no row changed"),
        (Self::StartWithoutCheck, "Start without `check_run`"),
        (Self::EditWithoutCheck, "Edit in a run's name without `check_run`"),
        (Self::FinishWithoutCheck, "Finish without `check_run`"),
        (Self::RunRestoredOnRevert, "Restore the run on a revert"),
        (Self::RetryInTheSameRun, "Retry without a new run"),
        (Self::TakeOverInTheSameRun, "Take a run over without a new one"),
        (Self::StartUnsigned, "Start without writing who started"),
        (Self::MessageByRevision, "Send the revision instead of the run"),
        (Self::MessageAfterTheCommit, "Send the message after the commit"),
        (Self::MessageAcknowledgedOnReceipt, "Acknowledge the message on receipt"),
        (Self::FinishWithoutReload, "Finish by the revision of the start"),
        (Self::ConflictDropsTheResult, "Drop the result at the first conflict"),
        (Self::UnknownTakenForNo, "Take an unknown outcome for no"),
        (Self::UnknownTakenForYes, "Take an unknown outcome for yes"),
        (Self::UnknownTriedAgain, "Try again what may have happened"),
        (Self::PreviousInTheMessage, "Keep the previous state in the message"),
    ];
}

impl Protocol {
    pub(crate) fn has(&self, fault: Fault) -> bool {
        self.fault == Some(fault)
    }

    pub(crate) fn take_over(&self) -> Change {
        if self.has(Fault::TakeOverInTheSameRun) {
            Change::TakeOverInTheSameRun
        } else {
            Change::TakeOver
        }
    }

    /// Whether the worker asks for its run before this change.
    pub(crate) fn checks(&self, change: Change) -> bool {
        let skipped = match change {
            Change::Progress => Fault::EditWithoutCheck,
            _ if change.gets_the_run() => Fault::StartWithoutCheck,
            _ => Fault::FinishWithoutCheck,
        };
        !self.has(skipped)
    }

    /// Whether the run that the worker holds is current.
    pub(crate) fn check(
        &self,
        row: &Task<Document>,
        change: Change,
        message: Message,
    ) -> Result<(), StaleRun> {
        if self.has(Fault::MessageByRevision) && change.gets_the_run() {
            let (expected, actual, status) = (message.run, row.run(), row.status());
            let checked = row.check_revision(expected);
            return checked.map_err(|_| StaleRun { expected, actual, status });
        }
        row.check_run(message.run)
    }

    /// What the maker of a change writes into it, so that nobody else's is the same.
    pub(crate) fn mark(&self, world: &World, who: usize, change: Change) -> usize {
        match change {
            Change::Update => world.versions,
            _ if self.has(Fault::StartUnsigned) => 0,
            _ => who,
        }
    }

    pub(crate) fn drops_on_conflict(&self) -> bool {
        self.has(Fault::ConflictDropsTheResult) || self.has(Fault::FinishWithoutReload)
    }

    /// What is taken for the answer when it was lost.
    pub(crate) fn guess(&self) -> Option<bool> {
        match self.fault {
            Some(Fault::UnknownTakenForYes) => Some(true),
            Some(Fault::UnknownTakenForNo) => Some(false),
            _ => None,
        }
    }

    /// Writes what the faulty protocol would have stored.
    pub(crate) fn spoil(&self, world: &mut World, change: Change) {
        let Some(fault) = self.fault else { return };
        let Some(row) = world.row.take() else { return };
        let mut stored: Snapshot<Document> = row.into();
        let reverts = matches!(change, Change::Cancel | Change::CancelOwn | Change::Fail);
        let before = world.onlooker.before.as_ref().filter(|_| reverts);
        match (fault, change) {
            (Fault::RevisionRestoredOnRevert, _) => {
                stored.revision = before.map_or(stored.revision, Task::revision);
            }
            (Fault::RunRestoredOnRevert, _) => stored.run = before.map_or(stored.run, Task::run),
            (Fault::EditNotCounted, Change::Edit | Change::Progress) => stored.revision -= 1,
            (Fault::RetryInTheSameRun, Change::Retry) => stored.run -= 1,
            (Fault::PreviousInTheMessage, _) => stored.previous = None,
            _ => {}
        }
        world.row = Task::try_from(stored).ok();
    }
}
