//! Stores for tasks, one file an engine: read one, copy it, put your payload in the place of
//! [`Document`]. `README.md` tells which engine when.

pub mod engines;
pub mod etcd;
pub mod postgres;
pub mod queue;
pub mod redis;
pub mod s3;
pub mod settle;
pub mod sqlite;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use task_lifecycle::{SnapshotError, UnknownStatus};

/// The payload of this program: yours has other fields.
#[derive(Clone, PartialEq, Default, Debug, Serialize, Deserialize)]
pub struct Document {
    pub message: String,
    pub output: Option<String>,
    /// Fields that a newer program added: this one keeps them, so that a revert loses none.
    #[serde(flatten)]
    pub others: Map<String, Value>,
}

pub type Task = task_lifecycle::Task<Document>;
pub type Draft = task_lifecycle::Draft<Document>;

pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An outage, or a task that cannot be read. After an outage, a create, a commit or a delete may
/// have happened all the same: [`settle`](crate::settle::settle) finds out.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("SQLite has no answer")]
    Sqlite(#[from] rusqlite::Error),
    #[error("PostgreSQL has no answer")]
    Postgres(#[from] sqlx::Error),
    #[error("etcd has no answer")]
    Etcd(#[from] etcd_client::Error),
    #[error("Redis has no answer")]
    Redis(#[from] ::redis::RedisError),
    #[error("the object store has no answer")]
    S3(#[from] object_store::Error),
    /// The stored text is not a valid task; or the payload cannot be written, and nothing happened.
    #[error("not a task in JSON")]
    Json(#[from] serde_json::Error),
    #[error("the stored task cannot be read")]
    Status(#[from] UnknownStatus),
    #[error("the stored task cannot be read")]
    Previous(#[from] SnapshotError),
}
