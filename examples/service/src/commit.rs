//! A commit, from its draft to what became of it.

use task_lifecycle::{Draft, Outcome};

use crate::database::{Meaning, meaning};
use crate::store::{Key, Note, Result, Row, Tasks};

/// Commits a draft until it is known what became of it, and tells: `Made`, `Lost` (decide again) or
/// `Unknown`. An error means that nothing was done.
pub async fn commit(
    tasks: &impl Tasks,
    key: &Key,
    draft: &Draft<String>,
    note: &Note,
    tries: u32,
) -> Result<Outcome> {
    let mut is_open = false; // whether an earlier try may still arrive
    for tried in 0..tries {
        match tasks.commit(key, draft, note).await {
            Ok(true) => return Ok(Outcome::Made),
            Ok(false) if !is_open => return Ok(Outcome::Lost),
            Ok(false) => {} // lost, or an echo of an earlier try
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

/// The outcome, with what is beside the task. The request to stop a run is an empty edit, equal to
/// any other: it counts exactly if it is found.
fn outcome(draft: &Draft<String>, note: &Note, found: Option<&Row>) -> Outcome {
    let outcome = draft.outcome(found.map(|row| &row.task));
    let is_found = found.is_some_and(|row| row.beside.stop_requested == note.stop);
    match (note.stop, outcome) {
        (None, outcome) => outcome,
        (Some(_), _) if is_found => Outcome::Made,
        (Some(_), Outcome::Made) => Outcome::Lost,
        (Some(_), outcome) => outcome,
    }
}
