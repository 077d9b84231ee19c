//! The routes. Read `cancel` first, and `change` in `commit.rs`; the others work the same way.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{FromRequestParts, Path, Query, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderName, StatusCode, header};
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, patch, post};
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use task_lifecycle::{Status, TransitionError};
use tokio::time::timeout;
use tower_http::trace::TraceLayer;
use uuid::Uuid;

use crate::commit::{Decide, Refusal, Result, change};
use crate::database::{Meaning, meaning};
use crate::document::{Document, answer, content};
use crate::store::{Draft, Key, Row, SqlStore, Task, Tasks as _};

/// All routes, under the names that both generations of the API use.
pub fn router(app: App) -> Router {
    let of = |name: &str| {
        let cancel = get(cancel).head(only_get).fallback(only_get);
        Router::new()
            .route(&format!("/{name}/parse"), post(create))
            .route(&format!("/{name}/{{task_id}}"), get(show).delete(delete))
            .route(&format!("/{name}/{{task_id}}/parse"), patch(update).get(show))
            .route(&format!("/{name}/{{task_id}}/cancel"), cancel)
            .route(&format!("/{name}/{{task_id}}/stop"), post(stop))
            .route(&format!("/{name}/{{task_id}}/log"), get(log))
    };
    let routes = of("tasks").merge(of("task")).route("/tasks", get(list));
    Router::new()
        .nest("/api/v1", routes.clone())
        .merge(routes)
        .route("/health", get(health))
        .layer(from_fn(in_time))
        .layer(TraceLayer::new_for_http())
        .with_state(app)
}

/// Answers in time, whatever becomes of the request then.
async fn in_time(request: Request, next: Next) -> Response {
    let answer = timeout(LONGEST, next.run(request)).await;
    answer.unwrap_or_else(|_| Refusal::Unknown.into_response())
}

/// HEAD must have no effect, so it cannot stand in for a GET that has one.
async fn only_get() -> impl IntoResponse {
    (StatusCode::METHOD_NOT_ALLOWED, [(header::ALLOW, "GET")], "Only GET")
}

/// The longest time that a request may take.
const LONGEST: Duration = Duration::from_secs(30);

impl Asked {
    async fn load(&self) -> Result<Row> {
        self.app.store.load(&self.key).await?.ok_or(Refusal::NotFound)
    }

    /// Changes the task, if it is still at the revision that the client has seen.
    async fn change(&self, mut decide: impl Decide) -> Result<(Draft, Row)> {
        let changed = change(&self.app.store, &self.key, &self.by, |draft, row, note| {
            self.check(draft)?;
            decide(draft, row, note)
        });
        changed.await
    }

    /// Refuses if the client has seen another revision.
    pub fn check(&self, task: &Task) -> Result<()> {
        let current = tag(task);
        let is_current = |seen: &String| seen == "*" || *seen == current;
        if self.if_match.as_ref().is_none_or(|tags| tags.iter().any(is_current)) {
            return Ok(());
        }
        let text = format!("If-Match: the task is at {current}");
        Err(refused(StatusCode::PRECONDITION_FAILED, &text))
    }

    fn show(&self, row: &Row, task: &Task, with_chunks: bool) -> Result<Response> {
        Ok((etag(task), Json(answer(row, task, &self.base, with_chunks)?)).into_response())
    }
}

/// Only in status `Starting`: a new task becomes `Cancelled`, an updating one reverts.
async fn cancel(asked: Asked) -> Result<impl IntoResponse> {
    let cancelled = asked.change(|draft, _, _| {
        draft.cancel()?;
        Ok("cancel")
    });
    let (task, _) = cancelled.await?;
    Ok(etag(&task))
}

/// In `Starting` the same as `cancel`. In `Processing` it asks the worker to stop (202), which does
/// so unless its result was faster.
async fn stop(asked: Asked) -> Result<impl IntoResponse> {
    let (task, _) = asked.change(ask_to_stop()).await?;
    let is_asked = task.status() == Status::Processing;
    Ok((if is_asked { StatusCode::ACCEPTED } else { StatusCode::OK }, etag(&task)))
}

/// Decides to stop what is queued or worked on at first, and nothing that is queued later.
pub fn ask_to_stop() -> impl Decide {
    let mut first = None;
    move |draft, row, note| {
        if *first.get_or_insert(row.queued_run) != row.queued_run {
            return Err(refused(StatusCode::CONFLICT, "Too late: the task was queued again"));
        }
        if draft.status() != Status::Processing {
            draft.cancel()?;
            return Ok("cancel");
        }
        if row.is_stopped() {
            return Ok(""); // somebody has asked already
        }
        note.stop = Some(draft.run());
        draft.edit(|_| ()); // so that a result which has not seen it loses its commit
        Ok("stop")
    }
}

/// The document of a new task; its settings stand beside these fields.
#[derive(Deserialize)]
struct Upload {
    /// Base64, or a `data:` URL.
    file: String,
    file_name: Option<String>,
    #[serde(flatten)]
    settings: Map<String, Value>,
}

async fn create(asked: Asked, body: String) -> Result<Response> {
    let upload: Upload = parsed(&body)?;
    let file = content(&upload.file).ok_or_else(|| bad("file: expected base64 or a data: URL"))?;
    let file_name = upload.file_name.unwrap_or_else(|| "document".to_owned());
    let named = Document { file_name, ..Document::default() };
    let task = Task::new(queued(named, upload.settings)?);
    let added = asked.app.store.add(&asked.key, &task, &file, &asked.by).await;
    let created_at = added.map_err(lost)?;
    asked.show(&Row { key: asked.key.clone(), created_at, ..Row::default() }, &task, true)
}

/// Queues a finished task again. Settings that the request does not name stay as they are.
async fn update(asked: Asked, body: String) -> Result<Response> {
    let settings: Map<String, Value> = parsed(&body)?;
    let updated = asked.change(|draft, _, _| {
        let payload = queued(Document::read(draft.payload())?, settings.clone())?;
        draft.update(payload)?;
        Ok("update")
    });
    let (task, row) = updated.await?;
    asked.show(&row, &task, true)
}

/// The payload of a task that is to be worked on: its settings are kept, but for what is named.
fn queued(old: Document, named: Map<String, Value>) -> Result<String> {
    let Document { file_name, mut configuration, .. } = old;
    configuration.extend(named.into_iter().filter(|(_, value)| !value.is_null()));
    let message = "Task queued".to_owned();
    let document = Document { file_name, configuration, message, ..Document::default() };
    document.text().map_err(|_| bad("the settings are nested too deep"))
}

fn parsed<'a, T: Deserialize<'a>>(body: &'a str) -> Result<T> {
    serde_json::from_str(body).map_err(|fault| bad(&fault.to_string()))
}

fn bad(text: &str) -> Refusal {
    refused(StatusCode::BAD_REQUEST, text)
}

/// A write whose answer may be lost.
fn lost(fault: sqlx::Error) -> Refusal {
    if meaning(&fault) == Meaning::Unknown { Refusal::Unknown } else { fault.into() }
}

/// Removes a completed task. Its log stays.
async fn delete(asked: Asked) -> Result<()> {
    let mut is_deleted = false;
    while !is_deleted {
        let task = asked.load().await?.task()?;
        asked.check(&task)?;
        let loaded = task.revision();
        task.delete().map_err(TransitionError::from)?;
        is_deleted = asked.app.store.delete(&asked.key, loaded).await.map_err(lost)?;
    }
    Ok(())
}

async fn show(asked: Asked, Query(query): Query<HashMap<String, String>>) -> Result<Response> {
    let row = asked.load().await?;
    let with_chunks = query.get("include_chunks").is_none_or(|word| word != "false");
    asked.show(&row, &row.task()?, with_chunks)
}

/// The newest tasks, without their chunks. One that cannot be read is named.
async fn list(asked: Asked) -> Result<Json<Value>> {
    let (mut tasks, mut unreadable) = (Vec::new(), Vec::new());
    for row in asked.app.store.list(&asked.key.owner).await? {
        match row.task().and_then(|task| answer(&row, &task, &asked.base, false)) {
            Ok(task) => tasks.push(task),
            Err(_) => unreadable.push(row.key.id),
        }
    }
    Ok(Json(json!({ "tasks": tasks, "unreadable": unreadable, "has_more": false })))
}

/// The log of a task. It keeps the reason of a failed update, which the revert removes.
async fn log(asked: Asked) -> Result<impl IntoResponse> {
    let log = asked.app.store.log(&asked.key).await?;
    let body = log.first().map(|_| format!("[{}]", log.join(",")));
    Ok(([(header::CONTENT_TYPE, "application/json")], body.ok_or(Refusal::NotFound)?))
}

/// Answers 200 if the database answers.
async fn health(State(app): State<App>) -> (StatusCode, &'static str) {
    match timeout(Duration::from_secs(2), app.store.ping()).await {
        Ok(Ok(_)) => (StatusCode::OK, "OK"),
        _ => (StatusCode::SERVICE_UNAVAILABLE, "The database does not answer"),
    }
}

/// The state that all routes share.
#[derive(Clone)]
pub struct App {
    pub store: SqlStore,
    /// The user of each API key.
    pub keys: Arc<HashMap<String, String>>,
}

/// A request of somebody whose API key is in `Authorization`; there is no scheme before the key.
pub struct Asked {
    pub app: App,
    /// The caller, and the task in the path, or a new one.
    pub key: Key,
    /// The request's name for the log: its `X-Request-Id`, or another.
    pub by: String,
    /// The server's address as the client has it, for the URLs in answers.
    pub base: String,
    /// The entity tags in `If-Match`; `None` if there is no such header.
    if_match: Option<Vec<String>>,
}

impl FromRequestParts<App> for Asked {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self> {
        let path = Path::<HashMap<String, String>>::from_request_parts(parts, app).await;
        let text = |name| parts.headers.get(name).and_then(|value| value.to_str().ok());
        let owner = text("authorization").and_then(|key| app.keys.get(key));
        let owner = owner.ok_or_else(|| refused(StatusCode::UNAUTHORIZED, "Unauthorized"))?.clone();
        let new_id = || Uuid::new_v4().to_string();
        let id = match path.map_err(|_| Refusal::NotFound)?.remove("task_id") {
            None => new_id(),
            Some(id) if Uuid::try_parse(&id).is_ok() => id,
            Some(_) => return Err(Refusal::NotFound), // malformed: there is no such task
        };
        let by = text("x-request-id").filter(|id| (1..=64).contains(&id.len()));
        let by = format!("request {}", by.map_or_else(new_id, str::to_owned));
        let scheme = text("x-forwarded-proto").unwrap_or("http"); // of the proxy that ends TLS
        let base = format!("{scheme}://{}", text("host").unwrap_or_default());
        let tags = parts.headers.get_all(header::IF_MATCH).iter();
        let tags = tags.flat_map(|line| line.to_str().unwrap_or_default().split(','));
        let tags = tags.map(|tag| tag.trim().to_owned()).collect();
        let if_match = parts.headers.contains_key(header::IF_MATCH).then_some(tags);
        Ok(Self { app: app.clone(), key: Key { id, owner }, by, base, if_match })
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let text = self.to_string();
        let (status, text) = match self {
            Self::Request(status, _) => (status, &*text),
            Self::NotFound => (StatusCode::NOT_FOUND, &*text),
            Self::Status(_) | Self::Run(_) => (StatusCode::BAD_REQUEST, &*text),
            Self::Unknown => (StatusCode::SERVICE_UNAVAILABLE, &*text),
            Self::Store(fault) if meaning(&fault) == Meaning::NotDone => (
                StatusCode::SERVICE_UNAVAILABLE,
                "Nothing was done: the database is busy, try again",
            ),
            Self::Store(_) => (StatusCode::INTERNAL_SERVER_ERROR, "Server error"),
        };
        tracing::info!("refused: {text}");
        (status, text.to_owned()).into_response()
    }
}

pub fn refused(status: StatusCode, text: &str) -> Refusal {
    Refusal::Request(status, text.to_owned())
}

/// The revision as an entity tag, for the client to send back in `If-Match`.
pub fn tag(task: &Task) -> String {
    format!("\"{}\"", task.revision())
}

pub fn etag(task: &Task) -> [(HeaderName, String); 1] {
    [(header::ETAG, tag(task))]
}
