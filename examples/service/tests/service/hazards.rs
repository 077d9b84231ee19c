//! Messages, workers and payloads.

use std::sync::atomic::{AtomicI32, Ordering::Relaxed};

use super::*;

everywhere! {
    lost_race_answered_200 wrote_before_queue lifo_queue stale_message_ran_the_next_update
    no_renewal_at_work poison_task result_cannot_be_stored
    older_binary_dropped_fields retry_with_a_limit_and_a_wait one_row_hid_the_list
    one_row_stopped_the_queue clock_set_back
}

/// Of a cancel and a start of the same revision exactly one wins, and both are told the truth.
async fn lost_race_answered_200(service: Service) {
    let worker = service.worker("one");
    for _ in 0..25 {
        let key = service.create("one").await;
        let message = service.receive().await;
        let (cancel, other, start) =
            tokio::join!(service.cancel(&key), service.cancel(&key), worker.start(&message));
        let told = [cancel.code, other.code].iter().filter(|code| **code == 200).count();
        let started = start.unwrap_or_default();
        assert_eq!(told, usize::from(started.is_none()));
        assert_eq!(service.status(&key).await, ["Processing", "Cancelled"][told]);
    }
}

/// A task and its message are one row.
async fn wrote_before_queue(service: Service) {
    let key = service.create("one").await;
    assert_eq!(service.receive().await.key, key);
    service.sql("UPDATE tasks SET due_at = 0").await.unwrap();
    service.cancel(&key).await;
    assert!(service.store.receive().await.unwrap().is_none());
}

async fn lifo_queue(service: Service) {
    let keys = [service.create("one").await, service.create("two").await];
    if service.is_sqlite() {
        // Its clock has milliseconds only, so that places go on from the last one.
        service.sql("UPDATE tasks SET place = place + 60000000").await.unwrap();
    }
    for key in [&keys[0], &keys[1], &service.create("three").await] {
        assert_eq!(service.receive().await.key, *key);
    }
    assert!(service.store.receive().await.unwrap().is_none());
}

async fn stale_message_ran_the_next_update(service: Service) {
    let key = service.succeeded().await;
    service.update(&key, &json!({ "words": "first" })).await;
    let stale = service.receive().await;
    service.cancel(&key).await;
    service.update(&key, &json!({ "words": "second" })).await;
    let worker = service.worker("one");
    assert!(worker.start(&stale).await.is_err());
    assert!(!service.store.give_back(&stale, None).await.unwrap());
    assert_eq!(service.status(&key).await, "Starting");
    let message = service.receive().await;
    assert!(worker.start(&message).await.unwrap().is_some());
    // Nor does what comes late from the worker of an earlier run, or of this one.
    assert!(!service.store.renew(&key, Run::from_i64(stale.run)).await.unwrap());
    assert!(!service.store.give_back(&message, None).await.unwrap());
    service.sql("UPDATE tasks SET due_at = 0").await.unwrap();
    assert!(service.store.receive().await.unwrap().is_none());
    worker.finish(&key, Run::from_i64(message.run), &Ok(vec![])).await.unwrap();
    assert!(worker.start(&message).await.is_err());
}

/// The lease is renewed at work, which stops when the run is another's.
async fn no_renewal_at_work(service: Service) {
    let key = service.create("one").await;
    let lease = Duration::from_secs(10);
    let mut slow = worker(SqlStore { lease, ..service.store.clone() }, "slow");
    (slow.options.lease_seconds, slow.options.work_millis) = (10, 3_600_000);
    let (message, stop) = (service.receive().await, CancellationToken::new());
    let watched = async {
        while service.status(&key).await != "Processing" {}
        let first = service.load(&key).await.lease_until;
        while service.load(&key).await.lease_until == first {
            assert!(!service.load(&key).await.is_lease_over);
        }
        while service.status(&key).await == "Processing" {
            // Unless a renewal is faster, which is right, too.
            service.sql("UPDATE tasks SET lease_until = 0").await.unwrap();
            service.worker("sweeper").sweep().await;
        }
    };
    let (handled, ()) = tokio::join!(slow.handle(&message, &stop), watched);
    assert!(handled.is_err(), "its run is stale");
    assert_eq!(service.status(&key).await, "Starting");
}

/// At its third expired lease a task fails, and not before; an update reverts.
async fn poison_task(service: Service) {
    let reason = "Given up: 3 workers did not finish it";
    let update = service.succeeded().await;
    for is_update in [false, true] {
        let key = if is_update { update.clone() } else { service.create("poison").await };
        if is_update {
            service.update(&key, &json!({})).await;
        }
        for attempt in 1..=3 {
            service.dies(&service.receive().await).await;
            assert_eq!(service.load(&key).await.attempts, attempt);
        }
        assert!(service.store.receive().await.unwrap().is_none());
        assert_eq!(service.log(&key).await.last().unwrap()["reason"], reason);
        let message = &service.show(&key).await.json["message"];
        assert_eq!(message, if is_update { "Task succeeded" } else { reason });
        // Another try of the client begins anew.
        service.update(&key, &json!({})).await;
        assert_eq!(service.load(&key).await.attempts, 0);
        service.cancel(&key).await;
        assert_eq!(service.log(&key).await.last().unwrap()["reason"], json!(null));
    }
}

/// An error of the work that may pass is met again after a wait, a few times; any other fails at once.
async fn retry_with_a_limit_and_a_wait(service: Service) {
    static FAULTS: AtomicI32 = AtomicI32::new(0);
    let work = |file: &[u8], document: &Document| match FAULTS.fetch_sub(1, Relaxed) {
        1.. => Err(Fault::Temporary("later".to_owned())),
        _ => cut(file, document),
    };
    for (faults, text, tried, status) in
        [(0, "%FF", 1, "Failed"), (2, "one", 3, "Succeeded"), (9, "one", 3, "Failed")]
    {
        FAULTS.store(faults, Relaxed);
        let (key, start) = (service.create(text).await, Instant::now());
        let worker = Worker { work, ..service.worker("one") };
        worker.handle(&service.receive().await, &CancellationToken::new()).await.unwrap();
        assert_eq!((&*service.status(&key).await, FAULTS.load(Relaxed)), (status, faults - tried));
        assert!(start.elapsed() >= Duration::from_secs(1) || tried == 1);
    }
}

/// A result that cannot be stored, and a task that cannot be read, end in `fail`.
async fn result_cannot_be_stored(service: Service) {
    let large = cut(&vec![b'a'; 17 << 20], &Document::default());
    assert!(matches!(large, Err(Fault::Lasting("The output is too large"))));
    let limit = if service.is_sqlite() {
        "CREATE TRIGGER small BEFORE UPDATE ON tasks WHEN length(NEW.payload) > 1000
         BEGIN SELECT RAISE(ABORT, 'too large'); END"
    } else {
        "ALTER TABLE tasks ADD CHECK (length(payload) <= 1000)"
    };
    service.sql(limit).await.unwrap();
    let key = service.create(&"words ".repeat(500)).await;
    service.work().await;
    let shown = service.show(&key).await.json;
    assert_eq!(shown["status"], "Failed");
    assert_eq!(shown["message"], "The result cannot be stored");

    let key = service.create("one").await;
    service.sql_of(&key, "UPDATE tasks SET payload = '{', revision = 1").await;
    service.work().await;
    assert_eq!(service.status(&key).await, "Failed");
    assert_eq!(service.log(&key).await.last().unwrap()["reason"], "The task cannot be read");
}

/// A field that this program does not know is kept, when a worker writes the payload, too.
async fn older_binary_dropped_fields(service: Service) {
    let key = service.succeeded().await;
    let newer = "UPDATE tasks SET revision = revision + 1,
        payload = replace(payload, '{\"file_name\"', '{ \"newer\":7.50,\"file_name\"')";
    service.sql(newer).await.unwrap();
    let before = service.load(&key).await.payload;
    service.update(&key, &json!({})).await;
    service.cancel(&key).await;
    assert_eq!(service.load(&key).await.payload, before);
    service.update(&key, &json!({})).await;
    service.sql(newer).await.unwrap();
    service.work().await;
    assert!(service.load(&key).await.payload.contains("\"newer\":7.5"));
}

async fn one_row_hid_the_list(service: Service) {
    let first = service.create("good").await;
    let (bad, other) = (&service.create("bad").await, service.create("good").await);
    service.sql_of(bad, "UPDATE tasks SET payload = '[', revision = 1").await;
    let list = service.get("/tasks").await.json;
    let ids = list["tasks"].as_array().unwrap().iter().map(|task| &task["task_id"]);
    assert_eq!(ids.collect::<Vec<&Value>>(), [&json!(other.id), &json!(first.id)]);
    assert_eq!(list["unreadable"], json!([bad.id]));
    service.show(bad).await.refuses(500, "Server error");
    assert_eq!(service.cancel(bad).await.code, 200);
    assert_eq!(service.send("a", "DELETE", &format!("/tasks/{}", bad.id), "").await.code, 200);
    for _ in 0..100 {
        service.create("newer").await;
    }
    assert_eq!(service.get("/tasks").await.json["tasks"].as_array().unwrap().len(), 100);
}

/// A message that cannot be handled is put aside.
async fn one_row_stopped_the_queue(service: Service) {
    let [first, second] = [service.create("one").await, service.create("two").await];
    let unchecked = if service.is_sqlite() {
        "PRAGMA ignore_check_constraints = 1"
    } else {
        "ALTER TABLE tasks DROP CONSTRAINT sound"
    };
    service.sql(unchecked).await.unwrap();
    let paused = "UPDATE tasks SET previous_status = 'Paused', previous_payload = '', revision = 1";
    service.sql_of(&first, paused).await;
    let (stop, worker) = (CancellationToken::new(), service.worker("one"));
    let watched = async {
        while service.status(&second).await != "Succeeded" {}
        stop.cancel();
    };
    tokio::join!(worker.work(&stop), watched);
    assert_eq!(service.number("SELECT count(*) FROM tasks WHERE due_at IS NULL").await, Some(1));
    assert!(service.load(&first).await.task().is_err());
}

/// A lease that ends further ahead than it is long is over, and a message that is hidden for longer
/// than any is due: the clock was set back since. A lease lasts as long as it was taken for, though.
async fn clock_set_back(service: Service) {
    let key = service.create("one").await;
    let short = SqlStore { lease: Duration::from_secs(1), ..service.store.clone() };
    service.receive().await;
    assert!(service.store.receive().await.unwrap().is_none());
    service.sql("UPDATE tasks SET due_at = due_at + 3600000000").await.unwrap();
    service.worker("long").start(&service.receive().await).await.unwrap().unwrap();
    let other = worker(short, "short");
    other.sweep().await;
    assert_eq!(service.status(&key).await, "Processing");
    service.sql("UPDATE tasks SET lease_until = lease_until + 3600000000").await.unwrap();
    other.sweep().await;
    assert_eq!(service.status(&key).await, "Starting");
    service.work().await;
    assert_eq!(service.status(&key).await, "Succeeded");
}

/// A worker whose clock is slow keeps its runs, and one whose clock is fast takes nobody's.
#[tokio::test]
async fn clocks_disagreed() {
    let Some(postgres) = Postgres::shared() else { return };
    if !Path::new(SHIFTS_CLOCKS).exists() {
        return skipped("libfaketime is not installed (Debian: faketime)");
    }
    let service = Service::on(Some(postgres)).await;
    let key = service.create("one").await;
    let slow = ["--lease-seconds", "60", "--work-millis", "3000"];
    let _slow = Process::start(&service.database, &slow, Some("-1h"));
    while service.status(&key).await != "Processing" {}
    let _fast = Process::start(&service.database, &slow, Some("+1h"));
    while service.status(&key).await == "Processing" {}
    assert_eq!(service.operations(&key).await, ["create", "edit, start", "edit, succeed"]);
}
