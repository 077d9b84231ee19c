//! The payload of a task, and the work on it.

use chrono::{DateTime, SubsecRound as _, Utc};
use data_url::{DataUrl, forgiving_base64};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use sqlx::Error;
use task_lifecycle::{Draft, Run};

/// The payload: everything that a revert brings back. Fields that this program does not know are
/// kept for a newer one.
#[derive(Clone, Default, PartialEq, Debug, Serialize, Deserialize)]
pub struct Document {
    pub file_name: String,
    pub configuration: Map<String, Value>,
    pub message: String,
    /// Who works on it, and in which run: no two workers write the same.
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
    pub fn set(&self, draft: &mut Draft<String>) -> sqlx::Result<()> {
        let text = self.text()?;
        draft.edit(|payload| *payload = text);
        Ok(())
    }

    pub fn start(&mut self, worker: Option<(String, Run)>) {
        self.worker = worker;
        self.started_at = Some(now());
        "Task started".clone_into(&mut self.message);
    }

    pub fn finish(&mut self, message: &str, chunks: Option<Vec<Chunk>>) {
        self.finished_at = Some(now());
        message.clone_into(&mut self.message);
        self.chunks = chunks;
    }
}

/// In microseconds, as clients read it.
fn now() -> DateTime<Utc> {
    Utc::now().trunc_subsecs(6)
}

/// The content of a file that is given as base64 or as a `data:` URL; not empty.
pub fn content(file: &str) -> Option<Vec<u8>> {
    let content = if file.starts_with("data:") {
        DataUrl::process(file).ok()?.decode_to_vec().ok()?.0
    } else {
        forgiving_base64::decode_to_vec(file.as_bytes()).ok()?
    };
    (!content.is_empty()).then_some(content)
}

/// The largest output, in bytes, roughly as it is stored.
const LARGEST_OUTPUT: usize = 16 << 20;

/// The work: cuts a text into chunks of `target_length` words. The error is meant for the client. A
/// tokenizer that is named by its model would have to be fetched: that fails.
pub fn cut(file: &[u8], configuration: &Map<String, Value>) -> Result<Vec<Chunk>, String> {
    let chunking = configuration.get("chunk_processing").unwrap_or_default();
    if let Some(model) = chunking.pointer("/tokenizer/String") {
        return Err(format!("Tokenizer {model} cannot be loaded"));
    }
    let length = chunking.get("target_length").map_or(Some(512), Value::as_u64);
    let length = length.and_then(|length| usize::try_from(length.max(1)).ok());
    let length = length.ok_or("target_length is not a number of words")?;
    let text = str::from_utf8(file).map_err(|_| "The file is not UTF-8 text")?;
    let words: Vec<&str> = text.split_whitespace().collect();
    if text.len() + 40 * (words.len() / length) > LARGEST_OUTPUT {
        return Err("The output is too large".to_owned());
    }
    let chunk = |words: &[&str]| Chunk { content: words.join(" "), words: words.len() };
    Ok(words.chunks(length).map(chunk).collect())
}
