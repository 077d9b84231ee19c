//! A run, from its message to its end; and the sweeper.
//!
//! The run is the worker's fencing token, from the message to the result: every change in its name
//! checks it, and is made by the revision that was loaded for that.

use std::time::Duration;

use task_lifecycle::{Run, Status};
use tokio::task::spawn_blocking;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::commit::{Decide, Decision, Refusal, Result, change};
use crate::database::{Meaning, meaning};
use crate::document::Fault::{Lasting, Temporary};
use crate::document::{Document, Worked};
use crate::options::Options;
use crate::store::{Draft, Key, Message, Note, Row, Task, Tasks};

pub struct Worker<T> {
    pub tasks: T,
    /// [`cut`](crate::document::cut); a test does other work.
    pub work: fn(&[u8], &Document) -> Worked,
    /// For the log. No other worker has it, in no process.
    pub name: String,
    pub options: Options,
}

/// The most times that a message is delivered whose run is ahead.
const DELIVERIES: i64 = 5;

/// The waits before work is tried again whose error may pass.
const WAITS: [Duration; 2] = [Duration::from_millis(200), Duration::from_millis(800)];

/// The wait of an idle worker.
const IDLE: Duration = Duration::from_millis(100);

/// The time between two looks for runs whose leases are over.
const SWEEP: Duration = Duration::from_millis(500);

/// The longest time between two renewals, and so until a worker sees that it is to stop.
const RENEWAL: Duration = Duration::from_secs(2);

impl<T: Tasks> Worker<T> {
    /// Handles messages until the program is told to stop; then it gives its run back.
    pub async fn work(&self, stop: &CancellationToken) {
        while !stop.is_cancelled() {
            let received = self.tasks.store().receive().await;
            match received.inspect_err(|fault| tracing::error!("no message: {fault}")) {
                Ok(Some(message)) => self.deliver(&message, stop).await,
                _ => drop(timeout(IDLE, stop.cancelled()).await),
            }
        }
    }

    /// Handles a message. It is acknowledged unless its run is newer than the task that was found,
    /// whose commit may be under way; it must not stop those behind it.
    pub async fn deliver(&self, message: &Message, stop: &CancellationToken) {
        let handled = self.handle(message, stop).await;
        let due_in = match &handled {
            Ok(()) | Err(Refusal::NotFound) => return,
            Err(Refusal::Run(stale)) if !stale.is_ahead() => return,
            Err(Refusal::Run(_)) if message.deliveries < DELIVERIES => Some(self.options.lease()),
            Err(_) => None,
        };
        tracing::error!(task = message.key.id, ?due_in, "given back: {handled:?}");
        _ = self.tasks.store().give_back(message, due_in).await;
    }

    /// Handles a message, to the end of its run.
    pub async fn handle(&self, message: &Message, stop: &CancellationToken) -> Result<()> {
        let (key, run) = (&message.key, Run::from_i64(message.run));
        let (run, document) = match self.start(message).await {
            Ok(None) => return Ok(()),
            Err(Refusal::Store(_)) => {
                return self.finish(key, run, &Err(Lasting("The task cannot be read"))).await;
            }
            started => started?.ok_or(Refusal::NotFound)?,
        };
        if self.options.poison && message.file.starts_with(b"kills") {
            std::process::abort();
        }
        let worked = self.do_work(&message.file, &document);
        tokio::select! {
            result = worked => self.finish(key, run, &result).await,
            () = self.keep(key, run) => self.give_up(key, run).await,
            () = stop.cancelled() => self.give_up(key, run).await,
        }
    }

    /// Does the work; again after a wait, a few times, if its error may pass.
    async fn do_work(&self, file: &[u8], document: &Document) -> Worked {
        let mut waits = WAITS.into_iter();
        loop {
            let (work, file, document) = (self.work, file.to_owned(), document.clone());
            let worked = spawn_blocking(move || work(&file, &document)).await;
            sleep(Duration::from_millis(self.options.work_millis)).await;
            let worked = worked.unwrap_or(Err(Lasting("The document broke the worker")));
            match (worked, waits.next()) {
                (Err(Temporary(_)), Some(wait)) => sleep(wait).await,
                (worked, _) => return worked,
            }
        }
    }

    /// Starts the run of a message; or takes it over, if its lease is over. Returns the run that is
    /// this worker's now, if one is.
    pub async fn start(&self, message: &Message) -> Result<Option<(Run, Document)>> {
        let mine = |task: &Task| {
            let document = Document::read(task.payload()).ok()?;
            let is_mine = document.worker == Some((self.name.clone(), task.run()));
            (is_mine && task.status() == Status::Processing).then_some((task.run(), document))
        };
        let started = self.change(&message.key, |draft, row, note| {
            if mine(draft).is_some() {
                return Ok(""); // an earlier try made it, and its answer was lost
            }
            draft.check_run(Run::from_i64(message.run))?;
            let is_again = draft.status() == Status::Processing;
            if is_again && !row.is_lease_over {
                return Ok(""); // another works on it
            }
            let mut operations = "edit, start";
            if is_again || row.is_stopped() {
                note.expired = row.lease_until;
                operations = self.put_back(draft, row, note)?;
            }
            if draft.status() != Status::Starting {
                return Ok(operations); // stopped, or given up
            }
            let mut document = Document::read(draft.payload())?;
            document.start(&self.name, draft.run());
            document.set(draft)?;
            draft.start()?;
            Ok(if is_again { "retry, edit, start" } else { operations })
        });
        Ok(mine(&*started.await?))
    }

    /// Ends a run with its result, or with the reason for its failure.
    pub async fn finish(&self, key: &Key, run: Run, result: &Worked) -> Result<()> {
        let finished = self.change(key, |draft, row, note| {
            draft.check_run(run)?;
            if row.is_stopped() {
                return self.put_back(draft, row, note);
            }
            let chunks = match result {
                Ok(chunks) => chunks.clone(),
                Err(fault) => return fail(draft, note, &fault.to_string()),
            };
            let mut document = Document::read(draft.payload())?;
            document.finish("Task succeeded", Some(chunks));
            document.set(draft)?;
            draft.succeed()?;
            Ok("edit, succeed")
        });
        match finished.await {
            Err(Refusal::Store(fault)) if result.is_ok() => {
                tracing::error!(task = key.id, "{fault}");
                Box::pin(self.finish(key, run, &Err(Lasting("The result cannot be stored")))).await
            }
            finished => finished.map(drop),
        }
    }

    /// Gives a run back, which is no attempt; or stops it, if a client asked for that.
    pub async fn give_up(&self, key: &Key, run: Run) -> Result<()> {
        let given_up = self.change(key, |draft, row, note| {
            draft.check_run(run)?;
            self.put_back(draft, row, note)
        });
        given_up.await.map(drop)
    }

    /// Takes a run away: stops it, if a client asked for that; fails it at its last attempt; or
    /// queues it again.
    fn put_back(&self, draft: &mut Draft, row: &Row, note: &mut Note) -> Decision {
        let attempts = row.attempts + i64::from(note.expired.is_some());
        if row.is_stopped() {
            let is_started = draft.retry().is_ok();
            draft.cancel()?;
            return Ok(if is_started { "retry, cancel" } else { "cancel" });
        }
        if note.expired.is_some() && attempts >= self.options.attempts.into() {
            let reason = format!("Given up: {attempts} workers did not finish it");
            return fail(draft, note, &reason);
        }
        draft.retry()?;
        Ok("retry")
    }

    /// Renews the lease, until the run is over or is to stop.
    async fn keep(&self, key: &Key, run: Run) {
        loop {
            sleep(RENEWAL.min(self.options.lease() / 3)).await;
            match self.tasks.store().renew(key, run).await {
                Ok(true) => {}
                Ok(false) => return,
                Err(fault) => tracing::error!("not renewed: {fault}"),
            }
        }
    }

    /// Takes the runs away whose leases are over. Their workers died, or will find them stale.
    pub async fn sweep(&self) {
        let overdue = self.tasks.store().overdue().await;
        let overdue = overdue.inspect_err(|fault| tracing::error!("not swept: {fault}"));
        for key in &overdue.unwrap_or_default() {
            let swept = change(&self.tasks, key, &self.name, |draft, row, note| {
                note.expired = row.lease_until;
                if row.is_lease_over { self.put_back(draft, row, note) } else { Ok("") }
            });
            _ = swept.await.inspect_err(|fault| tracing::error!("not swept: {fault}"));
        }
    }

    /// Sweeps as long as the program runs.
    pub async fn sweep_on(&self) {
        loop {
            self.sweep().await;
            sleep(SWEEP).await;
        }
    }

    /// Changes a task, however long it takes: after an unknown outcome, too, for the run and the
    /// mark tell what is still to be done. A fault of the store is one that will not go away.
    async fn change(&self, key: &Key, mut decide: impl Decide) -> Result<Draft> {
        loop {
            match change(&self.tasks, key, &self.name, &mut decide).await {
                Err(Refusal::Unknown) => {}
                // An outage costs time, never the work.
                Err(Refusal::Store(fault)) if meaning(&fault) != Meaning::Lasting => {
                    tracing::warn!(task = key.id, "no answer yet: {fault}");
                    self.tasks.pause(3).await;
                }
                changed => return changed.map(|(draft, _)| draft),
            }
        }
    }
}

/// Fails a task. A new one shows the reason, if its document can be read; an update reverts, and the
/// log tells.
fn fail(draft: &mut Draft, note: &mut Note, reason: &str) -> Decision {
    note.reason = Some(reason.to_owned());
    let mut document = Document::read(draft.payload());
    if let Ok(document) = &mut document {
        document.finish(reason, None);
        document.set(draft)?;
    }
    draft.fail()?;
    Ok(if document.is_ok() { "edit, fail" } else { "fail" })
}
