//! A wrapper around the store that builds in faults, and that disturbs workers even without a fault.
//! The service itself is not modified.

use std::collections::HashMap;
use std::fs::File;
use std::future::pending;
use std::io::{ErrorKind, Write};
use std::sync::Mutex;
use std::time::Duration;

use async_trait::async_trait;
use chrono::Utc;
use clap::ValueEnum;
use rand::seq::IndexedRandom;
use rand::{random_bool, random_range, rng};
use task_lifecycle::{Snapshot, Status};
use task_service::document::Document;
use task_service::store::{
    Entry, Event, Key, Message, New, Page, Payload, Requested, Result, Row, SqlStore, Store,
};
use tokio::time::sleep;
use uuid::Uuid;

use crate::clients::{HANGS, KILLS};

/// What the service does wrong.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
#[value(rename_all = "snake_case")]
pub enum Fault {
    /// An update that matches no row counts as a success
    #[value(name = "lost_race_answered_200")]
    LostRaceAnswered200,
    /// Writes do not check the revision
    UnconditionalWrite,
    /// A worker starts a task without checking the run of its message
    StartWithoutCheck,
    /// A worker that lost its run finishes whichever run it finds
    FinishWithoutCheck,
    /// A worker that lost its run finishes it before another worker starts the next
    FinishesAfterItsLease,
    /// A revert keeps the configuration of the update
    RevertForgetsConfiguration,
    /// A revert restores the old revision
    RevertRestoresRevision,
    /// A failed update leaves no message in the log
    FailsInSilence,
    /// A lost run shows as failed before it is retried
    FailedWhileRetrying,
    /// A change without an answer counts as not made
    TimeoutCountedAsNo,
    /// A change without an answer counts as made
    TimeoutCountedAsYes,
    /// The lease is not renewed
    NoRenewalAtWork,
    /// A worker drops a task that was edited in the queue
    EditLostTheMessage,
    /// A worker drops a task that was edited during its run
    EditLostTheResult,
    /// A document that kills its workers is retried without end
    PoisonTask,
    /// An expired task can still be read and changed
    ExpiredTaskCanBeUpdated,
    /// The file of an expired task is shown
    FileOfExpiredTaskIsShown,
    /// A deleted task leaves its file behind
    FileStaysAfterDelete,
    /// A create with a taken id is answered as if it were stored
    TakenNameAnsweredAsSuccess,
    /// A page begins with the last task of the previous page
    PageRepeatsItsLastRow,
}

impl Fault {
    /// Its name on the command line.
    pub fn name(self) -> String {
        self.to_possible_value().map_or(String::new(), |value| value.get_name().to_owned())
    }
}

/// The part of a process in the storm; for workers, see `WORKERS`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum Role {
    Server,
    /// Killed at times.
    Quick,
    /// Paused in the middle of runs, and killed at times.
    Sleeper,
    /// Sometimes does not renew its lease while it works on, and killed at times.
    Deaf,
    /// Never disturbed; its runs take longer than the lease.
    Steady,
}

/// Logs an event of a task: its id, its owner, the event.
pub const LOG: &str =
    "INSERT INTO events (task_id, user_id, event, at) SELECT $1, $2, $3, now FROM clock";

/// The log entry for a message that a worker has received.
pub const HANDED: &str = "handed";

/// How its message ends if the message was redelivered.
pub const AGAIN: &str = ", again";

/// The id of an existing task, which some creates use as well.
pub const TAKEN: Key = Key { user: String::new(), id: Uuid::nil() };

/// A store with at most one fault. It counts conflicts, by a byte each in a file.
pub struct Faulty {
    pub store: SqlStore,
    pub fault: Option<Fault>,
    pub role: Role,
    pub conflicts: File,
    pub state: Mutex<State>,
}

#[derive(Default)]
pub struct State {
    /// The messages that this process received.
    messages: Vec<Message>,
    /// For each task, the run of its last message, and the revision when that was received or
    /// started.
    runs: HashMap<Key, (u64, u64)>,
    /// Messages whose leases are not renewed.
    deaf: Vec<Message>,
    /// Everything that was read, for a cache that never forgets.
    cache: HashMap<Key, (Row, Document)>,
}

impl Faulty {
    fn is(&self, fault: Fault) -> bool {
        self.fault == Some(fault)
    }

    /// Whether a worker goes on with a run that it has lost.
    fn ignores_losses(&self) -> bool {
        self.is(Fault::FinishWithoutCheck) || self.is(Fault::FinishesAfterItsLease)
    }

    /// The row with its task changed.
    fn changed(row: &Row, change: impl FnOnce(&mut Snapshot<Payload>)) -> Row {
        let mut snapshot = Snapshot::from(row.task.clone());
        change(&mut snapshot);
        Row { task: snapshot.try_into().expect("a task"), ..row.clone() }
    }

    /// Commits over any revision.
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

    /// The run of the last message, and the revision that the task had then.
    fn run(&self, key: &Key) -> Option<(u64, u64)> {
        self.state.lock().unwrap().runs.get(key).copied()
    }

    /// The task as it would be if this process had not lost its run.
    async fn as_if_never_lost(&self, key: &Key) -> Result<Option<(Row, Document)>> {
        let run = self.run(key).map(|(run, _)| run);
        for _ in 0..200 {
            let Some((row, document)) = self.store.read(key).await? else { break };
            match (run, row.task.status()) {
                (Some(run), Status::Processing) => {
                    let row = Self::changed(&row, |task| task.run = run);
                    return Ok(Some((row, document)));
                }
                (Some(run), Status::Starting) if run < row.task.run() => {
                    if self.is(Fault::FinishesAfterItsLease) {
                        let row = Self::changed(&row, |task| {
                            (task.status, task.run) = (Status::Processing, run);
                        });
                        return Ok(Some((row, document)));
                    }
                    // Until another worker has started it.
                    sleep(Duration::from_millis(20)).await;
                }
                _ => break,
            }
        }
        self.store.read(key).await
    }

    /// The task as it was before it expired.
    fn expired(&self, key: &Key) -> Option<(Row, Document)> {
        let cached = self.state.lock().unwrap().cache.get(key).cloned()?;
        cached.0.expires_at.is_some_and(|at| at <= Utc::now()).then_some(cached)
    }

    /// Sometimes loses the answer to a commit.
    fn answer(&self) -> Result<bool> {
        if self.is(Fault::TimeoutCountedAsNo) && random_bool(0.1) {
            return Err(sqlx::Error::Io(ErrorKind::TimedOut.into()));
        }
        Ok(true)
    }

    /// Logs who receives a message.
    async fn hand(&self, message: Message, worker: &str, again: &str) -> Result<Message> {
        let status = if message.is_overdue { Status::Processing } else { Status::Starting };
        let event = Event {
            run: Some(message.run),
            status: Some(status),
            message: format!("{:?}{again}", self.role),
            ..Event::new(worker, HANDED, 0, None)
        };
        let event = serde_json::to_string(&event).expect("an event");
        let revision = self.store.load(&message.key).await?.map_or(0, |row| row.task.revision());
        let id = message.key.id.to_string();
        // From here on the worker has the message, even if the database is down.
        while sqlx::query(LOG)
            .bind(&id)
            .bind(&message.key.user)
            .bind(&event)
            .execute(&self.store.pool)
            .await
            .is_err()
        {
            sleep(Duration::from_millis(100)).await;
        }
        let mut state = self.state.lock().unwrap();
        if again.is_empty() {
            state.runs.insert(message.key.clone(), (message.run, revision));
        }
        // With such a fault, each of them shall lose its run.
        let often = if self.ignores_losses() { 1.0 } else { 0.4 };
        if self.role == Role::Deaf && random_bool(often) {
            state.deaf.push(message.clone());
        }
        Ok(message)
    }

    /// Redelivers an old message, as queues do.
    async fn redeliver(&self, worker: &str) -> Result<Option<Message>> {
        let recent = |state: &State| {
            let from = state.messages.len().saturating_sub(20);
            state.messages[from..].choose(&mut rng()).cloned()
        };
        let message = recent(&self.state.lock().unwrap());
        let Some(message) = message else { return Ok(None) };
        let mut message = self.hand(message, worker, AGAIN).await?;
        if self.is(Fault::StartWithoutCheck) {
            // Wait until another run is queued.
            for _ in 0..50 {
                let Some(row) = self.store.load(&message.key).await? else { break };
                if row.task.run() != message.run && row.task.status() == Status::Starting {
                    message.run = row.task.run();
                    break;
                }
                sleep(Duration::from_millis(20)).await;
            }
        }
        Ok(Some(message))
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
        match self.store.commit(&row, loaded, &event).await {
            Err(_) if self.is(Fault::TimeoutCountedAsYes) => return Ok(true),
            Err(fault) => return Err(fault),
            Ok(true) if operation == "start" => {
                let mut state = self.state.lock().unwrap();
                state.runs.insert(row.key.clone(), (row.task.run(), row.task.revision()));
                drop(state);
                return self.answer();
            }
            Ok(true) => return self.answer(),
            Ok(false) => {}
        }
        (&self.conflicts).write_all(b".")?;
        self.state.lock().unwrap().cache.remove(&row.key);
        match self.fault {
            Some(Fault::LostRaceAnswered200) => Ok(true),
            Some(Fault::UnconditionalWrite) => self.overwrite(&row, &event).await,
            _ => Ok(false),
        }
    }

    async fn claim(&self, worker: &str) -> Result<Option<Message>> {
        let often = if self.is(Fault::StartWithoutCheck) { 0.4 } else { 0.1 };
        let again = if random_bool(often) { self.redeliver(worker).await? } else { None };
        if again.is_some() {
            return Ok(again);
        }
        let Some(message) = self.store.claim(worker).await? else { return Ok(None) };
        let message = self.hand(message, worker, "").await?;
        if !message.is_overdue {
            self.state.lock().unwrap().messages.push(message.clone());
        }
        if self.role != Role::Steady && random_bool(0.1) {
            // The lease expires before the start, and another worker receives the same message.
            sleep(Duration::from_millis(random_range(950..1150))).await;
        }
        Ok(Some(message))
    }

    async fn create(&self, new: &New) -> Result<Option<Row>> {
        let key = Key { user: new.key.user.clone(), ..TAKEN };
        let taken = New { key, request: None, ..new.clone() };
        let created = self.store.create(if random_bool(0.05) { &taken } else { new }).await;
        let as_if_stored = || new.row(new.key.id, Utc::now());
        match created {
            Ok(None) if self.is(Fault::TakenNameAnsweredAsSuccess) => Ok(Some(as_if_stored())),
            Err(_) if self.is(Fault::TimeoutCountedAsYes) => Ok(Some(as_if_stored())),
            Ok(Some(row)) => self.answer().map(|_| Some(row)),
            created => created,
        }
    }

    async fn requested(&self, user: &str, key: &str) -> Result<Option<Requested>> {
        self.store.requested(user, key).await
    }

    async fn load(&self, key: &Key) -> Result<Option<Row>> {
        let mut loaded = self.store.load(key).await?;
        match self.fault {
            Some(Fault::ExpiredTaskCanBeUpdated) if loaded.is_none() => {
                loaded = self.expired(key).map(|(row, _)| row);
            }
            Some(Fault::PoisonTask) => loaded.iter_mut().for_each(|row| row.attempt = 1),
            _ => {}
        }
        Ok(loaded)
    }

    async fn read_within(&self, key: &Key, bytes: u32) -> Result<Option<(Row, Document)>> {
        if self.ignores_losses() {
            return self.as_if_never_lost(key).await;
        }
        let Some(read) = self.store.read_within(key, bytes).await? else {
            return Ok(self.expired(key));
        };
        let task = &read.0.task;
        let lost = match (self.fault, task.status()) {
            (Some(Fault::EditLostTheMessage), Status::Starting)
            | (Some(Fault::EditLostTheResult), Status::Processing) => self.run(key),
            (Some(Fault::ExpiredTaskCanBeUpdated), _) => {
                self.state.lock().unwrap().cache.insert(key.clone(), read.clone());
                None
            }
            _ => None,
        };
        let lost = lost.is_some_and(|(run, seen)| task.run() == run && task.revision() != seen);
        Ok((!lost).then_some(read))
    }

    async fn renew(&self, message: &Message) -> Result<bool> {
        if self.state.lock().unwrap().deaf.contains(message) {
            return pending().await;
        }
        if self.is(Fault::NoRenewalAtWork) {
            return Ok(true);
        }
        let is_mine = self.store.renew(message).await?;
        Ok(is_mine || self.ignores_losses())
    }

    async fn file(&self, key: &Key) -> Result<Option<Vec<u8>>> {
        let file = self.store.file(key).await?;
        if self.role == Role::Server {
            if file.is_none() && self.is(Fault::FileOfExpiredTaskIsShown) {
                let content = "SELECT content FROM files WHERE task_id = $1";
                let content = sqlx::query_scalar(content).bind(key.id.to_string());
                return content.fetch_optional(&self.store.pool).await;
            }
            return Ok(file);
        }
        let content = file.as_deref().unwrap_or_default();
        if content.starts_with(KILLS.as_bytes()) {
            std::process::abort();
        }
        if content.starts_with(HANGS.as_bytes()) {
            let message = |(run, _)| Message { key: key.clone(), run, is_overdue: false };
            let message = self.run(key).map(message);
            self.state.lock().unwrap().deaf.extend(message);
            sleep(Duration::from_secs(3)).await;
        }
        Ok(file)
    }

    async fn list(&self, user: &str, page: &Page) -> Result<Vec<Entry>> {
        let repeats = self.is(Fault::PageRepeatsItsLastRow) && page.to < i64::MAX;
        let to = page.to + i64::from(repeats);
        self.store.list(user, &Page { to, statuses: page.statuses.clone(), ..*page }).await
    }

    async fn delete(&self, key: &Key, loaded: u64, event: &Event) -> Result<bool> {
        match self.store.delete(key, loaded, event).await {
            Err(_) if self.is(Fault::TimeoutCountedAsYes) => Ok(true),
            Ok(true) => self.answer(),
            deleted => deleted,
        }
    }

    async fn log(&self, key: &Key) -> Result<Vec<Event>> {
        match self.fault {
            Some(Fault::TimeoutCountedAsNo) => Ok(Vec::new()),
            _ => self.store.log(key).await,
        }
    }
}
