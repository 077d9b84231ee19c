//! The store keeps tasks as the machine means them, on both databases.

#[path = "../testing/mod.rs"]
mod testing;

use std::time::Duration;

use serde_json::Map;
use task_lifecycle::{Status, Task, conformance};
use task_service::document::{Configuration, Document};
use task_service::store::{Event, Key, Message, Payload, Row, SqlStore, Store};
use tempfile::TempDir;
use tokio::runtime::Runtime;
use uuid::Uuid;

use testing::postgres::Postgres;

/// The store as the suite drives it: one user's, each call waited for.
struct Suite<'a> {
    runtime: &'a Runtime,
    url: &'a str,
    store: SqlStore,
}

impl<'a> Suite<'a> {
    fn new(runtime: &'a Runtime, url: &'a str) -> Self {
        let store = runtime.block_on(SqlStore::open(url, Duration::from_secs(30))).unwrap();
        Self { runtime, url, store }
    }
}

fn key(&id: &Uuid) -> Key {
    Key { user: "suite".to_owned(), id }
}

/// The document that lies in the column of a task's previous state, at that revision.
async fn previous(store: &SqlStore, row: &Row) -> Result<Option<Document>, sqlx::Error> {
    let text = sqlx::query_scalar::<_, Option<String>>(
        "SELECT previous_payload FROM tasks WHERE task_id = $1 AND revision = $2",
    )
    .bind(row.key.id.to_string())
    .bind(row.task.revision().cast_signed());
    let text = text.fetch_optional(&store.pool).await?.flatten();
    Ok(text.map(|text| serde_json::from_str(&text).unwrap()))
}

/// The task with its documents.
async fn whole(store: &SqlStore, key: &Key) -> Result<Option<Task<Document>>, sqlx::Error> {
    loop {
        let Some((row, current)) = store.read(key).await? else { return Ok(None) };
        let previous = previous(store, &row).await?;
        if row.task.is_update() != previous.is_some() {
            continue; // it was changed in between
        }
        return Ok(Some(row.task.map(|payload| match payload {
            Payload::Current => current.clone(),
            Payload::Previous => previous.clone().unwrap(),
            Payload::New(_) => unreachable!("it was read"),
        })));
    }
}

impl conformance::Store for Suite<'_> {
    type Id = Uuid;
    type Payload = Document;
    type Error = sqlx::Error;

    fn payload(text: &str) -> Document {
        let mut document = Document::queued(&Configuration::default(), Map::new());
        document.message = text.to_owned();
        document.configuration.insert(text.to_owned(), text.into());
        document
    }

    fn create(&mut self, task: &Task<Document>) -> Result<Uuid, sqlx::Error> {
        loop {
            let id = Uuid::new_v4();
            let key = key(&id);
            let created = self.store.create(&key, "file", task.payload(), b"file");
            if self.runtime.block_on(created)?.is_some() {
                return Ok(id);
            } // else that microsecond is taken
        }
    }

    fn load(&mut self, id: &Uuid) -> Result<Option<Task<Document>>, sqlx::Error> {
        self.runtime.block_on(whole(&self.store, &key(id)))
    }

    /// What the task has of the documents that are stored is moved, as the service would.
    fn commit(
        &mut self,
        id: &Uuid,
        loaded: u64,
        task: &Task<Document>,
    ) -> Result<bool, sqlx::Error> {
        self.runtime.block_on(async {
            let Some(mut row) = self.store.load(&key(id)).await? else { return Ok(false) };
            let stored = whole(&self.store, &key(id)).await?;
            let current = stored.as_ref().map(Task::payload);
            let previous = stored.as_ref().and_then(Task::previous).map(|state| state.payload);
            row.task = task.clone().map(|document| match () {
                () if Some(&document) == current => Payload::Current,
                () if Some(&document) == previous => Payload::Previous,
                () => Payload::new(document),
            });
            let event = Event::new("suite", "edit", loaded, Some(&row.task));
            self.store.commit(&row, loaded, &event).await
        })
    }

    fn delete(&mut self, id: &Uuid, loaded: u64) -> Result<bool, sqlx::Error> {
        let event = Event::new("suite", "delete", loaded, None);
        self.runtime.block_on(self.store.delete(&key(id), loaded, &event))
    }

    fn another(&mut self) -> Option<Self> {
        Some(Self::new(self.runtime, self.url))
    }

    fn reopen(self) -> Self {
        let Self { runtime, url, store } = self;
        runtime.block_on(store.pool.close());
        Self::new(runtime, url)
    }
}

fn conforms(url: &str) {
    let runtime = Runtime::new().unwrap();
    let report = conformance::find_violation(|| Suite::new(&runtime, url));
    let report = report.unwrap_or_else(|violation| panic!("{violation}"));
    assert!(report.commits > 500 && report.stale > 100 && report.reverts > 10, "{report:?}");
    assert!(report.deletes > 10 && report.reopened > 50, "{report:?}");
}

/// A store on SQLite, on which a lease passes at once.
async fn without_leases(dir: &TempDir) -> SqlStore {
    let url = format!("sqlite://{}/tasks.db", dir.path().display());
    SqlStore::open(&url, Duration::ZERO).await.unwrap()
}

async fn create(store: &SqlStore) -> Row {
    let document = Document::queued(&Configuration::default(), Map::new());
    store.create(&key(&Uuid::new_v4()), "file", &document, b"file").await.unwrap().unwrap()
}

#[tokio::test]
async fn every_statement_names_the_owner() {
    let dir = TempDir::new().unwrap();
    let store = without_leases(&dir).await;
    let mut row = create(&store).await;
    let own = row.key.clone();
    let other = Key { user: "other".to_owned(), ..own.clone() };
    assert!(store.load(&own).await.unwrap().is_some());
    assert!(store.load(&other).await.unwrap().is_none());
    assert!(store.file(&own).await.unwrap().is_some());
    assert!(store.file(&other).await.unwrap().is_none());
    assert_eq!(store.log(&own).await.unwrap().len(), 1);
    assert!(store.log(&other).await.unwrap().is_empty());

    let event = Event::new("other", "cancel", 0, None);
    row.task.cancel().unwrap();
    row.key = other.clone();
    assert!(!store.commit(&row, 0, &event).await.unwrap());
    assert!(!store.delete(&other, 0, &event).await.unwrap());
    let unchanged = store.load(&own).await.unwrap().unwrap().task;
    assert_eq!((unchanged.status(), unchanged.revision()), (Status::Starting, 0));
    assert_eq!(store.log(&own).await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_run_that_is_retried_keeps_its_place() {
    let dir = TempDir::new().unwrap();
    let store = without_leases(&dir).await;
    let (first, _second) = (create(&store).await, create(&store).await);
    let mut row = first.clone();
    for (operation, is_overdue) in [("start", false), ("retry", true)] {
        let message = store.claim("worker").await.unwrap().unwrap();
        assert_eq!(message, Message { key: first.key.clone(), run: 0, is_overdue });
        let loaded = row.task.revision();
        let done = if operation == "start" { row.task.start() } else { row.task.retry() }.unwrap();
        let event = Event::of(&done, "worker", loaded, "");
        assert!(store.commit(&row, loaded, &event).await.unwrap());
    }
    let message = store.claim("worker").await.unwrap().unwrap();
    assert_eq!(message, Message { key: first.key, run: 1, is_overdue: false });
}

#[test]
fn conforms_on_sqlite() {
    let dir = TempDir::new().unwrap();
    conforms(&format!("sqlite://{}/tasks.db", dir.path().display()));
}

#[test]
fn conforms_on_postgresql() {
    if let Some(postgres) = Postgres::start() {
        conforms(&postgres.database("conformance"));
    }
}
