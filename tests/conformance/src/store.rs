use core::fmt::Debug;

use task_lifecycle::{Draft, Revision, Task};

/// A program's keeper of tasks: a table, a map, an actor.
#[expect(
    async_fn_in_trait,
    reason = "the suite asks for no `Send`, and whoever implements it writes `async fn`"
)]
pub trait Store: Sized {
    /// The name of a task.
    type Id: Clone + Debug + Send;
    /// The payload that the program keeps about a task.
    type Payload: Clone + PartialEq + Debug + Send;
    /// An error when nobody raced: an outage, a row that cannot be read.
    type Error: Debug;

    /// True if an `Err` of [`commit`](Self::commit) or [`delete`](Self::delete) may mean that it
    /// happened, in a calm run too.
    const LOSES_ANSWERS: bool = false;

    /// The largest revision and run that the store keeps. The suite goes to the ends of the columns
    /// that people choose, up to 2⁶³, as if that many changes were committed at once. A store that
    /// counts for itself says 0.
    const LARGEST_COUNTER: u64 = u64::MAX;

    /// Makes a payload that has `text` in it: the suite's texts are hostile. Put it into every
    /// field that holds text, and leave an optional field out for some texts, such as those of odd
    /// length: `COALESCE(?, old)` keeps what should go.
    fn payload(text: &str) -> Self::Payload;

    /// Stores a new task, and names it.
    ///
    /// # Errors
    ///
    /// Whatever keeps the task from being stored.
    async fn create(&self, task: &Task<Self::Payload>) -> Result<Self::Id, Self::Error>;

    /// Stores a new task under a name that its client chose: `Some(false)` if the name is taken.
    /// `None` (the default): the store names its tasks itself. The suite takes free names from
    /// another store that `open` made, and never that of a task that was deleted.
    ///
    /// # Errors
    ///
    /// Whatever keeps the task from being stored, other than that the name is taken.
    async fn create_as(
        &self,
        id: &Self::Id,
        task: &Task<Self::Payload>,
    ) -> Result<Option<bool>, Self::Error> {
        let _ = (id, task);
        Ok(None)
    }

    /// Returns the task as it is stored; `None` if there is none of that name.
    ///
    /// # Errors
    ///
    /// An outage, or a row that cannot be read.
    async fn load(&self, id: &Self::Id) -> Result<Option<Task<Self::Payload>>, Self::Error>;

    /// Stores what was decided on a draft, if the task is still at [`Draft::loaded`]: `UPDATE …
    /// WHERE id = ? AND revision = ?`. Returns whether a row was changed.
    ///
    /// # Errors
    ///
    /// An outage. A stale revision, a task that is gone and a serialization failure are
    /// `Ok(false)`. So is a lock that another call holds, if it is not waited for (`NOWAIT`), also
    /// one that was given up: a refusal then costs its client no more than another load. But such a
    /// lock must go, for in the end a commit must be accepted.
    async fn commit(
        &self,
        id: &Self::Id,
        draft: &Draft<Self::Payload>,
    ) -> Result<bool, Self::Error>;

    /// Removes a task that is still at revision `loaded`. Returns whether a row was removed.
    ///
    /// # Errors
    ///
    /// As for [`commit`](Self::commit).
    async fn delete(&self, id: &Self::Id, loaded: Revision) -> Result<bool, Self::Error>;

    /// Returns another handle on the same tasks, as another process has it. `None` (the default):
    /// the clients share one.
    async fn another(&self) -> Option<Self> {
        None
    }

    /// Returns the store as it is found after a crash; the default is the store itself. The other
    /// handle is dropped before.
    #[must_use]
    async fn reopen(self) -> Self {
        self
    }
}
