//! The laws: they hold in every order of events.

use task_lifecycle::{Draft, Previous, Status, Task};

use crate::change::{Change, Document};
use crate::protocol::Protocol;
use crate::world::{Actor, Decision, Message, NAMES, Row, WORKERS, World};

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
                row.task.status() != Status::Starting
                    || world.queue.iter().any(|&message| fits(Change::Start, message))
                    || world.actors.iter().any(|actor| match (actor, actor.intent()) {
                        (Actor::Pushes(message), _) => row.task.check_run(message.run).is_ok(),
                        (_, Some(intent)) => {
                            let pushes = intent.change == Change::UpdateAndPush;
                            (pushes && onlooker.made[intent.who])
                                || intent.token.is_some_and(|token| fits(intent.change, token))
                        }
                        _ => false,
                    })
            }),
            Self::LeaseFits => row.is_none_or(|row| {
                let run = row.is_processing().then(|| row.task.run());
                row.lease.map(|lease| lease.run) == run
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
