//! Cancels that load no payload: the decision is one byte, and SQL moves the payloads, so that a
//! revert is exact to the byte.

use sqlx::postgres::{PgExecutor as Db, PgPool};
use task_lifecycle::{Operation, State, TransitionError};
use uuid::Uuid;

use super::changed;
use crate::Result;

/// How a cancel ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Cancel {
    /// The task is in this state now, at this revision.
    Done(State, u64),
    Refused(TransitionError),
    NotFound,
}

/// Cancels a task.
pub async fn one(pool: &PgPool, id: Uuid) -> Result<Cancel> {
    let select = "SELECT status, previous_status, revision FROM tasks WHERE id = $1";
    let update = "UPDATE tasks SET status = $3, revision = $4,
        payload = CASE WHEN previous_status IS NULL THEN payload ELSE previous_payload END,
        previous_status = NULL, previous_payload = NULL WHERE id = $1 AND revision = $2";
    loop {
        let row = sqlx::query_as::<_, (String, Option<String>, i64)>(select).bind(id);
        let Some((status, previous, loaded)) = row.fetch_optional(pool).await? else {
            return Ok(Cancel::NotFound);
        };
        let previous = previous.map(|status| status.parse()).transpose()?;
        let state = match State::from_parts(status.parse()?, previous)?.apply(Operation::Cancel) {
            Ok(Some(state)) => state,
            Ok(None) => return Ok(Cancel::NotFound), // gone, where no cancel leads
            Err(refused) => return Ok(Cancel::Refused(refused)),
        };
        let revision = loaded.wrapping_add(1);
        let query = sqlx::query(update).bind(id).bind(loaded).bind(state.status().as_str());
        if changed(query.bind(revision).execute(pool).await)? {
            return Ok(Cancel::Done(state, revision.cast_unsigned()));
        } // else somebody was faster: load again, decide again
    }
}

/// Cancels those of the tasks that can be cancelled, and returns their ids. A new one becomes
/// `Cancelled`, an updating one reverts.
///
/// It is one statement. `FOR UPDATE` looks at each row again once it has its lock, and takes the
/// locks in order, so that two of these do not deadlock. If it fails with a
/// [`lost_race`](super::lost_race), nothing was cancelled: call it again.
pub async fn all(db: impl Db<'_>, ids: &[Uuid]) -> Result<Vec<Uuid>> {
    let sql = "WITH queued AS (SELECT id FROM tasks WHERE id = ANY($1) AND status = ANY($2)
            ORDER BY id FOR UPDATE)
        UPDATE tasks SET
            status = CASE WHEN previous_status IS NULL THEN 'Cancelled' ELSE previous_status END,
            payload = CASE WHEN previous_status IS NULL THEN payload ELSE previous_payload END,
            previous_status = NULL, previous_payload = NULL,
            revision = CASE revision WHEN 9223372036854775807 THEN -9223372036854775808
                ELSE revision + 1 END
        FROM queued WHERE tasks.id = queued.id RETURNING tasks.id";
    let accepted = Operation::Cancel.accepted_in().iter().map(|status| status.as_str());
    let query = sqlx::query_scalar(sql).bind(ids).bind(accepted.collect::<Vec<_>>());
    Ok(query.fetch_all(db).await?)
}
