//! Connections, and rows as the service has them. What differs between the databases is here and in
//! `claim`.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use serde::Serialize;
use serde::de::DeserializeOwned;
use sqlx::any::{Any, AnyArguments, AnyPoolOptions, AnyRow, install_default_drivers};
use sqlx::error::{BoxDynError, DatabaseError};
use sqlx::pool::PoolConnection;
use sqlx::query::Query;
use sqlx::{AnyConnection, AnyPool, Connection as _, Error, Row as _, query};
use task_lifecycle::{Previous, Snapshot, Status};
use tokio::task::spawn_blocking;
use uuid::Uuid;

use crate::document::Document;
use crate::store::{Event, Key, Message, Payload, Requested, Result, Row};

/// Opens a database, made if it is not there, and whether it is SQLite.
pub(crate) async fn open(url: &str) -> Result<(AnyPool, bool)> {
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
    Ok((pool, is_sqlite))
}

/// Gives a connection back after a transaction.
pub(crate) fn give_back<T>(
    mut connection: PoolConnection<Any>,
    outcome: Result<Option<T>>,
) -> Result<Option<T>> {
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

/// What was claimed, and what the log says of it.
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
pub(crate) fn of<'a>(statement: &'static str, key: &'a Key) -> Query<'a, Any, AnyArguments> {
    query(statement).bind(key.id.to_string()).bind(&key.user)
}

/// A row and its current document, checked: what no task has is an error. A document may be large,
/// so it is read beside what waits.
pub(crate) async fn read(from: AnyRow) -> Result<(Row, Document)> {
    let read = spawn_blocking(move || Ok((row(&from)?, parsed(&from, "payload")?)));
    read.await.map_err(unreadable)?
}

/// A request that was made before.
pub(crate) fn requested(row: &AnyRow) -> Result<Requested> {
    Ok(Requested {
        id: Uuid::try_parse(row.try_get("task_id")?).map_err(unreadable)?,
        created_at: moment(row, "created_at")?,
        fingerprint: row.try_get("fingerprint")?,
    })
}

/// Forgets events and requests of so long ago.
pub(crate) async fn prune(pool: &AnyPool, age: Duration) -> Result<()> {
    for statement in [
        "DELETE FROM events WHERE at < (SELECT now FROM clock) - $1",
        "DELETE FROM requests WHERE at < (SELECT now FROM clock) - $1",
    ] {
        query(statement).bind(micros(age)).execute(pool).await?;
    }
    Ok(())
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
    at.ok_or_else(|| unreadable(format!("{column} is no moment")))
}

pub(crate) fn parsed<T: DeserializeOwned>(row: &AnyRow, column: &str) -> Result<T> {
    serde_json::from_str(row.try_get(column)?).map_err(unreadable)
}

pub(crate) fn json(value: &impl Serialize) -> Result<String> {
    serde_json::to_string(value).map_err(|fault| Error::Encode(fault.into()))
}

/// A document as it is stored. What is written must be read again: otherwise nobody could show the
/// task, or work on it.
pub(crate) fn text(document: &Document) -> Result<String> {
    let text = json(document)?;
    match serde_json::from_str::<Document>(&text) {
        Ok(read) if read == *document => Ok(text),
        Ok(_) => Err(Error::Encode("the document is read as another".into())),
        Err(fault) => Err(Error::Encode(fault.into())),
    }
}

pub(crate) fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}

pub(crate) fn unreadable(fault: impl Into<BoxDynError>) -> Error {
    Error::Decode(fault.into())
}
