//! A change, from the load to what became of its commit.

use axum::http::StatusCode;
use task_lifecycle::{Draft, Outcome, StaleRun, TransitionError};

use crate::database::{Meaning, meaning};
use crate::store::{Beside, Key, Note, Row, Tasks};

/// Why a change was not made.
#[derive(thiserror::Error, Debug)]
pub enum Refusal {
    #[error("{1}")]
    Request(StatusCode, String),
    #[error("Unauthorized")]
    Unauthorized,
    #[error("Task not found")]
    NotFound,
    #[error(transparent)]
    Status(#[from] TransitionError),
    #[error(transparent)]
    Run(#[from] StaleRun),
    #[error(transparent)]
    Store(#[from] sqlx::Error),
    #[error("It is not known whether this was done: get the task before you try again")]
    Unknown,
}

/// Changes a task: loads it, decides on a draft, commits; and again if somebody was faster. Returns
/// the draft that was committed, and what lay beside the task before.
pub async fn change(
    tasks: &impl Tasks,
    key: &Key,
    by: &str,
    tries: u32,
    mut decide: impl FnMut(&mut Draft<String>, &Beside, &mut Note) -> Result<(), Refusal>,
) -> Result<(Draft<String>, Beside), Refusal> {
    loop {
        let Row { task, beside } = tasks.load(key).await?.ok_or(Refusal::NotFound)?;
        let mut draft = Draft::new(task);
        let mut note = Note { by: by.to_owned(), ..Note::default() };
        decide(&mut draft, &beside, &mut note)?;
        match commit(tasks, key, &draft, &note, tries).await? {
            Outcome::Made => return Ok((draft, beside)),
            Outcome::Lost => {}
            // To decide again could be refused, and that be the echo of this commit.
            Outcome::Open | Outcome::Unknown => return Err(Refusal::Unknown),
        }
    }
}

/// Commits a draft until it is known what became of it. An error means that nothing was done.
async fn commit(
    tasks: &impl Tasks,
    key: &Key,
    draft: &Draft<String>,
    note: &Note,
    tries: u32,
) -> sqlx::Result<Outcome> {
    if draft.revision() == draft.loaded() {
        return Ok(Outcome::Made); // nothing was decided
    }
    let mut is_open = false; // whether an earlier try may still arrive
    for tried in 0..tries {
        match tasks.commit(key, draft, note).await {
            Ok(true) => return Ok(Outcome::Made),
            Ok(false) if !is_open => return Ok(Outcome::Lost),
            Ok(false) => {} // lost, or made by an earlier try
            Err(fault) if !is_open && meaning(&fault) != Meaning::Unknown => return Err(fault),
            Err(fault) => {
                tracing::warn!(task = key.id, "no answer to {}: {fault}", note.operations);
                is_open = true;
            }
        }
        if let Ok(found) = tasks.load(key).await {
            match outcome(draft, note, found.as_ref()) {
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
fn outcome(draft: &Draft<String>, note: &Note, found: Option<&Row>) -> Outcome {
    let outcome = draft.outcome(found.map(|row| &row.task));
    let Some(run) = note.stop else { return outcome };
    match found.and_then(|row| row.beside.stop_requested) {
        Some(requested) if requested == run.to_i64() => Outcome::Made,
        _ if outcome == Outcome::Made => Outcome::Lost,
        _ => outcome,
    }
}
