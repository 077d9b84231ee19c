//! The store as the clients use it: the one of the library, or with a fault in it.

use std::time::Duration;

use clap::ValueEnum;
use etcd_client::{GetOptions, Txn, TxnOp};
use task_stores::{Result, Task, etcd};
use tokio::time::sleep;
use uuid::Uuid;

/// What is wrong.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
#[value(rename_all = "snake_case")]
pub enum Fault {
    /// A call without an answer is said to have changed nothing
    UnknownTakenForNo,
    /// A call without an answer is said to have been done
    UnknownTakenForYes,
    /// A commit reads the revision, compares, and writes whatever has come between
    ReadThenPut,
    /// A load asks one node for what it has, and does not ask the others whether that is the newest
    StaleRead,
    /// A revert brings the status back and keeps the payload of the update
    RevertForgetsPayload,
    /// Nobody marks what they write, so what another wrote passes for one's own
    Unmarked,
}

pub struct Store {
    pub db: etcd_client::Client,
    pub fault: Option<Fault>,
}

impl Store {
    pub async fn create(&self, id: Uuid, task: &Task) -> Result<bool> {
        self.answer(etcd::create(&self.db, id, task).await)
    }

    pub async fn load(&self, id: Uuid) -> Result<Option<Task>> {
        if self.fault != Some(Fault::StaleRead) {
            return etcd::load(&self.db, id).await;
        }
        let options = GetOptions::new().with_serializable();
        let answer = self.db.kv_client().get(format!("task/{id}"), Some(options)).await?;
        Ok(answer.kvs().first().map(|it| serde_json::from_slice(it.value())).transpose()?)
    }

    /// As `load`, until there is an answer.
    pub async fn look(&self, id: Uuid) -> Option<Task> {
        loop {
            match self.load(id).await {
                Ok(found) => return found,
                Err(_) => sleep(Duration::from_millis(50)).await,
            }
        }
    }

    /// Commits a task, or deletes it.
    pub async fn commit(&self, id: Uuid, loaded: u64, task: Option<&Task>) -> Result<bool> {
        let answer = match task {
            Some(task) if self.fault == Some(Fault::ReadThenPut) => {
                self.read_then_put(id, loaded, task).await
            }
            Some(task) => etcd::commit(&self.db, id, loaded, task).await,
            None => etcd::delete(&self.db, id, loaded).await,
        };
        self.answer(answer)
    }

    async fn read_then_put(&self, id: Uuid, loaded: u64, task: &Task) -> Result<bool> {
        let found = etcd::load(&self.db, id).await?;
        if found.is_none_or(|found| found.revision() != loaded) {
            return Ok(false);
        }
        let json = serde_json::to_string(task)?;
        let puts = [("task", json), ("revision", task.revision().to_string())];
        let puts = puts.map(|(key, value)| TxnOp::put(format!("{key}/{id}"), value, None));
        self.db.kv_client().txn(Txn::new().and_then(puts)).await?;
        Ok(true)
    }

    fn answer(&self, answer: Result<bool>) -> Result<bool> {
        match (self.fault, answer) {
            (Some(Fault::UnknownTakenForNo), Err(_)) => Ok(false),
            (Some(Fault::UnknownTakenForYes), Err(_)) => Ok(true),
            (_, answer) => answer,
        }
    }
}
