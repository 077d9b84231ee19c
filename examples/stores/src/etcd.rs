//! Tasks in etcd: the stored form in JSON under `task/ID`, its revision in decimal under
//! `revision/ID`. A commit is a transaction that compares the one and puts both: nothing is read
//! first.
//!
//! etcd promises strict serializability for transactions, and linearizable reads unless a read asks
//! for less; what was acknowledged survives as long as a majority of the nodes does. A call that
//! ends in a time-out *may have happened*, and a client learns that only if it looks
//! (<https://etcd.io/docs/v3.4/learning/api_guarantees/>). A request is limited to 1.5 MiB, and the
//! database to 2 GiB by default (<https://etcd.io/docs/v3.4/dev-guide/limit/>); old versions are
//! kept until they are compacted, so set `--auto-compaction-retention`
//! (<https://etcd.io/docs/v3.4/op-guide/maintenance/>).

use std::time::Duration;

use etcd_client::{Client, Compare, CompareOp, ConnectOptions, Txn, TxnOp};
use task_lifecycle::Revision;
use uuid::Uuid;

use crate::{Draft, Result, Task};

/// Connects to the nodes at `http://HOST:PORT`, with commas between them. A call goes to one of
/// them, and is not sent again: if that node is stuck, it is an error after `patience`.
pub async fn open(nodes: &str, patience: Duration) -> Result<Client> {
    let options = ConnectOptions::new().with_connect_timeout(patience).with_timeout(patience);
    Ok(Client::connect(nodes.split(',').collect::<Vec<_>>(), Some(options)).await?)
}

/// Stores a new task; false if the id is taken.
pub async fn create(db: &Client, id: Uuid, task: &Task) -> Result<bool> {
    let [_, revision] = keys(id);
    let absent = Compare::version(revision, CompareOp::Equal, 0);
    swap(db, absent, puts(id, task)?).await
}

pub async fn load(db: &Client, id: Uuid) -> Result<Option<Task>> {
    let [key, _] = keys(id);
    let answer = db.kv_client().get(key, None).await?;
    Ok(answer.kvs().first().map(|it| serde_json::from_slice(it.value())).transpose()?)
}

/// Stores what was decided; false if the task is no longer as it was loaded, or is gone.
pub async fn commit(db: &Client, id: Uuid, draft: &Draft) -> Result<bool> {
    swap(db, is_at(id, draft.loaded()), puts(id, draft)?).await
}

/// Removes a task; false as for [`commit`].
pub async fn delete(db: &Client, id: Uuid, loaded: Revision) -> Result<bool> {
    swap(db, is_at(id, loaded), keys(id).map(|key| TxnOp::delete(key, None))).await
}

/// Holds for no task that is not there.
fn is_at(id: Uuid, loaded: Revision) -> Compare {
    let [_, revision] = keys(id);
    Compare::value(revision, CompareOp::Equal, loaded.to_string())
}

fn puts(id: Uuid, task: &Task) -> Result<[TxnOp; 2]> {
    let ([key, revision], stored) = (keys(id), serde_json::to_string(task)?);
    let revision = TxnOp::put(revision, task.revision().to_string(), None);
    Ok([TxnOp::put(key, stored, None), revision])
}

async fn swap(db: &Client, condition: Compare, then: [TxnOp; 2]) -> Result<bool> {
    let transaction = Txn::new().when([condition]).and_then(then);
    Ok(db.kv_client().txn(transaction).await?.succeeded())
}

fn keys(id: Uuid) -> [String; 2] {
    ["task", "revision"].map(|kind| format!("{kind}/{id}"))
}
