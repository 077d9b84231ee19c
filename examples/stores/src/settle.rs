//! A change whose answers may be lost: nobody is told "no" of a change that was made, and none is
//! made twice.
//!
//! This tells two commits apart only if they differ. Two workers that start one run would commit
//! equal tasks, and each would find its own: so a worker writes its name and the run, or a random
//! number, into the payload that it commits.

use std::time::Duration;

use task_lifecycle::Outcome;
use tokio::time::sleep;

use crate::{Draft, Task};

/// The end of a change.
#[derive(PartialEq, Debug)]
pub enum Settled<R> {
    /// It is stored, or was.
    Made(Task),
    /// It was decided against, on a task of which none of these commits is a part.
    Refused(R),
    /// There is no task.
    Gone,
    /// The task was changed since, by way of this commit or not: nobody can see. A server answers
    /// just that, for to decide again might repeat what happened, and was undone by another client
    /// since.
    Unknown,
}

/// Loads a task, decides, and commits the draft until its outcome is known; decides again if
/// somebody else was faster. It does not give up: put a `timeout` around it, after which the
/// outcome is unknown.
pub async fn settle<R, E, L, C>(
    load: impl Fn() -> L,
    mut decide: impl FnMut(&mut Draft) -> Result<(), R>,
    commit: impl Fn(Draft) -> C,
) -> Settled<R>
where
    L: Future<Output = Result<Option<Task>, E>>, // not `AsyncFn`: a handler's future is `Send`
    C: Future<Output = Result<bool, E>>,
{
    let mut found = answer(&load).await;
    while let Some(task) = found {
        let mut draft = Draft::new(task);
        if let Err(refusal) = decide(&mut draft) {
            return Settled::Refused(refusal);
        }
        let mut is_first = true;
        found = loop {
            let answered = commit(draft.clone()).await;
            let found = match answered {
                Ok(true) => return Settled::Made(draft.into_task()),
                Ok(false) | Err(_) => answer(&load).await,
            };
            // Refused at once, it has lost. Later, that may be owed to the first attempt.
            if is_first && matches!(answered, Ok(false)) {
                break found;
            }
            is_first = false;
            match draft.outcome(found.as_ref()) {
                Outcome::Made => return Settled::Made(draft.into_task()),
                Outcome::Unknown => return Settled::Unknown,
                Outcome::Lost => break found,
                Outcome::Open => {}
            }
        };
    }
    Settled::Gone
}

/// Loads until there is an answer.
async fn answer<E, L>(load: impl Fn() -> L) -> Option<Task>
where
    L: Future<Output = Result<Option<Task>, E>>,
{
    loop {
        if let Ok(found) = load().await {
            return found;
        }
        sleep(Duration::from_millis(20)).await;
    }
}
