//! What a client can ask for. Read `cancel` first: the other changes are like it.

use axum::Json;
use axum::Router;
use axum::body::Bytes;
use axum::extract::rejection::{BytesRejection, QueryRejection};
use axum::extract::{DefaultBodyLimit, Query, State};
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::{get, patch, post};
use chrono::{DateTime, SubsecRound, Utc};
use serde_json::json;
use task_lifecycle::Task;
use utoipa::OpenApi;
use uuid::Uuid;

use crate::answer::{Refusal, TaskResponse, answer, etag};
use crate::document::{Configuration, Document};
use crate::openapi::{Docs, Refused};
use crate::request::{App, Base, Caller, Expected, List, Shown, Upload, is_expired, json};
use crate::store::{Event, Key, Note, Row};

/// The largest body, in bytes.
pub const LARGEST_BODY: usize = 16 << 20;

/// The routes, under the names of both generations of the API.
pub fn router(app: App) -> Router {
    let of = |name: &str| {
        Router::new()
            .route(&format!("/{name}/parse"), post(create))
            .route(&format!("/{name}/{{task_id}}"), get(show).delete(delete))
            .route(
                &format!("/{name}/{{task_id}}/parse"),
                patch(update).get(show),
            )
            .route(&format!("/{name}/{{task_id}}/cancel"), get(cancel))
            .route(&format!("/{name}/{{task_id}}/events"), get(events))
            .route(&format!("/{name}/{{task_id}}/file"), get(file))
    };
    let routes = of("tasks").merge(of("task")).route("/tasks", get(list));
    Router::new()
        .nest("/api/v1", routes.clone())
        .merge(routes)
        .route("/health", get(async || "OK"))
        .route("/docs/openapi.json", get(async || Json(Docs::openapi())))
        .fallback(async || (StatusCode::NOT_FOUND, "No such route"))
        .method_not_allowed_fallback(async || (StatusCode::METHOD_NOT_ALLOWED, "No such method"))
        .layer(DefaultBodyLimit::max(LARGEST_BODY))
        .with_state(app)
}

/// Cancel Task
///
/// Cancel a task that hasn't started processing yet:
/// - For new tasks: Status will be updated to `Cancelled`
/// - For updating tasks: Task will revert to the previous state
///
/// Requirements:
/// - Task must have status `Starting`
#[utoipa::path(
    get, path = "/tasks/{task_id}/cancel", tag = "Tasks", operation_id = "cancel_task_route",
    params(("task_id" = Option<String>, Path, description = "Id of the task to cancel")),
    responses(
        (status = 200, description = "Task cancelled successfully"),
        (status = 400, description = "Task cannot be cancelled in its current state", body = String, content_type = "text/plain"),
        (status = 401, description = "Unauthorized", body = String, content_type = "text/plain"),
        (status = 404, description = "Task not found", body = String, content_type = "text/plain"),
        (status = 500, description = "Server error", body = String, content_type = "text/plain"),
    ),
    security(("api_key" = [])),
)]
pub(crate) async fn cancel(
    State(app): State<App>,
    key: Key,
    expected: Expected,
) -> Result<impl IntoResponse, Refusal> {
    loop {
        let mut row = app.load(&key).await?;
        let loaded = row.task.revision();
        expected.check(&row.task)?;
        let done = row.task.cancel()?;
        if !done.reverted {
            row.task
                .edit(|document| document.finish(now(), "Task cancelled"));
        }
        let note = Note::of(&done, &row.task, &key.user);
        if app.store.commit(&row, loaded, &note).await? {
            return Ok(etag(&row.task));
        } // else someone was faster: load again, decide again
    }
}

/// Create Parse Task
///
/// Queues a document.
#[utoipa::path(
    post, path = "/tasks/parse", tag = "Tasks",
    request_body = Upload,
    responses((status = 200, description = "The task", body = TaskResponse), Refused),
    security(("api_key" = [])),
)]
pub(crate) async fn create(
    State(app): State<App>,
    Caller(user): Caller,
    Base(base): Base,
    body: Result<Bytes, BytesRejection>,
) -> Result<impl IntoResponse, Refusal> {
    let body = body?;
    let upload: Upload = json(&body)?;
    let configuration = json::<Configuration>(&body)?.or_default();
    let content = upload.content()?;
    let file_name = upload.file_name.filter(|name| !name.is_empty());
    let file_name = file_name.unwrap_or_else(|| "document".to_owned());
    loop {
        let row = Row {
            key: Key {
                user: user.clone(),
                id: Uuid::new_v4(),
            },
            created_at: now(),
            file_name: file_name.clone(),
            task: Task::new(Document::queued(configuration.clone(), now())),
        };
        if app.store.create(&row, &content).await? {
            return Ok(answer(&row, &base, true));
        } // else the user has a task of the same microsecond
    }
}

/// Update Task
///
/// Queues a finished task again. What the configuration does not name stays as it is.
#[utoipa::path(
    patch, path = "/tasks/{task_id}/parse", tag = "Tasks",
    params(("task_id" = String, Path)),
    request_body = Configuration,
    responses((status = 200, description = "The task", body = TaskResponse), Refused),
    security(("api_key" = [])),
)]
pub(crate) async fn update(
    State(app): State<App>,
    key: Key,
    expected: Expected,
    Base(base): Base,
    body: Result<Bytes, BytesRejection>,
) -> Result<impl IntoResponse, Refusal> {
    let form: Configuration = json(&body?)?;
    loop {
        let mut row = app.load(&key).await?;
        let loaded = row.task.revision();
        expected.check(&row.task)?;
        let configuration = form.clone().or(row.task.payload().configuration.clone());
        let done = row.task.update(Document::queued(configuration, now()))?;
        let note = Note::of(&done, &row.task, &key.user);
        if app.store.commit(&row, loaded, &note).await? {
            return Ok(answer(&row, &base, true));
        }
    }
}

/// Delete Task
///
/// Removes a completed task and its file.
#[utoipa::path(
    delete, path = "/tasks/{task_id}", tag = "Tasks",
    params(("task_id" = String, Path)),
    responses((status = 200, description = "Task deleted"), Refused),
    security(("api_key" = [])),
)]
pub(crate) async fn delete(
    State(app): State<App>,
    key: Key,
    expected: Expected,
) -> Result<(), Refusal> {
    loop {
        let row = app.load(&key).await?;
        let loaded = row.task.revision();
        expected.check(&row.task)?;
        row.task.delete()?;
        let note = Note::new(&key.user, "delete", "Task deleted");
        if app.store.delete(&key, loaded, &note).await? {
            return Ok(());
        }
    }
}

/// Get Task
#[utoipa::path(
    get, path = "/tasks/{task_id}", tag = "Tasks",
    params(("task_id" = String, Path), Shown),
    responses((status = 200, description = "The task", body = TaskResponse), Refused),
    security(("api_key" = [])),
)]
pub(crate) async fn show(
    State(app): State<App>,
    key: Key,
    Base(base): Base,
    shown: Result<Query<Shown>, QueryRejection>,
) -> Result<impl IntoResponse, Refusal> {
    let with_chunks = shown?.include_chunks.unwrap_or(true);
    Ok(answer(&app.load(&key).await?, &base, with_chunks))
}

/// List Tasks
#[utoipa::path(
    get, path = "/tasks", tag = "Tasks",
    params(List),
    responses((status = 200, description = "A page of them", body = Object), Refused),
    security(("api_key" = [])),
)]
pub(crate) async fn list(
    State(app): State<App>,
    Caller(user): Caller,
    Base(base): Base,
    list: Result<Query<List>, QueryRejection>,
) -> Result<impl IntoResponse, Refusal> {
    let Query(list) = list?;
    let page = list.page()?;
    let mut rows = app.store.list(&user, &page).await?;
    let has_more = rows.len() == page.limit as usize;
    rows.truncate(page.limit as usize - 1);
    let next_cursor = rows.last().filter(|_| has_more).map(|row| row.created_at);
    let seen = rows.iter().filter(|row| !is_expired(row));
    let tasks: Vec<_> = seen
        .map(|row| TaskResponse::new(row, &base, list.include_chunks))
        .collect();
    Ok(Json(
        json!({ "tasks": tasks, "has_more": has_more, "next_cursor": next_cursor }),
    ))
}

/// Get Events
///
/// What happened to the task, oldest first. The message of an update that failed stays here.
#[utoipa::path(
    get, path = "/tasks/{task_id}/events", tag = "Tasks",
    params(("task_id" = String, Path)),
    responses((status = 200, description = "The log", body = [Event]), Refused),
    security(("api_key" = [])),
)]
pub(crate) async fn events(State(app): State<App>, key: Key) -> Result<impl IntoResponse, Refusal> {
    app.load(&key).await?;
    Ok(Json(app.store.log(&key).await?))
}

/// Get File
///
/// The document, as it was uploaded.
#[utoipa::path(
    get, path = "/tasks/{task_id}/file", tag = "Tasks",
    params(("task_id" = String, Path)),
    responses((status = 200, description = "The document", body = [u8], content_type = "application/octet-stream"), Refused),
    security(("api_key" = [])),
)]
pub(crate) async fn file(State(app): State<App>, key: Key) -> Result<impl IntoResponse, Refusal> {
    app.load(&key).await?;
    let content = app.store.file(&key).await?.ok_or(Refusal::NotFound)?;
    Ok((
        [(header::CONTENT_TYPE, "application/octet-stream")],
        content,
    ))
}

/// To the microsecond, as databases and clients keep it.
pub(crate) fn now() -> DateTime<Utc> {
    Utc::now().trunc_subsecs(6)
}
