//! The routes. Read `cancel` and `change` first; the other changes work the same way.

use std::time::Duration;

use axum::extract::{Query, Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, patch, post};
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use task_lifecycle::{Draft, Outcome, Status, Task, TransitionError};
use tokio::time::timeout;
use tower_http::trace::TraceLayer;
use uuid::Uuid;

use crate::answer::{Refusal, answer, etag};
use crate::commit::commit;
use crate::database::{Meaning, meaning};
use crate::document::{Document, content};
use crate::request::{App, Asked, Caller};
use crate::store::{Beside, Key, Note, Row, Tasks as _};

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
        .fallback(async || (StatusCode::NOT_FOUND, "No such route"))
        .method_not_allowed_fallback(async || NO_SUCH_METHOD)
        .layer(from_fn(limit_time))
        .layer(TraceLayer::new_for_http())
        .with_state(app)
}

const NO_SUCH_METHOD: (StatusCode, &str) = (StatusCode::METHOD_NOT_ALLOWED, "No such method");

/// HEAD must have no effect, so it cannot stand in for a GET that has one.
async fn only_get() -> impl IntoResponse {
    ([(header::ALLOW, "GET")], NO_SUCH_METHOD)
}

/// Gives a request up after a while.
async fn limit_time(request: Request, next: Next) -> Response {
    let answered = timeout(Duration::from_secs(30), next.run(request)).await;
    answered.unwrap_or_else(|_| Refusal::Unknown.into_response())
}

/// How often a commit is tried whose outcome is not known.
const TRIES: u32 = 5;

impl App {
    async fn load(&self, key: &Key) -> Result<Row, Refusal> {
        self.store.load(key).await?.ok_or(Refusal::NotFound)
    }

    /// Changes a task as its owner asked: loads, decides, commits; again if somebody was faster.
    async fn change(
        &self,
        key: &Key,
        asked: &Asked,
        mut decide: impl FnMut(&mut Draft<String>, &Beside, &mut Note) -> Result<(), Refusal>,
    ) -> Result<(Task<String>, Beside), Refusal> {
        loop {
            let Row { task, beside } = self.load(key).await?;
            asked.check(&task)?;
            let mut draft = Draft::new(task);
            let mut note = Note { by: asked.by.clone(), ..Note::default() };
            decide(&mut draft, &beside, &mut note)?;
            match commit(&self.store, key, &draft, &note, TRIES).await? {
                Outcome::Made => return Ok((draft.into_task(), beside)),
                Outcome::Lost => {}
                // A refusal of another try could be the echo of this one.
                Outcome::Open | Outcome::Unknown => return Err(Refusal::Unknown),
            }
        }
    }
}

/// Only in status `Starting`: a new task becomes `Cancelled`, an updating one reverts.
async fn cancel(
    State(app): State<App>,
    key: Key,
    asked: Asked,
) -> Result<impl IntoResponse, Refusal> {
    let decide = |draft: &mut Draft<String>, _: &Beside, note: &mut Note| {
        note.operations = "cancel";
        draft.cancel()?;
        Ok(())
    };
    let (task, _) = app.change(&key, &asked, decide).await?;
    Ok(etag(&task))
}

/// In `Starting` the same as `cancel`. In `Processing` it asks the worker to stop (202), which does
/// so unless the result comes first.
async fn stop(
    State(app): State<App>,
    key: Key,
    asked: Asked,
) -> Result<impl IntoResponse, Refusal> {
    let (mut queued_run, mut code) = (None, StatusCode::OK);
    let decide = |draft: &mut Draft<String>, beside: &Beside, note: &mut Note| {
        if *queued_run.get_or_insert(beside.queued_run) != beside.queued_run {
            let text = "Too late: the task was queued again".to_owned();
            return Err(Refusal::Request(StatusCode::CONFLICT, text));
        }
        if draft.status() == Status::Processing {
            code = StatusCode::ACCEPTED;
            note.operations = "stop";
            note.stop = Some(draft.run());
            draft.edit(|_| ()); // so that a result which has not seen it is not committed
        } else {
            code = StatusCode::OK;
            note.operations = "cancel";
            draft.cancel()?;
        }
        Ok(())
    };
    let (task, _) = app.change(&key, &asked, decide).await?;
    Ok((code, etag(&task)))
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

async fn create(
    State(app): State<App>,
    Caller(owner): Caller,
    asked: Asked,
    body: String,
) -> Result<impl IntoResponse, Refusal> {
    let Json(upload) = Json::<Upload>::from_bytes(body.as_bytes())?;
    let file = content(&upload.file)
        .ok_or_else(|| Refusal::bad("file: expected base64 or a data: URL, and not empty"))?;
    let name = upload.file_name.unwrap_or_else(|| "document".to_owned());
    let document = Document::queued(name, Map::new(), upload.settings)?;
    let task = Task::new(text(&document)?);
    let key = Key { id: Uuid::new_v4().to_string(), owner };
    let created = app.store.create(&key, &task, &file, &asked.by).await;
    let created_at = match created {
        Ok(Some(created_at)) => created_at,
        Ok(None) => return Err(Refusal::Unknown), // never seen: the id is taken
        Err(fault) if meaning(&fault) == Meaning::Unknown => match app.load(&key).await {
            Ok(row) => row.beside.created_at,
            Err(_) => return Err(Refusal::Unknown), // it may still arrive
        },
        Err(fault) => return Err(fault.into()),
    };
    app.queued.notify_one();
    Ok((etag(&task), Json(answer(&key.id, &task, &Beside::new(created_at), &asked.base, true)?)))
}

/// Queues a finished task again. Settings that the request does not name stay as they are.
async fn update(
    State(app): State<App>,
    key: Key,
    asked: Asked,
    body: String,
) -> Result<impl IntoResponse, Refusal> {
    let Json(settings) = Json::<Map<String, Value>>::from_bytes(body.as_bytes())?;
    let decide = |draft: &mut Draft<String>, _: &Beside, note: &mut Note| {
        note.operations = "update";
        draft.check(task_lifecycle::Operation::Update)?;
        let Document { file_name, configuration, .. } = Document::read(draft.payload())?;
        let document = Document::queued(file_name, configuration, settings.clone())?;
        draft.update(text(&document)?)?;
        Ok(())
    };
    let (task, beside) = app.change(&key, &asked, decide).await?;
    app.queued.notify_one();
    Ok((etag(&task), Json(answer(&key.id, &task, &beside, &asked.base, true)?)))
}

/// A document as it is stored.
fn text(document: &Document) -> Result<String, Refusal> {
    document.text().map_err(|_| Refusal::bad("the settings are nested too deep"))
}

/// Removes a completed task. Its log stays.
async fn delete(State(app): State<App>, key: Key, asked: Asked) -> Result<(), Refusal> {
    let mut is_open = false;
    loop {
        let Row { task, .. } = match app.store.load(&key).await? {
            Some(row) => row,
            None if is_open => return Ok(()), // gone is gone, whoever did it
            None => return Err(Refusal::NotFound),
        };
        asked.check(&task)?;
        let loaded = task.revision();
        task.delete().map_err(TransitionError::from)?;
        match app.store.delete(&key, loaded).await {
            Ok(true) => return Ok(()),
            Ok(false) => {}
            Err(fault) if meaning(&fault) == Meaning::Unknown => is_open = true,
            Err(fault) => return Err(fault.into()),
        }
    }
}

#[derive(Deserialize)]
struct Shown {
    include_chunks: Option<bool>,
}

async fn show(
    State(app): State<App>,
    key: Key,
    asked: Asked,
    Query(shown): Query<Shown>,
) -> Result<impl IntoResponse, Refusal> {
    let Row { task, beside } = app.load(&key).await?;
    let with_chunks = shown.include_chunks.unwrap_or(true);
    Ok((etag(&task), Json(answer(&key.id, &task, &beside, &asked.base, with_chunks)?)))
}

/// The newest tasks, without their chunks. One that cannot be read is named.
async fn list(
    State(app): State<App>,
    Caller(owner): Caller,
    asked: Asked,
) -> Result<Json<Value>, Refusal> {
    let (mut tasks, mut unreadable) = (Vec::new(), Vec::new());
    for (id, row) in app.store.list(&owner).await? {
        match row.and_then(|row| answer(&id, &row.task, &row.beside, &asked.base, false)) {
            Ok(task) => tasks.push(task),
            Err(fault) => {
                tracing::error!(task = id, "{fault}");
                unreadable.push(id);
            }
        }
    }
    let page =
        json!({ "tasks": tasks, "unreadable": unreadable, "has_more": false, "next_cursor": null });
    Ok(Json(page))
}

/// The log of a task. It keeps the reason of a failed update, which the revert removes.
async fn log(State(app): State<App>, key: Key) -> Result<impl IntoResponse, Refusal> {
    let log = app.store.log(&key).await?;
    if log.is_empty() { Err(Refusal::NotFound) } else { Ok(Json(log)) }
}

/// Whether the database answers.
async fn health(State(app): State<App>) -> Result<&'static str, (StatusCode, &'static str)> {
    match timeout(Duration::from_secs(2), app.store.ping()).await {
        Ok(Ok(())) => Ok("OK"),
        _ => Err((StatusCode::SERVICE_UNAVAILABLE, "The database does not answer")),
    }
}
