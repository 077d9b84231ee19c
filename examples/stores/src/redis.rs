//! Tasks in Redis or Valkey: a hash `task:ID` of the stored form in JSON and its revision, which is
//! compared as text, for Lua's numbers are doubles. A commit is a script that compares and sets. A
//! script runs alone (<https://redis.io/docs/latest/develop/programmability/eval-intro/>), so of
//! two commits from one revision the second finds another revision.
//!
//! With `appendonly yes` and `appendfsync always`, what was acknowledged survives a crash of the
//! machine; by default, all since the last snapshot is lost
//! (<https://redis.io/docs/latest/operate/oss_and_stack/management/persistence/>). Set
//! `maxmemory-policy noeviction`: other policies remove tasks. Read from the primary only.
//!
//! *A failover loses acknowledged commits.* A replica that is promoted without the last of them has
//! their revisions free again: two clients are then both told that they won from one revision, and
//! a worker whose start was lost may see the task start again. `WAIT` makes that rarer and does not
//! rule it out (<https://redis.io/docs/latest/commands/wait/>). Where that is too much, use an
//! engine with consensus.

use std::time::Duration;

use redis::aio::{ConnectionManager as Db, ConnectionManagerConfig};
use redis::{AsyncTypedCommands, Client, Script};
use task_lifecycle::Revision;
use uuid::Uuid;

use crate::{Draft, Result, Task};

/// Compares a revision (none: an empty text), and sets the task or removes it.
const SWAP: &str = r"
    if (redis.call('HGET', KEYS[1], 'revision') or '') ~= ARGV[1] then return 0 end
    if ARGV[2] then redis.call('HSET', KEYS[1], 'revision', ARGV[2], 'task', ARGV[3])
    else redis.call('DEL', KEYS[1]) end
    return 1";

/// Connects, and connects again after a failure. A call that failed is not sent again; one without
/// an answer is an error after `patience`.
pub async fn open(address: &str, patience: Duration) -> Result<Db> {
    let config = ConnectionManagerConfig::new().set_response_timeout(Some(patience));
    let config = config.set_connection_timeout(Some(patience));
    Ok(Client::open(address)?.get_connection_manager_with_config(config).await?)
}

/// Stores a new task; false if the id is taken.
pub async fn create(db: &Db, id: Uuid, task: &Task) -> Result<bool> {
    swap(db, id, "", Some(task)).await
}

pub async fn load(db: &Db, id: Uuid) -> Result<Option<Task>> {
    let json = db.clone().hget(key(id), "task").await?;
    Ok(json.map(|json| serde_json::from_str(&json)).transpose()?)
}

/// Stores what was decided; false if the task is no longer as it was loaded, or is gone.
pub async fn commit(db: &Db, id: Uuid, draft: &Draft) -> Result<bool> {
    swap(db, id, &draft.loaded().to_string(), Some(draft)).await
}

/// Removes a task; false as for [`commit`].
pub async fn delete(db: &Db, id: Uuid, loaded: Revision) -> Result<bool> {
    swap(db, id, &loaded.to_string(), None).await
}

async fn swap(db: &Db, id: Uuid, loaded: &str, task: Option<&Task>) -> Result<bool> {
    let script = Script::new(SWAP);
    let mut call = script.key(key(id));
    call.arg(loaded);
    if let Some(task) = task {
        call.arg(task.revision().to_string()).arg(serde_json::to_string(task)?);
    }
    Ok(call.invoke_async(&mut db.clone()).await?)
}

fn key(id: Uuid) -> String {
    format!("task:{id}")
}
