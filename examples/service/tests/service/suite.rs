//! The conformance suite, on the store as it is.

use std::fmt;

use task_lifecycle::{Draft, Revision, Task};
use task_lifecycle_conformance::{Store, check};
use task_service::database::{Meaning, meaning};
use task_service::store::{Key, Note, Row, SqlStore, Tasks as _};
use uuid::Uuid;

use crate::{LONG, Service};

/// A handle on the service's store.
#[derive(Clone)]
struct Kept {
    store: SqlStore,
    url: String,
}

impl fmt::Debug for Kept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the service's store")
    }
}

impl Store for Kept {
    type Id = Key;
    type Payload = String;
    type Error = sqlx::Error;

    fn payload(text: &str) -> String {
        serde_json::to_string(text).unwrap()
    }

    async fn create(&self, task: &Task<String>) -> sqlx::Result<Key> {
        let key = Key { id: Uuid::new_v4().to_string(), owner: "suite".to_owned() };
        self.store.create(&key, task, b"file", "suite").await?;
        Ok(key)
    }

    async fn create_as(&self, id: &Key, task: &Task<String>) -> sqlx::Result<Option<bool>> {
        match self.store.create(id, task, b"file", "suite").await {
            Err(fault) if meaning(&fault) == Meaning::Lasting => Ok(Some(false)),
            created => created.map(|_| Some(true)),
        }
    }

    async fn load(&self, id: &Key) -> sqlx::Result<Option<Task<String>>> {
        Ok(self.store.load(id).await?.map(|Row { task, .. }| task))
    }

    async fn commit(&self, id: &Key, draft: &Draft<String>) -> sqlx::Result<bool> {
        self.store.commit(id, draft, &Note::default()).await
    }

    async fn delete(&self, id: &Key, loaded: Revision) -> sqlx::Result<bool> {
        self.store.delete(id, loaded).await
    }

    async fn another(&self) -> Option<Self> {
        let store = SqlStore::open(&self.url, LONG).await.unwrap();
        Some(Self { store, ..self.clone() })
    }
}
