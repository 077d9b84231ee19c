//! Tasks in SQLite or PostgreSQL, each through its own driver.
//!
//! Every write is one statement, and so one transaction: the task, what lies beside it, its message
//! and its entry in the log are one row and its triggers (`migrations`). Every statement about a
//! task names its owner, too.

use std::time::Duration;

use serde::Serialize;
use sqlx::{Error, FromRow, query, query_as, query_scalar};
use task_lifecycle::{Draft, Previous, Revision, Run, Snapshot, Status, Task, UnknownStatus};

use crate::database::{Db, Meaning, meaning, open};

pub type Result<T> = std::result::Result<T, Error>;

/// Names a task, by its id and its owner.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Key {
    pub id: String,
    pub owner: String,
}

/// A task, and what lies beside it. The payloads are texts, kept to the letter.
#[derive(Clone, Debug)]
pub struct Row {
    pub task: Task<String>,
    pub beside: Beside,
}

#[derive(Clone, Debug)]
pub struct Beside {
    pub created_at: i64,
    pub ended_at: Option<i64>,
    pub queued_run: Run,
    pub attempts: i64,
    pub stop_requested: Option<Run>,
    /// When the lease ends.
    pub lease_until: Option<i64>,
    pub is_lease_over: bool,
}

impl Beside {
    /// Beside a new task.
    pub fn new(created_at: i64) -> Self {
        Self {
            created_at,
            ended_at: None,
            queued_run: Run::new(0),
            attempts: 0,
            stop_requested: None,
            lease_until: None,
            is_lease_over: false,
        }
    }

    /// Whether a client asked for a stop of what is queued or worked on now.
    pub fn is_stopped(&self) -> bool {
        is_stopped(self.queued_run, self.stop_requested)
    }
}

fn is_stopped(queued: Run, requested: Option<Run>) -> bool {
    requested.is_some_and(|requested| !queued.is_after(requested))
}

/// The part of a change that its draft cannot tell.
#[derive(Clone, Default, Debug)]
pub struct Note {
    /// What was done and who did it, for the log.
    pub operations: &'static str,
    pub by: String,
    /// Why the task failed, for the log.
    pub reason: Option<String>,
    /// A request to stop this run.
    pub stop: Option<Run>,
    /// The lease that was found to be over. It counts as an attempt; and if it has been renewed
    /// since, nothing is changed.
    pub expired: Option<i64>,
}

/// Tells a worker that a task was queued in this run.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Message {
    pub key: Key,
    pub run: Run,
    /// How often it was received, this time included.
    pub deliveries: i64,
}

/// What commits and workers need. It is a trait so that tests can put themselves in between.
pub trait Tasks: Send + Sync {
    fn load(&self, key: &Key) -> impl Future<Output = Result<Option<Row>>> + Send;

    /// Stores what was decided on a draft. `false` if the task is not at the loaded revision any
    /// more; then nothing was changed.
    fn commit(
        &self,
        key: &Key,
        draft: &Draft<String>,
        note: &Note,
    ) -> impl Future<Output = Result<bool>> + Send;

    /// Renews the lease of a run, and tells whether the run is to stop. `None` if it is over.
    fn renew(&self, key: &Key, run: Run) -> impl Future<Output = Result<Option<bool>>> + Send;

    /// The first message that is due. Nobody else receives it for a while.
    fn receive(&self) -> impl Future<Output = Result<Option<Message>>> + Send;

    /// Gives a message back, to be due again; `None`: never.
    fn give_back(
        &self,
        message: &Message,
        due_in: Option<Duration>,
    ) -> impl Future<Output = Result<()>> + Send;

    /// Tasks in `Processing` whose lease is over.
    fn overdue(&self) -> impl Future<Output = Result<Vec<Key>>> + Send;

    fn file(&self, key: &Key) -> impl Future<Output = Result<Option<Vec<u8>>>> + Send;

    /// Waits before another try.
    fn pause(&self, tried: u32) -> impl Future<Output = ()> + Send {
        tokio::time::sleep(Duration::from_millis(50 << tried.min(6)))
    }
}

/// The longest time for which a message is hidden. One that is hidden for longer was so by a clock
/// that has been set back since.
const LONGEST_WAIT: Duration = Duration::from_mins(1);

/// How long a message is hidden that was received.
const RECEIVED: Duration = Duration::from_secs(10);

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
    ($db:expr, $statement:expr) => {
        match on!($db, pool => async { Ok($statement.execute(pool).await?.rows_affected() > 0) }) {
            Err(fault) if meaning(&fault) == Meaning::LostRace => Ok(false),
            outcome => outcome,
        }
    };
}

#[derive(Clone)]
pub struct SqlStore {
    pub readers: Db,
    pub writers: Db,
    /// For the health route, which must not wait for the others.
    pub apart: Db,
    pub lease: Duration,
}

/// A task as it is selected.
#[derive(FromRow)]
struct Columns {
    created_at: i64,
    status: String,
    previous_status: Option<String>,
    revision: i64,
    run: i64,
    payload: String,
    previous_payload: Option<String>,
    queued_run: i64,
    attempts: i64,
    stop_requested: Option<i64>,
    ended_at: Option<i64>,
    lease_until: Option<i64>,
    is_lease_over: bool,
}

impl TryFrom<Columns> for Row {
    type Error = Error;

    fn try_from(row: Columns) -> Result<Self> {
        let previous = match row.previous_status.zip(row.previous_payload) {
            None => None,
            Some((status, payload)) => Some(Previous { status: status_of(&status)?, payload }),
        };
        let snapshot = Snapshot {
            status: status_of(&row.status)?,
            revision: Revision::from_i64(row.revision),
            run: Run::from_i64(row.run),
            payload: row.payload,
            previous,
        };
        let beside = Beside {
            created_at: row.created_at,
            ended_at: row.ended_at,
            queued_run: Run::from_i64(row.queued_run),
            attempts: row.attempts,
            stop_requested: row.stop_requested.map(Run::from_i64),
            lease_until: row.lease_until,
            is_lease_over: row.is_lease_over,
        };
        let task = snapshot.try_into().map_err(|fault| Error::Decode(Box::new(fault)))?;
        Ok(Self { task, beside })
    }
}

fn status_of(word: &str) -> Result<Status> {
    word.parse().map_err(|fault: UnknownStatus| Error::Decode(Box::new(fault)))
}

/// One of a user's tasks.
#[derive(FromRow)]
struct Listed {
    task_id: String,
    #[sqlx(flatten)]
    columns: Columns,
}

/// An entry of the log.
#[derive(FromRow, Serialize)]
pub struct Event {
    pub at: i64,
    pub operations: String,
    pub changed_by: String,
    pub reason: Option<String>,
    pub loaded: Option<i64>,
    pub revision: Option<i64>,
    pub run: i64,
    pub status: Option<String>,
    pub previous_status: Option<String>,
}

impl SqlStore {
    /// Opens `sqlite://FILE`, which is created if it is missing, or `postgres://…`.
    pub async fn open(url: &str, lease: Duration) -> Result<Self> {
        let [readers, writers, apart] = open(url).await?;
        Ok(Self { readers, writers, apart, lease })
    }

    /// Stores a new task and its document, and queues it. Returns when; `None` if the id is taken.
    pub async fn create(
        &self,
        key: &Key,
        task: &Task<String>,
        file: &[u8],
        by: &str,
    ) -> Result<Option<i64>> {
        let sql = "INSERT INTO tasks (task_id, owner, created_at, status, revision, run, payload,
                queued_run, attempts, place, due_at, deliveries, operations, changed_by, file)
            SELECT $1, $2, now, $3, $4, $5, $6, $5, 0, place, now, 0, 'create', $7, $8 FROM clock
            WHERE TRUE ON CONFLICT DO NOTHING RETURNING created_at";
        on!(&self.writers, pool => query_scalar(sql)
            .bind(&key.id)
            .bind(&key.owner)
            .bind(task.status().as_str())
            .bind(task.revision().to_i64())
            .bind(task.run().to_i64())
            .bind(task.payload())
            .bind(by)
            .bind(file)
            .fetch_optional(pool))
    }

    /// Deletes a task that is at the loaded revision.
    pub async fn delete(&self, key: &Key, loaded: Revision) -> Result<bool> {
        let sql = "DELETE FROM tasks WHERE task_id = $1 AND owner = $2 AND revision = $3";
        changed!(&self.writers, query(sql).bind(&key.id).bind(&key.owner).bind(loaded.to_i64()))
    }

    /// A user's newest tasks. One that cannot be read has an error in its place.
    pub async fn list(&self, owner: &str) -> Result<Vec<(String, Result<Row>)>> {
        let sql = "SELECT task_id, created_at, status, previous_status, revision, run, payload,
                previous_payload, queued_run, attempts, stop_requested, ended_at, lease_until,
                FALSE AS is_lease_over
            FROM tasks WHERE owner = $1 ORDER BY created_at DESC LIMIT 100";
        let rows: Vec<Listed> =
            on!(&self.readers, pool => query_as(sql).bind(owner).fetch_all(pool))?;
        Ok(rows.into_iter().map(|row| (row.task_id, row.columns.try_into())).collect())
    }

    /// What happened to a task, oldest first. It outlives the task.
    pub async fn log(&self, key: &Key) -> Result<Vec<Event>> {
        let sql = "SELECT at, operations, changed_by, reason, loaded, revision, run, status,
                previous_status
            FROM events WHERE task_id = $1 AND owner = $2 ORDER BY number";
        on!(&self.readers, pool =>
            query_as(sql).bind(&key.id).bind(&key.owner).fetch_all(pool))
    }

    /// Asks the database for a sign of life.
    pub async fn ping(&self) -> Result<()> {
        let sql = "SELECT count(*) FROM tasks WHERE task_id = ''";
        on!(&self.apart, pool => async { query(sql).fetch_one(pool).await.map(drop) })
    }

    pub async fn close(&self) {
        for db in [&self.readers, &self.writers, &self.apart] {
            on!(db, pool => pool.close());
        }
    }
}

impl Tasks for SqlStore {
    async fn load(&self, key: &Key) -> Result<Option<Row>> {
        let sql = "SELECT created_at, status, previous_status, revision, run, payload,
                previous_payload, queued_run, attempts, stop_requested, ended_at, lease_until,
                coalesce(lease_until NOT BETWEEN (SELECT now FROM clock)
                    AND (SELECT now FROM clock) + lease_length, FALSE) AS is_lease_over
            FROM tasks WHERE task_id = $1 AND owner = $2";
        let row: Option<Columns> = on!(&self.readers, pool =>
            query_as(sql).bind(&key.id).bind(&key.owner).fetch_optional(pool))?;
        row.map(Row::try_from).transpose()
    }

    async fn commit(&self, key: &Key, draft: &Draft<String>, note: &Note) -> Result<bool> {
        let task = Snapshot::from(draft);
        let is_another_run = task.run != draft.loaded_run();
        let is_queued_by_client = is_another_run && draft.before().status() != Status::Processing;
        let sql = "UPDATE tasks SET
                status = $4, revision = $5, run = $6, payload = $7,
                previous_status = $8, previous_payload = $9,
                queued_run = CASE WHEN $10 THEN $6 ELSE queued_run END,
                attempts = CASE WHEN $10 THEN 0 WHEN $15 IS NULL THEN attempts ELSE attempts + 1 END,
                stop_requested = CASE WHEN $10 THEN NULL ELSE coalesce($16, stop_requested) END,
                ended_at = CASE WHEN $4 IN ('Starting', 'Processing') THEN NULL
                    ELSE coalesce(ended_at, (SELECT now FROM clock)) END,
                lease_run = CASE $4 WHEN 'Processing' THEN $6 END,
                lease_until = CASE WHEN $11 THEN (SELECT now FROM clock) + $13
                    WHEN $4 = 'Processing' THEN lease_until END,
                lease_length = CASE WHEN $11 THEN $13 WHEN $4 = 'Processing' THEN lease_length END,
                place = CASE WHEN $10 THEN (SELECT place FROM clock) ELSE place END,
                due_at = CASE WHEN $12 THEN (SELECT now FROM clock) ELSE due_at END,
                deliveries = CASE WHEN $12 THEN 0 ELSE deliveries END,
                operations = $14, changed_by = $17, reason = $18
            WHERE task_id = $1 AND owner = $2 AND revision = $3
                AND ($15 IS NULL OR lease_until = $15)";
        changed!(
            &self.writers,
            query(sql)
                .bind(&key.id)
                .bind(&key.owner)
                .bind(draft.loaded().to_i64())
                .bind(task.status.as_str())
                .bind(task.revision.to_i64())
                .bind(task.run.to_i64())
                .bind(task.payload)
                .bind(task.previous.as_ref().map(|previous| previous.status.as_str()))
                .bind(task.previous.as_ref().map(|previous| previous.payload))
                .bind(is_queued_by_client)
                .bind(draft.taken().is_some())
                .bind(draft.queued().is_some())
                .bind(micros(self.lease))
                .bind(note.operations)
                .bind(note.expired)
                .bind(note.stop.map(Run::to_i64))
                .bind(&note.by)
                .bind(&note.reason)
        )
    }

    async fn renew(&self, key: &Key, run: Run) -> Result<Option<bool>> {
        let sql = "UPDATE tasks
            SET lease_until = (SELECT now FROM clock) + $4, lease_length = $4
            WHERE task_id = $1 AND owner = $2 AND run = $3 AND status = 'Processing'
            RETURNING queued_run, stop_requested";
        let row: Option<(i64, Option<i64>)> = on!(&self.writers, pool => query_as(sql)
            .bind(&key.id)
            .bind(&key.owner)
            .bind(run.to_i64())
            .bind(micros(self.lease))
            .fetch_optional(pool))?;
        Ok(row.map(|(queued, requested)| {
            is_stopped(Run::from_i64(queued), requested.map(Run::from_i64))
        }))
    }

    async fn receive(&self) -> Result<Option<Message>> {
        // PostgreSQL's workers pass over each other's rows; SQLite has one writer at a time.
        macro_rules! sql {
            ($lock:literal) => {
                concat!(
                    "UPDATE tasks SET due_at = (SELECT now FROM clock) + $1,
                        deliveries = deliveries + 1
                    WHERE task_id = (SELECT task_id FROM tasks
                        WHERE status = 'Starting' AND due_at NOT BETWEEN (SELECT now FROM clock) + 1
                            AND (SELECT now FROM clock) + $2
                        ORDER BY place LIMIT 1 ",
                    $lock,
                    ") RETURNING task_id, owner, run, deliveries"
                )
            };
        }
        let sql = match &self.writers {
            Db::Sqlite(_) => sql!(""),
            Db::Postgres(_) => sql!("FOR UPDATE SKIP LOCKED"),
        };
        let row: Option<(String, String, i64, i64)> = on!(&self.writers, pool => query_as(sql)
            .bind(micros(RECEIVED))
            .bind(micros(LONGEST_WAIT))
            .fetch_optional(pool))?;
        Ok(row.map(|(id, owner, run, deliveries)| Message {
            key: Key { id, owner },
            run: Run::from_i64(run),
            deliveries,
        }))
    }

    async fn give_back(&self, message: &Message, due_in: Option<Duration>) -> Result<()> {
        let sql = "UPDATE tasks SET due_at = (SELECT now FROM clock) + $4
            WHERE task_id = $1 AND owner = $2 AND run = $3 AND status = 'Starting'";
        changed!(
            &self.writers,
            query(sql)
                .bind(&message.key.id)
                .bind(&message.key.owner)
                .bind(message.run.to_i64())
                .bind(due_in.map(micros))
        )
        .map(drop)
    }

    async fn overdue(&self) -> Result<Vec<Key>> {
        let sql = "SELECT task_id, owner FROM tasks
            WHERE status = 'Processing' AND lease_until NOT BETWEEN (SELECT now FROM clock)
                AND (SELECT now FROM clock) + lease_length
            ORDER BY lease_until LIMIT 100";
        let rows: Vec<(String, String)> =
            on!(&self.readers, pool => query_as(sql).fetch_all(pool))?;
        Ok(rows.into_iter().map(|(id, owner)| Key { id, owner }).collect())
    }

    async fn file(&self, key: &Key) -> Result<Option<Vec<u8>>> {
        let sql = "SELECT file FROM tasks WHERE task_id = $1 AND owner = $2";
        on!(&self.readers, pool =>
            query_scalar(sql).bind(&key.id).bind(&key.owner).fetch_optional(pool))
    }
}

fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}
