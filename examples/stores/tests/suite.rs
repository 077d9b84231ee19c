//! Each store keeps tasks as the machine means them: the conformance suite on two handles, with
//! calls that overlap, and with threads.

use std::env;
use std::process::Command;
use std::sync::Arc;

use task_lifecycle::conformance;
use task_stores::engines::{self, Disk};
use task_stores::suite::{Etcd, Postgres, Redis, S3, Sqlite, Store};
use task_stores::{Document, Error, Result, Task};
use tokio::runtime::Runtime;
use uuid::Uuid;

/// A store whose calls block their thread, so that threads can race.
struct Blocking<S> {
    store: S,
    runtime: Arc<Runtime>,
}

impl<S: Store> Blocking<S> {
    fn open(address: &str) -> Self {
        let runtime = Runtime::new().unwrap();
        let store = runtime.block_on(S::open(address)).unwrap();
        Self { store, runtime: runtime.into() }
    }
}

impl<S: Store> conformance::Store for Blocking<S> {
    type Id = Uuid;
    type Payload = Document;
    type Error = Error;

    fn payload(text: &str) -> Document {
        S::payload(text)
    }

    async fn create(&self, task: &Task) -> Result<Uuid> {
        self.runtime.block_on(self.store.create(task))
    }

    async fn load(&self, id: &Uuid) -> Result<Option<Task>> {
        self.runtime.block_on(self.store.load(id))
    }

    async fn commit(&self, id: &Uuid, loaded: u64, task: &Task) -> Result<bool> {
        self.runtime.block_on(self.store.commit(id, loaded, task))
    }

    async fn delete(&self, id: &Uuid, loaded: u64) -> Result<bool> {
        self.runtime.block_on(self.store.delete(id, loaded))
    }

    async fn another(&self) -> Option<Self> {
        let store = self.runtime.block_on(self.store.another())?;
        Some(Self { store, runtime: self.runtime.clone() })
    }
}
