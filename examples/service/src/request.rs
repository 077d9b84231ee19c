//! What a client sends, and who it is.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::Arc;

use axum::Json;
use axum::body::HttpBody as _;
use axum::extract::rejection::StringRejection;
use axum::extract::{FromRequest, FromRequestParts, Path, Request};
use axum::http::request::Parts;
use axum::http::{HeaderName, StatusCode, header};
use chrono::{DateTime, Utc};
use data_url::{DataUrl, forgiving_base64};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Map;
use serde_json::value::RawValue;
use task_lifecycle::{Status, Task, UnknownStatus};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::spawn_blocking;
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use crate::answer::Refusal;
use crate::document::{Configuration, Document};
use crate::plain;
use crate::server::LARGEST_BODY;
use crate::store::{self, Event, Key, New, Page, Payload, Row, Store, TRIES, is_lasting};

/// The most that a request may hold besides its file, in bytes. Parsed, it takes many times as much.
const LARGEST_CONFIGURATION: usize = 256 << 10;

/// What every route can use.
#[derive(Clone)]
pub struct App {
    pub store: Arc<dyn Store>,
    /// The user of each API key.
    pub keys: Arc<HashMap<String, String>>,
    bodies: Arc<Semaphore>,
    answers: Arc<Semaphore>,
}

/// How many bytes of large bodies are read at a time, and of large documents answered. In memory each
/// takes a few times as much.
const ROOM: u32 = 32 << 20;

/// Anything smaller needs no room.
const SMALL: u32 = 64 << 10;

/// A share of it, until it is dropped.
pub type Room = OwnedSemaphorePermit;

async fn room(of: &Arc<Semaphore>, bytes: u64) -> Option<Room> {
    let bytes = u32::try_from(bytes).unwrap_or(u32::MAX).min(ROOM);
    if bytes > SMALL { of.clone().acquire_many_owned(bytes).await.ok() } else { None }
}

impl App {
    pub fn new(store: Arc<dyn Store>, keys: HashMap<String, String>) -> Self {
        let [bodies, answers] = [(); 2].map(|()| Arc::new(Semaphore::new(ROOM as usize)));
        Self { store, keys: Arc::new(keys), bodies, answers }
    }

    /// The task, if it is there, is the caller's and has not expired.
    pub async fn load(&self, key: &Key) -> Result<Row, Refusal> {
        self.store.load(key).await?.ok_or(Refusal::NotFound)
    }

    /// The same, with its document. A large one waits for room, to be kept until the answer is sent.
    pub async fn read(&self, key: &Key) -> Result<(Row, Document, Option<Room>), Refusal> {
        if let Some((row, document)) = self.store.read_within(key, SMALL).await? {
            return Ok((row, document, None));
        }
        let room = self.room(self.load(key).await?.size).await;
        let (row, document) = self.store.read(key).await?.ok_or(Refusal::NotFound)?;
        Ok((row, document, room))
    }

    /// Room for an answer of so many bytes.
    pub async fn room(&self, bytes: u64) -> Option<Room> {
        room(&self.answers, bytes).await
    }

    /// See [`Store::create`].
    pub async fn create(&self, new: &New) -> Result<Option<Row>, Refusal> {
        settled(self.store.add(new).await)
    }

    /// See [`Store::commit`].
    pub async fn commit(&self, row: &Row, loaded: u64, event: &Event) -> Result<bool, Refusal> {
        settled(self.store.change(row, loaded, event, TRIES).await)
    }

    /// See [`Store::delete`].
    pub async fn delete(&self, key: &Key, loaded: u64, event: &Event) -> Result<bool, Refusal> {
        settled(self.store.remove(key, loaded, event).await)
    }
}

fn settled<T>(outcome: sqlx::Result<T>) -> Result<T, Refusal> {
    outcome.map_err(|fault| {
        if is_lasting(&fault) { Refusal::Outage(fault) } else { Refusal::Unknown(fault.into()) }
    })
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
        let Caller(user) = Caller::from_request_parts(parts, app).await?;
        let path = Path::<String>::from_request_parts(parts, app).await.ok();
        let id = path.and_then(|Path(text)| {
            let id = Uuid::try_parse(&text).ok()?;
            (id.to_string() == text).then_some(id)
        });
        id.map(|id| Self { user, id }).ok_or(Refusal::NotFound)
    }
}

/// The revision that the client has seen, if it sends one in `If-Match`.
pub struct Seen(Vec<String>);

impl Seen {
    pub fn check(&self, task: &Task<Payload>) -> Result<(), Refusal> {
        let is_current = |tag: &str| {
            let revision = tag.strip_prefix('"').and_then(|tag| tag.strip_suffix('"'));
            let revision = revision.and_then(|revision| revision.parse().ok());
            tag == "*" || revision.is_some_and(|seen| task.check_revision(seen).is_ok())
        };
        if self.0.is_empty() || self.0.iter().any(|tag| is_current(tag)) {
            return Ok(());
        }
        let text = format!("If-Match: the task is at \"{}\"", task.revision());
        Err(Refusal::Request(StatusCode::PRECONDITION_FAILED, text))
    }
}

impl<S: Sync> FromRequestParts<S> for Seen {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        let lines = parts.headers.get_all(header::IF_MATCH).iter();
        let tags = lines.flat_map(|line| line.to_str().unwrap_or_default().split(','));
        Ok(Self(tags.map(|tag| tag.trim().to_owned()).collect()))
    }
}

/// A body. A large one waits for room before it is read.
pub struct Text(pub String, pub Option<Room>);

impl FromRequest<App> for Text {
    type Rejection = Refusal;

    async fn from_request(request: Request, app: &App) -> Result<Self, Refusal> {
        // The size of a chunked body is not known in advance.
        let size = request.body().size_hint().upper().unwrap_or(LARGEST_BODY.into());
        let room = room(&app.bodies, size).await;
        let text = String::from_request(request, app).await;
        let refusal =
            |refused: StringRejection| Refusal::Request(refused.status(), refused.body_text());
        Ok(Self(text.map_err(refusal)?, room))
    }
}

/// The `Idempotency-Key`, under which a repeated request is carried out once.
pub struct Named(pub Option<String>);

impl<S: Sync> FromRequestParts<S> for Named {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Refusal> {
        let Some(name) = parts.headers.get("Idempotency-Key") else { return Ok(Self(None)) };
        let name = name.to_str().ok().filter(|name| (1..=255).contains(&name.len()));
        let name =
            name.ok_or_else(|| Refusal::bad("Idempotency-Key: expected 1 to 255 characters"))?;
        Ok(Self(Some(name.to_owned())))
    }
}

/// Where the client reached the server, for the URLs in answers.
pub struct Base(pub String);

impl<S: Sync> FromRequestParts<S> for Base {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Refusal> {
        let host = text(parts, header::HOST).ok_or_else(|| Refusal::bad("Host: missing"))?;
        // Set by a proxy that terminates TLS.
        let proto = text(parts, HeaderName::from_static("x-forwarded-proto"));
        let is_secure = proto.is_some_and(|proto| proto.split(',').next() == Some("https"));
        Ok(Self(format!("http{}://{host}", if is_secure { "s" } else { "" })))
    }
}

fn check(body: &str) -> Result<(), Refusal> {
    plain::check(body).map_err(|fault| Refusal::bad(&fault))
}

/// Parses a body, whatever its content type. Unknown fields are ignored, as the public API does.
fn json<T: DeserializeOwned>(body: &str) -> Result<T, Refusal> {
    let Json(value) = Json::from_bytes(body.as_bytes())?;
    // The derive alone would accept an array.
    let is_object = body.trim_start().starts_with('{');
    is_object.then_some(value).ok_or_else(|| Refusal::bad("expected an object"))
}

/// The file in a request, as it stands there.
#[derive(Deserialize)]
struct Unread<'a> {
    #[serde(borrow)]
    file: &'a RawValue,
}

/// Refuses a body that is too large without its file.
fn limit(body: &str) -> Result<(), Refusal> {
    let file = || serde_json::from_str::<Unread>(body).map_or(0, |unread| unread.file.get().len());
    if body.len() > LARGEST_CONFIGURATION && body.len() - file() > LARGEST_CONFIGURATION {
        let text = format!("more than {LARGEST_CONFIGURATION} bytes besides the file");
        return Err(Refusal::Request(StatusCode::PAYLOAD_TOO_LARGE, text));
    }
    Ok(())
}

/// The configuration of an update.
pub fn configuration(body: &str) -> Result<Configuration, Refusal> {
    limit(body)?;
    check(body)?;
    json(body)
}

/// The task that a request creates. The body may be large, so it is parsed on a blocking thread.
pub async fn new(user: String, name: Option<String>, body: String) -> Result<New, Refusal> {
    let read = spawn_blocking(move || {
        check(&body)?;
        let upload: Upload = json(&body)?;
        limit(&body)?;
        let mut configuration: Configuration = json(&body)?;
        configuration.chunk_processing.get_or_insert_default();
        let document = Document::queued(&configuration, Map::new());
        let fingerprint = Uuid::new_v5(&Uuid::NAMESPACE_OID, body.as_bytes()).to_string();
        let request = name.map(|key| store::Request { key, fingerprint });
        Ok(New { request, ..New::of(user, upload.name()?, document, upload.content()?) })
    });
    read.await.map_err(|fault| sqlx::Error::Decode(fault.into()))?
}

/// The document of a new task; the fields of its configuration stand beside these.
#[derive(Deserialize, ToSchema)]
pub struct Upload {
    /// Base64, or a `data:` URL; not empty.
    #[schema(min_length = 1)]
    pub file: String,
    pub file_name: Option<String>,
}

impl Upload {
    pub fn name(&self) -> Result<String, Refusal> {
        let name = self.file_name.as_deref().filter(|name| !name.is_empty()).unwrap_or("document");
        // PostgreSQL cannot store a NUL.
        let is_text = !name.contains('\0');
        is_text.then(|| name.to_owned()).ok_or_else(|| Refusal::bad("file_name: NUL in it"))
    }

    pub fn content(&self) -> Result<Vec<u8>, Refusal> {
        let file = self.file.as_str();
        let content = if file.starts_with("data:") {
            DataUrl::process(file).ok().and_then(|url| Some(url.decode_to_vec().ok()?.0))
        } else {
            forgiving_base64::decode_to_vec(file.as_bytes()).ok()
        };
        match content {
            None => {
                Err(Refusal::bad("file: expected base64 or a data: URL; others are not fetched"))
            }
            Some(content) if content.is_empty() => Err(Refusal::bad("file: empty")),
            Some(content) => Ok(content),
        }
    }
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Shown {
    pub include_chunks: Option<bool>,
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct List {
    /// Tasks on a page; 10 by default.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<u32>,
    /// The `next_cursor` of the previous page.
    cursor: Option<DateTime<Utc>>,
    /// Created then or later.
    start: Option<DateTime<Utc>>,
    /// Created then or earlier.
    end: Option<DateTime<Utc>>,
    /// `asc` or `desc`, the default.
    #[serde(default)]
    #[param(inline)]
    sort: Sort,
    /// Separated by commas.
    statuses: Option<String>,
    /// Separated by commas. All tasks are `Parse`.
    task_types: Option<String>,
    /// `false` by default.
    #[serde(default)]
    pub include_chunks: bool,
}

#[derive(Default, PartialEq, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum Sort {
    Asc,
    #[default]
    Desc,
}

impl List {
    /// The requested page, and one task more, which tells whether there is a next page.
    pub fn page(&self) -> Result<Page, Refusal> {
        let limit = self.limit.unwrap_or(10);
        if !(1..=1000).contains(&limit) {
            return Err(Refusal::bad("limit: expected 1 to 1000"));
        }
        let status = |word: &str| {
            word.parse().map_err(|unknown: UnknownStatus| Refusal::bad(&unknown.to_string()))
        };
        let mut statuses = Status::ALL.to_vec();
        if let Some(list) = &self.statuses {
            let named: Vec<Status> = list.split(',').map(status).collect::<Result<_, _>>()?;
            statuses.retain(|status| named.contains(status));
        }
        if self.task_types.as_ref().is_some_and(|types| !types.contains("Parse")) {
            statuses.clear();
        }
        let micros = |at: DateTime<Utc>| at.timestamp_micros();
        let mut from = self.start.map_or(i64::MIN, micros);
        let mut to = self.end.map_or(i64::MAX, micros);
        let ascending = self.sort == Sort::Asc;
        match self.cursor.map(micros) {
            Some(cursor) if ascending => from = from.max(cursor + 1),
            Some(cursor) => to = to.min(cursor - 1),
            None => {}
        }
        Ok(Page { from, to, statuses, ascending, limit: limit + 1 })
    }
}
