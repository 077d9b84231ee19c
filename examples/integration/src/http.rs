use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use task_lifecycle::{Task, TransitionError};

pub enum Refusal {
    NotFound,
    Status(TransitionError),
    Stale,
    Unknown,
    Outage,
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let (code, text) = match self {
            Self::NotFound => (StatusCode::NOT_FOUND, "no such task".to_owned()),
            // Or CONFLICT, 409. Cancel Task answers 400.
            Self::Status(refused) => (StatusCode::BAD_REQUEST, refused.to_string()),
            Self::Stale => (StatusCode::PRECONDITION_FAILED, "the task has changed".to_owned()),
            Self::Unknown => (
                StatusCode::SERVICE_UNAVAILABLE,
                "it is not known whether this was done".to_owned(),
            ),
            Self::Outage => (StatusCode::INTERNAL_SERVER_ERROR, "server error".to_owned()),
        };
        (code, text).into_response()
    }
}

pub fn etag<T>(task: &Task<T>) -> String {
    format!("\"{}\"", task.revision())
}

/// Compares entity tags, text with text: `"01"` is not `"1"`.
pub fn check_if_match<T>(headers: &HeaderMap, task: &Task<T>) -> Result<(), Refusal> {
    let Some(wanted) = headers.get(header::IF_MATCH) else { return Ok(()) };
    let mut tags = wanted.to_str().unwrap_or_default().split(',').map(str::trim);
    if tags.any(|tag| tag == "*" || tag == etag(task)) { Ok(()) } else { Err(Refusal::Stale) }
}
