use core::fmt;

use crate::{Operation, Revision, Run, State, Status, Task};

/// An operation was refused: the task's status does not accept it.
///
/// Only a refusal makes one, so it never names a status in which the operation would have been
/// accepted. A server answers with its text (the Cancel Task endpoint: 400).
///
/// ```
/// use task_lifecycle::{Operation, Status, Task};
///
/// let mut task = Task::new("payload");
/// task.start().unwrap();
///
/// let refused = task.cancel().unwrap_err();
/// assert_eq!(refused.operation(), Operation::Cancel);
/// assert_eq!(refused.status(), Status::Processing);
/// assert_eq!(refused.to_string(), "task cannot be cancelled: status is Processing");
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, thiserror::Error)]
#[error("task cannot be {}: status is {}", .operation.participle(), .state.status())]
pub struct TransitionError {
    operation: Operation,
    state: State,
}

impl TransitionError {
    #[cold]
    pub(crate) const fn new(operation: Operation, state: State) -> Self {
        Self { operation, state }
    }

    /// Returns the operation that was refused.
    #[must_use]
    #[inline]
    pub const fn operation(self) -> Operation {
        self.operation
    }

    /// Returns the state that the task had, and still has.
    #[must_use]
    #[inline]
    pub const fn state(self) -> State {
        self.state
    }

    /// Returns the status that the task had, and still has.
    #[must_use]
    #[inline]
    pub const fn status(self) -> Status {
        self.state.status()
    }

    /// Returns whether the task already has the status that the operation leads a new task to.
    ///
    /// It serves a server that answers the second cancel of a new task with 200. It compares
    /// statuses and nothing else: it cannot see that the cancel of an *update* is repeated (that
    /// task is finished again, so compare revisions), and it never proves that the caller's own
    /// run counted (workers use [`Task::check_run`]). Never true for `update` and `delete`.
    #[doc(alias("idempotent"))]
    #[must_use]
    #[inline]
    pub const fn is_repeat(self) -> bool {
        let status = self.status();
        match self.operation {
            Operation::Start => matches!(status, Status::Processing),
            Operation::Retry => matches!(status, Status::Starting),
            Operation::Succeed => matches!(status, Status::Succeeded),
            Operation::Fail => matches!(status, Status::Failed),
            Operation::Cancel => matches!(status, Status::Cancelled),
            Operation::Update | Operation::Delete => false,
        }
    }
}

impl Operation {
    const fn participle(self) -> &'static str {
        match self {
            Self::Start => "started",
            Self::Retry => "retried",
            Self::Succeed => "marked as succeeded",
            Self::Fail => "marked as failed",
            Self::Cancel => "cancelled",
            Self::Update => "updated",
            Self::Delete => "deleted",
        }
    }
}

/// [`Task::delete`] was refused; the task comes back with the reason.
///
/// An error for every `T`: neither its text nor its `Debug` shows the payload.
#[derive(Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct DeleteError<T> {
    pub(crate) reason: TransitionError,
    pub(crate) task: Task<T>,
}

impl<T> DeleteError<T> {
    /// Returns why the task was not deleted.
    #[must_use]
    #[inline]
    pub const fn reason(&self) -> TransitionError {
        self.reason
    }

    /// Returns the task, as it was.
    #[must_use]
    #[inline]
    pub fn into_task(self) -> Task<T> {
        self.task
    }
}

impl<T> fmt::Debug for DeleteError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DeleteError").field("reason", &self.reason).finish_non_exhaustive()
    }
}

impl<T> From<DeleteError<T>> for TransitionError {
    fn from(error: DeleteError<T>) -> Self {
        error.reason
    }
}

/// Parts that no task can have.
///
/// Closed: a status and a previous status have no third way to disagree.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, thiserror::Error)]
pub enum SnapshotError {
    /// There is a previous state, but no run that could revert to it. Looked at first.
    #[error("a task in status {status} cannot have a previous state")]
    UnexpectedPrevious {
        /// The status of the task.
        status: Status,
    },
    /// The previous state is not one that an update starts from.
    #[error("a previous state must be Succeeded or Failed, not {status}")]
    PreviousNotFinished {
        /// The status of the previous state.
        status: Status,
    },
}

/// The task is not at the revision that the caller named.
///
/// A server answers a request that named a revision with 412 Precondition Failed.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, thiserror::Error)]
#[error("stale revision: expected {expected}, but the task is at {actual}")]
pub struct StaleRevision {
    /// The revision that the caller named.
    pub expected: Revision,
    /// The revision of the task.
    pub actual: Revision,
}

impl StaleRevision {
    /// Returns whether the caller knows a newer task than this one: what was loaded is
    /// [behind](crate::_documentation::embedding#loads-are-current).
    #[must_use]
    #[inline]
    pub const fn is_ahead(self) -> bool {
        self.expected.is_after(self.actual)
    }
}

/// The run that the caller holds is not current: it is over, was taken away, or is newer than the
/// task that was loaded.
///
/// A worker drops the message, or what it has worked on, unless the run [is
/// ahead](Self::is_ahead).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, thiserror::Error)]
#[error("stale run: expected {expected}, but the task is {status} in run {actual}")]
pub struct StaleRun {
    /// The run that the caller named.
    pub expected: Run,
    /// The run of the task.
    pub actual: Run,
    /// The status of the task: it may be completed in the run that the caller named.
    pub status: Status,
}

impl StaleRun {
    /// Returns whether the caller knows a newer run than this task's: the message is early, or
    /// what was loaded is [behind](crate::_documentation::embedding#loads-are-current). Such a
    /// message goes back to the queue; acknowledged, it would be lost.
    ///
    /// ```
    /// # use task_lifecycle::{Run, Task};
    /// let mut task = Task::new("payload");
    /// task.fail()?;
    /// assert!(!task.check_run(Run::new(0)).unwrap_err().is_ahead(), "it is over");
    ///
    /// let behind = task.clone(); // what a replica still shows
    /// task.update("second")?;
    /// assert_eq!(task.check_run(Run::new(1)), Ok(()));
    /// assert!(behind.check_run(Run::new(1)).unwrap_err().is_ahead());
    /// # Ok::<(), task_lifecycle::TransitionError>(())
    /// ```
    #[must_use]
    #[inline]
    pub const fn is_ahead(self) -> bool {
        self.expected.is_after(self.actual)
    }
}

/// The text is not one of the words of a [`Status`]. The message lists them.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, thiserror::Error)]
#[error("unknown status: expected {}", AnyOf(Status::ALL))]
#[non_exhaustive]
pub struct UnknownStatus;

impl UnknownStatus {
    pub(crate) const fn new(_: &str) -> Self {
        Self
    }
}

/// The text is not one of the words of an [`Operation`]. The message lists them.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, thiserror::Error)]
#[error("unknown operation: expected {}", AnyOf(Operation::ALL))]
#[non_exhaustive]
pub struct UnknownOperation;

impl UnknownOperation {
    pub(crate) const fn new(_: &str) -> Self {
        Self
    }
}

/// `a, b or c`
pub(crate) struct AnyOf<W: 'static>(pub(crate) &'static [W]);

impl<W: fmt::Display> fmt::Display for AnyOf<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (word, place) in self.0.iter().zip(1..) {
            let is_last = place == self.0.len();
            let separator = if is_last { " or " } else { ", " };
            let separator = if place == 1 { "" } else { separator };
            write!(f, "{separator}{word}")?;
        }
        Ok(())
    }
}
