//! The payload of a task, and the work on it.

use chrono::{DateTime, SubsecRound as _, Utc};
use data_url::{DataUrl, forgiving_base64};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use sqlx::Error;
use task_lifecycle::Run;

use crate::store::Result;

/// The payload: everything that a revert brings back. Fields that this program does not know are
/// kept for a newer one.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
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

/// The settings that have an effect. The others are kept and shown.
#[derive(Serialize, Deserialize)]
#[serde(default)]
struct Chunking {
    /// Words per chunk.
    target_length: u32,
    /// `{"String": MODEL}` names a model, which would have to be fetched.
    tokenizer: Value,
    #[serde(flatten)]
    rest: Map<String, Value>,
}

impl Default for Chunking {
    fn default() -> Self {
        let tokenizer = serde_json::json!({ "Enum": "Word" });
        Self { target_length: 512, tokenizer, rest: Map::new() }
    }
}

/// The name of the setting.
const CHUNKING: &str = "chunk_processing";

impl Document {
    /// A document that is to be worked on. Settings that are not named stay as they were.
    pub fn queued(
        file_name: String,
        mut configuration: Map<String, Value>,
        named: Map<String, Value>,
    ) -> serde_json::Result<Self> {
        configuration.extend(named.into_iter().filter(|(_, value)| !value.is_null()));
        let chunking = configuration.remove(CHUNKING).unwrap_or_else(|| Map::new().into());
        let chunking: Chunking = serde_json::from_value(chunking)?;
        configuration.insert(CHUNKING.to_owned(), serde_json::to_value(chunking)?);
        let (message, rest) = ("Task queued".to_owned(), Map::new());
        Ok(Self {
            file_name,
            configuration,
            message,
            worker: None,
            started_at: None,
            finished_at: None,
            chunks: None,
            rest,
        })
    }

    pub fn read(text: &str) -> Result<Self> {
        serde_json::from_str(text).map_err(|fault| Error::Decode(Box::new(fault)))
    }

    /// As it is stored. A document that could not be read again is an error: it is nested a little
    /// deeper here than in the request.
    pub fn text(&self) -> Result<String> {
        let text = serde_json::to_string(self).map_err(|fault| Error::Encode(Box::new(fault)))?;
        Self::read(&text).map(|_| text)
    }

    pub fn start(&mut self, worker: &str, run: Run) {
        self.worker = Some((worker.to_owned(), run));
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

/// The work: cuts a text into chunks. The error is meant for the client.
pub fn cut(file: &[u8], document: &Document) -> std::result::Result<Vec<Chunk>, String> {
    let chunking = document.configuration.get(CHUNKING).cloned().unwrap_or_default();
    let Chunking { target_length, tokenizer, .. } =
        serde_json::from_value(chunking).map_err(|fault| fault.to_string())?;
    if let Some(model) = tokenizer.get("String") {
        return Err(format!("Tokenizer {model} cannot be loaded"));
    }
    let text = str::from_utf8(file).map_err(|_| "The file is not UTF-8 text")?;
    if 60 * text.len() / target_length.max(1) as usize + text.len() > LARGEST_OUTPUT {
        return Err("The output is too large".to_owned());
    }
    let words: Vec<&str> = text.split_whitespace().collect();
    let chunks = words.chunks(target_length.max(1) as usize);
    Ok(chunks.map(|words| Chunk { content: words.join(" "), words: words.len() }).collect())
}
