//! What a client can ask for. Read `cancel` first: the other changes are like it.

use std::time::Duration;

use axum::Json;
use axum::Router;
use axum::extract::{Query, State};
use axum::http::{StatusCode, header};
use axum::middleware::from_fn;
use axum::response::IntoResponse;
use axum::routing::{get, patch, post};
use serde_json::{Map, json};
use task_lifecycle::TransitionError;
use tokio::time::timeout;
use uuid::Uuid;

use crate::answer::{Refusal, answer, etag, task};
use crate::document::{Configuration, Document};
use crate::observe;
use crate::openapi::openapi;
use crate::request::{App, Base, Caller, List, Seen, Shown, Upload, json};
use crate::store::{Event, Key, New, Payload};

/// The routes, under the names of both generations of the API.
pub fn router(app: App) -> Router {
    let of = |name: &str| {
        Router::new()
            .route(&format!("/{name}/parse"), post(create))
            .route(&format!("/{name}/{{task_id}}"), get(show).delete(delete))
            .route(&format!("/{name}/{{task_id}}/parse"), patch(update).get(show))
            .route(
                &format!("/{name}/{{task_id}}/cancel"),
                get(cancel).head(only_get).fallback(only_get),
            )
            .route(&format!("/{name}/{{task_id}}/events"), get(events))
            .route(&format!("/{name}/{{task_id}}/file"), get(file))
    };
    let routes = of("tasks").merge(of("task")).route("/tasks", get(list));
    Router::new()
        .nest("/api/v1", routes.clone())
        .merge(routes)
        .route("/health", get(health))
        .route("/metrics", get(observe::metrics))
        .route("/docs/openapi.json", get(async || Json(openapi())))
        .fallback(async || (StatusCode::NOT_FOUND, "No such route"))
        .method_not_allowed_fallback(async || NO_SUCH_METHOD)
        .layer(from_fn(observe::request))
        .with_state(app)
}

const NO_SUCH_METHOD: (StatusCode, &str) = (StatusCode::METHOD_NOT_ALLOWED, "No such method");

/// A HEAD must not do what a GET does, where a GET does something.
async fn only_get() -> impl IntoResponse {
    ([(header::ALLOW, "GET")], NO_SUCH_METHOD)
}

/// Only in status `Starting`: a new task becomes `Cancelled`, an updating one reverts.
async fn cancel(
    State(app): State<App>,
    key: Key,
    seen: Seen,
) -> Result<impl IntoResponse, Refusal> {
    loop {
        let mut row = app.load(&key).await?;
        seen.check(&row.task)?;
        let loaded = row.task.revision();
        let done = row.task.cancel()?;
        let event = Event::of(&done, &key.user, loaded, "Task cancelled");
        if app.commit(&row, loaded, &event).await? {
            return Ok(etag(&row.task));
        } // else someone was faster: load again, decide again
    }
}

async fn create(
    State(app): State<App>,
    Caller(user): Caller,
    Base(base): Base,
    body: String,
) -> Result<impl IntoResponse, Refusal> {
    let upload: Upload = json(&body)?;
    let mut configuration: Configuration = json(&body)?;
    configuration.chunk_processing.get_or_insert_default();
    let document = Document::queued(&configuration, Map::new());
    let mut new = New::of(user, upload.name()?, document, upload.content()?);
    loop {
        if let Some(row) = app.create(&new).await? {
            return Ok(answer(&row, &new.document, &base, true));
        } // else the user has a task of the same microsecond
        new.key.id = Uuid::new_v4();
    }
}

/// Queues a finished task again. What the configuration does not name stays as it is.
async fn update(
    State(app): State<App>,
    key: Key,
    seen: Seen,
    Base(base): Base,
    body: String,
) -> Result<impl IntoResponse, Refusal> {
    let configuration: Configuration = json(&body)?;
    loop {
        let (mut row, before) = app.read(&key).await?;
        seen.check(&row.task)?;
        let loaded = row.task.revision();
        let document = Document::queued(&configuration, before.configuration);
        let done = row.task.update(Payload::new(document.clone()))?;
        let event = Event::of(&done, &key.user, loaded, &document.message);
        if app.commit(&row, loaded, &event).await? {
            row.expires_at = None;
            return Ok(answer(&row, &document, &base, true));
        }
    }
}

/// Removes a completed task and its file.
async fn delete(State(app): State<App>, key: Key, seen: Seen) -> Result<(), Refusal> {
    loop {
        let row = app.load(&key).await?;
        seen.check(&row.task)?;
        let loaded = row.task.revision();
        row.task.delete().map_err(TransitionError::from)?;
        let event = Event::new(&key.user, "delete", loaded, None);
        if app.delete(&key, loaded, &event).await? {
            return Ok(());
        }
    }
}

async fn show(
    State(app): State<App>,
    key: Key,
    Base(base): Base,
    Query(shown): Query<Shown>,
) -> Result<impl IntoResponse, Refusal> {
    let with_chunks = shown.include_chunks.unwrap_or(true);
    let (row, document) = app.read(&key).await?;
    Ok(answer(&row, &document, &base, with_chunks))
}

async fn list(
    State(app): State<App>,
    Caller(user): Caller,
    Base(base): Base,
    Query(list): Query<List>,
) -> Result<impl IntoResponse, Refusal> {
    let page = list.page()?;
    let mut entries = app.store.list(&user, &page).await?;
    let has_more = entries.len() == page.limit as usize;
    entries.truncate(page.limit as usize - 1);
    let next_cursor = entries.last().filter(|_| has_more).map(|entry| entry.created_at);
    let (mut tasks, mut unreadable) = (Vec::new(), Vec::new());
    for entry in entries {
        match entry.task {
            Some((row, document)) => tasks.push(task(&row, &document, &base, list.include_chunks)),
            None => unreadable.push(entry.id),
        }
    }
    Ok(Json(json!({
        "tasks": tasks,
        "unreadable": unreadable,
        "has_more": has_more,
        "next_cursor": next_cursor,
    })))
}

/// What happened. The message of an update that failed stays here.
async fn events(State(app): State<App>, key: Key) -> Result<impl IntoResponse, Refusal> {
    app.load(&key).await?;
    Ok(Json(app.store.log(&key).await?))
}

/// The document, as it was uploaded.
async fn file(State(app): State<App>, key: Key) -> Result<impl IntoResponse, Refusal> {
    let content = app.store.file(&key).await?.ok_or(Refusal::NotFound)?;
    Ok(([(header::CONTENT_TYPE, "application/octet-stream")], content))
}

/// Whether the database answers. (If a worker of this process ends, so does the process.)
async fn health(State(app): State<App>) -> Result<&'static str, (StatusCode, &'static str)> {
    let nobodys = Key { user: String::new(), id: Uuid::nil() };
    match timeout(Duration::from_secs(2), app.store.load(&nobodys)).await {
        Ok(Ok(_)) => Ok("OK"),
        _ => Err((StatusCode::SERVICE_UNAVAILABLE, "The database does not answer")),
    }
}
