//! Where tasks are kept: two databases, one set of statements.
//!
//! Four rules hold in all of them. A task is found by its id *and* its owner. It is written where
//! its revision is the one that was loaded. Payloads that nobody changes are moved by SQL and never
//! read. What happened is logged in the same transaction.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, TimeDelta, Utc};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use sqlx::any::{Any, AnyArguments, AnyPoolOptions, AnyRow, install_default_drivers};
use sqlx::error::{BoxDynError, DatabaseError};
use sqlx::pool::PoolConnection;
use sqlx::query::Query;
use sqlx::{AnyConnection, AnyPool, Connection as _, Error, Row as _, query};
use task_lifecycle::{Previous, Snapshot, Status, Task, Transition};
use tokio::task::spawn_blocking;
use tokio::time::sleep;
use uuid::Uuid;

use crate::document::Document;

/// A task is named by its id and its owner, everywhere.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Key {
    pub user: String,
    pub id: Uuid,
}

/// A task without its documents, which is what decides, and what lies beside it.
#[derive(Clone, Debug)]
pub struct Row {
    pub key: Key,
    pub created_at: DateTime<Utc>,
    pub file_name: String,
    pub task: Task<Payload>,
    /// When the task was completed.
    pub ended_at: Option<DateTime<Utc>>,
    pub expires_at: Option<DateTime<Utc>>,
    /// Which attempt this run is since a client queued the task; the first is 1.
    pub attempt: u64,
}

/// What the machine moves in a document's place: the column that has it, or a new document.
#[derive(Clone, PartialEq, Debug)]
pub enum Payload {
    Current,
    Previous,
    New(Arc<Document>),
}

impl Payload {
    pub fn new(document: Document) -> Self {
        Self::New(Arc::new(document))
    }

    /// For the statement of `commit`: a column's name, or the text; and how long it is kept.
    async fn source(&self) -> Result<(String, Option<i64>)> {
        let document = match self {
            Self::Current => return Ok(("payload".to_owned(), None)),
            Self::Previous => return Ok(("previous_payload".to_owned(), None)),
            Self::New(document) => document.clone(),
        };
        let expires_in = document.expires_in().map(i64::from);
        // It may be large, and a lease is renewed meanwhile.
        let text = spawn_blocking(move || text(&document)).await;
        Ok((text.map_err(|fault| Error::Encode(fault.into()))??, expires_in))
    }
}

/// What is stored of a new task.
pub struct New {
    pub key: Key,
    pub file_name: String,
    pub document: Document,
    pub content: Vec<u8>,
    pub event: Event,
}

impl New {
    pub fn of(user: String, file_name: String, document: Document, content: Vec<u8>) -> Self {
        let event = Event::new(&user, "create", 0, Some(&Task::new(Payload::Current)));
        Self { key: Key { user, id: Uuid::new_v4() }, file_name, document, content, event }
    }
}

/// What the queue hands to a worker. It counts while the task is active and in this run.
#[derive(Clone, PartialEq, Debug)]
pub struct Message {
    pub key: Key,
    pub run: u64,
    /// The run is under way, and its worker let the lease pass.
    pub is_overdue: bool,
}

/// A line of the log.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Event {
    /// No two changes share one: whoever finds it in the log knows that the change happened.
    pub id: Uuid,
    pub at: DateTime<Utc>,
    pub by: String,
    /// An operation; or `create`, `edit`, or `claim`: a worker was handed the message.
    pub operation: String,
    /// The revision before.
    pub loaded: u64,
    /// The revision and the status after. None: the task is gone.
    pub revision: Option<u64>,
    pub status: Option<Status>,
    /// The run after; of a claim, the message's.
    pub run: Option<u64>,
    pub reverted: bool,
    /// For people: of an update that failed, why. The task shows its old message again.
    pub message: String,
}

impl Event {
    pub fn new(by: &str, operation: &str, loaded: u64, after: Option<&Task<Payload>>) -> Self {
        Self {
            id: Uuid::new_v4(),
            at: Utc::now(),
            by: by.to_owned(),
            operation: operation.to_owned(),
            loaded,
            revision: after.map(Task::revision),
            status: after.map(Task::status),
            run: after.map(Task::run),
            reverted: false,
            message: String::new(),
        }
    }

    /// Of an operation that the machine accepted, the last change before the commit.
    pub fn of(done: &Transition<Payload>, by: &str, loaded: u64, message: &str) -> Self {
        Self {
            revision: Some(done.revision),
            status: Some(done.to.status()),
            run: Some(done.run),
            reverted: done.reverted(),
            message: message.to_owned(),
            ..Self::new(by, done.operation.as_str(), loaded, None)
        }
    }
}

/// One page of a user's tasks: those created from `from` to `to`, in microseconds since 1970.
#[derive(Debug)]
pub struct Page {
    pub from: i64,
    pub to: i64,
    pub statuses: Vec<Status>,
    pub ascending: bool,
    pub limit: u32,
}

/// One line of a page.
#[derive(Debug)]
pub struct Entry {
    pub id: String,
    pub created_at: DateTime<Utc>,
    /// None if it cannot be read. That is logged, and hides no other.
    pub task: Option<(Row, Document)>,
}

/// An error is an outage, or a row that cannot be read or written. It is never that a task is not
/// there or has been changed.
pub type Result<T> = std::result::Result<T, Error>;

#[async_trait]
pub trait Store: Send + Sync {
    /// Stores a new task and its file, and thereby queues it. None: its name or its moment is
    /// taken.
    async fn create(&self, new: &New) -> Result<Option<Row>>;

    /// The task, without its documents.
    async fn load(&self, key: &Key) -> Result<Option<Row>>;

    /// The task and its current document.
    async fn read(&self, key: &Key) -> Result<Option<(Row, Document)>>;

    async fn file(&self, key: &Key) -> Result<Option<Vec<u8>>>;

    async fn list(&self, user: &str, page: &Page) -> Result<Vec<Entry>>;

    /// Stores what became of a task that was loaded at revision `loaded`. False: it has been
    /// changed or deleted since, and nothing was written.
    async fn commit(&self, row: &Row, loaded: u64, event: &Event) -> Result<bool>;

    /// As `commit`, of a task that is gone.
    async fn delete(&self, key: &Key, loaded: u64, event: &Event) -> Result<bool>;

    /// The oldest message that nobody has, or the run of a worker that let its lease pass.
    async fn claim(&self, worker: &str) -> Result<Option<Message>>;

    /// Renews the lease of a run. False: the run is over, or was taken away.
    async fn renew(&self, message: &Message) -> Result<bool>;

    /// What happened, oldest first.
    async fn log(&self, key: &Key) -> Result<Vec<Event>>;
}

/// How often a server tries a change again whose outcome is unknown; a worker does until it knows.
pub const TRIES: usize = 5;

type Try<'a> = Pin<Box<dyn Future<Output = Result<bool>> + Send + 'a>>;

/// A change whose answer got lost may have happened. Here it is tried until its outcome is known:
/// that is safe, for one from each revision wins; and if it is refused then, the log tells whether
/// it was by somebody else's change or by its own. An error after that leaves the outcome unknown,
/// unless it is lasting.
impl dyn Store {
    pub async fn add(&self, new: &New) -> Result<Option<Row>> {
        match self.create(new).await {
            Err(fault) if !is_lasting(&fault) => {
                let again = || -> Try {
                    let create = self.create(new);
                    Box::pin(async { Ok(create.await?.is_some()) })
                };
                let is_stored = self.settle(fault, TRIES, &new.key, &new.event, again).await?;
                if is_stored { self.load(&new.key).await } else { Ok(None) }
            }
            outcome => outcome,
        }
    }

    pub async fn change(
        &self,
        row: &Row,
        loaded: u64,
        event: &Event,
        tries: usize,
    ) -> Result<bool> {
        match self.commit(row, loaded, event).await {
            Err(fault) if !is_lasting(&fault) => {
                let again = || self.commit(row, loaded, event);
                self.settle(fault, tries, &row.key, event, again).await
            }
            outcome => outcome,
        }
    }

    pub async fn remove(&self, key: &Key, loaded: u64, event: &Event) -> Result<bool> {
        match self.delete(key, loaded, event).await {
            Err(fault) if !is_lasting(&fault) => {
                let again = || self.delete(key, loaded, event);
                self.settle(fault, TRIES, key, event, again).await
            }
            outcome => outcome,
        }
    }

    async fn settle<'a>(
        &self,
        mut fault: Error,
        tries: usize,
        key: &Key,
        event: &Event,
        again: impl Fn() -> Try<'a>,
    ) -> Result<bool> {
        for tried in 0..tries {
            tracing::warn!(task = %key.id, "not known to be committed: {fault}");
            sleep(Duration::from_millis(50 << tried.min(4))).await;
            let outcome = match again().await {
                Ok(false) => {
                    let log = self.log(key).await;
                    log.map(|log| log.iter().any(|logged| logged.id == event.id))
                }
                outcome => outcome,
            };
            match outcome {
                Err(again) if !is_lasting(&again) => fault = again,
                outcome => return outcome,
            }
        }
        Err(fault)
    }
}

/// SQLite or PostgreSQL.
pub struct SqlStore {
    pub pool: AnyPool,
    is_sqlite: bool,
    lease: Duration,
}

impl SqlStore {
    /// Opens `sqlite://FILE` (made if it is not there) or `postgres://…`.
    pub async fn open(url: &str, lease: Duration) -> Result<Self> {
        install_default_drivers();
        let is_sqlite = url.starts_with("sqlite:");
        let made = if is_sqlite && !url.contains('?') { "?mode=rwc" } else { "" };
        let settings = if is_sqlite {
            // Readers do not wait for the writer; writers wait for each other.
            "PRAGMA busy_timeout = 20000; PRAGMA journal_mode = WAL"
        } else {
            "SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL READ COMMITTED"
        };
        let url = format!("{url}{made}");
        // Its error tells the cause; a pool would try for long, and say that it did.
        AnyConnection::connect(&url).await?.close().await?;
        let pool = AnyPoolOptions::new()
            .max_connections(8)
            .acquire_timeout(Duration::from_secs(5))
            .after_connect(move |connection, _| {
                Box::pin(async move {
                    sqlx::raw_sql(settings).execute(connection).await?;
                    Ok(())
                })
            })
            .connect(&url)
            .await?;
        let migrator = if is_sqlite {
            sqlx::migrate!("migrations/sqlite")
        } else {
            sqlx::migrate!("migrations/postgres")
        };
        if migrator.run(&pool).await.is_err() {
            // On SQLite another process may have been faster: look again.
            migrator.run(&pool).await?;
        }
        Ok(Self { pool, is_sqlite, lease })
    }

    /// Writes a task and its event; or nothing, if a statement finds no row. The answer is the row
    /// that the first statement returns.
    async fn write<const N: usize>(
        &self,
        statements: [Query<'_, Any, AnyArguments>; N],
        key: &Key,
        event: &Event,
    ) -> Result<Option<AnyRow>> {
        let mut connection = self.pool.acquire().await?;
        let written = write(&mut connection, statements, key, event).await;
        let written = settle(connection, written)?;
        if written.is_some() {
            tracing::info!(task = %key.id, by = event.by, "{}", event.operation);
        }
        Ok(written)
    }

    /// For how long nobody else is to have the task, from now on.
    fn reserved(&self, row: &Row, operation: &str) -> Option<i64> {
        let wait = match operation {
            "start" => self.lease,
            // The attempts of a document that kills its workers become rare.
            "retry" => self.lease * (1 << row.attempt.saturating_sub(1).min(10)),
            "update" => Duration::ZERO,
            _ => return None,
        };
        Some(micros(wait))
    }
}

/// In one transaction.
async fn write<const N: usize>(
    connection: &mut AnyConnection,
    statements: [Query<'_, Any, AnyArguments>; N],
    key: &Key,
    event: &Event,
) -> Result<Option<AnyRow>> {
    let mut transaction = connection.begin().await?;
    let mut first = None;
    for statement in statements {
        let Some(row) = statement.fetch_optional(&mut *transaction).await? else {
            return Ok(None);
        };
        first.get_or_insert(row);
    }
    log(&mut transaction, key, event).await?;
    transaction.commit().await?;
    Ok(first)
}

async fn log(connection: &mut AnyConnection, key: &Key, event: &Event) -> Result<()> {
    let statement = of("INSERT INTO events (task_id, user_id, event) VALUES ($1, $2, $3)", key);
    statement.bind(json(event)?).execute(connection).await?;
    Ok(())
}

/// Gives a connection back after a transaction.
fn settle<T>(mut connection: PoolConnection<Any>, outcome: Result<Option<T>>) -> Result<Option<T>> {
    let Err(fault) = outcome else { return outcome };
    // Whether it is still in a transaction is not known: SQLite ends one by itself if the disk is
    // full, and what is written on such a connection later would never be committed.
    connection.close_on_drop();
    let code = fault.as_database_error().and_then(DatabaseError::code);
    match code.as_deref() {
        // Could not be serialized, or a deadlock: the race was lost, as with zero rows.
        Some("40001" | "40P01") => Ok(None),
        _ => Err(fault),
    }
}

#[async_trait]
impl Store for SqlStore {
    async fn create(&self, new: &New) -> Result<Option<Row>> {
        let New { key, file_name, document, content, event } = new;
        let task = Task::new(Payload::Current);
        let statement = of(
            "INSERT INTO tasks (task_id, user_id, created_at, file_name, status, revision, run,
                                payload, expires_in, queued_at, queued_run, leased_until)
             SELECT $1, $2, place, $3, $4, $5, $6, $7, $8, place, $6, 0 FROM clock WHERE true
             ON CONFLICT DO NOTHING RETURNING created_at",
            key,
        )
        .bind(file_name)
        .bind(task.status().as_str())
        .bind(task.revision().cast_signed())
        .bind(task.run().cast_signed())
        .bind(text(document)?)
        .bind(document.expires_in().map(i64::from));
        let file = query("INSERT INTO files (task_id, content) VALUES ($1, $2) RETURNING task_id");
        let file = file.bind(key.id.to_string()).bind(content);
        let Some(created) = self.write([statement, file], key, event).await? else {
            return Ok(None);
        };
        Ok(Some(Row {
            key: key.clone(),
            created_at: moment(&created, "created_at")?,
            file_name: file_name.clone(),
            task,
            ended_at: None,
            expires_at: None,
            attempt: 1,
        }))
    }

    async fn load(&self, key: &Key) -> Result<Option<Row>> {
        let statement = of(
            "SELECT task_id, user_id, created_at, file_name, status, revision, run,
                    previous_status, ended_at, expires_in, queued_run
             FROM visible WHERE task_id = $1 AND user_id = $2",
            key,
        );
        statement.fetch_optional(&self.pool).await?.as_ref().map(row).transpose()
    }

    async fn read(&self, key: &Key) -> Result<Option<(Row, Document)>> {
        let statement = of("SELECT * FROM visible WHERE task_id = $1 AND user_id = $2", key);
        statement.fetch_optional(&self.pool).await?.as_ref().map(read).transpose()
    }

    async fn file(&self, key: &Key) -> Result<Option<Vec<u8>>> {
        let statement = of(
            "SELECT content FROM files JOIN visible USING (task_id)
             WHERE task_id = $1 AND user_id = $2",
            key,
        );
        let row = statement.fetch_optional(&self.pool).await?;
        row.map(|row| row.try_get("content")).transpose()
    }

    async fn list(&self, user: &str, page: &Page) -> Result<Vec<Entry>> {
        let statement = query(if page.ascending {
            "SELECT * FROM visible WHERE user_id = $1 AND created_at BETWEEN $2 AND $3
             AND $4 LIKE '%' || status || '%' ORDER BY created_at ASC LIMIT $5"
        } else {
            "SELECT * FROM visible WHERE user_id = $1 AND created_at BETWEEN $2 AND $3
             AND $4 LIKE '%' || status || '%' ORDER BY created_at DESC LIMIT $5"
        });
        let statuses: Vec<_> = page.statuses.iter().map(|status| status.as_str()).collect();
        let statement = statement.bind(user).bind(page.from).bind(page.to);
        let statement = statement.bind(statuses.join(",")).bind(i64::from(page.limit));
        let entry = |row: &AnyRow| {
            let id: String = row.try_get("task_id")?;
            let task = read(row).inspect_err(|fault| tracing::error!(task = id, "{fault}")).ok();
            Ok(Entry { id, created_at: moment(row, "created_at")?, task })
        };
        statement.fetch_all(&self.pool).await?.iter().map(entry).collect()
    }

    async fn commit(&self, row: &Row, loaded: u64, event: &Event) -> Result<bool> {
        let task = &row.task;
        let previous = task.previous();
        let (payload, expires_in) = task.payload().source().await?;
        let (previous_payload, previous_expires_in) = match &previous {
            None => (None, None),
            Some(previous) => {
                let (payload, expires_in) = previous.payload.source().await?;
                (Some(payload), expires_in)
            }
        };
        let statement = of(
            "UPDATE tasks SET status = $4, revision = $5, run = $6,
                    payload = CASE $7 WHEN 'payload' THEN payload
                        WHEN 'previous_payload' THEN previous_payload ELSE $7 END,
                    expires_in = CASE $7 WHEN 'payload' THEN expires_in
                        WHEN 'previous_payload' THEN previous_expires_in ELSE $8 END,
                    previous_status = $9,
                    previous_payload = CASE $10 WHEN 'payload' THEN payload
                        WHEN 'previous_payload' THEN previous_payload ELSE $10 END,
                    previous_expires_in = CASE $10 WHEN 'payload' THEN expires_in
                        WHEN 'previous_payload' THEN previous_expires_in ELSE $11 END,
                    ended_at = CASE WHEN $4 IN ('Starting', 'Processing') THEN NULL
                        ELSE COALESCE(ended_at, (SELECT now FROM clock)) END,
                    queued_at = CASE $12 WHEN 'update' THEN (SELECT place FROM clock)
                        ELSE queued_at END,
                    queued_run = CASE $12 WHEN 'update' THEN $6 ELSE queued_run END,
                    leased_until = COALESCE((SELECT now FROM clock) + $13, leased_until)
             WHERE task_id = $1 AND user_id = $2 AND revision = $3 RETURNING task_id",
            &row.key,
        )
        .bind(loaded.cast_signed())
        .bind(task.status().as_str())
        .bind(task.revision().cast_signed())
        .bind(task.run().cast_signed())
        .bind(payload)
        .bind(expires_in)
        .bind(previous.map(|previous| previous.status.as_str()))
        .bind(previous_payload)
        .bind(previous_expires_in)
        .bind(&event.operation)
        .bind(self.reserved(row, &event.operation));
        Ok(self.write([statement], &row.key, event).await?.is_some())
    }

    async fn delete(&self, key: &Key, loaded: u64, event: &Event) -> Result<bool> {
        let statement = of(
            "DELETE FROM tasks WHERE task_id = $1 AND user_id = $2 AND revision = $3
             RETURNING task_id",
            key,
        )
        .bind(loaded.cast_signed());
        Ok(self.write([statement], key, event).await?.is_some())
    }

    async fn claim(&self, worker: &str) -> Result<Option<Message>> {
        // On PostgreSQL workers pass over each other's rows; SQLite has one writer at a time.
        let statement = if self.is_sqlite {
            "UPDATE tasks SET leased_until = (SELECT now FROM clock) + $1 WHERE task_id = (
                 SELECT task_id FROM tasks
                 WHERE status IN ('Starting', 'Processing')
                     AND leased_until <= (SELECT now FROM clock)
                 ORDER BY queued_at LIMIT 1
             ) RETURNING task_id, user_id, revision, run, status"
        } else {
            "UPDATE tasks SET leased_until = (SELECT now FROM clock) + $1 WHERE task_id = (
                 SELECT task_id FROM tasks
                 WHERE status IN ('Starting', 'Processing')
                     AND leased_until <= (SELECT now FROM clock)
                 ORDER BY queued_at LIMIT 1 FOR UPDATE SKIP LOCKED
             ) RETURNING task_id, user_id, revision, run, status"
        };
        loop {
            let statement = query(statement).bind(micros(self.lease));
            let mut connection = self.pool.acquire().await?;
            let claimed = claim(&mut connection, statement, worker).await;
            match settle(connection, claimed)? {
                None => return Ok(None),
                Some(Some(message)) => return Ok(Some(message)),
                Some(None) => {} // it was passed over
            }
        }
    }

    async fn renew(&self, message: &Message) -> Result<bool> {
        let statement = of(
            "UPDATE tasks SET leased_until = (SELECT now FROM clock) + $4
             WHERE task_id = $1 AND user_id = $2 AND run = $3 AND status = 'Processing'",
            &message.key,
        )
        .bind(message.run.cast_signed())
        .bind(micros(self.lease));
        Ok(statement.execute(&self.pool).await?.rows_affected() > 0)
    }

    async fn log(&self, key: &Key) -> Result<Vec<Event>> {
        let statement =
            of("SELECT event FROM events WHERE task_id = $1 AND user_id = $2 ORDER BY number", key);
        let rows = statement.fetch_all(&self.pool).await?;
        rows.iter().map(|row| parsed(row, "event")).collect()
    }
}

/// In one transaction: takes the next message and logs who has it. A message that cannot be read is
/// passed over.
async fn claim(
    connection: &mut AnyConnection,
    statement: Query<'_, Any, AnyArguments>,
    worker: &str,
) -> Result<Option<Option<Message>>> {
    let mut transaction = connection.begin().await?;
    let Some(row) = statement.fetch_optional(&mut *transaction).await? else {
        return Ok(None);
    };
    // No document is read: what cannot be read must not stop those behind it.
    let message = match message(&row) {
        Ok((message, event)) => {
            log(&mut transaction, &message.key, &Event { by: worker.to_owned(), ..event }).await?;
            Some(message)
        }
        Err(fault) => {
            let id: String = row.try_get("task_id")?;
            tracing::error!(task = id, "passed over from now on: {fault}");
            let aside = query("UPDATE tasks SET leased_until = $2 WHERE task_id = $1");
            aside.bind(id).bind(i64::MAX).execute(&mut *transaction).await?;
            None
        }
    };
    transaction.commit().await?;
    Ok(Some(message))
}

/// What was claimed, and what the log says of it.
fn message(row: &AnyRow) -> Result<(Message, Event)> {
    let (revision, run) = (number(row, "revision")?, number(row, "run")?);
    let status = status(row, "status")?;
    let message = Message { key: key(row)?, run, is_overdue: status == Status::Processing };
    let event = Event {
        revision: Some(revision),
        status: Some(status),
        run: Some(run),
        ..Event::new("", "claim", revision, None)
    };
    Ok((message, event))
}

/// Whether an error will not go away: the row is at fault, not the database or the way to it.
pub fn is_lasting(fault: &Error) -> bool {
    match fault {
        Error::Decode(_) | Error::Encode(_) => true,
        Error::Database(fault) => {
            let code = fault.code().unwrap_or_default();
            match code.parse::<u32>() {
                // SQLite: busy, locked, read-only, an I/O error, full, cannot be opened.
                Ok(number) if code.len() < 5 => !matches!(number & 0xff, 5 | 6 | 8 | 10 | 13 | 14),
                // PostgreSQL: connection, rollback, resources, operator, system, read-only.
                _ => !["08", "40", "53", "57", "58", "25"]
                    .iter()
                    .any(|class| code.starts_with(class)),
            }
        }
        _ => false,
    }
}

/// A statement about one task: `$1` is its id, `$2` its owner.
fn of<'a>(statement: &'static str, key: &'a Key) -> Query<'a, Any, AnyArguments> {
    query(statement).bind(key.id.to_string()).bind(&key.user)
}

/// A row and its current document, checked: what no task has is an error.
fn read(from: &AnyRow) -> Result<(Row, Document)> {
    Ok((row(from)?, parsed(from, "payload")?))
}

fn row(row: &AnyRow) -> Result<Row> {
    let previous = match row.try_get::<Option<&str>, _>("previous_status")? {
        None => None,
        Some(_) => {
            Some(Previous { status: status(row, "previous_status")?, payload: Payload::Previous })
        }
    };
    let snapshot = Snapshot {
        status: status(row, "status")?,
        revision: number(row, "revision")?,
        run: number(row, "run")?,
        payload: Payload::Current,
        previous,
    };
    let ended_at = match row.try_get::<Option<i64>, _>("ended_at")? {
        None => None,
        Some(_) => Some(moment(row, "ended_at")?),
    };
    let expires_in = row.try_get::<Option<i64>, _>("expires_in")?.map(TimeDelta::seconds);
    Ok(Row {
        key: key(row)?,
        created_at: moment(row, "created_at")?,
        file_name: row.try_get("file_name")?,
        attempt: snapshot.run.wrapping_sub(number(row, "queued_run")?).wrapping_add(1),
        task: snapshot.try_into().map_err(unreadable)?,
        ended_at,
        expires_at: ended_at.zip(expires_in).and_then(|(at, kept)| at.checked_add_signed(kept)),
    })
}

fn key(row: &AnyRow) -> Result<Key> {
    let id = Uuid::try_parse(row.try_get("task_id")?).map_err(unreadable)?;
    Ok(Key { user: row.try_get("user_id")?, id })
}

fn status(row: &AnyRow, column: &str) -> Result<Status> {
    row.try_get::<&str, _>(column)?.parse().map_err(unreadable)
}

fn number(row: &AnyRow, column: &str) -> Result<u64> {
    Ok(row.try_get::<i64, _>(column)?.cast_unsigned())
}

fn moment(row: &AnyRow, column: &str) -> Result<DateTime<Utc>> {
    let at = DateTime::from_timestamp_micros(row.try_get(column)?);
    at.ok_or_else(|| unreadable(format!("{column} is no moment")))
}

fn parsed<T: DeserializeOwned>(row: &AnyRow, column: &str) -> Result<T> {
    serde_json::from_str(row.try_get(column)?).map_err(unreadable)
}

fn json(value: &impl Serialize) -> Result<String> {
    serde_json::to_string(value).map_err(|fault| Error::Encode(fault.into()))
}

/// A document as it is stored. What is written must be read again: otherwise nobody could show the
/// task, or work on it.
fn text(document: &Document) -> Result<String> {
    let text = json(document)?;
    match serde_json::from_str::<Document>(&text) {
        Ok(read) if read == *document => Ok(text),
        Ok(_) => Err(Error::Encode("the document is read as another".into())),
        Err(fault) => Err(Error::Encode(fault.into())),
    }
}

fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}

fn unreadable(fault: impl Into<BoxDynError>) -> Error {
    Error::Decode(fault.into())
}
