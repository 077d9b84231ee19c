//! The payload of a task, and the work on it.

use std::iter;
use std::sync::Arc;

use chrono::{DateTime, SubsecRound, Utc};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;
use uuid::Uuid;

/// The payload: everything of a task that changes and reverts. Fields that this binary does not know
/// are kept for a newer one.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Document {
    /// A [`Configuration`], validated when it was received.
    pub configuration: Map<String, Value>,
    pub message: String,
    pub started_at: Option<DateTime<Utc>>,
    pub finished_at: Option<DateTime<Utc>>,
    pub chunks: Option<Arc<Vec<Chunk>>>,
    #[serde(flatten)]
    pub rest: Map<String, Value>,
}

impl Document {
    /// The payload of a new task or an update. Settings that `configuration` does not name stay as
    /// they were.
    pub fn queued(configuration: &Configuration, before: Map<String, Value>) -> Self {
        let mut merged = before;
        if let Ok(Value::Object(named)) = serde_json::to_value(configuration) {
            for (name, value) in named {
                if !value.is_null() || !merged.contains_key(&name) {
                    merged.insert(name, value);
                }
            }
        }
        Self {
            configuration: merged,
            message: "Task queued".to_owned(),
            started_at: None,
            finished_at: None,
            chunks: None,
            rest: Map::new(),
        }
    }

    pub fn queue_again(&mut self) {
        self.started_at = None;
        self.message = "Task queued again".to_owned();
    }

    pub fn start(&mut self) {
        self.started_at = Some(now());
        self.message = "Task started".to_owned();
    }

    pub fn finish(&mut self, message: &str) {
        self.finished_at = Some(now());
        self.message = message.to_owned();
    }

    /// How many seconds the task stays visible after it is completed.
    pub fn expires_in(&self) -> Option<u32> {
        let seconds = self.configuration.get("expires_in")?.as_u64()?;
        u32::try_from(seconds).ok()
    }
}

/// In microseconds, as databases and clients store it.
fn now() -> DateTime<Utc> {
    Utc::now().trunc_subsecs(6)
}

/// How to process a document, in the terms of the public API. For plain text, only `chunk_processing`
/// and `expires_in` have an effect; the others are stored and returned.
#[derive(Clone, Default, PartialEq, Debug, Serialize, Deserialize, ToSchema)]
pub struct Configuration {
    #[serde(default, deserialize_with = "object")]
    pub chunk_processing: Option<ChunkProcessing>,
    pub error_handling: Option<ErrorHandling>,
    /// How many seconds the task stays visible after it is completed.
    pub expires_in: Option<u32>,
    pub high_resolution: Option<bool>,
    pub llm_processing: Option<Map<String, Value>>,
    pub ocr_strategy: Option<OcrStrategy>,
    pub pipeline: Option<Pipeline>,
    pub segment_processing: Option<Map<String, Value>>,
    pub segmentation_strategy: Option<SegmentationStrategy>,
}

/// The derive alone would accept an array.
fn object<'de, D: Deserializer<'de>>(from: D) -> Result<Option<ChunkProcessing>, D::Error> {
    let map = Option::<Map<String, Value>>::deserialize(from)?;
    map.map(|map| ChunkProcessing::deserialize(map).map_err(D::Error::custom)).transpose()
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct ChunkProcessing {
    pub ignore_headers_and_footers: Option<bool>,
    /// Words per chunk; 0 makes each paragraph a chunk.
    pub target_length: u32,
    pub tokenizer: Tokenizer,
}

impl Default for ChunkProcessing {
    fn default() -> Self {
        Self {
            ignore_headers_and_footers: None,
            target_length: 512,
            tokenizer: Tokenizer::Enum(KnownTokenizer::Word),
        }
    }
}

/// All known tokenizers count words. A model given by its name would have to be fetched, so the task
/// fails.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, ToSchema)]
pub enum Tokenizer {
    Enum(KnownTokenizer),
    String(String),
}

macro_rules! words {
    ($($name:ident: $($word:ident),*;)*) => {$(
        #[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize, ToSchema)]
        pub enum $name { $($word),* }
    )*};
}

words! {
    KnownTokenizer: Word, Cl100kBase, XlmRobertaBase, BertBaseUncased;
    ErrorHandling: Fail, Continue;
    OcrStrategy: All, Auto;
    Pipeline: Azure, Chunkr;
    SegmentationStrategy: LayoutAnalysis, Page;
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Chunk {
    pub id: Uuid,
    pub content: String,
    pub words: usize,
}

/// The largest output, in bytes, roughly as it is stored.
const LARGEST_OUTPUT: usize = 64 << 20;

/// The work: cuts a text into chunks, for as long as somebody wants them. The error is meant for the
/// client.
pub fn cut(
    file: &[u8],
    configuration: &Configuration,
    is_wanted: impl Fn() -> bool,
) -> Result<Vec<Chunk>, String> {
    let chunking = configuration.chunk_processing.clone().unwrap_or_default();
    if let Tokenizer::String(model) = chunking.tokenizer {
        return Err(format!("Tokenizer {model} cannot be loaded"));
    }
    let text = str::from_utf8(file).map_err(|_| "The file is not UTF-8 text")?;
    let mut paragraphs = text.split("\n\n").map(|paragraph| paragraph.split_whitespace().collect());
    let mut words = text.split_whitespace();
    // One by one: all of them at a time could take much more memory than the text.
    let chunks = iter::from_fn(|| match chunking.target_length {
        0 => paragraphs.find(|words: &Vec<&str>| !words.is_empty()),
        length => {
            let words: Vec<_> = words.by_ref().take(length as usize).collect();
            (!words.is_empty()).then_some(words)
        }
    });
    let mut size = 0;
    let chunk = |words: Vec<&str>| {
        let content = words.join(" ");
        size += content.len() + 80;
        match () {
            () if !is_wanted() => Err("The work was stopped".to_owned()),
            () if size > LARGEST_OUTPUT => Err("The output is too large".to_owned()),
            () => Ok(Chunk { id: Uuid::new_v4(), content, words: words.len() }),
        }
    };
    chunks.map(chunk).collect()
}
