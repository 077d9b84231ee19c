//! The protocol without one of its precautions.

use task_lifecycle::{Revision, Run, Snapshot, StaleRun, Task};

use crate::Protocol;
use crate::change::{Change, Document};
use crate::laws::Law;
use crate::world::{Message, Row, World};

macro_rules! faults {
    ($($Fault:ident breaks $Law:ident: $title:literal,)*) => {
        /// A precaution that is left out.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        pub enum Fault { $($Fault),* }

        impl Fault {
            /// With the law that then breaks, and what is done instead.
            pub const ALL: &[(Self, Law, &'static str)] = &[$((Self::$Fault, Law::$Law, $title)),*];
        }
    };
}

faults! {
    CommitWithoutRevision breaks NothingLost: "The commit does not compare the revision.",
    ConflictIgnored breaks OneWorker: "Nobody looks whether the commit changed a row.",
    RevisionRestoredOnRevert breaks NothingLost: "A revert brings the old revision back.",
    EditNotCounted breaks NothingLost: "An edit does not count as a revision.",
    HalfADraft breaks NothingLost: "A draft is committed though its second operation was refused.",
    PreviousInTheMessage breaks RevertIsExact: "The previous state is in the message, not in the task.",
    CancelWhileProcessing breaks StartingOnly: "A client's cancel of a running task does `retry` and `cancel`.",
    StartWithoutCheck breaks Fenced: "A worker starts without `check_run`.",
    EditWithoutCheck breaks CompletedIsOver: "A worker edits in its run's name without `check_run`.",
    FinishWithoutCheck breaks Fenced: "A worker ends its run without `check_run`.",
    FinishWithoutReload breaks RunIsKept: "A worker ends its run by the copy that it started with.",
    ConflictDropsTheResult breaks RunIsKept: "A worker drops its result at the first conflict.",
    RunRestoredOnRevert breaks Fenced: "A revert brings the old run back.",
    RetryInTheSameRun breaks Fenced: "A retry does not count as a run.",
    MessageByRevision breaks StartingIsQueued: "A message carries the revision in place of the run.",
    MessageAfterTheCommit breaks StartingIsQueued: "The message is sent when the commit is known to have won, not in it.",
    MessageAcknowledgedOnReceipt breaks StartingIsQueued: "A worker acknowledges the message when it gets it.",
    AheadTakenForOver breaks StartingIsQueued: "A worker loads from a replica, and acknowledges a message that is ahead.",
    NoTaskTakenForOver breaks StartingIsQueued: "A worker loads from a replica, and acknowledges a message without a task.",
    FinishOnALoadBehind breaks RunIsKept: "A worker loads from a replica to end its run.",
    RefusalOnALoadBehind breaks RefusalIsTrue: "A server loads from a replica, and refuses.",
    AheadRevisionRefused breaks RefusalIsTrue: "A server loads from a replica, and refuses a named revision that is ahead.",
    NamedRevisionIgnored breaks NamedOnly: "A server ignores the revision that its client named.",
    PushFailedWithoutCheck breaks Fenced: "A push got no answer, and the server does `fail` without `check_run`.",
    PushFailedWhileProcessing breaks LeaseHolds: "A push got no answer, and the server does `fail` in `Processing`, too.",
    UnknownTakenForNo breaks AnswersAreTrue: "A commit without an answer is taken for a conflict.",
    UnknownTakenForYes breaks AnswersAreTrue: "A commit without an answer is taken to be made.",
    OpenDecidedAgain breaks AnswersAreTrue: "On `Outcome::Open` a server decides anew, in place of sending the same draft.",
    OpenMadeTwice breaks NotTwice: "On `Outcome::Open` a server decides anew, and makes its change twice.",
    EchoTakenForRefusal breaks AnswersAreTrue: "On `Outcome::Unknown` a server answers with the refusal that is at hand.",
    UnknownTriedAgain breaks NotTwice: "On `Outcome::Unknown` a server tries again.",
    EditAdded breaks NotTwice: "A worker adds to what it noted, in place of setting it.",
    StartUnsigned breaks OneWorker: "A worker does not write into the payload that it started.",
    OwnMarkNotLookedFor breaks RunIsKept: "On `Outcome::Unknown` a worker does not look for its own mark.",
    TakeOverForgotten breaks RunIsKept: "On `Outcome::Unknown` a take-over is looked for in the message's run.",
    TakeOverInTheSameRun breaks OneWorker: "A worker goes on in the run of a message that is delivered again.",
    TakeOverAtOnce breaks LeaseHolds: "A worker takes a run over before its lease is over.",
    SweptAtOnce breaks LeaseHolds: "The sweeper ends a run before its lease is over.",
    LeaseNotCompared breaks LeaseHolds: "A sweep and a take-over do not compare the lease that they saw.",
    LeaseAfterTheStart breaks LeaseFits: "The lease is taken at the first renewal, not in the commit of the start.",
    LeaseNotCleared breaks LeaseFits: "The lease is not cleared by the commit that ends the run.",
    StopIsAFlag breaks StopsItsOwn: "A stop request is a plain flag beside the task.",
    StopIsBoundToItsRun breaks StopSurvives: "A stop request holds for one run.",
    StopWithoutEdit breaks StopIsNotLost: "A stop request does not edit the task.",
    StopRequestedAgain breaks StopsItsOwn: "After a conflict a stop is requested of whatever runs then.",
    StopNotLookedFor breaks StopIsNotLost: "Nobody looks for a stop request when a run starts or ends.",
    StopTakenForMade breaks AnswersAreTrue: "A stop request without an answer counts when the task is equal, its flag not looked at.",
    ReplacementCountsAsRetry breaks StopsItsOwn: "A replaced update leaves `queued_run` and the stop request as they are.",
}

impl Protocol {
    pub(crate) fn has(&self, fault: Fault) -> bool {
        self.fault == Some(fault)
    }

    /// Whether the run is asked for before this change.
    pub(crate) fn checks(&self, change: Change) -> bool {
        let skipped = match change {
            Change::Progress => Fault::EditWithoutCheck,
            Change::FailUnpushed => Fault::PushFailedWithoutCheck,
            _ if change.gets_the_run() => Fault::StartWithoutCheck,
            _ => Fault::FinishWithoutCheck,
        };
        !self.has(skipped)
    }

    /// Whether the run is current.
    pub(crate) fn check(&self, row: &Row, change: Change, token: Message) -> Result<(), StaleRun> {
        let task = &row.task;
        if self.has(Fault::MessageByRevision) && change.gets_the_run() {
            let (expected, actual, status) = (token.run, task.run(), task.status());
            let checked = task.check_revision(Revision::new(expected.get()));
            return checked.map_err(|_| StaleRun { expected, actual, status });
        }
        task.check_run(token.run)
    }

    /// Whether whoever owns the run is to stop.
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
            (Fault::StopIsAFlag, _) => row.stop_requested = row.stop_requested.or(before.stop_requested),
            (Fault::ReplacementCountsAsRetry, Change::Replace) => {
                (row.queued_run, row.stop_requested) = (before.queued_run, before.stop_requested);
            }
            _ => {}
        }
        row.task = Task::try_from(stored).unwrap_or_else(|_| row.task.clone());
    }

    /// What a message carries.
    pub(crate) fn address(&self, row: &Row) -> Run {
        if self.has(Fault::MessageByRevision) {
            Run::new(row.task.revision().get())
        } else {
            row.task.run()
        }
    }
}
