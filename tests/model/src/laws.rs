//! The laws, which hold in every order of events, and the faults that break them.

use task_lifecycle::{Draft, Previous, Status, Task};

use crate::change::{Change, Document};
use crate::protocol::Protocol;
use crate::world::{Actor, Budget, Decision, Intent, Message, NAMES, Row, WORKERS, World};

table! {
    Law: &'static str {
        // law: starting_only
        StartingOnly: "a client's cancel is accepted only in `Starting`",
        CancelHolds: "after a cancel no worker's start, edit or result on that payload is accepted",
        CompletedIsOver: "a task never shows a completed status while a run of it is still going to be accepted",
        // law: nothing_lost
        NothingLost: "no accepted change is lost, nor half of it",
        NotTwice: "no change is made twice",
        // law: identity
        RevertIsExact: "a revert shows exactly what the client saw before the update",
        // law: fenced
        Fenced: "what is done in a run's name is accepted only while that run is current",
        OneWorker: "no two workers have the same run",
        RunIsKept: "a worker drops its run only when it was taken away or has ended",
        StartingIsQueued: "a task in `Starting` has a message of its run, or somebody who is about to send one",
        LeaseFits: "a task in `Processing` has a lease of its run, and no other task has one",
        LeaseHolds: "only its own worker ends a run whose lease is not over",
        AnswersAreTrue: "what was answered with yes has happened; what was answered with no has not, and will not",
        RefusalIsTrue: "a refusal is true of the task when it is given",
        NamedOnly: "a request that names a revision changes nothing but what its client saw",
        StopsItsOwn: "a stop request stops nothing but what it was made for",
        StopSurvives: "a stop request holds until what it was made for is over, whoever dies",
        StopIsNotLost: "after a stop was accepted, no start and no result is",
    }
}

table! {
    /// A precaution left out: the law that then breaks, the budget for its story, what is done instead.
    Fault: (Law, Budget, &'static str) {
        CommitWithoutRevision: (Law::NothingLost, [0, 0, 0], "The commit does not compare the revision."),
        ConflictIgnored: (Law::OneWorker, [0, 0, 0], "Nobody looks whether the commit changed a row."),
        RevisionRestoredOnRevert: (Law::NothingLost, [3, 0, 0], "A revert brings the old revision back."),
        EditNotCounted: (Law::NothingLost, [1, 0, 0], "An edit does not count as a revision."),
        HalfADraft: (Law::NothingLost, [1, 0, 0], "A draft is committed though its second operation was refused."),
        PreviousInTheMessage: (Law::RevertIsExact, [3, 0, 0], "The previous state is in the message, not in the task."),
        CancelWhileProcessing: (Law::StartingOnly, [1, 0, 0], "A client's cancel of a running task does `retry` and `cancel`."),
        StartWithoutCheck: (Law::Fenced, [2, 0, 0], "A worker starts without `check_run`."),
        EditWithoutCheck: (Law::CancelHolds, [3, 0, 0], "A worker edits in its run's name without `check_run`."),
        FinishWithoutCheck: (Law::CompletedIsOver, [2, 0, 0], "A worker ends its run without `check_run`."),
        FinishWithoutReload: (Law::RunIsKept, [1, 0, 0], "A worker ends its run by the copy that it started with."),
        ConflictDropsTheResult: (Law::RunIsKept, [1, 0, 0], "A worker drops its result at the first conflict."),
        RunRestoredOnRevert: (Law::Fenced, [3, 0, 0], "A revert brings the old run back."),
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

impl Law {
    pub(crate) fn holds(self, protocol: &Protocol, world: &World) -> bool {
        let (row, onlooker) = (world.row.as_ref(), &world.onlooker);
        match self {
            Self::OneWorker => {
                let held = world.actors[WORKERS].iter().filter_map(|actor| match actor {
                    Actor::Working(token) => Some(*token),
                    _ => actor.intent()?.held(),
                });
                held.filter(|&token| onlooker.is_current(token)).count() <= 1
            }
            Self::StartingIsQueued => row.is_none_or(|row| {
                let fits = |change, token| protocol.check(row, change, token).is_ok();
                let sends = |actor: &Actor| match (actor, actor.intent()) {
                    (Actor::Pushes(message), _) => row.task.check_run(message.run).is_ok(),
                    (_, Some(Intent { change: Change::UpdateAndPush, who, .. })) => {
                        onlooker.made[*who]
                    }
                    (_, Some(Intent { change, token: Some(token), .. })) => fits(*change, *token),
                    _ => false,
                };
                row.task.status() != Status::Starting
                    || world.queue.iter().any(|&message| fits(Change::Start, message))
                    || world.actors.iter().any(sends)
            }),
            Self::LeaseFits => row.is_none_or(|row| {
                row.lease.map(|lease| lease.run) == row.is_processing().then(|| row.task.run())
            }),
            Self::StopSurvives => {
                let truth = onlooker.truth.as_ref().filter(|truth| truth.status().is_active());
                let to_stop =
                    truth.is_some_and(|it| onlooker.stops & 1 << it.payload().version != 0);
                !to_stop || protocol.stop_holds(row)
            }
            _ => onlooker.broken & 1 << self as u32 == 0,
        }
    }
}

/// Somebody who takes no part, and knows what was committed.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub struct Onlooker {
    /// The task after all accepted changes, in their order.
    pub truth: Option<Task<Document>>,
    /// The task before the update that it is in.
    pub before: Option<Task<Document>>,
    /// One bit a configuration: it was cancelled,
    pub cancelled: u8,
    /// a completed status was shown since it was queued,
    pub over: u8,
    /// a stop was requested.
    pub stops: u8,
    /// One bit a law.
    pub broken: u32,
    /// Of each actor: a commit of what it is about was accepted.
    pub made: [bool; NAMES.len()],
}

/// The part of a task that a client sees, or would see after a revert.
fn shown(task: &Task<Document>) -> (Status, Document, Option<Previous<&Document>>) {
    (task.status(), *task.payload(), task.previous())
}

impl Onlooker {
    pub fn must(&mut self, law: Law, holds: bool) {
        self.broken |= u32::from(!holds) << law as u32;
    }

    pub fn is_current(&self, token: Message) -> bool {
        let truth = self.truth.as_ref();
        truth.is_some_and(|truth| truth.run() == token.sent_for && truth.status().is_active())
    }

    /// A commit was accepted; the row was `before` and is `after`.
    pub fn accepted(&mut self, made: &Decision, before: &Row, after: Option<&Row>) {
        use Change::{Cancel, Delete, Fail, Halt, Replace, Start, Stop, Succeed, TakeOver};
        let (intent, change) = (made.intent, made.change);
        let again = made.awaited && self.made[intent.who];
        self.made[intent.who] |= made.awaited;
        let Some(truth) = self.truth.clone() else {
            return self.must(Law::NothingLost, false);
        };
        let version = truth.payload().version;
        if let Some(token) = intent.token {
            let named = if intent.change.gets_the_run() { version } else { token.version };
            self.must(Law::CancelHolds, self.cancelled & 1 << named == 0);
            self.must(Law::CompletedIsOver, self.over & 1 << named == 0);
            self.must(Law::Fenced, self.is_current(token));
        }
        let by_its_worker = WORKERS.contains(&intent.who) && intent.held().is_some();
        let goes_on = after.is_some_and(|row| row.is_processing_in(before.task.run()));
        self.must(Law::LeaseHolds, goes_on || by_its_worker || !before.has_lease(false));

        let is_cancel = change == Cancel || intent.change == Cancel;
        self.must(Law::StartingOnly, !is_cancel || truth.status() == Status::Starting);
        self.must(Law::NamedOnly, intent.named.is_none_or(|named| named == truth.revision()));

        let asked = self.stops & 1 << version != 0;
        let stops_another = intent.change == Stop && intent.seen != version && is_cancel;
        let halts_unasked = change == Halt && !asked && !is_cancel;
        self.must(Law::StopsItsOwn, !stops_another && !halts_unasked);
        let works = matches!(change, Start | TakeOver | Succeed | Fail);
        self.must(Law::StopIsNotLost, !(asked && works));
        self.stops |= u8::from(change == Stop) << intent.seen;

        let mut redone = Draft::new(truth.clone());
        if change.apply(&mut redone, intent.mark).is_err() {
            // It was decided on a state that somebody else had already changed.
            return self.must(Law::NothingLost, false);
        }
        let redone = Some(redone.into_task()).filter(|_| change != Delete);
        let (after, expected) = (after.map(|row| shown(&row.task)), redone.as_ref().map(shown));
        self.must(Law::NotTwice, !again || expected == Some(shown(&truth)));
        self.must(Law::NothingLost, after == expected);

        let completed = redone.as_ref().is_none_or(|task| task.status().is_completed());
        if completed && let Some(before) = self.before.take() {
            let is_exact = after == Some(shown(&before));
            self.must(Law::RevertIsExact, is_exact || change == Succeed);
        }
        self.over |= u8::from(completed || change == Replace) << version;
        let cancels = is_cancel || matches!(change, Halt | Replace);
        self.cancelled |= u8::from(cancels) << version;
        if change.queues() && change != Replace {
            self.before = Some(truth);
        }
        self.truth = redone;
    }
}
