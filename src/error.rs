use core::fmt;

use crate::{Operation, State, Status, Task};

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
    // The state, which is at hand; its status is asked for by whoever reads the error.
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
        f.debug_struct("DeleteError")
            .field("reason", &self.reason)
            .finish_non_exhaustive()
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

/// The task has changed since the caller read it.
///
/// A server answers a request that named a revision with 412 Precondition Failed.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, thiserror::Error)]
#[error("stale revision: expected {expected}, but the task is at {actual}")]
pub struct StaleRevision {
    /// The revision that the caller named.
    pub expected: u64,
    /// The revision of the task.
    pub actual: u64,
}

/// The run that the caller holds is over, or was taken away.
///
/// A worker drops the message, or what it has worked on.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, thiserror::Error)]
#[error("stale run: expected {expected}, but the task is {status} in run {actual}")]
pub struct StaleRun {
    /// The run that the caller named.
    pub expected: u64,
    /// The run of the task.
    pub actual: u64,
    /// The status of the task: it may be completed in the run that the caller named.
    pub status: Status,
}

/// The text is not one of the five words of a [`Status`].
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, thiserror::Error)]
#[error("unknown status: expected Starting, Processing, Succeeded, Failed or Cancelled")]
#[non_exhaustive]
pub struct UnknownStatus;

impl UnknownStatus {
    pub(crate) const fn new(_: &str) -> Self {
        Self
    }
}

/// The text is not one of the seven words of an [`Operation`].
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, thiserror::Error)]
#[error("unknown operation: expected start, retry, succeed, fail, cancel, update or delete")]
#[non_exhaustive]
pub struct UnknownOperation;

impl UnknownOperation {
    pub(crate) const fn new(_: &str) -> Self {
        Self
    }
}
