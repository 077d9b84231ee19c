//! Where tasks are stored: one set of statements for two databases.
//!
//! Four rules hold throughout. A statement names a task by its id *and* its owner. A write names the
//! revision that was loaded. SQL moves payloads that do not change, and nobody reads them. Every
//! change is logged in its own transaction.

use std::pin::Pin;
use std::time::Duration;

use async_trait::async_trait;
use sqlx::any::{Any, AnyArguments, AnyRow};
use sqlx::query::Query;
use sqlx::{AnyConnection, AnyPool, Connection as _, Error, Row as _, query};
use task_lifecycle::{Status, Task};
use tokio::time::sleep;

use crate::database::{
    Lent, is_sqlite, json, message, micros, moment, of, open, parsed, read, requested, row, text,
};
use crate::document::Document;

pub use crate::database::is_lasting;
pub use crate::record::{Entry, Event, Key, Message, New, Page, Payload, Request, Requested, Row};

/// An error means an outage, or a row that cannot be read or written. It never means that a task is
/// missing or has changed.
pub type Result<T> = std::result::Result<T, Error>;

#[async_trait]
pub trait Store: Send + Sync {
    /// Stores a new task and its file, which queues it. `None` if its id, its request's key or its
    /// creation time is taken.
    async fn create(&self, new: &New) -> Result<Option<Row>>;

    /// The task that a request with this key created within the last day.
    async fn requested(&self, user: &str, key: &str) -> Result<Option<Requested>>;

    /// The task without its documents.
    async fn load(&self, key: &Key) -> Result<Option<Row>>;

    /// The task and its current document, unless that takes more bytes in the database.
    async fn read_within(&self, key: &Key, bytes: u32) -> Result<Option<(Row, Document)>>;

    /// The task and its current document.
    async fn read(&self, key: &Key) -> Result<Option<(Row, Document)>> {
        self.read_within(key, u32::MAX).await
    }

    async fn file(&self, key: &Key) -> Result<Option<Vec<u8>>>;

    async fn list(&self, user: &str, page: &Page) -> Result<Vec<Entry>>;

    /// Stores a changed task that was loaded at revision `loaded`. `false` if it has been changed or
    /// deleted since; then nothing was written.
    async fn commit(&self, row: &Row, loaded: u64, event: &Event) -> Result<bool>;

    /// Deletes a task that was loaded at revision `loaded`, under the same condition.
    async fn delete(&self, key: &Key, loaded: u64, event: &Event) -> Result<bool>;

    /// Leases the oldest free message, or the run of a worker whose lease has expired.
    async fn claim(&self, worker: &str) -> Result<Option<Message>>;

    /// Renews the lease of a run. `false` if the run is over, or is another worker's by now.
    async fn renew(&self, message: &Message) -> Result<bool>;

    /// The events of a task, oldest first.
    async fn log(&self, key: &Key) -> Result<Vec<Event>>;
}

/// How long a repeated request gets its first answer again.
const DAY: Duration = Duration::from_hours(24);

/// How often a server retries a change with an unknown outcome. A worker retries until it knows.
pub const TRIES: usize = 5;

type Try<'a> = Pin<Box<dyn Future<Output = Result<bool>> + Send + 'a>>;

/// A change whose answer was lost may have been made. These methods retry until the outcome is known.
/// That is safe, because only one change from each revision can win; and if the retry loses, the log
/// tells whether it lost to somebody else's change or to its own first try. A temporary error after
/// the last try leaves the outcome unknown.
impl dyn Store {
    pub async fn add(&self, new: &New) -> Result<Option<Row>> {
        match self.create(new).await {
            Err(fault) if !is_lasting(&fault) => {
                let again = || -> Try {
                    let create = self.create(new);
                    Box::pin(async { Ok(create.await?.is_some()) })
                };
                let settled = self.settle(Err(fault), TRIES, &new.key, &new.event, again);
                if !settled.await? {
                    return Ok(None);
                }
                // The row as it was stored; a worker may have started the task since. If the task
                // is deleted already, it must not be created again.
                let row = self.load(&new.key).await?.ok_or(Error::RowNotFound)?;
                Ok(Some(new.row(row.key.id, row.created_at)))
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
        let commit = || self.commit(row, loaded, event);
        self.settle(commit().await, tries, &row.key, event, commit).await
    }

    pub async fn remove(&self, key: &Key, loaded: u64, event: &Event) -> Result<bool> {
        let delete = || self.delete(key, loaded, event);
        self.settle(delete().await, TRIES, key, event, delete).await
    }

    /// The outcome of the first try, or of as many retries as it takes.
    async fn settle<'a>(
        &self,
        mut outcome: Result<bool>,
        tries: usize,
        key: &Key,
        event: &Event,
        again: impl Fn() -> Try<'a>,
    ) -> Result<bool> {
        for tried in 0..tries {
            match &outcome {
                Err(fault) if !is_lasting(fault) => {
                    tracing::warn!(task = %key.id, "unknown whether committed: {fault}");
                }
                _ => break,
            }
            sleep(Duration::from_millis(50 << tried.min(4))).await;
            outcome = match again().await {
                Ok(false) => {
                    let log = self.log(key).await;
                    log.map(|log| log.iter().any(|logged| logged.id == event.id))
                }
                outcome => outcome,
            };
        }
        outcome
    }
}

/// The first tasks of each status, each by one index scan, and the first of all of those.
macro_rules! page {
    ($order:literal) => {
        concat!(
            "SELECT task_id, created_at FROM (",
            page!("$5", $order), " UNION ALL ", page!("$6", $order), " UNION ALL ",
            page!("$7", $order), " UNION ALL ", page!("$8", $order), " UNION ALL ",
            page!("$9", $order), ") AS page ORDER BY created_at ", $order, " LIMIT $4",
        )
    };
    ($status:literal, $order:literal) => {
        concat!(
            "SELECT * FROM (SELECT task_id, created_at FROM visible WHERE user_id = $1 AND status = ",
            $status, " AND created_at BETWEEN $2 AND $3 ORDER BY created_at ", $order,
            " LIMIT $4) AS of_status",
        )
    };
}

/// SQLite or PostgreSQL.
#[derive(Clone)]
pub struct SqlStore {
    pub pool: AnyPool,
    writers: AnyPool,
    is_sqlite: bool,
    lease: Duration,
}

impl SqlStore {
    /// Opens `sqlite://FILE`, which is created if it is missing, or `postgres://…`.
    pub async fn open(url: &str, lease: Duration) -> Result<Self> {
        let [pool, writers] = open(url).await?;
        Ok(Self { pool, writers, is_sqlite: is_sqlite(url), lease })
    }

    /// Closes all connections; SQLite then moves its write-ahead log into the file.
    pub async fn close(&self) {
        self.writers.close().await;
        self.pool.close().await;
    }

    /// Deletes events and request keys of at least that age.
    pub async fn prune(&self, age: Duration) -> Result<()> {
        for statement in [
            "DELETE FROM events WHERE at < (SELECT now FROM clock) - $1",
            "DELETE FROM requests WHERE at < (SELECT now FROM clock) - $1",
        ] {
            query(statement).bind(micros(age)).execute(&self.writers).await?;
        }
        Ok(())
    }

    /// Runs the statements and logs the event in one transaction. If a statement matches no row,
    /// nothing is written. Returns the row that the first statement returns.
    async fn write<const N: usize>(
        &self,
        statements: [Query<'_, Any, AnyArguments>; N],
        key: &Key,
        event: &Event,
    ) -> Result<Option<AnyRow>> {
        let mut lent = Lent::by(&self.writers).await?;
        let written = write(&mut lent.connection, statements, key, event).await;
        let written = lent.give_back(written)?;
        let operation = event.operation.clone();
        let outcome = match &written {
            None => "conflict",
            Some(_) if event.reverted => "reverted",
            Some(_) => "done",
        };
        metrics::counter!("task_changes_total", "operation" => operation, "outcome" => outcome)
            .increment(1);
        tracing::info!(task = %key.id, by = event.by, outcome, "{}", event.operation);
        Ok(written)
    }

    /// How long, from now on, the task is not to be claimed.
    fn reserved(&self, row: &Row, operation: &str) -> Option<i64> {
        let wait = match operation {
            "start" => self.lease,
            // Exponential backoff, for documents that kill their workers.
            "retry" => self.lease * (1 << row.attempt.saturating_sub(1).min(10)),
            "update" => Duration::ZERO,
            _ => return None,
        };
        Some(micros(wait))
    }
}

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
    let statement = of(
        "INSERT INTO events (task_id, user_id, event, at) SELECT $1, $2, $3, now FROM clock",
        key,
    );
    statement.bind(json(event)?).execute(connection).await?;
    Ok(())
}

#[async_trait]
impl Store for SqlStore {
    async fn create(&self, new: &New) -> Result<Option<Row>> {
        let New { key, file_name, document, content, request, event } = new;
        let task = Task::new(Payload::Current);
        let statement = of(
            "INSERT INTO tasks (task_id, user_id, created_at, file_name, status, revision, run,
                                payload, expires_in, queued_at, queued_run, leased_until)
             SELECT $1, $2, place, $3, $4, $5, $6, $7, $8, place, $6, 0 FROM clock
             WHERE NOT EXISTS (SELECT * FROM events WHERE task_id = $1) -- not even deleted
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
        let written = match request {
            None => self.write([statement, file], key, event).await?,
            Some(Request { key: name, fingerprint }) => {
                let request = of(
                    "INSERT INTO requests (task_id, user_id, name, fingerprint, created_at, at)
                     SELECT $1, $2, $3, $4, created_at, (SELECT now FROM clock) FROM tasks
                     WHERE task_id = $1
                     ON CONFLICT (user_id, name) DO UPDATE SET task_id = excluded.task_id,
                         fingerprint = excluded.fingerprint, created_at = excluded.created_at,
                         at = excluded.at
                     WHERE requests.at < excluded.at - $5 RETURNING task_id",
                    key,
                );
                let request = request.bind(name).bind(fingerprint).bind(micros(DAY));
                self.write([statement, file, request], key, event).await?
            }
        };
        let Some(created) = written else { return Ok(None) };
        Ok(Some(new.row(key.id, moment(&created, "created_at")?)))
    }

    async fn requested(&self, user: &str, key: &str) -> Result<Option<Requested>> {
        let statement = query(
            "SELECT task_id, fingerprint, created_at FROM requests
             WHERE user_id = $1 AND name = $2 AND at >= (SELECT now FROM clock) - $3",
        );
        let statement = statement.bind(user).bind(key).bind(micros(DAY));
        let found = statement.fetch_optional(&self.pool).await?;
        found.as_ref().map(requested).transpose()
    }

    async fn load(&self, key: &Key) -> Result<Option<Row>> {
        let statement = of(
            "SELECT task_id, user_id, created_at, file_name, status, revision, run,
                    previous_status, ended_at, expires_in, queued_run, size
             FROM visible WHERE task_id = $1 AND user_id = $2",
            key,
        );
        statement.fetch_optional(&self.pool).await?.as_ref().map(row).transpose()
    }

    async fn read_within(&self, key: &Key, bytes: u32) -> Result<Option<(Row, Document)>> {
        let statement = of(
            "SELECT * FROM visible
             WHERE task_id = $1 AND user_id = $2 AND size <= $3",
            key,
        );
        match statement.bind(i64::from(bytes)).fetch_optional(&self.pool).await? {
            Some(found) => read(found).await.map(Some),
            None => Ok(None),
        }
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
        let statement = query(if page.ascending { page!("ASC") } else { page!("DESC") });
        let statement =
            statement.bind(user).bind(page.from).bind(page.to).bind(i64::from(page.limit));
        let mut statuses = page.statuses.iter().map(|status| status.as_str());
        let statement = (0..Status::ALL.len())
            .fold(statement, |statement, _| statement.bind(statuses.next().unwrap_or_default()));
        let entry = |row: &AnyRow| {
            let created_at = moment(row, "created_at")?;
            Ok(Entry { id: row.try_get("task_id")?, created_at })
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
             WHERE task_id = $1 AND user_id = $2 AND revision = $3
                 AND task_id IN (SELECT task_id FROM visible WHERE task_id = $1)
             RETURNING task_id",
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
                 AND task_id IN (SELECT task_id FROM visible WHERE task_id = $1)
             RETURNING task_id",
            key,
        )
        .bind(loaded.cast_signed());
        Ok(self.write([statement], key, event).await?.is_some())
    }

    async fn claim(&self, worker: &str) -> Result<Option<Message>> {
        // On PostgreSQL workers skip each other's rows; SQLite has one writer at a time.
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
            let mut lent = Lent::by(&self.writers).await?;
            let claimed = claim(&mut lent.connection, statement, worker).await;
            match lent.give_back(claimed)? {
                None => return Ok(None),
                Some(Some(message)) => return Ok(Some(message)),
                Some(None) => {} // skipped
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
        Ok(statement.execute(&self.writers).await?.rows_affected() > 0)
    }

    async fn log(&self, key: &Key) -> Result<Vec<Event>> {
        let statement =
            of("SELECT event FROM events WHERE task_id = $1 AND user_id = $2 ORDER BY number", key);
        let rows = statement.fetch_all(&self.pool).await?;
        rows.iter().map(|row| parsed(row, "event")).collect()
    }
}

/// Claims the next message and logs the claim, in one transaction. A message that cannot be read is
/// put aside.
async fn claim(
    connection: &mut AnyConnection,
    statement: Query<'_, Any, AnyArguments>,
    worker: &str,
) -> Result<Option<Option<Message>>> {
    let mut transaction = connection.begin().await?;
    let Some(row) = statement.fetch_optional(&mut *transaction).await? else {
        return Ok(None);
    };
    // Reads no document: an unreadable one must not stop those behind it.
    let message = match message(&row) {
        Ok((message, event)) => {
            log(&mut transaction, &message.key, &Event { by: worker.to_owned(), ..event }).await?;
            Some(message)
        }
        Err(fault) => {
            let id: String = row.try_get("task_id")?;
            tracing::error!(task = id, "skipped from now on: {fault}");
            let aside = query("UPDATE tasks SET leased_until = $2 WHERE task_id = $1");
            aside.bind(id).bind(i64::MAX).execute(&mut *transaction).await?;
            None
        }
    };
    transaction.commit().await?;
    Ok(Some(message))
}
