//! The handler for a queue engine does what its table says, on a queue engine that runs.

use std::time::Duration;

use graphile_worker::{Worker, WorkerOptions};
use sqlx::postgres::PgPool;
use task_lifecycle::Status;
use task_stores::engines::Engine;
use task_stores::queue::{self, Parser, Process};
use task_stores::{Document, Draft, Task, postgres};
use tokio::sync::Semaphore;
use tokio::time::timeout;
use uuid::Uuid;

use crate::harness::{Open, Postgres, document};

/// The documents that wait: how many have been begun, and how many may end.
static BEGUN: Semaphore = Semaphore::const_new(0);
static GO_ON: Semaphore = Semaphore::const_new(0);

async fn parse(document: Document) -> Result<String, String> {
    match document.message.as_str() {
        "broken" => Err("cannot be parsed".to_owned()),
        "large" => Ok("large".repeat(1000)),
        "waits" => {
            BEGUN.add_permits(1);
            GO_ON.acquire().await.unwrap().forget();
            Ok("WAITED".to_owned())
        }
        text => Ok(text.to_uppercase()),
    }
}

struct Bench {
    pool: PgPool,
    worker: Worker,
    _engine: Engine,
}

impl Bench {
    async fn start() -> Option<Self> {
        let engine = Postgres::start()?;
        let pool = Postgres::open(&engine.address).await.unwrap().db;
        let options = WorkerOptions::default().pg_pool(pool.clone()).define_job::<Process>();
        let parser: Parser = |document| Box::pin(parse(document));
        let options = options.add_extension(parser);
        let worker = options.listen_os_shutdown_signals(false).init().await.unwrap();
        let bench = Self { pool, worker, _engine: engine };
        // Nothing is due before `deliver`.
        let later = "CREATE FUNCTION later() RETURNS trigger LANGUAGE plpgsql AS
            $$ BEGIN NEW.run_at = now() + interval '1 h'; RETURN NEW; END $$;
            CREATE TRIGGER later BEFORE INSERT ON graphile_worker._private_jobs
            FOR EACH ROW EXECUTE FUNCTION later()";
        bench.sql(later).await;
        Some(bench)
    }

    async fn sql(&self, sql: &'static str) {
        sqlx::raw_sql(sql).execute(&self.pool).await.unwrap();
    }

    async fn submit(&self, message: &str) -> Uuid {
        let id = Uuid::new_v4();
        assert!(queue::submit(&self.pool, id, document(message)).await.unwrap());
        id
    }

    async fn task(&self, id: Uuid) -> Task {
        postgres::load(&self.pool, id).await.unwrap().unwrap()
    }

    /// Commits as a client or another worker.
    async fn change(&self, id: Uuid, change: impl FnOnce(&mut Draft)) {
        let mut draft = Draft::new(self.task(id).await);
        change(&mut draft);
        assert!(queue::commit(&self.pool, id, &draft).await.unwrap());
    }

    /// Delivers every message once.
    async fn deliver(&self) {
        self.sql("UPDATE graphile_worker._private_jobs SET run_at = now()").await;
        timeout(Duration::from_mins(2), self.worker.run_once()).await.expect("an end").unwrap();
    }

    async fn messages(&self, id: Uuid) -> i64 {
        let sql = "SELECT count(*) FROM graphile_worker._private_jobs
            WHERE payload->>'id' = $1::text";
        sqlx::query_scalar(sql).bind(id).fetch_one(&self.pool).await.unwrap()
    }

    /// The task's status, its run, its attempts, and how many messages there are of it.
    async fn seen(&self, id: Uuid) -> (Status, i64, i32, i64) {
        let attempts = sqlx::query_scalar("SELECT attempts FROM tasks WHERE id = $1").bind(id);
        let attempts = attempts.fetch_one(&self.pool).await.unwrap();
        let task = self.task(id).await;
        (task.status(), task.run().to_i64(), attempts, self.messages(id).await)
    }
}

#[tokio::test]
async fn a_row_and_its_message_are_one() {
    let Some(bench) = Bench::start().await else { return };
    let (id, other) = (bench.submit("text").await, Uuid::new_v4());
    assert!(!queue::submit(&bench.pool, id, document("another")).await.unwrap());
    let mut update = Draft::new(bench.task(id).await);
    drop((update.fail().unwrap(), update.update(document("next")).unwrap()));

    bench.sql("ALTER SCHEMA graphile_worker RENAME TO hidden").await;
    assert!(queue::submit(&bench.pool, other, document("text")).await.is_err());
    assert!(queue::commit(&bench.pool, id, &update).await.is_err());
    bench.sql("ALTER SCHEMA hidden RENAME TO graphile_worker").await;
    assert_eq!(postgres::load(&bench.pool, other).await.unwrap(), None);
    assert_eq!(bench.seen(id).await, (Status::Starting, 0, 0, 1));

    bench.change(id, |task| task.edit(|it| it.message.push_str(", edited"))).await;
    assert!(!queue::commit(&bench.pool, id, &update).await.unwrap());
    assert_eq!(bench.seen(id).await, (Status::Starting, 0, 0, 1));
}

#[tokio::test]
async fn each_run_is_done_once_or_is_over() {
    let Some(bench) = Bench::start().await else { return };
    let update =
        |text: &'static str| move |task: &mut Draft| drop(task.update(document(text)).unwrap());
    let cancel = |task: &mut Draft| drop(task.cancel().unwrap());

    let id = bench.submit("text").await;
    bench.change(id, |task| task.edit(|it| it.message.push_str(", third in line"))).await;
    bench.deliver().await;
    assert_eq!(bench.task(id).await.payload().output.as_deref(), Some("TEXT, THIRD IN LINE"));

    // A failed update reverts. The message of a cancelled one starts nothing, not the next either.
    bench.change(id, update("broken")).await;
    bench.deliver().await;
    assert_eq!(bench.task(id).await.payload().output.as_deref(), Some("TEXT, THIRD IN LINE"));
    bench.change(id, update("cancelled")).await;
    bench.change(id, cancel).await;
    bench.change(id, update("next")).await;
    bench.sql("DELETE FROM graphile_worker._private_jobs WHERE payload->>'run' = '3'").await;
    bench.deliver().await;
    assert_eq!(bench.seen(id).await, (Status::Starting, 3, 0, 0));

    let deleted = bench.submit("text").await;
    bench.sql("DELETE FROM tasks WHERE run = 0").await;
    let ahead = bench.submit("text").await;
    let later = "UPDATE graphile_worker._private_jobs SET payload = jsonb_set(payload::jsonb,
        '{run}', '1') WHERE payload->>'id' = (SELECT id::text FROM tasks WHERE run = 0)";
    bench.sql(later).await;
    bench.deliver().await;
    assert_eq!(bench.messages(deleted).await, 0);
    assert_eq!(bench.seen(ahead).await, (Status::Starting, 0, 0, 1));

    // What cannot be stored ends.
    bench.sql("ALTER TABLE tasks ADD CHECK (length(payload) < 1000)").await;
    let large = bench.submit("large").await;
    bench.deliver().await;
    assert_eq!(bench.seen(large).await, (Status::Failed, 0, 0, 0));

    // A database that has no answer: the message goes back.
    let id = bench.submit("text").await;
    bench.sql("ALTER TABLE tasks RENAME TO hidden").await;
    bench.deliver().await;
    bench.sql("ALTER TABLE hidden RENAME TO tasks").await;
    assert_eq!(bench.seen(id).await, (Status::Starting, 0, 0, 1));
    bench.deliver().await;
    assert_eq!(bench.seen(id).await, (Status::Succeeded, 0, 0, 0));
}

#[tokio::test]
async fn attempts_are_counted_and_begin_anew_with_an_update() {
    let Some(bench) = Bench::start().await else { return };
    let dead = bench.submit("kills its worker").await;
    for attempt in 0..3 {
        bench.change(dead, |task| drop(task.start().unwrap())).await; // by one that dies
        bench.deliver().await;
        let is_left = (Status::Processing, attempt.into(), attempt, 1);
        assert_eq!(bench.seen(dead).await, is_left, "the lease is not over");
        bench.sql("UPDATE tasks SET lease = now() - interval '1 s' WHERE lease IS NOT NULL").await;
        bench.deliver().await;
    }
    assert_eq!(bench.seen(dead).await, (Status::Failed, 2, 3, 0));
    assert_eq!(bench.task(dead).await.payload().message, "tried too often");
    bench.change(dead, |task| drop(task.update(document("text")).unwrap())).await;
    assert_eq!(bench.seen(dead).await, (Status::Starting, 3, 0, 1));
}

#[tokio::test]
async fn a_lease_is_renewed_beside_the_work_until_the_run_is_taken_away() {
    let Some(bench) = Bench::start().await else { return };
    let id = bench.submit("waits").await;
    let beside = async {
        BEGUN.acquire().await.unwrap().forget();
        bench.sql("UPDATE tasks SET lease = now() + interval '1 s'").await;
        let is_short = "SELECT lease < now() + interval '5 s' FROM tasks";
        while sqlx::query_scalar(is_short).fetch_one(&bench.pool).await.unwrap() {}
        // While the result is being stored, somebody edits.
        let (mut transaction, mut draft) =
            (bench.pool.begin().await.unwrap(), Draft::new(bench.task(id).await));
        draft.edit(|it| it.message.push_str(", edited"));
        assert!(postgres::commit(&mut *transaction, id, &draft).await.unwrap());
        GO_ON.add_permits(1);
        let is_early = "SELECT count(*) = 0 FROM pg_stat_activity
            WHERE wait_event_type = 'Lock' AND query LIKE 'UPDATE tasks SET status%'";
        while sqlx::query_scalar(is_early).fetch_one(&bench.pool).await.unwrap() {}
        transaction.commit().await.unwrap();
    };
    tokio::join!(bench.deliver(), beside);
    let Document { message, output, .. } = bench.task(id).await.payload().clone();
    assert_eq!((message.as_str(), output.as_deref()), ("waits, edited", Some("WAITED")));

    for is_done in [false, true] {
        let id = bench.submit("waits").await;
        let beside = async {
            BEGUN.acquire().await.unwrap().forget();
            bench.change(id, |task| drop(task.retry().unwrap())).await;
            GO_ON.add_permits(usize::from(is_done));
        };
        tokio::join!(bench.deliver(), beside); // ends, though nothing lets the work go on
        assert_eq!(bench.seen(id).await, (Status::Starting, 1, 0, 1));
        assert_eq!(bench.task(id).await.revision().get(), 3);
        bench.sql("DELETE FROM graphile_worker._private_jobs").await;
    }
}
