//! Where tasks are kept: two databases, one set of statements.
//!
//! Three rules, and every statement keeps them: a task is found by its id *and* its owner; it is
//! written `WHERE revision = ` the one that was loaded; what happened is logged in the same
//! transaction.

use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use serde::Serialize;
use sqlx::any::{AnyPoolOptions, AnyRow, install_default_drivers};
use sqlx::migrate::MigrateError;
use sqlx::{AnyConnection, AnyPool, Row as _};
use task_lifecycle::{Previous, Snapshot, SnapshotError, Status, Task, Transition, UnknownStatus};
use utoipa::ToSchema;
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

/// What the queue hands to a worker. It counts only at this revision.
#[derive(Clone, PartialEq, Debug)]
pub struct Message {
    pub key: Key,
    pub revision: u64,
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

/// What the log is told of a commit.
#[derive(Clone, Debug)]
pub struct Note {
    pub by: String,
    pub operation: String,
    pub reverted: bool,
    /// Of an update that was given up, its last message: the task shows its old one again.
    pub message: String,
}

impl Note {
    #[must_use]
    pub fn new(by: &str, operation: &str, message: &str) -> Self {
        Self {
            by: by.to_owned(),
            operation: operation.to_owned(),
            reverted: false,
            message: message.to_owned(),
        }
    }

    /// Of an operation.
    #[must_use]
    pub fn of(done: &Transition<Document>, task: &Task<Document>, by: &str) -> Self {
        let given_up = done.released.as_ref().filter(|_| done.reverted);
        Self {
            reverted: done.reverted,
            ..Self::new(
                by,
                &done.operation.to_string(),
                &given_up.unwrap_or(task.payload()).message,
            )
        }
    }
}

/// A line of the log.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Event {
    pub at: DateTime<Utc>,
    pub by: String,
    /// An operation, or `create`, `claim` (a worker was handed the message) or `edit`.
    pub operation: String,
    /// The revision before, and after.
    pub loaded: u64,
    pub revision: u64,
    /// The status after; none once the task is gone.
    pub status: Option<String>,
    pub reverted: bool,
    pub message: String,
}

/// An outage, or a row that no task has. Never that a task is absent or was changed.
#[derive(thiserror::Error, Debug)]
pub enum StoreError {
    #[error(transparent)]
    Database(#[from] sqlx::Error),
    #[error(transparent)]
    Migration(#[from] MigrateError),
    #[error("stored payload: {0}")]
    Payload(#[from] serde_json::Error),
    #[error("stored status: {0}")]
    Status(#[from] UnknownStatus),
    #[error("stored task: {0}")]
    Task(#[from] SnapshotError),
    #[error("stored id: {0}")]
    Id(#[from] uuid::Error),
}

type Result<T> = std::result::Result<T, StoreError>;

#[async_trait]
pub trait Store: Send + Sync {
    /// Stores a new task and its file, and queues it. False: its name or its moment is taken.
    async fn create(&self, row: &Row, file: &[u8]) -> Result<bool>;

    async fn load(&self, key: &Key) -> Result<Option<Row>>;

    async fn list(&self, user: &str, page: &Page) -> Result<Vec<Row>>;

    async fn file(&self, key: &Key) -> Result<Option<Vec<u8>>>;

    /// Stores what became of a task that was loaded at revision `loaded`. False: it has been
    /// changed or deleted since, and nothing was written.
    async fn commit(&self, row: &Row, loaded: u64, note: &Note) -> Result<bool>;

    /// As `commit`, of a task that is gone.
    async fn delete(&self, key: &Key, loaded: u64, note: &Note) -> Result<bool>;

    /// The oldest message that nobody has, or the run of a worker that let its lease pass.
    async fn claim(&self, worker: &str) -> Result<Option<Message>>;

    /// What happened, oldest first.
    async fn log(&self, key: &Key) -> Result<Vec<Event>>;
}

/// SQLite or PostgreSQL.
#[derive(Clone)]
pub struct SqlStore {
    pool: AnyPool,
    is_sqlite: bool,
    lease: Duration,
}

impl SqlStore {
    /// Opens `sqlite://FILE` (made if it is not there) or `postgres://…`.
    ///
    /// # Errors
    ///
    /// If the database cannot be reached, or holds other tables.
    pub async fn open(url: &str, lease: Duration) -> Result<Self> {
        install_default_drivers();
        let is_sqlite = url.starts_with("sqlite:");
        let made = if is_sqlite && !url.contains('?') {
            "?mode=rwc"
        } else {
            ""
        };
        let pool = AnyPoolOptions::new()
            .max_connections(8)
            .after_connect(move |connection, _| {
                Box::pin(async move {
                    if is_sqlite {
                        // Readers do not wait for the writer; writers wait for each other.
                        let pragmas = "PRAGMA busy_timeout = 20000; PRAGMA journal_mode = WAL";
                        sqlx::raw_sql(pragmas).execute(connection).await?;
                    }
                    Ok(())
                })
            })
            .connect(&format!("{url}{made}"))
            .await?;
        if is_sqlite {
            sqlx::migrate!("migrations/sqlite").run(&pool).await?;
        } else {
            sqlx::migrate!("migrations/postgres").run(&pool).await?;
        }
        Ok(Self {
            pool,
            is_sqlite,
            lease,
        })
    }

    /// Until when a worker has what it was just given.
    fn leased_until(&self) -> i64 {
        Utc::now().timestamp_micros()
            + i64::try_from(self.lease.as_micros()).unwrap_or(i64::MAX / 2)
    }
}

#[async_trait]
impl Store for SqlStore {
    async fn create(&self, row: &Row, file: &[u8]) -> Result<bool> {
        let stored = Columns::of(&row.task)?;
        let mut transaction = self.pool.begin().await?;
        let inserted = sqlx::query(
            "INSERT INTO tasks (task_id, user_id, created_at, file_name, status, revision, payload,
                                queued_at, leased_until)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $3, 0) ON CONFLICT DO NOTHING",
        )
        .bind(row.key.id.to_string())
        .bind(&row.key.user)
        .bind(row.created_at.timestamp_micros())
        .bind(&row.file_name)
        .bind(stored.status)
        .bind(stored.revision)
        .bind(stored.payload)
        .execute(&mut *transaction)
        .await?;
        if inserted.rows_affected() == 0 {
            return Ok(false);
        }
        sqlx::query("INSERT INTO files (task_id, content) VALUES ($1, $2)")
            .bind(row.key.id.to_string())
            .bind(file)
            .execute(&mut *transaction)
            .await?;
        let note = Note::new(&row.key.user, "create", &row.task.payload().message);
        log(
            &mut transaction,
            &row.key,
            &note,
            0,
            Some((0, stored.status)),
        )
        .await?;
        transaction.commit().await?;
        Ok(true)
    }

    async fn load(&self, key: &Key) -> Result<Option<Row>> {
        let row = sqlx::query("SELECT * FROM tasks WHERE task_id = $1 AND user_id = $2")
            .bind(key.id.to_string())
            .bind(&key.user)
            .fetch_optional(&self.pool)
            .await?;
        row.map(|row| read(&row)).transpose()
    }

    async fn list(&self, user: &str, page: &Page) -> Result<Vec<Row>> {
        let statement = if page.ascending {
            "SELECT * FROM tasks WHERE user_id = $1 AND created_at BETWEEN $2 AND $3
             AND $4 LIKE '%' || status || '%' ORDER BY created_at ASC LIMIT $5"
        } else {
            "SELECT * FROM tasks WHERE user_id = $1 AND created_at BETWEEN $2 AND $3
             AND $4 LIKE '%' || status || '%' ORDER BY created_at DESC LIMIT $5"
        };
        let statuses: Vec<_> = page.statuses.iter().map(|status| status.as_str()).collect();
        let rows = sqlx::query(statement)
            .bind(user)
            .bind(page.from)
            .bind(page.to)
            .bind(statuses.join(","))
            .bind(i64::from(page.limit))
            .fetch_all(&self.pool)
            .await?;
        rows.iter().map(read).collect()
    }

    async fn file(&self, key: &Key) -> Result<Option<Vec<u8>>> {
        let row = sqlx::query(
            "SELECT content FROM files JOIN tasks USING (task_id)
             WHERE task_id = $1 AND user_id = $2",
        )
        .bind(key.id.to_string())
        .bind(&key.user)
        .fetch_optional(&self.pool)
        .await?;
        Ok(row.map(|row| row.try_get("content")).transpose()?)
    }

    async fn commit(&self, row: &Row, loaded: u64, note: &Note) -> Result<bool> {
        let stored = Columns::of(&row.task)?;
        let mut transaction = self.pool.begin().await?;
        let updated = sqlx::query(
            "UPDATE tasks SET status = $4, revision = $5, payload = $6, previous_status = $7,
                    previous_payload = $8, leased_until = $9,
                    queued_at = CASE WHEN $10 = 'update' THEN $11 ELSE queued_at END
             WHERE task_id = $1 AND user_id = $2 AND revision = $3",
        )
        .bind(row.key.id.to_string())
        .bind(&row.key.user)
        .bind(loaded.cast_signed())
        .bind(stored.status)
        .bind(stored.revision)
        .bind(stored.payload)
        .bind(stored.previous_status)
        .bind(stored.previous_payload)
        .bind(match row.task.status() {
            Status::Processing => self.leased_until(),
            Status::Starting | Status::Succeeded | Status::Failed | Status::Cancelled => 0,
        })
        .bind(&note.operation)
        .bind(Utc::now().timestamp_micros())
        .execute(&mut *transaction)
        .await?;
        if updated.rows_affected() == 0 {
            return Ok(false);
        }
        let after = Some((row.task.revision(), stored.status));
        log(&mut transaction, &row.key, note, loaded, after).await?;
        transaction.commit().await?;
        Ok(true)
    }

    async fn delete(&self, key: &Key, loaded: u64, note: &Note) -> Result<bool> {
        let mut transaction = self.pool.begin().await?;
        let deleted =
            sqlx::query("DELETE FROM tasks WHERE task_id = $1 AND user_id = $2 AND revision = $3")
                .bind(key.id.to_string())
                .bind(&key.user)
                .bind(loaded.cast_signed())
                .execute(&mut *transaction)
                .await?;
        if deleted.rows_affected() == 0 {
            return Ok(false);
        }
        log(&mut transaction, key, note, loaded, None).await?;
        transaction.commit().await?;
        Ok(true)
    }

    async fn claim(&self, worker: &str) -> Result<Option<Message>> {
        // On PostgreSQL workers pass over each other's rows; SQLite has one writer at a time.
        let statement = if self.is_sqlite {
            "UPDATE tasks SET leased_until = $2 WHERE task_id = (
                 SELECT task_id FROM tasks
                 WHERE status IN ('Starting', 'Processing') AND leased_until < $1
                 ORDER BY queued_at LIMIT 1
             ) RETURNING task_id, user_id, revision, status"
        } else {
            "UPDATE tasks SET leased_until = $2 WHERE task_id = (
                 SELECT task_id FROM tasks
                 WHERE status IN ('Starting', 'Processing') AND leased_until < $1
                 ORDER BY queued_at LIMIT 1 FOR UPDATE SKIP LOCKED
             ) RETURNING task_id, user_id, revision, status"
        };
        let mut transaction = self.pool.begin().await?;
        let row = sqlx::query(statement)
            .bind(Utc::now().timestamp_micros())
            .bind(self.leased_until())
            .fetch_optional(&mut *transaction)
            .await?;
        let Some(row) = row else { return Ok(None) };
        let message = Message {
            key: Key {
                user: row.try_get("user_id")?,
                id: Uuid::try_parse(row.try_get("task_id")?)?,
            },
            revision: row.try_get::<i64, _>("revision")?.cast_unsigned(),
        };
        let revision = message.revision;
        let note = Note::new(worker, "claim", "");
        let after = Some((revision, row.try_get("status")?));
        log(&mut transaction, &message.key, &note, revision, after).await?;
        transaction.commit().await?;
        Ok(Some(message))
    }

    async fn log(&self, key: &Key) -> Result<Vec<Event>> {
        let rows =
            sqlx::query("SELECT * FROM events WHERE task_id = $1 AND user_id = $2 ORDER BY number")
                .bind(key.id.to_string())
                .bind(&key.user)
                .fetch_all(&self.pool)
                .await?;
        let event = |row: &AnyRow| {
            Ok(Event {
                at: moment(row, "at")?,
                by: row.try_get("by_whom")?,
                operation: row.try_get("operation")?,
                loaded: row.try_get::<i64, _>("loaded")?.cast_unsigned(),
                revision: row.try_get::<i64, _>("revision")?.cast_unsigned(),
                status: row.try_get("status")?,
                reverted: row.try_get("reverted")?,
                message: row.try_get("message")?,
            })
        };
        rows.iter().map(event).collect()
    }
}

/// Writes a line of the log. `after`: the revision and status; none if the task is gone.
async fn log(
    connection: &mut AnyConnection,
    key: &Key,
    note: &Note,
    loaded: u64,
    after: Option<(u64, &str)>,
) -> Result<()> {
    sqlx::query(
        "INSERT INTO events (task_id, user_id, at, by_whom, operation, loaded, revision, status,
                             reverted, message)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
    )
    .bind(key.id.to_string())
    .bind(&key.user)
    .bind(Utc::now().timestamp_micros())
    .bind(&note.by)
    .bind(&note.operation)
    .bind(loaded.cast_signed())
    .bind(
        after
            .map_or(loaded.saturating_add(1), |(revision, _)| revision)
            .cast_signed(),
    )
    .bind(after.map(|(_, status)| status))
    .bind(note.reverted)
    .bind(&note.message)
    .execute(connection)
    .await?;
    Ok(())
}

/// The columns that hold a task.
struct Columns {
    status: &'static str,
    revision: i64,
    payload: String,
    previous_status: Option<&'static str>,
    previous_payload: Option<String>,
}

impl Columns {
    fn of(task: &Task<Document>) -> Result<Self> {
        let previous = task.previous();
        Ok(Self {
            status: task.status().as_str(),
            revision: task.revision().cast_signed(),
            payload: serde_json::to_string(task.payload())?,
            previous_status: previous.as_ref().map(|previous| previous.status.as_str()),
            previous_payload: previous
                .map(|previous| serde_json::to_string(previous.payload))
                .transpose()?,
        })
    }
}

/// The columns, checked: what no task has is an error.
fn read(row: &AnyRow) -> Result<Row> {
    let previous_status: Option<&str> = row.try_get("previous_status")?;
    let previous = match previous_status {
        None => None,
        Some(status) => Some(Previous {
            status: status.parse()?,
            payload: serde_json::from_str(row.try_get("previous_payload")?)?,
        }),
    };
    let snapshot = Snapshot {
        status: row.try_get::<&str, _>("status")?.parse()?,
        revision: row.try_get::<i64, _>("revision")?.cast_unsigned(),
        payload: serde_json::from_str(row.try_get("payload")?)?,
        previous,
    };
    Ok(Row {
        key: Key {
            user: row.try_get("user_id")?,
            id: Uuid::try_parse(row.try_get("task_id")?)?,
        },
        created_at: moment(row, "created_at")?,
        file_name: row.try_get("file_name")?,
        task: snapshot.try_into()?,
    })
}

fn moment(row: &AnyRow, column: &str) -> Result<DateTime<Utc>> {
    DateTime::from_timestamp_micros(row.try_get(column)?)
        .ok_or_else(|| sqlx::Error::Decode(format!("{column} is no moment").into()).into())
}
