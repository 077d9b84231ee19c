//! What a client is told, in the shape of the public API.

use axum::Json;
use axum::extract::rejection::{BytesRejection, JsonRejection, QueryRejection};
use axum::http::{HeaderName, StatusCode, header};
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::{Value, json};
use task_lifecycle::{DeleteError, StaleRevision, Status, Task, TransitionError, UnknownStatus};
use utoipa::ToSchema;

use crate::document::{Chunk, Configuration, Document};
use crate::store::{Row, StoreError};

/// Why a request was refused. The text is the answer, but for an outage.
#[derive(thiserror::Error, Debug)]
pub enum Refusal {
    #[error("{1}")]
    Request(StatusCode, String),
    #[error("Unauthorized")]
    Unauthorized,
    #[error("Task not found")]
    NotFound,
    #[error(transparent)]
    Status(#[from] TransitionError),
    #[error(transparent)]
    Stale(#[from] StaleRevision),
    #[error("Server error")]
    Store(#[from] StoreError),
}

impl Refusal {
    pub fn bad(text: impl Into<String>) -> Self {
        Self::Request(StatusCode::BAD_REQUEST, text.into())
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let text = self.to_string();
        let status = match self {
            Self::Request(status, _) => status,
            Self::Unauthorized => StatusCode::UNAUTHORIZED,
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::Status(_) => StatusCode::BAD_REQUEST,
            Self::Stale(_) => StatusCode::PRECONDITION_FAILED,
            Self::Store(fault) => {
                tracing::error!("{fault}");
                StatusCode::INTERNAL_SERVER_ERROR
            }
        };
        (status, text).into_response()
    }
}

impl From<DeleteError<Document>> for Refusal {
    fn from(refused: DeleteError<Document>) -> Self {
        Self::Status(refused.reason())
    }
}

impl From<JsonRejection> for Refusal {
    fn from(rejection: JsonRejection) -> Self {
        Self::Request(rejection.status(), rejection.body_text())
    }
}

impl From<QueryRejection> for Refusal {
    fn from(rejection: QueryRejection) -> Self {
        Self::Request(rejection.status(), rejection.body_text())
    }
}

impl From<BytesRejection> for Refusal {
    fn from(rejection: BytesRejection) -> Self {
        Self::Request(rejection.status(), rejection.body_text())
    }
}

impl From<UnknownStatus> for Refusal {
    fn from(unknown: UnknownStatus) -> Self {
        Self::bad(unknown.to_string())
    }
}

/// The revision that a client can name in `If-Match`.
pub fn etag(task: &Task<Document>) -> [(HeaderName, String); 1] {
    [(header::ETAG, format!("\"{}\"", task.revision()))]
}

/// A task, as the client sees it.
pub fn answer(row: &Row, base: &str, with_chunks: bool) -> impl IntoResponse + use<> {
    (
        etag(&row.task),
        Json(TaskResponse::new(row, base, with_chunks)),
    )
}

#[derive(Serialize, ToSchema)]
pub struct TaskResponse {
    task_id: String,
    task_type: &'static str,
    #[schema(value_type = String)]
    status: Status,
    /// Whether nothing more happens by itself.
    completed: bool,
    message: String,
    configuration: Configuration,
    created_at: DateTime<Utc>,
    expires_at: Option<DateTime<Utc>>,
    started_at: Option<DateTime<Utc>>,
    finished_at: Option<DateTime<Utc>>,
    file_info: Value,
    input_file_url: String,
    output: Option<Value>,
    task_url: String,
    version_info: Value,
}

impl TaskResponse {
    pub fn new(row: &Row, base: &str, with_chunks: bool) -> Self {
        let document = row.task.payload();
        let task_url = format!("{base}/tasks/{}", row.key.id);
        let input_file_url = format!("{task_url}/file");
        Self {
            task_id: row.key.id.to_string(),
            task_type: "Parse",
            status: row.task.status(),
            completed: row.task.status().is_completed(),
            message: document.message.clone(),
            configuration: document.configuration.clone(),
            created_at: row.created_at,
            expires_at: document.expires_at,
            started_at: document.started_at,
            finished_at: document.finished_at,
            file_info: json!({ "name": row.file_name, "url": input_file_url, "page_count": 1 }),
            input_file_url,
            output: document.chunks.as_deref().map(|chunks| {
                json!({
                    "chunks": chunks.iter().filter(|_| with_chunks).map(chunk).collect::<Vec<_>>(),
                    "file_name": row.file_name,
                    "page_count": 1,
                    "pdf_url": null,
                })
            }),
            task_url,
            version_info: json!({
                "client_version": "Unspecified",
                "server_version": env!("CARGO_PKG_VERSION"),
            }),
        }
    }
}

/// A text has one page without a size, and a chunk of it is one segment.
fn chunk(chunk: &Chunk) -> Value {
    let Chunk { id, content, words } = chunk;
    json!({
        "chunk_id": id,
        "chunk_length": words,
        "content": content,
        "embed": content,
        "segments": [{
            "segment_id": id,
            "segment_type": "Text",
            "segment_length": words,
            "content": content,
            "markdown": content,
            "text": content,
            "embed": content,
            "page_number": 1,
            "page_width": 0,
            "page_height": 0,
            "bbox": { "left": 0, "top": 0, "width": 0, "height": 0 },
            "confidence": null,
        }],
    })
}
