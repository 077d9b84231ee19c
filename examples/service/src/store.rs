//! Tasks in SQLite or PostgreSQL, each through its own driver.
//!
//! Every write is one statement, and so one transaction: the task, what lies beside it, its message
//! and its entry in the log are one row and its triggers (`migrations`). Every statement is a file in
//! `sql`, and names the owner of its task.

use std::time::Duration;

use sqlx::{Error, FromRow, Result, query, query_as, query_scalar};
use task_lifecycle::{Previous, Revision, Run, Snapshot, Status};

use crate::database::{Db, Meaning, meaning, open};

macro_rules! sql {
    ($name:literal) => {
        include_str!(concat!("../sql/", $name, ".sql"))
    };
}

/// A task of which the payload is a text, kept to the letter.
pub type Task = task_lifecycle::Task<String>;
pub type Draft = task_lifecycle::Draft<String>;

/// Names a task, by its id and its owner.
#[derive(Clone, Default, PartialEq, Eq, Debug, FromRow)]
pub struct Key {
    #[sqlx(rename = "task_id")]
    pub id: String,
    pub owner: String,
}

/// A task as it is loaded, with what lies beside it. Counters are kept bit for bit; times are
/// microseconds since 1970; payloads are texts, kept to the letter.
#[derive(Clone, Default, Debug, FromRow)]
pub struct Row {
    #[sqlx(flatten)]
    pub key: Key,
    pub status: String,
    pub previous_status: Option<String>,
    pub revision: i64,
    pub run: i64,
    pub payload: String,
    pub previous_payload: Option<String>,
    pub created_at: i64,
    pub ended_at: Option<i64>,
    pub queued_run: i64,
    pub attempts: i64,
    pub stop_requested: Option<i64>,
    pub lease_until: Option<i64>,
    pub is_lease_over: bool,
}

impl Row {
    pub fn task(&self) -> Result<Task> {
        let status = |word: &String| word.parse::<Status>().map_err(unreadable);
        let previous = self.previous_status.as_ref().zip(self.previous_payload.clone());
        let previous =
            previous.map(|(word, payload)| status(word).map(|status| Previous { status, payload }));
        let snapshot = Snapshot {
            status: status(&self.status)?,
            revision: Revision::from_i64(self.revision),
            run: Run::from_i64(self.run),
            payload: self.payload.clone(),
            previous: previous.transpose()?,
        };
        snapshot.try_into().map_err(unreadable)
    }

    /// True if a client asked for a stop of what is queued or worked on now.
    pub fn is_stopped(&self) -> bool {
        let queued = Run::from_i64(self.queued_run);
        self.stop_requested.is_some_and(|requested| !queued.is_after(Run::from_i64(requested)))
    }
}

fn unreadable(fault: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::Decode(Box::new(fault))
}

/// The part of a change that its draft cannot tell.
#[derive(Clone, Default, Debug)]
pub struct Note {
    /// The operations, for the log, with their author and reason.
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
    /// The times it was received, this time included.
    pub deliveries: i64,
    pub file: Vec<u8>,
}

/// The two steps of every change. They are a trait so that a test can come between them.
#[expect(async_fn_in_trait, reason = "nobody outside implements it")]
pub trait Tasks {
    /// The store beneath.
    fn store(&self) -> &SqlStore;

    /// The task as it is now.
    async fn load(&self, key: &Key) -> Result<Option<Row>>;

    /// Stores what was decided on a draft. `false` if the task is not at the loaded revision any
    /// more; then nothing was changed.
    async fn commit(&self, key: &Key, draft: &Draft, note: &Note) -> Result<bool>;

    /// Waits before another try.
    async fn pause(&self, tried: u32) {
        tokio::time::sleep(Duration::from_millis(50 << tried.min(5))).await;
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

pub const COMMIT: &str = sql!("commit");

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

impl Tasks for SqlStore {
    fn store(&self) -> &SqlStore {
        self
    }

    async fn load(&self, key: &Key) -> Result<Option<Row>> {
        on!(&self.readers, db =>
            query_as(sql!("load")).bind(&key.id).bind(&key.owner).fetch_optional(db))
    }

    async fn commit(&self, key: &Key, draft: &Draft, note: &Note) -> Result<bool> {
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
    pub async fn add(&self, key: &Key, task: &Task, file: &[u8], by: &str) -> Result<i64> {
        on!(&self.writers, db => query_scalar(sql!("create"))
            .bind(&key.id).bind(&key.owner)
            .bind(task.status().as_str()).bind(task.revision().to_i64()).bind(task.run().to_i64())
            .bind(task.payload()).bind(by).bind(file)
            .fetch_one(db))
    }

    /// Deletes a task that is at the loaded revision.
    pub async fn delete(&self, key: &Key, loaded: Revision) -> Result<bool> {
        changed!(&self.writers, db =>
            query(sql!("delete")).bind(&key.id).bind(&key.owner).bind(loaded.to_i64()))
    }

    /// A user's newest tasks.
    pub async fn list(&self, owner: &str) -> Result<Vec<Row>> {
        on!(&self.readers, db => query_as(sql!("list")).bind(owner).fetch_all(db))
    }

    /// The changes of a task, oldest first, in JSON. They outlive the task.
    pub async fn log(&self, key: &Key) -> Result<Vec<String>> {
        on!(&self.readers, db =>
            query_scalar(sql!("log")).bind(&key.id).bind(&key.owner).fetch_all(db))
    }

    /// The first message that is due. Nobody else receives it for a while.
    pub async fn receive(&self) -> Result<Option<Message>> {
        on!(&self.writers, db => query_as(sql!("receive")).fetch_optional(db))
    }

    /// Gives a message back, to be due again; `None`: never.
    pub async fn give_back(&self, message: &Message, due_in: Option<Duration>) -> Result<bool> {
        let Message { key, run, .. } = message;
        changed!(&self.writers, db => query(sql!("give_back"))
            .bind(&key.id).bind(&key.owner).bind(run).bind(due_in.map(micros)))
    }

    /// Renews the lease of a run. `false` if the run is over, or is to stop.
    pub async fn renew(&self, key: &Key, run: Run) -> Result<bool> {
        changed!(&self.writers, db => query(sql!("renew"))
            .bind(&key.id).bind(&key.owner).bind(run.to_i64()).bind(micros(self.lease)))
    }

    /// Tasks in `Processing` whose lease is over.
    pub async fn overdue(&self) -> Result<Vec<Key>> {
        on!(&self.readers, db => query_as(sql!("overdue")).fetch_all(db))
    }

    /// Asks the database for a sign of life.
    pub async fn ping(&self) -> Result<Option<i64>> {
        on!(&self.apart, db => query_scalar(sql!("ping")).fetch_optional(db))
    }
}

fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}
