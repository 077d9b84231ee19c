//! Connections, and the conversion of rows. All that differs between the databases is here and in
//! `claim`.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use serde::Serialize;
use serde::de::DeserializeOwned;
use sqlx::any::{Any, AnyArguments, AnyPoolOptions, AnyRow, install_default_drivers};
use sqlx::error::{BoxDynError, DatabaseError};
use sqlx::pool::PoolConnection;
use sqlx::postgres::PgListener;
use sqlx::query::Query;
use sqlx::{AnyConnection, AnyPool, Connection as _, Error, Row as _, query};
use task_lifecycle::{Previous, Snapshot, Status};
use tokio::sync::Notify;
use tokio::task::spawn_blocking;
use tokio::time::sleep;
use uuid::Uuid;

use crate::document::Document;
use crate::store::{Event, Key, Message, Payload, Requested, Result, Row};

pub(crate) fn is_sqlite(url: &str) -> bool {
    url.starts_with("sqlite:")
}

/// Opens a database, and creates it if it is missing: connections for reading, and for writing.
pub(crate) async fn open(url: &str) -> Result<[AnyPool; 2]> {
    install_default_drivers();
    let is_sqlite = is_sqlite(url);
    let made = if is_sqlite && !url.contains('?') { "?mode=rwc" } else { "" };
    let settings = if is_sqlite {
        // Readers do not wait for the writer; writers wait for each other.
        "PRAGMA busy_timeout = 20000; PRAGMA journal_mode = WAL"
    } else {
        "SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL READ COMMITTED;
         SET lock_timeout = '2s'; SET statement_timeout = '30s'"
    };
    let url = format!("{url}{made}");
    // This error names the cause; a pool would keep trying and only report a timeout.
    AnyConnection::connect(&url).await?.close().await?;
    let pool = |connections| {
        AnyPoolOptions::new()
            .max_connections(connections)
            .acquire_timeout(Duration::from_secs(5))
            .after_connect(move |connection, _| {
                Box::pin(async move {
                    sqlx::raw_sql(settings).execute(connection).await?;
                    Ok(())
                })
            })
            .connect(&url)
    };
    let readers = pool(8).await?;
    // SQLite has one writer at a time. The others would sleep and try again, the unlucky ones for
    // long; here they queue.
    let writers = if is_sqlite { pool(1).await? } else { readers.clone() };
    let migrator = if is_sqlite {
        sqlx::migrate!("migrations/sqlite")
    } else {
        sqlx::migrate!("migrations/postgres")
    };
    if migrator.run(&writers).await.is_err() {
        // On SQLite another process may have migrated it at the same time.
        migrator.run(&writers).await?;
    }
    Ok([readers, writers])
}

/// Wakes a worker for each task that any process queues on PostgreSQL.
pub(crate) async fn listen(url: String, queued: Arc<Notify>) {
    loop {
        let listen = async {
            let mut listener = PgListener::connect(&url).await?;
            listener.listen("queued").await?;
            loop {
                listener.recv().await?;
                queued.notify_one();
            }
        };
        let ended: Result<()> = listen.await;
        tracing::warn!("no notifications of new tasks: {ended:?}");
        sleep(Duration::from_secs(1)).await;
    }
}

/// A connection for one transaction. Unless the transaction ends well, the connection is closed: after
/// an error, or if its future is dropped midway, nobody knows whether it is still in a transaction.
/// SQLite rolls back by itself when the disk is full, and what is written on such a connection
/// afterwards would never be committed.
pub(crate) struct Lent {
    pub connection: PoolConnection<Any>,
    is_whole: bool,
}

impl Lent {
    pub async fn by(pool: &AnyPool) -> Result<Self> {
        Ok(Self { connection: pool.acquire().await?, is_whole: false })
    }

    pub fn give_back<T>(mut self, outcome: Result<Option<T>>) -> Result<Option<T>> {
        let Err(fault) = outcome else {
            self.is_whole = true;
            return outcome;
        };
        let code = fault.as_database_error().and_then(DatabaseError::code);
        match code.as_deref() {
            // A serialization failure or a deadlock: the race was lost, as if no row had matched.
            Some("40001" | "40P01") => Ok(None),
            _ => Err(fault),
        }
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        if !self.is_whole {
            self.connection.close_on_drop();
        }
    }
}

/// A claimed row as a message, and as the event for the log.
pub(crate) fn message(row: &AnyRow) -> Result<(Message, Event)> {
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

/// Whether an error is permanent: the fault is in the row, not in the database or the connection.
pub fn is_lasting(fault: &Error) -> bool {
    match fault {
        Error::Decode(_) | Error::Encode(_) => true,
        Error::Database(fault) => {
            let code = fault.code().unwrap_or_default();
            match code.parse::<u32>() {
                // SQLite: busy, locked, read-only, an I/O error, full, cannot be opened.
                Ok(number) if code.len() < 5 => !matches!(number & 0xff, 5 | 6 | 8 | 10 | 13 | 14),
                // PostgreSQL: connection, rollback, resources, locks, operator, system, read-only.
                _ => !["08", "40", "53", "55", "57", "58", "25"]
                    .iter()
                    .any(|class| code.starts_with(class)),
            }
        }
        _ => false,
    }
}

/// A statement about one task: `$1` is its id, `$2` its owner.
pub(crate) fn of<'a>(statement: &'static str, key: &'a Key) -> Query<'a, Any, AnyArguments> {
    query(statement).bind(key.id.to_string()).bind(&key.user)
}

/// A row and its current document, validated. A document may be large, so it is parsed on a blocking
/// thread.
pub(crate) async fn read(from: AnyRow) -> Result<(Row, Document)> {
    let read = spawn_blocking(move || Ok((row(&from)?, parsed(&from, "payload")?)));
    read.await.map_err(unreadable)?
}

/// An earlier request.
pub(crate) fn requested(row: &AnyRow) -> Result<Requested> {
    Ok(Requested {
        id: Uuid::try_parse(row.try_get("task_id")?).map_err(unreadable)?,
        created_at: moment(row, "created_at")?,
        fingerprint: row.try_get("fingerprint")?,
    })
}

pub(crate) fn row(row: &AnyRow) -> Result<Row> {
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
        size: number(row, "size")?,
        attempt: snapshot.run.wrapping_sub(number(row, "queued_run")?).wrapping_add(1),
        task: snapshot.try_into().map_err(unreadable)?,
        ended_at,
        expires_at: ended_at.zip(expires_in).and_then(|(at, kept)| at.checked_add_signed(kept)),
    })
}

pub(crate) fn key(row: &AnyRow) -> Result<Key> {
    let id = Uuid::try_parse(row.try_get("task_id")?).map_err(unreadable)?;
    Ok(Key { user: row.try_get("user_id")?, id })
}

pub(crate) fn status(row: &AnyRow, column: &str) -> Result<Status> {
    row.try_get::<&str, _>(column)?.parse().map_err(unreadable)
}

pub(crate) fn number(row: &AnyRow, column: &str) -> Result<u64> {
    Ok(row.try_get::<i64, _>(column)?.cast_unsigned())
}

pub(crate) fn moment(row: &AnyRow, column: &str) -> Result<DateTime<Utc>> {
    let at = DateTime::from_timestamp_micros(row.try_get(column)?);
    at.ok_or_else(|| unreadable(format!("{column} is out of range")))
}

pub(crate) fn parsed<T: DeserializeOwned>(row: &AnyRow, column: &str) -> Result<T> {
    serde_json::from_str(row.try_get(column)?).map_err(unreadable)
}

pub(crate) fn json(value: &impl Serialize) -> Result<String> {
    serde_json::to_string(value).map_err(|fault| Error::Encode(fault.into()))
}

/// A document as it is stored. It must be readable, or nobody could show the task or work on it.
pub(crate) fn text(document: &Document) -> Result<String> {
    let text = json(document)?;
    serde_json::from_str::<Document>(&text).map_err(|fault| Error::Encode(fault.into()))?;
    Ok(text)
}

pub(crate) fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}

pub(crate) fn unreadable(fault: impl Into<BoxDynError>) -> Error {
    Error::Decode(fault.into())
}
