use core::fmt;
use core::mem;

use crate::state::Answer;
use crate::{
    DeleteError, Event, Operation, Previous, Snapshot, SnapshotError, StaleRevision, State, Status,
    Transition, TransitionError,
};

/// A document-processing task: its [`State`], its payload, the previous payload while it is
/// updating, and its revision.
///
/// `T` is whatever the program keeps about the task at one moment: configuration, message,
/// timestamps, output. There is no bound on it; it is never cloned and never looked at.
///
/// An operation is refused with a [`TransitionError`] and the task is unchanged, or it is
/// accepted, the revision grows by one, and a [`Transition`] tells what was done. Nothing here
/// panics or allocates.
///
/// ```
/// use task_lifecycle::{Status, Task};
///
/// let mut task = Task::new("payload");
/// task.cancel()?;
/// assert_eq!(task.status(), Status::Cancelled);
///
/// let refused = task.start().unwrap_err();
/// assert_eq!(refused.to_string(), "task cannot be started: status is Cancelled");
/// # Ok::<(), task_lifecycle::TransitionError>(())
/// ```
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Task<T> {
    state: State,
    revision: u64,
    /// The payload of a task that is not updating; of an updating one, the previous payload. An
    /// update is laid beside it and leaves it untouched, so a revert is exact.
    base: T,
    /// The payload of the update. It is `Some` exactly while `state.is_update()`; only this file
    /// can touch either.
    update: Option<T>,
}

impl<T> Task<T> {
    /// A new task: `Starting`, revision 0.
    #[must_use]
    #[inline]
    pub const fn new(payload: T) -> Self {
        Self {
            state: State::NEW,
            revision: 0,
            base: payload,
            update: None,
        }
    }

    /// What decides: the task without its payloads and its revision.
    #[must_use]
    #[inline]
    pub const fn state(&self) -> State {
        self.state
    }

    /// What a client sees.
    #[must_use]
    #[inline]
    pub const fn status(&self) -> Status {
        self.state.status()
    }

    /// How many changes the task has accepted since it was created: operations and edits.
    ///
    /// It only grows, through reverts too, so that no two moments of a task's life share one:
    /// commit with `WHERE id = ? AND revision = ?`. (At `u64::MAX` it stays. An id must not be
    /// used again after a delete.)
    ///
    /// What a program runs into that commits without it, ignores that zero rows changed, or takes
    /// the old number back on a revert, is told step by step in `tests/README.md`.
    #[must_use]
    #[inline]
    pub const fn revision(&self) -> u64 {
        self.revision
    }

    /// The current payload: of an updating task, the new one.
    #[must_use]
    #[inline]
    pub const fn payload(&self) -> &T {
        match &self.update {
            Some(update) => update,
            None => &self.base,
        }
    }

    /// Changes the current payload in place, in any status, and counts as a revision: a progress
    /// message, a timestamp. Returns what `change` returns.
    ///
    /// The revision is counted first, so that a `change` that panics half-way is counted too.
    ///
    /// ```
    /// # use task_lifecycle::Task;
    /// let mut task = Task::new(String::from("queued"));
    /// task.edit(|message| message.push_str(", third in line"));
    /// assert_eq!((task.payload().as_str(), task.revision()), ("queued, third in line", 1));
    /// ```
    #[inline]
    pub fn edit<R>(&mut self, change: impl FnOnce(&mut T) -> R) -> R {
        self.count();
        change(match &mut self.update {
            Some(update) => update,
            None => &mut self.base,
        })
    }

    /// Whether the task was finished before and is queued or worked on again.
    #[must_use]
    #[inline]
    pub const fn is_update(&self) -> bool {
        self.state.is_update()
    }

    /// What the task would revert to; `None` if it is not updating.
    #[must_use]
    #[inline]
    pub fn previous(&self) -> Option<Previous<&T>> {
        self.state.previous().map(|status| Previous {
            status,
            payload: &self.base,
        })
    }

    /// A worker takes the task: `Starting` becomes `Processing`.
    ///
    /// # Errors
    ///
    /// [`TransitionError`] unless the status is `Starting`.
    #[inline]
    pub fn start(&mut self) -> Result<Transition<T>, TransitionError> {
        let from = self.step(Operation::Start)?;
        Ok(self.record(Operation::Start, from, None))
    }

    /// The run is given up and the task waits for another: `Processing` becomes `Starting`. An
    /// updating task is still updating.
    ///
    /// A client that polls goes on polling, and the task can be cancelled.
    ///
    /// # Errors
    ///
    /// [`TransitionError`] unless the status is `Processing`.
    #[inline]
    pub fn retry(&mut self) -> Result<Transition<T>, TransitionError> {
        let from = self.step(Operation::Retry)?;
        Ok(self.record(Operation::Retry, from, None))
    }

    /// The work is done: `Processing` becomes `Succeeded`. An update lets its previous payload go.
    ///
    /// # Errors
    ///
    /// [`TransitionError`] unless the status is `Processing`.
    #[inline]
    pub fn succeed(&mut self) -> Result<Transition<T>, TransitionError> {
        let from = self.step(Operation::Succeed)?;
        let update = self.update.take();
        let released = update.map(|update| mem::replace(&mut self.base, update));
        Ok(self.record(Operation::Succeed, from, released))
    }

    /// The work is given up: a new task becomes `Failed`; an updating one reverts, and lets the
    /// failed payload go.
    ///
    /// In `Processing` the worker says so, or a sweeper of it. In `Starting` a server that wrote
    /// the task but could not queue it, or a sweeper of a task that waited for too long.
    ///
    /// # Errors
    ///
    /// [`TransitionError`] unless the status is `Starting` or `Processing`.
    #[inline]
    pub fn fail(&mut self) -> Result<Transition<T>, TransitionError> {
        self.step_back(Operation::Fail)
    }

    /// A client takes the request back before it was started: a new task becomes `Cancelled`; an
    /// updating one reverts, and lets the cancelled payload go.
    ///
    /// Source of the rule: the Cancel Task endpoint of the Chunkr API, `GET
    /// /tasks/{task_id}/cancel`.
    ///
    /// # Errors
    ///
    /// [`TransitionError`] unless the status is `Starting`.
    #[inline]
    pub fn cancel(&mut self) -> Result<Transition<T>, TransitionError> {
        self.step_back(Operation::Cancel)
    }

    /// A finished task is queued again with a new payload; the one it has becomes the previous.
    ///
    /// # Errors
    ///
    /// [`TransitionError`] unless the status is `Succeeded` or `Failed`. The refused payload is
    /// dropped: [`check`](Self::check) first to keep it.
    #[inline]
    pub fn update(&mut self, payload: T) -> Result<Transition<T>, TransitionError> {
        let from = self.step(Operation::Update)?;
        let released = self.update.replace(payload); // none was there
        Ok(self.record(Operation::Update, from, released))
    }

    /// Removes a completed task and hands its payload out.
    ///
    /// # Errors
    ///
    /// [`DeleteError`] with the task in it, as it was, unless the status is `Succeeded`, `Failed`
    /// or `Cancelled`.
    ///
    /// ```
    /// # use task_lifecycle::Task;
    /// let refused = Task::new("payload").delete().unwrap_err();
    /// assert_eq!(refused.to_string(), "task cannot be deleted: status is Starting");
    ///
    /// let mut task = refused.into_task();
    /// task.cancel().unwrap();
    /// assert_eq!(task.delete().unwrap(), "payload");
    /// ```
    #[inline]
    pub fn delete(mut self) -> Result<T, DeleteError<T>> {
        match self.step(Operation::Delete) {
            Ok(_) => Ok(self.base),
            Err(reason) => Err(DeleteError { reason, task: self }),
        }
    }

    /// Dry run: the status that the task would have after `operation`; `None` if it would be gone.
    ///
    /// # Errors
    ///
    /// The [`TransitionError`] that the operation would return.
    ///
    /// ```
    /// # use task_lifecycle::{Operation, Status, Task};
    /// let task = Task::new("payload");
    /// assert_eq!(task.check(Operation::Cancel), Ok(Some(Status::Cancelled)));
    /// assert!(task.check(Operation::Delete).is_err());
    /// ```
    #[inline]
    pub fn check(&self, operation: Operation) -> Result<Option<Status>, TransitionError> {
        Ok(self.state.apply(operation)?.map(State::status))
    }

    /// Whether the task is still as the caller read it: a stale message, request or writer stops
    /// here.
    ///
    /// A worker checks the revision of its message before it starts, and ends a run with the
    /// revision that it committed. Without the one, an old message starts the next update's run;
    /// without the other, a worker thought dead ends a run that another has: `tests/README.md`
    /// tells how.
    ///
    /// # Errors
    ///
    /// [`StaleRevision`] unless `expected` is the task's revision.
    ///
    /// ```
    /// # use task_lifecycle::{StaleRevision, Task};
    /// let mut task = Task::new("payload");
    /// let message = task.revision();
    /// assert_eq!(task.check_revision(message), Ok(()));
    ///
    /// task.cancel().unwrap();
    /// assert_eq!(task.check_revision(message), Err(StaleRevision { expected: 0, actual: 1 }));
    /// ```
    #[inline]
    pub const fn check_revision(&self, expected: u64) -> Result<(), StaleRevision> {
        if self.revision == expected {
            Ok(())
        } else {
            Err(StaleRevision {
                expected,
                actual: self.revision,
            })
        }
    }

    /// Does what `event` asks for. Replaying a log of events is a fold over it.
    ///
    /// # Errors
    ///
    /// The [`TransitionError`] of the operation. The payload of a refused update is dropped.
    ///
    /// ```
    /// # use task_lifecycle::{Event, Status, Task};
    /// let log = [Event::Start, Event::Succeed, Event::Update("second"), Event::Cancel];
    /// let task = log.into_iter().try_fold(Task::new("first"), |mut task, event| {
    ///     task.apply(event).map(|_| task)
    /// })?;
    /// assert_eq!((task.status(), task.payload()), (Status::Succeeded, &"first"));
    /// # Ok::<(), task_lifecycle::TransitionError>(())
    /// ```
    #[inline]
    pub fn apply(&mut self, event: Event<T>) -> Result<Transition<T>, TransitionError> {
        match event {
            Event::Start => self.start(),
            Event::Retry => self.retry(),
            Event::Succeed => self.succeed(),
            Event::Fail => self.fail(),
            Event::Cancel => self.cancel(),
            Event::Update(payload) => self.update(payload),
        }
    }

    /// Takes the step that the relation allows, and returns the state before it. The caller moves
    /// the payloads.
    #[expect(clippy::inline_always, reason = "as `State::relation`, which it asks")]
    #[inline(always)]
    fn step(&mut self, operation: Operation) -> Result<State, TransitionError> {
        let from = self.state;
        match from.relation(operation) {
            Answer::To(next) => self.state = next,
            Answer::Gone => {} // delete takes the rest
            Answer::Refused => return Err(from.refusal(operation)),
        }
        self.count();
        Ok(from)
    }

    /// A step after which an updating task is as it was before the update.
    #[expect(clippy::inline_always, reason = "as `step`")]
    #[inline(always)]
    fn step_back(&mut self, operation: Operation) -> Result<Transition<T>, TransitionError> {
        let from = self.step(operation)?;
        let Some(update) = self.update.take() else {
            return Ok(self.record(operation, from, None));
        };
        Ok(Transition {
            reverted: true,
            ..self.record(operation, from, Some(update))
        })
    }

    #[inline]
    fn record(&self, operation: Operation, from: State, released: Option<T>) -> Transition<T> {
        Transition {
            operation,
            from: from.status(),
            to: self.status(),
            revision: self.revision,
            reverted: false,
            released,
        }
    }

    #[inline]
    const fn count(&mut self) {
        self.revision = self.revision.saturating_add(1);
    }
}

#[expect(
    clippy::missing_fields_in_debug,
    reason = "it shows the stored form, which has them all"
)]
impl<T: fmt::Debug> fmt::Debug for Task<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Task")
            .field("status", &self.status())
            .field("revision", &self.revision)
            .field("payload", self.payload())
            .field("previous", &self.previous())
            .finish()
    }
}

impl<T> From<Task<T>> for Snapshot<T> {
    fn from(task: Task<T>) -> Self {
        let Task {
            state,
            revision,
            base,
            update,
        } = task;
        let (payload, previous) = match update {
            None => (base, None),
            Some(update) => (
                update,
                state.previous().map(|status| Previous {
                    status,
                    payload: base,
                }),
            ),
        };
        Self {
            status: state.status(),
            revision,
            payload,
            previous,
        }
    }
}

impl<'a, T> From<&'a Task<T>> for Snapshot<&'a T> {
    fn from(task: &'a Task<T>) -> Self {
        Self {
            status: task.status(),
            revision: task.revision,
            payload: task.payload(),
            previous: task.previous(),
        }
    }
}

/// Checks the stored form: the state as [`State::from_parts`] does. Any revision goes with any
/// state.
impl<T> TryFrom<Snapshot<T>> for Task<T> {
    type Error = SnapshotError;

    fn try_from(snapshot: Snapshot<T>) -> Result<Self, SnapshotError> {
        let Snapshot {
            status,
            revision,
            payload,
            previous,
        } = snapshot;
        let state = State::from_parts(status, previous.as_ref().map(|previous| previous.status))?;
        let (base, update) = match previous {
            None => (payload, None),
            Some(previous) => (previous.payload, Some(payload)),
        };
        Ok(Self {
            state,
            revision,
            base,
            update,
        })
    }
}
