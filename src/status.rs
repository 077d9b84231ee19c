use crate::error::UnknownStatus;
use crate::{Operation, State};

/// What a client sees of a task.
///
/// The five names are the wire strings, in [`Display`](core::fmt::Display), in
/// [`FromStr`](core::str::FromStr) and in serde alike, and case matters. The enum is closed:
/// match on it without a wildcard, and the compiler shows every place that a new status would
/// touch.
///
/// | status | active | completed | finished |
/// |---|---|---|---|
/// | `Starting` | yes | | |
/// | `Processing` | yes | | |
/// | `Succeeded` | | yes | yes |
/// | `Failed` | | yes | yes |
/// | `Cancelled` | | yes | |
///
/// ```
/// use task_lifecycle::Status;
///
/// assert_eq!("Cancelled".parse(), Ok(Status::Cancelled));
/// assert!("cancelled".parse::<Status>().is_err());
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, strum::Display, strum::EnumString)]
#[strum(parse_err_ty = UnknownStatus, parse_err_fn = UnknownStatus::new)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
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
    pub const ALL: &'static [Self] = &[
        Self::Starting,
        Self::Processing,
        Self::Succeeded,
        Self::Failed,
        Self::Cancelled,
    ];

    /// The wire string.
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

    /// Whether work is still to come: a client keeps polling.
    #[must_use]
    #[inline]
    pub const fn is_active(self) -> bool {
        match self {
            Self::Starting | Self::Processing => true,
            Self::Succeeded | Self::Failed | Self::Cancelled => false,
        }
    }

    /// Whether nothing more happens by itself: the API's `completed: true`.
    #[must_use]
    #[inline]
    pub const fn is_completed(self) -> bool {
        match self {
            Self::Succeeded | Self::Failed | Self::Cancelled => true,
            Self::Starting | Self::Processing => false,
        }
    }

    /// Whether the work ended by itself: what an update may start from, and a revert leads to.
    #[must_use]
    #[inline]
    pub const fn is_finished(self) -> bool {
        match self {
            Self::Succeeded | Self::Failed => true,
            Self::Starting | Self::Processing | Self::Cancelled => false,
        }
    }

    /// Whether a task in this status accepts `operation`. That a task is updating changes where
    /// an operation leads, never whether it is accepted.
    #[must_use]
    #[inline]
    pub const fn accepts(self, operation: Operation) -> bool {
        State::of(self).apply(operation).is_ok()
    }
}
