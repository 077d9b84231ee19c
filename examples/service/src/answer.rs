//! What a client gets, in the shape of the public API.

use axum::extract::rejection::JsonRejection;
use axum::http::{HeaderName, StatusCode, header};
use axum::response::{IntoResponse, Response};
use chrono::DateTime;
use serde_json::{Value, json};
use task_lifecycle::{Status, Task};

use crate::commit::Refusal;
use crate::database::{Meaning, meaning};
use crate::document::{Chunk, Document};
use crate::store::Beside;

impl From<JsonRejection> for Refusal {
    fn from(rejection: JsonRejection) -> Self {
        Self::Request(rejection.status(), rejection.body_text())
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let status = match &self {
            Self::Request(status, _) => *status,
            Self::Unauthorized => StatusCode::UNAUTHORIZED,
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::Status(_) | Self::Run(_) => StatusCode::BAD_REQUEST,
            Self::Unknown => StatusCode::SERVICE_UNAVAILABLE,
            Self::Store(fault) => {
                tracing::error!("{fault}");
                let text = "Nothing was done: the database is busy, try again";
                return match meaning(fault) {
                    Meaning::NotDone => (StatusCode::SERVICE_UNAVAILABLE, text).into_response(),
                    _ => (StatusCode::INTERNAL_SERVER_ERROR, "Server error").into_response(),
                };
            }
        };
        (status, self.to_string()).into_response()
    }
}

/// The revision as an entity tag, for the client to send back in `If-Match`.
pub fn tag(task: &Task<String>) -> String {
    format!("\"{}\"", task.revision())
}

pub fn etag(task: &Task<String>) -> [(HeaderName, String); 1] {
    [(header::ETAG, tag(task))]
}

/// A task as the client sees it. No file can be fetched, so all URLs are the task's.
pub fn answer(
    id: &str,
    task: &Task<String>,
    beside: &Beside,
    base: &str,
    with_chunks: bool,
) -> sqlx::Result<Value> {
    let document = Document::read(task.payload())?;
    let time = DateTime::from_timestamp_micros;
    // A cancel does not touch the document.
    let is_cancelled = task.status() == Status::Cancelled;
    let message = if is_cancelled { "Task cancelled" } else { &document.message };
    let cancelled_at = beside.ended_at.filter(|_| is_cancelled).and_then(time);
    let url = format!("{base}/tasks/{id}");
    let output = document.chunks.map(|mut chunks| {
        chunks.truncate(if with_chunks { usize::MAX } else { 0 });
        let chunks: Vec<_> = chunks.iter().map(chunk).collect();
        json!({ "chunks": chunks, "file_name": document.file_name, "page_count": 1, "pdf_url": null })
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
        "file_info": { "name": document.file_name, "url": url, "page_count": 1 },
        "input_file_url": url,
        "output": output,
        "task_url": url,
        "version_info": { "client_version": "Unspecified", "server_version": "0.1.0" },
    }))
}

/// A text is one page without a size, and each chunk of it one segment.
fn chunk(Chunk { content, words }: &Chunk) -> Value {
    let bbox = json!({ "left": 0, "top": 0, "width": 0, "height": 0 });
    let segment = json!({
        "segment_id": "", "segment_type": "Text", "content": content, "markdown": content,
        "text": content, "page_number": 1, "page_width": 0, "page_height": 0, "bbox": bbox, "confidence": null,
    });
    json!({ "chunk_id": "", "chunk_length": words, "content": content, "segments": [segment] })
}
