//! A run: claim a message, check it, start, work, finish.
//!
//! The message's run is the worker's fencing token, from the message to the result. Every commit is
//! the same loop: load, check the run, decide, commit by the revision just loaded.

use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize as _;
use serde_json::{Map, Value};
use sqlx::Error;
use task_lifecycle::{StaleRun, Task, Transition, TransitionError};
use tokio::sync::{Notify, watch};
use tokio::task::spawn_blocking;
use tokio::time::sleep;

use crate::document::{Configuration, Document, cut};
use crate::store::{self, Event, Message, Payload, Store, is_lasting};

/// How long a worker waits between polls, unless it is woken.
const IDLE: Duration = Duration::from_millis(500);

/// How long a run may continue after the program is told to stop.
const GRACE: Duration = Duration::from_secs(10);

/// How long it waits before it asks a database again that gave no answer.
const OUTAGE: Duration = Duration::from_secs(1);

pub struct Worker {
    pub store: Arc<dyn Store>,
    pub name: String,
    /// How long a document takes, in addition to the work itself.
    pub takes: Duration,
    /// How long a run lasts without being renewed.
    pub lease: Duration,
    /// How many runs a task gets if the lease of each of them expires.
    pub attempts: u64,
    /// How long a run may take, even if its worker keeps renewing it.
    pub longest: Duration,
    /// Wakes an idle worker.
    pub queued: Arc<Notify>,
}

/// Why a worker drops a run.
#[derive(thiserror::Error, Debug)]
pub enum Dropped {
    #[error("the task is gone")]
    Gone,
    #[error("the run is over, or another worker's by now")]
    Lost,
    #[error(transparent)]
    Stale(#[from] StaleRun),
    #[error(transparent)]
    Refused(#[from] TransitionError),
    #[error(transparent)]
    Store(#[from] Error),
}

type Result<T> = std::result::Result<T, Dropped>;
type Done = std::result::Result<Transition<Payload>, TransitionError>;

impl Worker {
    /// Handles messages until it is told to stop. Then it finishes its current run, or gives it back
    /// if that takes too long.
    pub async fn work(self, mut stop: watch::Receiver<bool>) {
        while !*stop.borrow() {
            match self.store.claim(&self.name).await {
                Ok(Some(message)) => {
                    let handled = tokio::select! {
                        handled = self.handle(&message) => handled,
                        () = overdue(stop.clone()) => self.queue_again(&message).await,
                    };
                    if let Err(lost) = handled {
                        tracing::warn!(task = %message.key.id, "dropped: {lost}");
                    }
                    continue;
                }
                Ok(None) => {}
                Err(fault) => tracing::error!("no message: {fault}"),
            }
            tokio::select! {
                () = sleep(IDLE) => {}
                () = self.queued.notified() => {}
                _ = stop.changed() => {}
            }
        }
    }

    /// Handles one message. The error says why the run was dropped.
    pub async fn handle(&self, message: &Message) -> Result<()> {
        match self.run(message).await {
            Err(Dropped::Store(fault)) if is_lasting(&fault) => {
                tracing::error!(task = %message.key.id, "given up: {fault}");
                let reason = match fault {
                    Error::Decode(_) => "The task cannot be read",
                    _ => "The result cannot be stored",
                };
                self.fail(message, reason).await
            }
            outcome => outcome,
        }
    }

    async fn run(&self, message: &Message) -> Result<()> {
        if message.is_overdue {
            // If its worker is still alive, its run becomes stale here.
            let load = patiently(|| self.store.load(&message.key)).await?;
            let row = load.ok_or(Dropped::Gone)?;
            if row.attempt >= self.attempts {
                let reason = format!("Given up: {} workers did not finish it", row.attempt);
                return self.fail(message, &reason).await;
            }
            return self.queue_again(message).await;
        }

        let start = |task: &mut Task<Payload>, mut document: Document| {
            document.start();
            task.edit(|payload| *payload = Payload::new(document));
            task.start()
        };
        let configuration = self.change(message, "Task started", start).await?;
        tokio::select! {
            outcome = self.finish(message, configuration) => outcome,
            lost = self.keep(message) => Err(lost),
            () = sleep(self.longest) => self.fail(message, "The document took too long").await,
        }
    }

    async fn queue_again(&self, message: &Message) -> Result<()> {
        let retry = |task: &mut Task<Payload>, mut document: Document| {
            document.queue_again();
            task.edit(|payload| *payload = Payload::new(document));
            task.retry()
        };
        self.change(message, "Task queued again", retry).await.map(drop)
    }

    /// Renews the lease during the work, until the run is lost.
    async fn keep(&self, message: &Message) -> Dropped {
        loop {
            sleep(self.lease / 3).await;
            match self.store.renew(message).await {
                Ok(true) => {}
                Ok(false) => return Dropped::Lost,
                Err(fault) => tracing::error!(task = %message.key.id, "no renewal: {fault}"),
            }
        }
    }

    /// Does the work and finishes the run. If this future is dropped, the work stops, too.
    async fn finish(&self, message: &Message, configuration: Map<String, Value>) -> Result<()> {
        let file = patiently(|| self.store.file(&message.key)).await?.ok_or(Dropped::Gone)?;
        let wanted = Arc::new(());
        let is_wanted = Arc::downgrade(&wanted);
        let work = spawn_blocking(move || {
            let configuration =
                Configuration::deserialize(configuration).map_err(|fault| fault.to_string())?;
            cut(&file, &configuration, || is_wanted.strong_count() > 0)
        });
        let result = work.await;
        sleep(self.takes).await;
        match result.unwrap_or_else(|_| Err("The document broke the worker".to_owned())) {
            Ok(chunks) => {
                let chunks = Arc::new(chunks);
                let succeed = |task: &mut Task<Payload>, mut document: Document| {
                    document.finish("Task succeeded");
                    document.chunks = Some(chunks.clone());
                    task.edit(|payload| *payload = Payload::new(document));
                    task.succeed()
                };
                self.change(message, "Task succeeded", succeed).await.map(drop)
            }
            Err(reason) => self.fail(message, &reason).await,
        }
    }

    /// Changes the task on behalf of the run, and returns its configuration. A concurrent change
    /// costs one more turn of the loop. If the run is no longer current, nothing is written.
    async fn change(
        &self,
        message: &Message,
        word: &str,
        change: impl Fn(&mut Task<Payload>, Document) -> Done,
    ) -> Result<Map<String, Value>> {
        loop {
            let read = patiently(|| self.store.read(&message.key)).await?;
            let (mut row, document) = read.ok_or(Dropped::Gone)?;
            row.task.check_run(message.run)?;
            let loaded = row.task.revision();
            let configuration = document.configuration.clone();
            let done = change(&mut row.task, document)?;
            let event = Event::of(&done, &self.name, loaded, word);
            if self.store.change(&row, loaded, &event, usize::MAX).await? {
                return Ok(configuration);
            }
        }
    }

    /// Fails the task on behalf of the run, even if its document cannot be read. An update reverts; a
    /// new task shows the reason, if its document can be read.
    async fn fail(&self, message: &Message, reason: &str) -> Result<()> {
        loop {
            let load = patiently(|| self.store.load(&message.key)).await?;
            let mut row = load.ok_or(Dropped::Gone)?;
            row.task.check_run(message.run)?;
            let loaded = row.task.revision();
            if !row.task.is_update()
                && let Ok(Some((_, mut document))) =
                    patiently(|| self.store.read(&message.key)).await
            {
                document.finish(reason);
                row.task.edit(|payload| *payload = Payload::new(document));
            }
            let done = row.task.fail()?;
            let event = Event::of(&done, &self.name, loaded, reason);
            if self.store.change(&row, loaded, &event, usize::MAX).await? {
                return Ok(());
            }
        }
    }
}

/// Resolves [`GRACE`] after the program is told to stop.
async fn overdue(mut stop: watch::Receiver<bool>) {
    _ = stop.wait_for(|stop| *stop).await;
    sleep(GRACE).await;
}

/// Asks until there is an answer: an outage costs time, never the work.
async fn patiently<F: Future<Output = store::Result<T>>, T>(
    ask: impl Fn() -> F,
) -> store::Result<T> {
    loop {
        match ask().await {
            Err(fault) if !is_lasting(&fault) => {
                tracing::warn!("no answer yet: {fault}");
                sleep(OUTAGE).await;
            }
            outcome => return outcome,
        }
    }
}
