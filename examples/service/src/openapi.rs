//! The OpenAPI document, from the routes.

use utoipa::openapi::security::{ApiKey, ApiKeyValue, SecurityScheme};
use utoipa::{IntoResponses, Modify, OpenApi};

use crate::routes;

#[derive(OpenApi)]
#[openapi(
    info(description = "Tasks that cut documents into chunks: create, update, cancel, delete."),
    paths(
        routes::cancel,
        routes::create,
        routes::update,
        routes::delete,
        routes::show,
        routes::list,
        routes::events,
        routes::file,
    ),
    modifiers(&KeyInHeader)
)]
pub(crate) struct Docs;

struct KeyInHeader;

impl Modify for KeyInHeader {
    fn modify(&self, docs: &mut utoipa::openapi::OpenApi) {
        let key = SecurityScheme::ApiKey(ApiKey::Header(ApiKeyValue::new("Authorization")));
        let components = docs.components.get_or_insert_default();
        components
            .security_schemes
            .insert("api_key".to_owned(), key.into());
    }
}

/// What every route but the cancel, which has its own words, can refuse.
#[derive(IntoResponses)]
#[expect(dead_code, reason = "only its description is used")]
pub(crate) enum Refused {
    /// The request is malformed, or the status of the task does not accept it
    #[response(status = 400, content_type = "text/plain")]
    BadRequest(String),
    /// Unauthorized
    #[response(status = 401, content_type = "text/plain")]
    Unauthorized(String),
    /// Task not found
    #[response(status = 404, content_type = "text/plain")]
    NotFound(String),
    /// The task is no longer at the revision of `If-Match`
    #[response(status = 412, content_type = "text/plain")]
    Stale(String),
    /// The body is too large
    #[response(status = 413, content_type = "text/plain")]
    TooLarge(String),
    /// A value has the wrong type
    #[response(status = 422, content_type = "text/plain")]
    WrongType(String),
    /// Server error
    #[response(status = 500, content_type = "text/plain")]
    Outage(String),
}
