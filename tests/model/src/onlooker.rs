//! Somebody who takes no part, and knows what was committed.

use task_lifecycle::{Draft, Previous, Status, Task};

use crate::change::{Change, Document};
use crate::laws::Law;
use crate::world::{Decision, Intent, Message, NAMES, Row, WORKERS};

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Onlooker {
    /// The task after all accepted changes, in their order.
    pub truth: Option<Task<Document>>,
    /// The task before the update that it is in.
    pub before: Option<Task<Document>>,
    /// One bit a configuration: it was cancelled,
    cancelled: u8,
    /// a completed status was shown since it was queued,
    over: u8,
    /// a stop was requested.
    stops: u8,
    /// One bit a law.
    broken: u32,
    /// Of each actor: a commit of what it is about was accepted.
    pub made: [bool; NAMES.len()],
}

/// The part of a task that a client sees, or would see after a revert.
fn shown(task: &Task<Document>) -> (Status, Document, Option<Previous<&Document>>) {
    (task.status(), *task.payload(), task.previous())
}

impl Onlooker {
    pub const fn new(task: Task<Document>) -> Self {
        let made = [false; NAMES.len()];
        Self { truth: Some(task), before: None, cancelled: 0, over: 0, stops: 0, broken: 0, made }
    }

    pub const fn has_broken(&self, law: Law) -> bool {
        self.broken & (1 << law as u32) != 0
    }

    pub fn must(&mut self, law: Law, holds: bool) {
        self.broken |= u32::from(!holds) << law as u32;
    }

    pub fn is_current(&self, token: Message) -> bool {
        let truth = self.truth.as_ref();
        truth.is_some_and(|truth| truth.run() == token.sent_for && truth.status().is_active())
    }

    /// Returns whether a stop of the run that goes on was accepted.
    pub fn is_to_stop(&self) -> bool {
        self.truth.as_ref().is_some_and(|truth| {
            truth.status().is_active() && self.stops & (1 << truth.payload().version) != 0
        })
    }

    /// A commit was accepted; the row was `before` and is `after`.
    pub fn accepted(
        &mut self,
        who: usize,
        made: &Decision,
        again: bool,
        before: &Row,
        after: Option<&Row>,
    ) {
        let Decision { intent, change, .. } = made;
        let Some(truth) = self.truth.clone() else {
            return self.must(Law::NothingLost, false);
        };
        let version = truth.payload().version;
        if let Some(token) = intent.token {
            let named = if intent.change.gets_the_run() { version } else { token.version };
            self.must(Law::CancelHolds, self.cancelled & (1 << named) == 0);
            self.must(Law::CompletedIsOver, self.over & (1 << named) == 0);
            self.must(Law::Fenced, self.is_current(token));
        }
        let by_its_worker = WORKERS.contains(&who) && intent.held().is_some();
        let goes_on =
            after.is_some_and(|row| row.is_processing() && row.task.run() == before.task.run());
        self.must(Law::LeaseHolds, goes_on || by_its_worker || !before.has_lease(false));

        let is_cancel = *change == Change::Cancel || intent.change == Change::Cancel;
        self.must(Law::StartingOnly, !is_cancel || truth.status() == Status::Starting);
        self.must(Law::NamedOnly, intent.named.is_none_or(|named| named == truth.revision()));

        let asked = self.stops & (1 << version) != 0;
        let stops_another = intent.change == Change::Stop && intent.seen != version && is_cancel;
        self.must(
            Law::StopsItsOwn,
            !stops_another && (*change != Change::Halt || asked || is_cancel),
        );
        let works =
            matches!(change, Change::Start | Change::TakeOver | Change::Succeed | Change::Fail);
        self.must(Law::StopIsNotLost, !(asked && works));
        self.stops |= u8::from(*change == Change::Stop) << intent.seen;

        let mut redone = Draft::new(truth.clone());
        if change.apply(&mut redone, intent.mark).is_err() {
            // It was decided on a state that somebody else had already changed.
            return self.must(Law::NothingLost, false);
        }
        let redone = Some(redone.into_task()).filter(|_| *change != Change::Delete);
        let altered = redone.as_ref().map(shown) != Some(shown(&truth));
        self.must(Law::NotTwice, !again || !altered);
        let after = after.map(|row| shown(&row.task));
        self.must(Law::NothingLost, after == redone.as_ref().map(shown));

        let completed = redone.as_ref().is_none_or(|task| task.status().is_completed());
        if completed && let Some(before) = self.before.take() {
            self.must(
                Law::RevertIsExact,
                *change == Change::Succeed || after == Some(shown(&before)),
            );
        }
        self.over |= u8::from(completed || *change == Change::Replace) << version;
        self.cancelled |=
            u8::from(is_cancel || matches!(change, Change::Halt | Change::Replace)) << version;
        if change.queues() && *change != Change::Replace {
            self.before = Some(truth);
        }
        self.truth = redone;
    }

    /// Somebody takes it that its change was accepted.
    pub fn told_yes(&mut self, who: usize, made: &Decision, stops: bool) {
        // Somebody else's commit may have done just the same, or its own before it died.
        let owner = self.truth.as_ref().and_then(|truth| truth.payload().owner);
        let same = match made.change {
            Change::Delete => self.truth.is_none(),
            Change::Stop => stops,
            change if change.gets_the_run() => owner == made.draft.payload().owner,
            _ => self.truth.as_ref() == Some(&*made.draft),
        };
        self.must(Law::AnswersAreTrue, self.made[who] || same);
    }

    /// Somebody takes it that its change was not accepted, and will not be.
    pub fn told_no(&mut self, who: usize, may_arrive: bool) {
        self.must(Law::AnswersAreTrue, !self.made[who] && !may_arrive);
    }

    /// A worker gives up.
    pub fn dropped(&mut self, who: usize, intent: &Intent) {
        let holds = intent.held().is_some_and(|token| self.is_current(token));
        let started = self.truth.as_ref().is_some_and(|truth| {
            let mark = Some((intent.mark, truth.run()));
            self.made[who] && truth.status().is_active() && truth.payload().owner == mark
        });
        self.must(Law::RunIsKept, !(holds || intent.change.gets_the_run() && started));
    }
}
