//! The conformance suite, on the store as it is.

use task_lifecycle::Revision;
use task_lifecycle_conformance::{Store, check, check_threads};
use task_service::database::{Meaning, meaning};
use task_service::store::{Draft, Key, Note, SqlStore, Task, Tasks as _};
use tokio::runtime::Runtime;
use uuid::Uuid;

use crate::postgres::Postgres;
use crate::{LONG, Service};

/// A handle on the service's store, and another process's.
#[derive(Clone)]
struct Kept {
    store: SqlStore,
    other: SqlStore,
}

impl Kept {
    async fn of(service: &Service) -> Self {
        let other = SqlStore::open(&service.database, LONG).await.unwrap();
        Self { store: service.store.clone(), other }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn store_on_sqlite() {
    let service = Service::on(None).await;
    let kept = Kept::of(&service).await;
    check(async || kept.clone()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn store_on_postgres() {
    let Some(postgres) = Postgres::shared() else { return };
    let kept = Kept::of(&Service::on(Some(postgres)).await).await;
    check(async || kept.clone()).await;
}

#[test]
fn threads() {
    let runtime = Runtime::new().unwrap();
    for service in runtime.block_on(Service::everywhere()) {
        let kept = runtime.block_on(Kept::of(&service));
        check_threads(|| kept.clone(), |work| runtime.block_on(work));
    }
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
        self.store.add(&key, task, b"file", "suite").await?;
        Ok(key)
    }

    async fn create_as(&self, id: &Key, task: &Task) -> sqlx::Result<Option<bool>> {
        match self.store.add(id, task, b"file", "suite").await {
            Err(fault) if meaning(&fault) == Meaning::Lasting => Ok(Some(false)),
            created => created.map(|_| Some(true)),
        }
    }

    async fn load(&self, id: &Key) -> sqlx::Result<Option<Task>> {
        self.store.load(id).await?.map(|row| row.task()).transpose()
    }

    async fn commit(&self, id: &Key, draft: &Draft) -> sqlx::Result<bool> {
        self.store.commit(id, draft, &Note::default()).await
    }

    async fn delete(&self, id: &Key, loaded: Revision) -> sqlx::Result<bool> {
        self.store.delete(id, loaded).await
    }

    async fn another(&self) -> Option<Self> {
        let (store, other) = (self.other.clone(), self.store.clone());
        Some(Self { store, other })
    }
}
