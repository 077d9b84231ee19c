//! A run, from its message to its end; and the sweeper.
//!
//! The run is the worker's fencing token, from the message to the result: every change in its name
//! checks it, and is made by the revision that was loaded for that.

use std::process::abort;
use std::sync::Arc;
use std::time::Duration;

use task_lifecycle::{Draft, Run, Status};
use tokio::sync::{Notify, watch};
use tokio::task::spawn_blocking;
use tokio::time::sleep;

use crate::commit::{Refusal, change};
use crate::database::{Meaning, meaning};
use crate::document::{Chunk, Document, cut};
use crate::options::Options;
use crate::store::{Beside, Key, Message, Note, Tasks};

pub struct Worker<T> {
    pub tasks: T,
    /// No other worker has it, in no process.
    pub name: String,
    pub options: Options,
    /// Wakes an idle worker.
    pub queued: Arc<Notify>,
}

type Result<T> = std::result::Result<T, Refusal>;

/// How often a message is delivered whose run is ahead.
const DELIVERIES: i64 = 5;

/// How long an idle worker waits, unless it is woken.
const IDLE: Duration = Duration::from_millis(200);

/// The longest time between two renewals, and so until a worker sees that it is to stop.
const RENEWAL: Duration = Duration::from_secs(2);

impl<T: Tasks> Worker<T> {
    /// Handles messages until the program is told to stop; then it gives its run back.
    pub async fn work(&self, mut stop: watch::Receiver<bool>) {
        while !*stop.borrow() {
            let received = self.tasks.store().receive().await;
            match &received {
                Ok(Some(message)) => self.deliver(message, &mut stop).await,
                Ok(None) => {}
                Err(fault) => tracing::error!("no message: {fault}"),
            }
            if let Ok(None) | Err(_) = received {
                tokio::select! {
                    () = self.queued.notified() => {}
                    () = sleep(IDLE) => {}
                    () = told(&mut stop) => {}
                }
            }
        }
    }

    /// Handles a message. It is acknowledged unless its run is newer than the task that was found,
    /// whose commit may be under way; it must not stop those behind it.
    pub async fn deliver(&self, message: &Message, stop: &mut watch::Receiver<bool>) {
        let due_in = match self.handle(message, stop).await {
            Ok(()) | Err(Refusal::NotFound) => return,
            Err(Refusal::Run(stale)) if !stale.is_ahead() => return,
            Err(Refusal::Run(_)) if message.deliveries < DELIVERIES => Some(self.lease()),
            Err(fault) => {
                tracing::error!(task = message.key.id, "put aside: {fault}");
                None
            }
        };
        let given_back = self.tasks.store().give_back(message, due_in).await;
        _ = given_back.inspect_err(|fault| tracing::error!("not given back: {fault}"));
    }

    /// Handles a message, to the end of its run.
    pub async fn handle(&self, message: &Message, stop: &mut watch::Receiver<bool>) -> Result<()> {
        let key = &message.key;
        let (run, document) = match self.start(message).await {
            Ok(Some(started)) => started,
            Ok(None) => return Ok(()),
            Err(Refusal::Store(_)) => {
                return self
                    .finish(key, Run::from_i64(message.run), Err("The task cannot be read"))
                    .await;
            }
            Err(refusal) => return Err(refusal),
        };
        if self.options.poison && message.file.starts_with(b"kills") {
            abort();
        }
        let file = message.file.clone();
        let work = async {
            let worked = spawn_blocking(move || cut(&file, &document.configuration)).await;
            sleep(Duration::from_millis(self.options.work_millis)).await;
            worked.unwrap_or_else(|_| Err("The document broke the worker".to_owned()))
        };
        tokio::select! {
            result = work => self.finish(key, run, result.as_deref().map_err(|text| &**text)).await,
            () = self.keep(key, run) => self.give_up(key, run).await,
            () = told(stop) => self.give_up(key, run).await,
        }
    }

    /// Starts the run of a message; or takes it over, if its lease is over. Returns the run that is
    /// this worker's now, if there is one.
    pub async fn start(&self, message: &Message) -> Result<Option<(Run, Document)>> {
        let mark = |run: Run| Some((self.name.clone(), run));
        let started = self.change(&message.key, |draft, beside, note| {
            let document = Document::read(draft.payload());
            if draft.status() == Status::Processing
                && document.as_ref().is_ok_and(|document| document.worker == mark(draft.run()))
            {
                return Ok(()); // an earlier try made it, and the answer was lost
            }
            draft.check_run(Run::from_i64(message.run))?;
            note.operations = "edit, start";
            if draft.status() == Status::Processing {
                if !beside.is_lease_over {
                    return Ok(()); // delivered before
                }
                note.expired = beside.lease_until;
            }
            if draft.status() == Status::Processing || beside.is_stopped() {
                self.put_back(draft, beside, note)?;
            }
            if draft.status() == Status::Starting {
                if note.expired.is_some() {
                    note.operations = "retry, edit, start";
                }
                let mut document = document?;
                document.start(mark(draft.run()));
                document.set(draft)?;
                draft.start()?;
            }
            Ok(())
        });
        let draft = started.await?;
        let document = Document::read(draft.payload()).ok();
        let document = document.filter(|document| document.worker == mark(draft.run()));
        Ok(document.filter(|_| draft.status() == Status::Processing).map(|it| (draft.run(), it)))
    }

    /// Ends a run with its result, or with the reason for its failure.
    pub async fn finish(
        &self,
        key: &Key,
        run: Run,
        result: std::result::Result<&[Chunk], &str>,
    ) -> Result<()> {
        let finished = self.change(key, |draft, beside, note| {
            draft.check_run(run)?;
            if beside.is_stopped() {
                return self.put_back(draft, beside, note);
            }
            let chunks = match result {
                Ok(chunks) => chunks,
                Err(reason) => return fail(draft, note, reason),
            };
            let mut document = Document::read(draft.payload())?;
            document.finish("Task succeeded", Some(chunks.to_vec()));
            document.set(draft)?;
            draft.succeed()?;
            note.operations = "edit, succeed";
            Ok(())
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
        let given_up = self.change(key, |draft, beside, note| {
            draft.check_run(run)?;
            self.put_back(draft, beside, note)
        });
        given_up.await.map(drop)
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
        } else if note.expired.is_some() && attempts >= self.options.attempts.into() {
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
            sleep(RENEWAL.min(self.lease() / 3)).await;
            match self.tasks.store().renew(key, run).await {
                Ok(true) => {}
                Ok(false) => return,
                Err(fault) => tracing::error!(task = key.id, "not renewed: {fault}"),
            }
        }
    }

    /// Takes the runs away whose leases are over. Their workers died, or will find them stale.
    pub async fn sweep(&self) -> Result<()> {
        for key in &self.tasks.store().overdue().await? {
            let by = self.by();
            let swept = change(&self.tasks, key, &by, 3, |draft, beside, note| {
                if beside.is_lease_over {
                    note.expired = beside.lease_until;
                    self.put_back(draft, beside, note)?;
                }
                Ok(())
            });
            if let Err(fault) = swept.await {
                tracing::error!(task = key.id, "not swept: {fault}");
            }
        }
        Ok(())
    }

    /// Changes a task, however long it takes: after an unknown outcome, too, for the run and the
    /// mark tell what is still to be done. A fault of the store is one that will not go away.
    async fn change(
        &self,
        key: &Key,
        decide: impl Fn(&mut Draft<String>, &Beside, &mut Note) -> Result<()>,
    ) -> Result<Draft<String>> {
        loop {
            match change(&self.tasks, key, &self.by(), u32::MAX, &decide).await {
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

    fn by(&self) -> String {
        format!("worker {}", self.name)
    }

    fn lease(&self) -> Duration {
        Duration::from_secs(self.options.lease_seconds.into())
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
        document.set(draft)?;
        note.operations = "edit, fail";
    }
    draft.fail()?;
    Ok(())
}
