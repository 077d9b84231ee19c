//! Connections, and the meaning of errors.

use std::time::Duration;

use sqlx::migrate::Migrator;
use sqlx::pool::PoolOptions;
use sqlx::postgres::PgDatabaseError;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};
use sqlx::{Database, Error, Executor as _, PgPool, Postgres, SqlitePool};

pub static ON_SQLITE: Migrator = sqlx::migrate!("migrations/sqlite");
static ON_POSTGRES: Migrator = sqlx::migrate!("migrations/postgres");

#[derive(Clone)]
pub enum Db {
    Sqlite(SqlitePool),
    Postgres(PgPool),
}

/// The longest time that a statement waits for a lock, or for a connection.
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
        let options = url.parse::<SqliteConnectOptions>()?.create_if_missing(true);
        let options = options.busy_timeout(PATIENCE).journal_mode(SqliteJournalMode::Wal);
        let options = options.synchronous(SqliteSynchronous::Full);
        let pool = |connections| pool(connections).connect_with(options.clone());
        // There is one writer at a time. Others would sleep and try again, the unlucky ones for
        // long; here they queue.
        let writers = pool(1).await?;
        if ON_SQLITE.run(&writers).await.is_err() {
            ON_SQLITE.run(&writers).await?; // another process migrated at the same time
        }
        return Ok([pool(8).await?, writers, pool(1).await?].map(Db::Sqlite));
    }
    let pool = |connections| {
        let pool = pool::<Postgres>(connections).after_connect(|connection, _| {
            Box::pin(async move { connection.execute(SESSION).await.map(drop) })
        });
        pool.connect(url)
    };
    let shared = pool(16).await?;
    ON_POSTGRES.run(&shared).await?;
    Ok([shared.clone(), shared, pool(1).await?].map(Db::Postgres))
}

/// A statement that was prepared before a migration may fail for as long as its connection lives, so
/// that is not long; and one that has been idle may be cut.
fn pool<D: Database>(connections: u32) -> PoolOptions<D> {
    let pool = PoolOptions::new().max_connections(connections).acquire_timeout(PATIENCE);
    let pool = pool.max_lifetime(Duration::from_secs(15)).idle_timeout(Duration::from_secs(1));
    pool.test_before_acquire(false)
}

/// The meaning of an error, for the statement that met it.
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

/// An error that is not named here is an outage, whose outcome is unknown.
pub fn meaning(fault: &Error) -> Meaning {
    let database = match fault {
        Error::Decode(_) | Error::Encode(_) | Error::ColumnDecode { .. } => {
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
