//! The store on both databases: conformance, and what SQL guarantees.

#[path = "../testing/mod.rs"]
mod testing;

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::Map;
use task_lifecycle::{Event as Step, State, Status, Task, conformance};
use task_service::document::{Configuration, Document};
use task_service::store::{Event, Key, Message, New, Payload, Row, SqlStore, Store};
use tempfile::TempDir;
use tokio::time::sleep;
use uuid::Uuid;

use testing::postgres::Postgres;

/// The store as the conformance suite drives it, for one user.
struct Suite<'a> {
    url: &'a str,
    store: SqlStore,
}

impl<'a> Suite<'a> {
    async fn open(url: &'a str) -> Self {
        Self { url, store: SqlStore::open(url, Duration::from_secs(30)).await.unwrap() }
    }
}

fn key(&id: &Uuid) -> Key {
    Key { user: "suite".to_owned(), id }
}

fn new(document: Document) -> New {
    New::of("suite".to_owned(), "file".to_owned(), document, b"file".to_vec())
}

/// The document of a task's previous state, at that revision.
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

    async fn create(&self, task: &Task<Document>) -> Result<Uuid, sqlx::Error> {
        loop {
            let new = new(task.payload().clone());
            if self.store.create(&new).await?.is_some() {
                return Ok(new.key.id);
            } // else that microsecond is taken
        }
    }

    async fn load(&self, id: &Uuid) -> Result<Option<Task<Document>>, sqlx::Error> {
        whole(&self.store, &key(id)).await
    }

    /// Moves documents that are stored already, as the service does.
    async fn commit(
        &self,
        id: &Uuid,
        loaded: u64,
        task: &Task<Document>,
    ) -> Result<bool, sqlx::Error> {
        let Some(mut row) = self.store.load(&key(id)).await? else { return Ok(false) };
        let stored = whole(&self.store, &key(id)).await?;
        let stored = stored.filter(|stored| stored.revision() == loaded);
        let current = stored.as_ref().map(Task::payload);
        let previous = stored.as_ref().and_then(Task::previous).map(|state| state.payload);
        row.task = task.clone().map(|document| match () {
            () if Some(&document) == current => Payload::Current,
            () if Some(&document) == previous => Payload::Previous,
            () => Payload::new(document),
        });
        let event = Event::new("suite", "edit", loaded, Some(&row.task));
        self.store.commit(&row, loaded, &event).await
    }

    async fn delete(&self, id: &Uuid, loaded: u64) -> Result<bool, sqlx::Error> {
        let event = Event::new("suite", "delete", loaded, None);
        self.store.delete(&key(id), loaded, &event).await
    }

    async fn another(&self) -> Option<Self> {
        Some(Self::open(self.url).await)
    }

    async fn reopen(self) -> Self {
        self.store.pool.close().await;
        Self::open(self.url).await
    }
}

async fn conforms(url: &str) {
    let report = conformance::find_violation(async || Suite::open(url).await).await;
    let report = report.unwrap_or_else(|violation| panic!("{violation}"));
    assert!(report.commits > 200 && report.stale > 40 && report.reverts > 5, "{report:?}");
    assert!(report.deletes > 5 && report.reopened > 10 && report.handles == 2, "{report:?}");
    assert!(report.overlapped > 20 && report.given_up > 5, "{report:?}");
}

async fn on_sqlite(dir: &TempDir, lease: Duration) -> SqlStore {
    let url = format!("sqlite://{}/tasks.db", dir.path().display());
    SqlStore::open(&url, lease).await.unwrap()
}

async fn create(store: &SqlStore) -> Row {
    let document = Document::queued(&Configuration::default(), Map::new());
    store.create(&new(document)).await.unwrap().unwrap()
}

#[tokio::test]
async fn every_statement_names_the_owner() {
    let dir = TempDir::new().unwrap();
    let store = on_sqlite(&dir, Duration::ZERO).await;
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
    let store = on_sqlite(&dir, Duration::ZERO).await;
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

#[tokio::test]
async fn attempts_become_rare() {
    let dir = TempDir::new().unwrap();
    let url = format!("sqlite://{}/tasks.db", dir.path().display());
    let lease = Duration::from_millis(200);
    let store = SqlStore::open(&url, lease).await.unwrap();
    let key = create(&store).await.key;
    for wait in [lease, lease * 2, lease * 4] {
        let change = async |change: fn(&mut Task<Payload>) -> _| {
            let mut row = store.load(&key).await.unwrap().unwrap();
            let loaded = row.task.revision();
            let done: Result<_, task_lifecycle::TransitionError> = change(&mut row.task);
            let event = Event::of(&done.unwrap(), "worker", loaded, "");
            assert!(store.commit(&row, loaded, &event).await.unwrap());
        };
        change(Task::start).await;
        change(Task::retry).await;
        let begin = Instant::now();
        while store.claim("worker").await.unwrap().is_none() {
            sleep(Duration::from_millis(5)).await;
        }
        let waited = begin.elapsed();
        assert!(waited + Duration::from_millis(20) > wait, "{waited:?} for {wait:?}");
    }
}

#[tokio::test]
async fn what_cannot_be_read_back_is_not_written() {
    let dir = TempDir::new().unwrap();
    let store = on_sqlite(&dir, Duration::ZERO).await;
    let mut row = create(&store).await;
    let mut document = Document::queued(&Configuration::default(), Map::new());
    let deep = (0..130).fold(serde_json::Value::Null, |inner, _| vec![inner].into());
    document.configuration.insert("deep".to_owned(), deep);
    let created = store.create(&new(document.clone())).await;
    assert!(matches!(created, Err(sqlx::Error::Encode(_))), "{created:?}");
    row.task.edit(|payload| *payload = Payload::new(document));
    let event = Event::new("editor", "edit", 0, Some(&row.task));
    let written = store.commit(&row, 0, &event).await;
    assert!(matches!(written, Err(sqlx::Error::Encode(_))), "{written:?}");
    assert_eq!(store.read(&row.key).await.unwrap().unwrap().0.task.revision(), 0);
}

/// A store on each database, and what keeps the database alive.
async fn on_each(lease: Duration) -> Vec<(SqlStore, TempDir, Option<Postgres>)> {
    let dir = TempDir::new().unwrap();
    let sqlite = on_sqlite(&dir, lease).await;
    let mut stores = vec![(sqlite, dir, None)];
    if let Some(postgres) = Postgres::start() {
        let store = SqlStore::open(&postgres.database("tasks"), lease).await.unwrap();
        stores.push((store, TempDir::new().unwrap(), Some(postgres)));
    }
    stores
}

/// Runs a statement by hand; the error is its message.
async fn by_hand(store: &SqlStore, statement: &str) -> Result<(), String> {
    let statement = sqlx::raw_sql(sqlx::AssertSqlSafe(statement));
    statement.execute(&store.pool).await.map(drop).map_err(|fault| fault.to_string())
}

/// Every pair of status and previous status, and whether a task can have it.
fn pairs() -> Vec<(&'static str, Option<&'static str>, bool)> {
    let words = || ["Starting", "Processing", "Succeeded", "Failed", "Cancelled", "starting", ""];
    let previous = || [None].into_iter().chain(words().map(Some));
    let is_task = |status: &str, previous: Option<&str>| {
        let previous = previous.map(str::parse).transpose();
        status.parse().is_ok_and(|status| {
            previous.is_ok_and(|previous| State::from_parts(status, previous).is_ok())
        })
    };
    let pair = |status| previous().map(move |before| (status, before, is_task(status, before)));
    words().into_iter().flat_map(pair).collect()
}

#[tokio::test]
async fn the_database_keeps_the_relation() {
    assert_eq!(pairs().iter().filter(|(.., is_task)| *is_task).count(), State::ALL.len());
    for (store, ..) in on_each(Duration::ZERO).await {
        let id = create(&store).await.key.id;
        for (status, before, is_task) in pairs() {
            let previous = before.map_or("NULL".to_owned(), |before| format!("'{before}'"));
            let payload = before.map_or("NULL", |_| "'{}'");
            let change = format!(
                "SET status = '{status}', previous_status = {previous}, previous_payload = {payload}"
            );
            let whole = format!("UPDATE tasks {change}, revision = revision + 1");
            let insert = format!(
                "INSERT INTO tasks SELECT 'another', user_id, -created_at, file_name,
                 '{status}', 0, 0, '{{}}', {previous}, {payload}, NULL, NULL, NULL, 0, 0, 0
                 FROM tasks; DELETE FROM tasks WHERE task_id <> '{id}'"
            );
            for statement in [&whole, &insert] {
                let written = by_hand(&store, statement).await;
                assert_eq!(written.is_ok(), is_task, "{statement}: {written:?}");
            }
        }
        for change in [
            "status = 'Failed', previous_status = NULL, previous_payload = NULL",
            "payload = '{}'",
            "run = run + 1",
            "previous_payload = NULL, previous_status = NULL",
        ] {
            let refused = by_hand(&store, &format!("UPDATE tasks SET {change}")).await.unwrap_err();
            assert!(refused.contains("a change of a task must change its revision"), "{refused}");
        }
        by_hand(&store, "UPDATE tasks SET leased_until = 0").await.unwrap();
    }
}

/// However many workers ask at once, each message goes to one of them.
#[tokio::test(flavor = "multi_thread")]
async fn a_message_is_claimed_once() {
    for (store, ..) in on_each(Duration::from_mins(1)).await {
        for _ in 0..100 {
            create(&store).await;
        }
        let store = Arc::new(store);
        let workers: Vec<_> = (0..8)
            .map(|_| {
                let store = store.clone();
                tokio::spawn(async move {
                    let mut claimed = Vec::new();
                    while let Some(message) = store.claim("worker").await.unwrap() {
                        claimed.push(message.key.id);
                    }
                    claimed
                })
            })
            .collect();
        let mut claimed = Vec::new();
        for worker in workers {
            claimed.extend(worker.await.unwrap());
        }
        let distinct: HashSet<_> = claimed.iter().collect();
        assert_eq!((claimed.len(), distinct.len()), (100, 100));
    }
}

/// A serialization failure or a deadlock is a lost race, and nothing is unknown.
#[tokio::test]
async fn a_race_that_postgresql_decides_is_lost() {
    let stores = on_each(Duration::ZERO).await;
    let Some((store, ..)) = stores.get(1) else { return };
    let mut row = create(store).await;
    let done = row.task.cancel().unwrap();
    for code in ["40001", "40P01"] {
        let raise = format!(
            "CREATE OR REPLACE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                 RAISE EXCEPTION 'lost' USING ERRCODE = '{code}'; END $$;
             CREATE OR REPLACE TRIGGER fails BEFORE UPDATE ON tasks
                 FOR EACH ROW EXECUTE FUNCTION fail()"
        );
        by_hand(store, &raise).await.unwrap();
        let event = Event::of(&done, "alice", 0, "");
        assert!(!store.commit(&row, 0, &event).await.unwrap(), "{code}");
    }
}

/// A lease is renewed only while its run is under way.
#[tokio::test]
async fn only_a_current_run_is_renewed() {
    for (store, ..) in on_each(Duration::ZERO).await {
        let mut row = create(&store).await;
        let message = store.claim("worker").await.unwrap().unwrap();
        let mut renewed = vec![store.renew(&message).await.unwrap()];
        for step in [Step::Start, Step::Retry, Step::Start, Step::Succeed] {
            let loaded = row.task.revision();
            let event = Event::of(&row.task.apply(step).unwrap(), "worker", loaded, "");
            assert!(store.commit(&row, loaded, &event).await.unwrap());
            renewed.push(store.renew(&message).await.unwrap());
        }
        let current = Message { run: 1, ..message };
        renewed.push(store.renew(&current).await.unwrap());
        assert_eq!(renewed, [false, true, false, false, false, false]);
    }
}

/// A task that expires after it was loaded is neither changed nor deleted.
#[tokio::test]
async fn a_task_that_expires_meanwhile_is_not_changed() {
    for (store, ..) in on_each(Duration::ZERO).await {
        let mut row = create(&store).await;
        let done = row.task.cancel().unwrap();
        assert!(store.commit(&row, 0, &Event::of(&done, "alice", 0, "")).await.unwrap());
        by_hand(&store, "UPDATE tasks SET expires_in = 0").await.unwrap();
        row.task.edit(|_| ());
        let event = Event::new("alice", "edit", 1, Some(&row.task));
        assert!(!store.commit(&row, 1, &event).await.unwrap());
        assert!(!store.delete(&row.key, 1, &event).await.unwrap());
        assert_eq!(store.log(&row.key).await.unwrap().len(), 2);
    }
}

/// A payload as a newer binary may have written it, with fields, words and spaces that this one would
/// not write.
const NEWER: &str = r#"{"configuration":{"pipeline":"Newer", "expires_in":60,"x":1.50},
  "newer":{"y":[1E2]},"message":"m","started_at":null,"finished_at":null,"chunks":null}"#;

async fn payload(store: &SqlStore) -> String {
    let payload = sqlx::query_scalar("SELECT payload FROM tasks");
    payload.fetch_one(&store.pool).await.unwrap()
}

#[tokio::test]
async fn older_binary_dropped_fields() {
    for (store, ..) in on_each(Duration::ZERO).await {
        let key = create(&store).await.key;
        let newer = format!("UPDATE tasks SET payload = '{NEWER}', revision = revision + 1, ");
        by_hand(&store, &(newer.clone() + "status = 'Succeeded', ended_at = 0")).await.unwrap();
        for operations in
            [&["cancel"][..], &["fail"], &["start", "fail"], &["start", "retry", "cancel"]]
        {
            let (mut row, before) = store.read(&key).await.unwrap().unwrap();
            let mut loaded = row.task.revision();
            let update = Document::queued(&Configuration::default(), before.configuration);
            assert_eq!(update.configuration["pipeline"], "Newer");
            let mut done = row.task.update(Payload::new(update)).unwrap();
            for operation in operations {
                let event = Event::of(&done, "older", loaded, "");
                assert!(store.commit(&row, loaded, &event).await.unwrap());
                let document;
                (row, document) = store.read(&key).await.unwrap().unwrap();
                loaded = row.task.revision();
                row.task.edit(|payload| *payload = Payload::new(document));
                done = match *operation {
                    "cancel" => row.task.cancel(),
                    "fail" => row.task.fail(),
                    "start" => row.task.start(),
                    _ => row.task.retry(),
                }
                .unwrap();
            }
            let event = Event::of(&done, "older", loaded, "");
            assert!(store.commit(&row, loaded, &event).await.unwrap());
            assert_eq!(payload(&store).await, NEWER, "{operations:?}");
        }

        // A rewritten payload keeps what the binary does not know.
        by_hand(&store, &(newer + "status = 'Starting'")).await.unwrap();
        let (mut row, mut document) = store.read(&key).await.unwrap().unwrap();
        let loaded = row.task.revision();
        document.start();
        row.task.edit(|payload| *payload = Payload::new(document));
        let done = row.task.start().unwrap();
        let event = Event::of(&done, "older", loaded, "");
        assert!(store.commit(&row, loaded, &event).await.unwrap());
        let [before, after] = [NEWER, &payload(&store).await]
            .map(|text| serde_json::from_str::<serde_json::Value>(text).unwrap());
        assert_eq!(after["newer"], before["newer"]);
        assert_eq!(after["configuration"], before["configuration"]);
    }
}

/// The connection sets the isolation that the statements need, whatever the database's default.
#[tokio::test]
async fn the_isolation_is_the_connections() {
    let Some(postgres) = Postgres::start() else { return };
    let url = postgres.database("strict");
    let store = SqlStore::open(&url, Duration::ZERO).await.unwrap();
    by_hand(&store, "ALTER DATABASE strict SET default_transaction_isolation = 'serializable'")
        .await
        .unwrap();
    let store = SqlStore::open(&url, Duration::ZERO).await.unwrap();
    let isolation = sqlx::query_scalar("SHOW transaction_isolation").fetch_one(&store.pool);
    let isolation: String = isolation.await.unwrap();
    assert_eq!(isolation, "read committed");
}

#[tokio::test]
async fn conforms_on_sqlite() {
    let dir = TempDir::new().unwrap();
    conforms(&format!("sqlite://{}/tasks.db", dir.path().display())).await;
}

#[tokio::test]
async fn conforms_on_postgresql() {
    if let Some(postgres) = Postgres::start() {
        conforms(&postgres.database("conformance")).await;
    }
}
