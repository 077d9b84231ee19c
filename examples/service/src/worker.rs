//! A run, from its message to its end; and the sweeper.
//!
//! The run is the worker's fencing token, from the message to the result. Every change in its name
//! is the same loop: load, check the run, decide, commit by the revision that was just loaded.

use std::process::abort;
use std::sync::Arc;
use std::time::Duration;

use task_lifecycle::{Draft, Outcome, Run, Status, TransitionError};
use tokio::sync::{Notify, watch};
use tokio::task::spawn_blocking;
use tokio::time::sleep;

use crate::commit::commit;
use crate::database::{Meaning, meaning};
use crate::document::{Chunk, Document, cut};
use crate::store::{self, Beside, Key, Message, Note, Row, Tasks};

pub struct Worker<T> {
    pub tasks: T,
    /// No other worker has it, in no process.
    pub name: String,
    /// How long a document takes, in addition to the work itself.
    pub takes: Duration,
    pub lease: Duration,
    /// At which expired lease a task fails.
    pub attempts: u32,
    /// For tests: whether some documents do harm.
    pub is_poisonous: bool,
    /// Wakes an idle worker.
    pub queued: Arc<Notify>,
}

/// What became of a message.
#[derive(Clone, PartialEq, Debug)]
pub enum Handled {
    /// It started this run, in which this document is to be worked on.
    Started(Run, Document),
    /// Acknowledged: its run is over, or others will end it.
    Over,
    /// Its run is newer than the task that was found: its commit may be under way.
    Ahead,
}

/// An error that does not go away. (For all others, a worker tries again.)
#[derive(thiserror::Error, Debug)]
pub enum Fault {
    #[error(transparent)]
    Store(#[from] sqlx::Error),
    #[error(transparent)]
    Refused(#[from] TransitionError),
}

type Result<T> = std::result::Result<T, Fault>;

/// How often a message is delivered whose run is ahead.
const DELIVERIES: i64 = 5;

/// How long an idle worker waits, unless it is woken.
const IDLE: Duration = Duration::from_millis(200);

/// How often a sweeper tries to commit. It comes again.
const TRIES: u32 = 3;

impl<T: Tasks> Worker<T> {
    /// Handles messages until the program is told to stop; then it gives back its run.
    pub async fn work(&self, mut stop: watch::Receiver<bool>) {
        while !*stop.borrow() {
            let wait = match self.tasks.receive().await {
                Ok(Some(message)) => {
                    if let Err(fault) = self.deliver(&message, &mut stop).await {
                        tracing::error!(task = message.key.id, "not handled: {fault}");
                    }
                    continue;
                }
                Ok(None) => IDLE,
                Err(fault) => {
                    tracing::error!("no message: {fault}");
                    5 * IDLE
                }
            };
            tokio::select! {
                () = self.queued.notified() => {}
                () = sleep(wait) => {}
                _ = stop.changed() => {}
            }
        }
    }

    /// Handles a message, and gives it back if its time has not come.
    async fn deliver(&self, message: &Message, stop: &mut watch::Receiver<bool>) -> Result<()> {
        let handled = self.handle(message, stop).await;
        let due_in = match &handled {
            Ok(Handled::Started(..) | Handled::Over) => return Ok(()),
            Ok(Handled::Ahead) if message.deliveries < DELIVERIES => Some(self.lease),
            Ok(Handled::Ahead) | Err(_) => {
                tracing::error!(task = message.key.id, run = %message.run, "put aside");
                None // it must not stop those behind it
            }
        };
        self.tasks.give_back(message, due_in).await?;
        handled.map(drop)
    }

    /// Handles a message, to the end of its run.
    pub async fn handle(
        &self,
        message: &Message,
        stop: &mut watch::Receiver<bool>,
    ) -> Result<Handled> {
        let key = &message.key;
        let (run, document) = match self.start(message).await {
            Ok(Handled::Started(run, document)) => (run, document),
            Err(Fault::Store(_)) => {
                return self.finish(key, message.run, Err("The task cannot be read")).await;
            }
            other => return other,
        };
        let file = self.patiently(|| self.tasks.file(key)).await?.unwrap_or_default();
        if self.is_poisonous && file.starts_with(b"kills") {
            abort();
        }
        if self.is_poisonous && file.starts_with(b"vanishes") {
            return Ok(Handled::Over);
        }
        let work = async {
            let worked = spawn_blocking(move || cut(&file, &document)).await;
            sleep(self.takes).await;
            worked.unwrap_or_else(|_| Err("The document broke the worker".to_owned()))
        };
        tokio::select! {
            result = work => self.finish(key, run, result.as_deref().map_err(|text| &**text)).await,
            () = self.keep(key, run) => self.give_up(key, run).await,
            () = told(stop) => self.give_up(key, run).await,
        }
    }

    /// Starts the run of a message; or takes it over, if its lease is over.
    pub async fn start(&self, message: &Message) -> Result<Handled> {
        loop {
            let found = self.patiently(|| self.tasks.load(&message.key)).await?;
            let Some(Row { task, beside }) = found else { return Ok(Handled::Over) };
            let document = Document::read(task.payload());
            // An earlier turn may have started it, and its answer was lost. The mark tells.
            if task.status() == Status::Processing
                && let Ok(document) = &document
                && document.worker.as_ref() == Some(&(self.name.clone(), task.run()))
            {
                return Ok(Handled::Started(task.run(), document.clone()));
            }
            if let Err(stale) = task.check_run(message.run) {
                return Ok(if stale.is_ahead() { Handled::Ahead } else { Handled::Over });
            }
            let mut draft = Draft::new(task);
            let mut note = self.note("edit, start");
            match draft.status() {
                Status::Starting if !beside.is_stopped() => {}
                Status::Starting => self.put_back(&mut draft, &beside, &mut note)?,
                _ if !beside.is_lease_over => return Ok(Handled::Over), // delivered before
                _ => {
                    note.expired = beside.lease_until;
                    self.put_back(&mut draft, &beside, &mut note)?;
                    if draft.status() == Status::Starting {
                        note.operations = "retry, edit, start";
                    }
                }
            }
            if draft.status() != Status::Starting {
                self.commit(&message.key, &draft, &note).await?;
                continue;
            }
            let mut document = document?;
            document.start(&self.name, draft.run());
            let text = document.text()?;
            draft.edit(|payload| *payload = text);
            draft.start()?;
            if self.commit(&message.key, &draft, &note).await? {
                return Ok(Handled::Started(draft.run(), document));
            }
        }
    }

    /// Ends a run with its result, or with the reason for its failure.
    pub async fn finish(
        &self,
        key: &Key,
        run: Run,
        result: std::result::Result<&[Chunk], &str>,
    ) -> Result<Handled> {
        let ended = self
            .change(key, run, |draft, beside, note| match result {
                _ if beside.is_stopped() => self.put_back(draft, beside, note),
                Err(reason) => fail(draft, note, reason),
                Ok(chunks) => {
                    let mut document = Document::read(draft.payload())?;
                    document.finish("Task succeeded", Some(chunks.to_vec()));
                    let text = document.text()?;
                    draft.edit(|payload| *payload = text);
                    draft.succeed()?;
                    note.operations = "edit, succeed";
                    Ok(())
                }
            })
            .await;
        match ended {
            Err(Fault::Store(fault)) if result.is_ok() => {
                tracing::error!(task = key.id, "{fault}");
                Box::pin(self.finish(key, run, Err("The result cannot be stored"))).await
            }
            ended => ended,
        }
    }

    /// Gives a run back, which is no attempt; or stops it, if a client asked for that.
    pub async fn give_up(&self, key: &Key, run: Run) -> Result<Handled> {
        self.change(key, run, |draft, beside, note| self.put_back(draft, beside, note)).await
    }

    /// Changes a task in the name of a run, for as long as that is the task's run.
    async fn change(
        &self,
        key: &Key,
        run: Run,
        decide: impl Fn(&mut Draft<String>, &Beside, &mut Note) -> Result<()>,
    ) -> Result<Handled> {
        loop {
            let found = self.patiently(|| self.tasks.load(key)).await?;
            let Some(Row { task, beside }) = found else { return Ok(Handled::Over) };
            if task.check_run(run).is_err() {
                return Ok(Handled::Over);
            }
            let (mut draft, mut note) = (Draft::new(task), self.note(""));
            decide(&mut draft, &beside, &mut note)?;
            if self.commit(key, &draft, &note).await? {
                return Ok(Handled::Over);
            }
        }
    }

    /// Takes a run away: stops it, if a client asked for that; fails it at its last attempt; or
    /// queues it again.
    fn put_back(&self, draft: &mut Draft<String>, beside: &Beside, note: &mut Note) -> Result<()> {
        let attempts = beside.attempts + i64::from(note.expired.is_some());
        if beside.is_stopped() {
            note.operations = "cancel";
            if draft.status() == Status::Processing {
                note.operations = "retry, cancel";
                draft.retry()?;
            }
            draft.cancel()?;
        } else if note.expired.is_some() && attempts >= self.attempts.into() {
            fail(draft, note, &format!("Given up: {attempts} workers did not finish it"))?;
        } else {
            note.operations = "retry";
            draft.retry()?;
        }
        Ok(())
    }

    /// Renews the lease, until the run is over or is to stop.
    async fn keep(&self, key: &Key, run: Run) {
        loop {
            sleep(self.lease / 3).await;
            match self.tasks.renew(key, run).await {
                Ok(Some(false)) => {}
                Ok(Some(true) | None) => return,
                Err(fault) => tracing::error!(task = key.id, "no renewal: {fault}"),
            }
        }
    }

    /// Takes the runs away whose leases are over. Their workers died, or will find them stale.
    pub async fn sweep(&self) -> Result<()> {
        for key in self.tasks.overdue().await? {
            if let Err(fault) = self.sweep_one(&key).await {
                tracing::error!(task = key.id, "not swept: {fault}");
            }
        }
        Ok(())
    }

    async fn sweep_one(&self, key: &Key) -> Result<()> {
        let Some(Row { task, beside }) = self.tasks.load(key).await? else { return Ok(()) };
        if !beside.is_lease_over {
            return Ok(());
        }
        let (mut draft, mut note) = (Draft::new(task), self.note(""));
        note.expired = beside.lease_until;
        self.put_back(&mut draft, &beside, &mut note)?;
        commit(&self.tasks, key, &draft, &note, TRIES).await?; // lost: it comes again
        Ok(())
    }

    /// Commits for as long as it takes. `false`: load again, decide again, after an unknown outcome,
    /// too, for the run tells what still is to be done.
    async fn commit(&self, key: &Key, draft: &Draft<String>, note: &Note) -> Result<bool> {
        let commit = || commit(&self.tasks, key, draft, note, u32::MAX);
        Ok(self.patiently(commit).await? == Outcome::Made)
    }

    /// Asks until there is an answer: an outage costs time, never the work.
    async fn patiently<F: Future<Output = store::Result<A>>, A>(
        &self,
        ask: impl Fn() -> F,
    ) -> store::Result<A> {
        let mut tried = 0;
        loop {
            match ask().await {
                Err(fault) if meaning(&fault) != Meaning::Lasting => {
                    tracing::warn!("no answer yet: {fault}");
                    self.tasks.pause(tried).await;
                    tried += 1;
                }
                outcome => return outcome,
            }
        }
    }

    fn note(&self, operations: &'static str) -> Note {
        Note { operations, by: format!("worker {}", self.name), ..Note::default() }
    }
}

/// Resolves when the program is told to stop.
pub(crate) async fn told(stop: &mut watch::Receiver<bool>) {
    _ = stop.wait_for(|stop| *stop).await;
}

/// Fails a task. A new one shows the reason, if its document can be read; an update reverts, and the
/// log tells.
fn fail(draft: &mut Draft<String>, note: &mut Note, reason: &str) -> Result<()> {
    note.operations = "fail";
    note.reason = Some(reason.to_owned());
    if let Ok(mut document) = Document::read(draft.payload()) {
        document.finish(reason, None);
        let text = document.text()?;
        draft.edit(|payload| *payload = text);
        note.operations = "edit, fail";
    }
    draft.fail()?;
    Ok(())
}
