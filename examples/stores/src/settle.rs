//! What to do when the answer to a commit got lost.

use std::time::Duration;

use tokio::time::sleep;

use crate::Task;

/// How a commit ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Settled {
    /// It is stored.
    Won,
    /// It is not, and never will be, for somebody was faster: load, decide again.
    Lost,
    /// An answer got lost, and by now the task is further than this commit would have brought it:
    /// by way of it or not, nobody can see. Load, decide again.
    Overtaken,
}

/// Commits what became of a task that was loaded at revision `loaded` (`None`: it is deleted) until
/// the outcome is known. It does not give up: put a `timeout` around it.
///
/// An error promises nothing, so it looks. A task that equals what was to be committed counts. One
/// that is still as it was loaded does not say that the commit was refused, for it may be late: but
/// to commit again is safe, since one from each revision wins.
pub async fn settle<E>(
    loaded: u64,
    task: Option<&Task>,
    commit: impl AsyncFn() -> Result<bool, E>,
    load: impl AsyncFn() -> Result<Option<Task>, E>,
) -> Settled {
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
                } // A refusal may be owed to the first: look again.
            }
            Ok(Some(found)) => {
                // No two moments of a task share a revision, so a task that has not passed the
                // one of this commit has not been there.
                let ahead = |revision: u64| revision.wrapping_sub(loaded);
                let passed =
                    task.is_none_or(|task| ahead(task.revision()) < ahead(found.revision()));
                return if passed { Settled::Overtaken } else { Settled::Lost };
            }
            Ok(None) => return Settled::Overtaken,
            Err(_) => {}
        }
        sleep(Duration::from_millis(20)).await;
    }
}
