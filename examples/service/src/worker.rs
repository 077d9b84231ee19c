//! A run, from its message to its end; and the sweeper.
//!
//! The run is the worker's fencing token, from the message to the result: every change in its name
//! checks it, and is made by the revision that was loaded for that.

use std::process::abort;
use std::time::Duration;

use serde_json::{Map, Value};
use task_lifecycle::{Run, Status};
use tokio::task::spawn_blocking;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::commit::{Decision, Refusal, change};
use crate::database::{Meaning, meaning};
use crate::document::{Chunk, Document, Fault};
use crate::options::Options;
use crate::store::{Draft, Key, Message, Note, Row, Task, Tasks};

pub struct Worker<T> {
    pub tasks: T,
    /// [`cut`](crate::document::cut); a test does other work.
    pub work: fn(&[u8], &Map<String, Value>) -> Result<Vec<Chunk>, Fault>,
    /// For the log. No other worker has it, in no process.
    pub name: String,
    pub options: Options,
}

type Result<T, E = Refusal> = std::result::Result<T, E>;

/// The result of the work, or the reason why there is none.
type Worked<'a> = Result<&'a [Chunk], &'a str>;

/// The most times that a message is delivered whose run is ahead.
const DELIVERIES: i64 = 5;

/// The most times that work is tried whose error may pass, and the first wait.
const TRIES: u32 = 3;
const WAIT: Duration = Duration::from_millis(200);

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
            let received = received.inspect_err(|fault| tracing::error!("no message: {fault}"));
            if let Ok(Some(message)) = received {
                self.deliver(&message, stop).await;
                continue;
            }
            _ = timeout(IDLE, stop.cancelled()).await;
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
                return self.finish(key, run, Err("The task cannot be read")).await;
            }
            started => started?.ok_or(Refusal::NotFound)?,
        };
        if self.options.poison && message.file.starts_with(b"kills") {
            abort();
        }
        let worked = self.do_work(&message.file, &document);
        tokio::select! {
            result = worked => self.finish(key, run, result.as_deref().map_err(|text| &**text)).await,
            () = self.keep(key, run) => self.give_up(key, run).await,
            () = stop.cancelled() => self.give_up(key, run).await,
        }
    }

    /// Does the work; tries it again after a wait, if its error may pass.
    async fn do_work(&self, file: &[u8], document: &Document) -> Result<Vec<Chunk>, String> {
        let mut tried = 1;
        loop {
            let (work, file) = (self.work, file.to_owned());
            let settings = document.configuration.clone();
            let worked = spawn_blocking(move || work(&file, &settings)).await;
            sleep(Duration::from_millis(self.options.work_millis)).await;
            match worked {
                Ok(Err(Fault::Temporary(_))) if tried < TRIES => sleep(WAIT * tried).await,
                Ok(worked) => return worked.map_err(|fault| fault.to_string()),
                Err(_) => return Err("The document broke the worker".to_owned()),
            }
            tried += 1;
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
    pub async fn finish(&self, key: &Key, run: Run, result: Worked<'_>) -> Result<()> {
        let finished = self.change(key, |draft, row, note| {
            draft.check_run(run)?;
            if row.is_stopped() {
                return self.put_back(draft, row, note);
            }
            if let Err(reason) = result {
                return fail(draft, note, reason);
            }
            let mut document = Document::read(draft.payload())?;
            document.finish("Task succeeded", result.ok().map(<[Chunk]>::to_vec));
            document.set(draft)?;
            draft.succeed()?;
            Ok("edit, succeed")
        });
        match finished.await {
            Err(Refusal::Store(fault)) if result.is_ok() => {
                tracing::error!(task = key.id, "{fault}");
                Box::pin(self.finish(key, run, Err("The result cannot be stored"))).await
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
            let is_started = draft.status() == Status::Processing;
            if is_started {
                draft.retry()?;
            }
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
            let renewed = self.tasks.store().renew(key, run).await;
            if let Ok(false) = renewed.inspect_err(|fault| tracing::error!("not renewed: {fault}"))
            {
                return;
            }
        }
    }

    /// Takes the runs away whose leases are over. Their workers died, or will find them stale.
    pub async fn sweep(&self) {
        let overdue = self.tasks.store().overdue().await;
        let overdue = overdue.inspect_err(|fault| tracing::error!("not swept: {fault}"));
        for key in &overdue.unwrap_or_default() {
            let swept = change(&self.tasks, key, &self.name, 3, |draft, row, note| {
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
    async fn change(
        &self,
        key: &Key,
        decide: impl Fn(&mut Draft, &Row, &mut Note) -> Decision,
    ) -> Result<Draft> {
        loop {
            match change(&self.tasks, key, &self.name, u32::MAX, &decide).await {
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
