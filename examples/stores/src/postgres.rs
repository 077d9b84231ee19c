//! Tasks in PostgreSQL.
//!
//! A row has the task's five parts as columns ([`SCHEMA`]). A commit is one `UPDATE … WHERE id = $1
//! AND revision = …`. Of two from one revision the second waits for the row's lock, looks at the
//! row again, and changes none
//! (<https://www.postgresql.org/docs/current/transaction-iso.html>, Read Committed). At the
//! stricter levels it fails with `40001` instead; that, and a deadlock, is the same lost race, and
//! [`lost_race`] tells it from an outage. Any other error proves nothing: the connection may have
//! broken after the commit. sqlx sends no statement twice.
//!
//! PostgreSQL promises that what was committed survives a crash, with `fsync` and
//! `synchronous_commit` on, as they are by default
//! (<https://www.postgresql.org/docs/current/wal-reliability.html>). A failover to an asynchronous
//! standby loses the last commits, and their revisions with them
//! (<https://www.postgresql.org/docs/current/warm-standby.html>, Synchronous Replication).
//!
//! Each call takes a pool, a connection, or a transaction of yours: `&mut *transaction`. After a
//! lost race in one, roll it back and begin another; and its own commit may be the one that fails
//! with a lost race.

pub mod cancel;

use sqlx::postgres::{PgArguments, PgExecutor as Db, PgQueryResult as Done};
use sqlx::{Postgres, error::DatabaseError, query::Query};
use task_lifecycle::{Previous, Snapshot};
use uuid::Uuid;

use crate::{Result, Task};

/// For a migration. A `BIGINT` has a sign, so the counters, which are `u64`, are kept bit for bit.
/// Payloads are `TEXT`: `JSONB` refuses `\u0000`. The `CHECK` is the nine pairs of statuses; the
/// trigger rejects a hand-written update that leaves the revision unchanged.
pub const SCHEMA: &str = "CREATE TABLE tasks (
    id UUID PRIMARY KEY, status TEXT NOT NULL, revision BIGINT NOT NULL, run BIGINT NOT NULL,
    payload TEXT NOT NULL, previous_status TEXT, previous_payload TEXT,
    CHECK ((previous_payload IS NULL) = (previous_status IS NULL)),
    CHECK (previous_status IN ('Succeeded', 'Failed') AND status IN ('Starting', 'Processing')
        OR previous_status IS NULL
            AND status IN ('Starting', 'Processing', 'Succeeded', 'Failed', 'Cancelled')));
CREATE FUNCTION tasks_revision() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN RAISE EXCEPTION 'an update must change the revision'; END $$;
CREATE TRIGGER tasks_revision BEFORE UPDATE ON tasks FOR EACH ROW
WHEN (NEW.revision = OLD.revision) EXECUTE FUNCTION tasks_revision();";

type Columns = (String, i64, i64, String, Option<String>, Option<String>);

/// Stores a new task; false if the id is taken, or after a lost race: pick another.
pub async fn create(db: impl Db<'_>, id: Uuid, task: &Task) -> Result<bool> {
    let sql = "INSERT INTO tasks (id, status, revision, run, payload, previous_status,
        previous_payload) VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT DO NOTHING";
    changed(bind(sql, id, task)?.execute(db).await)
}

pub async fn load(db: impl Db<'_>, id: Uuid) -> Result<Option<Task>> {
    let sql = "SELECT status, revision, run, payload, previous_status, previous_payload
        FROM tasks WHERE id = $1";
    sqlx::query_as(sql).bind(id).fetch_optional(db).await?.map(read).transpose()
}

/// Stores a changed task that was loaded at revision `loaded`; false if the stored revision is
/// another, or the task is gone.
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
    let Snapshot { status, revision, run, payload, previous } = Snapshot::from(task);
    let query = sqlx::query(sql).bind(id).bind(status.as_str()).bind(revision.cast_signed());
    let query = query.bind(run.cast_signed()).bind(serde_json::to_string(payload)?);
    let query = query.bind(previous.as_ref().map(|it| it.status.as_str()));
    Ok(query.bind(previous.map(|it| serde_json::to_string(it.payload)).transpose()?))
}

fn read((status, revision, run, payload, before, previous): Columns) -> Result<Task> {
    let previous = before.zip(previous).map(|(status, payload)| -> Result<_> {
        Ok(Previous { status: status.parse()?, payload: serde_json::from_str(&payload)? })
    });
    let (status, payload) = (status.parse()?, serde_json::from_str(&payload)?);
    let [revision, run] = [revision, run].map(i64::cast_unsigned);
    Ok(Snapshot { status, revision, run, payload, previous: previous.transpose()? }.try_into()?)
}

fn changed(answer: Result<Done, sqlx::Error>) -> Result<bool> {
    Ok(!answer.as_ref().is_err_and(lost_race) && answer?.rows_affected() == 1)
}

/// Whether nothing was stored because others were faster: a serialization failure or a deadlock.
pub fn lost_race(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(DatabaseError::code);
    matches!(code.as_deref(), Some("40001" | "40P01"))
}
