//! The conformance suite, on the store as it is.

use task_lifecycle_conformance::{Store, check, check_threads};
use tokio::runtime::Handle;
use tokio::task::spawn_blocking;
use uuid::Uuid;

use super::*;

everywhere! { store_conforms }

/// A handle on the service's store, and another process's.
#[derive(Clone)]
struct Kept(SqlStore, SqlStore);

async fn store_conforms(service: Service) {
    let other = SqlStore::open(&service.database, LONG).await.unwrap();
    let (kept, runtime) = (Kept(service.store.clone(), other), Handle::current());
    check(async || kept.clone()).await;
    let races = move || check_threads(|| kept.clone(), |work| runtime.block_on(work));
    spawn_blocking(races).await.unwrap();
}

impl Store for Kept {
    type Id = Key;
    type Payload = String;
    type Error = sqlx::Error;

    fn payload(text: &str) -> String {
        serde_json::to_string(text).unwrap()
    }

    async fn create(&self, task: &Task) -> sqlx::Result<Key> {
        let key = Key { id: Uuid::new_v4().to_string(), owner: "suite".to_owned() };
        self.0.add(&key, task, b"file", "suite").await?;
        Ok(key)
    }

    async fn create_as(&self, id: &Key, task: &Task) -> sqlx::Result<Option<bool>> {
        match self.0.add(id, task, b"file", "suite").await {
            Err(fault) if meaning(&fault) == Meaning::Lasting => Ok(Some(false)),
            created => created.map(|_| Some(true)),
        }
    }

    async fn load(&self, id: &Key) -> sqlx::Result<Option<Task>> {
        self.0.load(id).await?.map(|row| row.task()).transpose()
    }

    async fn commit(&self, id: &Key, draft: &Draft) -> sqlx::Result<bool> {
        self.0.commit(id, draft, &Note::default()).await
    }

    async fn delete(&self, id: &Key, loaded: Revision) -> sqlx::Result<bool> {
        self.0.delete(id, loaded).await
    }

    async fn another(&self) -> Option<Self> {
        Some(Self(self.1.clone(), self.0.clone()))
    }
}
