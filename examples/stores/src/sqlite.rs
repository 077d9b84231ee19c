//! Tasks in SQLite: a file on one machine.
//!
//! A commit is one `UPDATE … WHERE id = ? AND revision = ?`. A statement is a transaction and there
//! is one writer at a time, so of two commits from one revision the second changes no row.
//!
//! SQLite promises that transactions are serializable (<https://sqlite.org/isolation.html>) and,
//! with `synchronous = FULL`, that they survive a power loss, on a disk that flushes when it is
//! told to (<https://sqlite.org/pragma.html#pragma_synchronous>). A write-ahead log does not work
//! over a network file system (<https://sqlite.org/wal.html>).
//!
//! The calls block: async code makes them in `tokio::task::spawn_blocking`. In a transaction of
//! yours, `BEGIN IMMEDIATE`: one that reads first may find that it cannot write.

use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, Row, params_from_iter, types::Value};
use task_lifecycle::{Previous, Snapshot};
use uuid::Uuid;

use crate::{Result, Task};

/// An `INTEGER` has a sign, so counters, which are `u64`, are kept bit for bit. The `CHECK` is the
/// nine pairs of statuses; the trigger stops a hand that changes a row and not its revision.
const SCHEMA: &str = "
PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;
CREATE TABLE IF NOT EXISTS tasks (
    id TEXT NOT NULL PRIMARY KEY, status TEXT NOT NULL, revision INTEGER NOT NULL,
    run INTEGER NOT NULL, payload TEXT NOT NULL, previous_status TEXT, previous_payload TEXT,
    CHECK ((previous_status IS NULL) = (previous_payload IS NULL)),
    CHECK (CASE WHEN previous_status IS NULL
        THEN status IN ('Starting', 'Processing', 'Succeeded', 'Failed', 'Cancelled')
        ELSE status IN ('Starting', 'Processing') AND previous_status IN ('Succeeded', 'Failed') END)
) STRICT, WITHOUT ROWID;
CREATE TRIGGER IF NOT EXISTS tasks_revision BEFORE UPDATE ON tasks WHEN NEW.revision = OLD.revision
BEGIN SELECT RAISE(ABORT, 'an update must change the revision'); END;";

pub fn open(file: &Path) -> Result<Connection> {
    let db = Connection::open(file)?;
    db.busy_timeout(Duration::from_secs(10))?;
    db.execute_batch(SCHEMA)?;
    Ok(db)
}

/// Stores a new task; false if the id is taken.
pub fn create(db: &Connection, id: Uuid, task: &Task) -> Result<bool> {
    let sql = "INSERT INTO tasks VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING";
    Ok(db.prepare_cached(sql)?.execute(params_from_iter(columns(id, task)?))? == 1)
}

pub fn load(db: &Connection, id: Uuid) -> Result<Option<Task>> {
    let mut statement = db.prepare_cached("SELECT * FROM tasks WHERE id = ?")?;
    statement.query([id.to_string()])?.next()?.map(read).transpose()
}

/// Stores what became of a task that was loaded at revision `loaded`; false if the revision is
/// another by now, or the task is gone.
pub fn commit(db: &Connection, id: Uuid, loaded: u64, task: &Task) -> Result<bool> {
    let sql = "UPDATE tasks SET (id, status, revision, run, payload, previous_status,
        previous_payload) = (?1, ?2, ?3, ?4, ?5, ?6, ?7) WHERE id = ?1 AND revision = ?8";
    let values = columns(id, task)?.into_iter().chain([loaded.cast_signed().into()]);
    Ok(db.prepare_cached(sql)?.execute(params_from_iter(values))? == 1)
}

/// Removes a task that was loaded at revision `loaded`; false as for [`commit`].
pub fn delete(db: &Connection, id: Uuid, loaded: u64) -> Result<bool> {
    let sql = "DELETE FROM tasks WHERE id = ? AND revision = ?";
    Ok(db.prepare_cached(sql)?.execute((id.to_string(), loaded.cast_signed()))? == 1)
}

fn columns(id: Uuid, task: &Task) -> Result<[Value; 7]> {
    let (status, payload) = match task.previous() {
        Some(it) => (Some(it.status.to_string()), Some(serde_json::to_string(it.payload)?)),
        None => (None, None),
    };
    Ok([
        id.to_string().into(),
        task.status().to_string().into(),
        task.revision().cast_signed().into(),
        task.run().cast_signed().into(),
        serde_json::to_string(task.payload())?.into(),
        status.into(),
        payload.into(),
    ])
}

fn read(row: &Row) -> Result<Task> {
    let previous = match (row.get::<_, Option<String>>(5)?, row.get::<_, Option<String>>(6)?) {
        (Some(status), Some(payload)) => Some((status.parse()?, serde_json::from_str(&payload)?)),
        _ => None, // neither, says the `CHECK`
    };
    Ok(Snapshot {
        status: row.get::<_, String>(1)?.parse()?,
        revision: row.get::<_, i64>(2)?.cast_unsigned(),
        run: row.get::<_, i64>(3)?.cast_unsigned(),
        payload: serde_json::from_str(&row.get::<_, String>(4)?)?,
        previous: previous.map(|(status, payload)| Previous { status, payload }),
    }
    .try_into()?)
}
