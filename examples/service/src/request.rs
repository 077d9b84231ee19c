//! Who sends a request, and what it names.

use std::collections::HashMap;
use std::sync::Arc;

use axum::extract::{FromRequestParts, Path};
use axum::http::request::Parts;
use axum::http::{HeaderName, StatusCode, header};
use task_lifecycle::Task;
use tokio::sync::Notify;
use uuid::Uuid;

use crate::answer::{Refusal, tag};
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

fn text(parts: &Parts, name: HeaderName) -> Option<&str> {
    parts.headers.get(name)?.to_str().ok()
}

/// The user whose API key is in `Authorization`; there is no scheme before the key.
pub struct Caller(pub String);

impl FromRequestParts<App> for Caller {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Refusal> {
        let user = text(parts, header::AUTHORIZATION).and_then(|key| app.keys.get(key));
        user.map(|user| Self(user.clone())).ok_or(Refusal::Unauthorized)
    }
}

/// The caller and the task in the path. A malformed id is a task that does not exist.
impl FromRequestParts<App> for Key {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Refusal> {
        let Caller(owner) = Caller::from_request_parts(parts, app).await?;
        let path = Path::<String>::from_request_parts(parts, app).await.ok();
        let is_whole = |id: &str| Uuid::try_parse(id).is_ok_and(|uuid| uuid.to_string() == id);
        let id = path.map(|Path(id)| id).filter(|id| is_whole(id)).ok_or(Refusal::NotFound)?;
        Ok(Self { id, owner })
    }
}

/// What a change is asked with.
pub struct Asked {
    /// The request's name for the log: its `X-Request-Id`, or another.
    pub by: String,
    /// The entity tags in `If-Match`; `None` if there is no such header.
    if_match: Option<Vec<String>>,
    /// Where the client reached the server, for the URLs in answers.
    pub base: String,
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

impl FromRequestParts<App> for Asked {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, _: &App) -> Result<Self, Refusal> {
        let id = text(parts, HeaderName::from_static("x-request-id"));
        let id = id.filter(|id| (1..=64).contains(&id.len())).map(str::to_owned);
        let by = format!("request {}", id.unwrap_or_else(|| Uuid::new_v4().to_string()));
        let lines = parts.headers.get_all(header::IF_MATCH);
        let tags = lines.iter().flat_map(|line| line.to_str().unwrap_or_default().split(','));
        let tags = tags.map(|tag| tag.trim().to_owned()).collect();
        let if_match = parts.headers.contains_key(header::IF_MATCH).then_some(tags);
        // Set by a proxy that ends TLS.
        let proto = text(parts, HeaderName::from_static("x-forwarded-proto")).unwrap_or("http");
        let proto = if proto == "https" { proto } else { "http" };
        let base = format!("{proto}://{}", text(parts, header::HOST).unwrap_or_default());
        Ok(Self { by, if_match, base })
    }
}
