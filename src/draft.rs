use core::ops::{Deref, DerefMut};

use crate::{Revision, Run, Snapshot, State, Status, Task};

/// A loaded task with what was decided on it and is not yet committed.
///
/// Operations and edits are called on it as on the task. It remembers what was loaded, so that
/// nobody else has to: a store's commit takes the whole draft, compares [`loaded`](Self::loaded)
/// and learns what else changes [in the same
/// transaction](crate::_documentation::embedding#commit). If one operation was accepted and the next
/// is refused, drop the draft.
///
/// ```
/// use task_lifecycle::{Draft, Revision, Run, Task};
///
/// let mut stored = Task::new("first");
/// stored.fail()?;
///
/// let mut draft = Draft::new(stored); // as it was loaded
/// draft.update("second")?;
/// assert_eq!(draft.loaded(), Revision::new(1)); // … WHERE id = ? AND revision = 1
/// assert_eq!(draft.queued(), Some(Run::new(1))); // a message for run 1
///
/// assert!(draft.succeed().is_err());
/// assert_eq!(draft.loaded(), Revision::new(1));
/// # Ok::<(), task_lifecycle::TransitionError>(())
/// ```
#[doc(alias("compare-and-swap", "cas", "optimistic concurrency"))]
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Draft<T> {
    // law: drafted
    loaded: Revision,
    loaded_run: Run,
    before: State,
    task: Task<T>,
}

impl<T> Draft<T> {
    /// Begins a draft of a task as it was loaded.
    #[must_use]
    #[inline]
    pub const fn new(task: Task<T>) -> Self {
        Self { loaded: task.revision(), loaded_run: task.run(), before: task.state(), task }
    }

    /// Returns the revision that was loaded: what the commit compares, whatever was decided since.
    #[must_use]
    #[inline]
    pub const fn loaded(&self) -> Revision {
        self.loaded
    }

    /// Returns the run that was loaded.
    #[must_use]
    #[inline]
    pub const fn loaded_run(&self) -> Run {
        self.loaded_run
    }

    /// Returns the state that was loaded.
    #[must_use]
    #[inline]
    pub const fn before(&self) -> State {
        self.before
    }

    /// Returns the run that this commit queues: it needs a message of that run, in the same
    /// transaction. `Some` if the run is another than was loaded and the task is `Starting`.
    ///
    /// ```
    /// # use task_lifecycle::{Draft, Run, Task};
    /// let mut draft = Draft::new(Task::new("payload"));
    /// draft.start()?;
    /// assert_eq!(draft.queued(), None);
    /// draft.retry()?;
    /// assert_eq!(draft.queued(), Some(Run::new(1)));
    /// # Ok::<(), task_lifecycle::TransitionError>(())
    /// ```
    #[must_use]
    #[inline]
    pub const fn queued(&self) -> Option<Run> {
        let is_queued = matches!(self.task.status(), Status::Starting) && self.is_another_run();
        if is_queued { Some(self.task.run()) } else { None }
    }

    /// Returns the run that this commit takes: whoever makes it is the worker of that run, and its
    /// lease begins in the same transaction. `Some` if the task is `Processing`, and was not when
    /// it was loaded or is in another run.
    ///
    /// ```
    /// # use task_lifecycle::{Draft, Run, Task};
    /// let mut draft = Draft::new(Task::new("payload"));
    /// assert_eq!(draft.taken(), None);
    /// draft.start()?;
    /// assert_eq!(draft.taken(), Some(Run::new(0)));
    ///
    /// let mut draft = Draft::new(draft.into_task());
    /// draft.edit(|payload| *payload = "half done");
    /// assert_eq!(draft.taken(), None, "it is taken already");
    /// # Ok::<(), task_lifecycle::TransitionError>(())
    /// ```
    #[must_use]
    #[inline]
    pub const fn taken(&self) -> Option<Run> {
        let was_processing = matches!(self.before.status(), Status::Processing);
        let is_taken = matches!(self.task.status(), Status::Processing)
            && (!was_processing || self.is_another_run());
        if is_taken { Some(self.task.run()) } else { None }
    }

    #[inline]
    const fn is_another_run(&self) -> bool {
        self.task.run().get() != self.loaded_run.get()
    }

    /// Returns what became of a commit that got no answer, from the task as it was loaded since:
    /// `None` if it is not there.
    ///
    /// `Made` is as sure as payloads are distinct: two writers must not be able to commit equal
    /// tasks, and a payload must come back from the store equal to what was written. What to write
    /// into it, and what to do on each outcome, is told on the page about
    /// [embedding](crate::_documentation::embedding#unknown-outcomes).
    ///
    /// ```
    /// # use task_lifecycle::{Draft, Outcome, Task};
    /// let stored = Task::new("payload");
    /// let mut draft = Draft::new(stored.clone());
    /// draft.cancel()?;
    /// // The commit times out. What is loaded then?
    /// assert_eq!(draft.outcome(Some(&stored)), Outcome::Open);
    /// assert_eq!(draft.outcome(Some(&*draft)), Outcome::Made);
    ///
    /// let mut started = stored.clone();
    /// started.start()?;
    /// assert_eq!(draft.outcome(Some(&started)), Outcome::Lost);
    /// assert_eq!(draft.outcome(None), Outcome::Unknown);
    /// # Ok::<(), task_lifecycle::TransitionError>(())
    /// ```
    #[must_use]
    pub fn outcome(&self, found: Option<&Task<T>>) -> Outcome
    where
        T: PartialEq,
    {
        let steps = |task: &Task<T>| task.revision().since(self.loaded);
        match found {
            Some(found) if *found == self.task => Outcome::Made,
            Some(found) if steps(found) == 0 => Outcome::Open,
            Some(found) if steps(found) <= steps(&self.task) => Outcome::Lost,
            Some(_) | None => Outcome::Unknown,
        }
    }

    /// Returns the task with what was decided: what to answer from, once the commit has won.
    #[must_use]
    #[inline]
    pub fn into_task(self) -> Task<T> {
        self.task
    }
}

impl<T> Deref for Draft<T> {
    type Target = Task<T>;

    #[inline]
    fn deref(&self) -> &Task<T> {
        &self.task
    }
}

impl<T> DerefMut for Draft<T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut Task<T> {
        &mut self.task
    }
}

impl<'a, T> From<&'a Draft<T>> for Snapshot<&'a T> {
    fn from(draft: &'a Draft<T>) -> Self {
        Self::from(&draft.task)
    }
}

/// The fate of a commit that got no answer: see [`Draft::outcome`]. Closed.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Outcome {
    /// The task that was found equals the draft's: the commit counts.
    Made,
    /// The task is still at the revision that was loaded, and the commit may yet arrive. Send the
    /// *same* draft again: only one of the two can win. Do not decide anew.
    Open,
    /// Somebody else was faster, and the draft cannot be made any more: the task has moved on, and
    /// not beyond the draft's revision. A conflict like any other: load again, decide again.
    Lost,
    /// The task has moved beyond the draft's revision, or is not there: the commit was made and
    /// then changed by somebody, or it lost.
    Unknown,
}
