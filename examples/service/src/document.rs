//! The payload of a task, the work on it, and its look.

use chrono::{DateTime, SubsecRound as _, Utc};
use data_url::{DataUrl, forgiving_base64};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use sqlx::Error;
use task_lifecycle::{Run, Status};

use crate::store::{Draft, Row, Task};

/// The payload: everything that a revert brings back. Fields that this program does not know are
/// kept for a newer one.
#[derive(Clone, Default, PartialEq, Debug, Serialize, Deserialize)]
pub struct Document {
    pub file_name: String,
    pub configuration: Map<String, Value>,
    pub message: String,
    /// The worker's name and its run: no two workers write the same.
    pub worker: Option<(String, Run)>,
    pub started_at: Option<DateTime<Utc>>,
    pub finished_at: Option<DateTime<Utc>>,
    pub chunks: Option<Vec<Chunk>>,
    #[serde(flatten)]
    pub rest: Map<String, Value>,
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Chunk {
    pub content: String,
    pub words: usize,
}

impl Document {
    pub fn read(text: &str) -> sqlx::Result<Self> {
        serde_json::from_str(text).map_err(|fault| Error::Decode(Box::new(fault)))
    }

    /// As it is stored. An error, if it could not be read again: it is nested a little deeper here
    /// than in the request.
    pub fn text(&self) -> sqlx::Result<String> {
        let text = serde_json::to_string(self).map_err(|fault| Error::Encode(Box::new(fault)))?;
        Self::read(&text).map(|_| text)
    }

    /// Makes it the payload of a task.
    pub fn set(&self, draft: &mut Draft) -> sqlx::Result<()> {
        let text = self.text()?;
        draft.edit(|payload| *payload = text);
        Ok(())
    }

    pub fn start(&mut self, worker: &str, run: Run) {
        self.worker = Some((worker.to_owned(), run));
        self.started_at = Some(Utc::now().trunc_subsecs(6)); // as clients read it
        "Task started".clone_into(&mut self.message);
    }

    pub fn finish(&mut self, message: &str, chunks: Option<Vec<Chunk>>) {
        self.finished_at = Some(Utc::now().trunc_subsecs(6)); // as clients read it
        message.clone_into(&mut self.message);
        self.chunks = chunks;
    }
}

/// The content of a file that is given as base64 or as a `data:` URL; not empty.
pub fn content(file: &str) -> Option<Vec<u8>> {
    let content = match DataUrl::process(file) {
        Ok(url) => url.decode_to_vec().ok()?.0,
        Err(_) => forgiving_base64::decode_to_vec(file.as_bytes()).ok()?,
    };
    (!content.is_empty()).then_some(content)
}

/// The reason why the work has no result, for the client.
#[rustfmt::skip]
#[derive(thiserror::Error, Debug)]
pub enum Fault {
    #[error("{0}")] Lasting(&'static str),
    #[error("{0}")] Temporary(String),
}

/// The result of the work.
pub type Worked = Result<Vec<Chunk>, Fault>;

/// The work: cuts a text into chunks of `target_length` words. A tokenizer that is named by its model
/// has to be fetched, which fails here, and may succeed another time.
pub fn cut(file: &[u8], document: &Document) -> Worked {
    let chunking = document.configuration.get("chunk_processing").unwrap_or_default();
    if let Some(model) = chunking.pointer("/tokenizer/String") {
        return Err(Fault::Temporary(format!("Tokenizer {model} cannot be loaded")));
    }
    let length = chunking.get("target_length").map_or(Some(512), Value::as_u64);
    let length = length.ok_or(Fault::Lasting("target_length is not a number of words"))?;
    let length = usize::try_from(length.max(1)).unwrap_or(usize::MAX);
    let text = str::from_utf8(file).map_err(|_| Fault::Lasting("The file is not UTF-8 text"))?;
    let words: Vec<&str> = text.split_whitespace().collect();
    if text.len() + 40 * (words.len() / length) > 16 << 20 {
        return Err(Fault::Lasting("The output is too large"));
    }
    let chunk = |words: &[&str]| Chunk { content: words.join(" "), words: words.len() };
    Ok(words.chunks(length).map(chunk).collect())
}

/// A task as the client sees it. No file can be fetched, so all URLs are the task's.
pub fn answer(row: &Row, task: &Task, base: &str, is_whole: bool) -> sqlx::Result<Value> {
    let document = Document::read(task.payload())?;
    let time = DateTime::from_timestamp_micros;
    // A cancel does not touch the document.
    let is_cancelled = task.status() == Status::Cancelled;
    let message = if is_cancelled { "Task cancelled" } else { &document.message };
    let cancelled_at = row.ended_at.filter(|_| is_cancelled).and_then(time);
    let url = format!("{base}/tasks/{}", row.key.id);
    let output = document.chunks.map(|chunks| {
        let chunks: Vec<_> = chunks.iter().filter(|_| is_whole).map(chunk).collect();
        json!({ "chunks": chunks, "file_name": document.file_name, "page_count": 1, "pdf_url": null })
    });
    Ok(json!({
        "task_id": row.key.id, "task_type": "Parse", "task_url": url, "input_file_url": url,
        "status": task.status(), "completed": task.status().is_completed(), "message": message,
        "configuration": document.configuration, "output": output,
        "file_info": { "name": document.file_name, "url": url, "page_count": 1 },
        "created_at": time(row.created_at), "started_at": document.started_at,
        "finished_at": cancelled_at.or(document.finished_at), "expires_at": null,
        "version_info": { "client_version": "Unspecified", "server_version": "0.1.0" },
    }))
}

/// A text is one page without a size, and each chunk of it one segment.
fn chunk(Chunk { content, words }: &Chunk) -> Value {
    let segment = json!({
        "segment_id": "", "segment_type": "Text", "content": content, "markdown": content,
        "text": content, "page_number": 1, "page_width": 0, "page_height": 0, "confidence": null,
        "bbox": { "left": 0, "top": 0, "width": 0, "height": 0 },
    });
    json!({ "chunk_id": "", "chunk_length": words, "content": content, "segments": [segment] })
}
