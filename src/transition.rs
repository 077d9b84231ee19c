use crate::{Operation, Revision, Run, State};

/// What an accepted operation did. The layout in memory is no promise.
///
/// ```
/// use task_lifecycle::{Released, Status, Task};
///
/// let mut task = Task::new("first configuration");
/// task.start()?;
/// task.succeed()?;
/// task.update("second configuration")?;
///
/// let cancelled = task.cancel()?;
/// assert!(cancelled.reverted());
/// assert!(cancelled.from.is_update());
/// assert_eq!(cancelled.to.status(), Status::Succeeded);
/// assert_eq!(cancelled.released, Released::Update("second configuration"));
/// assert_eq!(task.payload(), &"first configuration");
/// # Ok::<(), task_lifecycle::TransitionError>(())
/// ```
// In this order a refusal's error lies over `operation` and `from`, which the compiler knows, and
// not over a part of the payload, which it would take apart and put together again.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
#[repr(C)]
#[non_exhaustive]
pub struct Transition<T> {
    /// The operation that was accepted. `to` alone does not tell a success from a revert to one:
    /// bill and notify by this.
    pub operation: Operation,
    /// The state before.
    pub from: State,
    /// The state after.
    pub to: State,
    /// The task's revision after.
    pub revision: Revision,
    /// The task's run after.
    pub run: Run,
    /// The payload that the task no longer holds.
    pub released: Released<T>,
}

impl<T> Transition<T> {
    /// Returns whether the task got its previous state back.
    #[doc(alias("rollback", "undo"))]
    #[must_use]
    #[inline]
    pub const fn reverted(&self) -> bool {
        matches!(self.released, Released::Update(_))
    }
}

/// The payload that an operation took out of a task. Closed.
///
/// What it points to, such as an output file, can be removed once the commit has won.
/// The layout in memory is no promise.
// The tag is one byte: as wide as a payload of eight bytes, it would be taken apart with it.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
#[repr(u8)]
pub enum Released<T> {
    /// None: the task holds what it held.
    Nothing,
    /// The previous payload, which an update that succeeded has replaced.
    Previous(T),
    /// The payload of an update that was cancelled or failed, as it was last edited: the task has
    /// reverted.
    Update(T),
}

impl<T> Released<T> {
    /// Returns the payload, if there is one.
    ///
    /// ```
    /// # use task_lifecycle::Released;
    /// assert_eq!(Released::Update("second").into_payload(), Some("second"));
    /// assert_eq!(Released::<&str>::Nothing.into_payload(), None);
    /// ```
    #[must_use]
    #[inline]
    pub fn into_payload(self) -> Option<T> {
        match self {
            Self::Nothing => None,
            Self::Previous(payload) | Self::Update(payload) => Some(payload),
        }
    }
}
