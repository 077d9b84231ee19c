//! Tasks in SQLite: a file on one machine.
//!
//! A row has the task's five parts as columns, and beside them what must not revert (`SCHEMA`,
//! below). A commit is one `UPDATE … WHERE id = ? AND revision = ?`, and the message that it asks
//! for, in one transaction. There is one writer at a time, so of two commits from one revision the
//! second changes no row.
//!
//! SQLite promises that transactions are serializable (<https://sqlite.org/isolation.html>) and,
//! with `synchronous = FULL`, that they survive a power loss, on a disk that flushes when it is
//! told to (<https://sqlite.org/pragma.html#pragma_synchronous>).
//!
//! The calls block: async code makes them in `tokio::task::spawn_blocking`, which goes on when the
//! caller goes away. A transaction is `IMMEDIATE`: one that reads first may find that it can no
//! longer write.

use rusqlite::{Connection, ToSql, Transaction, TransactionBehavior::Immediate, params};
use task_lifecycle::{Previous, Revision, Run, Snapshot, Status};
use uuid::Uuid;

use crate::{Draft, Result, Task};

/// An `INTEGER` has a sign, so the counters are kept bit for bit. The trigger refuses what is
/// written by hand and leaves the revision alone; renewing a lease leaves it alone, rightly.
const SCHEMA: &str = "PRAGMA synchronous = FULL; CREATE TABLE IF NOT EXISTS tasks (
    id TEXT PRIMARY KEY, status TEXT NOT NULL, revision INTEGER NOT NULL, run INTEGER NOT NULL,
    payload TEXT NOT NULL, previous_status TEXT, previous_payload TEXT,
    queued_run INTEGER NOT NULL, attempts INTEGER NOT NULL DEFAULT 0,
    lease INTEGER, ended_at INTEGER,
    CHECK (previous_status IN ('Succeeded', 'Failed') AND status IN ('Starting', 'Processing')
        OR previous_status IS NULL
            AND status IN ('Starting', 'Processing', 'Succeeded', 'Failed', 'Cancelled')),
    CHECK ((previous_payload IS NULL) = (previous_status IS NULL)),
    CHECK ((lease IS NULL) = (status <> 'Processing')),
    CHECK ((ended_at IS NOT NULL) = (status NOT IN ('Starting', 'Processing')))
) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS messages (task TEXT NOT NULL, run INTEGER NOT NULL) STRICT;
CREATE TRIGGER IF NOT EXISTS tasks_revision
BEFORE UPDATE OF status, run, payload, previous_status, previous_payload ON tasks
WHEN NEW.revision = OLD.revision
BEGIN SELECT RAISE(ABORT, 'an update must change the revision'); END;";

const CREATE: &str = "INSERT INTO tasks (id, status, revision, run, payload, previous_status,
    previous_payload, queued_run, lease, ended_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?4,
    iif(?2 = 'Processing', unixepoch() + 15, NULL),
    iif(?2 IN ('Starting', 'Processing'), NULL, unixepoch())) ON CONFLICT DO NOTHING";

/// A lease is taken with the run, and ends with it. Where a task is queued by its owner and not by
/// a `retry`, the attempts begin anew.
const COMMIT: &str = "UPDATE tasks SET status = ?2, revision = ?3, run = ?4, payload = ?5,
    previous_status = ?6, previous_payload = ?7,
    lease = iif(?2 = 'Processing', iif(?9, unixepoch() + 15, lease), NULL),
    queued_run = iif(?10, ?4, queued_run), attempts = iif(?10, 0, attempts),
    ended_at = iif(?2 IN ('Starting', 'Processing'), NULL, coalesce(ended_at, unixepoch()))
    WHERE id = ?1 AND revision = ?8";

type Columns = (String, i64, i64, String, Option<String>, Option<String>);

pub fn open(file: &std::path::Path) -> Result<Connection> {
    let db = Connection::open(file)?;
    // Whose turn it is to write is chance, so that some wait long. The log is refused at once while
    // another connection turns it on, and then that one does.
    _ = db.execute_batch("PRAGMA busy_timeout = 60000; PRAGMA journal_mode = WAL;");
    db.execute_batch(SCHEMA)?;
    Ok(db)
}

/// Stores a new task; false if the id is taken.
pub fn create(db: &Connection, id: Uuid, task: &Task) -> Result<bool> {
    let is_queued = task.status() == Status::Starting;
    write(db, CREATE, id, task, &[], is_queued.then_some(task.run()))
}

pub fn load(db: &Connection, id: Uuid) -> Result<Option<Task>> {
    let sql = "SELECT status, revision, run, payload, previous_status, previous_payload
        FROM tasks WHERE id = ?";
    let mut statement = db.prepare_cached(sql)?;
    statement.query([id.to_string()])?.next()?.map(|row| read(row.try_into()?)).transpose()
}

/// Stores what was decided; false if the task is no longer as it was loaded, or is gone.
pub fn commit(db: &Connection, id: Uuid, draft: &Draft) -> Result<bool> {
    let is_another_run = draft.run() != draft.loaded_run();
    let is_new_work = is_another_run && draft.before().status() != Status::Processing;
    let more = params![draft.loaded().to_i64(), draft.taken().is_some(), is_new_work];
    write(db, COMMIT, id, draft, more, draft.queued())
}

/// Removes a task; false as for [`commit`].
pub fn delete(db: &Connection, id: Uuid, loaded: Revision) -> Result<bool> {
    let sql = "DELETE FROM tasks WHERE id = ? AND revision = ?";
    Ok(db.prepare_cached(sql)?.execute((id.to_string(), loaded.to_i64()))? == 1)
}

fn write(
    db: &Connection,
    sql: &str,
    id: Uuid,
    task: &Task,
    more: &[&dyn ToSql],
    message: Option<Run>,
) -> Result<bool> {
    let Snapshot { status, revision, run, payload, previous } = Snapshot::from(task);
    let (id, revision, run) = (id.to_string(), revision.to_i64(), run.to_i64());
    let (status, payload) = (status.as_str(), serde_json::to_string(payload)?);
    let before = previous.as_ref().map(|it| it.status.as_str());
    let previous = previous.map(|it| serde_json::to_string(it.payload)).transpose()?;
    let values = [params![id, status, revision, run, payload, before, previous], more].concat();

    let transaction = Transaction::new_unchecked(db, Immediate)?;
    let is_done = transaction.prepare_cached(sql)?.execute(&*values)? == 1;
    if let Some(run) = message.filter(|_| is_done) {
        let sql = "INSERT INTO messages (task, run) VALUES (?, ?)";
        transaction.prepare_cached(sql)?.execute((id, run.to_i64()))?;
    }
    transaction.commit()?;
    Ok(is_done)
}

fn read((status, revision, run, payload, before, previous): Columns) -> Result<Task> {
    let previous = before.map(|it| it.parse()).transpose()?.zip(previous);
    let previous = previous.map(|(status, payload)| Previous { status, payload });
    let (revision, run) = (Revision::from_i64(revision), Run::from_i64(run));
    let stored = Snapshot { status: status.parse()?, revision, run, payload, previous };
    Ok(task_lifecycle::Task::try_from(stored)?.try_map(|json| serde_json::from_str(&json))?)
}
