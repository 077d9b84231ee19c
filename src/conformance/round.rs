//! What two threads race for: a task whose course is known, whoever writes it.

use std::format;

use super::Store;
use super::chain::Author;
use super::show::show;
use crate::{Snapshot, Status, Task};

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    /// A new task is started and retried, and its payload is edited each time.
    New,
    /// An update is.
    Update,
    /// A new task is edited; its status stays.
    Edits,
    /// A failed task is edited and deleted.
    Deletes,
}

/// One task, as a function of the revision and of who wrote it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Round {
    pub(super) number: u32,
    pub(super) kind: Kind,
    /// How many changes each thread tries.
    pub(super) steps: u32,
}

impl Round {
    pub(super) const fn start(self) -> &'static str {
        match self.kind {
            Kind::New | Kind::Edits => "client 1 creates task 1",
            Kind::Update => "client 1 creates task 1, and commits fail and update",
            Kind::Deletes => "client 1 creates task 1, and commits fail",
        }
    }

    const fn runs(self) -> bool {
        matches!(self.kind, Kind::New | Kind::Update)
    }

    /// How many revisions a change counts.
    pub(super) const fn each(self) -> u64 {
        if self.runs() { 2 } else { 1 }
    }

    pub(super) fn new_task<S: Store>(self) -> Task<S::Payload> {
        Task::new(S::payload(&format!("plain {}", self.number)))
    }

    /// The task at the start.
    pub(super) fn base<S: Store>(self) -> Task<S::Payload> {
        let mut task = self.new_task::<S>();
        if matches!(self.kind, Kind::Update | Kind::Deletes) {
            let _ = task.fail();
        }
        if self.kind == Kind::Update {
            let _ = task.update(S::payload(&format!("plain {} again", self.number)));
        }
        task
    }

    /// Whether a thread deletes the task in this step: both at once, one of them, or none yet.
    pub(super) fn deletes(self, who: usize, step: u32) -> bool {
        let turn = self.number.wrapping_add(step);
        let mine = turn % 4 == 1 && who == 0 || turn % 4 == 3 && who == 1;
        self.kind == Kind::Deletes && (turn % 4 == 2 || mine || step > 3)
    }

    fn payload<S: Store>(self, revision: u64, who: usize) -> S::Payload {
        let (number, client) = (self.number, who + 1);
        S::payload(&format!(
            "plain {number}, revision {revision} of client {client}"
        ))
    }

    /// The change that a thread makes of what it loaded.
    pub(super) fn change<S: Store>(
        self,
        mut task: Task<S::Payload>,
        who: usize,
    ) -> Task<S::Payload> {
        if self.runs() {
            let is_queued = task.status() == Status::Starting;
            let _ = if is_queued {
                task.start()
            } else {
                task.retry()
            };
        }
        let revision = task.revision().wrapping_add(1);
        task.edit(|payload| *payload = self.payload::<S>(revision, who));
        task
    }

    pub(super) fn author<S: Store>(
        self,
        task: &Task<S::Payload>,
        base: &Task<S::Payload>,
    ) -> Author {
        if task == base {
            return Author::Start;
        }
        let changes = task.revision().wrapping_sub(base.revision()) / self.each();
        let is_written = |&who: &usize| {
            let mut expected = Snapshot::from(base.clone());
            expected.revision = expected.revision.wrapping_add(changes * self.each());
            expected.payload = self.payload::<S>(task.revision(), who);
            if self.runs() {
                expected.run = expected.run.wrapping_add(changes / 2);
            }
            if self.runs() && changes % 2 == 1 {
                expected.status = Status::Processing;
            }
            Task::try_from(expected).is_ok_and(|expected| expected == *task)
        };
        let writer = [0, 1].into_iter().find(is_written);
        writer.map_or_else(|| Author::Nobody(show(Some(task))), Author::Client)
    }
}
