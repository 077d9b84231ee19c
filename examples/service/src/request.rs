//! Who sends a request, and what it names.

use std::collections::HashMap;
use std::sync::Arc;

use axum::extract::{FromRequestParts, Path};
use axum::http::request::Parts;
use axum::http::{StatusCode, header};
use task_lifecycle::Task;
use tokio::sync::Notify;
use uuid::Uuid;

use crate::answer::tag;
use crate::commit::Refusal;
use crate::store::{Key, SqlStore};

/// What every route can use.
#[derive(Clone)]
pub struct App {
    pub store: SqlStore,
    /// The user of each API key.
    pub keys: Arc<HashMap<String, String>>,
    /// Wakes an idle worker.
    pub queued: Arc<Notify>,
}

/// A request of somebody whose API key is in `Authorization`; there is no scheme before the key.
pub struct Asked {
    pub app: App,
    /// The caller, and the task in the path, or a new one.
    pub key: Key,
    /// The request's name for the log: its `X-Request-Id`, or another.
    pub by: String,
    /// Where the client reached the server, for the URLs in answers.
    pub base: String,
    /// The entity tags in `If-Match`; `None` if there is no such header.
    if_match: Option<Vec<String>>,
}

impl FromRequestParts<App> for Asked {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Refusal> {
        let path = Path::<HashMap<String, String>>::from_request_parts(parts, app).await;
        let text = |name| parts.headers.get(name).and_then(|value| value.to_str().ok());
        let owner = text("authorization").and_then(|key| app.keys.get(key));
        let owner = owner.ok_or(Refusal::Unauthorized)?.clone();
        let new_id = || Uuid::new_v4().to_string();
        let id = match path.map_err(|_| Refusal::NotFound)?.remove("task_id") {
            None => new_id(),
            Some(id) if Uuid::try_parse(&id).is_ok_and(|uuid| uuid.to_string() == id) => id,
            Some(_) => return Err(Refusal::NotFound), // malformed: there is no such task
        };
        let by = text("x-request-id").filter(|id| (1..=64).contains(&id.len()));
        let by = format!("request {}", by.map_or_else(new_id, str::to_owned));
        let scheme = text("x-forwarded-proto").unwrap_or("http"); // of the proxy that ends TLS
        let base = format!("{scheme}://{}", text("host").unwrap_or_default());
        let tags = parts.headers.get_all(header::IF_MATCH).iter();
        let tags = tags.flat_map(|line| line.to_str().unwrap_or_default().split(','));
        let tags = tags.map(|tag| tag.trim().to_owned()).collect();
        let if_match = parts.headers.contains_key(header::IF_MATCH).then_some(tags);
        Ok(Self { app: app.clone(), key: Key { id, owner }, by, base, if_match })
    }
}

impl Asked {
    /// Refuses if the client has seen another revision.
    pub fn check(&self, task: &Task<String>) -> Result<(), Refusal> {
        let current = tag(task);
        let is_current = |seen: &String| seen == "*" || *seen == current;
        if self.if_match.as_ref().is_none_or(|tags| tags.iter().any(is_current)) {
            return Ok(());
        }
        let text = format!("If-Match: the task is at {current}");
        Err(Refusal::Request(StatusCode::PRECONDITION_FAILED, text))
    }
}
