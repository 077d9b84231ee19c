//! The service's rate as a multiple of that of the same routes written by hand:
//! `TMPDIR=/var/tmp cargo bench -p task-service`, for a disk as a server has it.

#[path = "../tests/service/postgres.rs"]
mod postgres;

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::routing::{get, post};
use axum::{Json, Router};
use reqwest::{Client, Method};
use serde_json::{Map, Value};
use sqlx::postgres::{PgPool, PgPoolOptions};
use sqlx::{SqlitePool, query, query_as, raw_sql};
use task_service::database::Db;
use task_service::document::{Document, answer};
use task_service::routes::{App, router};
use task_service::store::{Key, Row, SqlStore, Task};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use uuid::Uuid;

const SCHEMA: &str =
    "CREATE TABLE hand (id TEXT PRIMARY KEY, owner TEXT NOT NULL, status TEXT NOT NULL,
    payload TEXT NOT NULL);
    CREATE TABLE events_by_hand (task TEXT NOT NULL, event TEXT NOT NULL);
    CREATE INDEX events_by_hand_task ON events_by_hand (task)";
const BODY: &str = r#"{"file":"data:,one two three","chunk_processing":{"target_length":2}}"#;

fn failed<E>(_: E) -> StatusCode {
    StatusCode::INTERNAL_SERVER_ERROR
}

fn owner(headers: &HeaderMap) -> Result<&'static str, StatusCode> {
    let is_known = headers.get("authorization").is_some_and(|key| key == "a");
    is_known.then_some("alice").ok_or(StatusCode::UNAUTHORIZED)
}

// By hand: a conditional update and an event, in a transaction.
macro_rules! by_hand { ($name:ident, $pool:ty) => { mod $name {
    use super::*;

    type Pools = ($pool, $pool);
    type Answer<T> = Result<T, StatusCode>;

    fn shown(id: String, payload: String) -> Answer<Json<Value>> {
        let row = Row { key: Key { id, owner: String::new() }, ..Row::default() };
        answer(&row, &Task::new(payload), "http://localhost", true).map(Json).map_err(failed)
    }

    async fn create(State(pools): State<Pools>, headers: HeaderMap, body: String) -> Answer<Json<Value>> {
        let (owner, id) = (owner(&headers)?, Uuid::new_v4().to_string());
        let configuration: Map<String, Value> = serde_json::from_str(&body).map_err(failed)?;
        let payload = Document { configuration, ..Document::default() }.text().map_err(failed)?;
        let mut transaction = pools.1.begin().await.map_err(failed)?;
        let insert = query("INSERT INTO hand VALUES ($1, $2, 'Starting', $3)").bind(&id).bind(owner);
        insert.bind(&payload).execute(&mut *transaction).await.map_err(failed)?;
        let event = query("INSERT INTO events_by_hand VALUES ($1, 'create')").bind(&id);
        event.execute(&mut *transaction).await.map_err(failed)?;
        transaction.commit().await.map_err(failed)?;
        shown(id, payload)
    }

    async fn show(State(pools): State<Pools>, headers: HeaderMap, Path(id): Path<String>) -> Answer<Json<Value>> {
        let select = query_as("SELECT status, payload FROM hand WHERE id = $1 AND owner = $2");
        let found = select.bind(&id).bind(owner(&headers)?).fetch_optional(&pools.0).await;
        let (_, payload): (String, String) = found.map_err(failed)?.ok_or(StatusCode::NOT_FOUND)?;
        shown(id, payload)
    }

    async fn cancel(State(pools): State<Pools>, headers: HeaderMap, Path(id): Path<String>) -> Answer<()> {
        let mut transaction = pools.1.begin().await.map_err(failed)?;
        let sql = "UPDATE hand SET status = 'Cancelled' WHERE id = $1 AND owner = $2 AND status = 'Starting'";
        let update = query(sql).bind(&id).bind(owner(&headers)?).execute(&mut *transaction).await;
        if update.map_err(failed)?.rows_affected() == 0 {
            return Err(StatusCode::BAD_REQUEST);
        }
        let event = query("INSERT INTO events_by_hand VALUES ($1, 'cancel')").bind(&id);
        event.execute(&mut *transaction).await.map_err(failed)?;
        transaction.commit().await.map_err(failed)
    }

    pub(super) async fn routes(readers: $pool, writers: $pool) -> Router {
        raw_sql(SCHEMA).execute(&writers).await.unwrap();
        let routes = Router::new().route("/tasks/parse", post(create)).route("/tasks/{id}", get(show));
        routes.route("/tasks/{id}/cancel", get(cancel)).with_state((readers, writers))
    }
}}}

by_hand! { on_sqlite, SqlitePool }
by_hand! { on_postgres, PgPool }

/// Sends requests, sixteen at a time. Returns the seconds that they take, and the tasks' ids.
async fn time(client: &Client, method: &Method, urls: Vec<String>) -> (f64, Vec<String>) {
    let (start, mut clients) = (Instant::now(), JoinSet::new());
    for urls in urls.chunks(urls.len() / 16) {
        let (client, method, urls) = (client.clone(), method.clone(), urls.to_vec());
        clients.spawn(async move {
            let mut ids = Vec::new();
            for url in urls {
                let request = client.request(method.clone(), url).header("authorization", "a");
                let answer = request.body(BODY).send().await.unwrap().error_for_status().unwrap();
                let text = answer.text().await.unwrap();
                let task: Value = serde_json::from_str(&text).unwrap_or_default();
                ids.push(task["task_id"].as_str().unwrap_or_default().to_owned());
            }
            ids
        });
    }
    let ids = clients.join_all().await.concat();
    (start.elapsed().as_secs_f64(), ids)
}

#[tokio::main]
async fn main() {
    let dir = tempfile::tempdir().unwrap();
    let sqlite = format!("sqlite://{}/tasks.db", dir.path().display());
    let postgres = postgres::Postgres::shared().map(|postgres| ("PostgreSQL", postgres.database()));
    println!("| | create | show | cancel |\n|---|---:|---:|---:|");
    for (name, database) in [Some(("SQLite", sqlite)), postgres].into_iter().flatten() {
        let store = SqlStore::open(&database, Duration::from_secs(30)).await.unwrap();
        // By hand, pools are sqlx's own but for their size; SQLite writes by one connection.
        let by_hand = if let Db::Sqlite(writers) = store.writers.clone() {
            on_sqlite::routes(SqlitePool::connect(&database).await.unwrap(), writers).await
        } else {
            let pool = PgPoolOptions::new().max_connections(16).connect(&database).await.unwrap();
            on_postgres::routes(pool.clone(), pool).await
        };
        let keys = Arc::new([("a".to_owned(), "alice".to_owned())].into());
        let mut servers = Vec::new();
        for routes in [router(App { store, keys }), by_hand] {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            servers.push(format!("http://{}/tasks/", listener.local_addr().unwrap()));
            tokio::spawn(async move { axum::serve(listener, routes).await });
        }
        let (client, mut ratios) = (Client::new(), [const { Vec::new() }; 3]);
        for round in 0..60 {
            let mut tasks = [0, 1].map(|_| vec!["parse".to_owned(); 96]);
            let steps = [(Method::POST, ""), (Method::GET, ""), (Method::GET, "/cancel")];
            for (at, (method, route)) in steps.iter().enumerate() {
                let mut times = [0.0; 2];
                for server in [round % 2, 1 - round % 2] {
                    let url = |task| format!("{}{task}{route}", servers[server]);
                    let urls = tasks[server].iter().map(url).collect();
                    let (seconds, ids) = time(&client, method, urls).await;
                    times[server] = seconds;
                    if at == 0 {
                        tasks[server] = ids;
                    }
                }
                ratios[at].push(times[1] / times[0]);
            }
        }
        let [create, show, cancel] = ratios.map(|mut ratios| {
            ratios.sort_by(f64::total_cmp);
            ratios[ratios.len() / 2]
        });
        println!("| {name} | {create:.2} | {show:.2} | {cancel:.2} |");
    }
}
