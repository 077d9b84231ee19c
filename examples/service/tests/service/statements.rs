//! The statements, and what the database itself refuses.

use std::time::{Duration, Instant};

use serde_json::json;
use sqlx::{Connection as _, Executor as _, PgConnection, SqliteConnection, query_scalar, raw_sql};
use task_lifecycle::{Draft, Revision, Run, State, Status, Task};
use task_service::database::{Db, Meaning, meaning};
use task_service::store::{Key, Message, Note, Row, SqlStore, Tasks as _};

use crate::{LONG, Service, handle};

/// Every statement about a task names its owner.
#[tokio::test]
async fn cross_user_read() {
    for service in Service::everywhere().await {
        let store = &service.store;
        let worker = service.worker("one");
        let (key, run) = service.started(&worker).await;
        let waiting = service.create("waiting").await;
        let bobs = |key: &Key| Key { owner: "bob".to_owned(), ..key.clone() };

        assert!(store.load(&bobs(&key)).await.unwrap().is_none());
        let mut draft = Draft::new(service.load(&key).await.0);
        draft.edit(|_| ());
        assert!(!store.commit(&bobs(&key), &draft, &Note::default()).await.unwrap());
        assert!(!store.renew(&bobs(&key), run).await.unwrap());
        let message = service.receive().await;
        let foreign = Message { key: bobs(&waiting), ..message.clone() };
        assert!(!store.give_back(&foreign, None).await.unwrap());
        assert!(store.give_back(&message, None).await.unwrap());
        assert!(store.list("bob").await.unwrap().is_empty());
        assert!(store.log(&bobs(&key)).await.unwrap().is_empty());
        worker.finish(&key, run, Ok(&[])).await.unwrap();
        let revision = service.load(&key).await.0.revision();
        assert!(!store.delete(&bobs(&key), revision).await.unwrap());

        for (method, rest) in [
            ("GET", ""),
            ("GET", "/cancel"),
            ("GET", "/log"),
            ("POST", "/stop"),
            ("PATCH", "/parse"),
            ("DELETE", ""),
        ] {
            let path = format!("/tasks/{}{rest}", waiting.id);
            service.send("b", method, &path, "{}").await.refuses(404, "Task not found");
        }
        assert_eq!(service.send("b", "GET", "/tasks", "").await.json["tasks"], json!([]));
    }
}

#[tokio::test]
async fn unconditional_write() {
    for service in Service::everywhere().await {
        let key = service.succeeded().await;
        let mut draft = Draft::new(service.load(&key).await.0);
        draft.update("{}".to_owned()).unwrap();
        service.label(&key, "read").await;
        assert!(!service.store.commit(&key, &draft, &Note::default()).await.unwrap());
        assert!(!service.store.delete(&key, draft.loaded()).await.unwrap());
        let (found, _) = service.load(&key).await;
        assert_eq!(found.revision(), Revision::new(draft.loaded().get() + 1));
        assert!(service.store.delete(&key, found.revision()).await.unwrap());
        assert!(!service.store.delete(&key, found.revision()).await.unwrap());
    }
}

/// The counters are kept bit for bit.
#[tokio::test]
async fn counters_beyond_the_sign() {
    for service in Service::everywhere().await {
        let key = service.succeeded().await;
        let sql = format!(
            "UPDATE tasks SET revision = 9223372036854775807, run = 9223372036854775807,
                 queued_run = 9223372036854775807 WHERE task_id = '{}'",
            key.id
        );
        service.sql(&sql).await.unwrap();
        assert_eq!(service.update(&key, &json!({})).await.etag, "\"9223372036854775808\"");
        let (task, beside) = service.load(&key).await;
        assert_eq!(task.run(), Run::new(1 << 63));
        assert_eq!(beside.queued_run, i64::MIN);
        let worker = service.worker("one");
        let (run, _) = worker.start(&service.receive().await).await.unwrap().unwrap();
        assert_eq!(service.stop(&key).await.code, 202);
        assert!(service.load(&key).await.1.is_stopped());
        worker.finish(&key, run, Ok(&[])).await.unwrap();
        assert_eq!(service.operations(&key).await.last().unwrap(), "retry, cancel");
    }
}

/// What the database refuses whoever asks: a status that is none of the nine, a previous state of
/// which half is missing, a lease that is another run's, an end that is none.
#[tokio::test]
async fn half_a_previous_state() {
    for service in Service::everywhere().await {
        let succeeded = service.succeeded().await;
        let worker = service.worker("one");
        let (processing, _) = service.started(&worker).await;
        let starting = service.succeeded().await;
        service.update(&starting, &json!({})).await;
        let mut refused = Vec::new();
        for (key, change) in [
            (&succeeded, "status = 'Done'"),
            (&succeeded, "status = 'Starting'"),
            (&succeeded, "status = 'Starting', previous_status = 'Failed', ended_at = NULL"),
            (&succeeded, "previous_status = 'Failed', previous_payload = '{}'"),
            (&succeeded, "previous_payload = '{}'"),
            (&succeeded, "status = 'Processing', ended_at = NULL"),
            (&succeeded, "ended_at = NULL"),
            (&succeeded, "payload = NULL"),
            (&starting, "previous_status = NULL"),
            (&starting, "previous_payload = NULL"),
            (&starting, "previous_status = 'Cancelled'"),
            (&starting, "status = 'Cancelled'"),
            (&starting, "ended_at = 1"),
            (&starting, "lease_run = run, lease_until = 1, lease_length = 1"),
            (&processing, "lease_run = NULL"),
            (&processing, "lease_run = run + 1"),
            (&processing, "run = run + 1"),
            (&processing, "lease_until = NULL"),
            (&processing, "lease_length = NULL"),
        ] {
            let sql = format!(
                "UPDATE tasks SET {change}, revision = revision + 1 WHERE task_id = '{}'",
                key.id
            );
            if service.sql(&sql).await.is_err_and(|fault| meaning(&fault) == Meaning::Lasting) {
                refused.push(change);
            } else {
                panic!("accepted: {change}");
            }
        }
        assert_eq!(refused.len(), 19);
    }
}

/// A change by hand must change the revision; a renewal of the lease need not.
#[tokio::test]
async fn hand_written_update() {
    for service in Service::everywhere().await {
        let (key, run) = service.started(&service.worker("one")).await;
        for column in ["status", "run", "payload", "previous_status", "previous_payload"] {
            let sql = format!("UPDATE tasks SET {column} = {column} WHERE task_id = '{}'", key.id);
            let fault = service.sql(&sql).await.unwrap_err().to_string();
            assert!(fault.contains("must change its revision"), "{fault}");
        }
        // trigger_refused_the_lease
        assert!(service.store.renew(&key, run).await.unwrap());
    }
}

/// The bulk cancel that an operator may run: an update reverts, a new task is cancelled.
#[tokio::test]
async fn bulk_cancel_broke_updates() {
    for service in Service::everywhere().await {
        let new = service.create("new").await;
        let failed = service.create("failed").await;
        let worker = service.worker("one");
        service.receive().await;
        let message = service.receive().await;
        worker.finish(&failed, Run::from_i64(message.run), Err("no")).await.unwrap();
        let before = service.load(&failed).await.0;
        service.update(&failed, &json!({ "words": "new" })).await;
        let naive = "UPDATE tasks SET status = 'Cancelled', revision = revision + 1
            WHERE status IN ('Starting')";
        assert!(service.sql(naive).await.is_err());
        let right = "UPDATE tasks SET status = coalesce(previous_status, 'Cancelled'),
                payload = coalesce(previous_payload, payload), revision = revision + 1,
                previous_status = NULL, previous_payload = NULL,
                ended_at = (SELECT now FROM clock), operations = 'cancel', changed_by = 'operator'
            WHERE status IN ('Starting')";
        assert_eq!(service.sql(right).await.unwrap(), 2);
        assert_eq!(service.status(&new).await, "Cancelled");
        let after = service.load(&failed).await.0;
        assert_eq!((after.status(), after.payload()), (before.status(), before.payload()));
        assert_eq!(service.log(&failed).await.last().unwrap()["changed_by"], "operator");
    }
}

/// What lies beside a task, in the nine states and through each row of the table of commits.
#[tokio::test]
async fn beside_the_task() {
    for service in Service::everywhere().await {
        let key = service.succeeded().await;
        let commit = async |change: &dyn Fn(&mut Draft<String>), note: Note| {
            let mut draft = Draft::new(service.load(&key).await.0);
            change(&mut draft);
            assert!(service.store.commit(&key, &draft, &note).await.unwrap());
            let Row { task, beside } = service.store.load(&key).await.unwrap().unwrap();
            assert_eq!(task, draft.into_task());
            assert_eq!(beside.ended_at.is_some(), task.status().is_completed());
            assert_eq!(beside.lease_until.is_some(), task.status() == Status::Processing);
            (task.run().get(), beside.queued_run, beside.attempts, beside.stop_requested)
        };
        let (none, text) = (Note::default, || "{}".to_owned());
        let update = |draft: &mut Draft<String>| drop(draft.update(text()).unwrap());
        assert_eq!(commit(&update, none()).await, (1, 1, 0, None));
        let place = service.number("SELECT place FROM tasks").await;
        assert_eq!(service.receive().await.deliveries, 1);
        assert_eq!(commit(&|draft| drop(draft.start().unwrap()), none()).await, (1, 1, 0, None));
        let (_, beside) = service.load(&key).await;
        let stop = Note { stop: Some(Run::new(1)), ..none() };
        assert_eq!(commit(&|draft| draft.edit(|_| ()), stop).await, (1, 1, 0, Some(1)));
        assert_eq!(service.load(&key).await.1.lease_until, beside.lease_until);
        let renewed = Note { expired: beside.lease_until.map(|until| until + 1), ..none() };
        let mut draft = Draft::new(service.load(&key).await.0);
        draft.retry().unwrap();
        assert!(!service.store.commit(&key, &draft, &renewed).await.unwrap());
        let expired = Note { expired: beside.lease_until, ..none() };
        let retry = |draft: &mut Draft<String>| drop(draft.retry().unwrap());
        assert_eq!(commit(&retry, expired).await, (2, 1, 1, Some(1)));
        // It keeps its place, and is due at once.
        assert_eq!(service.number("SELECT place FROM tasks").await, place);
        assert_eq!(service.receive().await.deliveries, 1);
        let replace = |draft: &mut Draft<String>| {
            draft.cancel().unwrap();
            draft.update(text()).unwrap();
        };
        assert_eq!(commit(&replace, none()).await, (3, 3, 0, None));
        assert!(service.number("SELECT place FROM tasks").await > place);
        assert_eq!(commit(&|draft| drop(draft.start().unwrap()), none()).await, (3, 3, 0, None));
        let over = service.load(&key).await.1.lease_until;
        let take_over = |draft: &mut Draft<String>| {
            draft.retry().unwrap();
            draft.start().unwrap();
        };
        let expired = Note { expired: over, ..none() };
        assert_eq!(commit(&take_over, expired).await, (4, 3, 1, None));
        assert_ne!(service.load(&key).await.1.lease_until, over);
        assert_eq!(commit(&|draft| drop(draft.succeed().unwrap()), none()).await, (4, 3, 1, None));
        let ended = service.load(&key).await.1.ended_at;
        assert_eq!(commit(&|draft| draft.edit(|_| ()), none()).await, (4, 3, 1, None));
        assert_eq!(service.load(&key).await.1.ended_at, ended);
        let at_once = |draft: &mut Draft<String>| {
            draft.update(text()).unwrap();
            draft.start().unwrap();
        };
        assert_eq!(commit(&at_once, none()).await, (5, 5, 0, None));
    }
}

/// What is acknowledged is on the disk; and a stricter default of the database makes no lost race an
/// error.
#[tokio::test]
async fn durable_and_isolated() {
    let service = Service::on(None).await;
    assert_eq!(service.number("PRAGMA synchronous").await, Some(2));
    let Some(postgres) = crate::postgres::Postgres::shared() else { return };
    let service = Service::on(Some(postgres)).await;
    let name = service.database.rsplit('/').next().unwrap();
    for setting in [
        "default_transaction_isolation = 'serializable'",
        "synchronous_commit = off",
        "lock_timeout = 0",
    ] {
        service.sql(&format!("ALTER DATABASE {name} SET {setting}")).await.unwrap();
    }
    let store = SqlStore::open(&service.database, LONG).await.unwrap();
    let Db::Postgres(pool) = &store.writers else { unreachable!() };
    for (setting, value) in [
        ("transaction_isolation", "read committed"),
        ("synchronous_commit", "on"),
        ("lock_timeout", "2s"),
    ] {
        let shown: String = query_scalar(sqlx::AssertSqlSafe(format!("SHOW {setting}")))
            .fetch_one(pool)
            .await
            .unwrap();
        assert_eq!(shown, value, "{setting}");
    }
}

#[tokio::test]
async fn serialization_failure_was_an_outage() {
    let Some(postgres) = crate::postgres::Postgres::shared() else { return };
    let service = Service::on(Some(postgres)).await;
    let Db::Postgres(pool) = &service.store.writers else { unreachable!() };
    let key = service.create("one").await;
    let mut draft = Draft::new(service.load(&key).await.0);
    draft.cancel().unwrap();
    let strict = pool.clone();
    // The pool's only connections are strict ones.
    let options = (*strict.connect_options()).clone();
    let strict = sqlx::postgres::PgPoolOptions::new()
        .after_connect(|connection, _| {
            Box::pin(async move {
                let strict = "SET default_transaction_isolation = 'repeatable read'";
                connection.execute(strict).await.map(drop)
            })
        })
        .connect_with(options)
        .await
        .unwrap();
    let store = SqlStore { writers: Db::Postgres(strict), ..service.store.clone() };
    let mut other = pool.begin().await.unwrap();
    let edit = "UPDATE tasks SET revision = revision + 1";
    other.execute(edit).await.unwrap();
    let commit = tokio::spawn(async move {
        let note = Note::default();
        store.commit(&key, &draft, &note).await
    });
    while service.number("SELECT count(*) FROM pg_locks WHERE NOT granted").await == Some(0) {
        tokio::task::yield_now().await;
    }
    other.commit().await.unwrap();
    assert!(!commit.await.unwrap().unwrap());
}

/// A write that must wait for a lock answers in time, and says that nothing was done; reads and the
/// health route go on.
#[tokio::test]
async fn locked_row_answers_in_time() {
    for service in Service::everywhere().await {
        let key = service.create("one").await;
        let begin = if service.is_sqlite() { "BEGIN IMMEDIATE" } else { "BEGIN" };
        let lock = "UPDATE tasks SET revision = revision + 1";
        let (mut sqlite, mut postgres) = (None, None);
        if service.is_sqlite() {
            let connection =
                sqlite.insert(SqliteConnection::connect(&service.database).await.unwrap());
            connection.execute(raw_sql(begin)).await.unwrap();
            connection.execute(raw_sql(lock)).await.unwrap();
        } else {
            let connection =
                postgres.insert(PgConnection::connect(&service.database).await.unwrap());
            connection.execute(raw_sql(begin)).await.unwrap();
            connection.execute(raw_sql(lock)).await.unwrap();
        }
        let start = Instant::now();
        let path = format!("/tasks/{}/cancel", key.id);
        let cancels =
            async { tokio::join!(service.cancel(&key), service.get(&path), service.cancel(&key)) };
        let (health, cancelled) = tokio::join!(service.get("/health"), cancels);
        assert_eq!(health.text, "OK");
        for refused in [cancelled.0, cancelled.1, cancelled.2] {
            refused.refuses(503, "Nothing was done: the database is busy, try again");
        }
        assert!(start.elapsed() < Duration::from_secs(25));
        assert_eq!(service.status(&key).await, "Starting");
        drop((sqlite, postgres));
        // The lock is released when the server notices.
        while service.cancel(&key).await.code != 200 {}
    }
}

/// A pool that is used up does not make the service ill.
#[tokio::test]
async fn health_stands_apart() {
    for service in Service::everywhere().await {
        for db in [&service.store.readers, &service.store.writers] {
            match db {
                Db::Sqlite(pool) => pool.close().await,
                Db::Postgres(pool) => pool.close().await,
            }
        }
        assert_eq!(service.get("/health").await.text, "OK");
        let busy = service.get("/tasks").await;
        busy.refuses(503, "Nothing was done: the database is busy, try again");
    }
}

/// The log holds every payload, to the letter, and outlives the task.
#[tokio::test]
async fn replay_without_edits() {
    for service in Service::everywhere().await {
        let worker = service.worker("one");
        let (key, run) = service.started(&worker).await;
        service.label(&key, "third in line").await;
        let before = service.load(&key).await.0;
        worker.finish(&key, run, Err("no")).await.unwrap();
        let payloads = "SELECT count(*) FROM events, tasks WHERE events.payload = tasks.payload";
        // At its end, and when the update was reverted.
        assert_eq!(service.number(payloads).await, Some(2));
        assert_eq!(
            before.state(),
            State::from_parts(Status::Processing, Some(Status::Succeeded)).unwrap()
        );
        // silent_update_failure
        let log = service.log(&key).await;
        let last = log.last().unwrap();
        assert_eq!((&last["operations"], &last["reason"]), (&json!("edit, fail"), &json!("no")));
        assert_eq!(last["changed_by"], "worker one");
        let gaps = "SELECT count(*) FROM events AS one WHERE loaded IS NOT NULL AND NOT EXISTS
            (SELECT 1 FROM events AS other WHERE other.revision = one.loaded)";
        assert_eq!(service.number(gaps).await, Some(0));
        let revision = service.load(&key).await.0.revision();
        assert!(service.store.delete(&key, revision).await.unwrap());
        assert_eq!(service.log(&key).await.len(), log.len() + 1);
    }
}

#[tokio::test]
async fn sql_by_format() {
    for service in Service::everywhere().await {
        let hostile = "'); DROP TABLE tasks; -- \" \\ \u{0}";
        let body = json!({ "file": "b25l", "file_name": hostile, "words": hostile }).to_string();
        let created = service.send("a", "POST", "/tasks/parse", &body).await;
        assert_eq!(created.json["configuration"]["words"], hostile);
        handle(&service.worker(hostile.trim_end_matches('\u{0}')), &service.receive().await).await;
        let listed = &service.get("/tasks").await.json["tasks"][0];
        assert_eq!(listed["file_info"]["name"], hostile);
        assert_eq!(listed["status"], "Succeeded");
    }
}

/// An id is taken once and for all.
#[tokio::test]
async fn taken_name_answered_200() {
    for service in Service::everywhere().await {
        let key = service.create("one").await;
        let other = Task::new("{}".to_owned());
        let fault = service.store.create(&key, &other, b"two", "request").await.unwrap_err();
        assert_eq!(meaning(&fault), Meaning::Lasting);
        assert_ne!(service.load(&key).await.0, other);
    }
}
