//! The service on SQLite and, where it is installed, on PostgreSQL.

mod clients;
mod clock;
mod hazards;
mod postgres;
mod program;
mod protocol;
mod seed;
mod statements;
mod suite;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use clap::Parser as _;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, ETAG};
use reqwest::{Client, Method, Response};
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, raw_sql};
use task_lifecycle::{Run, Task};
use task_service::database::Db;
use task_service::document::Document;
use task_service::options::Options;
use task_service::request::App;
use task_service::routes::router;
use task_service::store::{Beside, Key, Message, Row, SqlStore, Tasks};
use task_service::worker::Worker;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::sync::watch;

use postgres::Postgres;

/// Long enough for every lease that is not to end.
const LONG: Duration = Duration::from_hours(1);

/// A database of its own with a server on it, in this process, for the users `alice` and `bob`.
struct Service {
    _dir: TempDir,
    database: String,
    store: SqlStore,
    http: Client,
    url: String,
}

impl Service {
    /// One on each database.
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
        let store = SqlStore::open(&database, LONG).await.unwrap();
        let url = serve(&store).await;
        Self { _dir: dir, database, store, http: Client::new(), url }
    }

    fn is_sqlite(&self) -> bool {
        self.database.starts_with("sqlite:")
    }

    /// Runs statements as an operator would.
    async fn sql(&self, sql: &str) -> sqlx::Result<u64> {
        sql_on(&self.store.writers, sql).await
    }

    /// A number that a query returns.
    async fn number(&self, sql: &str) -> Option<i64> {
        let sql = AssertSqlSafe(sql);
        match &self.store.writers {
            Db::Sqlite(pool) => sqlx::query_scalar(sql).fetch_one(pool).await,
            Db::Postgres(pool) => sqlx::query_scalar(sql).fetch_one(pool).await,
        }
        .unwrap()
    }

    /// The store with another lease; a zero one is over at once.
    fn leasing(&self, lease: Duration) -> SqlStore {
        SqlStore { lease, ..self.store.clone() }
    }

    fn worker(&self, name: &str) -> Worker<SqlStore> {
        worker(self.store.clone(), name)
    }

    /// A worker whose leases are over at once.
    fn dying(&self, name: &str) -> Worker<SqlStore> {
        worker(self.leasing(Duration::ZERO), name)
    }

    async fn send(&self, key: &str, method: &str, path: &str, body: &str) -> Answer {
        self.request(key, method, path, body, &[]).await
    }

    async fn request(
        &self,
        key: &str,
        method: &str,
        path: &str,
        body: &str,
        headers: &[(&str, &str)],
    ) -> Answer {
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        let mut request = self.http.request(method, format!("{}{path}", self.url));
        request = request.header(AUTHORIZATION, key).body(body.to_owned());
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        Answer::of(request.send().await.unwrap()).await
    }

    async fn get(&self, path: &str) -> Answer {
        self.send("a", "GET", path, "").await
    }

    /// Alice creates a task with this document.
    async fn create(&self, text: &str) -> Key {
        let body =
            json!({ "file": format!("data:,{text}"), "chunk_processing": { "target_length": 2 } });
        let answer = self.send("a", "POST", "/tasks/parse", &body.to_string()).await;
        assert_eq!(answer.code, 200, "{answer:?}");
        alices(answer.json["task_id"].as_str().unwrap())
    }

    async fn update(&self, key: &Key, settings: &Value) -> Answer {
        self.send("a", "PATCH", &format!("/tasks/{}/parse", key.id), &settings.to_string()).await
    }

    async fn cancel(&self, key: &Key) -> Answer {
        self.get(&format!("/tasks/{}/cancel", key.id)).await
    }

    async fn stop(&self, key: &Key) -> Answer {
        self.send("a", "POST", &format!("/tasks/{}/stop", key.id), "").await
    }

    async fn show(&self, key: &Key) -> Answer {
        self.get(&format!("/tasks/{}", key.id)).await
    }

    async fn log(&self, key: &Key) -> Vec<Value> {
        let log = self.get(&format!("/tasks/{}/log", key.id)).await;
        log.json.as_array().unwrap().clone()
    }

    /// The operations that were done on a task.
    async fn operations(&self, key: &Key) -> Vec<String> {
        let log = self.log(key).await;
        log.iter().map(|event| event["operations"].as_str().unwrap().to_owned()).collect()
    }

    async fn status(&self, key: &Key) -> String {
        self.show(key).await.json["status"].as_str().unwrap().to_owned()
    }

    async fn load(&self, key: &Key) -> (Task<String>, Beside) {
        let Row { task, beside } = self.store.load(key).await.unwrap().unwrap();
        (task, beside)
    }

    /// Somebody edits a label, whatever the task does.
    async fn label(&self, key: &Key, label: &str) {
        let from = format!(
            "UPDATE tasks SET payload = replace(payload, '\"file_name\":\"', '\"file_name\":\"{label} '),
                 revision = revision + 1, operations = 'edit', changed_by = 'operator'
             WHERE task_id = '{}'",
            key.id
        );
        self.sql(&from).await.unwrap();
    }

    async fn receive(&self) -> Message {
        self.store.receive().await.unwrap().expect("a message")
    }

    /// A task that has succeeded.
    async fn succeeded(&self) -> Key {
        let key = self.create("one two three").await;
        handle(&self.worker("first"), &self.receive().await).await;
        assert_eq!(self.status(&key).await, "Succeeded");
        key
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

/// Serves a store, and returns the URL.
async fn serve(store: &SqlStore) -> String {
    let keys = [("a", "alice"), ("b", "bob")].map(|(key, user)| (key.into(), user.into()));
    let keys = Arc::new(HashMap::from(keys));
    let app = App { store: store.clone(), keys, queued: Arc::default() };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, router(app)).await });
    url
}

fn options(arguments: &[&str]) -> Options {
    Options::parse_from([&[""], arguments].concat())
}

fn worker<T: Tasks>(tasks: T, name: &str) -> Worker<T> {
    Worker {
        tasks,
        name: name.to_owned(),
        options: options(&["--work-millis", "0"]),
        queued: Arc::default(),
    }
}

/// Handles a message, by a worker that nobody stops.
async fn handle<T: Tasks>(worker: &Worker<T>, message: &Message) {
    worker.handle(message, &mut watch::channel(false).1).await.unwrap();
}

fn alices(id: &str) -> Key {
    Key { id: id.to_owned(), owner: "alice".to_owned() }
}

fn document(task: &Task<String>) -> Document {
    Document::read(task.payload()).unwrap()
}

/// A name that nothing else has.
fn fresh(name: &str) -> String {
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    format!("{name}_{}_{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed))
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
    async fn of(response: Response) -> Self {
        let header = |name| {
            let value = response.headers().get(name);
            value.map_or_else(String::new, |value| value.to_str().unwrap().to_owned())
        };
        let (code, content_type, etag) = (response.status(), header(CONTENT_TYPE), header(ETAG));
        let text = response.text().await.unwrap();
        let json = serde_json::from_str(&text).unwrap_or_default();
        Self { code: code.as_u16(), content_type, etag, text, json }
    }

    /// Asserts that it is a refusal: a status and plain text.
    fn refuses(&self, code: u16, text: &str) {
        assert_eq!((self.code, &*self.text), (code, text), "{self:?}");
        assert!(self.content_type.starts_with("text/plain"), "{self:?}");
    }
}
