//! Messages, workers and payloads.

use std::time::Duration;

use serde_json::{Value, json};
use task_lifecycle::{Run, Status};
use task_service::store::{Key, Tasks as _};
use tokio::sync::watch;

use crate::{Service, alices, document, handle, options, worker};

/// Of a cancel and a start of the same revision exactly one wins, and both are told the truth.
#[tokio::test(flavor = "multi_thread")]
async fn lost_race_answered_200() {
    for service in Service::everywhere().await {
        let worker = service.worker("one");
        let (mut cancelled, mut started) = (0, 0);
        for _ in 0..25 {
            let key = service.create("one").await;
            let message = service.receive().await;
            let (cancel, other, start) =
                tokio::join!(service.cancel(&key), service.cancel(&key), worker.start(&message));
            let told = [cancel.code, other.code].iter().filter(|code| **code == 200).count();
            if let Some((run, _)) = start.unwrap_or_default() {
                assert_eq!(told, 0);
                worker.finish(&key, run, Ok(&[])).await.unwrap();
                started += 1;
            } else {
                assert_eq!(told, 1);
                assert_eq!(service.status(&key).await, "Cancelled");
                cancelled += 1;
            }
        }
        assert_eq!(cancelled + started, 25);
    }
}

/// A task and its message are one row.
#[tokio::test]
async fn wrote_before_queue() {
    for service in Service::everywhere().await {
        let key = service.create("one").await;
        assert_eq!(service.receive().await.key, key);
        let sql = "UPDATE tasks SET due_at = (SELECT now FROM clock)";
        service.sql(sql).await.unwrap();
        service.cancel(&key).await;
        assert!(service.store.receive().await.unwrap().is_none());
    }
}

#[tokio::test]
async fn lifo_queue() {
    for service in Service::everywhere().await {
        let mut keys = Vec::new();
        for _ in 0..5 {
            keys.push(service.create("one").await);
        }
        let mut received = Vec::new();
        for _ in 0..5 {
            received.push(service.receive().await.key);
        }
        assert_eq!(received, keys);
        assert!(service.store.receive().await.unwrap().is_none());
    }
}

#[tokio::test]
async fn edit_lost_the_message() {
    for service in Service::everywhere().await {
        let key = service.create("one").await;
        let message = service.receive().await;
        service.label(&key, "third in line").await;
        handle(&service.worker("one"), &message).await;
        assert_eq!(service.status(&key).await, "Succeeded");
    }
}

#[tokio::test]
async fn edit_lost_the_result() {
    for service in Service::everywhere().await {
        let worker = service.worker("one");
        let (key, run) = service.started(&worker).await;
        service.label(&key, "labelled").await;
        worker.finish(&key, run, Ok(&[])).await.unwrap();
        let shown = service.show(&key).await.json;
        assert_eq!(shown["status"], "Succeeded");
        assert_eq!(shown["file_info"]["name"], "labelled document");
        assert_eq!(shown["output"]["chunks"], json!([]));
    }
}

#[tokio::test]
async fn stale_message_ran_the_next_update() {
    for service in Service::everywhere().await {
        let key = service.succeeded().await;
        service.update(&key, &json!({ "words": "first" })).await;
        let stale = service.receive().await;
        service.cancel(&key).await;
        service.update(&key, &json!({ "words": "second" })).await;
        let worker = service.worker("one");
        assert!(worker.start(&stale).await.is_err());
        assert_eq!(service.status(&key).await, "Starting");
        assert!(worker.start(&service.receive().await).await.unwrap().is_some());
    }
}

/// The same message again does nothing while its run's lease lasts, and takes the run over then.
#[tokio::test]
async fn redelivered_for_nobody() {
    for service in Service::everywhere().await {
        let key = service.create("one").await;
        let message = service.receive().await;
        let [dead, other] = ["dead", "other"].map(|name| service.worker(name));
        let (first, _) = dead.start(&message).await.unwrap().unwrap();
        assert_eq!(other.start(&message).await.unwrap(), None);
        assert!(service.store.renew(&key, first).await.unwrap());
        service.sql("UPDATE tasks SET lease_until = 0").await.unwrap();
        let (second, _) = other.start(&message).await.unwrap().unwrap();
        assert_eq!((first, second), (Run::new(0), Run::new(1)));
        assert_eq!(service.load(&key).await.1.attempts, 1);
        // zombie_finished_the_retry
        assert!(dead.finish(&key, first, Ok(&[])).await.is_err());
        assert!(!service.store.renew(&key, first).await.unwrap());
        other.finish(&key, second, Ok(&[])).await.unwrap();
        let operations = service.operations(&key).await;
        assert_eq!(operations, ["create", "edit, start", "retry, edit, start", "edit, succeed"]);
    }
}

/// A run that is longer than its lease goes on, for the lease is renewed meanwhile; and it stops
/// when it is another's.
#[tokio::test]
async fn no_renewal_at_work() {
    for service in Service::everywhere().await {
        let key = service.create("one").await;
        let lease = Duration::from_secs(1);
        let mut slow = worker(service.leasing(lease), "slow");
        slow.options = options(&["--lease-seconds", "1", "--work-millis", "3600000"]);
        let message = service.receive().await;
        let (_running, mut stop) = watch::channel(false);
        let handled = slow.handle(&message, &mut stop);
        let watched = async {
            while service.status(&key).await != "Processing" {}
            let first = service.load(&key).await.1.lease_until;
            while service.load(&key).await.1.lease_until == first {}
            service.sql("UPDATE tasks SET lease_until = 0").await.unwrap();
            // As a sweeper does; unless a renewal was faster, which is right, too.
            while service.status(&key).await == "Processing" {
                service.sql("UPDATE tasks SET lease_until = 0").await.unwrap();
                service.worker("sweeper").sweep().await.unwrap();
            }
        };
        let (handled, ()) = tokio::join!(handled, watched);
        assert!(handled.is_err(), "its run is stale");
        assert_eq!(service.status(&key).await, "Starting");
    }
}

/// The lease is taken with the run: whoever dies then leaves a run that is swept.
#[tokio::test]
async fn crashed_before_the_first_renewal() {
    for service in Service::everywhere().await {
        let key = service.create("one").await;
        service.dying("dead").start(&service.receive().await).await.unwrap();
        assert_eq!(service.status(&key).await, "Processing");
        while service.status(&key).await == "Processing" {
            service.worker("sweeper").sweep().await.unwrap();
        }
        assert_eq!(service.operations(&key).await, ["create", "edit, start", "retry"]);
        handle(&service.worker("two"), &service.receive().await).await;
        assert_eq!(service.status(&key).await, "Succeeded");
    }
}

/// At its third expired lease a task fails, and not before; an update reverts.
#[tokio::test]
async fn poison_task() {
    for service in Service::everywhere().await {
        let poison = service.create("kills").await;
        let update = service.succeeded_again().await;
        for key in [&poison, &update] {
            for attempt in 1..=3 {
                let message = service.receive().await;
                assert_eq!(&message.key, key);
                service.dying("dead").start(&message).await.unwrap();
                while service.status(key).await == "Processing" {
                    service.worker("sweeper").sweep().await.unwrap();
                }
                assert_eq!(service.load(key).await.1.attempts, attempt);
            }
            assert!(service.store.receive().await.unwrap().is_none());
            let log = service.log(key).await;
            let reason = "Given up: 3 workers did not finish it";
            assert_eq!(log.last().unwrap()["reason"], reason);
            let shown = service.show(key).await.json;
            if key == &poison {
                assert_eq!(
                    (&shown["status"], &shown["message"]),
                    (&json!("Failed"), &json!(reason))
                );
                // Another try of the client begins anew.
                service.update(key, &json!({})).await;
                assert_eq!(service.load(key).await.1.attempts, 0);
                service.cancel(key).await;
                service.update(&update, &json!({})).await;
            } else {
                assert_eq!(shown["message"], "Task succeeded");
            }
        }
    }
}

impl Service {
    /// A task that has succeeded, behind one that waits.
    async fn succeeded_again(&self) -> Key {
        let key = self.create("one").await;
        let first = self.receive().await;
        handle(&self.worker("first"), &self.receive().await).await;
        self.store.give_back(&first, Some(Duration::ZERO)).await.unwrap();
        key
    }
}

/// An orderly hand-back is no attempt, and the next worker does not wait.
#[tokio::test]
async fn deploys_used_up_the_attempts() {
    for service in Service::everywhere().await {
        let key = service.create("one").await;
        for _ in 0..5 {
            let (_running, mut told) = watch::channel(true);
            let message = service.receive().await;
            let mut busy = service.worker("one");
            busy.options.work_millis = 3_600_000;
            busy.handle(&message, &mut told).await.unwrap();
            assert_eq!(service.status(&key).await, "Starting");
        }
        assert_eq!(service.load(&key).await.1.attempts, 0);
        service.dying("dead").start(&service.receive().await).await.unwrap();
        while service.status(&key).await == "Processing" {
            service.worker("sweeper").sweep().await.unwrap();
        }
        handle(&service.worker("two"), &service.receive().await).await;
        assert_eq!(service.status(&key).await, "Succeeded");
        assert_eq!(service.load(&key).await.1.attempts, 1);
    }
}

/// What cannot be stored, or not be read, ends in `fail`.
#[tokio::test]
async fn result_cannot_be_stored() {
    for service in Service::everywhere().await {
        let limit = if service.is_sqlite() {
            "CREATE TRIGGER small BEFORE UPDATE ON tasks WHEN length(NEW.payload) > 1000
             BEGIN SELECT RAISE(ABORT, 'too large'); END"
        } else {
            "ALTER TABLE tasks ADD CHECK (length(payload) <= 1000)"
        };
        service.sql(limit).await.unwrap();
        let key = service.create(&"words ".repeat(500)).await;
        handle(&service.worker("one"), &service.receive().await).await;
        let shown = service.show(&key).await.json;
        assert_eq!(shown["status"], "Failed");
        assert_eq!(shown["message"], "The result cannot be stored");

        let key = service.create("one").await;
        let sql =
            format!("UPDATE tasks SET payload = '{{', revision = 1 WHERE task_id = '{}'", key.id);
        service.sql(&sql).await.unwrap();
        handle(&service.worker("one"), &service.receive().await).await;
        assert_eq!(service.load(&key).await.0.status(), Status::Failed);
        assert_eq!(service.log(&key).await.last().unwrap()["reason"], "The task cannot be read");
    }
}

#[tokio::test]
async fn documents_that_fail() {
    let service = Service::on(None).await;
    let large = format!("data:;base64,{}", "YSBh".repeat(450_000));
    for (file, chunking, reason) in [
        ("/w==", json!({}), "The file is not UTF-8 text"),
        ("YQ==", json!({ "tokenizer": { "String": "m" } }), "Tokenizer \"m\" cannot be loaded"),
        ("YQ==", json!({ "target_length": -1 }), "target_length is not a number of words"),
        (&large, json!({ "target_length": 0 }), "The output is too large"),
    ] {
        let body = json!({ "file": file, "chunk_processing": chunking }).to_string();
        let created = service.send("a", "POST", "/tasks/parse", &body).await;
        let key = alices(created.json["task_id"].as_str().unwrap());
        handle(&service.worker("one"), &service.receive().await).await;
        let shown = service.show(&key).await.json;
        assert_eq!((&shown["status"], &shown["message"]), (&json!("Failed"), &json!(reason)));
    }
}

/// What this program does not know is kept, when a worker writes the payload, too.
#[tokio::test]
async fn older_binary_dropped_fields() {
    for service in Service::everywhere().await {
        let key = service.succeeded().await;
        let newer = "UPDATE tasks SET revision = revision + 1,
            payload = replace(payload, '{\"file_name\"', '{ \"newer\":7.50,\"file_name\"')";
        service.sql(newer).await.unwrap();
        let before = service.load(&key).await.0;
        service.update(&key, &json!({})).await;
        service.cancel(&key).await;
        assert_eq!(service.load(&key).await.0.payload(), before.payload());
        service.update(&key, &json!({})).await;
        service.sql(newer).await.unwrap();
        handle(&service.worker("one"), &service.receive().await).await;
        assert_eq!(document(&service.load(&key).await.0).rest["newer"], 7.5);
    }
}

#[tokio::test]
async fn one_row_hid_the_list() {
    for service in Service::everywhere().await {
        let [good, bad, other] = [
            service.create("good").await,
            service.create("bad").await,
            service.create("other").await,
        ];
        let sql =
            format!("UPDATE tasks SET payload = '[', revision = 1 WHERE task_id = '{}'", bad.id);
        service.sql(&sql).await.unwrap();
        let list = service.get("/tasks").await.json;
        let ids: Vec<&Value> =
            list["tasks"].as_array().unwrap().iter().map(|task| &task["task_id"]).collect();
        assert_eq!(ids, [&json!(other.id), &json!(good.id)]);
        assert_eq!(list["unreadable"], json!([bad.id]));
        service.show(&bad).await.refuses(500, "Server error");
        assert_eq!(service.cancel(&bad).await.code, 200);
        assert_eq!(service.send("a", "DELETE", &format!("/tasks/{}", bad.id), "").await.code, 200);
    }
}

/// A message that cannot be handled is put aside.
#[tokio::test]
async fn one_row_stopped_the_queue() {
    for service in Service::everywhere().await {
        let [first, second] = [service.create("one").await, service.create("two").await];
        let unchecked = if service.is_sqlite() {
            "PRAGMA ignore_check_constraints = 1"
        } else {
            "DO $$ DECLARE name TEXT; BEGIN
                 FOR name IN SELECT conname FROM pg_constraint WHERE contype = 'c' AND conrelid <> 0
                 LOOP EXECUTE 'ALTER TABLE tasks DROP CONSTRAINT ' || name; END LOOP;
             END $$"
        };
        service.sql(unchecked).await.unwrap();
        let sql = format!(
            "UPDATE tasks SET previous_status = 'Paused', previous_payload = '', revision = 1
             WHERE task_id = '{}'",
            first.id
        );
        service.sql(&sql).await.unwrap();
        let (stop, stopped) = watch::channel(false);
        let worker = service.worker("one");
        let watched = async {
            while service.status(&second).await != "Succeeded" {}
            stop.send_replace(true);
        };
        tokio::join!(worker.work(stopped), watched);
        assert_eq!(
            service.number("SELECT count(*) FROM tasks WHERE due_at IS NULL").await,
            Some(1)
        );
        assert!(service.store.load(&first).await.is_err());
    }
}
