//! The OpenAPI document. A test compares it with the routes.

#![expect(dead_code, reason = "only what is said about these items is used")]

use utoipa::openapi::security::{ApiKey, ApiKeyValue, SecurityScheme};
use utoipa::{IntoResponses, Modify, OpenApi};

use crate::document::Configuration;
use crate::request::{List, Shown, Upload};

pub(crate) fn openapi() -> utoipa::openapi::OpenApi {
    Docs::openapi()
}

#[derive(OpenApi)]
#[openapi(
    info(description = "Tasks that cut documents into chunks: create, update, cancel, delete."),
    paths(cancel, create, update, delete, show, show_parse, list, events, file),
    modifiers(&KeyInHeader)
)]
struct Docs;

struct KeyInHeader;

impl Modify for KeyInHeader {
    fn modify(&self, docs: &mut utoipa::openapi::OpenApi) {
        let key = SecurityScheme::ApiKey(ApiKey::Header(ApiKeyValue::new("Authorization")));
        let components = docs.components.get_or_insert_default();
        components.security_schemes.insert("api_key".to_owned(), key.into());
    }
}

/// What every route but the cancel, which has its own words, can refuse.
#[derive(IntoResponses)]
enum Refused {
    /// The request is malformed, or the status of the task does not accept it
    #[response(status = 400, content_type = "text/plain")]
    BadRequest(String),
    /// Unauthorized
    #[response(status = 401, content_type = "text/plain")]
    Unauthorized(String),
    /// Task not found
    #[response(status = 404, content_type = "text/plain")]
    NotFound(String),
    /// If-Match names another revision
    #[response(status = 412, content_type = "text/plain")]
    Stale(String),
    /// The body did not come, or took too long
    #[response(status = 408, content_type = "text/plain")]
    TooSlow(String),
    /// The body is too large
    #[response(status = 413, content_type = "text/plain")]
    TooLarge(String),
    /// A value has the wrong type
    #[response(status = 422, content_type = "text/plain")]
    WrongType(String),
    /// Server error
    #[response(status = 500, content_type = "text/plain")]
    Outage(String),
    /// It is not known whether this was done
    #[response(status = 503, content_type = "text/plain")]
    Unknown(String),
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
fn cancel() {}

/// Create Parse Task
///
/// Queues a document.
#[utoipa::path(
    post, path = "/tasks/parse", tag = "Tasks",
    params(("Idempotency-Key" = Option<String>, Header, description = "Asked again under it within a day, the same is done once")),
    request_body = Upload,
    responses((status = 200, description = "The task", body = Object), Refused),
    security(("api_key" = [])),
)]
fn create() {}

/// Update Task
///
/// Queues a finished task again. What the configuration does not name stays as it is.
#[utoipa::path(
    patch, path = "/tasks/{task_id}/parse", tag = "Tasks",
    params(("task_id" = String, Path), ("If-Match" = Option<String>, Header, description = "The ETag that was seen")),
    request_body = Configuration,
    responses((status = 200, description = "The task", body = Object), Refused),
    security(("api_key" = [])),
)]
fn update() {}

/// Delete Task
///
/// Removes a completed task and its file.
#[utoipa::path(
    delete, path = "/tasks/{task_id}", tag = "Tasks",
    params(("task_id" = String, Path), ("If-Match" = Option<String>, Header, description = "The ETag that was seen")),
    responses((status = 200, description = "Task deleted"), Refused),
    security(("api_key" = [])),
)]
fn delete() {}

/// Get Task
#[utoipa::path(
    get, path = "/tasks/{task_id}", tag = "Tasks",
    params(("task_id" = String, Path), Shown),
    responses((status = 200, description = "The task", body = Object), Refused),
    security(("api_key" = [])),
)]
fn show() {}

/// Get Parse Task
#[utoipa::path(
    get, path = "/tasks/{task_id}/parse", tag = "Tasks",
    params(("task_id" = String, Path), Shown),
    responses((status = 200, description = "The task", body = Object), Refused),
    security(("api_key" = [])),
)]
fn show_parse() {}

/// List Tasks
#[utoipa::path(
    get, path = "/tasks", tag = "Tasks",
    params(List),
    responses((status = 200, description = "A page of them", body = Object), Refused),
    security(("api_key" = [])),
)]
fn list() {}

/// Get Events
///
/// What happened to the task, oldest first. The message of an update that failed stays here.
#[utoipa::path(
    get, path = "/tasks/{task_id}/events", tag = "Tasks",
    params(("task_id" = String, Path)),
    responses((status = 200, description = "The log", body = [Object]), Refused),
    security(("api_key" = [])),
)]
fn events() {}

/// Get File
///
/// The document, as it was uploaded.
#[utoipa::path(
    get, path = "/tasks/{task_id}/file", tag = "Tasks",
    params(("task_id" = String, Path)),
    responses((status = 200, description = "The document", body = [u8], content_type = "application/octet-stream"), Refused),
    security(("api_key" = [])),
)]
fn file() {}
