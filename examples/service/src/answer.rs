//! What a client gets, in the shape of the public API.

use axum::extract::rejection::JsonRejection;
use axum::http::{HeaderName, StatusCode, header};
use axum::response::{IntoResponse, Response};
use chrono::DateTime;
use serde_json::{Value, json};
use task_lifecycle::{Status, Task, TransitionError};

use crate::database::{Meaning, meaning};
use crate::document::{Chunk, Document};
use crate::store::Beside;

/// Why a request was refused. The text is the answer.
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
    #[error("Server error")]
    Outage(sqlx::Error),
    #[error("Nothing was done: the database is busy, try again")]
    NotDone(sqlx::Error),
    #[error("It is not known whether this was done: get the task before you try again")]
    Unknown,
}

impl Refusal {
    pub fn bad(text: &str) -> Self {
        Self::Request(StatusCode::BAD_REQUEST, text.to_owned())
    }
}

impl From<sqlx::Error> for Refusal {
    fn from(fault: sqlx::Error) -> Self {
        match meaning(&fault) {
            Meaning::NotDone | Meaning::LostRace => Self::NotDone(fault),
            Meaning::Lasting | Meaning::Unknown => Self::Outage(fault),
        }
    }
}

impl From<JsonRejection> for Refusal {
    fn from(rejection: JsonRejection) -> Self {
        Self::Request(rejection.status(), rejection.body_text())
    }
}

impl From<serde_json::Error> for Refusal {
    fn from(fault: serde_json::Error) -> Self {
        Self::Request(StatusCode::UNPROCESSABLE_ENTITY, fault.to_string())
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
            Self::Outage(fault) => {
                tracing::error!("{fault}");
                StatusCode::INTERNAL_SERVER_ERROR
            }
            Self::NotDone(fault) => {
                tracing::warn!("not done: {fault}");
                StatusCode::SERVICE_UNAVAILABLE
            }
            Self::Unknown => StatusCode::SERVICE_UNAVAILABLE,
        };
        (status, text).into_response()
    }
}

/// The revision as an entity tag, for the client to send back in `If-Match`.
pub fn tag(task: &Task<String>) -> String {
    format!("\"{}\"", task.revision())
}

pub fn etag(task: &Task<String>) -> [(HeaderName, String); 1] {
    [(header::ETAG, tag(task))]
}

/// A task as the client sees it. Its files stay here, so their URLs lead to the task.
pub fn answer(
    id: &str,
    task: &Task<String>,
    beside: &Beside,
    base: &str,
    with_chunks: bool,
) -> sqlx::Result<Value> {
    let document = Document::read(task.payload())?;
    let time = |at: i64| DateTime::from_timestamp_micros(at);
    // A cancel does not touch the document.
    let is_cancelled = task.status() == Status::Cancelled;
    let message = if is_cancelled { "Task cancelled" } else { &document.message };
    let cancelled_at = beside.ended_at.filter(|_| is_cancelled).and_then(time);
    let task_url = format!("{base}/tasks/{id}");
    let output = document.chunks.map(|chunks| {
        let chunks = chunks.iter().take(if with_chunks { usize::MAX } else { 0 });
        json!({
            "chunks": chunks.enumerate().map(|(at, it)| chunk(at, it)).collect::<Vec<_>>(),
            "file_name": document.file_name,
            "page_count": 1,
            "pdf_url": null,
        })
    });
    Ok(json!({
        "task_id": id,
        "task_type": "Parse",
        "status": task.status(),
        "completed": task.status().is_completed(),
        "message": message,
        "configuration": document.configuration,
        "created_at": time(beside.created_at),
        "expires_at": null,
        "started_at": document.started_at,
        "finished_at": cancelled_at.or(document.finished_at),
        "file_info": { "name": document.file_name, "url": task_url, "page_count": 1 },
        "input_file_url": task_url,
        "output": output,
        "task_url": task_url,
        "version_info": {
            "client_version": "Unspecified",
            "server_version": env!("CARGO_PKG_VERSION"),
        },
    }))
}

/// A text is one page without a size, and each chunk of it one segment.
fn chunk(at: usize, Chunk { content, words }: &Chunk) -> Value {
    let id = format!("00000000-0000-0000-0000-{at:012}");
    json!({
        "chunk_id": id,
        "chunk_length": words,
        "content": content,
        "segments": [{
            "segment_id": id,
            "segment_type": "Text",
            "content": content,
            "markdown": content,
            "text": content,
            "page_number": 1,
            "page_width": 0,
            "page_height": 0,
            "bbox": { "left": 0, "top": 0, "width": 0, "height": 0 },
            "confidence": null,
        }],
    })
}
