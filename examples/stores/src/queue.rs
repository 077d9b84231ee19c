//! A queue engine beside the tasks: `graphile_worker`, in the same PostgreSQL.
//!
//! A row and its message are stored in one transaction, both or neither. A message carries the run,
//! and the handler checks it before everything that it stores in the run's name. It acknowledges
//! (`Ok`) whatever is over, and gives back (`Err`) what cannot be done yet ([`Back`]). README.md has
//! the recipe for any engine.

use std::pin::Pin;
use std::time::Duration;

use graphile_worker::{IntoTaskHandlerResult, TaskHandler, WorkerContext};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sqlx::postgres::{PgConnection, PgPool};
use task_lifecycle::{Run, StaleRun, Status};
use tokio::time::sleep;
use uuid::Uuid;

use crate::{Document, Draft, Error, Result, Task, postgres};

/// How often a document is tried, for one that kills its workers would be tried without end.
pub const ATTEMPTS: i32 = 3;

const NAP: Duration = Duration::from_millis(200);

/// The message: do this run of this task.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Process {
    pub id: Uuid,
    pub run: Run,
}

/// The work, as an extension of the worker.
#[derive(Clone, Copy, Debug)]
pub struct Parser(pub fn(Document) -> Pin<Box<dyn Future<Output = Parsed> + Send>>);

pub type Parsed = Result<String, Fault>;

/// Why there is no output.
#[derive(Debug)]
pub enum Fault {
    /// It may work the next time.
    Busy,
    /// It will not.
    Broken(String),
}

/// Why a message goes back to the engine, which delivers it again, later each time.
#[derive(Debug, thiserror::Error)]
pub enum Back {
    #[error(transparent)]
    Store(#[from] Error),
    /// It knows more than the database: its commit is under way, or lost, or from before a restore.
    #[error(transparent)]
    Ahead(StaleRun),
    /// It was delivered before, and whoever has the run may be alive.
    #[error("run {0} has a worker")]
    Leased(Run),
}

/// Stores a new task and its message; false as for [`postgres::create`].
pub async fn submit(pool: &PgPool, id: Uuid, document: Document) -> Result<bool> {
    let task = Task::new(document);
    let both = async |db: &mut PgConnection| {
        if !postgres::create(&mut *db, id, &task).await? {
            return Ok(None);
        }
        send(db, Process { id, run: task.run() }, 0).await.map(Some)
    };
    Ok(at_once(pool, both).await?.is_some())
}

/// Stores what was decided, and the message that it asks for; false as for [`postgres::commit`].
pub async fn commit(pool: &PgPool, id: Uuid, draft: &Draft) -> Result<bool> {
    let both = async |db: &mut PgConnection| store(db, id, draft, 0).await;
    Ok(at_once(pool, both).await?.is_some())
}

async fn store(db: &mut PgConnection, id: Uuid, draft: &Draft, wait: i32) -> Result<Option<()>> {
    if !postgres::commit(&mut *db, id, draft).await? {
        return Ok(None);
    }
    if let Some(run) = draft.queued() {
        send(db, Process { id, run }, wait).await?;
    }
    Ok(Some(()))
}

/// Makes a message that is delivered in so many seconds.
async fn send(db: &mut PgConnection, message: Process, wait: i32) -> Result<()> {
    let sql = "SELECT graphile_worker.add_job($1, $2::text::json,
        run_at => now() + $3 * interval '1 s')";
    let query = sqlx::query(sql).bind(Process::IDENTIFIER).bind(serde_json::to_string(&message)?);
    query.bind(wait).execute(db).await?;
    Ok(())
}

/// Makes changes in one transaction; none of them for `None`, which is also a lost race.
async fn at_once<T>(
    pool: &PgPool,
    changes: impl AsyncFnOnce(&mut PgConnection) -> Result<Option<T>>,
) -> Result<Option<T>> {
    let mut transaction = pool.begin().await?;
    let done = async {
        let done = changes(&mut transaction).await?;
        if done.is_some() {
            transaction.commit().await?;
        }
        Ok(done)
    };
    match done.await {
        Err(Error::Postgres(error)) if postgres::lost_race(&error) => Ok(None),
        answer => answer,
    }
}

impl TaskHandler for Process {
    const IDENTIFIER: &'static str = "process";

    async fn run(self, context: WorkerContext) -> impl IntoTaskHandlerResult {
        let parser = context.get_ext::<Parser>().expect("a parser");
        self.work(context.pg_pool(), parser).await
    }
}

impl Process {
    async fn work(self, pool: &PgPool, parser: &Parser) -> Result<(), Back> {
        let Some(document) = self.begin(pool).await? else { return Ok(()) };
        let parsed = unless(self.hold(pool), parser.0(document)).await;
        let Some(mut parsed) = parsed else { return Ok(()) }; // the run was taken away
        loop {
            match at_once(pool, async |db| self.end(db, &parsed).await).await {
                Ok(Some(())) => return Ok(()),
                Ok(None) => {} // somebody was faster, perhaps with an edit
                // It may have happened. Then the run is over, and nothing is left to do.
                Err(error) if !postgres::is_lasting(&error) => sleep(NAP).await,
                Err(_) if parsed.is_ok() => {
                    parsed = Err(Fault::Broken("the output cannot be stored".to_owned()));
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Starts the run, and returns what is to be done; `None` if the run is over.
    async fn begin(self, pool: &PgPool) -> Result<Option<Document>, Back> {
        // In the payload, it tells this start from any other worker's.
        let mark = Value::from(Uuid::new_v4().to_string());
        let mut is_sent = false;
        loop {
            let found = postgres::load(pool, self.id).await;
            if is_sent && found.is_err() {
                sleep(NAP).await; // it may have been started: only a look can tell
                continue;
            }
            let Some(task) = found? else { return Ok(None) };
            match task.check_run(self.run) {
                Ok(()) => {}
                Err(stale) if stale.is_ahead() => return Err(Back::Ahead(stale)),
                Err(_) => return Ok(None),
            }
            if task.payload().others.get("worker") == Some(&mark) {
                return Ok(Some(task.payload().clone()));
            }
            let mut draft = Draft::new(task);
            if draft.status() == Status::Processing {
                let taken = at_once(pool, async |db| self.take_away(db, draft).await).await?;
                return taken.map(|()| None).ok_or(Back::Leased(self.run));
            }
            draft.edit(|it| it.others.insert("worker".to_owned(), mark.clone()));
            _ = draft.start(); // accepted, for it is Starting
            match commit(pool, self.id, &draft).await {
                Ok(true) => return Ok(Some(draft.payload().clone())),
                Ok(false) => {} // somebody was faster
                Err(error) if is_sent => return Err(error.into()),
                Err(_) => is_sent = true,
            }
        }
    }

    /// Takes the run from a worker whose lease is over: the next run is queued, if there is one.
    async fn take_away(self, db: &mut PgConnection, mut draft: Draft) -> Result<Option<()>> {
        match self.count(db, true).await? {
            Some(attempts) => again(&mut draft, attempts),
            None => return Ok(None),
        }
        store(db, self.id, &draft, 0).await
    }

    /// Renews the lease until the run is not this worker's any more.
    async fn hold(self, pool: &PgPool) {
        let sql = "UPDATE tasks SET lease = now() + interval '15 s'
            WHERE id = $1 AND run = $2 AND status = 'Processing'";
        loop {
            sleep(Duration::from_secs(1)).await;
            let renewal = sqlx::query(sql).bind(self.id).bind(self.run.to_i64());
            if renewal.execute(pool).await.is_ok_and(|done| done.rows_affected() == 0) {
                return;
            }
        }
    }

    /// Ends the run, if it is not over.
    async fn end(self, db: &mut PgConnection, parsed: &Parsed) -> Result<Option<()>> {
        let Some(task) = postgres::load(&mut *db, self.id).await? else { return Ok(Some(())) };
        if task.check_run(self.run).is_err() {
            return Ok(Some(()));
        }
        let (mut draft, mut wait) = (Draft::new(task), 0);
        match parsed {
            Ok(output) => {
                draft.edit(|document| document.output = Some(output.clone()));
                _ = draft.succeed(); // accepted, as are the others, for it is Processing
            }
            Err(Fault::Busy) => {
                let Some(attempts) = self.count(db, false).await? else { return Ok(None) };
                again(&mut draft, attempts);
                wait = 10 * attempts;
            }
            Err(Fault::Broken(reason)) => {
                draft.edit(|document| document.message.clone_from(reason));
                _ = draft.fail();
            }
        }
        store(db, self.id, &draft, wait).await
    }

    /// Counts an attempt of the run, if it is there; where the worker is thought dead, if its lease
    /// is over. Nobody else changes the row before this transaction ends.
    async fn count(self, db: &mut PgConnection, is_dead: bool) -> Result<Option<i32>> {
        let sql = "UPDATE tasks SET attempts = attempts + 1 WHERE id = $1 AND run = $2
            AND status = 'Processing' AND (lease < now() OR NOT $3) RETURNING attempts";
        let query = sqlx::query_scalar(sql).bind(self.id).bind(self.run.to_i64()).bind(is_dead);
        Ok(query.fetch_optional(db).await?)
    }
}

async fn unless<T>(stop: impl Future<Output = ()>, work: impl Future<Output = T>) -> Option<T> {
    tokio::select! {
        done = work => Some(done),
        () = stop => None,
    }
}

/// Another attempt, or the end of them.
fn again(draft: &mut Draft, attempts: i32) {
    if attempts < ATTEMPTS {
        _ = draft.retry();
    } else {
        draft.edit(|document| "tried too often".clone_into(&mut document.message));
        _ = draft.fail();
    }
}
