//! Tasks in PostgreSQL.
//!
//! A row has the task's five parts as columns, and beside them what must not revert ([`SCHEMA`]). A
//! commit is one `UPDATE … WHERE id = $1 AND revision = …`. Of two from one revision the second
//! waits for the row's lock, looks at the row again, and changes none
//! (<https://www.postgresql.org/docs/current/transaction-iso.html>). At the stricter levels it
//! fails instead; that is the same lost race, and [`lost_race`] tells it from an outage. Any other
//! error proves nothing: the connection may have broken after the commit.
//!
//! PostgreSQL promises that what was committed survives a crash
//! (<https://www.postgresql.org/docs/current/wal-reliability.html>). A failover to an asynchronous
//! standby loses the last commits, and their revisions with them
//! (<https://www.postgresql.org/docs/current/warm-standby.html>).
//!
//! Each call takes a pool, a connection, or a transaction of yours. After a lost race, roll it back
//! and begin another. The message that [`queued`](task_lifecycle::Draft::queued) asks for goes into
//! the same transaction: [`queue`](crate::queue) does that.

use sqlx::postgres::{PgArguments, PgExecutor as Db, PgQueryResult as Done};
use sqlx::{Postgres, error::DatabaseError, query::Query};
use task_lifecycle::{Previous, Revision, Run, Snapshot, Status};
use uuid::Uuid;

use crate::{Draft, Error, Result, Task};

/// For a migration. A `BIGINT` has a sign, so the counters are kept bit for bit. Payloads are
/// `TEXT`: `JSONB` refuses `\u0000`. The trigger refuses what is written by hand and leaves the
/// revision alone; renewing a lease leaves it alone, rightly.
pub const SCHEMA: &str = "CREATE TABLE tasks (
    id UUID PRIMARY KEY, status TEXT NOT NULL, revision BIGINT NOT NULL, run BIGINT NOT NULL,
    payload TEXT NOT NULL, previous_status TEXT, previous_payload TEXT,
    queued_run BIGINT NOT NULL, attempts INT NOT NULL DEFAULT 0,
    lease TIMESTAMPTZ, ended_at TIMESTAMPTZ,
    CHECK (previous_status IN ('Succeeded', 'Failed') AND status IN ('Starting', 'Processing')
        OR previous_status IS NULL
            AND status IN ('Starting', 'Processing', 'Succeeded', 'Failed', 'Cancelled')),
    CHECK ((previous_payload IS NULL) = (previous_status IS NULL)),
    CHECK ((lease IS NULL) = (status <> 'Processing')),
    CHECK ((ended_at IS NOT NULL) = (status NOT IN ('Starting', 'Processing'))));
CREATE FUNCTION tasks_revision() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN RAISE EXCEPTION 'an update must change the revision'; END $$;
CREATE TRIGGER tasks_revision
BEFORE UPDATE OF status, run, payload, previous_status, previous_payload ON tasks FOR EACH ROW
WHEN (NEW.revision = OLD.revision) EXECUTE FUNCTION tasks_revision();";

const CREATE: &str = "INSERT INTO tasks (id, status, revision, run, payload, previous_status,
    previous_payload, queued_run, lease, ended_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $4,
    CASE WHEN $2 = 'Processing' THEN now() + interval '15 s' END,
    CASE WHEN $2 NOT IN ('Starting', 'Processing') THEN now() END) ON CONFLICT DO NOTHING";

/// A lease is taken with the run, and ends with it. Where a task is queued by its owner and not by
/// a `retry`, the attempts begin anew.
const COMMIT: &str = "UPDATE tasks SET status = $2, revision = $3, run = $4, payload = $5,
    previous_status = $6, previous_payload = $7,
    lease = CASE WHEN $2 = 'Processing' THEN
        CASE WHEN $9 THEN now() + interval '15 s' ELSE lease END END,
    queued_run = CASE WHEN $10 THEN $4 ELSE queued_run END,
    attempts = CASE WHEN $10 THEN 0 ELSE attempts END,
    ended_at = CASE WHEN $2 NOT IN ('Starting', 'Processing') THEN coalesce(ended_at, now()) END
    WHERE id = $1 AND revision = $8";

type Columns = (String, i64, i64, String, Option<String>, Option<String>);

/// Stores a new task; false if the id is taken, or after a lost race: pick another.
pub async fn create(db: impl Db<'_>, id: Uuid, task: &Task) -> Result<bool> {
    changed(bind(CREATE, id, task)?.execute(db).await)
}

pub async fn load(db: impl Db<'_>, id: Uuid) -> Result<Option<Task>> {
    let sql = "SELECT status, revision, run, payload, previous_status, previous_payload
        FROM tasks WHERE id = $1";
    sqlx::query_as(sql).bind(id).fetch_optional(db).await?.map(read).transpose()
}

/// Stores what was decided; false if the task is no longer as it was loaded, or is gone.
pub async fn commit(db: impl Db<'_>, id: Uuid, draft: &Draft) -> Result<bool> {
    let is_another_run = draft.run() != draft.loaded_run();
    let is_new_work = is_another_run && draft.before().status() != Status::Processing;
    let query = bind(COMMIT, id, draft)?.bind(draft.loaded().to_i64());
    changed(query.bind(draft.taken().is_some()).bind(is_new_work).execute(db).await)
}

/// Removes a task; false as for [`commit`].
pub async fn delete(db: impl Db<'_>, id: Uuid, loaded: Revision) -> Result<bool> {
    let sql = "DELETE FROM tasks WHERE id = $1 AND revision = $2";
    changed(sqlx::query(sql).bind(id).bind(loaded.to_i64()).execute(db).await)
}

fn bind(sql: &'static str, id: Uuid, task: &Task) -> Result<Query<'static, Postgres, PgArguments>> {
    let Snapshot { status, revision, run, payload, previous } = Snapshot::from(task);
    let query = sqlx::query(sql).bind(id).bind(status.as_str()).bind(revision.to_i64());
    let query = query.bind(run.to_i64()).bind(serde_json::to_string(payload)?);
    let query = query.bind(previous.as_ref().map(|it| it.status.as_str()));
    Ok(query.bind(previous.map(|it| serde_json::to_string(it.payload)).transpose()?))
}

fn read((status, revision, run, payload, before, previous): Columns) -> Result<Task> {
    let previous = before.map(|it| it.parse()).transpose()?.zip(previous);
    let previous = previous.map(|(status, payload)| Previous { status, payload });
    let (revision, run) = (Revision::from_i64(revision), Run::from_i64(run));
    let stored = Snapshot { status: status.parse()?, revision, run, payload, previous };
    Ok(task_lifecycle::Task::try_from(stored)?.try_map(|json| serde_json::from_str(&json))?)
}

fn changed(answer: Result<Done, sqlx::Error>) -> Result<bool> {
    Ok(!answer.as_ref().is_err_and(lost_race) && answer?.rows_affected() == 1)
}

/// Tells a lost race, after which nothing is stored: a serialization failure or a deadlock.
pub fn lost_race(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(DatabaseError::code);
    matches!(code.as_deref(), Some("40001" | "40P01"))
}

/// Tells data that will be refused again: it is wrong, breaks a constraint or is too large.
/// Whatever else is no lost race is an outage, and no fault of the task.
pub fn is_lasting(error: &Error) -> bool {
    let Error::Postgres(error) = error else { return matches!(error, Error::Json(_)) };
    let code = error.as_database_error().and_then(DatabaseError::code).unwrap_or_default();
    ["22", "23", "54"].iter().any(|class| code.starts_with(class))
}
