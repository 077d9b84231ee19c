//! The protocol without one of its precautions.

use crate::Law;
use crate::world::Budget;

table! {
    /// A precaution that is left out: the law that then breaks, the budget for its story, and what
    /// is done instead.
    Fault: (Law, Budget, &'static str) {
        CommitWithoutRevision: (Law::NothingLost, [0, 0, 0], "The commit does not compare the revision."),
        ConflictIgnored: (Law::OneWorker, [0, 0, 0], "Nobody looks whether the commit changed a row."),
        RevisionRestoredOnRevert: (Law::NothingLost, [4, 0, 0], "A revert brings the old revision back."),
        EditNotCounted: (Law::NothingLost, [1, 0, 0], "An edit does not count as a revision."),
        HalfADraft: (Law::NothingLost, [1, 0, 0], "A draft is committed though its second operation was refused."),
        PreviousInTheMessage: (Law::RevertIsExact, [3, 0, 0], "The previous state is in the message, not in the task."),
        CancelWhileProcessing: (Law::StartingOnly, [1, 0, 0], "A client's cancel of a running task does `retry` and `cancel`."),
        StartWithoutCheck: (Law::Fenced, [2, 0, 0], "A worker starts without `check_run`."),
        EditWithoutCheck: (Law::CancelHolds, [3, 0, 0], "A worker edits in its run's name without `check_run`."),
        FinishWithoutCheck: (Law::CompletedIsOver, [2, 0, 0], "A worker ends its run without `check_run`."),
        FinishWithoutReload: (Law::RunIsKept, [1, 0, 0], "A worker ends its run by the copy that it started with."),
        ConflictDropsTheResult: (Law::RunIsKept, [1, 0, 0], "A worker drops its result at the first conflict."),
        RunRestoredOnRevert: (Law::Fenced, [4, 0, 0], "A revert brings the old run back."),
        RetryInTheSameRun: (Law::Fenced, [1, 0, 0], "A retry does not count as a run."),
        MessageByRevision: (Law::StartingIsQueued, [1, 0, 0], "A message carries the revision in place of the run."),
        MessageAfterTheCommit: (Law::StartingIsQueued, [1, 1, 0], "The message is sent when the commit is known to have won, not in it."),
        MessageAcknowledgedOnReceipt: (Law::StartingIsQueued, [0, 1, 0], "A worker acknowledges the message when it gets it."),
        AheadTakenForOver: (Law::StartingIsQueued, [1, 0, 1], "A worker loads from a replica, and acknowledges a message that is ahead."),
        NoTaskTakenForOver: (Law::StartingIsQueued, [0, 0, 1], "A worker loads from a replica, and acknowledges a message without a task."),
        FinishOnALoadBehind: (Law::RunIsKept, [0, 0, 1], "A worker loads from a replica to end its run."),
        RefusalOnALoadBehind: (Law::RefusalIsTrue, [2, 0, 1], "A server loads from a replica, and refuses."),
        AheadRevisionRefused: (Law::RefusalIsTrue, [2, 0, 1], "A server loads from a replica, and refuses a named revision that is ahead."),
        NamedRevisionIgnored: (Law::NamedOnly, [2, 0, 0], "A server ignores the revision that its client named."),
        PushFailedWithoutCheck: (Law::Fenced, [3, 1, 0], "A push got no answer, and the server does `fail` without `check_run`."),
        PushFailedWhileProcessing: (Law::LeaseHolds, [2, 1, 0], "A push got no answer, and the server does `fail` in `Processing`, too."),
        UnknownTakenForNo: (Law::AnswersAreTrue, [1, 1, 0], "A commit without an answer is taken for a conflict."),
        UnknownTakenForYes: (Law::AnswersAreTrue, [0, 1, 0], "A commit without an answer is taken to be made."),
        OpenDecidedAgain: (Law::AnswersAreTrue, [1, 1, 0], "On `Outcome::Open` somebody decides anew, in place of sending the same draft."),
        OpenMadeTwice: (Law::NotTwice, [2, 1, 0], "On `Outcome::Open` somebody decides anew, and its change is made twice."),
        EchoTakenForRefusal: (Law::AnswersAreTrue, [2, 1, 0], "On `Outcome::Unknown` a server answers with the refusal that is at hand."),
        UnknownTriedAgain: (Law::NotTwice, [3, 1, 0], "On `Outcome::Unknown` somebody without a run tries again."),
        EditAdded: (Law::NotTwice, [2, 1, 0], "A worker adds to what it noted, in place of setting it."),
        StartUnsigned: (Law::OneWorker, [0, 1, 0], "A worker does not write into the payload that it started."),
        OwnMarkNotLookedFor: (Law::RunIsKept, [1, 1, 0], "On `Outcome::Unknown` a worker does not look for its own mark."),
        TakeOverForgotten: (Law::RunIsKept, [2, 1, 0], "On `Outcome::Unknown` a take-over is looked for in the message's run."),
        TakeOverInTheSameRun: (Law::OneWorker, [0, 0, 0], "A worker goes on in the run of a message that is delivered again."),
        TakeOverAtOnce: (Law::LeaseHolds, [0, 0, 0], "A worker takes a run over before its lease is over."),
        SweptAtOnce: (Law::LeaseHolds, [0, 0, 0], "The sweeper ends a run before its lease is over."),
        LeaseNotCompared: (Law::LeaseHolds, [1, 0, 0], "A sweep and a take-over do not compare the lease that they saw."),
        LeaseAfterTheStart: (Law::LeaseFits, [0, 0, 0], "The lease is taken at the first renewal, not in the commit of the start."),
        LeaseNotCleared: (Law::LeaseFits, [0, 0, 0], "The lease is not cleared by the commit that ends the run."),
        StopIsAFlag: (Law::StopsItsOwn, [2, 0, 0], "A stop request is a plain flag beside the task."),
        StopIsBoundToItsRun: (Law::StopSurvives, [2, 0, 0], "A stop request holds for one run."),
        StopWithoutEdit: (Law::StopIsNotLost, [1, 0, 0], "A stop request does not edit the task."),
        StopRequestedAgain: (Law::StopsItsOwn, [3, 0, 0], "After a conflict a stop is requested of whatever runs then."),
        StopNotLookedFor: (Law::StopIsNotLost, [1, 0, 0], "Nobody looks for a stop request when a run starts or ends."),
        StopTakenForMade: (Law::AnswersAreTrue, [2, 1, 0], "A stop request without an answer counts when the task is equal, its flag not looked at."),
        QueuedRunNotNoted: (Law::StopsItsOwn, [3, 0, 0], "An update leaves `queued_run` and the stop request as they are."),
    }
}
