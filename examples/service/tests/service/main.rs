//! The service on SQLite and, where it is installed, on PostgreSQL.
#![allow(clippy::wildcard_imports, reason = "all files of these tests use the same names")]

macro_rules! everywhere {
    ($($test:ident)*) => {
        mod on_each_database {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $test() {
                for service in crate::Service::everywhere().await {
                    super::$test(service).await;
                }
            })*
        }
    };
}

mod clients;
mod hazards;
mod postgres;
mod program;
mod protocol;
mod seed;
mod simulation;
mod statements;
mod suite;

use std::io::{Write as _, stderr};
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use clap::Parser as _;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, ETAG};
use reqwest::{Client, Method};
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, Error, Executor as _, PgPool, SqlitePool, query_scalar, raw_sql};
use task_lifecycle::{Revision, Run};
use task_service::commit::{Refusal, change};
use task_service::database::{Db, Meaning, meaning};
use task_service::document::{Document, Fault, cut};
use task_service::options::Options;
use task_service::routes::{App, ask_to_stop, router};
use task_service::store::{Draft, Key, Message, Note, Row, SqlStore, Task, Tasks};
use task_service::worker::Worker;
use tempfile::{NamedTempFile, TempDir};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use postgres::Postgres;
use program::{Process, SHIFTS_CLOCKS};

/// Says what is skipped where a person sees it: the test runner hides what a passing test prints.
fn skipped(what: &str) {
    _ = writeln!(stderr(), "SKIPPED: {what}");
}

/// Long enough for every lease that is not to end.
const LONG: Duration = Duration::from_hours(1);

/// A database of its own with a server on it, in this process, for the users `alice` and `bob`.
struct Service {
    _dir: TempDir,
    database: String,
    store: SqlStore,
    url: String,
}

#[derive(Debug)]
struct Answer {
    code: u16,
    content_type: String,
    etag: String,
    text: String,
    json: Value,
}

impl Answer {
    /// Asserts that it is a refusal: a status and plain text.
    fn refuses(&self, code: u16, text: &str) {
        assert_eq!((self.code, &*self.text), (code, text), "{self:?}");
        assert!(self.content_type.starts_with("text/plain"), "{self:?}");
    }
}

impl Service {
    async fn everywhere() -> Vec<Self> {
        let mut services = vec![Self::on(None).await];
        if let Some(postgres) = Postgres::shared() {
            services.push(Self::on(Some(postgres)).await);
        }
        services
    }

    async fn on(postgres: Option<&Postgres>) -> Self {
        let dir = TempDir::new().unwrap();
        let on_sqlite = || format!("sqlite://{}/tasks.db", dir.path().display());
        let database = postgres.map_or_else(on_sqlite, Postgres::database);
        let store = loop {
            match SqlStore::open(&database, LONG).await {
                Err(Error::PoolTimedOut) => {} // a busy disk takes longer than a server waits
                opened => break opened.unwrap(),
            }
        };
        let keys = [("a", "alice"), ("b", "bob")].map(|(key, user)| (key.into(), user.into()));
        let app = App { store: store.clone(), keys: Arc::new(keys.into()) };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, router(app)).await });
        Self { _dir: dir, database, store, url }
    }

    fn is_sqlite(&self) -> bool {
        self.database.starts_with("sqlite:")
    }

    /// Runs statements as an operator would.
    async fn sql(&self, sql: &str) -> sqlx::Result<u64> {
        sql_on(&self.store.writers, sql).await
    }

    async fn sql_of(&self, key: &Key, change: &str) {
        self.sql(&format!("{change} WHERE task_id = '{}'", key.id)).await.unwrap();
    }

    /// A number that a query returns.
    async fn number(&self, sql: &str) -> Option<i64> {
        let sql = AssertSqlSafe(sql);
        match &self.store.writers {
            Db::Sqlite(pool) => query_scalar(sql).fetch_one(pool).await.unwrap(),
            Db::Postgres(pool) => query_scalar(sql).fetch_one(pool).await.unwrap(),
        }
    }

    fn worker(&self, name: &str) -> Worker<SqlStore> {
        worker(self.store.clone(), name)
    }

    /// A worker that dies with its run, whose lease is over at once.
    async fn dies(&self, message: &Message) {
        let store = SqlStore { lease: Duration::ZERO, ..self.store.clone() };
        worker(store, "dead").start(message).await.unwrap().expect("started");
        while self.status(&message.key).await == "Processing" {
            self.worker("sweeper").sweep().await;
        }
    }

    async fn send(&self, key: &str, method: &str, path: &str, body: &str) -> Answer {
        self.request([key, method, path, body], None).await
    }

    async fn request(&self, asked: [&str; 4], tag: Option<&str>) -> Answer {
        let [key, method, path, body] = asked;
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        let mut request = Client::new().request(method, format!("{}{path}", self.url));
        request = request.header(AUTHORIZATION, key).body(body.to_owned());
        request = request.header("X-Request-Id", "one").header("X-Forwarded-Proto", "https");
        if let Some(tag) = tag {
            request = request.header("If-Match", tag);
        }
        let response = request.send().await.unwrap();
        let header = |name| response.headers().get(name).map(|value| value.to_str().unwrap());
        let [content_type, etag] =
            [CONTENT_TYPE, ETAG].map(|name| header(name).unwrap_or_default().to_owned());
        let (code, text) = (response.status().as_u16(), response.text().await.unwrap());
        let json = serde_json::from_str(&text).unwrap_or_default();
        Answer { code, content_type, etag, text, json }
    }

    async fn get(&self, path: &str) -> Answer {
        self.send("a", "GET", path, "").await
    }

    async fn post(&self, body: &Value) -> Key {
        let answer = self.send("a", "POST", "/tasks/parse", &body.to_string()).await;
        assert_eq!(answer.code, 200, "{answer:?}");
        alices(answer.json["task_id"].as_str().unwrap())
    }

    /// Alice creates a task with this document.
    async fn create(&self, text: &str) -> Key {
        let chunking = json!({ "target_length": 2 });
        self.post(&json!({ "file": format!("data:,{text}"), "chunk_processing": chunking })).await
    }

    async fn update(&self, key: &Key, settings: &Value) -> Answer {
        self.send("a", "PATCH", &format!("/tasks/{}/parse", key.id), &settings.to_string()).await
    }

    /// `cancel`, `log`; `` shows the task.
    async fn ask(&self, key: &Key, what: &str) -> Answer {
        let method = if what == "stop" { "POST" } else { "GET" };
        self.send("a", method, format!("/tasks/{}/{what}", key.id).trim_end_matches('/'), "").await
    }

    async fn cancel(&self, key: &Key) -> Answer {
        self.ask(key, "cancel").await
    }

    async fn show(&self, key: &Key) -> Answer {
        self.ask(key, "").await
    }

    async fn status(&self, key: &Key) -> String {
        self.load(key).await.status
    }

    async fn log(&self, key: &Key) -> Vec<Value> {
        self.ask(key, "log").await.json.as_array().unwrap().clone()
    }

    /// The operations that were done on a task.
    async fn operations(&self, key: &Key) -> Vec<String> {
        let log = self.log(key).await;
        log.iter().map(|event| event["operations"].as_str().unwrap().to_owned()).collect()
    }

    async fn load(&self, key: &Key) -> Row {
        self.store.load(key).await.unwrap().unwrap()
    }

    async fn task(&self, key: &Key) -> Task {
        self.load(key).await.task().unwrap()
    }

    /// Somebody edits a label, whatever the task does.
    async fn label(&self, key: &Key) {
        let labelled = change(&self.store, key, "operator", |draft, _, _| {
            let mut document = Document::read(draft.payload())?;
            document.file_name.insert_str(0, "labelled ");
            document.set(draft)?;
            Ok("edit")
        });
        labelled.await.unwrap();
    }

    async fn receive(&self) -> Message {
        self.store.receive().await.unwrap().expect("a message")
    }

    /// A task that has succeeded.
    async fn succeeded(&self) -> Key {
        let key = self.create("one two three").await;
        self.work().await;
        assert_eq!(self.status(&key).await, "Succeeded");
        key
    }

    /// Somebody handles the next message.
    async fn work(&self) {
        let message = self.receive().await;
        self.worker("some").handle(&message, &CancellationToken::new()).await.unwrap();
    }

    /// An update of a task, started by this worker.
    async fn started(&self, worker: &Worker<SqlStore>) -> (Key, Run) {
        let key = self.succeeded().await;
        assert_eq!(self.update(&key, &json!({ "words": "new" })).await.code, 200);
        let (run, _) = worker.start(&self.receive().await).await.unwrap().expect("started");
        (key, run)
    }
}

async fn sql_on(db: &Db, sql: &str) -> sqlx::Result<u64> {
    let sql = raw_sql(AssertSqlSafe(sql));
    match db {
        Db::Sqlite(pool) => sql.execute(pool).await.map(|done| done.rows_affected()),
        Db::Postgres(pool) => sql.execute(pool).await.map(|done| done.rows_affected()),
    }
}

fn worker<T: Tasks>(tasks: T, name: &str) -> Worker<T> {
    let options = Options::parse_from(["", "--work-millis", "0"]);
    Worker { tasks, work: cut, name: format!("worker {name}"), options }
}

fn alices(id: &str) -> Key {
    Key { id: id.to_owned(), owner: "alice".to_owned() }
}
