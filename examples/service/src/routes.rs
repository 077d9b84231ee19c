//! The routes. Read `cancel` first; the other changes work the same way.

use std::time::Duration;

use axum::Json;
use axum::Router;
use axum::extract::{Query, State};
use axum::http::{StatusCode, header};
use axum::middleware::from_fn;
use axum::response::IntoResponse;
use axum::routing::{get, patch, post};
use serde_json::json;
use task_lifecycle::TransitionError;
use tokio::time::timeout;
use uuid::Uuid;

use crate::answer::{Refusal, answer, body, etag, listed, pieces};
use crate::document::Document;
use crate::openapi::openapi;
use crate::request::{App, Base, Caller, List, Named, Seen, Shown, Text};
use crate::server::LARGEST_BODY;
use crate::store::{Entry, Event, Key, Payload};
use crate::{observe, request};

/// A page ends with the task that makes its documents larger than this, in bytes as stored.
const LARGEST_PAGE: u64 = 4 << 20;

/// All routes, under the names that both generations of the API use.
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

/// HEAD must have no side effect, so it cannot stand in for a GET that has one.
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
    Named(name): Named,
    Base(base): Base,
    Text(body, _room): Text,
) -> Result<impl IntoResponse, Refusal> {
    let mut new = request::new(user, name, body).await?;
    loop {
        if let Some(request) = &new.request
            && let Some(first) = app.store.requested(&new.key.user, &request.key).await?
        {
            // The first answer again, whatever has become of the task since.
            if first.fingerprint != request.fingerprint {
                return Err(Refusal::bad("Idempotency-Key: it was another request's"));
            }
            let row = new.row(first.id, first.created_at);
            return Ok(answer(&row, &new.document, &base, true, None));
        }
        if let Some(row) = app.create(&new).await? {
            return Ok(answer(&row, &new.document, &base, true, None));
        } // else a concurrent request has the same key, or the same user and microsecond
        new.key.id = Uuid::new_v4();
    }
}

/// Queues a finished task again. Settings that the request does not name stay as they are.
async fn update(
    State(app): State<App>,
    key: Key,
    seen: Seen,
    Base(base): Base,
    Text(body, _room): Text,
) -> Result<impl IntoResponse, Refusal> {
    let configuration = request::configuration(&body)?;
    loop {
        let (mut row, before, _room) = app.read(&key).await?;
        seen.check(&row.task)?;
        let loaded = row.task.revision();
        let document = Document::queued(&configuration, before.configuration);
        let done = row.task.update(Payload::new(document.clone()))?;
        let event = Event::of(&done, &key.user, loaded, &document.message);
        if app.commit(&row, loaded, &event).await? {
            row.expires_at = None;
            return Ok(answer(&row, &document, &base, true, None));
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
    let (row, document, room) = app.read(&key).await?;
    Ok(answer(&row, &document, &base, with_chunks, room))
}

async fn list(
    State(app): State<App>,
    Caller(user): Caller,
    Base(base): Base,
    Query(list): Query<List>,
) -> Result<impl IntoResponse, Refusal> {
    let page = list.page()?;
    let mut entries = app.store.list(&user, &page).await?;
    let mut has_more = entries.len() == page.limit as usize;
    entries.truncate(page.limit as usize - 1);
    let (mut tasks, mut unreadable) = (Vec::new(), Vec::new());
    let (mut size, mut page_room, mut next_cursor) = (0, None, None);
    for Entry { id, created_at } in entries {
        if size > LARGEST_PAGE {
            has_more = true;
            break;
        }
        let found = match Uuid::try_parse(&id) {
            Ok(id) => app.read(&Key { user: user.clone(), id }).await,
            Err(fault) => Err(sqlx::Error::Decode(fault.into()).into()),
        };
        match found {
            Ok((row, document, room)) => {
                size += row.size;
                if room.is_some() && list.include_chunks {
                    size = u64::MAX; // the page ends: waiting for more room could deadlock
                    page_room = room;
                }
                tasks.push(pieces(&row, &document, &base, list.include_chunks));
            }
            Err(Refusal::NotFound) => {} // deleted or expired by now
            Err(Refusal::Outage(fault @ sqlx::Error::Decode(_))) => {
                tracing::error!(task = id, "{fault}");
                unreadable.push(id);
            }
            Err(fault) => return Err(fault),
        }
        next_cursor = Some(created_at);
    }
    let rest = json!({
        "unreadable": unreadable,
        "has_more": has_more,
        "next_cursor": next_cursor.filter(|_| has_more),
    });
    Ok(listed(tasks, &rest, page_room))
}

/// The log of a task. It keeps the message of a failed update, which the revert removes.
async fn events(State(app): State<App>, key: Key) -> Result<impl IntoResponse, Refusal> {
    app.load(&key).await?;
    Ok(Json(app.store.log(&key).await?))
}

/// The document as it was uploaded.
async fn file(State(app): State<App>, key: Key) -> Result<impl IntoResponse, Refusal> {
    let room = app.room(LARGEST_BODY.into()).await;
    let content = app.store.file(&key).await?.ok_or(Refusal::NotFound)?;
    let head = [
        (header::CONTENT_TYPE, "application/octet-stream".to_owned()),
        (header::CONTENT_LENGTH, content.len().to_string()),
    ];
    Ok((head, body([content], room)))
}

/// Whether the database answers. (The process ends if one of its workers does.)
async fn health(State(app): State<App>) -> Result<&'static str, (StatusCode, &'static str)> {
    let nobodys = Key { user: String::new(), id: Uuid::nil() };
    match timeout(Duration::from_secs(2), app.store.load(&nobodys)).await {
        Ok(Ok(_)) => Ok("OK"),
        _ => Err((StatusCode::SERVICE_UNAVAILABLE, "The database does not answer")),
    }
}
