use core::fmt;
use core::mem;

use crate::{
    DeleteError, Event, Operation, Previous, Released, Revision, Run, Snapshot, SnapshotError,
    StaleRevision, StaleRun, State, Status, Transition, TransitionError,
};

/// A document-processing task: its [`State`], its payload, the previous payload while it is
/// updating, its revision and its run.
///
/// `T` is whatever the program keeps about the task at one moment: configuration, message,
/// timestamps, output. There is no bound on it; it is never cloned and never looked at. A payload
/// reverts, so what must not come back (what was billed, an audit trail, a deadline) belongs
/// beside the task.
///
/// An operation is refused with a [`TransitionError`] and the task is unchanged, or it is
/// accepted, the revision grows by one, and a [`Transition`] tells what was done. Nothing here
/// panics or allocates. The layout in memory is no promise.
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
///
/// How a server and a worker use it with a database is told on the page about
/// [embedding](crate::_documentation::embedding).
// In this order what every operation reads and writes lies in the first cache line, whatever the
// payload.
#[derive(Clone, PartialEq, Eq, Hash)]
#[repr(C)]
pub struct Task<T> {
    revision: Revision,
    run: Run,
    state: State,
    /// The payload of the update. It is `Some` exactly while `state.is_update()`; only this file
    /// can touch either.
    update: Option<T>,
    // law: identity
    /// The payload of a task that is not updating; of an updating one, the previous payload. An
    /// update is laid beside it and leaves it untouched, so a revert is exact.
    base: T,
}

// law: parametric
impl<T> Task<T> {
    /// Makes a new task: `Starting`, revision 0, run 0.
    ///
    /// ```
    /// # use task_lifecycle::{Status, Task};
    /// let task = Task::new("payload");
    /// assert_eq!(task.status(), Status::Starting);
    /// assert_eq!((task.revision().get(), task.run().get()), (0, 0));
    /// assert!(task.delete().is_err(), "it is not completed");
    /// ```
    #[must_use]
    #[inline]
    pub const fn new(payload: T) -> Self {
        Self {
            revision: Revision::new(0),
            run: Run::new(0),
            state: State::NEW,
            base: payload,
            update: None,
        }
    }

    /// Returns what decides: the task without its payloads and its counters.
    ///
    /// ```
    /// # use task_lifecycle::{Operation, State, Task};
    /// let task = Task::new("payload");
    /// assert_eq!(task.state(), State::NEW);
    /// assert!(task.state().apply(Operation::Retry).is_err());
    /// ```
    #[must_use]
    #[inline]
    pub const fn state(&self) -> State {
        self.state
    }

    /// Returns what a client sees.
    ///
    /// ```
    /// # use task_lifecycle::{Status, Task};
    /// let mut task = Task::new("payload");
    /// assert_eq!(task.status(), Status::Starting);
    /// assert!(task.succeed().is_err());
    /// assert_eq!(task.status(), Status::Starting);
    /// ```
    #[must_use]
    #[inline]
    pub const fn status(&self) -> Status {
        self.state.status()
    }

    /// Returns how many changes the task has accepted: operations and edits. (An id must not be
    /// used again after a delete, or a revision would mean two things.)
    ///
    /// ```
    /// # use task_lifecycle::Task;
    /// let mut task = Task::new("payload");
    /// task.start().unwrap();
    /// assert_eq!(task.revision().get(), 1);
    /// assert!(task.cancel().is_err());
    /// assert_eq!(task.revision().get(), 1, "a refusal changes nothing");
    /// ```
    #[must_use]
    #[inline]
    pub const fn revision(&self) -> Revision {
        self.revision
    }

    /// Returns how often the task was queued again: the token that a message carries and a worker
    /// holds. [`check_run`](Self::check_run) asks whether it is current.
    ///
    /// ```
    /// # use task_lifecycle::Task;
    /// let mut task = Task::new("payload");
    /// task.start().unwrap();
    /// task.edit(|payload| *payload = "half done");
    /// assert_eq!(task.run().get(), 0);
    /// task.retry().unwrap();
    /// assert_eq!(task.run().get(), 1);
    /// assert!(task.retry().is_err());
    /// assert_eq!(task.run().get(), 1);
    /// ```
    #[must_use]
    #[inline]
    pub const fn run(&self) -> Run {
        self.run
    }

    /// Returns the current payload: of an updating task, the new one.
    ///
    /// ```
    /// # use task_lifecycle::Task;
    /// let mut task = Task::new("first");
    /// assert!(task.update("second").is_err(), "it is not finished");
    /// assert_eq!(task.payload(), &"first");
    /// task.fail().unwrap();
    /// task.update("second").unwrap();
    /// assert_eq!(task.payload(), &"second");
    /// ```
    #[must_use]
    #[inline]
    pub const fn payload(&self) -> &T {
        match &self.update {
            Some(update) => update,
            None => &self.base,
        }
    }

    /// Changes the current payload in place, in any status, and returns what `change` returns: a
    /// progress message, a label. It is no step of the lifecycle, so nothing is refused.
    ///
    /// It counts as a revision, so that a compare-and-swap sees it, and not as a run, so that the
    /// message in the queue and the worker at work stay current. The revision is counted first: a
    /// `change` that panics half-way is counted too.
    ///
    /// ```
    /// # use task_lifecycle::Task;
    /// let mut task = Task::new(String::from("queued"));
    /// let message = task.run();
    /// task.edit(|text| text.push_str(", third in line"));
    /// assert_eq!(task.payload(), "queued, third in line");
    /// assert_eq!(task.check_run(message), Ok(()));
    /// assert_eq!(task.revision().get(), 1);
    /// ```
    #[inline]
    pub fn edit<R>(&mut self, change: impl FnOnce(&mut T) -> R) -> R {
        self.count();
        change(match &mut self.update {
            Some(update) => update,
            None => &mut self.base,
        })
    }

    /// Returns whether the task was finished before and is queued or worked on again.
    ///
    /// ```
    /// # use task_lifecycle::Task;
    /// let mut task = Task::new("first");
    /// assert!(!task.is_update());
    /// task.fail().unwrap();
    /// task.update("second").unwrap();
    /// assert!(task.is_update());
    /// ```
    #[must_use]
    #[inline]
    pub const fn is_update(&self) -> bool {
        self.state.is_update()
    }

    /// Returns what the task would revert to; `None` if it is not updating.
    ///
    /// ```
    /// # use task_lifecycle::{Previous, Status, Task};
    /// let mut task = Task::new("first");
    /// assert_eq!(task.previous(), None);
    /// task.fail().unwrap();
    /// task.update("second").unwrap();
    /// assert_eq!(task.previous(), Some(Previous { status: Status::Failed, payload: &"first" }));
    /// ```
    #[must_use]
    #[inline]
    pub fn previous(&self) -> Option<Previous<&T>> {
        self.state.previous().map(|status| Previous { status, payload: &self.base })
    }

    /// Changes how the payloads are represented, the previous one first, then the current. It is
    /// no change of the task, so it counts nothing and refuses nothing.
    ///
    /// ```
    /// # use task_lifecycle::Task;
    /// let mut task = Task::new("1");
    /// task.fail().unwrap();
    /// task.update("2").unwrap();
    /// let mut parsed = task.map(|text| text.parse::<u8>());
    /// assert_eq!((parsed.payload(), parsed.revision().get()), (&Ok(2), 2));
    /// assert!(parsed.update(Ok(3)).is_err(), "it is still updating");
    /// ```
    #[inline]
    pub fn map<U>(self, mut change: impl FnMut(T) -> U) -> Task<U> {
        Task {
            revision: self.revision,
            run: self.run,
            state: self.state,
            base: change(self.base),
            update: self.update.map(change),
        }
    }

    /// As [`map`](Self::map), for a change that can fail, such as parsing. The payload that comes
    /// second is then dropped.
    ///
    /// # Errors
    ///
    /// The first error that `change` returns.
    ///
    /// ```
    /// # use task_lifecycle::Task;
    /// let parsed = Task::new("1").try_map(|text| text.parse::<u8>());
    /// assert_eq!(parsed, Ok(Task::new(1)));
    /// assert!(Task::new("one").try_map(|text| text.parse::<u8>()).is_err());
    /// ```
    #[inline]
    pub fn try_map<U, E>(self, mut change: impl FnMut(T) -> Result<U, E>) -> Result<Task<U>, E> {
        Ok(Task {
            revision: self.revision,
            run: self.run,
            state: self.state,
            base: change(self.base)?,
            update: self.update.map(change).transpose()?,
        })
    }

    /// Marks the task as started by a worker: `Starting` becomes `Processing`.
    ///
    /// A worker first asks [`check_run`](Self::check_run) whether its message is current.
    ///
    /// # Errors
    ///
    /// [`TransitionError`] unless the status is `Starting`.
    ///
    /// ```
    /// # use task_lifecycle::{Status, Task};
    /// let mut task = Task::new("payload");
    /// task.start()?;
    /// assert_eq!(task.status(), Status::Processing);
    /// let refused = task.start().unwrap_err();
    /// assert_eq!(refused.to_string(), "task cannot be started: status is Processing");
    /// # Ok::<(), task_lifecycle::TransitionError>(())
    /// ```
    #[inline]
    pub fn start(&mut self) -> Result<Transition<T>, TransitionError> {
        let from = self.step(Operation::Start)?;
        Ok(self.record(Operation::Start, from, Released::Nothing))
    }

    /// Gives the run up and queues the task for another: `Processing` becomes `Starting`. An
    /// updating task is still updating.
    ///
    /// A client that polls goes on polling, and the task can be cancelled. The run that ends here
    /// is stale, and the new one needs a message.
    ///
    /// # Errors
    ///
    /// [`TransitionError`] unless the status is `Processing`.
    ///
    /// ```
    /// # use task_lifecycle::{Status, Task};
    /// let mut task = Task::new("payload");
    /// let refused = task.retry().unwrap_err();
    /// assert_eq!(refused.to_string(), "task cannot be retried: status is Starting");
    /// task.start()?;
    /// task.retry()?;
    /// assert_eq!((task.status(), task.run().get()), (Status::Starting, 1));
    /// # Ok::<(), task_lifecycle::TransitionError>(())
    /// ```
    #[doc(alias("requeue", "rerun", "re-run", "attempt"))]
    #[inline]
    pub fn retry(&mut self) -> Result<Transition<T>, TransitionError> {
        let from = self.step(Operation::Retry)?;
        Ok(self.record(Operation::Retry, from, Released::Nothing))
    }

    /// Marks the task as succeeded: `Processing` becomes `Succeeded`. An update releases its
    /// previous payload.
    ///
    /// # Errors
    ///
    /// [`TransitionError`] unless the status is `Processing`.
    ///
    /// ```
    /// # use task_lifecycle::{Released, Status, Task};
    /// let mut task = Task::new("first");
    /// task.fail()?;
    /// task.update("second")?;
    /// let refused = task.succeed().unwrap_err();
    /// assert_eq!(refused.to_string(), "task cannot be marked as succeeded: status is Starting");
    /// task.start()?;
    /// assert_eq!(task.succeed()?.released, Released::Previous("first"));
    /// assert_eq!((task.status(), task.payload()), (Status::Succeeded, &"second"));
    /// # Ok::<(), task_lifecycle::TransitionError>(())
    /// ```
    #[inline]
    pub fn succeed(&mut self) -> Result<Transition<T>, TransitionError> {
        let from = self.step(Operation::Succeed)?;
        let Some(update) = self.update.take() else {
            return Ok(self.record(Operation::Succeed, from, Released::Nothing));
        };
        let previous = mem::replace(&mut self.base, update);
        Ok(self.record(Operation::Succeed, from, Released::Previous(previous)))
    }

    /// Marks the task as failed: a new task becomes `Failed`; an updating one reverts and releases
    /// the failed payload.
    ///
    /// In `Processing` the worker says so, or a sweeper in its place. In `Starting` a server that
    /// wrote the task but could not queue it, or a sweeper of a task that waited for too long.
    ///
    /// # Errors
    ///
    /// [`TransitionError`] unless the status is `Starting` or `Processing`.
    ///
    /// ```
    /// # use task_lifecycle::{Released, Status, Task};
    /// let mut task = Task::new("first");
    /// task.start()?;
    /// task.succeed()?;
    /// let refused = task.fail().unwrap_err();
    /// assert_eq!(refused.to_string(), "task cannot be marked as failed: status is Succeeded");
    ///
    /// task.update("second")?;
    /// assert_eq!(task.fail()?.released, Released::Update("second"));
    /// assert_eq!((task.status(), task.payload()), (Status::Succeeded, &"first"));
    /// # Ok::<(), task_lifecycle::TransitionError>(())
    /// ```
    #[inline]
    pub fn fail(&mut self) -> Result<Transition<T>, TransitionError> {
        self.step_back(Operation::Fail)
    }

    /// Cancels a task that no worker has started: a new task becomes `Cancelled`; an updating one
    /// reverts and releases the cancelled payload.
    ///
    /// Source of the rule: the Cancel Task endpoint of the Chunkr API, `GET
    /// /tasks/{task_id}/cancel`.
    ///
    /// # Errors
    ///
    /// [`TransitionError`] unless the status is `Starting`.
    ///
    /// ```
    /// # use task_lifecycle::{Status, Task};
    /// let mut task = Task::new("first");
    /// task.start()?;
    /// let refused = task.cancel().unwrap_err();
    /// assert_eq!(refused.to_string(), "task cannot be cancelled: status is Processing");
    ///
    /// task.succeed()?;
    /// task.update("second")?;
    /// assert!(task.cancel()?.reverted());
    /// assert_eq!((task.status(), task.payload()), (Status::Succeeded, &"first"));
    /// # Ok::<(), task_lifecycle::TransitionError>(())
    /// ```
    #[doc(alias("abort", "rollback", "undo"))]
    #[inline]
    pub fn cancel(&mut self) -> Result<Transition<T>, TransitionError> {
        self.step_back(Operation::Cancel)
    }

    /// Queues a finished task again with a new payload; the one it has becomes the previous. The
    /// new run needs a message.
    ///
    /// # Errors
    ///
    /// [`TransitionError`] unless the status is `Succeeded` or `Failed`. The refused payload is
    /// dropped: [`check`](Self::check) first to keep it.
    ///
    /// ```
    /// # use task_lifecycle::{Status, Task};
    /// let mut task = Task::new("first");
    /// let refused = task.update("second").unwrap_err();
    /// assert_eq!(refused.to_string(), "task cannot be updated: status is Starting");
    /// task.fail()?;
    /// task.update("second")?;
    /// assert_eq!((task.status(), task.run().get()), (Status::Starting, 1));
    /// # Ok::<(), task_lifecycle::TransitionError>(())
    /// ```
    #[doc(alias("requeue", "resubmit", "rerun", "re-run"))]
    #[inline]
    pub fn update(&mut self, payload: T) -> Result<Transition<T>, TransitionError> {
        let from = self.step(Operation::Update)?;
        // None was there, so there is nothing to drop; an assignment would compile a drop.
        mem::forget(self.update.replace(payload));
        Ok(self.record(Operation::Update, from, Released::Nothing))
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

    /// Returns the state that the task would have after `operation`, or `None` if it would be gone.
    /// It changes nothing: a dry run.
    ///
    /// # Errors
    ///
    /// The [`TransitionError`] that the operation would return.
    ///
    /// ```
    /// # use task_lifecycle::{Operation, State, Status, Task};
    /// let task = Task::new("payload");
    /// let after = task.check(Operation::Cancel)?;
    /// assert_eq!(after.map(State::status), Some(Status::Cancelled));
    /// assert!(task.check(Operation::Delete).is_err());
    /// # Ok::<(), task_lifecycle::TransitionError>(())
    /// ```
    #[inline]
    pub const fn check(&self, operation: Operation) -> Result<Option<State>, TransitionError> {
        // law: dry_run
        self.state.apply(operation)
    }

    /// Checks that the task is at revision `expected`: for a request that names what its client
    /// saw (`If-Match`).
    ///
    /// For a worker it is too strict, since an edit by somebody else changes the revision too:
    /// that is what [`check_run`](Self::check_run) is for.
    ///
    /// # Errors
    ///
    /// [`StaleRevision`] unless `expected` is the task's revision.
    ///
    /// ```
    /// # use task_lifecycle::Task;
    /// let mut task = Task::new("payload");
    /// let seen = task.revision();
    /// assert_eq!(task.check_revision(seen), Ok(()));
    ///
    /// task.edit(|payload| *payload = "changed");
    /// let stale = task.check_revision(seen).unwrap_err();
    /// assert_eq!(stale.to_string(), "stale revision: expected 0, but the task is at 1");
    /// ```
    #[inline]
    pub const fn check_revision(&self, expected: Revision) -> Result<(), StaleRevision> {
        let actual = self.revision;
        if actual.get() == expected.get() {
            Ok(())
        } else {
            Err(StaleRevision { expected, actual })
        }
    }

    /// Checks that run `expected` is current: the task is active, and in that run.
    ///
    /// Whoever acts in a run's name asks this of the task as it is loaded: a worker before it
    /// starts, with the run that its message carries, and again before each commit of an edit or
    /// a result; a server or sweeper before it fails a run. So a stale message starts nothing, and
    /// a worker that lost its run ends nothing; an edit by somebody else costs neither.
    ///
    /// # Errors
    ///
    /// [`StaleRun`] if the task is completed, or in another run. If the error
    /// [is ahead](StaleRun::is_ahead), the message is not over.
    ///
    /// ```
    /// # use task_lifecycle::Task;
    /// let mut task = Task::new("payload");
    /// let message = task.run();
    /// assert_eq!(task.check_run(message), Ok(()));
    /// task.start().unwrap();
    /// assert_eq!(task.check_run(message), Ok(()), "the worker has its run");
    ///
    /// task.succeed().unwrap();
    /// let stale = task.check_run(message).unwrap_err();
    /// assert_eq!(stale.to_string(), "stale run: expected 0, but the task is Succeeded in run 0");
    /// ```
    #[inline]
    pub const fn check_run(&self, expected: Run) -> Result<(), StaleRun> {
        // law: fenced
        let (actual, status) = (self.run, self.status());
        if actual.get() == expected.get() && status.is_active() {
            Ok(())
        } else {
            Err(StaleRun { expected, actual, status })
        }
    }

    /// Does what `event` asks for.
    ///
    /// A fold over the events of a log gives the states back, and the payloads as far as no
    /// [`edit`](Self::edit) changed them: an edit is no event, so a log that is to be replayed
    /// keeps a note of each, or the payload.
    ///
    /// # Errors
    ///
    /// The [`TransitionError`] of the operation. The payload of a refused update is dropped.
    ///
    /// ```
    /// # use task_lifecycle::{Event, Status, Task};
    /// let log = [Event::Start, Event::Succeed, Event::Update("second"), Event::Cancel];
    /// let mut task = log.into_iter().try_fold(Task::new("first"), |mut task, event| {
    ///     task.apply(event).map(|_| task)
    /// })?;
    /// assert_eq!((task.status(), task.payload()), (Status::Succeeded, &"first"));
    /// assert!(task.apply(Event::Cancel).is_err());
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

    /// Takes the step that the table allows and counts it. Returns the state before. The caller
    /// moves the payloads.
    #[inline]
    fn step(&mut self, operation: Operation) -> Result<State, TransitionError> {
        let from = self.state;
        // law: unchanged_on_refusal
        if let Some(next) = from.apply(operation)? {
            self.state = next;
        } // else it is a delete, which takes the rest
        self.count();
        if matches!(operation, Operation::Retry | Operation::Update) {
            self.run = self.run.next();
        }
        Ok(from)
    }

    /// A step after which an updating task is as it was before the update.
    #[expect(clippy::inline_always, reason = "else the answer is packed and unpacked")]
    #[inline(always)]
    fn step_back(&mut self, operation: Operation) -> Result<Transition<T>, TransitionError> {
        let from = self.step(operation)?;
        let Some(update) = self.update.take() else {
            return Ok(self.record(operation, from, Released::Nothing));
        };
        // law: nothing_lost
        Ok(self.record(operation, from, Released::Update(update)))
    }

    #[inline]
    fn record(&self, operation: Operation, from: State, released: Released<T>) -> Transition<T> {
        Transition {
            operation,
            from,
            to: self.state,
            revision: self.revision,
            run: self.run,
            released,
        }
    }

    #[inline]
    const fn count(&mut self) {
        self.revision = self.revision.next();
    }
}

#[expect(clippy::missing_fields_in_debug, reason = "it shows the stored form, which has them all")]
impl<T: fmt::Debug> fmt::Debug for Task<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Task")
            .field("status", &self.status())
            .field("revision", &self.revision)
            .field("run", &self.run)
            .field("payload", self.payload())
            .field("previous", &self.previous())
            .finish()
    }
}

impl<T> From<Task<T>> for Snapshot<T> {
    fn from(task: Task<T>) -> Self {
        let status = task.status();
        let (payload, previous) = match (task.update, task.state.previous()) {
            (Some(update), Some(status)) => {
                let payload = task.base;
                (update, Some(Previous { status, payload }))
            }
            _ => (task.base, None),
        };
        Self { status, revision: task.revision, run: task.run, payload, previous }
    }
}

impl<'a, T> From<&'a Task<T>> for Snapshot<&'a T> {
    fn from(task: &'a Task<T>) -> Self {
        Self {
            status: task.status(),
            revision: task.revision,
            run: task.run,
            payload: task.payload(),
            previous: task.previous(),
        }
    }
}

/// Checks the stored form: the state as [`State::from_parts`] does. Any revision and any run go
/// with any state.
impl<T> TryFrom<Snapshot<T>> for Task<T> {
    type Error = SnapshotError;

    fn try_from(snapshot: Snapshot<T>) -> Result<Self, SnapshotError> {
        // law: stored_form
        let previous = snapshot.previous.as_ref();
        let state = State::from_parts(snapshot.status, previous.map(|previous| previous.status))?;
        let (base, update) = match snapshot.previous {
            None => (snapshot.payload, None),
            Some(previous) => (previous.payload, Some(snapshot.payload)),
        };
        Ok(Self { revision: snapshot.revision, run: snapshot.run, state, base, update })
    }
}
