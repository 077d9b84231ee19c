//! A run: take a message, check it, start, work, end.

use std::sync::Arc;
use std::time::Duration;

use task_lifecycle::{StaleRevision, Status, TransitionError};
use tokio::sync::watch;
use tokio::task::spawn_blocking;
use tokio::time::sleep;

use crate::document::cut;
use crate::routes::now;
use crate::store::{Message, Note, Row, Store, StoreError};

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

/// Why a message came to nothing, or a run does not count.
#[derive(thiserror::Error, Debug)]
enum Lost {
    #[error("the task is gone")]
    Gone,
    #[error("the message is stale: {0}")]
    Stale(#[from] StaleRevision),
    #[error(transparent)]
    Status(#[from] TransitionError),
    #[error("the task was changed meanwhile")]
    Conflict,
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Worker {
    /// Works until it is told to stop. It ends the run that it is in.
    pub async fn work(self, mut stop: watch::Receiver<bool>) {
        while !*stop.borrow() {
            match self.store.claim(&self.name).await {
                Ok(Some(message)) => {
                    if let Err(lost) = self.handle(&message).await {
                        tracing::info!(task = %message.key.id, "dropped: {lost}");
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

    async fn handle(&self, message: &Message) -> Result<(), Lost> {
        let mut row = self.store.load(&message.key).await?.ok_or(Lost::Gone)?;
        row.task.check_revision(message.revision)?;

        if row.task.status() == Status::Processing {
            // Its worker has let the lease pass. If it lives, its revision is stale from now on.
            let done = row.task.retry()?;
            return self
                .commit(
                    &row,
                    message.revision,
                    &Note::of(&done, &row.task, &self.name),
                )
                .await;
        }

        let done = row.task.start()?;
        row.task.edit(|document| document.start(now()));
        self.commit(
            &row,
            message.revision,
            &Note::of(&done, &row.task, &self.name),
        )
        .await?;

        let file = self.store.file(&row.key).await?.ok_or(Lost::Gone)?;
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
        self.commit(&row, started, &Note::of(&done, &row.task, &self.name))
            .await
    }

    /// Waits as long as a document takes, and renews the lease with word of how far it is.
    async fn take_time(&self, row: &mut Row) -> Result<(), Lost> {
        let pause = self.lease / 3;
        let mut left = self.takes;
        while left > pause {
            sleep(pause).await;
            left -= pause;
            let message = format!("Task started, {} s to go", left.as_secs());
            let note = Note::new(&self.name, "edit", &message);
            let loaded = row.task.revision();
            row.task.edit(|document| document.message = message);
            self.commit(row, loaded, &note).await?;
        }
        sleep(left).await;
        Ok(())
    }

    async fn commit(&self, row: &Row, loaded: u64, note: &Note) -> Result<(), Lost> {
        let is_current = self.store.commit(row, loaded, note).await?;
        is_current.then_some(()).ok_or(Lost::Conflict)
    }
}
