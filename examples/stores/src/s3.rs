//! Tasks in S3 or what speaks its protocol: an object `tasks/ID` of the stored form in JSON, and
//! `null` once the task is deleted.
//!
//! A commit reads the object, compares the revision in it, and writes under the condition that the
//! object still has the ETag that was read (`If-Match`). `object_store` has no conditional delete,
//! so a deleted task leaves a tombstone. The bucket's lifecycle can expire it, days later, by its
//! size, for a task is never that small
//! (<https://docs.aws.amazon.com/AmazonS3/latest/userguide/intro-lifecycle-filters.html>).
//!
//! S3 promises that a read sees every write that ended before it, and that of two writes under one
//! ETag one is refused
//! (<https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-writes.html>). Some that
//! speak its protocol ignore `If-Match`: run the suite against yours.
//!
//! *Retries are off*, and must be. The client would send a write again after a 5xx that hid a
//! success; the second would be refused because of the first, and a change that happened would look
//! like a lost race.

use object_store::aws::{AmazonS3, AmazonS3Builder};
use object_store::path::Path;
use object_store::{Error, ObjectStore, ObjectStoreExt, PutMode, RetryConfig, UpdateVersion};
use task_lifecycle::Revision;
use uuid::Uuid;

use crate::{Draft, Result, Task};

/// Opens a bucket at an address such as moto's or MinIO's.
pub async fn open(endpoint: &str, bucket: &str, key: &str, secret: &str) -> Result<AmazonS3> {
    let retry = RetryConfig { max_retries: 0, ..RetryConfig::default() };
    let builder = AmazonS3Builder::new().with_retry(retry).with_region("us-east-1");
    let builder = builder.with_access_key_id(key).with_secret_access_key(secret);
    let builder = builder.with_endpoint(endpoint).with_allow_http(true);
    let db = builder.with_bucket_name(bucket).build()?;
    // In a bucket that is not there, every task would be one that is not there.
    db.list_with_delimiter(Some(&Path::from("none"))).await?;
    Ok(db)
}

/// Stores a new task; false if the id is taken, or was.
pub async fn create(db: &AmazonS3, id: Uuid, task: &Task) -> Result<bool> {
    put(db, id, Some(task), PutMode::Create).await
}

pub async fn load(db: &AmazonS3, id: Uuid) -> Result<Option<Task>> {
    Ok(get(db, id).await?.map(|(task, _)| task))
}

/// Stores what was decided; false if the task is no longer as it was loaded, or is gone.
pub async fn commit(db: &AmazonS3, id: Uuid, draft: &Draft) -> Result<bool> {
    swap(db, id, draft.loaded(), Some(draft)).await
}

/// Removes a task; false as for [`commit`].
pub async fn delete(db: &AmazonS3, id: Uuid, loaded: Revision) -> Result<bool> {
    swap(db, id, loaded, None).await
}

async fn swap(db: &AmazonS3, id: Uuid, loaded: Revision, task: Option<&Task>) -> Result<bool> {
    match get(db, id).await? {
        Some((stored, mode)) if stored.revision() == loaded => put(db, id, task, mode).await,
        _ => Ok(false),
    }
}

/// The task, and the mode of a write that replaces it as it was read.
async fn get(db: &AmazonS3, id: Uuid) -> Result<Option<(Task, PutMode)>> {
    let found = match db.get(&path(id)).await {
        Err(Error::NotFound { .. }) => return Ok(None),
        found => found?,
    };
    let mode = PutMode::Update(UpdateVersion { e_tag: found.meta.e_tag.clone(), version: None });
    let task: Option<Task> = serde_json::from_slice(&found.bytes().await?)?;
    Ok(task.map(|task| (task, mode)))
}

async fn put(db: &AmazonS3, id: Uuid, task: Option<&Task>, mode: PutMode) -> Result<bool> {
    let json = serde_json::to_vec(&task)?;
    match db.put_opts(&path(id), json.into(), mode.into()).await {
        Ok(_) => Ok(true),
        // `AlreadyExists` is also a 409: others were at it, and nothing was written.
        Err(Error::Precondition { .. } | Error::AlreadyExists { .. }) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

fn path(id: Uuid) -> Path {
    Path::from(format!("tasks/{id}"))
}
