//! A change, from the load to what became of its commit.

use axum::http::StatusCode;
use task_lifecycle::{Outcome, Run, StaleRun, TransitionError};

use crate::database::{Meaning, meaning};
use crate::store::{Draft, Key, Note, Row, Tasks};

/// The reason why a change was not made, or may not have been.
#[rustfmt::skip]
#[derive(thiserror::Error, Debug)]
pub enum Refusal {
    #[error("{1}")] Request(StatusCode, String),
    #[error("Task not found")] NotFound,
    #[error(transparent)] Status(#[from] TransitionError),
    #[error(transparent)] Run(#[from] StaleRun),
    #[error(transparent)] Store(#[from] sqlx::Error),
    #[error("It is not known whether this was done: get the task before you try again")] Unknown,
}

pub type Result<T> = std::result::Result<T, Refusal>;

/// The operations that were done on a draft, in their order, for the log; empty for none.
pub type Decision = Result<&'static str>;

/// Decides on a draft, by the row that it was made of.
pub trait Decide: FnMut(&mut Draft, &Row, &mut Note) -> Decision {}
impl<T: FnMut(&mut Draft, &Row, &mut Note) -> Decision> Decide for T {}

/// Changes a task: loads it, decides on a draft, commits; and again if somebody was faster. Returns
/// the draft that was committed, and the row that it was made of.
pub async fn change(
    tasks: &impl Tasks,
    key: &Key,
    by: &str,
    mut decide: impl Decide,
) -> Result<(Draft, Row)> {
    loop {
        let row = tasks.load(key).await?.ok_or(Refusal::NotFound)?;
        let mut draft = Draft::new(row.task()?);
        let mut note = Note { by: by.to_owned(), ..Note::default() };
        note.operations = decide(&mut draft, &row, &mut note)?;
        if let Some(committed) = commit(tasks, key, draft, &note).await? {
            return Ok((committed, row));
        }
    }
}

/// The most times that a commit without an answer is sent.
const TRIES: u32 = 5;

/// The draft that was committed; `None` if it lost. Then, and after any error but `Unknown`, nothing
/// was done.
type Committed = Result<Option<Draft>>;

/// Commits a draft until it is known what became of it.
async fn commit(tasks: &impl Tasks, key: &Key, draft: Draft, note: &Note) -> Committed {
    if draft.revision() == draft.loaded() {
        return Ok(Some(draft)); // nothing was decided
    }
    let mut is_open = false; // an earlier try may still arrive
    for tried in 0..TRIES {
        match tasks.commit(key, &draft, note).await {
            Ok(true) => return Ok(Some(draft)),
            Ok(false) if !is_open => return Ok(None),
            Ok(false) => {} // lost, or made by an earlier try
            Err(fault) => {
                let meaning = meaning(&fault);
                // A lasting error is one for the earlier tries, too.
                if meaning == Meaning::Lasting || !is_open && meaning != Meaning::Unknown {
                    return Err(fault.into());
                }
                tracing::warn!(task = key.id, "no answer to {}: {fault}", note.operations);
                is_open = true;
            }
        }
        if let Ok(found) = tasks.load(key).await
            && let Ok(task) = found.as_ref().map(Row::task).transpose()
        {
            let requested = found.and_then(|row| row.stop_requested).map(Run::from_i64);
            match draft.outcome(task.as_ref()) {
                // A request to stop is an empty edit, equal to any other: it counts exactly if it is
                // found. If it is another's, the task is what that made of it.
                _ if note.stop.is_some() && note.stop == requested => {
                    return Ok(task.map(Draft::new));
                }
                Outcome::Made if note.stop.is_none() => return Ok(Some(draft)),
                Outcome::Made | Outcome::Lost => return Ok(None),
                Outcome::Open => {} // the same draft again: only one of the two can win
                // To decide again could be refused, and that be the echo of this commit.
                Outcome::Unknown => return Err(Refusal::Unknown),
            }
        }
        tasks.pause(tried).await;
    }
    Err(Refusal::Unknown)
}
