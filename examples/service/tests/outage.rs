//! A database that gives no answer: nothing is lost, and nothing is done twice.

#[path = "../testing/mod.rs"]
mod testing;

use std::borrow::Cow;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use serde_json::Map;
use sqlx::Error;
use sqlx::error::{DatabaseError, ErrorKind};
use task_lifecycle::Status;
use task_service::document::{Configuration, Document};
use task_service::store::{
    Entry, Event, Key, Message, New, Page, Requested, Result, Row, SqlStore, Store, TRIES,
    is_lasting,
};
use task_service::worker::Worker;
use tempfile::TempDir;

use testing::postgres::Postgres;

/// An error as a database reports it.
#[derive(Debug)]
struct Reported(&'static str);

impl std::fmt::Display for Reported {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.0)
    }
}

impl std::error::Error for Reported {}

impl DatabaseError for Reported {
    fn message(&self) -> &str {
        self.0
    }

    fn code(&self) -> Option<Cow<'_, str>> {
        Some(self.0.into())
    }

    fn as_error(&self) -> &(dyn std::error::Error + Send + Sync + 'static) {
        self
    }

    fn as_error_mut(&mut self) -> &mut (dyn std::error::Error + Send + Sync + 'static) {
        self
    }

    fn into_error(self: Box<Self>) -> Box<dyn std::error::Error + Send + Sync + 'static> {
        self
    }

    fn kind(&self) -> ErrorKind {
        ErrorKind::Other
    }
}

/// Only an error caused by the row itself fails its task; after any other, the worker tries again.
#[test]
fn outage_failed_the_task() {
    // SQLite: busy, locked, read-only, I/O error and one of its kinds, full, cannot be opened.
    let sqlite = ["5", "6", "8", "10", "778", "13", "14"];
    // PostgreSQL: connection lost, serialization failure, deadlock, disk full, too many connections,
    // a lock that somebody holds, a timeout, restart, I/O error, read-only.
    let postgres = [
        "08006", "40001", "40P01", "53100", "53300", "55P03", "57014", "57P01", "57P03", "58030",
        "25006",
    ];
    for code in [&sqlite[..], &postgres].concat() {
        assert!(!is_lasting(&Error::Database(Box::new(Reported(code)))), "{code}");
    }
    // Too big, a constraint; a text that cannot be stored, a constraint, a value that is too long.
    for code in ["18", "19", "275", "22021", "23514", "54000"] {
        assert!(is_lasting(&Error::Database(Box::new(Reported(code)))), "{code}");
    }
    assert!(!is_lasting(&Error::PoolTimedOut) && is_lasting(&Error::Decode("".into())));
}

/// A store whose next calls get no answer.
struct Unsure {
    store: SqlStore,
    calls: AtomicU32,
    /// Whether they take effect all the same.
    happens: bool,
    /// Whether somebody else changes the task before the next call.
    is_overtaken: bool,
}

impl Unsure {
    async fn ask<T>(&self, call: impl Future<Output = Result<T>>) -> Result<T> {
        let left =
            self.calls.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
        if left.is_err() {
            return call.await;
        }
        if self.happens {
            call.await?;
        }
        if self.is_overtaken {
            let statement = sqlx::query("UPDATE tasks SET revision = revision + 1");
            statement.execute(&self.store.pool).await?;
        }
        Err(Error::Io(io::ErrorKind::TimedOut.into()))
    }
}

#[async_trait]
impl Store for Unsure {
    async fn create(&self, new: &New) -> Result<Option<Row>> {
        self.ask(self.store.create(new)).await
    }

    async fn requested(&self, user: &str, key: &str) -> Result<Option<Requested>> {
        self.store.requested(user, key).await
    }

    async fn load(&self, key: &Key) -> Result<Option<Row>> {
        self.store.load(key).await
    }

    async fn read_within(&self, key: &Key, bytes: u32) -> Result<Option<(Row, Document)>> {
        let read = self.store.read_within(key, bytes);
        if self.happens { read.await } else { self.ask(read).await }
    }

    async fn file(&self, key: &Key) -> Result<Option<Vec<u8>>> {
        if self.happens { self.store.file(key).await } else { self.ask(self.store.file(key)).await }
    }

    async fn list(&self, user: &str, page: &Page) -> Result<Vec<Entry>> {
        self.store.list(user, page).await
    }

    async fn commit(&self, row: &Row, loaded: u64, event: &Event) -> Result<bool> {
        self.ask(self.store.commit(row, loaded, event)).await
    }

    async fn delete(&self, key: &Key, loaded: u64, event: &Event) -> Result<bool> {
        self.ask(self.store.delete(key, loaded, event)).await
    }

    async fn claim(&self, worker: &str) -> Result<Option<Message>> {
        self.store.claim(worker).await
    }

    async fn renew(&self, message: &Message) -> Result<bool> {
        self.ask(self.store.renew(message)).await
    }

    async fn log(&self, key: &Key) -> Result<Vec<Event>> {
        self.store.log(key).await
    }
}

/// Such a store on each database, and what keeps the database alive.
async fn on_each(
    calls: usize,
    happens: bool,
    is_overtaken: bool,
) -> Vec<(Arc<Unsure>, TempDir, Option<Postgres>)> {
    let dir = TempDir::new().unwrap();
    let sqlite = format!("sqlite://{}/tasks.db", dir.path().display());
    let postgres = Postgres::start();
    let url = postgres.as_ref().map(|postgres| postgres.database("tasks"));
    let mut stores = Vec::new();
    for (url, dir, postgres) in
        [(Some(sqlite), dir, None), (url, TempDir::new().unwrap(), postgres)]
    {
        let Some(url) = url else { continue };
        let store = SqlStore::open(&url, Duration::from_mins(1)).await.unwrap();
        let calls = AtomicU32::new(u32::try_from(calls).unwrap());
        stores.push((Arc::new(Unsure { store, calls, happens, is_overtaken }), dir, postgres));
    }
    stores
}

fn new() -> New {
    let document = Document::queued(&Configuration::default(), Map::new());
    New::of("alice".to_owned(), "file".to_owned(), document, b"one two".to_vec())
}

async fn operations(store: &dyn Store, key: &Key) -> Vec<String> {
    store.log(key).await.unwrap().into_iter().map(|event| event.operation).collect()
}

/// A change is made once and its client is told so, whether or not the calls without an answer took
/// effect.
#[tokio::test]
async fn timeout_counted_as_no() {
    for (calls, happens) in [(1, true), (1, false), (TRIES, true)] {
        for (unsure, ..) in on_each(calls, happens, false).await {
            let again = || unsure.calls.store(u32::try_from(calls).unwrap(), Ordering::SeqCst);
            let (store, new): (&dyn Store, _) = (&*unsure, new());
            let mut row = store.add(&new).await.unwrap().expect("a name that is free");
            again();
            let done = row.task.cancel().unwrap();
            let event = Event::of(&done, "alice", 0, "");
            assert!(store.change(&row, 0, &event, TRIES).await.unwrap());
            again();
            let event = Event::new("alice", "delete", 1, None);
            assert!(store.remove(&new.key, 1, &event).await.unwrap());
            assert_eq!(operations(store, &new.key).await, ["create", "cancel", "delete"]);
        }
    }
}

/// A change that was not made, and is refused on a retry, has lost: somebody else was faster, or the
/// id is taken.
#[tokio::test]
async fn lost_race_after_an_outage_was_a_success() {
    for (unsure, ..) in on_each(0, false, true).await {
        let (store, new): (&dyn Store, _) = (&*unsure, new());
        let mut row = store.add(&new).await.unwrap().unwrap();
        let done = row.task.cancel().unwrap();
        let event = Event::of(&done, "alice", 0, "");
        unsure.calls.store(1, Ordering::SeqCst);
        assert!(!store.change(&row, 0, &event, TRIES).await.unwrap());
        assert_eq!(operations(store, &new.key).await, ["create"]);
        unsure.calls.store(1, Ordering::SeqCst);
        let same_name = New { event: Event::new("alice", "create", 0, None), ..new };
        assert!(store.add(&same_name).await.unwrap().is_none());
    }
}

/// A create that turns out to be stored is answered as it was then; a task that is deleted already is
/// not created again.
#[tokio::test]
async fn deleted_task_was_made_again() {
    for is_gone in [false, true] {
        for (unsure, ..) in on_each(0, true, false).await {
            let (store, new): (&dyn Store, _) = (&*unsure, new());
            unsure.calls.store(1, Ordering::SeqCst);
            let meanwhile = async {
                let mut row = loop {
                    if let Some(row) = store.load(&new.key).await.unwrap() {
                        break row;
                    }
                    tokio::time::sleep(Duration::from_millis(1)).await;
                };
                let done = row.task.cancel().unwrap();
                assert!(store.commit(&row, 0, &Event::of(&done, "alice", 0, "")).await.unwrap());
                if is_gone {
                    let event = Event::new("alice", "delete", 1, None);
                    assert!(store.delete(&new.key, 1, &event).await.unwrap());
                }
            };
            let (added, ()) = tokio::join!(store.add(&new), meanwhile);
            match added {
                Ok(row) => assert_eq!((row.unwrap().task.revision(), is_gone), (0, false)),
                Err(unknown) => assert!(is_gone && matches!(unknown, Error::RowNotFound)),
            }
        }
    }
}

/// An outcome that is still unknown after all tries is reported as unknown.
#[tokio::test]
async fn unknown_outcome_was_decided_again() {
    for (unsure, ..) in on_each(0, false, false).await {
        let (store, new): (&dyn Store, _) = (&*unsure, new());
        let mut row = store.add(&new).await.unwrap().unwrap();
        let done = row.task.cancel().unwrap();
        let event = Event::of(&done, "alice", 0, "");
        unsure.calls.store(100, Ordering::SeqCst);
        let unknown = store.change(&row, 0, &event, TRIES).await.unwrap_err();
        assert!(matches!(unknown, Error::Io(_)), "{unknown}");
    }
}

/// An outage at any moment of a run costs time, but neither the work nor the run.
#[tokio::test]
async fn outage_lost_the_result() {
    // With the shorter one, the outage is at the renewals.
    let leases = [Duration::from_mins(1), Duration::from_millis(300)];
    for (happens, lease) in [(true, leases[0]), (false, leases[0]), (true, leases[1])] {
        for (store, ..) in on_each(0, happens, false).await {
            let new = new();
            store.create(&new).await.unwrap().unwrap();
            let message = store.claim("worker").await.unwrap().unwrap();
            let name = "worker".to_owned();
            let (takes, longest) = (Duration::from_secs(1), Duration::from_mins(1));
            let worker = Worker {
                store: store.clone(),
                name,
                takes,
                lease,
                attempts: 3,
                longest,
                queued: Arc::default(),
            };
            let at_start = if lease == leases[0] { 2 } else { 0 };
            store.calls.store(at_start, Ordering::SeqCst);
            let at_work = async {
                while store.load(&new.key).await.unwrap().unwrap().task.status()
                    != Status::Processing
                {
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
                store.calls.store(2, Ordering::SeqCst);
            };
            let both = async { tokio::join!(worker.handle(&message), at_work) };
            let ended = tokio::time::timeout(Duration::from_secs(30), both).await;
            ended.expect("the run to end").0.unwrap();
            let row = store.load(&new.key).await.unwrap().unwrap();
            assert_eq!((row.task.status(), row.task.run()), (Status::Succeeded, 0));
            let told = operations(&*store, &new.key).await;
            assert_eq!(told, ["create", "claim", "start", "succeed"]);
        }
    }
}
