//! What must hold, whatever the order of events.

use task_lifecycle::{Status, Task};

use crate::Protocol;
use crate::world::{Actor, Change, Document, Draft, Intent, Message, World};

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Law {
    StartingOnly,
    CancelHolds,
    CompletedIsOver,
    NothingLost,
    RevertIsExact,
    Fenced,
    OneWorker,
    StartingIsQueued,
    ResultIsKept,
    AnswersAreTrue,
}

type Holds = fn(&Protocol, &World) -> bool;

#[rustfmt::skip]
pub const LAWS: [(Law, &str, Holds); 10] = [
    // law: starting_only
    (Law::StartingOnly, "a client's cancel is accepted only in `Starting`", |_, world| world.keeps(Law::StartingOnly)),
    (Law::CancelHolds, "after a cancel no worker's start, edit or result on that payload is accepted", |_, world| world.keeps(Law::CancelHolds)),
    (Law::CompletedIsOver, "a task never shows a completed status while a run of it is still going to be accepted", |_, world| world.keeps(Law::CompletedIsOver)),
    // law: nothing_lost
    (Law::NothingLost, "no accepted change is lost", |_, world| world.keeps(Law::NothingLost)),
    // law: identity
    (Law::RevertIsExact, "a revert shows exactly what the client saw before the update", |_, world| world.keeps(Law::RevertIsExact)),
    // law: fenced
    (Law::Fenced, "a worker's start, edit or result is accepted only while its run is current", |_, world| world.keeps(Law::Fenced)),
    (Law::OneWorker, "no two workers have the same run", |_, world| world.workers_in_the_run() <= 1),
    (Law::StartingIsQueued, "a task in `Starting` has a message whose run is current", |protocol, world| world.is_queued(protocol)),
    (Law::ResultIsKept, "a result is dropped only when its run was taken away or has ended", |_, world| world.keeps(Law::ResultIsKept)),
    (Law::AnswersAreTrue, "what was answered with yes has happened, what was answered with no has not", |_, world| world.keeps(Law::AnswersAreTrue)),
];

impl World {
    fn keeps(&self, law: Law) -> bool {
        self.onlooker.broken != Some(law)
    }

    fn workers_in_the_run(&self) -> usize {
        let held = self.actors.iter().filter_map(Actor::held);
        held.filter(|&message| self.onlooker.is_current(message)).count()
    }

    fn is_queued(&self, protocol: &Protocol) -> bool {
        let received = self.actors.iter().filter_map(Actor::intent);
        let received = received.filter_map(|intent| intent.message);
        let mut messages = self.queue.iter().copied().chain(received);
        self.row.as_ref().is_none_or(|row| {
            row.status() != Status::Starting
                || messages.any(|message| protocol.check(row, Change::Start, message).is_ok())
        })
    }
}

/// Takes no part, and knows what was committed.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Onlooker {
    /// The task after all accepted changes, in their order.
    pub truth: Option<Task<Document>>,
    /// The task before the update that it is in.
    pub before: Option<Task<Document>>,
    /// One bit a version: it was cancelled.
    cancelled: u8,
    /// One bit a version: a completed status was shown since it was queued.
    over: u8,
    broken: Option<Law>,
}

impl Onlooker {
    pub const fn new(task: Task<Document>) -> Self {
        Self { truth: Some(task), before: None, cancelled: 0, over: 0, broken: None }
    }

    fn breaks(&mut self, law: Law) {
        self.broken.get_or_insert(law);
    }

    fn is_current(&self, message: Message) -> bool {
        self.truth
            .as_ref()
            .is_some_and(|truth| truth.run() == message.sent_for && truth.status().is_active())
    }

    /// A commit was accepted, and the row is now `row`.
    pub fn accepted(&mut self, draft: &Draft, row: Option<&Task<Document>>) {
        let Intent { change, mark, .. } = draft.intent;
        if let Some(message) = draft.intent.message {
            let version = match &draft.after {
                Some(started) if change.gets_the_run() => started.payload().version,
                _ => message.version,
            };
            if self.cancelled & (1 << version) != 0 {
                self.breaks(Law::CancelHolds);
            } else if self.over & (1 << version) != 0 {
                self.breaks(Law::CompletedIsOver);
            } else if !self.is_current(message) {
                self.breaks(Law::Fenced);
            }
        }

        let truth = self.truth.take();
        let version = truth.as_ref().map_or(0, |truth| truth.payload().version);
        let Some(Ok(after)) = truth.clone().map(|truth| change.apply(truth, mark)) else {
            // It was decided on a state that somebody else had already changed.
            self.truth = truth;
            return self.breaks(Law::NothingLost);
        };
        let shown =
            |task: Option<&Task<Document>>| task.map(|task| (task.status(), *task.payload()));
        if after.as_ref().is_none_or(|after| !after.status().is_active()) {
            self.over |= 1 << version;
            let before = self.before.take();
            if before.is_some() && change != Change::Succeed && shown(row) != shown(before.as_ref())
            {
                self.breaks(Law::RevertIsExact);
            }
        }
        let status = truth.as_ref().map(Task::status);
        if change == Change::Cancel && status != Some(Status::Starting) {
            self.breaks(Law::StartingOnly);
        }
        match change {
            Change::Cancel | Change::CancelOwn => self.cancelled |= 1 << version,
            Change::Update => self.before = truth,
            _ => {}
        }
        if shown(row) != shown(after.as_ref()) {
            self.breaks(Law::NothingLost);
        }
        self.truth = after;
    }

    /// Somebody takes it that its change was accepted.
    pub fn told_yes(&mut self, draft: &Draft) {
        // Somebody else's commit may have done just the same.
        if !draft.intent.happened && self.truth != draft.after {
            self.breaks(Law::AnswersAreTrue);
        }
    }

    /// Somebody takes it that its change was not accepted, and will not be.
    pub fn told_no(&mut self, intent: &Intent) {
        if intent.happened {
            self.breaks(Law::AnswersAreTrue);
        }
    }

    /// A worker gives up.
    pub fn dropped(&mut self, intent: &Intent) {
        if intent.held().is_some_and(|message| self.is_current(message)) {
            self.breaks(Law::ResultIsKept);
        }
    }
}
