//! Cancels that load no payload: the decision is one byte, and the SQL moves the payloads.

use sqlx::postgres::PgExecutor as Db;
use task_lifecycle::{Operation, State};
use uuid::Uuid;

use super::changed;
use crate::Result;

/// All that a decision needs: `state.apply(Operation::Cancel)?`, and the revision for [`commit`].
pub async fn state(db: impl Db<'_>, id: Uuid) -> Result<Option<(State, u64)>> {
    let sql = "SELECT status, previous_status, revision FROM tasks WHERE id = $1";
    let row = sqlx::query_as::<_, (String, Option<String>, i64)>(sql).bind(id);
    let Some((status, previous, revision)) = row.fetch_optional(db).await? else { return Ok(None) };
    let previous = previous.map(|status| status.parse()).transpose()?;
    Ok(Some((State::from_parts(status.parse()?, previous)?, revision.cast_unsigned())))
}

/// Stores the cancel that was decided on the state at revision `loaded`; false if the revision is
/// another by now, or the task is gone.
pub async fn commit(db: impl Db<'_>, id: Uuid, loaded: u64, cancelled: State) -> Result<bool> {
    let sql = "UPDATE tasks SET status = $3, payload = coalesce(previous_payload, payload),
        previous_status = NULL, previous_payload = NULL, revision = $4
        WHERE id = $1 AND revision = $2";
    let query = sqlx::query(sql).bind(id).bind(loaded.cast_signed());
    let query = query.bind(cancelled.status().as_str()).bind(loaded.wrapping_add(1).cast_signed());
    changed(query.execute(db).await)
}

/// Cancels those of the tasks that can be cancelled, and returns their ids. A new one becomes
/// `Cancelled`, an updating one reverts.
///
/// One statement: it looks at each row again once it has its lock. Rows are locked in order, so
/// that two of these do not deadlock; what else fails with [`lost_race`](super::lost_race) cancelled
/// nothing.
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
    let accepted: Vec<_> = Operation::Cancel.accepted_in().iter().map(|it| it.as_str()).collect();
    Ok(sqlx::query_scalar(sql).bind(ids).bind(accepted).fetch_all(db).await?)
}
