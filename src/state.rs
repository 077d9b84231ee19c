use core::fmt;

use crate::{Operation, SnapshotError, Status, TransitionError};

/// What decides: a task's status and, while it is updating, the status that it would revert to.
///
/// One byte without the payload, for programs that keep tasks in columns: the decision needs
/// neither the configuration nor the output, and the SQL moves them. [`Task`](crate::Task) is a
/// `State`, the payloads, the revision and the run, and adds no rule of its own.
///
/// ```
/// use task_lifecycle::{Operation, State, Status};
///
/// // An update of a succeeded task, still queued: a cancel reverts it.
/// let state = State::from_parts(Status::Starting, Some(Status::Succeeded))?;
/// assert_eq!(state.to_string(), "Starting (an update, was Succeeded)");
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
///
/// In three rows of three: in this order `start`, `retry` and `cancel` move down or up whole rows,
/// which compiles to one comparison and one addition.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Repr {
    Starting,
    StartingAfterSucceeded,
    StartingAfterFailed,

    Processing,
    ProcessingAfterSucceeded,
    ProcessingAfterFailed,

    Cancelled,
    Succeeded,
    Failed,
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

    /// Returns the state that `operation` leads to, or `None` if the task is then gone.
    ///
    /// This is the whole transition table: every other answer of this crate comes from it. An update
    /// reverts where a new task would end, as on the [Cancel Task] page. Every refusal is spelled
    /// out, so that a new status or operation does not compile before someone has decided what it
    /// means.
    ///
    /// [Cancel Task]: https://docs.chunkr.ai
    ///
    /// # Errors
    ///
    /// [`TransitionError`] if the status does not accept the operation.
    ///
    /// ```
    /// # use task_lifecycle::{Operation, State, Status};
    /// let started = State::NEW.apply(Operation::Start)?;
    /// assert_eq!(started.map(State::status), Some(Status::Processing));
    /// assert!(State::NEW.apply(Operation::Succeed).is_err());
    /// # Ok::<(), task_lifecycle::TransitionError>(())
    /// ```
    ///
    /// Over a column of states, store the answer whether or not the operation is accepted: without
    /// a branch around the store the loop becomes vector code, sixty to a hundred times as fast.
    ///
    /// ```
    /// # use task_lifecycle::{Operation, State};
    /// fn cancel_all(column: &mut [State]) {
    ///     for state in column {
    ///         *state = state.apply(Operation::Cancel).ok().flatten().unwrap_or(*state);
    ///     }
    /// }
    /// # let mut column = [State::NEW; 3];
    /// # cancel_all(&mut column);
    /// # assert!(column.iter().all(|state| state.status().is_completed()));
    /// ```
    #[rustfmt::skip]
    #[expect(clippy::unnested_or_patterns, reason = "one row an operation")]
    #[inline(always)]
    pub const fn apply(self, operation: Operation) -> Result<Option<Self>, TransitionError> {
        use Operation::{Cancel, Delete, Fail, Retry, Start, Succeed, Update};
        use Repr::{
            ProcessingAfterFailed, ProcessingAfterSucceeded, StartingAfterFailed, StartingAfterSucceeded,
        };
        use Status::{Cancelled, Failed, Processing, Starting, Succeeded};

        // law: relation
        let next = match (operation, self.status()) {
            //                                                     a new task        an update of a succeeded  or of a failed one
            (Start,   Starting)                       => self.pick(Repr::Processing, ProcessingAfterSucceeded, ProcessingAfterFailed),
            (Retry,   Processing)                     => self.pick(Repr::Starting,   StartingAfterSucceeded,   StartingAfterFailed),
            (Succeed, Processing)                     => self.pick(Repr::Succeeded,  Repr::Succeeded,          Repr::Succeeded),
            (Fail,    Starting | Processing)          => self.pick(Repr::Failed,     Repr::Succeeded,          Repr::Failed),
            // law: starting_only
            (Cancel,  Starting)                       => self.pick(Repr::Cancelled,  Repr::Succeeded,          Repr::Failed),
            (Update,  Succeeded)                      => StartingAfterSucceeded,
            (Update,  Failed)                         => StartingAfterFailed,
            (Delete,  Succeeded | Failed | Cancelled) => return Ok(None),

            (Start,     Processing | Succeeded | Failed | Cancelled)
            | (Retry,   Starting   | Succeeded | Failed | Cancelled)
            | (Succeed, Starting   | Succeeded | Failed | Cancelled)
            | (Fail,                 Succeeded | Failed | Cancelled)
            | (Cancel,  Processing | Succeeded | Failed | Cancelled)
            | (Update,  Starting   | Processing         | Cancelled)
            | (Delete,  Starting   | Processing)      => return Err(TransitionError::new(operation, self)),
        };
        Ok(Some(Self(next)))
    }

    /// One of three, by what the task would revert to: nothing, `Succeeded` or `Failed`.
    #[inline]
    const fn pick(self, new: Repr, succeeded: Repr, failed: Repr) -> Repr {
        match self.0 {
            Repr::Starting
            | Repr::Processing
            | Repr::Succeeded
            | Repr::Failed
            | Repr::Cancelled => new,
            Repr::StartingAfterSucceeded | Repr::ProcessingAfterSucceeded => succeeded,
            Repr::StartingAfterFailed | Repr::ProcessingAfterFailed => failed,
        }
    }

    /// Makes the state of a stored task from its status and, if it is updating, the status of its
    /// previous state.
    ///
    /// # Errors
    ///
    /// - [`SnapshotError::UnexpectedPrevious`] if there is a previous status but `status` is not
    ///   active: nothing could revert to it.
    /// - [`SnapshotError::PreviousNotFinished`] if the previous status is not `Succeeded` or
    ///   `Failed`: no update starts from it.
    ///
    /// ```
    /// # use task_lifecycle::{SnapshotError, State, Status};
    /// assert_eq!(State::from_parts(Status::Starting, None), Ok(State::NEW));
    /// assert_eq!(
    ///     State::from_parts(Status::Cancelled, Some(Status::Failed)),
    ///     Err(SnapshotError::UnexpectedPrevious { status: Status::Cancelled }),
    /// );
    /// ```
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

    /// Returns what a client sees.
    ///
    /// ```
    /// # use task_lifecycle::{State, Status};
    /// let update = State::from_parts(Status::Starting, Some(Status::Failed))?;
    /// assert_eq!(update.status(), Status::Starting);
    /// assert_ne!(update, State::NEW);
    /// # Ok::<(), task_lifecycle::SnapshotError>(())
    /// ```
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

    /// Returns the status that the task would revert to; `None` if it is not updating.
    ///
    /// ```
    /// # use task_lifecycle::{State, Status};
    /// let update = State::from_parts(Status::Processing, Some(Status::Failed))?;
    /// assert_eq!(update.previous(), Some(Status::Failed));
    /// assert_eq!(State::NEW.previous(), None);
    /// # Ok::<(), task_lifecycle::SnapshotError>(())
    /// ```
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

    /// Returns whether the task was finished before and is queued or worked on again.
    ///
    /// ```
    /// # use task_lifecycle::{State, Status};
    /// assert!(State::from_parts(Status::Starting, Some(Status::Failed))?.is_update());
    /// assert!(!State::NEW.is_update());
    /// # Ok::<(), task_lifecycle::SnapshotError>(())
    /// ```
    #[must_use]
    #[inline]
    pub const fn is_update(self) -> bool {
        self.previous().is_some()
    }
}

/// `Starting`, or `Starting (an update, was Succeeded)`.
impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.previous() {
            None => fmt::Display::fmt(&self.status(), f),
            Some(previous) => write!(f, "{} (an update, was {previous})", self.status()),
        }
    }
}

// law: seed
/// The three rules of the Cancel Task page, over all states: a crate that breaks them does not
/// compile.
const _: () = {
    let mut states = State::ALL;
    while let [state, rest @ ..] = states {
        match (state.status(), state.previous(), state.apply(Operation::Cancel)) {
            (Status::Starting, None, Ok(Some(after))) => {
                assert!(matches!(after.0, Repr::Cancelled), "a new task becomes Cancelled");
            }
            (Status::Starting, Some(previous), Ok(Some(after))) => {
                assert!(
                    after.status() as u8 == previous as u8 && !after.is_update(),
                    "an updating task reverts to its previous state"
                );
            }
            (status, _, cancelled) => {
                assert!(
                    !matches!(status, Status::Starting) && cancelled.is_err(),
                    "a task can be cancelled only in status Starting"
                );
            }
        }
        states = rest;
    }
};
