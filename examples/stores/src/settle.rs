//! What to do when the answer to a commit is lost: load and compare.
//!
//! This tells two commits apart only if they differ. Two workers that start one run would commit
//! equal tasks, and each would find its own: so a worker writes its name, or a random number,
//! into the payload that it commits.

use std::time::Duration;

use tokio::time::sleep;

use crate::Task;

/// How a commit ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Settled {
    /// It is stored, or was.
    Won,
    /// It is not, and never will be, for somebody was faster: load, decide again.
    Lost,
    /// The task has passed the revision of this commit, by way of it or not: nobody can see. A
    /// server answers that the outcome is unknown. To decide again might repeat what happened, and
    /// was undone by another client since. A worker may, for its run tells it whether that is safe.
    Unknown,
}

/// Commits what became of a task that was loaded at revision `loaded` (`None`: it is deleted) until
/// the outcome is known. It does not give up: put a `timeout` around it, after which the outcome is
/// unknown.
///
/// An error proves nothing, so it looks. A task that equals what was to be committed counts. One
/// that is still as it was loaded does not prove a refusal, for the commit may be late; but to
/// commit again is safe, since of all commits from one revision one wins.
pub async fn settle<E, C, L>(
    loaded: u64,
    task: Option<&Task>,
    commit: impl Fn() -> C,
    load: impl Fn() -> L,
) -> Settled
where
    C: Future<Output = Result<bool, E>>, // not `AsyncFn`: a handler wants a future that is `Send`
    L: Future<Output = Result<Option<Task>, E>>,
{
    match commit().await {
        Ok(true) => return Settled::Won,
        Ok(false) => return Settled::Lost,
        Err(_) => {}
    }
    loop {
        match load().await {
            Ok(found) if found.as_ref() == task => return Settled::Won,
            Ok(Some(found)) if found.revision() == loaded => {
                if let Ok(true) = commit().await {
                    return Settled::Won;
                } // A refusal may be owed to the first attempt: look again.
            }
            Ok(found) => return elsewhere(loaded, task, found.as_ref()),
            Err(_) => {}
        }
        sleep(Duration::from_millis(20)).await;
    }
}

/// How the commit ended if the task is neither as it was loaded nor as it was to be.
fn elsewhere(loaded: u64, task: Option<&Task>, found: Option<&Task>) -> Settled {
    // No two moments of a task share a revision, so one that is not beyond that of the commit has
    // not come by it. And a deleted task does not come back.
    let ahead = |task: &Task| task.revision().wrapping_sub(loaded);
    match (task, found) {
        (None, _) => Settled::Lost,
        (Some(task), Some(found)) if ahead(found) <= ahead(task) => Settled::Lost,
        (Some(_), _) => Settled::Unknown,
    }
}
