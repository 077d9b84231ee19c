//! Tasks in SQLite or PostgreSQL, each through its own driver.
//!
//! Every write is one statement, and so one transaction: the task, what lies beside it, its message
//! and its entry in the log are one row and its triggers (`migrations`). Every statement about a
//! task names its owner, too.

use std::time::Duration;

use sqlx::{Error, FromRow, Result, query, query_as, query_scalar};
use task_lifecycle::{Draft, Previous, Revision, Run, Snapshot, Status, Task, UnknownStatus};

use crate::database::{Db, Meaning, meaning, open};

/// Names a task, by its id and its owner.
#[derive(Clone, PartialEq, Eq, Debug, FromRow)]
pub struct Key {
    #[sqlx(rename = "task_id")]
    pub id: String,
    pub owner: String,
}

/// A task, and what lies beside it. The payloads are texts, kept to the letter.
#[derive(Clone, Debug)]
pub struct Row {
    pub task: Task<String>,
    pub beside: Beside,
}

/// Counters are kept bit for bit; times are microseconds since 1970.
#[derive(Clone, Default, Debug, FromRow)]
pub struct Beside {
    pub created_at: i64,
    pub ended_at: Option<i64>,
    pub queued_run: i64,
    pub attempts: i64,
    pub stop_requested: Option<i64>,
    pub lease_until: Option<i64>,
    pub is_lease_over: bool,
}

impl Beside {
    /// Whether a client asked for a stop of what is queued or worked on now.
    pub fn is_stopped(&self) -> bool {
        let queued = Run::from_i64(self.queued_run);
        self.stop_requested.is_some_and(|requested| !queued.is_after(Run::from_i64(requested)))
    }
}

/// The part of a change that its draft cannot tell.
#[derive(Clone, Default, Debug)]
pub struct Note {
    /// What was done, by whom and why, for the log.
    pub operations: &'static str,
    pub by: String,
    pub reason: Option<String>,
    /// The run that is requested to stop.
    pub stop: Option<Run>,
    /// The lease that was found to be over. It counts as an attempt; and if it has been renewed
    /// since, nothing is changed.
    pub expired: Option<i64>,
}

/// Tells a worker that a task was queued in this run.
#[derive(Clone, PartialEq, Eq, Debug, FromRow)]
pub struct Message {
    #[sqlx(flatten)]
    pub key: Key,
    pub run: i64,
    /// How often it was received, this time included.
    pub deliveries: i64,
    pub file: Vec<u8>,
}

/// The two steps of every change. They are a trait so that a test can come between them.
pub trait Tasks: Send + Sync {
    /// The store beneath.
    fn store(&self) -> &SqlStore;

    /// The task as it is now.
    fn load(&self, key: &Key) -> impl Future<Output = Result<Option<Row>>> + Send;

    /// Stores what was decided on a draft. `false` if the task is not at the loaded revision any
    /// more; then nothing was changed.
    fn commit(
        &self,
        key: &Key,
        draft: &Draft<String>,
        note: &Note,
    ) -> impl Future<Output = Result<bool>> + Send;

    /// Waits before another try.
    fn pause(&self, tried: u32) -> impl Future<Output = ()> + Send {
        tokio::time::sleep(Duration::from_millis(50 << tried.min(5)))
    }
}

#[derive(Clone)]
pub struct SqlStore {
    pub readers: Db,
    pub writers: Db,
    /// For the health route, which must not wait for the others.
    pub apart: Db,
    pub lease: Duration,
    /// [`COMMIT`]; a test leaves parts of it out.
    pub commit: &'static str,
}

pub const COMMIT: &str = include_str!("../sql/commit.sql");

/// Runs a query on either database.
macro_rules! on {
    ($db:expr, $pool:ident => $query:expr) => {
        match $db {
            Db::Sqlite($pool) => $query.await,
            Db::Postgres($pool) => $query.await,
        }
    };
}

/// Runs a statement, and tells whether it changed a row. A lost race changes none.
macro_rules! changed {
    ($db:expr, $pool:ident => $query:expr) => {
        match on!($db, $pool => async { Ok($query.execute($pool).await?.rows_affected() > 0) }) {
            Err(fault) if meaning(&fault) == Meaning::LostRace => Ok(false),
            changed => changed,
        }
    };
}

/// How long a message is hidden that was received.
const RECEIVED: Duration = Duration::from_secs(10);

impl Tasks for SqlStore {
    fn store(&self) -> &SqlStore {
        self
    }

    async fn load(&self, key: &Key) -> Result<Option<Row>> {
        let sql = "SELECT * FROM loads WHERE task_id = $1 AND owner = $2";
        let row: Option<Columns> = on!(&self.readers, db =>
            query_as(sql).bind(&key.id).bind(&key.owner).fetch_optional(db))?;
        row.map(Columns::row).transpose()
    }

    async fn commit(&self, key: &Key, draft: &Draft<String>, note: &Note) -> Result<bool> {
        let task = Snapshot::from(draft);
        let is_another_run = task.run != draft.loaded_run();
        let is_queued_by_client = is_another_run && draft.before().status() != Status::Processing;
        let previous = task.previous.as_ref();
        changed!(&self.writers, db => query(self.commit)
            .bind(&key.id).bind(&key.owner).bind(draft.loaded().to_i64())
            .bind(task.status.as_str()).bind(task.revision.to_i64()).bind(task.run.to_i64())
            .bind(task.payload)
            .bind(previous.map(|previous| previous.status.as_str()))
            .bind(previous.map(|previous| previous.payload))
            .bind(is_queued_by_client)
            .bind(draft.queued().is_some())
            .bind(draft.taken().is_some()).bind(micros(self.lease))
            .bind(note.expired)
            .bind(note.stop.map(Run::to_i64))
            .bind(note.operations).bind(&note.by).bind(&note.reason))
    }
}

impl SqlStore {
    /// Opens `sqlite://FILE`, which is created if it is missing, or `postgres://…`.
    pub async fn open(url: &str, lease: Duration) -> Result<Self> {
        let [readers, writers, apart] = open(url).await?;
        Ok(Self { readers, writers, apart, lease, commit: COMMIT })
    }

    /// Stores a new task and its document, which queues it. Returns when.
    pub async fn create(
        &self,
        key: &Key,
        task: &Task<String>,
        file: &[u8],
        by: &str,
    ) -> Result<i64> {
        let sql = "INSERT INTO tasks (task_id, owner, created_at, status, revision, run, payload,
                queued_run, attempts, place, due_at, deliveries, operations, changed_by, file)
            SELECT $1, $2, now, $3, $4, $5, $6, $5, 0, place, now, 0, 'create', $7, $8 FROM clock
            RETURNING created_at";
        on!(&self.writers, db => query_scalar(sql)
            .bind(&key.id).bind(&key.owner)
            .bind(task.status().as_str()).bind(task.revision().to_i64()).bind(task.run().to_i64())
            .bind(task.payload()).bind(by).bind(file)
            .fetch_one(db))
    }

    /// Deletes a task that is at the loaded revision.
    pub async fn delete(&self, key: &Key, loaded: Revision) -> Result<bool> {
        let sql = "DELETE FROM tasks WHERE task_id = $1 AND owner = $2 AND revision = $3";
        changed!(&self.writers, db =>
            query(sql).bind(&key.id).bind(&key.owner).bind(loaded.to_i64()))
    }

    /// A user's newest tasks. One that cannot be read has an error in its place.
    pub async fn list(&self, owner: &str) -> Result<Vec<(String, Result<Row>)>> {
        let sql = "SELECT * FROM loads WHERE owner = $1 ORDER BY created_at DESC LIMIT 100";
        let rows: Vec<Columns> = on!(&self.readers, db => query_as(sql).bind(owner).fetch_all(db))?;
        Ok(rows.into_iter().map(|row| (row.task_id.clone(), row.row())).collect())
    }

    /// What happened to a task, oldest first, in JSON. It outlives the task.
    pub async fn log(&self, key: &Key) -> Result<Vec<String>> {
        let sql = "SELECT event FROM log WHERE task_id = $1 AND owner = $2 ORDER BY number";
        on!(&self.readers, db => query_scalar(sql).bind(&key.id).bind(&key.owner).fetch_all(db))
    }

    /// The first message that is due. Nobody else receives it for a while.
    pub async fn receive(&self) -> Result<Option<Message>> {
        let sql = "UPDATE tasks
            SET due_at = (SELECT now FROM clock) + $1, deliveries = deliveries + 1
            WHERE task_id = (SELECT task_id FROM due LIMIT 1)
            RETURNING task_id, owner, run, deliveries, file";
        on!(&self.writers, db => query_as(sql).bind(micros(RECEIVED)).fetch_optional(db))
    }

    /// Gives a message back, to be due again; `None`: never.
    pub async fn give_back(&self, message: &Message, due_in: Option<Duration>) -> Result<bool> {
        let sql = "UPDATE tasks SET due_at = (SELECT now FROM clock) + $4
            WHERE task_id = $1 AND owner = $2 AND run = $3 AND status = 'Starting'";
        let (key, due_in) = (&message.key, due_in.map(micros));
        changed!(&self.writers, db =>
            query(sql).bind(&key.id).bind(&key.owner).bind(message.run).bind(due_in))
    }

    /// Renews the lease of a run. `false` if the run is over, or is to stop.
    pub async fn renew(&self, key: &Key, run: Run) -> Result<bool> {
        let sql = "UPDATE tasks SET lease_until = (SELECT now FROM clock) + $4, lease_length = $4
            WHERE task_id = $1 AND owner = $2 AND run = $3 AND status = 'Processing'
                AND stop_requested IS NULL";
        let lease = micros(self.lease);
        changed!(&self.writers, db =>
            query(sql).bind(&key.id).bind(&key.owner).bind(run.to_i64()).bind(lease))
    }

    /// Tasks in `Processing` whose lease is over.
    pub async fn overdue(&self) -> Result<Vec<Key>> {
        let sql = "SELECT task_id, owner FROM loads WHERE status = 'Processing' AND is_lease_over
            ORDER BY lease_until LIMIT 100";
        on!(&self.readers, db => query_as(sql).fetch_all(db))
    }

    /// Asks the database for a sign of life.
    pub async fn ping(&self) -> Result<Option<i64>> {
        let sql = "SELECT revision FROM tasks WHERE task_id = ''";
        on!(&self.apart, db => query_scalar(sql).fetch_optional(db))
    }
}

/// A task as it is selected.
#[derive(FromRow)]
struct Columns {
    task_id: String,
    status: String,
    previous_status: Option<String>,
    revision: i64,
    run: i64,
    payload: String,
    previous_payload: Option<String>,
    #[sqlx(flatten)]
    beside: Beside,
}

impl Columns {
    fn row(self) -> Result<Row> {
        let status = |word: &str| {
            word.parse().map_err(|fault: UnknownStatus| Error::Decode(Box::new(fault)))
        };
        let previous = match self.previous_status.zip(self.previous_payload) {
            None => None,
            Some((word, payload)) => Some(Previous { status: status(&word)?, payload }),
        };
        let snapshot = Snapshot {
            status: status(&self.status)?,
            revision: Revision::from_i64(self.revision),
            run: Run::from_i64(self.run),
            payload: self.payload,
            previous,
        };
        let task = snapshot.try_into().map_err(|fault| Error::Decode(Box::new(fault)))?;
        Ok(Row { task, beside: self.beside })
    }
}

fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}
