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

use crate::settle::{Settled, settle};
use crate::{Document, Draft, Error, Result, Task, postgres};

/// The limit of attempts: a document that kills its workers would be tried without end.
pub const ATTEMPTS: i32 = 3;

const NAP: Duration = Duration::from_millis(200);

/// The message: do this run of this task.
#[derive(Clone, Copy, Serialize, Deserialize)]
#[allow(clippy::unsafe_derive_deserialize)] // it is tokio's, in `select!`
pub struct Process {
    pub id: Uuid,
    pub run: Run,
}

/// The work, as an extension of the worker: an output, or why there will be none.
pub type Parser = fn(Document) -> Pin<Box<dyn Future<Output = Result<String, String>> + Send>>;

/// A reason to give a message back to the engine, which delivers it again, later each time.
#[derive(Debug, thiserror::Error)]
pub enum Back {
    #[error(transparent)]
    Store(#[from] Error),
    /// It knows more than the database: its commit is under way, or lost, or from before a restore.
    #[error(transparent)]
    Ahead(StaleRun),
    /// It was delivered before, and whoever has the run may be alive; or it changed hands just now.
    #[error("run {0} is taken")]
    Taken(Run),
}

/// Stores a new task and its message; false as for [`postgres::create`].
pub async fn submit(pool: &PgPool, id: Uuid, document: Document) -> Result<bool> {
    let task = Task::new(document);
    at_once(pool, async |db| {
        Ok(postgres::create(&mut *db, id, &task).await? && send(db, id, task.run()).await?)
    })
    .await
}

/// Stores what was decided, and the message that it asks for; false as for [`postgres::commit`].
pub async fn commit(pool: &PgPool, id: Uuid, draft: &Draft) -> Result<bool> {
    at_once(pool, async |db| store(db, id, draft).await).await
}

async fn store(db: &mut PgConnection, id: Uuid, draft: &Draft) -> Result<bool> {
    let is_done = postgres::commit(&mut *db, id, draft).await?;
    match draft.queued() {
        Some(run) if is_done => send(db, id, run).await,
        _ => Ok(is_done),
    }
}

async fn send(db: &mut PgConnection, id: Uuid, run: Run) -> Result<bool> {
    let sql = "SELECT graphile_worker.add_job($1, $2::text::json)";
    let message = serde_json::to_string(&Process { id, run })?;
    sqlx::query(sql).bind(Process::IDENTIFIER).bind(message).execute(db).await?;
    Ok(true)
}

/// Makes changes in one transaction; none of them after `false`, which is also a lost race.
async fn at_once(
    pool: &PgPool,
    changes: impl AsyncFnOnce(&mut PgConnection) -> Result<bool>,
) -> Result<bool> {
    let mut transaction = pool.begin().await?;
    if !changes(&mut transaction).await? {
        return Ok(false);
    }
    match transaction.commit().await {
        Err(error) if postgres::lost_race(&error) => Ok(false),
        answer => Ok(answer.map(|()| true)?),
    }
}

impl TaskHandler for Process {
    const IDENTIFIER: &'static str = "process";

    async fn run(self, context: WorkerContext) -> impl IntoTaskHandlerResult {
        self.work(context.pg_pool(), context.get_ext().expect("a parser")).await
    }
}

impl Process {
    async fn work(self, pool: &PgPool, parser: &Parser) -> Result<(), Back> {
        let Some(document) = self.begin(pool).await? else { return Ok(()) };
        let mut parsed = tokio::select! {
            parsed = parser(document) => parsed,
            () = self.hold(pool) => return Ok(()), // the run was taken away
        };
        loop {
            match at_once(pool, async |db| self.end(db, &parsed).await).await {
                Ok(true) => return Ok(()),
                Ok(false) => {} // somebody was faster, perhaps with an edit
                // It may have happened. Then the run is over, and nothing is left to do.
                Err(error) if !postgres::is_lasting(&error) => sleep(NAP).await,
                Err(_) if parsed.is_ok() => {
                    parsed = Err("the output cannot be stored".to_owned());
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Starts the run, and returns what is to be done; `None` if the run is over.
    async fn begin(self, pool: &PgPool) -> Result<Option<Document>, Back> {
        let Some(task) = postgres::load(pool, self.id).await? else { return Ok(None) };
        match task.check_run(self.run) {
            Ok(()) => {}
            Err(stale) if stale.is_ahead() => return Err(Back::Ahead(stale)),
            Err(_) => return Ok(None),
        }
        let mut draft = Draft::new(task);
        if draft.status() == Status::Processing {
            // The next run, if there is one, goes to whoever gets its message.
            let take_away = async |db: &mut PgConnection| {
                match self.count(db).await? {
                    None => return Ok(false),
                    Some(attempts) if attempts < ATTEMPTS => drop(draft.retry()),
                    Some(_) => {
                        draft.edit(|document| "tried too often".clone_into(&mut document.message));
                        drop(draft.fail());
                    }
                }
                store(db, self.id, &draft).await
            };
            let is_over = at_once(pool, take_away).await?;
            return if is_over { Ok(None) } else { Err(Back::Taken(self.run)) };
        }
        let mark = Value::from(Uuid::new_v4().to_string());
        let start = |draft: &mut Draft| {
            draft.check_run(self.run).map_err(drop)?;
            draft.edit(|it| it.others.insert("worker".to_owned(), mark.clone()));
            draft.start().map(drop).map_err(drop)
        };
        let load = || postgres::load(pool, self.id);
        let commit = async |draft: Draft| commit(pool, self.id, &draft).await;
        match settle(load, start, commit).await {
            Settled::Made(task) => Ok(Some(task.payload().clone())),
            Settled::Refused(()) | Settled::Gone | Settled::Unknown => Err(Back::Taken(self.run)),
        }
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
    async fn end(self, db: &mut PgConnection, parsed: &Result<String, String>) -> Result<bool> {
        let Some(task) = postgres::load(&mut *db, self.id).await? else { return Ok(true) };
        if task.check_run(self.run).is_err() {
            return Ok(true);
        }
        let mut draft = Draft::new(task);
        match parsed {
            Ok(output) => {
                draft.edit(|document| document.output = Some(output.clone()));
                drop(draft.succeed()); // accepted, for it is Processing
            }
            Err(reason) => {
                draft.edit(|document| document.message.clone_from(reason));
                drop(draft.fail());
            }
        }
        store(db, self.id, &draft).await
    }

    /// Counts an attempt of which the lease is over; nobody renews it before this transaction ends.
    async fn count(self, db: &mut PgConnection) -> Result<Option<i32>> {
        let sql = "UPDATE tasks SET attempts = attempts + 1 WHERE id = $1 AND run = $2
            AND status = 'Processing' AND lease < now() RETURNING attempts";
        let query = sqlx::query_scalar(sql).bind(self.id).bind(self.run.to_i64());
        Ok(query.fetch_optional(db).await?)
    }
}
