//! What a client gets, in the shape of the public API.

use std::convert::Infallible;
use std::iter;

use axum::body::{Body, Bytes};
use axum::extract::rejection::JsonRejection;
use axum::http::{HeaderName, StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use serde_json::{Value, json};
use sqlx::error::BoxDynError;
use task_lifecycle::{Status, Task, TransitionError};
use tokio::task::block_in_place;

use crate::document::{Chunk, Document};
use crate::request::Room;
use crate::store::{Payload, Row};

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
    Outage(#[from] sqlx::Error),
    #[error("It is not known whether this was done: get the task before you try again")]
    Unknown(BoxDynError),
}

impl Refusal {
    pub fn bad(text: &str) -> Self {
        Self::Request(StatusCode::BAD_REQUEST, text.to_owned())
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
            Self::Unknown(fault) => {
                tracing::error!("outcome unknown: {fault}");
                StatusCode::SERVICE_UNAVAILABLE
            }
        };
        (status, text).into_response()
    }
}

impl From<JsonRejection> for Refusal {
    fn from(rejection: JsonRejection) -> Self {
        Self::Request(rejection.status(), rejection.body_text())
    }
}

/// The revision, for the client to send back in `If-Match`.
pub fn etag(task: &Task<Payload>) -> [(HeaderName, String); 1] {
    [(header::ETAG, format!("\"{}\"", task.revision()))]
}

/// How many chunks are written at a time.
const BATCH: usize = 100;

/// A body that is made as it is sent, and keeps its room until it is.
pub fn body<T: Into<Bytes> + 'static>(
    pieces: impl IntoIterator<Item = T, IntoIter: Send + 'static>,
    room: Option<Room>,
) -> Body {
    let mut pieces = pieces.into_iter();
    let next = move || {
        // A large one must not keep others waiting.
        let next = if room.is_some() { block_in_place(|| pieces.next()) } else { pieces.next() };
        next.map(Ok::<_, Infallible>)
    };
    Body::from_stream(stream::iter(iter::from_fn(next)))
}

/// JSON that is written as it is sent.
fn streamed(pieces: impl Iterator<Item = String> + Send + 'static, room: Option<Room>) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], body(pieces, room)).into_response()
}

/// A task as the client sees it.
pub fn answer(
    row: &Row,
    document: &Document,
    base: &str,
    with_chunks: bool,
    room: Option<Room>,
) -> Response {
    (etag(&row.task), streamed(pieces(row, document, base, with_chunks), room)).into_response()
}

/// Tasks in pieces, and the rest of their page.
pub fn listed(
    tasks: Vec<impl Iterator<Item = String> + Send + 'static>,
    rest: &Value,
    room: Option<Room>,
) -> Response {
    let begin = "{\"tasks\":[".to_owned();
    let commas = iter::once("").chain(iter::repeat(",")).map(str::to_owned);
    let tasks = commas.zip(tasks).flat_map(|(comma, task)| iter::once(comma).chain(task));
    let end = format!("],{}", &rest.to_string()[1..]);
    streamed(iter::once(begin).chain(tasks).chain(iter::once(end)), room)
}

/// The text of a task, in pieces.
pub fn pieces(
    row: &Row,
    document: &Document,
    base: &str,
    with_chunks: bool,
) -> impl Iterator<Item = String> + Send + use<> {
    let mut task = task(row, document, base);
    let chunks = document.chunks.clone().filter(|_| with_chunks).unwrap_or_default();
    let mut after = "}".to_owned();
    let before = match without(&mut task, "output") {
        Value::Object(output) => {
            after = "]}}".to_owned();
            open(&task, "output") + &open(&output.into(), "chunks") + "["
        }
        nothing => open(&task, "output") + &nothing.to_string(),
    };
    let batches = (0..chunks.len()).step_by(BATCH).map(move |first| {
        let batch = chunks[first..].iter().take(BATCH).map(|it| chunk(it).to_string());
        let comma = if first == 0 { "" } else { "," };
        comma.to_owned() + &batch.collect::<Vec<_>>().join(",")
    });
    iter::once(before).chain(batches).chain(iter::once(after))
}

/// The text of an object up to the value of one more field.
fn open(object: &Value, name: &str) -> String {
    let text = object.to_string();
    format!("{},\"{name}\":", &text[..text.len() - 1])
}

fn without(value: &mut Value, name: &str) -> Value {
    value.as_object_mut().and_then(|fields| fields.remove(name)).unwrap_or_default()
}

/// A task without its chunks.
fn task(row: &Row, document: &Document, base: &str) -> Value {
    let Document { configuration, message, started_at, finished_at, chunks, rest: _ } = document;
    // A cancel does not touch the document.
    let is_cancelled = row.task.status() == Status::Cancelled;
    let message = if is_cancelled { "Task cancelled" } else { message };
    let finished_at = if is_cancelled { &row.ended_at } else { finished_at };
    let task_url = format!("{base}/tasks/{}", row.key.id);
    let file_url = format!("{task_url}/file");
    let output = chunks.as_ref().map(|_| {
        json!({
            "file_name": row.file_name,
            "page_count": 1,
            "pdf_url": null,
        })
    });
    json!({
        "task_id": row.key.id,
        "task_type": "Parse",
        "status": row.task.status(),
        "completed": row.task.status().is_completed(),
        "message": message,
        "configuration": configuration,
        "created_at": row.created_at,
        "expires_at": row.expires_at,
        "started_at": started_at,
        "finished_at": finished_at,
        "file_info": { "name": row.file_name, "url": file_url, "page_count": 1 },
        "input_file_url": file_url,
        "output": output,
        "task_url": task_url,
        "version_info": {
            "client_version": "Unspecified",
            "server_version": env!("CARGO_PKG_VERSION"),
        },
    })
}

/// A text is one page without a size, and each chunk of it one segment.
fn chunk(chunk: &Chunk) -> Value {
    let Chunk { id, content, words } = chunk;
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
