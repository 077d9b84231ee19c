//! Faults, in a wrapper around the store: the service itself stays as it is.

use std::collections::HashMap;
use std::fs::File;
use std::io::Write;
use std::sync::Mutex;
use std::time::Duration;

use async_trait::async_trait;
use clap::ValueEnum;
use rand::{random_bool, random_range};
use task_lifecycle::{Snapshot, Status};
use task_service::document::Document;
use task_service::store::{
    Entry, Event, Key, Message, New, Page, Payload, Requested, Result, Row, SqlStore, Store,
};
use tokio::time::sleep;

/// What the program does wrong.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
#[value(rename_all = "snake_case")]
pub enum Fault {
    /// That zero rows changed is taken for success
    #[value(name = "lost_race_answered_200")]
    LostRaceAnswered200,
    /// Writes carry no revision
    UnconditionalWrite,
    /// A worker starts whatever its message names
    StartWithoutCheck,
    /// A worker that lost its run ends the run that it finds
    FinishWithoutCheck,
    /// A revert keeps the configuration of the update
    RevertForgetsConfiguration,
    /// A revert brings the old revision back
    RevertRestoresRevision,
    /// A failed update says nothing in the log
    FailsInSilence,
    /// A run that is given up is shown as failed before it is tried again
    FailedWhileRetrying,
    /// A row is committed and the answer is an outage
    OutageAfterCommit,
}

impl Fault {
    /// As `--break` takes it.
    pub fn name(self) -> String {
        self.to_possible_value().map_or(String::new(), |value| value.get_name().to_owned())
    }
}

/// A store that does something wrong, or nothing, and counts conflicts: a byte in a file for each.
pub struct Faulty {
    pub store: SqlStore,
    pub fault: Option<Fault>,
    pub conflicts: File,
    /// The runs that this process has a message of.
    pub runs: Mutex<HashMap<Key, u64>>,
}

impl Faulty {
    /// The task, its parts changed.
    fn changed(row: &Row, change: impl FnOnce(&mut Snapshot<Payload>)) -> Row {
        let mut snapshot = Snapshot::from(row.task.clone());
        change(&mut snapshot);
        Row { task: snapshot.try_into().expect("a task"), ..row.clone() }
    }

    /// Commits over whatever is there.
    async fn overwrite(&self, row: &Row, event: &Event) -> Result<bool> {
        while let Some(current) = self.store.load(&row.key).await? {
            if self.store.commit(row, current.task.revision(), event).await? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The document before the update, with the configuration of the update.
    async fn half_reverted(&self, key: &Key) -> Result<Option<Document>> {
        let Some((_, update)) = self.store.read(key).await? else { return Ok(None) };
        let previous = "SELECT previous_payload FROM tasks WHERE task_id = $1";
        let previous = sqlx::query_scalar::<_, Option<String>>(previous).bind(key.id.to_string());
        let text = previous.fetch_optional(&self.store.pool).await?.flatten();
        let document = text.and_then(|text| serde_json::from_str::<Document>(&text).ok());
        let configuration = update.configuration;
        Ok(document.map(|before| Document { configuration, ..before }))
    }

    /// The task as it would be if the run that this process lost were still its.
    async fn as_if_never_lost(&self, key: &Key) -> Result<Option<(Row, Document)>> {
        let run = self.runs.lock().unwrap().get(key).copied();
        for _ in 0..200 {
            let Some((row, document)) = self.store.read(key).await? else { break };
            match (run, row.task.status()) {
                (Some(run), Status::Processing) => {
                    let row = Self::changed(&row, |task| task.run = run);
                    return Ok(Some((row, document)));
                }
                // Until another has started it.
                (Some(run), Status::Starting) if run < row.task.run() => {
                    sleep(Duration::from_millis(20)).await;
                }
                _ => break,
            }
        }
        self.store.read(key).await
    }
}

#[async_trait]
impl Store for Faulty {
    async fn commit(&self, row: &Row, loaded: u64, event: &Event) -> Result<bool> {
        let operation = event.operation.as_str();
        let mut event = event.clone();
        let mut row = row.clone();
        match self.fault {
            Some(Fault::RevertForgetsConfiguration) if event.reverted => {
                if let Some(document) = self.half_reverted(&row.key).await? {
                    row = Self::changed(&row, |task| task.payload = Payload::new(document));
                }
            }
            Some(Fault::RevertRestoresRevision) if event.reverted => {
                row = Self::changed(&row, |task| task.revision = loaded - 1);
                event.revision = Some(loaded - 1);
            }
            Some(Fault::FailsInSilence) if event.reverted && operation == "fail" => {
                event.message.clear();
            }
            Some(Fault::FinishWithoutCheck) => {
                if let Some(current) = self.store.load(&row.key).await? {
                    let run =
                        current.task.run() + u64::from(["update", "retry"].contains(&operation));
                    row = Self::changed(&row, |task| task.run = run);
                    event.run = Some(run);
                }
            }
            Some(Fault::FailedWhileRetrying) if operation == "retry" && !row.task.is_update() => {
                let failed = Self::changed(&row, |task| task.status = Status::Failed);
                if self.store.commit(&failed, loaded, &event).await? {
                    sleep(Duration::from_millis(50)).await;
                    return self.overwrite(&row, &event).await;
                }
            }
            _ => {}
        }
        if self.store.commit(&row, loaded, &event).await? {
            return match self.fault {
                Some(Fault::OutageAfterCommit) => Err(sqlx::Error::WorkerCrashed),
                _ => Ok(true),
            };
        }
        (&self.conflicts).write_all(b".")?;
        match self.fault {
            Some(Fault::LostRaceAnswered200) => Ok(true),
            Some(Fault::UnconditionalWrite) => self.overwrite(&row, &event).await,
            _ => Ok(false),
        }
    }

    async fn claim(&self, worker: &str) -> Result<Option<Message>> {
        let mut message = self.store.claim(worker).await?;
        if let Some(message) = &message {
            self.runs.lock().unwrap().insert(message.key.clone(), message.run);
            if random_bool(0.1) {
                // The lease passes before the start, and another is handed the same message.
                sleep(Duration::from_millis(random_range(950..1150))).await;
            }
        }
        if let (Some(Fault::StartWithoutCheck), Some(message)) = (self.fault, &mut message) {
            // As the message of an update lies in a queue, and is delivered when it is stale.
            for _ in 0..40 {
                sleep(Duration::from_millis(20)).await;
                let Some(row) = self.store.load(&message.key).await? else { break };
                let is_stale = row.task.run() != message.run;
                if !row.task.is_update() && !is_stale {
                    break;
                }
                if is_stale && row.task.status() == Status::Starting {
                    message.run = row.task.run();
                    break;
                }
            }
        }
        Ok(message)
    }

    async fn create(&self, new: &New) -> Result<Option<Row>> {
        self.store.create(new).await
    }

    async fn requested(&self, user: &str, key: &str) -> Result<Option<Requested>> {
        self.store.requested(user, key).await
    }

    async fn load(&self, key: &Key) -> Result<Option<Row>> {
        self.store.load(key).await
    }

    async fn read(&self, key: &Key) -> Result<Option<(Row, Document)>> {
        match self.fault {
            Some(Fault::FinishWithoutCheck) => self.as_if_never_lost(key).await,
            _ => self.store.read(key).await,
        }
    }

    async fn renew(&self, message: &Message) -> Result<bool> {
        let is_mine = self.store.renew(message).await?;
        Ok(is_mine || self.fault == Some(Fault::FinishWithoutCheck))
    }

    async fn file(&self, key: &Key) -> Result<Option<Vec<u8>>> {
        self.store.file(key).await
    }

    async fn list(&self, user: &str, page: &Page) -> Result<Vec<Entry>> {
        self.store.list(user, page).await
    }

    async fn delete(&self, key: &Key, loaded: u64, event: &Event) -> Result<bool> {
        self.store.delete(key, loaded, event).await
    }

    async fn log(&self, key: &Key) -> Result<Vec<Event>> {
        self.store.log(key).await
    }
}
