use crate::{Operation, SnapshotError, Status, TransitionError};

/// What decides: a task's status and, while it is updating, the status that it would revert to.
///
/// One byte without the payload, for programs that keep tasks in columns: the decision needs
/// neither the configuration nor the output, and the SQL moves them. [`Task`](crate::Task) is a
/// `State`, the payloads and the revision, and adds no rule of its own.
///
/// ```
/// use task_lifecycle::{Operation, State, Status};
///
/// // An update of a succeeded task, still queued: a cancel reverts it.
/// let state = State::from_parts(Status::Starting, Some(Status::Succeeded))?;
/// let after = state.apply(Operation::Cancel)?;
/// assert_eq!(after.map(State::status), Some(Status::Succeeded));
///
/// // A worker has it: too late.
/// let state = State::from_parts(Status::Processing, Some(Status::Succeeded))?;
/// let refused = state.apply(Operation::Cancel).unwrap_err();
/// assert_eq!(refused.to_string(), "task cannot be cancelled: status is Processing");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct State(Repr);

/// The nine states, and no way to spell a tenth.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Repr {
    Starting,
    Processing,
    Succeeded,
    Failed,
    Cancelled,
    StartingAfterSucceeded,
    StartingAfterFailed,
    ProcessingAfterSucceeded,
    ProcessingAfterFailed,
}

impl State {
    /// A new task's state: `Starting`, not updating.
    pub const NEW: Self = Self(Repr::Starting);

    /// Every state: the five statuses of a new or settled task, then `Starting` after `Succeeded`
    /// and after `Failed`, then `Processing` after `Succeeded` and after `Failed`.
    pub const ALL: &'static [Self] = &[
        Self(Repr::Starting),
        Self(Repr::Processing),
        Self(Repr::Succeeded),
        Self(Repr::Failed),
        Self(Repr::Cancelled),
        Self(Repr::StartingAfterSucceeded),
        Self(Repr::StartingAfterFailed),
        Self(Repr::ProcessingAfterSucceeded),
        Self(Repr::ProcessingAfterFailed),
    ];

    /// The relation: where `operation` leads from here, or that the status refuses it.
    /// `Ok(None)`: the task is gone.
    ///
    /// Every other answer of this crate comes from here.
    ///
    /// # Errors
    ///
    /// [`TransitionError`] if the status does not accept the operation.
    #[rustfmt::skip]
    #[expect(clippy::match_same_arms, clippy::unnested_or_patterns, reason = "each arm is a row of the table")]
    #[inline]
    pub const fn apply(self, operation: Operation) -> Result<Option<Self>, TransitionError> {
        use Operation::{Cancel, Delete, Fail, Retry, Start, Succeed, Update};
        use Repr::{
            Cancelled, Failed, Processing, ProcessingAfterFailed, ProcessingAfterSucceeded,
            Starting, StartingAfterFailed, StartingAfterSucceeded, Succeeded,
        };

        let next = match (operation, self.0) {
            (Start,   Starting)                                          => Processing,
            (Start,   StartingAfterSucceeded)                            => ProcessingAfterSucceeded,
            (Start,   StartingAfterFailed)                               => ProcessingAfterFailed,

            (Retry,   Processing)                                        => Starting,
            (Retry,   ProcessingAfterSucceeded)                          => StartingAfterSucceeded,
            (Retry,   ProcessingAfterFailed)                             => StartingAfterFailed,

            (Succeed, Processing | ProcessingAfterSucceeded | ProcessingAfterFailed) => Succeeded,

            (Fail,    Starting | Processing)                             => Failed,
            (Fail,    StartingAfterSucceeded | ProcessingAfterSucceeded) => Succeeded, // reverts
            (Fail,    StartingAfterFailed | ProcessingAfterFailed)       => Failed,    // reverts

            (Cancel,  Starting)                                          => Cancelled,
            (Cancel,  StartingAfterSucceeded)                            => Succeeded, // reverts
            (Cancel,  StartingAfterFailed)                               => Failed,    // reverts

            (Update,  Succeeded)                                         => StartingAfterSucceeded,
            (Update,  Failed)                                            => StartingAfterFailed,

            (Delete,  Succeeded | Failed | Cancelled)                    => return Ok(None),

            // Every refusal is spelled out, so that a new state or operation does not compile
            // before someone has decided what it means.
            (Start | Cancel, Processing | ProcessingAfterSucceeded | ProcessingAfterFailed | Succeeded | Failed | Cancelled)
            | (Retry | Succeed, Starting | StartingAfterSucceeded | StartingAfterFailed | Succeeded | Failed | Cancelled)
            | (Fail, Succeeded | Failed | Cancelled)
            | (Update | Delete, Starting | StartingAfterSucceeded | StartingAfterFailed)
            | (Update | Delete, Processing | ProcessingAfterSucceeded | ProcessingAfterFailed)
            | (Update, Cancelled) => return Err(TransitionError::new(operation, self.status())),
        };
        Ok(Some(Self(next)))
    }

    /// The state that a stored task has: its status and, if it is updating, the status of its
    /// previous state.
    ///
    /// # Errors
    ///
    /// - [`SnapshotError::UnexpectedPrevious`] if there is a previous status but `status` is not
    ///   active: nothing could revert to it.
    /// - [`SnapshotError::PreviousNotFinished`] if the previous status is not `Succeeded` or
    ///   `Failed`: no update starts from it.
    #[inline]
    pub const fn from_parts(
        status: Status,
        previous: Option<Status>,
    ) -> Result<Self, SnapshotError> {
        use Status::{Cancelled, Failed, Processing, Starting, Succeeded};

        let Some(previous) = previous else {
            return Ok(Self::of(status));
        };
        match (status, previous) {
            (Starting, Succeeded) => Ok(Self(Repr::StartingAfterSucceeded)),
            (Starting, Failed) => Ok(Self(Repr::StartingAfterFailed)),
            (Processing, Succeeded) => Ok(Self(Repr::ProcessingAfterSucceeded)),
            (Processing, Failed) => Ok(Self(Repr::ProcessingAfterFailed)),
            (Succeeded | Failed | Cancelled, _) => {
                Err(SnapshotError::UnexpectedPrevious { status })
            }
            (Starting | Processing, Starting | Processing | Cancelled) => {
                Err(SnapshotError::PreviousNotFinished { status: previous })
            }
        }
    }

    /// The state of a task that is not updating.
    #[inline]
    pub(crate) const fn of(status: Status) -> Self {
        Self(match status {
            Status::Starting => Repr::Starting,
            Status::Processing => Repr::Processing,
            Status::Succeeded => Repr::Succeeded,
            Status::Failed => Repr::Failed,
            Status::Cancelled => Repr::Cancelled,
        })
    }

    /// What a client sees.
    #[must_use]
    #[inline]
    pub const fn status(self) -> Status {
        match self.0 {
            Repr::Starting | Repr::StartingAfterSucceeded | Repr::StartingAfterFailed => {
                Status::Starting
            }
            Repr::Processing | Repr::ProcessingAfterSucceeded | Repr::ProcessingAfterFailed => {
                Status::Processing
            }
            Repr::Succeeded => Status::Succeeded,
            Repr::Failed => Status::Failed,
            Repr::Cancelled => Status::Cancelled,
        }
    }

    /// The status that the task would revert to; `None` if it is not updating.
    #[must_use]
    #[inline]
    pub const fn previous(self) -> Option<Status> {
        match self.0 {
            Repr::StartingAfterSucceeded | Repr::ProcessingAfterSucceeded => {
                Some(Status::Succeeded)
            }
            Repr::StartingAfterFailed | Repr::ProcessingAfterFailed => Some(Status::Failed),
            Repr::Starting
            | Repr::Processing
            | Repr::Succeeded
            | Repr::Failed
            | Repr::Cancelled => None,
        }
    }

    /// Whether the task was finished before and is queued or worked on again.
    #[must_use]
    #[inline]
    pub const fn is_update(self) -> bool {
        self.previous().is_some()
    }
}
