//! The handler of `src/queue.rs`, on a queue engine that runs.

use graphile_worker::{Worker, WorkerOptions};
use sqlx::postgres::PgPool;
use task_lifecycle::Status;
use task_stores::engines::{self, Disk, Engine};
use task_stores::queue::{self, ATTEMPTS, Process};
use task_stores::suite::{Postgres, Store};
use task_stores::{Document, Task, postgres};
use uuid::Uuid;

struct Bench {
    pool: PgPool,
    worker: Worker,
    _engine: Engine,
}

impl Bench {
    async fn start() -> Option<Self> {
        let engine = engines::start("PostgreSQL", Disk::Memory)?;
        let pool = Postgres::open(&engine.address).await.unwrap().db;
        sqlx::raw_sql(postgres::SCHEMA).execute(&pool).await.unwrap();
        let worker = WorkerOptions::default().pg_pool(pool.clone()).define_job::<Process>();
        let worker = worker.listen_os_shutdown_signals(false).init().await.unwrap();
        Some(Self { pool, worker, _engine: engine })
    }

    async fn submit(&self, message: &str) -> Uuid {
        let id = Uuid::new_v4();
        let document = Document { message: message.to_owned(), ..Document::default() };
        assert!(queue::submit(&self.pool, id, document).await.unwrap());
        id
    }

    async fn update(&self, id: Uuid, message: &str) {
        let mut task = self.task(id).await;
        let loaded = task.revision();
        task.update(Document { message: message.to_owned(), ..Document::default() }).unwrap();
        assert!(queue::update(&self.pool, id, loaded, &task).await.unwrap());
    }

    async fn task(&self, id: Uuid) -> Task {
        postgres::load(&self.pool, id).await.unwrap().unwrap()
    }

    async fn change(&self, id: Uuid, change: impl FnOnce(&mut Task)) {
        let mut task = self.task(id).await;
        let loaded = task.revision();
        change(&mut task);
        assert!(postgres::commit(&self.pool, id, loaded, &task).await.unwrap());
    }

    /// Works until nothing waits, for a round of the engine's takes what waited when it began.
    async fn work(&self) {
        let sql = "SELECT count(*) FROM graphile_worker._private_jobs WHERE run_at <= now()";
        while sqlx::query_scalar::<_, i64>(sql).fetch_one(&self.pool).await.unwrap() > 0 {
            self.worker.run_once().await.unwrap();
        }
    }

    /// How many messages wait or were given back.
    async fn messages(&self) -> i64 {
        let sql = "SELECT count(*) FROM graphile_worker._private_jobs";
        sqlx::query_scalar(sql).fetch_one(&self.pool).await.unwrap()
    }
}

/// A row and its message are stored both or neither, whichever fails.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_row_and_its_message_are_one() {
    let Some(bench) = Bench::start().await else { return };
    let id = bench.submit("text").await;
    assert_eq!(bench.messages().await, 1);
    assert!(!queue::submit(&bench.pool, id, Document::default()).await.unwrap());
    assert_eq!(bench.messages().await, 1);
    bench.work().await;

    let task = bench.task(id).await;
    assert_eq!(
        (task.status(), task.payload().output.as_deref()),
        (Status::Succeeded, Some("TEXT"))
    );
    let mut updated = task.clone();
    updated.update(Document::default()).unwrap();
    assert!(!queue::update(&bench.pool, id, 0, &updated).await.unwrap());
    assert_eq!(bench.messages().await, 0);

    let rename = "ALTER SCHEMA graphile_worker RENAME TO hidden";
    sqlx::raw_sql(rename).execute(&bench.pool).await.unwrap();
    let other = Uuid::new_v4();
    assert!(queue::submit(&bench.pool, other, Document::default()).await.is_err());
    assert_eq!(postgres::load(&bench.pool, other).await.unwrap(), None);
    assert!(queue::update(&bench.pool, id, task.revision(), &updated).await.is_err());
    assert_eq!(bench.task(id).await, task);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_handler_does_each_run_once() {
    let Some(bench) = Bench::start().await else { return };

    // A run that fails, of an update: it reverts.
    let id = bench.submit("text").await;
    bench.work().await;
    bench.update(id, "broken").await;
    bench.work().await;
    let reverted = bench.task(id).await;
    assert_eq!(reverted.payload().output.as_deref(), Some("TEXT"));
    assert_eq!((reverted.status(), reverted.is_update()), (Status::Succeeded, false));

    // The message of a task that was cancelled is acknowledged.
    let id = bench.submit("text").await;
    bench.change(id, |task| drop(task.cancel().unwrap())).await;
    bench.work().await;
    assert_eq!((bench.task(id).await.status(), bench.messages().await), (Status::Cancelled, 0));

    // So is that of an update that was cancelled, while the next update waits for its own.
    let id = bench.submit("text").await;
    bench.work().await;
    for text in ["cancelled", "broken"] {
        bench.update(id, text).await;
        if text == "cancelled" {
            bench.change(id, |task| drop(task.cancel().unwrap())).await;
        }
    }
    let stale = "DELETE FROM graphile_worker._private_jobs WHERE payload->>'run' = '2'";
    sqlx::raw_sql(stale).execute(&bench.pool).await.unwrap();
    bench.work().await;
    assert_eq!((bench.task(id).await.status(), bench.messages().await), (Status::Starting, 0));

    // An edit of the waiting task costs nobody the message.
    let id = bench.submit("text").await;
    bench.change(id, |task| task.edit(|it| it.message.push_str(", third in line"))).await;
    bench.work().await;
    assert_eq!(bench.task(id).await.status(), Status::Succeeded);

    // A worker died in this run, and its message is delivered again: the run is taken over.
    let id = bench.submit("text").await;
    bench.change(id, |task| drop(task.start().unwrap())).await;
    bench.work().await;
    let task = bench.task(id).await;
    assert_eq!((task.status(), task.run(), bench.messages().await), (Status::Succeeded, 1, 0));

    // What is never done is given up.
    let id = bench.submit("busy").await;
    bench.work().await;
    let task = bench.task(id).await;
    assert_eq!((task.status(), task.run() + 1), (Status::Failed, ATTEMPTS));
    assert_eq!((task.payload().message.as_str(), bench.messages().await), ("tried too often", 0));

    // A database that has no answer: the message is given back.
    let id = bench.submit("text").await;
    sqlx::raw_sql("ALTER TABLE tasks RENAME TO hidden").execute(&bench.pool).await.unwrap();
    bench.work().await;
    assert_eq!(bench.messages().await, 1);
    sqlx::raw_sql("ALTER TABLE hidden RENAME TO tasks").execute(&bench.pool).await.unwrap();
    assert_eq!(bench.task(id).await.status(), Status::Starting);
}
