//! Tasks in PostgreSQL.
//!
//! A commit is one `UPDATE … WHERE id = $1 AND revision = …`. Of two from one revision the second
//! waits for the row's lock, looks at the row again, and changes none
//! (<https://www.postgresql.org/docs/current/transaction-iso.html>, Read Committed). At the
//! stricter levels it fails with `40001` instead; that, and a deadlock, is the same lost race, and
//! [`lost_race`] tells it from an outage.
//!
//! PostgreSQL promises that what was committed survives a crash, with `fsync` and
//! `synchronous_commit` on, as they are by default
//! (<https://www.postgresql.org/docs/current/wal-reliability.html>). A failover to an asynchronous
//! standby loses the last commits, and their revisions with them
//! (<https://www.postgresql.org/docs/current/warm-standby.html>, Synchronous Replication).
//!
//! Each call takes a pool, a connection, or a transaction of yours: `&mut *transaction`. After a
//! lost race in one, roll it back and begin another.

pub mod cancel;

use sqlx::postgres::{PgArguments, PgExecutor as Db, PgQueryResult, PgRow};
use sqlx::{Postgres, Row, query::Query};
use task_lifecycle::{Previous, Snapshot};
use uuid::Uuid;

use crate::{Result, Task};

/// For a migration. A `BIGINT` has a sign, so counters, which are `u64`, are kept bit for bit. The
/// `CHECK` is the nine pairs of statuses; the trigger stops a hand that changes a row and not its
/// revision. Payloads are `TEXT`: `JSONB` refuses `\u0000`.
pub const SCHEMA: &str = "
CREATE TABLE tasks (
    id UUID PRIMARY KEY, status TEXT NOT NULL, revision BIGINT NOT NULL, run BIGINT NOT NULL,
    payload TEXT NOT NULL, previous_status TEXT, previous_payload TEXT,
    CHECK ((previous_status IS NULL) = (previous_payload IS NULL)),
    CHECK (CASE WHEN previous_status IS NULL
        THEN status IN ('Starting', 'Processing', 'Succeeded', 'Failed', 'Cancelled')
        ELSE status IN ('Starting', 'Processing') AND previous_status IN ('Succeeded', 'Failed') END)
);
CREATE FUNCTION tasks_revision() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN RAISE EXCEPTION 'an update must change the revision'; END $$;
CREATE TRIGGER tasks_revision BEFORE UPDATE ON tasks FOR EACH ROW
WHEN (NEW.revision = OLD.revision) EXECUTE FUNCTION tasks_revision();";

/// Stores a new task; false if the id is taken.
pub async fn create(db: impl Db<'_>, id: Uuid, task: &Task) -> Result<bool> {
    let sql = "INSERT INTO tasks VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT DO NOTHING";
    changed(bind(sql, id, task)?.execute(db).await)
}

pub async fn load(db: impl Db<'_>, id: Uuid) -> Result<Option<Task>> {
    let sql = "SELECT status, revision, run, payload, previous_status, previous_payload
        FROM tasks WHERE id = $1";
    sqlx::query(sql).bind(id).fetch_optional(db).await?.as_ref().map(read).transpose()
}

/// Stores what became of a task that was loaded at revision `loaded`; false if the revision is
/// another by now, or the task is gone.
pub async fn commit(db: impl Db<'_>, id: Uuid, loaded: u64, task: &Task) -> Result<bool> {
    let sql = "UPDATE tasks SET status = $2, revision = $3, run = $4, payload = $5,
        previous_status = $6, previous_payload = $7 WHERE id = $1 AND revision = $8";
    changed(bind(sql, id, task)?.bind(loaded.cast_signed()).execute(db).await)
}

/// Removes a task that was loaded at revision `loaded`; false as for [`commit`].
pub async fn delete(db: impl Db<'_>, id: Uuid, loaded: u64) -> Result<bool> {
    let sql = "DELETE FROM tasks WHERE id = $1 AND revision = $2";
    changed(sqlx::query(sql).bind(id).bind(loaded.cast_signed()).execute(db).await)
}

fn bind(sql: &'static str, id: Uuid, task: &Task) -> Result<Query<'static, Postgres, PgArguments>> {
    let (status, payload) = match task.previous() {
        Some(it) => (Some(it.status.as_str()), Some(serde_json::to_string(it.payload)?)),
        None => (None, None),
    };
    let query = sqlx::query(sql).bind(id).bind(task.status().as_str());
    let query = query.bind(task.revision().cast_signed()).bind(task.run().cast_signed());
    Ok(query.bind(serde_json::to_string(task.payload())?).bind(status).bind(payload))
}

fn read(row: &PgRow) -> Result<Task> {
    let previous = match (row.try_get::<Option<&str>, _>(4)?, row.try_get::<Option<&str>, _>(5)?) {
        (Some(status), Some(payload)) => Some((status.parse()?, serde_json::from_str(payload)?)),
        _ => None, // neither, says the `CHECK`
    };
    Ok(Snapshot {
        status: row.try_get::<&str, _>(0)?.parse()?,
        revision: row.try_get::<i64, _>(1)?.cast_unsigned(),
        run: row.try_get::<i64, _>(2)?.cast_unsigned(),
        payload: serde_json::from_str(row.try_get(3)?)?,
        previous: previous.map(|(status, payload)| Previous { status, payload }),
    }
    .try_into()?)
}

fn changed(answer: Result<PgQueryResult, sqlx::Error>) -> Result<bool> {
    match answer {
        Ok(done) => Ok(done.rows_affected() == 1),
        Err(error) if lost_race(&error) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Whether nothing was stored because others were faster: a serialization failure or a deadlock.
pub fn lost_race(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(|error| error.code());
    matches!(code.as_deref(), Some("40001" | "40P01"))
}
