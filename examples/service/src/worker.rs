//! A run: take a message, check it, start, work, end.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use task_lifecycle::{Status, Transition};
use tokio::sync::watch;
use tokio::task::spawn_blocking;
use tokio::time::sleep;

use crate::document::{Document, cut, now};
use crate::store::{Event, Message, Row, Store};

/// How long a worker waits before it looks again for a message.
const IDLE: Duration = Duration::from_millis(500);

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

    async fn handle(&self, message: &Message) -> Result<()> {
        let mut row = self.store.load(&message.key).await?.context("the task is gone")?;
        row.task.check_revision(message.revision)?;

        if row.task.status() == Status::Processing {
            // Its worker let the lease pass. If it lives, its revision is stale from now on.
            row.task.edit(Document::queue_again);
            let done = row.task.retry()?;
            return self.commit(&row, message.revision, &done).await;
        }

        let done = row.task.start()?;
        row.task.edit(|document| document.start(now()));
        self.commit(&row, message.revision, &done).await?;

        let file = self.store.file(&row.key).await?.context("the task is gone")?;
        let configuration = row.task.payload().configuration.clone();
        let result = spawn_blocking(move || cut(&file, &configuration)).await;
        self.take_time(&mut row).await?;

        let started = row.task.revision();
        let done = match result.unwrap_or_else(|_| Err("The document broke the worker".to_owned()))
        {
            Ok(chunks) => {
                row.task.edit(|document| {
                    document.finish(now(), "Task succeeded");
                    document.chunks = Some(chunks);
                });
                row.task.succeed()?
            }
            Err(reason) => {
                row.task.edit(|document| document.finish(now(), reason));
                row.task.fail()?
            }
        };
        self.commit(&row, started, &done).await
    }

    async fn commit(&self, row: &Row, loaded: u64, done: &Transition<Document>) -> Result<()> {
        self.write(row, loaded, Event::of(done, &self.name, loaded, &row.task)).await
    }

    async fn write(&self, row: &Row, loaded: u64, event: Event) -> Result<()> {
        ensure!(self.store.commit(row, loaded, &event).await?, "the task was changed meanwhile");
        Ok(())
    }

    /// Waits as long as a document takes, and renews the lease with word of how far it is.
    async fn take_time(&self, row: &mut Row) -> Result<()> {
        let pause = self.lease / 3;
        let mut left = self.takes;
        while left > pause {
            sleep(pause).await;
            left -= pause;
            let loaded = row.task.revision();
            row.task.edit(|document| document.message = format!("Task started, {left:?} to go"));
            let event = Event::new(&self.name, "edit", loaded, Some(&row.task));
            self.write(row, loaded, event).await?;
        }
        sleep(left).await;
        Ok(())
    }
}
