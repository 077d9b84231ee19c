use crate::{Operation, Status};

/// What an accepted operation did.
///
/// ```
/// use task_lifecycle::{Status, Task};
///
/// let mut task = Task::new("first configuration");
/// task.start()?;
/// task.succeed()?;
/// task.update("second configuration")?;
///
/// let cancelled = task.cancel()?;
/// assert_eq!((cancelled.from, cancelled.to), (Status::Starting, Status::Succeeded));
/// assert!(cancelled.reverted);
/// assert_eq!(cancelled.released, Some("second configuration"));
/// assert_eq!(task.payload(), &"first configuration");
/// # Ok::<(), task_lifecycle::TransitionError>(())
/// ```
// In this order a refusal's error lies over `operation` and `from`, which the compiler knows, and
// not over a part of the payload, which it would take apart and put together again. The layout is
// no promise.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
#[repr(C)]
pub struct Transition<T> {
    /// The operation that was accepted. `to` alone does not tell a success from a revert to one:
    /// bill and notify by this.
    pub operation: Operation,
    /// The status before.
    pub from: Status,
    /// The status after.
    pub to: Status,
    /// The task's revision after.
    pub revision: u64,
    /// Whether the task got its previous state back.
    pub reverted: bool,
    /// The payload that the task let go: the failed or cancelled one if it reverted, the previous
    /// one if an update succeeded, otherwise `None`.
    pub released: Option<T>,
}
