//! Where tasks are kept: two databases, one set of statements.
//!
//! Three rules hold in all of them. A task is found by its id *and* its owner. It is written where
//! its revision is the one that was loaded. What happened is logged in the same transaction.

use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use sqlx::any::{Any, AnyArguments, AnyPoolOptions, AnyRow, install_default_drivers};
use sqlx::error::BoxDynError;
use sqlx::query::Query;
use sqlx::{AnyPool, Error, Row as _, Transaction, query};
use task_lifecycle::{Previous, Released, Snapshot, Status, Task, Transition};
use uuid::Uuid;

use crate::document::Document;

/// A task is named by its id and its owner, everywhere.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Key {
    pub user: String,
    pub id: Uuid,
}

/// A task and what never changes about it.
#[derive(Clone, Debug)]
pub struct Row {
    pub key: Key,
    pub created_at: DateTime<Utc>,
    pub file_name: String,
    pub task: Task<Document>,
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
    /// Of an update that was given up, its last message: the task shows its old one again.
    pub message: String,
}

impl Event {
    pub fn new(by: &str, operation: &str, loaded: u64, after: Option<&Task<Document>>) -> Self {
        Self {
            at: Utc::now(),
            by: by.to_owned(),
            operation: operation.to_owned(),
            loaded,
            revision: after.map(Task::revision),
            status: after.map(Task::status),
            run: after.map(Task::run),
            reverted: false,
            message: after.map_or(String::new(), |task| task.payload().message.clone()),
        }
    }

    /// Of an operation that the machine accepted.
    pub fn of(done: &Transition<Document>, by: &str, loaded: u64, after: &Task<Document>) -> Self {
        let event = Self::new(by, &done.operation.to_string(), loaded, Some(after));
        match &done.released {
            Released::Update(given_up) => {
                Self { reverted: true, message: given_up.message.clone(), ..event }
            }
            Released::Nothing | Released::Previous(_) => event,
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

/// An error is an outage, or a row that no task has. It is never that a task is not there or has
/// been changed.
pub type Result<T> = std::result::Result<T, Error>;

#[async_trait]
pub trait Store: Send + Sync {
    /// Stores a new task and its file, and thereby queues it. False: its name or its moment is
    /// taken.
    async fn create(&self, row: &Row, content: &[u8]) -> Result<bool>;

    async fn load(&self, key: &Key) -> Result<Option<Row>>;

    async fn file(&self, key: &Key) -> Result<Option<Vec<u8>>>;

    async fn list(&self, user: &str, page: &Page) -> Result<Vec<Row>>;

    /// Stores what became of a task that was loaded at revision `loaded`. False: it has been
    /// changed or deleted since, and nothing was written.
    async fn commit(&self, row: &Row, loaded: u64, event: &Event) -> Result<bool>;

    /// As `commit`, of a task that is gone.
    async fn delete(&self, key: &Key, loaded: u64, event: &Event) -> Result<bool>;

    /// The oldest message that nobody has, or the run of a worker that let its lease pass.
    async fn claim(&self, worker: &str) -> Result<Option<Message>>;

    /// What happened, oldest first.
    async fn log(&self, key: &Key) -> Result<Vec<Event>>;
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
        let pool = AnyPoolOptions::new()
            .max_connections(8)
            .after_connect(move |connection, _| {
                // Readers do not wait for the writer; writers wait for each other.
                let pragmas = "PRAGMA busy_timeout = 20000; PRAGMA journal_mode = WAL";
                Box::pin(async move {
                    if is_sqlite {
                        sqlx::raw_sql(pragmas).execute(connection).await?;
                    }
                    Ok(())
                })
            })
            .connect(&format!("{url}{made}"))
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

    /// Until when a worker has what it was just given.
    fn leased_until(&self) -> i64 {
        (Utc::now() + self.lease).timestamp_micros()
    }

    /// Writes a task and its event; or nothing, if the first statement finds no row.
    async fn write<const N: usize>(
        &self,
        statements: [Query<'_, Any, AnyArguments>; N],
        key: &Key,
        event: &Event,
    ) -> Result<bool> {
        let mut transaction = self.pool.begin().await?;
        for statement in statements {
            if statement.execute(&mut *transaction).await?.rows_affected() == 0 {
                return Ok(false);
            }
        }
        log(&mut transaction, key, event).await?;
        transaction.commit().await?;
        tracing::info!(task = %key.id, by = event.by, "{}", event.operation);
        Ok(true)
    }
}

#[async_trait]
impl Store for SqlStore {
    async fn create(&self, row: &Row, content: &[u8]) -> Result<bool> {
        let task = of(
            "INSERT INTO tasks (task_id, user_id, created_at, file_name, status, revision, run,
                                payload, queued_at, leased_until)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $3, 0) ON CONFLICT DO NOTHING",
            &row.key,
        )
        .bind(row.created_at.timestamp_micros())
        .bind(&row.file_name)
        .bind(row.task.status().as_str())
        .bind(row.task.revision().cast_signed())
        .bind(row.task.run().cast_signed())
        .bind(json(row.task.payload())?);
        let file = query("INSERT INTO files (task_id, content) VALUES ($1, $2)");
        let file = file.bind(row.key.id.to_string()).bind(content);
        let event = Event::new(&row.key.user, "create", 0, Some(&row.task));
        self.write([task, file], &row.key, &event).await
    }

    async fn load(&self, key: &Key) -> Result<Option<Row>> {
        let statement = of("SELECT * FROM tasks WHERE task_id = $1 AND user_id = $2", key);
        statement.fetch_optional(&self.pool).await?.as_ref().map(read).transpose()
    }

    async fn file(&self, key: &Key) -> Result<Option<Vec<u8>>> {
        let statement = of(
            "SELECT content FROM files JOIN tasks USING (task_id)
             WHERE task_id = $1 AND user_id = $2",
            key,
        );
        let row = statement.fetch_optional(&self.pool).await?;
        row.map(|row| row.try_get("content")).transpose()
    }

    async fn list(&self, user: &str, page: &Page) -> Result<Vec<Row>> {
        let statement = query(if page.ascending {
            "SELECT * FROM tasks WHERE user_id = $1 AND created_at BETWEEN $2 AND $3
             AND $4 LIKE '%' || status || '%' ORDER BY created_at ASC LIMIT $5"
        } else {
            "SELECT * FROM tasks WHERE user_id = $1 AND created_at BETWEEN $2 AND $3
             AND $4 LIKE '%' || status || '%' ORDER BY created_at DESC LIMIT $5"
        });
        let statuses: Vec<_> = page.statuses.iter().map(|status| status.as_str()).collect();
        let statement = statement.bind(user).bind(page.from).bind(page.to);
        let statement = statement.bind(statuses.join(",")).bind(i64::from(page.limit));
        statement.fetch_all(&self.pool).await?.iter().map(read).collect()
    }

    async fn commit(&self, row: &Row, loaded: u64, event: &Event) -> Result<bool> {
        let task = &row.task;
        let previous = task.previous();
        let leased_until = match task.status() {
            Status::Processing => self.leased_until(),
            Status::Starting | Status::Succeeded | Status::Failed | Status::Cancelled => 0,
        };
        let statement = of(
            "UPDATE tasks SET status = $4, revision = $5, run = $6, payload = $7,
                    previous_status = $8, previous_payload = $9, leased_until = $10,
                    queued_at = CASE WHEN $11 = 'update' THEN $12 ELSE queued_at END
             WHERE task_id = $1 AND user_id = $2 AND revision = $3",
            &row.key,
        )
        .bind(loaded.cast_signed())
        .bind(task.status().as_str())
        .bind(task.revision().cast_signed())
        .bind(task.run().cast_signed())
        .bind(json(task.payload())?)
        .bind(previous.as_ref().map(|previous| previous.status.as_str()))
        .bind(previous.map(|previous| json(previous.payload)).transpose()?)
        .bind(leased_until)
        .bind(&event.operation)
        .bind(event.at.timestamp_micros());
        self.write([statement], &row.key, event).await
    }

    async fn delete(&self, key: &Key, loaded: u64, event: &Event) -> Result<bool> {
        let statement =
            of("DELETE FROM tasks WHERE task_id = $1 AND user_id = $2 AND revision = $3", key)
                .bind(loaded.cast_signed());
        self.write([statement], key, event).await
    }

    async fn claim(&self, worker: &str) -> Result<Option<Message>> {
        // On PostgreSQL workers pass over each other's rows; SQLite has one writer at a time.
        let statement = query(if self.is_sqlite {
            "UPDATE tasks SET leased_until = $2 WHERE task_id = (
                 SELECT task_id FROM tasks
                 WHERE status IN ('Starting', 'Processing') AND leased_until < $1
                 ORDER BY queued_at LIMIT 1
             ) RETURNING task_id, user_id, revision, run, status"
        } else {
            "UPDATE tasks SET leased_until = $2 WHERE task_id = (
                 SELECT task_id FROM tasks
                 WHERE status IN ('Starting', 'Processing') AND leased_until < $1
                 ORDER BY queued_at LIMIT 1 FOR UPDATE SKIP LOCKED
             ) RETURNING task_id, user_id, revision, run, status"
        });
        let statement = statement.bind(Utc::now().timestamp_micros()).bind(self.leased_until());
        let mut transaction = self.pool.begin().await?;
        let Some(row) = statement.fetch_optional(&mut *transaction).await? else {
            return Ok(None);
        };
        // Nothing else is read: a row that is no task must not stop those behind it.
        let (key, revision) = (key(&row)?, number(&row, "revision")?);
        let (status, run) = (status(&row, "status")?, number(&row, "run")?);
        let event = Event {
            revision: Some(revision),
            status: Some(status),
            run: Some(run),
            ..Event::new(worker, "claim", revision, None)
        };
        log(&mut transaction, &key, &event).await?;
        transaction.commit().await?;
        Ok(Some(Message { key, run, is_overdue: status == Status::Processing }))
    }

    async fn log(&self, key: &Key) -> Result<Vec<Event>> {
        let statement =
            of("SELECT event FROM events WHERE task_id = $1 AND user_id = $2 ORDER BY number", key);
        let rows = statement.fetch_all(&self.pool).await?;
        let event = |row: &AnyRow| serde_json::from_str(row.try_get("event")?).map_err(unreadable);
        rows.iter().map(event).collect()
    }
}

async fn log(transaction: &mut Transaction<'_, Any>, key: &Key, event: &Event) -> Result<()> {
    let statement = of("INSERT INTO events (task_id, user_id, event) VALUES ($1, $2, $3)", key);
    statement.bind(json(event)?).execute(&mut **transaction).await?;
    Ok(())
}

/// A statement about one task: `$1` is its id, `$2` its owner.
fn of<'a>(statement: &'static str, key: &'a Key) -> Query<'a, Any, AnyArguments> {
    query(statement).bind(key.id.to_string()).bind(&key.user)
}

/// A row, checked: what no task has is an error.
fn read(row: &AnyRow) -> Result<Row> {
    let payload =
        |column| serde_json::from_str(row.try_get::<&str, _>(column)?).map_err(unreadable);
    let previous = match row.try_get::<Option<&str>, _>("previous_status")? {
        None => None,
        Some(_) => Some(Previous {
            status: status(row, "previous_status")?,
            payload: payload("previous_payload")?,
        }),
    };
    let snapshot = Snapshot {
        status: status(row, "status")?,
        revision: number(row, "revision")?,
        run: number(row, "run")?,
        payload: payload("payload")?,
        previous,
    };
    let created_at = DateTime::from_timestamp_micros(row.try_get("created_at")?);
    Ok(Row {
        key: key(row)?,
        created_at: created_at.ok_or_else(|| unreadable("created_at is no moment"))?,
        file_name: row.try_get("file_name")?,
        task: snapshot.try_into().map_err(unreadable)?,
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

fn json(value: &impl Serialize) -> Result<String> {
    serde_json::to_string(value).map_err(|fault| Error::Encode(fault.into()))
}

fn unreadable(fault: impl Into<BoxDynError>) -> Error {
    Error::Decode(fault.into())
}
