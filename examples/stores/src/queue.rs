//! A queue engine beside the tasks: `graphile_worker`, in the same PostgreSQL.
//!
//! A row and its message are stored in one transaction, both or neither. A message carries the run;
//! the handler checks it before it starts, and again before everything that it stores in the run's
//! name. It acknowledges (`Ok`) whatever is over, and gives back (`Err`) only what the database did
//! not answer: when that message comes again, the run tells what is left to do, so a commit whose
//! answer was lost needs no [`settle`](crate::settle). README.md has the recipe for any engine.

use graphile_worker::{IntoTaskHandlerResult, TaskHandler, WorkerContext};
use serde::{Deserialize, Serialize};
use sqlx::postgres::{PgConnection, PgPool};
use task_lifecycle::{Status, Transition, TransitionError};
use uuid::Uuid;

use crate::{Document, Error, Result, Task, postgres};

/// How often a document is tried: one that kills its workers would be tried without end.
pub const ATTEMPTS: u64 = 3;

/// The message: do this run of this task.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Process {
    pub id: Uuid,
    pub run: u64,
    /// The run of the first attempt.
    pub first: u64,
}

/// Stores a new task and its message; false as for [`postgres::create`].
pub async fn submit(pool: &PgPool, id: Uuid, document: Document) -> Result<bool> {
    let task = Task::new(document);
    let message = Process { id, run: task.run(), first: task.run() };
    with_message(pool, Some(message), async |db| postgres::create(db, id, &task).await).await
}

/// Stores the update of a task that was loaded at revision `loaded`, and its message; false as for
/// [`postgres::commit`].
pub async fn update(pool: &PgPool, id: Uuid, loaded: u64, task: &Task) -> Result<bool> {
    let message = Process { id, run: task.run(), first: task.run() };
    let write = async |db: &mut PgConnection| postgres::commit(db, id, loaded, task).await;
    with_message(pool, Some(message), write).await
}

/// Both in one transaction, or neither.
async fn with_message(
    pool: &PgPool,
    message: Option<Process>,
    write: impl AsyncFnOnce(&mut PgConnection) -> Result<bool>,
) -> Result<bool> {
    let mut transaction = pool.begin().await?;
    let both = async {
        let done = write(&mut transaction).await?;
        if let Some(message) = message.filter(|_| done) {
            send(&mut transaction, message).await?;
        }
        transaction.commit().await?;
        Ok(done)
    };
    match both.await {
        Err(Error::Postgres(error)) if postgres::lost_race(&error) => Ok(false),
        answer => answer,
    }
}

/// As the engine's own `add_job`, which cannot be put into a transaction of ours.
async fn send(transaction: &mut PgConnection, message: Process) -> Result<()> {
    let sql = "SELECT graphile_worker.add_job($1, $2::text::json)";
    let query = sqlx::query(sql).bind(Process::IDENTIFIER).bind(serde_json::to_string(&message)?);
    query.execute(transaction).await?;
    Ok(())
}

impl TaskHandler for Process {
    const IDENTIFIER: &'static str = "process";

    async fn run(self, context: WorkerContext) -> impl IntoTaskHandlerResult {
        self.work(context.pg_pool()).await
    }
}

impl Process {
    async fn work(self, pool: &PgPool) -> Result<()> {
        let start = |task: &mut Task| match task.status() {
            // This message was delivered before. The worker that had it is dead, or slow: in either
            // case a new run takes the task from it, and the result of the old one is dropped.
            Status::Processing => self.again(task),
            Status::Starting | Status::Succeeded | Status::Failed | Status::Cancelled => {
                task.start()
            }
        };
        let begun = self.change(pool, start).await?;
        let Some(task) = begun.filter(|task| task.check_run(self.run).is_ok()) else {
            return Ok(());
        };
        let parsed = parse(task.payload());
        let end = |task: &mut Task| match &parsed {
            Ok(output) => {
                task.edit(|document| document.output = Some(output.clone()));
                task.succeed()
            }
            Err(Fault::Busy) => self.again(task),
            Err(Fault::Broken(reason)) => {
                task.edit(|document| document.message.clone_from(reason));
                task.fail()
            }
        };
        self.change(pool, end).await?;
        Ok(())
    }

    /// Another attempt, or the end of them.
    fn again(&self, task: &mut Task) -> Result<Transition<Document>, TransitionError> {
        if task.run().wrapping_sub(self.first) + 1 < ATTEMPTS {
            return task.retry();
        }
        task.edit(|document| "tried too often".clone_into(&mut document.message));
        task.fail()
    }

    /// Stores a change in the run's name, and the message of a new run if the task was queued
    /// again. `None` if the run is over: the message, or the result, is for nobody.
    async fn change(
        &self,
        pool: &PgPool,
        decide: impl Fn(&mut Task) -> Result<Transition<Document>, TransitionError>,
    ) -> Result<Option<Task>> {
        loop {
            let Some(mut task) = postgres::load(pool, self.id).await? else { return Ok(None) };
            let loaded = task.revision();
            if task.check_run(self.run).is_err() || decide(&mut task).is_err() {
                return Ok(None);
            }
            let is_queued = task.run() != self.run;
            let message = is_queued.then_some(Self { run: task.run(), ..*self });
            let write =
                async |db: &mut PgConnection| postgres::commit(db, self.id, loaded, &task).await;
            if with_message(pool, message, write).await? {
                return Ok(Some(task));
            } // else somebody edited it, or was faster: load again, check again
        }
    }
}

enum Fault {
    /// May work the next time.
    Busy,
    /// Will not.
    Broken(String),
}

/// Stands for the work.
fn parse(document: &Document) -> Result<String, Fault> {
    match document.message.as_str() {
        "busy" => Err(Fault::Busy),
        "broken" => Err(Fault::Broken("cannot be parsed".to_owned())),
        text => Ok(text.to_uppercase()),
    }
}
