//! The types that `Store` takes and returns.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use sqlx::Error;
use task_lifecycle::{Status, Task, Transition};
use tokio::task::spawn_blocking;
use uuid::Uuid;

use crate::database::text;
use crate::document::Document;
use crate::store::Result;

/// Names a task, by its id and its owner.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Key {
    pub user: String,
    pub id: Uuid,
}

/// A task without its documents, and the columns beside it.
#[derive(Clone, Debug)]
pub struct Row {
    pub key: Key,
    pub created_at: DateTime<Utc>,
    pub file_name: String,
    pub task: Task<Payload>,
    /// When the task was completed.
    pub ended_at: Option<DateTime<Utc>>,
    pub expires_at: Option<DateTime<Utc>>,
    /// Which attempt this run is since a client queued the task; the first is 1.
    pub attempt: u64,
    /// The bytes of the current document, as it is stored.
    pub size: u64,
}

/// What the state machine moves in place of a document: the name of the column that holds it, or a
/// new document.
#[derive(Clone, PartialEq, Debug)]
pub enum Payload {
    Current,
    Previous,
    New(Arc<Document>),
}

impl Payload {
    pub fn new(document: Document) -> Self {
        Self::New(Arc::new(document))
    }

    /// For `commit`: the column's name, or the document as text; and its `expires_in`.
    pub(crate) async fn source(&self) -> Result<(String, Option<i64>)> {
        let document = match self {
            Self::Current => return Ok(("payload".to_owned(), None)),
            Self::Previous => return Ok(("previous_payload".to_owned(), None)),
            Self::New(document) => document.clone(),
        };
        let expires_in = document.expires_in().map(i64::from);
        // Not on an async thread: it may be large.
        let text = spawn_blocking(move || text(&document)).await;
        Ok((text.map_err(|fault| Error::Encode(fault.into()))??, expires_in))
    }
}

/// A new task.
#[derive(Clone)]
pub struct New {
    pub key: Key,
    pub file_name: String,
    pub document: Document,
    pub content: Vec<u8>,
    pub request: Option<Request>,
    pub event: Event,
}

/// What identifies a repeated request.
#[derive(Clone)]
pub struct Request {
    /// Its `Idempotency-Key`.
    pub key: String,
    /// A hash of its body.
    pub fingerprint: String,
}

/// An earlier request, and the task that it created.
pub struct Requested {
    pub id: Uuid,
    pub created_at: DateTime<Utc>,
    pub fingerprint: String,
}

impl New {
    pub fn of(user: String, file_name: String, document: Document, content: Vec<u8>) -> Self {
        let event = Event::new(&user, "create", 0, Some(&Task::new(Payload::Current)));
        let key = Key { user, id: Uuid::new_v4() };
        Self { key, file_name, document, content, request: None, event }
    }

    /// The row as it is first stored.
    pub fn row(&self, id: Uuid, created_at: DateTime<Utc>) -> Row {
        Row {
            key: Key { user: self.key.user.clone(), id },
            created_at,
            file_name: self.file_name.clone(),
            task: Task::new(Payload::Current),
            ended_at: None,
            expires_at: None,
            attempt: 1,
            size: 0,
        }
    }
}

/// What a worker gets from the queue. It is valid while the task is active and in this run.
#[derive(Clone, PartialEq, Debug)]
pub struct Message {
    pub key: Key,
    pub run: u64,
    /// The run has been started, and its lease has expired.
    pub is_overdue: bool,
}

/// An entry of the log.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Event {
    /// Unique to the change: if it is in the log, the change was made.
    pub id: Uuid,
    pub at: DateTime<Utc>,
    pub by: String,
    /// An operation of the state machine; or `create`, `edit` or `claim` (of the message).
    pub operation: String,
    /// The revision before.
    pub loaded: u64,
    /// The revision and the status after it; `None` if it deleted the task.
    pub revision: Option<u64>,
    pub status: Option<Status>,
    /// The run after it; for a claim, the message's run.
    pub run: Option<u64>,
    pub reverted: bool,
    /// For people. After a failed update only this says why: the task shows its old message again.
    pub message: String,
}

impl Event {
    pub fn new(by: &str, operation: &str, loaded: u64, after: Option<&Task<Payload>>) -> Self {
        Self {
            id: Uuid::new_v4(),
            at: Utc::now(),
            by: by.to_owned(),
            operation: operation.to_owned(),
            loaded,
            revision: after.map(Task::revision),
            status: after.map(Task::status),
            run: after.map(Task::run),
            reverted: false,
            message: String::new(),
        }
    }

    /// For an operation, the last change before the commit.
    pub fn of(done: &Transition<Payload>, by: &str, loaded: u64, message: &str) -> Self {
        Self {
            revision: Some(done.revision),
            status: Some(done.to.status()),
            run: Some(done.run),
            reverted: done.reverted(),
            message: message.to_owned(),
            ..Self::new(by, done.operation.as_str(), loaded, None)
        }
    }
}

/// A page of a user's tasks, created from `from` to `to`, in microseconds since 1970.
#[derive(Debug)]
pub struct Page {
    pub from: i64,
    pub to: i64,
    pub statuses: Vec<Status>,
    pub ascending: bool,
    pub limit: u32,
}

/// One task of a page.
#[derive(Debug)]
pub struct Entry {
    pub id: String,
    pub created_at: DateTime<Utc>,
}
