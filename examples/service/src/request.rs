//! What a client sends, and who it is.

use std::collections::HashMap;
use std::convert::Infallible;
use std::fmt;
use std::sync::Arc;

use axum::Json;
use axum::extract::{FromRequestParts, Path};
use axum::http::request::Parts;
use axum::http::{HeaderName, StatusCode, header};
use chrono::{DateTime, Utc};
use data_url::{DataUrl, forgiving_base64};
use serde::de::{self, DeserializeOwned, DeserializeSeed, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use task_lifecycle::{Status, Task, UnknownStatus};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use crate::answer::Refusal;
use crate::document::Document;
use crate::store::{Event, Key, New, Page, Payload, Row, Store, TRIES, is_lasting};

/// What every route has.
#[derive(Clone)]
pub struct App {
    pub store: Arc<dyn Store>,
    /// The user of each API key.
    pub keys: Arc<HashMap<String, String>>,
}

impl App {
    /// The task, if it is there, is the caller's and has not expired.
    pub async fn load(&self, key: &Key) -> Result<Row, Refusal> {
        self.store.load(key).await?.ok_or(Refusal::NotFound)
    }

    /// The same, with its document.
    pub async fn read(&self, key: &Key) -> Result<(Row, Document), Refusal> {
        self.store.read(key).await?.ok_or(Refusal::NotFound)
    }

    /// Stores a new task. None: its name or its moment is taken.
    pub async fn create(&self, new: &New) -> Result<Option<Row>, Refusal> {
        settled(self.store.add(new).await)
    }

    /// Stores what became of a task. False: somebody was faster.
    pub async fn commit(&self, row: &Row, loaded: u64, event: &Event) -> Result<bool, Refusal> {
        settled(self.store.change(row, loaded, event, TRIES).await)
    }

    /// As `commit`, of a task that is gone.
    pub async fn delete(&self, key: &Key, loaded: u64, event: &Event) -> Result<bool, Refusal> {
        settled(self.store.remove(key, loaded, event).await)
    }
}

fn settled<T>(outcome: sqlx::Result<T>) -> Result<T, Refusal> {
    outcome.map_err(|fault| {
        if is_lasting(&fault) { Refusal::Outage(fault) } else { Refusal::Unknown(fault) }
    })
}

fn text(parts: &Parts, name: HeaderName) -> Option<&str> {
    parts.headers.get(name)?.to_str().ok()
}

/// The user whose API key is in `Authorization`, without a scheme word.
pub struct Caller(pub String);

impl FromRequestParts<App> for Caller {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Refusal> {
        let user = text(parts, header::AUTHORIZATION).and_then(|key| app.keys.get(key));
        user.map(|user| Self(user.clone())).ok_or(Refusal::Unauthorized)
    }
}

/// The caller, and the task that the path names. What is no id names none.
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

/// What the client saw before it asked for a change, if it says so in `If-Match`.
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

/// The client's name for its request, in `Idempotency-Key`: the same, asked again, is done once.
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

/// Tells a body from any other.
pub fn fingerprint(body: &str) -> String {
    Uuid::new_v5(&Uuid::NAMESPACE_OID, body.as_bytes()).to_string()
}

/// Where the client reached the server, for the addresses in its answers.
pub struct Base(pub String);

impl<S: Sync> FromRequestParts<S> for Base {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Refusal> {
        let host = text(parts, header::HOST).ok_or_else(|| Refusal::bad("Host: missing"))?;
        Ok(Self(format!("http://{host}")))
    }
}

/// Reads a body, whatever its declared type. Fields that are not known are passed over, as the
/// public API does.
pub fn json<T: DeserializeOwned>(body: &str) -> Result<T, Refusal> {
    let plain = Plain { depth: DEEPEST }.deserialize(&mut serde_json::Deserializer::from_str(body));
    plain.map_err(|fault| Refusal::bad(&fault.to_string()))?;
    let Json(value) = Json::from_bytes(body.as_bytes())?;
    // The derive would read a list as well.
    let is_object = body.trim_start().starts_with('{');
    is_object.then_some(value).ok_or_else(|| Refusal::bad("expected an object"))
}

/// How deep a body may be nested. It is stored a little deeper, and the parser stops at 128.
const DEEPEST: usize = 64;

/// Passes over a value that may be stored: not too deep, and without the keys that the JSON library
/// keeps for itself, in which a text would be read as JSON again.
#[derive(Clone, Copy)]
struct Plain {
    depth: usize,
}

impl Plain {
    fn inside<E: de::Error>(self) -> Result<Self, E> {
        let depth = self.depth.checked_sub(1);
        let depth = depth.ok_or_else(|| E::custom(format!("nested deeper than {DEEPEST}")))?;
        Ok(Self { depth })
    }
}

impl<'de> DeserializeSeed<'de> for Plain {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<(), D::Error> {
        from.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Plain {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        let inside = self.inside()?;
        while list.next_element_seed(inside)?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let inside = self.inside()?;
        while let Some(key) = map.next_key::<String>()? {
            if key.starts_with("$serde_json::") {
                return Err(de::Error::custom(format!("{key}: no key of a request")));
            }
            map.next_value_seed(inside)?;
        }
        Ok(())
    }
}

/// The document of a new task. Its configuration lies beside these fields.
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
        // Which PostgreSQL cannot keep.
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
    /// Tasks on a page; 10 if it is not said.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<u32>,
    /// `next_cursor` of the page before.
    cursor: Option<DateTime<Utc>>,
    /// Created then or later.
    start: Option<DateTime<Utc>>,
    /// Created then or earlier.
    end: Option<DateTime<Utc>>,
    /// `asc`, or `desc` if it is not said.
    #[serde(default)]
    #[param(inline)]
    sort: Sort,
    /// Separated by commas.
    statuses: Option<String>,
    /// Separated by commas. All tasks are `Parse`.
    task_types: Option<String>,
    /// `false` if it is not said.
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
    /// The page that is asked for, with one task more than fits on it.
    pub fn page(&self) -> Result<Page, Refusal> {
        let limit = self.limit.unwrap_or(10);
        if !(1..=1000).contains(&limit) {
            return Err(Refusal::bad("limit: expected 1 to 1000"));
        }
        let status = |word: &str| {
            word.parse().map_err(|unknown: UnknownStatus| Refusal::bad(&unknown.to_string()))
        };
        let mut statuses = match &self.statuses {
            None => Status::ALL.to_vec(),
            Some(list) => list.split(',').map(status).collect::<Result<_, _>>()?,
        };
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
