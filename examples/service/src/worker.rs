//! A run: take a message, check it, start, work, end.
//!
//! The message's run is the worker's token, from the message to the result. Each commit in its name
//! is the same loop: load, check the run, change, commit by the revision just loaded.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use task_lifecycle::{Task, Transition, TransitionError};
use tokio::sync::watch;
use tokio::task::spawn_blocking;
use tokio::time::sleep;

use crate::document::{Document, cut, now};
use crate::store::{Event, Message, Row, Store};

/// How long a worker waits before it looks again for a message.
const IDLE: Duration = Duration::from_millis(500);

/// What a change was; none for an edit.
type Outcome = std::result::Result<Option<Transition<Document>>, TransitionError>;

pub struct Worker {
    pub store: Arc<dyn Store>,
    pub name: String,
    /// How long a document takes, beside the work itself.
    pub takes: Duration,
    /// How long the store leaves a run alone without hearing of it.
    pub lease: Duration,
}

impl Worker {
    /// Works until it is told to stop. It ends the run that it is in.
    pub async fn work(self, mut stop: watch::Receiver<bool>) {
        while !*stop.borrow() {
            match self.store.claim(&self.name).await {
                Ok(Some(message)) => {
                    if let Err(lost) = self.handle(&message).await {
                        tracing::warn!(task = %message.key.id, "dropped: {lost}");
                    }
                    continue;
                }
                Ok(None) => {}
                Err(fault) => tracing::error!("no message: {fault}"),
            }
            tokio::select! {
                () = sleep(IDLE) => {}
                _ = stop.changed() => {}
            }
        }
    }

    /// Handles one message. An error tells why the run was dropped.
    pub async fn handle(&self, message: &Message) -> Result<()> {
        if message.is_overdue {
            // If its worker lives, its run is stale from now on.
            let retry = |task: &mut Task<Document>| {
                let done = task.retry()?;
                task.edit(Document::queue_again);
                Ok(Some(done))
            };
            self.change(message, retry).await?;
            return Ok(());
        }

        let start = |task: &mut Task<Document>| {
            let done = task.start()?;
            task.edit(|document| document.start(now()));
            Ok(Some(done))
        };
        let row = self.change(message, start).await?;

        let file = self.store.file(&row.key).await?.context("the task is gone")?;
        let configuration = row.task.payload().configuration.clone();
        let result = spawn_blocking(move || cut(&file, &configuration)).await;
        self.take_time(message).await?;

        let result = result.unwrap_or_else(|_| Err("The document broke the worker".to_owned()));
        let end = |task: &mut Task<Document>| match &result {
            Ok(chunks) => {
                task.edit(|document| {
                    document.finish(now(), "Task succeeded");
                    document.chunks = Some(chunks.clone());
                });
                task.succeed().map(Some)
            }
            Err(reason) => {
                task.edit(|document| document.finish(now(), reason));
                task.fail().map(Some)
            }
        };
        self.change(message, end).await?;
        Ok(())
    }

    /// Changes the task in the name of the run. Whoever changes it in between costs one more turn;
    /// only a run that is over, or that was taken away, ends the loop with nothing written.
    async fn change(
        &self,
        message: &Message,
        change: impl Fn(&mut Task<Document>) -> Outcome,
    ) -> Result<Row> {
        loop {
            let mut row = self.store.load(&message.key).await?.context("the task is gone")?;
            row.task.check_run(message.run)?;
            let loaded = row.task.revision();
            let event = match change(&mut row.task)? {
                Some(done) => Event::of(&done, &self.name, loaded, &row.task),
                None => Event::new(&self.name, "edit", loaded, Some(&row.task)),
            };
            if self.store.commit(&row, loaded, &event).await? {
                return Ok(row);
            }
        }
    }

    /// Waits as long as a document takes, and renews the lease with word of how far it is.
    async fn take_time(&self, message: &Message) -> Result<()> {
        let pause = self.lease / 3;
        let mut left = self.takes;
        while left > pause {
            sleep(pause).await;
            left -= pause;
            let progress = |task: &mut Task<Document>| {
                task.edit(|document| document.message = format!("Task started, {left:?} to go"));
                Ok(None)
            };
            self.change(message, progress).await?;
        }
        sleep(left).await;
        Ok(())
    }
}
