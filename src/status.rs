use crate::error::UnknownStatus;
use crate::{Operation, State};

/// What a client sees of a task.
///
/// The five names are the wire strings: in [`Display`](core::fmt::Display), in
/// [`FromStr`](core::str::FromStr) and in every serde format. Case matters. The order is that of
/// [`ALL`](Self::ALL). The enum is closed: match on it without a wildcard, and the compiler shows
/// every place that a new status would touch.
///
/// | status | active | completed | finished | who moves the task on |
/// |---|---|---|---|---|
/// | `Starting` | yes | | | a worker starts it, a client cancels it, a sweeper fails it |
/// | `Processing` | yes | | | its worker, or a sweeper if the worker died |
/// | `Succeeded` | | yes | yes | a client updates or deletes it |
/// | `Failed` | | yes | yes | a client updates or deletes it |
/// | `Cancelled` | | yes | | a client deletes it |
///
/// To keep it in a column, a schema or an answer, see the page about
/// [integration](crate::_documentation::integration).
///
/// ```
/// use task_lifecycle::Status;
///
/// assert_eq!("Cancelled".parse(), Ok(Status::Cancelled));
/// assert!("cancelled".parse::<Status>().is_err());
/// ```
#[derive(
    Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, strum::Display, strum::EnumString,
)]
#[strum(parse_err_ty = UnknownStatus, parse_err_fn = UnknownStatus::new)]
pub enum Status {
    /// Queued: no worker has it. The only status in which a task can be cancelled.
    Starting,
    /// A worker has it.
    Processing,
    /// The work is done.
    Succeeded,
    /// The work was given up.
    Failed,
    /// A new task was cancelled before it started.
    Cancelled,
}

impl Status {
    /// Every status, in the order of a task's life.
    pub const ALL: &'static [Self] =
        &[Self::Starting, Self::Processing, Self::Succeeded, Self::Failed, Self::Cancelled];

    /// Returns the wire string.
    ///
    /// ```
    /// # use task_lifecycle::Status;
    /// assert_eq!(Status::Starting.as_str(), "Starting");
    /// assert_ne!(Status::Starting.as_str(), "starting");
    /// ```
    #[must_use]
    #[inline]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Starting => "Starting",
            Self::Processing => "Processing",
            Self::Succeeded => "Succeeded",
            Self::Failed => "Failed",
            Self::Cancelled => "Cancelled",
        }
    }

    /// Returns whether work is still to come, so that a client keeps polling.
    ///
    /// ```
    /// # use task_lifecycle::Status;
    /// assert!(Status::Processing.is_active());
    /// assert!(!Status::Cancelled.is_active());
    /// ```
    #[must_use]
    #[inline]
    pub const fn is_active(self) -> bool {
        match self {
            Self::Starting | Self::Processing => true,
            Self::Succeeded | Self::Failed | Self::Cancelled => false,
        }
    }

    /// Returns whether nothing more happens by itself: the API's `completed: true`.
    ///
    /// ```
    /// # use task_lifecycle::Status;
    /// assert!(Status::Cancelled.is_completed());
    /// assert!(!Status::Starting.is_completed());
    /// ```
    #[doc(alias("terminal"))]
    #[must_use]
    #[inline]
    pub const fn is_completed(self) -> bool {
        match self {
            Self::Succeeded | Self::Failed | Self::Cancelled => true,
            Self::Starting | Self::Processing => false,
        }
    }

    /// Returns whether a run ended the work: what an update may start from and a revert may lead
    /// to.
    ///
    /// ```
    /// # use task_lifecycle::Status;
    /// assert!(Status::Failed.is_finished());
    /// assert!(!Status::Cancelled.is_finished());
    /// ```
    #[must_use]
    #[inline]
    pub const fn is_finished(self) -> bool {
        match self {
            Self::Succeeded | Self::Failed => true,
            Self::Starting | Self::Processing | Self::Cancelled => false,
        }
    }

    /// Returns whether a task in this status accepts `operation`. Whether the task is updating
    /// changes where an operation leads, never whether it is accepted.
    ///
    /// ```
    /// # use task_lifecycle::{Operation, Status};
    /// assert!(Status::Starting.accepts(Operation::Cancel));
    /// assert!(!Status::Processing.accepts(Operation::Cancel));
    /// ```
    #[must_use]
    #[inline]
    pub const fn accepts(self, operation: Operation) -> bool {
        State::of(self).apply(operation).is_ok()
    }
}
