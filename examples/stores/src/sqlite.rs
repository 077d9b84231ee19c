//! Tasks in SQLite: a file on one machine.
//!
//! A row has the task's five parts as columns (`SCHEMA`, below). A commit is one `UPDATE … WHERE
//! id = ? AND revision = ?`. A statement is a transaction and there is one writer at a time, so of
//! two commits from one revision the second changes no row.
//!
//! SQLite promises that transactions are serializable (<https://sqlite.org/isolation.html>) and,
//! with `synchronous = FULL`, that they survive a power loss, on a disk that flushes when it is
//! told to (<https://sqlite.org/pragma.html#pragma_synchronous>). A write-ahead log does not work
//! over a network file system (<https://sqlite.org/wal.html>).
//!
//! The calls block: async code makes them in `tokio::task::spawn_blocking`, which goes on when the
//! caller goes away. In a transaction of yours, `BEGIN IMMEDIATE`: one that reads first may find
//! that it can no longer write.

use rusqlite::{Connection, params};
use task_lifecycle::{Previous, Snapshot};
use uuid::Uuid;

use crate::{Result, Task};

/// An `INTEGER` has a sign, so the counters, which are `u64`, are kept bit for bit. The `CHECK` is
/// the nine pairs of statuses; the trigger refuses a hand-written update that leaves the revision
/// unchanged.
const SCHEMA: &str = "PRAGMA synchronous = FULL; CREATE TABLE IF NOT EXISTS tasks (
    id TEXT PRIMARY KEY, status TEXT NOT NULL, revision INTEGER NOT NULL, run INTEGER NOT NULL,
    payload TEXT NOT NULL, previous_status TEXT, previous_payload TEXT,
    CHECK ((previous_payload IS NULL) = (previous_status IS NULL)),
    CHECK (previous_status IN ('Succeeded', 'Failed') AND status IN ('Starting', 'Processing')
        OR previous_status IS NULL
            AND status IN ('Starting', 'Processing', 'Succeeded', 'Failed', 'Cancelled'))
) STRICT, WITHOUT ROWID;
CREATE TRIGGER IF NOT EXISTS tasks_revision BEFORE UPDATE ON tasks WHEN NEW.revision = OLD.revision
BEGIN SELECT RAISE(ABORT, 'an update must change the revision'); END;";

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
    let sql = "INSERT INTO tasks (id, status, revision, run, payload, previous_status,
        previous_payload) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7) ON CONFLICT DO NOTHING";
    write(db, sql, id, 0, task)
}

pub fn load(db: &Connection, id: Uuid) -> Result<Option<Task>> {
    let sql = "SELECT status, revision, run, payload, previous_status, previous_payload
        FROM tasks WHERE id = ?";
    let mut statement = db.prepare_cached(sql)?;
    statement.query([id.to_string()])?.next()?.map(|row| read(row.try_into()?)).transpose()
}

/// Stores a changed task that was loaded at revision `loaded`; false if the stored revision is
/// another, or the task is gone.
pub fn commit(db: &Connection, id: Uuid, loaded: u64, task: &Task) -> Result<bool> {
    let sql = "UPDATE tasks SET status = ?2, revision = ?3, run = ?4, payload = ?5,
        previous_status = ?6, previous_payload = ?7 WHERE id = ?1 AND revision = ?8";
    write(db, sql, id, loaded, task)
}

/// Removes a task that was loaded at revision `loaded`; false as for [`commit`].
pub fn delete(db: &Connection, id: Uuid, loaded: u64) -> Result<bool> {
    let sql = "DELETE FROM tasks WHERE id = ? AND revision = ?";
    Ok(db.prepare_cached(sql)?.execute((id.to_string(), loaded.cast_signed()))? == 1)
}

fn write(db: &Connection, sql: &str, id: Uuid, loaded: u64, task: &Task) -> Result<bool> {
    let Snapshot { status, revision, run, payload, previous } = Snapshot::from(task);
    let [revision, run, loaded] = [revision, run, loaded].map(u64::cast_signed);
    let (status, payload) = (status.as_str(), serde_json::to_string(payload)?);
    let (id, before) = (id.to_string(), previous.as_ref().map(|it| it.status.as_str()));
    let previous = previous.map(|it| serde_json::to_string(it.payload)).transpose()?;
    let values = params![id, status, revision, run, payload, before, previous, loaded];
    let mut statement = db.prepare_cached(sql)?;
    let count = statement.parameter_count(); // a create compares nothing
    Ok(statement.execute(&values[..count])? == 1)
}

fn read((status, revision, run, payload, before, previous): Columns) -> Result<Task> {
    let previous = before.zip(previous).map(|(status, payload)| -> Result<_> {
        Ok(Previous { status: status.parse()?, payload: serde_json::from_str(&payload)? })
    });
    let (status, payload) = (status.parse()?, serde_json::from_str(&payload)?);
    let [revision, run] = [revision, run].map(i64::cast_unsigned);
    Ok(Snapshot { status, revision, run, payload, previous: previous.transpose()? }.try_into()?)
}
