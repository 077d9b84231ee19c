//! The protocol without one of its precautions.

use task_lifecycle::{Revision, Run, Snapshot, StaleRun, Task};

use crate::Protocol;
use crate::change::{Change, Document};
use crate::laws::Law;
use crate::world::{Budget, Message, Row, World};

macro_rules! faults {
    ($($Fault:ident breaks $Law:ident in $changes:literal $losses:literal $behind:literal: $title:literal,)*) => {
        /// A precaution that is left out.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        pub enum Fault { $($Fault),* }

        impl Fault {
            /// With the law that then breaks, the budget for its story, and what is done instead.
            pub const ALL: &[(Self, Law, Budget, &'static str)] =
                &[$((Self::$Fault, Law::$Law, [$changes, $losses, $behind], $title)),*];
        }
    };
}

faults! {
    CommitWithoutRevision breaks NothingLost in 0 0 0: "The commit does not compare the revision.",
    ConflictIgnored breaks OneWorker in 0 0 0: "Nobody looks whether the commit changed a row.",
    RevisionRestoredOnRevert breaks NothingLost in 4 0 0: "A revert brings the old revision back.",
    EditNotCounted breaks NothingLost in 1 0 0: "An edit does not count as a revision.",
    HalfADraft breaks NothingLost in 1 0 0: "A draft is committed though its second operation was refused.",
    PreviousInTheMessage breaks RevertIsExact in 3 0 0: "The previous state is in the message, not in the task.",
    CancelWhileProcessing breaks StartingOnly in 1 0 0: "A client's cancel of a running task does `retry` and `cancel`.",
    StartWithoutCheck breaks Fenced in 2 0 0: "A worker starts without `check_run`.",
    EditWithoutCheck breaks CancelHolds in 3 0 0: "A worker edits in its run's name without `check_run`.",
    FinishWithoutCheck breaks CompletedIsOver in 2 0 0: "A worker ends its run without `check_run`.",
    FinishWithoutReload breaks RunIsKept in 1 0 0: "A worker ends its run by the copy that it started with.",
    ConflictDropsTheResult breaks RunIsKept in 1 0 0: "A worker drops its result at the first conflict.",
    RunRestoredOnRevert breaks Fenced in 4 0 0: "A revert brings the old run back.",
    RetryInTheSameRun breaks Fenced in 1 0 0: "A retry does not count as a run.",
    MessageByRevision breaks StartingIsQueued in 1 0 0: "A message carries the revision in place of the run.",
    MessageAfterTheCommit breaks StartingIsQueued in 1 1 0: "The message is sent when the commit is known to have won, not in it.",
    MessageAcknowledgedOnReceipt breaks StartingIsQueued in 0 1 0: "A worker acknowledges the message when it gets it.",
    AheadTakenForOver breaks StartingIsQueued in 1 0 1: "A worker loads from a replica, and acknowledges a message that is ahead.",
    NoTaskTakenForOver breaks StartingIsQueued in 0 0 1: "A worker loads from a replica, and acknowledges a message without a task.",
    FinishOnALoadBehind breaks RunIsKept in 0 0 1: "A worker loads from a replica to end its run.",
    RefusalOnALoadBehind breaks RefusalIsTrue in 2 0 1: "A server loads from a replica, and refuses.",
    AheadRevisionRefused breaks RefusalIsTrue in 2 0 1: "A server loads from a replica, and refuses a named revision that is ahead.",
    NamedRevisionIgnored breaks NamedOnly in 2 0 0: "A server ignores the revision that its client named.",
    PushFailedWithoutCheck breaks Fenced in 3 1 0: "A push got no answer, and the server does `fail` without `check_run`.",
    PushFailedWhileProcessing breaks LeaseHolds in 2 1 0: "A push got no answer, and the server does `fail` in `Processing`, too.",
    UnknownTakenForNo breaks AnswersAreTrue in 1 1 0: "A commit without an answer is taken for a conflict.",
    UnknownTakenForYes breaks AnswersAreTrue in 0 1 0: "A commit without an answer is taken to be made.",
    OpenDecidedAgain breaks AnswersAreTrue in 1 1 0: "On `Outcome::Open` somebody decides anew, in place of sending the same draft.",
    OpenMadeTwice breaks NotTwice in 2 1 0: "On `Outcome::Open` somebody decides anew, and its change is made twice.",
    EchoTakenForRefusal breaks AnswersAreTrue in 2 1 0: "On `Outcome::Unknown` a server answers with the refusal that is at hand.",
    UnknownTriedAgain breaks NotTwice in 3 1 0: "On `Outcome::Unknown` somebody without a run tries again.",
    EditAdded breaks NotTwice in 2 1 0: "A worker adds to what it noted, in place of setting it.",
    StartUnsigned breaks OneWorker in 0 1 0: "A worker does not write into the payload that it started.",
    OwnMarkNotLookedFor breaks RunIsKept in 1 1 0: "On `Outcome::Unknown` a worker does not look for its own mark.",
    TakeOverForgotten breaks RunIsKept in 2 1 0: "On `Outcome::Unknown` a take-over is looked for in the message's run.",
    TakeOverInTheSameRun breaks OneWorker in 0 0 0: "A worker goes on in the run of a message that is delivered again.",
    TakeOverAtOnce breaks LeaseHolds in 0 0 0: "A worker takes a run over before its lease is over.",
    SweptAtOnce breaks LeaseHolds in 0 0 0: "The sweeper ends a run before its lease is over.",
    LeaseNotCompared breaks LeaseHolds in 1 0 0: "A sweep and a take-over do not compare the lease that they saw.",
    LeaseAfterTheStart breaks LeaseFits in 0 0 0: "The lease is taken at the first renewal, not in the commit of the start.",
    LeaseNotCleared breaks LeaseFits in 0 0 0: "The lease is not cleared by the commit that ends the run.",
    StopIsAFlag breaks StopsItsOwn in 2 0 0: "A stop request is a plain flag beside the task.",
    StopIsBoundToItsRun breaks StopSurvives in 2 0 0: "A stop request holds for one run.",
    StopWithoutEdit breaks StopIsNotLost in 1 0 0: "A stop request does not edit the task.",
    StopRequestedAgain breaks StopsItsOwn in 3 0 0: "After a conflict a stop is requested of whatever runs then.",
    StopNotLookedFor breaks StopIsNotLost in 1 0 0: "Nobody looks for a stop request when a run starts or ends.",
    StopTakenForMade breaks AnswersAreTrue in 2 1 0: "A stop request without an answer counts when the task is equal, its flag not looked at.",
    QueuedRunNotNoted breaks StopsItsOwn in 3 0 0: "An update leaves `queued_run` and the stop request as they are.",
}

impl Protocol {
    pub(crate) fn has(&self, fault: Fault) -> bool {
        self.fault == Some(fault)
    }

    /// Returns whether a commit that fits no more will never fit again.
    pub(crate) fn counts_every_change(&self) -> bool {
        use Fault::{CommitWithoutRevision, EditNotCounted, RevisionRestoredOnRevert, StopIsAFlag};
        ![CommitWithoutRevision, EditNotCounted, RevisionRestoredOnRevert, StopIsAFlag]
            .into_iter()
            .any(|fault| self.has(fault))
    }

    /// Returns whether the run is asked for before this change.
    pub(crate) fn checks(&self, change: Change) -> bool {
        let skipped = match change {
            Change::Progress => Fault::EditWithoutCheck,
            Change::FailUnpushed => Fault::PushFailedWithoutCheck,
            _ if change.gets_the_run() => Fault::StartWithoutCheck,
            _ => Fault::FinishWithoutCheck,
        };
        !self.has(skipped)
    }

    /// Checks that the run is current.
    pub(crate) fn check(&self, row: &Row, change: Change, token: Message) -> Result<(), StaleRun> {
        let task = &row.task;
        if self.has(Fault::MessageByRevision) && change.gets_the_run() {
            let (expected, actual, status) = (token.run, task.run(), task.status());
            let checked = task.check_revision(Revision::new(expected.get()));
            return checked.map_err(|_| StaleRun { expected, actual, status });
        }
        task.check_run(token.run)
    }

    /// Returns whether the owner of the run is to stop.
    pub(crate) fn stop_holds(&self, row: &Row) -> bool {
        row.task.status().is_active()
            && row.stop_requested.is_some_and(|requested| match self.fault {
                Some(Fault::StopIsAFlag) => true,
                Some(Fault::StopIsBoundToItsRun) => requested == row.task.run(),
                _ => !row.queued_run.is_after(requested),
            })
    }

    /// Writes what the faulty protocol would have stored.
    pub(crate) fn spoil(&self, world: &mut World, before: &Row, change: Change) {
        let (Some(fault), Some(row)) = (self.fault, world.row.as_mut()) else { return };
        let updated = world.onlooker.before.as_ref();
        let updated = updated.filter(|_| !row.task.is_update() && change != Change::Succeed);
        let mut stored: Snapshot<Document> = row.task.clone().into();
        match (fault, change) {
            (Fault::RevisionRestoredOnRevert, _) => {
                stored.revision = updated.map_or(stored.revision, Task::revision);
            }
            (Fault::RunRestoredOnRevert, _) => stored.run = updated.map_or(stored.run, Task::run),
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

    /// Returns the run that a message carries.
    pub(crate) fn address(&self, row: &Row) -> Run {
        if self.has(Fault::MessageByRevision) {
            Run::new(row.task.revision().get())
        } else {
            row.task.run()
        }
    }
}
