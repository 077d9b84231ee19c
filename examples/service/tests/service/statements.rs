//! The statements, and what the database itself refuses.

use std::fs::{read_dir, read_to_string};

use super::*;

everywhere! {
    cross_user_read bulk_cancel_broke_updates hand_written_update
    beside_the_task locked_row_answers_in_time replay_without_edits sql_by_format
}

/// Every statement is a file, names the owner, and is tried here for another user.
async fn cross_user_read(service: Service) {
    let (store, worker) = (&service.store, service.worker("one"));
    let done = service.succeeded().await;
    let revision = service.task(&done).await.revision();
    let (key, run) = service.started(&worker).await;
    let waiting = service.create("waiting").await;
    let bobs = |key: &Key| Key { owner: "bob".to_owned(), ..key.clone() };
    let message = service.receive().await;
    let foreign = Message { key: bobs(&waiting), ..message.clone() };
    let mut draft = Draft::new(service.task(&key).await);
    draft.edit(|_| ());
    let texts = |dir| {
        let files = read_dir(format!("{}/{dir}", env!("CARGO_MANIFEST_DIR"))).unwrap().flatten();
        files.map(|file| {
            (file.file_name().into_string().unwrap(), read_to_string(file.path()).unwrap())
        })
    };
    for (name, text) in texts("sql") {
        assert!(text.contains("owner"), "{name}");
        let is_reached = match &*name {
            "commit.sql" => store.commit(&bobs(&key), &draft, &Note::default()).await.unwrap(),
            "delete.sql" => store.delete(&bobs(&done), revision).await.unwrap(),
            "give_back.sql" => store.give_back(&foreign, None).await.unwrap(),
            "list.sql" => !store.list("bob").await.unwrap().is_empty(),
            "load.sql" => store.load(&bobs(&key)).await.unwrap().is_some(),
            "log.sql" => !store.log(&bobs(&key)).await.unwrap().is_empty(),
            "renew.sql" => store.renew(&bobs(&key), run).await.unwrap(),
            // These find anybody's, and say whose.
            "create.sql" | "receive.sql" => message.key != waiting,
            "overdue.sql" | "ping.sql" => false,
            new => panic!("{new}: try it for another user"),
        };
        assert!(!is_reached, "{name}");
    }
    for (name, text) in texts("src") {
        let is_sql = ["FROM ", "INTO ", "UPDATE "].iter().any(|word| text.contains(word));
        assert!(!is_sql, "a statement in {name}");
    }
    for asked in ["GET ", "GET /cancel", "GET /log", "POST /stop", "PATCH /parse", "DELETE "] {
        let (method, rest) = asked.split_once(' ').unwrap();
        let path = format!("/tasks/{}{rest}", waiting.id);
        service.send("b", method, &path, "{}").await.refuses(404, "Task not found");
    }
    assert_eq!(service.send("b", "GET", "/tasks", "").await.json["tasks"], json!([]));
}

/// The database refuses, whoever asks, a status that is none of the nine, a previous state of
/// which half is missing (half_a_previous_state), a lease that is another run's, an end that is none.
async fn bulk_cancel_broke_updates(service: Service) {
    let succeeded = service.succeeded().await;
    let (processing, _) = service.started(&service.worker("one")).await;
    let starting = service.succeeded().await;
    service.update(&starting, &json!({})).await;
    #[rustfmt::skip]
    let refused = [
        (&succeeded, ["status = 'Done'", "status = 'Starting'", "ended_at = NULL", "payload = NULL",
            "status = 'Starting', previous_status = 'Failed', ended_at = NULL",
            "previous_status = 'Failed', previous_payload = '{}'"]),
        (&starting, ["previous_status = NULL", "previous_payload = NULL", "status = 'Cancelled'",
            "previous_status = 'Cancelled'", "ended_at = 1",
            "lease_run = run, lease_until = 1, lease_length = 1"]),
        (&processing, ["lease_run = NULL", "lease_run = run + 1", "run = run + 1",
            "lease_until = NULL", "lease_length = NULL", "previous_payload = NULL"]),
    ];
    for (key, changes) in refused {
        for change in changes {
            let change = format!("UPDATE tasks SET revision = revision + 1, {change}");
            let sql = format!("{change} WHERE task_id = '{}'", key.id);
            let fault = service.sql(&sql).await.expect_err(&change);
            assert_eq!(meaning(&fault), Meaning::Lasting, "{change}");
        }
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

/// The message and the end of a task, which the simulation does not look at.
async fn beside_the_task(service: Service) {
    let one = service.worker("one");
    let message = async || {
        let row =
            "SELECT CASE WHEN due_at <= now THEN 10 ELSE 0 END + deliveries FROM tasks, clock";
        (service.number("SELECT tasks.place FROM tasks").await, service.number(row).await.unwrap())
    };
    let key = service.create("one").await;
    let (first, _) = message().await;
    service.label(&key).await;
    let (run, _) = one.start(&service.receive().await).await.unwrap().unwrap();
    let lease = service.load(&key).await.lease_until;
    service.label(&key).await;
    let edited = service.load(&key).await;
    assert!(edited.lease_until == lease && !edited.is_lease_over);
    // Given back, it keeps its place, and is due at once.
    one.give_up(&key, run).await.unwrap();
    assert_eq!(message().await, (first, 10));
    service.work().await;
    let ended = service.load(&key).await.ended_at;
    service.label(&key).await;
    assert_eq!(service.load(&key).await.ended_at, ended);
    // Queued by a client, it stands behind all others.
    service.update(&key, &json!({})).await;
    assert!(message().await.0 > first && message().await.1 == 10);
    assert_eq!(service.load(&key).await.ended_at, None);
}

/// An acknowledged change is on the disk; and a stricter default of the database makes no lost race
/// an error.
#[tokio::test]
async fn durable_and_isolated() {
    let service = Service::on(None).await;
    assert_eq!(service.number("PRAGMA synchronous").await, Some(2));
    assert_eq!(service.number("PRAGMA busy_timeout").await, Some(2000));
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
    let strict = "options[default_transaction_isolation]=repeatable%20read";
    let strict = PgPool::connect(&format!("{}?{strict}", service.database)).await.unwrap();
    let strict = Db::Postgres(strict);
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
    let other = if service.is_sqlite() {
        Db::Sqlite(SqlitePool::connect(&service.database).await.unwrap())
    } else {
        Db::Postgres(PgPool::connect(&service.database).await.unwrap())
    };
    sql_on(&other, "BEGIN; UPDATE tasks SET revision = revision + 1").await.unwrap();
    let (health, one, two) =
        tokio::join!(service.get("/health"), service.cancel(&key), service.cancel(&key));
    assert_eq!(health.text, "OK");
    for refused in [one, two] {
        refused.refuses(503, "Nothing was done: the database is busy, try again");
    }
    assert_eq!(service.status(&key).await, "Starting");
    sql_on(&other, "ROLLBACK").await.unwrap();
    while service.cancel(&key).await.code != 200 {} // until the database notices

    // So with a pool that is used up.
    match &service.store.readers {
        Db::Sqlite(pool) => pool.close().await,
        Db::Postgres(pool) => pool.close().await,
    }
    assert_eq!(service.get("/health").await.text, "OK");
    assert_eq!(service.get("/tasks").await.code, 503);
}

/// The log holds every payload, to the letter, and the reason of a failure; and it outlives the task.
async fn replay_without_edits(service: Service) {
    let worker = service.worker("one");
    let (key, run) = service.started(&worker).await;
    service.label(&key).await;
    worker.finish(&key, run, &Err(Fault::Lasting("no"))).await.unwrap();
    assert!(!service.store.renew(&key, run).await.unwrap()); // it is over
    // At its end, and when the update was reverted; not when it stays as it is.
    service.sql("UPDATE tasks SET revision = revision + 1").await.unwrap();
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
    let last = &service.log(&key).await[log.len()];
    assert_eq!((&last["operations"], &last["changed_by"]), (&json!("delete"), &json!("owner")));
}

async fn sql_by_format(service: Service) {
    let hostile = "'); DROP TABLE tasks; -- \" \\ \u{0}";
    let body = json!({ "file": "b25l", "file_name": hostile, "words": hostile });
    let key = service.post(&body).await;
    service.work().await;
    let shown = service.show(&key).await.json;
    assert!(shown["file_info"]["name"] == hostile && shown["configuration"]["words"] == hostile);
    assert_eq!(shown["status"], "Succeeded");
}
