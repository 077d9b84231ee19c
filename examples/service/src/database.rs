//! Connections, and the meaning of errors.

use std::str::FromStr as _;
use std::time::Duration;

use sqlx::migrate::Migrator;
use sqlx::postgres::{PgConnectOptions, PgDatabaseError, PgPoolOptions};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{Connection as _, Error, Executor as _, PgPool, SqlitePool};

pub static ON_SQLITE: Migrator = sqlx::migrate!("migrations/sqlite");
static ON_POSTGRES: Migrator = sqlx::migrate!("migrations/postgres");

#[derive(Clone)]
pub enum Db {
    Sqlite(SqlitePool),
    Postgres(PgPool),
}

/// How long a statement waits for a lock, or for a connection.
const PATIENCE: Duration = Duration::from_secs(2);

/// For each connection. At a stricter level a lost race is an error; and whoever is told "yes"
/// relies on the disk.
const SESSION: &str = "SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL READ COMMITTED;
    SET lock_timeout = '2s'; SET statement_timeout = '10s';
    SELECT set_config('synchronous_commit', 'on', false)
    WHERE current_setting('synchronous_commit') = 'off'";

/// Connections to read with, to write with, and one that nobody else uses.
pub(crate) async fn open(url: &str) -> sqlx::Result<[Db; 3]> {
    if url.starts_with("sqlite:") {
        let options = SqliteConnectOptions::from_str(url)?
            .create_if_missing(true)
            .busy_timeout(PATIENCE)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full);
        let pool = |connections| {
            let pool =
                SqlitePoolOptions::new().max_connections(connections).acquire_timeout(PATIENCE);
            pool.test_before_acquire(false).connect_with(options.clone())
        };
        // There is one writer at a time. Others would sleep and try again, the unlucky ones for
        // long; here they queue.
        let writers = pool(1).await?;
        if ON_SQLITE.run(&writers).await.is_err() {
            ON_SQLITE.run(&writers).await?; // another process migrated at the same time
        }
        return Ok([pool(8).await?, writers, pool(1).await?].map(Db::Sqlite));
    }
    let options = PgConnectOptions::from_str(url)?;
    let pool = |connections| {
        PgPoolOptions::new()
            .max_connections(connections)
            .acquire_timeout(PATIENCE)
            // A statement prepared before a migration may fail for as long as its connection lives.
            .max_lifetime(Duration::from_secs(15))
            .test_before_acquire(false)
            .before_acquire(|connection, usage| {
                Box::pin(async move {
                    let is_fresh = usage.idle_for < Duration::from_secs(1);
                    Ok(is_fresh || connection.ping().await.is_ok())
                })
            })
            .after_connect(|connection, _| {
                Box::pin(async move { connection.execute(SESSION).await.map(drop) })
            })
            .connect_with(options.clone())
    };
    let shared = pool(16).await?;
    ON_POSTGRES.run(&shared).await?;
    Ok([shared.clone(), shared, pool(1).await?].map(Db::Postgres))
}

/// What an error says about the statement that met it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Meaning {
    /// Nothing was done, and never will be: the data are wrong or too large. Only these fail a task.
    Lasting,
    /// Nothing was done, because others were faster.
    LostRace,
    /// Nothing was done, this time.
    NotDone,
    /// It may have been done, or may still be.
    Unknown,
}

/// What is not named here is an outage, whose outcome is unknown.
pub fn meaning(fault: &Error) -> Meaning {
    let database = match fault {
        Error::Decode(_) | Error::ColumnDecode { .. } | Error::Encode(_) => {
            return Meaning::Lasting;
        }
        Error::PoolTimedOut | Error::PoolClosed => return Meaning::NotDone,
        Error::Database(database) => database,
        _ => return Meaning::Unknown,
    };
    let code = database.code().unwrap_or_default();
    if database.try_downcast_ref::<PgDatabaseError>().is_some() {
        return match (code.get(..2).unwrap_or_default(), &*code) {
            ("22" | "23" | "54", _) => Meaning::Lasting,
            (_, "40001" | "40P01") => Meaning::LostRace,
            // A connection, an end of the server, the system.
            ("08" | "58" | "XX", _) | (_, "40003" | "57P01" | "57P02") => Meaning::Unknown,
            _ => Meaning::NotDone,
        };
    }
    match code.parse::<u32>().map(|code| code & 0xff) {
        Ok(18..=20) => Meaning::Lasting, // too big, a constraint, a type
        Ok(10 | 11 | 26) | Err(_) => Meaning::Unknown, // the disk, a damaged file
        Ok(_) => Meaning::NotDone,
    }
}
