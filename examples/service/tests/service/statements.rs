//! The statements, and what the database itself refuses.

use serde_json::json;
use sqlx::{Connection as _, Executor as _, PgConnection, SqliteConnection, query_scalar};
use task_lifecycle::{Revision, Run, Status};
use task_service::database::{Db, Meaning, meaning};
use task_service::store::{Draft, Key, Message, Note, SqlStore, Tasks as _};

use crate::postgres::Postgres;
use crate::{LONG, Service};

everywhere! {
    cross_user_read unconditional_write half_a_previous_state hand_written_update bulk_cancel_broke_updates
    beside_the_task locked_row_answers_in_time health_stands_apart replay_without_edits sql_by_format
}

/// Every statement about a task names its owner.
async fn cross_user_read(service: Service) {
    let (store, worker) = (&service.store, service.worker("one"));
    let (key, run) = service.started(&worker).await;
    let waiting = service.create("waiting").await;
    let bobs = |key: &Key| Key { owner: "bob".to_owned(), ..key.clone() };

    assert!(store.load(&bobs(&key)).await.unwrap().is_none());
    let mut draft = Draft::new(service.task(&key).await);
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
    let revision = service.task(&key).await.revision();
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

async fn unconditional_write(service: Service) {
    let key = service.succeeded().await;
    let mut draft = Draft::new(service.task(&key).await);
    draft.update("{}".to_owned()).unwrap();
    service.label(&key).await;
    assert!(!service.store.commit(&key, &draft, &Note::default()).await.unwrap());
    assert!(!service.store.delete(&key, draft.loaded()).await.unwrap());
    let now = Revision::new(draft.loaded().get() + 1);
    assert!(service.store.delete(&key, now).await.unwrap());
    assert!(!service.store.delete(&key, now).await.unwrap());
}

/// What the database refuses whoever asks: a status that is none of the nine, a previous state of
/// which half is missing, a lease that is another run's, an end that is none.
async fn half_a_previous_state(service: Service) {
    let succeeded = service.succeeded().await;
    let (processing, _) = service.started(&service.worker("one")).await;
    let starting = service.succeeded().await;
    service.update(&starting, &json!({})).await;
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
        let id = &key.id;
        let sql =
            format!("UPDATE tasks SET {change}, revision = revision + 1 WHERE task_id = '{id}'");
        let fault = service.sql(&sql).await.expect_err(change);
        assert_eq!(meaning(&fault), Meaning::Lasting, "{change}");
    }
}

/// A change by hand must change the revision; a renewal of the lease need not.
async fn hand_written_update(service: Service) {
    let (key, run) = service.started(&service.worker("one")).await;
    for column in ["status", "run", "payload", "previous_status", "previous_payload"] {
        let sql = format!("UPDATE tasks SET {column} = {column}");
        let fault = service.sql(&sql).await.unwrap_err().to_string();
        assert!(fault.contains("must change its revision"), "{fault}");
    }
    // trigger_refused_the_lease
    assert!(service.store.renew(&key, run).await.unwrap());
}

/// The bulk cancel that an operator may run: an update reverts, a new task is cancelled.
async fn bulk_cancel_broke_updates(service: Service) {
    let updating = service.succeeded().await;
    let before = service.load(&updating).await;
    service.update(&updating, &json!({ "words": "new" })).await;
    let new = service.create("new").await;
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
    let after = service.load(&updating).await;
    assert_eq!((after.status, after.payload), (before.status, before.payload));
    assert_eq!(service.log(&updating).await.last().unwrap()["changed_by"], "operator");
}

/// What lies beside a task, through each row of the table of commits.
async fn beside_the_task(service: Service) {
    let key = service.succeeded().await;
    let commit = async |steps: &str, expired: Option<i64>, stop: Option<u64>| {
        let mut draft = Draft::new(service.task(&key).await);
        for step in steps.split(' ') {
            match step {
                "edit" => draft.edit(|_| ()),
                "update" => drop(draft.update("{}".to_owned()).unwrap()),
                "start" => drop(draft.start().unwrap()),
                "retry" => drop(draft.retry().unwrap()),
                "cancel" => drop(draft.cancel().unwrap()),
                _ => drop(draft.succeed().unwrap()),
            }
        }
        let note = Note { expired, stop: stop.map(Run::new), ..Note::default() };
        let made = service.store.commit(&key, &draft, &note).await.unwrap();
        let row = service.load(&key).await;
        let task = row.task().unwrap();
        assert_eq!(task == *draft, made);
        assert_eq!(row.ended_at.is_some(), task.status().is_completed());
        assert_eq!(row.lease_until.is_some(), task.status() == Status::Processing);
        (task.run().get(), row.queued_run, row.attempts, row.stop_requested)
    };
    let place = async || service.number("SELECT place FROM tasks").await;
    let lease = async || service.load(&key).await.lease_until;
    assert_eq!(commit("update", None, None).await, (1, 1, 0, None));
    let (first, _) = (place().await, service.receive().await);
    assert_eq!(commit("start", None, None).await, (1, 1, 0, None));
    let taken = lease().await;
    assert_eq!(commit("edit", None, Some(1)).await, (1, 1, 0, Some(1)));
    assert_eq!(lease().await, taken);
    // A lease that was renewed since is not over.
    assert_eq!(commit("retry", taken.map(|until| until - 1), None).await, (1, 1, 0, Some(1)));
    assert_eq!(commit("retry", taken, None).await, (2, 1, 1, Some(1)));
    // It keeps its place, and is due at once.
    assert_eq!((place().await, service.receive().await.deliveries), (first, 1));
    assert_eq!(commit("cancel update", None, None).await, (3, 3, 0, None));
    assert!(place().await > first);
    assert_eq!(commit("start", None, None).await, (3, 3, 0, None));
    let taken = lease().await;
    assert_eq!(commit("retry start", taken, None).await, (4, 3, 1, None));
    assert_ne!(lease().await, taken);
    assert_eq!(commit("succeed", None, None).await, (4, 3, 1, None));
    let ended = service.load(&key).await.ended_at;
    assert_eq!(commit("edit", None, None).await, (4, 3, 1, None));
    assert_eq!(service.load(&key).await.ended_at, ended);
    assert_eq!(commit("update start", None, None).await, (5, 5, 0, None));
}

/// What is acknowledged is on the disk; and a stricter default of the database makes no lost race an
/// error.
#[tokio::test]
async fn durable_and_isolated() {
    let service = Service::on(None).await;
    assert_eq!(service.number("PRAGMA synchronous").await, Some(2));
    let Some(postgres) = Postgres::shared() else { return };
    let service = Service::on(Some(postgres)).await;
    let name = service.database.rsplit('/').next().unwrap();
    for setting in ["default_transaction_isolation = 'serializable'", "synchronous_commit = off"] {
        service.sql(&format!("ALTER DATABASE {name} SET {setting}")).await.unwrap();
    }
    let store = SqlStore::open(&service.database, LONG).await.unwrap();
    let Db::Postgres(pool) = &store.writers else { unreachable!() };
    for (show, value) in [
        ("SHOW transaction_isolation", "read committed"),
        ("SHOW synchronous_commit", "on"),
        ("SHOW lock_timeout", "2s"),
    ] {
        assert_eq!(query_scalar::<_, String>(show).fetch_one(pool).await.unwrap(), value);
    }
}

#[tokio::test]
async fn serialization_failure_was_an_outage() {
    let Some(postgres) = Postgres::shared() else { return };
    let service = Service::on(Some(postgres)).await;
    let Db::Postgres(pool) = &service.store.writers else { unreachable!() };
    let key = service.create("one").await;
    let mut draft = Draft::new(service.task(&key).await);
    draft.cancel().unwrap();
    let strict = sqlx::postgres::PgPoolOptions::new().after_connect(|connection, _| {
        let strict = "SET default_transaction_isolation = 'repeatable read'";
        Box::pin(async move { connection.execute(strict).await.map(drop) })
    });
    let strict = Db::Postgres(strict.connect(&service.database).await.unwrap());
    let store = SqlStore { writers: strict, ..service.store.clone() };
    let mut other = pool.begin().await.unwrap();
    other.execute("UPDATE tasks SET revision = revision + 1").await.unwrap();
    let note = Note::default();
    let other = async {
        while service.number("SELECT count(*) FROM pg_locks WHERE NOT granted").await == Some(0) {}
        other.commit().await.unwrap();
    };
    let (made, ()) = tokio::join!(store.commit(&key, &draft, &note), other);
    assert!(!made.unwrap());
}

/// A write that must wait for a lock answers in time, and says that nothing was done; reads and the
/// health route go on.
async fn locked_row_answers_in_time(service: Service) {
    let key = service.create("one").await;
    let lock = "UPDATE tasks SET revision = revision + 1";
    let (mut sqlite, mut postgres) = (None, None);
    if service.is_sqlite() {
        let connection = SqliteConnection::connect(&service.database).await.unwrap();
        let connection = sqlite.insert(connection);
        connection.execute("BEGIN IMMEDIATE").await.unwrap();
        connection.execute(lock).await.unwrap();
    } else {
        let connection = postgres.insert(PgConnection::connect(&service.database).await.unwrap());
        connection.execute("BEGIN").await.unwrap();
        connection.execute(lock).await.unwrap();
    }
    let (health, one, two) =
        tokio::join!(service.get("/health"), service.cancel(&key), service.cancel(&key));
    assert_eq!(health.text, "OK");
    for refused in [one, two] {
        refused.refuses(503, "Nothing was done: the database is busy, try again");
    }
    assert_eq!(service.status(&key).await, "Starting");
    drop((sqlite, postgres));
    while service.cancel(&key).await.code != 200 {} // until the database notices
}

/// A pool that is used up does not make the service ill.
async fn health_stands_apart(service: Service) {
    match &service.store.readers {
        Db::Sqlite(pool) => pool.close().await,
        Db::Postgres(pool) => pool.close().await,
    }
    assert_eq!(service.get("/health").await.text, "OK");
    let busy = service.get("/tasks").await;
    busy.refuses(503, "Nothing was done: the database is busy, try again");
}

/// The log holds every payload, to the letter, and the reason of a failure; and it outlives the task.
async fn replay_without_edits(service: Service) {
    let worker = service.worker("one");
    let (key, run) = service.started(&worker).await;
    service.label(&key).await;
    worker.finish(&key, run, Err("no")).await.unwrap();
    // At its end, and when the update was reverted.
    let payloads = "SELECT count(*) FROM events, tasks WHERE events.payload = tasks.payload";
    assert_eq!(service.number(payloads).await, Some(2));
    // silent_update_failure
    let log = service.log(&key).await;
    let last = log.last().unwrap();
    assert_eq!((&last["operations"], &last["reason"]), (&json!("edit, fail"), &json!("no")));
    assert_eq!(last["changed_by"], "worker one");
    let gaps = "SELECT count(*) FROM events AS one WHERE loaded IS NOT NULL AND NOT EXISTS
        (SELECT 1 FROM events AS other WHERE other.revision = one.loaded)";
    assert_eq!(service.number(gaps).await, Some(0));
    let revision = service.task(&key).await.revision();
    assert!(service.store.delete(&key, revision).await.unwrap());
    assert_eq!(service.log(&key).await.len(), log.len() + 1);
}

async fn sql_by_format(service: Service) {
    let hostile = "'); DROP TABLE tasks; -- \" \\ \u{0}";
    let body = json!({ "file": "b25l", "file_name": hostile, "words": hostile });
    let key = service.post(&body).await;
    service.work().await;
    let shown = service.show(&key).await.json;
    assert_eq!(
        (&shown["file_info"]["name"], &shown["configuration"]["words"]),
        (&json!(hostile), &json!(hostile))
    );
    assert_eq!(shown["status"], "Succeeded");
}
