//! The routes. Read `cancel` first, and `change` in `commit.rs`; the others work the same way.

use std::collections::HashMap;
use std::time::Duration;

use axum::extract::{Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, patch, post};
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use task_lifecycle::{Draft, Status, Task, TransitionError};
use tokio::time::timeout;
use tower_http::timeout::TimeoutLayer;
use tower_http::trace::TraceLayer;

use crate::answer::{answer, etag};
use crate::commit::{Refusal, change};
use crate::database::{Meaning, meaning};
use crate::document::{Document, content};
use crate::request::{App, Asked};
use crate::store::{Beside, Note, Row, Tasks as _};

type Result<T> = std::result::Result<T, Refusal>;

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
    let too_long = (StatusCode::SERVICE_UNAVAILABLE, Duration::from_secs(30));
    Router::new()
        .nest("/api/v1", routes.clone())
        .merge(routes)
        .route("/health", get(health))
        .layer(TimeoutLayer::with_status_code(too_long.0, too_long.1))
        .layer(TraceLayer::new_for_http())
        .with_state(app)
}

/// HEAD must have no effect, so it cannot stand in for a GET that has one.
async fn only_get() -> impl IntoResponse {
    (StatusCode::METHOD_NOT_ALLOWED, [(header::ALLOW, "GET")], "Only GET")
}

/// How often a client's change is tried whose outcome is not known.
const TRIES: u32 = 5;

impl Asked {
    async fn load(&self) -> Result<Row> {
        self.app.store.load(&self.key).await?.ok_or(Refusal::NotFound)
    }

    /// Changes the task, if it is still at the revision that the client has seen.
    async fn change(
        &self,
        mut decide: impl FnMut(&mut Draft<String>, &Beside, &mut Note) -> Result<()>,
    ) -> Result<(Draft<String>, Beside)> {
        let changed = change(&self.app.store, &self.key, &self.by, TRIES, |draft, beside, note| {
            self.check(draft)?;
            decide(draft, beside, note)
        });
        changed.await
    }

    fn show(&self, task: &Task<String>, beside: &Beside, with_chunks: bool) -> Result<Response> {
        let answer = answer(&self.key.id, task, beside, &self.base, with_chunks)?;
        Ok((etag(task), Json(answer)).into_response())
    }
}

/// Only in status `Starting`: a new task becomes `Cancelled`, an updating one reverts.
async fn cancel(asked: Asked) -> Result<impl IntoResponse> {
    let cancelled = asked.change(|draft, _, note| {
        note.operations = "cancel";
        draft.cancel()?;
        Ok(())
    });
    let (task, _) = cancelled.await?;
    Ok(etag(&task))
}

/// In `Starting` the same as `cancel`. In `Processing` it asks the worker to stop (202), which does
/// so unless its result was faster.
async fn stop(asked: Asked) -> Result<impl IntoResponse> {
    let mut first = None;
    let stopped = asked.change(|draft, beside, note| ask_to_stop(&mut first, draft, beside, note));
    let (task, _) = stopped.await?;
    let is_asked = task.status() == Status::Processing;
    Ok((if is_asked { StatusCode::ACCEPTED } else { StatusCode::OK }, etag(&task)))
}

/// Asks for a stop of what is queued or worked on when it is asked `first`, and of nothing later.
pub fn ask_to_stop(
    first: &mut Option<i64>,
    draft: &mut Draft<String>,
    beside: &Beside,
    note: &mut Note,
) -> Result<()> {
    if *first.get_or_insert(beside.queued_run) != beside.queued_run {
        let text = "Too late: the task was queued again".to_owned();
        return Err(Refusal::Request(StatusCode::CONFLICT, text));
    }
    if draft.status() == Status::Processing {
        note.operations = "stop";
        note.stop = Some(draft.run());
        draft.edit(|_| ()); // so that a result which has not seen it loses its commit
    } else {
        note.operations = "cancel";
        draft.cancel()?;
    }
    Ok(())
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
    let Json(upload) = Json::<Upload>::from_bytes(body.as_bytes())?;
    let refused = || refused("file: expected base64 or a data: URL, and not empty");
    let file = content(&upload.file).ok_or_else(refused)?;
    let file_name = upload.file_name.unwrap_or_else(|| "document".to_owned());
    let task = Task::new(queued(file_name, Map::new(), upload.settings)?);
    let created_at = match asked.app.store.create(&asked.key, &task, &file, &asked.by).await {
        Err(fault) if meaning(&fault) == Meaning::Unknown => {
            // If it is not there, it may still arrive.
            asked.load().await.map_err(|_| Refusal::Unknown)?.beside.created_at
        }
        created => created?,
    };
    asked.app.queued.notify_one();
    asked.show(&task, &Beside { created_at, ..Beside::default() }, true)
}

/// Queues a finished task again. Settings that the request does not name stay as they are.
async fn update(asked: Asked, body: String) -> Result<Response> {
    let Json(settings) = Json::<Map<String, Value>>::from_bytes(body.as_bytes())?;
    let updated = asked.change(|draft, _, note| {
        note.operations = "update";
        let Document { file_name, configuration, .. } = Document::read(draft.payload())?;
        draft.update(queued(file_name, configuration, settings.clone())?)?;
        Ok(())
    });
    let (task, beside) = updated.await?;
    asked.app.queued.notify_one();
    asked.show(&task, &beside, true)
}

/// The payload of a task that is to be worked on.
fn queued(
    file_name: String,
    mut configuration: Map<String, Value>,
    named: Map<String, Value>,
) -> Result<String> {
    configuration.extend(named.into_iter().filter(|(_, value)| !value.is_null()));
    let message = "Task queued".to_owned();
    let document = Document { file_name, configuration, message, ..Document::default() };
    document.text().map_err(|_| refused("the settings are nested too deep"))
}

fn refused(text: &str) -> Refusal {
    Refusal::Request(StatusCode::BAD_REQUEST, text.to_owned())
}

/// Removes a completed task. Its log stays.
async fn delete(asked: Asked) -> Result<()> {
    let mut is_open = false;
    loop {
        let task = match asked.load().await {
            Err(Refusal::NotFound) if is_open => return Ok(()), // gone is gone, whoever did it
            Err(_) if is_open => return Err(Refusal::Unknown),
            loaded => loaded?.task,
        };
        asked.check(&task)?;
        let loaded = task.revision();
        task.delete().map_err(TransitionError::from)?;
        match asked.app.store.delete(&asked.key, loaded).await {
            Err(fault) if meaning(&fault) == Meaning::Unknown => is_open = true,
            deleted => {
                if deleted? {
                    return Ok(());
                }
            }
        }
    }
}

async fn show(asked: Asked, Query(query): Query<HashMap<String, String>>) -> Result<Response> {
    let Row { task, beside } = asked.load().await?;
    asked.show(&task, &beside, query.get("include_chunks").is_none_or(|word| word != "false"))
}

/// The newest tasks, without their chunks. One that cannot be read is named.
async fn list(asked: Asked) -> Result<Json<Value>> {
    let (mut tasks, mut unreadable) = (Vec::new(), Vec::new());
    for (id, row) in asked.app.store.list(&asked.key.owner).await? {
        match row.and_then(|row| answer(&id, &row.task, &row.beside, &asked.base, false)) {
            Ok(task) => tasks.push(task),
            Err(_) => unreadable.push(id),
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

/// Whether the database answers.
async fn health(State(app): State<App>) -> (StatusCode, &'static str) {
    match timeout(Duration::from_secs(2), app.store.ping()).await {
        Ok(Ok(_)) => (StatusCode::OK, "OK"),
        _ => (StatusCode::SERVICE_UNAVAILABLE, "The database does not answer"),
    }
}
