//! A change, from the load to what became of its commit.

use axum::http::StatusCode;
use task_lifecycle::{Outcome, StaleRun, TransitionError};

use crate::database::{Meaning, meaning};
use crate::store::{Draft, Key, Note, Row, Tasks};

/// Why a change was not made.
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

/// Changes a task: loads it, decides on a draft, commits; and again if somebody was faster. Returns
/// the draft that was committed, and the row that it was made of.
pub async fn change(
    tasks: &impl Tasks,
    key: &Key,
    by: &str,
    tries: u32,
    mut decide: impl FnMut(&mut Draft, &Row, &mut Note) -> Decision,
) -> Result<(Draft, Row)> {
    loop {
        let row = tasks.load(key).await?.ok_or(Refusal::NotFound)?;
        let mut draft = Draft::new(row.task()?);
        let mut note = Note { by: by.to_owned(), tries, ..Note::default() };
        note.operations = decide(&mut draft, &row, &mut note)?;
        match commit(tasks, key, &draft, &note).await? {
            Outcome::Made => return Ok((draft, row)),
            Outcome::Lost => {}
            // To decide again could be refused, and that be the echo of this commit.
            Outcome::Open | Outcome::Unknown => return Err(Refusal::Unknown),
        }
    }
}

/// Commits a draft until it is known what became of it. An error means that nothing was done.
async fn commit(tasks: &impl Tasks, key: &Key, draft: &Draft, note: &Note) -> Result<Outcome> {
    if draft.revision() == draft.loaded() {
        return Ok(Outcome::Made); // nothing was decided
    }
    let mut is_open = false; // whether an earlier try may still arrive
    for tried in 0..note.tries {
        match tasks.commit(key, draft, note).await {
            Ok(true) => return Ok(Outcome::Made),
            Ok(false) if !is_open => return Ok(Outcome::Lost),
            Ok(false) => {} // lost, or made by an earlier try
            Err(fault) if !is_open && meaning(&fault) != Meaning::Unknown => {
                return Err(fault.into());
            }
            Err(fault) => {
                tracing::warn!(task = key.id, "no answer to {}: {fault}", note.operations);
                is_open = true;
            }
        }
        if let Ok(found) = tasks.load(key).await {
            match outcome(draft, note, found.as_ref())? {
                Outcome::Open => {} // the same draft again: only one of the two can win
                known => return Ok(known),
            }
        }
        tasks.pause(tried).await;
    }
    Ok(Outcome::Unknown)
}

/// The outcome, with what is beside the task: a request to stop is an empty edit, which is equal to
/// any other, so it counts exactly if it is found.
fn outcome(draft: &Draft, note: &Note, found: Option<&Row>) -> Result<Outcome> {
    let outcome = draft.outcome(found.map(Row::task).transpose()?.as_ref());
    let Some(run) = note.stop else { return Ok(outcome) };
    Ok(match found.and_then(|row| row.stop_requested) {
        Some(requested) if requested == run.to_i64() => Outcome::Made,
        _ if outcome == Outcome::Made => Outcome::Lost,
        _ => outcome,
    })
}
