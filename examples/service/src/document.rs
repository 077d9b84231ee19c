//! What the service keeps about a task: the payload, and the work that is done on it.

use chrono::{DateTime, SubsecRound, TimeDelta, Utc};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;
use uuid::Uuid;

/// The payload: all of a task that changes, so that a revert brings all of it back.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Document {
    pub configuration: Configuration,
    pub message: String,
    pub expires_at: Option<DateTime<Utc>>,
    pub started_at: Option<DateTime<Utc>>,
    pub finished_at: Option<DateTime<Utc>>,
    pub chunks: Option<Vec<Chunk>>,
}

impl Document {
    /// A new task's payload, or an update's.
    pub fn queued(configuration: Configuration, at: DateTime<Utc>) -> Self {
        let expires_in = configuration.expires_in.map(i64::from);
        Self {
            message: "Task queued".to_owned(),
            expires_at: expires_in.map(|seconds| at + TimeDelta::seconds(seconds)),
            configuration,
            started_at: None,
            finished_at: None,
            chunks: None,
        }
    }

    pub fn queue_again(&mut self) {
        self.started_at = None;
        self.message = "Task queued again".to_owned();
    }

    pub fn start(&mut self, at: DateTime<Utc>) {
        self.started_at = Some(at);
        self.message = "Task started".to_owned();
    }

    pub fn finish(&mut self, at: DateTime<Utc>, message: impl Into<String>) {
        self.finished_at = Some(at);
        self.message = message.into();
    }
}

/// To the microsecond, as databases and clients keep it.
pub fn now() -> DateTime<Utc> {
    Utc::now().trunc_subsecs(6)
}

/// How a document is to be processed, in the words of the public API. A text needs few of them:
/// `chunk_processing` and `expires_in` have an effect, the others are kept and given back.
#[derive(Clone, Default, PartialEq, Debug, Serialize, Deserialize, ToSchema)]
pub struct Configuration {
    #[serde(default, deserialize_with = "object")]
    pub chunk_processing: Option<ChunkProcessing>,
    pub error_handling: Option<ErrorHandling>,
    /// Seconds until the task is no longer to be seen.
    pub expires_in: Option<u32>,
    pub high_resolution: Option<bool>,
    pub llm_processing: Option<Map<String, Value>>,
    pub ocr_strategy: Option<OcrStrategy>,
    pub pipeline: Option<Pipeline>,
    pub segment_processing: Option<Map<String, Value>>,
    pub segmentation_strategy: Option<SegmentationStrategy>,
}

impl Configuration {
    /// What is not said is as it was.
    #[must_use]
    pub fn or(self, current: Self) -> Self {
        Self {
            chunk_processing: self.chunk_processing.or(current.chunk_processing),
            error_handling: self.error_handling.or(current.error_handling),
            expires_in: self.expires_in.or(current.expires_in),
            high_resolution: self.high_resolution.or(current.high_resolution),
            llm_processing: self.llm_processing.or(current.llm_processing),
            ocr_strategy: self.ocr_strategy.or(current.ocr_strategy),
            pipeline: self.pipeline.or(current.pipeline),
            segment_processing: self.segment_processing.or(current.segment_processing),
            segmentation_strategy: self.segmentation_strategy.or(current.segmentation_strategy),
        }
    }
}

/// The derive alone would read a list as well.
fn object<'de, D: Deserializer<'de>>(from: D) -> Result<Option<ChunkProcessing>, D::Error> {
    let map = Option::<Map<String, Value>>::deserialize(from)?;
    map.map(|map| ChunkProcessing::deserialize(map).map_err(D::Error::custom)).transpose()
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct ChunkProcessing {
    pub ignore_headers_and_footers: Option<bool>,
    /// Words in a chunk; 0: each paragraph is one.
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

/// Words are counted, whichever is named; a model by its name would have to be fetched, so the
/// task fails.
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

/// The work: a text is cut into chunks of so many words. The error is for the client to read.
pub fn cut(file: &[u8], configuration: &Configuration) -> Result<Vec<Chunk>, String> {
    let chunking = configuration.chunk_processing.clone().unwrap_or_default();
    if let Tokenizer::String(model) = chunking.tokenizer {
        return Err(format!("Tokenizer {model} cannot be loaded"));
    }
    let text = str::from_utf8(file).map_err(|_| "The file is not UTF-8 text")?;
    let words: Vec<Vec<&str>> = match chunking.target_length {
        0 => {
            let paragraphs = text.split("\n\n").map(|paragraph| paragraph.split_whitespace());
            paragraphs.map(Iterator::collect).filter(|words: &Vec<_>| !words.is_empty()).collect()
        }
        length => {
            let words: Vec<_> = text.split_whitespace().collect();
            words.chunks(length as usize).map(<[_]>::to_vec).collect()
        }
    };
    let chunk = |words: Vec<&str>| Chunk {
        id: Uuid::new_v4(),
        content: words.join(" "),
        words: words.len(),
    };
    Ok(words.into_iter().map(chunk).collect())
}
