//! What two threads race for: a task whose course is known, whoever writes it.

use std::format;

use super::Store;
use super::chain::Author;
use super::show::show;
use crate::{Snapshot, Status, Task};

/// What a round is about: its task, as a function of the revision and of who wrote it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Round {
    pub(super) number: u32,
    /// How many changes each thread tries.
    pub(super) steps: u32,
}

impl Round {
    pub(super) const fn start(self) -> &'static str {
        match self.number % 4 {
            1 => "client 1 creates task 1, and commits fail and update",
            2 => "client 1 creates task 1, and commits fail",
            _ => "client 1 creates task 1",
        }
    }

    /// Whether the task is completed, and somebody deletes it.
    const fn is_last(self) -> bool {
        self.number % 4 == 2
    }

    /// Whether the task's status stays: changes are edits.
    const fn is_still(self) -> bool {
        self.number % 4 >= 2
    }

    /// How many revisions a change counts.
    pub(super) const fn each(self) -> u64 {
        if self.is_still() { 1 } else { 2 }
    }

    pub(super) fn new_task<S: Store>(self) -> Task<S::Payload> {
        Task::new(S::payload(&format!("plain {}", self.number)))
    }

    /// The task at the start: new, updating, or completed.
    pub(super) fn base<S: Store>(self) -> Task<S::Payload> {
        let mut task = self.new_task::<S>();
        if matches!(self.number % 4, 1 | 2) {
            let _ = task.fail();
        }
        if self.number % 4 == 1 {
            let _ = task.update(S::payload(&format!("plain {} again", self.number)));
        }
        task
    }

    pub(super) fn deletes(self, who: usize, step: u32) -> bool {
        let turn = self.number / 4 + step;
        self.is_last() && (step > 2 || turn % 2 == 0 || (turn % 4 == 1) == (who == 0))
    }

    fn payload<S: Store>(self, revision: u64, who: usize) -> S::Payload {
        S::payload(&format!(
            "plain {}, revision {revision} of client {}",
            self.number,
            who + 1
        ))
    }

    /// The change that a thread makes of what it loaded. Both the state and the payload change,
    /// but not those of a task that is to be deleted.
    pub(super) fn change<S: Store>(
        self,
        mut task: Task<S::Payload>,
        who: usize,
    ) -> Task<S::Payload> {
        if !self.is_still() {
            let _ = if task.status() == Status::Starting {
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
        let mut expected = Snapshot::from(base.clone());
        expected.revision = base.revision().wrapping_add(changes * self.each());
        if !self.is_still() {
            expected.run = base.run().wrapping_add(changes / 2);
            if changes % 2 == 1 {
                expected.status = Status::Processing;
            }
        }
        let Ok(expected) = Task::try_from(expected) else {
            return Author::Start;
        };
        let is_written = |&who: &usize| {
            let payload = self.payload::<S>(task.revision(), who);
            let mut expected = Snapshot::from(expected.clone());
            expected.payload = payload;
            Task::try_from(expected).is_ok_and(|expected| expected == *task)
        };
        let writer = [0, 1].into_iter().find(is_written);
        writer.map_or_else(|| Author::Nobody(show(Some(task))), Author::Client)
    }
}
