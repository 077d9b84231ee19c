//! A test for each fault that real services had.

use std::io::{Read as _, Write as _};
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde_json::json;
use sqlx::Connection;
use task_lifecycle::{Event as Step, Status};
use task_service::document::{Configuration, Document};
use task_service::store::{Event, Key, New, Store as _};
use task_service::worker::Dropped;
use tokio::time::sleep;

use crate::testing::client::Client;
use crate::testing::skipped;
use crate::{Service, alice, beside, label, refused, succeeded, until_status};

/// Of concurrent cancels exactly one gets a 200, and of a cancel and a start only one wins.
#[tokio::test]
async fn lost_race_answered_200() {
    for service in Service::everywhere() {
        let servers = [service.server(), service.server()];
        let client = alice(&servers[0]);
        for _ in 0..10 {
            let id = client.create("one", 1).await.unwrap().id();
            let cancels = (0..8).map(|at| {
                let (client, id) = (alice(&servers[at % 2]), id.clone());
                tokio::spawn(async move { client.cancel(&id).await.unwrap() })
            });
            let mut won = 0;
            for cancel in cancels.collect::<Vec<_>>() {
                let answer = cancel.await.unwrap();
                match answer.code {
                    200 => won += 1,
                    _ => refused(&answer, 400, "task cannot be cancelled: status is Cancelled"),
                }
            }
            assert_eq!(won, 1);
        }

        let _worker = service.worker("0");
        for _ in 0..20 {
            let id = client.create("one", 1).await.unwrap().id();
            let won = client.cancel(&id).await.unwrap().code == 200;
            let end = crate::until(&client, &id, |task| task.json()["completed"] == true).await;
            assert_eq!(end.status(), if won { "Cancelled" } else { "Succeeded" });
        }
    }
}

/// A worker that lost its run writes nothing.
#[tokio::test]
async fn unconditional_write() {
    for service in Service::everywhere() {
        let server = service.server();
        let client = alice(&server);
        let zombie = service.worker("1500");
        let id = client.create("one two", 1).await.unwrap().id();
        until_status(&client, &id, "Processing").await;
        zombie.signal("STOP");
        let _worker = service.worker("0");
        let done = until_status(&client, &id, "Succeeded").await;
        zombie.signal("CONT");
        tokio::time::sleep(std::time::Duration::from_secs(2)).await;
        let after = client.get(&id).await.unwrap();
        assert_eq!((after.text, after.revision), (done.text, done.revision));
    }
}

/// A task and its place in the queue are one row, so there is never one without the other.
#[tokio::test]
async fn wrote_before_queue() {
    let service = Service::new();
    let server = service.server();
    let client = alice(&server);
    let id = client.create("one", 1).await.unwrap().id();
    drop(server); // killed, right after it answered
    let _worker = service.worker("0");
    let server = service.server();
    until_status(&alice(&server), &id, "Succeeded").await;
}

/// A missing task, a refusal and an outage are three different answers.
#[tokio::test]
async fn masked_not_found() {
    let service = Service::new();
    let server = service.server();
    let client = alice(&server);
    let id = client.create("one", 1).await.unwrap().id();
    let unknown = "00000000-0000-4000-8000-000000000000";
    refused(&client.delete(unknown).await.unwrap(), 404, "Task not found");
    refused(&client.delete(&id).await.unwrap(), 400, "task cannot be deleted: status is Starting");

    let mut database = sqlx::SqliteConnection::connect(&service.database).await.unwrap();
    // Without renaming the table in views and triggers.
    let lose = "PRAGMA legacy_alter_table = ON; ALTER TABLE tasks RENAME TO lost";
    sqlx::raw_sql(lose).execute(&mut database).await.unwrap();
    for answer in [
        client.get(&id).await,
        client.cancel(&id).await,
        client.update(&id, 1).await,
        client.delete(&id).await,
        client.create("one", 1).await,
        client.call("GET", "/tasks").await,
    ] {
        refused(&answer.unwrap(), 500, "Server error");
    }
    sqlx::raw_sql("ALTER TABLE lost RENAME TO tasks").execute(&mut database).await.unwrap();
    assert_eq!(client.cancel(&id).await.unwrap().code, 200);

    // An unreadable document is an outage, too, and not a missing task.
    let broken = "UPDATE tasks SET payload = '{}', revision = revision + 1";
    sqlx::raw_sql(broken).execute(&mut database).await.unwrap();
    refused(&client.get(&id).await.unwrap(), 500, "Server error");
}

/// Another user's task is not found on any route.
#[tokio::test]
async fn cross_user_read() {
    for service in Service::everywhere() {
        let server = service.server();
        let (client, other) = (alice(&server), Client::new(&server.url, "b"));
        let before = succeeded(&service, &client).await;
        let id = before.id();
        for answer in [
            other.get(&id).await,
            other.cancel(&id).await,
            other.update(&id, 1).await,
            other.delete(&id).await,
            other.call("GET", &format!("/tasks/{id}/parse")).await,
            other.call("GET", &format!("/tasks/{id}/events")).await,
            other.call("GET", &format!("/tasks/{id}/file")).await,
        ] {
            refused(&answer.unwrap(), 404, "Task not found");
        }
        assert_eq!(other.call("GET", "/tasks").await.unwrap().json()["tasks"], json!([]));
        let after = client.get(&id).await.unwrap();
        assert_eq!((after.text, after.revision), (before.text, before.revision));
    }
}

/// What a client sends never becomes part of a statement.
#[tokio::test]
async fn sql_by_format() {
    for service in Service::everywhere() {
        let server = service.server();
        let client = alice(&server);
        for text in ["it's", "\"; DROP TABLE tasks; --", "nul \0 and after", "%_\\", "🦀\u{202e}"]
        {
            let mut form = json!({ "file": "data:,one", "segment_processing": { text: text } });
            form["chunk_processing"] = json!({ "tokenizer": { "String": text } });
            form["file_name"] = json!(text.replace('\0', ""));
            let created = client.send("POST", "/tasks/parse", form.to_string()).await.unwrap();
            assert_eq!(created.code, 200, "{created:?}");
            let task = client.get(&created.id()).await.unwrap().json();
            assert_eq!(task["file_info"]["name"], form["file_name"]);
            let configuration = &task["configuration"];
            assert_eq!(configuration["segment_processing"], form["segment_processing"]);
            assert_eq!(configuration["chunk_processing"]["tokenizer"]["String"], text);

            let _worker = service.worker("0");
            let failed = until_status(&client, &created.id(), "Failed").await.json();
            assert_eq!(failed["message"], format!("Tokenizer {text} cannot be loaded"));
        }
        let form = json!({ "file": "data:,one", "file_name": "nul \0 and after" });
        let answer = client.send("POST", "/tasks/parse", form.to_string()).await.unwrap();
        refused(&answer, 400, "file_name: NUL in it");
    }
}

/// The answer to an update is the task as it was committed.
#[tokio::test]
async fn update_answered_the_old_task() {
    let service = Service::new();
    let server = service.server();
    let client = alice(&server);
    let before = succeeded(&service, &client).await;
    let updated = client.update(&before.id(), 1).await.unwrap();
    assert_eq!(updated.status(), "Starting");
    let seen = client.get(&before.id()).await.unwrap();
    assert_eq!((updated.text, updated.revision), (seen.text, seen.revision));
}

/// The oldest task is started first, and an update joins the end of the queue.
#[tokio::test]
async fn lifo_queue() {
    for service in Service::everywhere() {
        let server = service.server();
        let client = alice(&server);
        let updated = succeeded(&service, &client).await.id();
        let mut queued = Vec::new();
        for _ in 0..5 {
            queued.push(client.create("one", 1).await.unwrap().id());
        }
        client.update(&updated, 1).await.unwrap();
        queued.push(updated);

        let _worker = service.worker("0");
        let mut started = Vec::new();
        for id in &queued {
            let task = until_status(&client, id, "Succeeded").await.json();
            let at: DateTime<Utc> = task["started_at"].as_str().unwrap().parse().unwrap();
            started.push((at, id.clone()));
        }
        started.sort();
        assert_eq!(started.into_iter().map(|(_, id)| id).collect::<Vec<_>>(), queued);
    }
}

/// An edit of a queued task, before or after its message is claimed, does not void the message.
#[tokio::test]
async fn edit_lost_the_message() {
    for service in Service::everywhere() {
        let server = service.server();
        let id = alice(&server).create("one", 1).await.unwrap().id();
        let key = Key { user: "alice".to_owned(), id: id.parse().unwrap() };
        let (store, worker) = beside(&service, Duration::ZERO).await;
        label(&store, &key).await;
        let message = store.claim("worker").await.unwrap().unwrap();
        label(&store, &key).await;
        worker.handle(&message).await.unwrap();
        assert_eq!(alice(&server).get(&id).await.unwrap().status(), "Succeeded");
    }
}

/// An edit during a run loses neither the result nor itself.
#[tokio::test]
async fn edit_lost_the_result() {
    for service in Service::everywhere() {
        let server = service.server();
        let client = alice(&server);
        let id = client.create("one", 1).await.unwrap().id();
        let key = Key { user: "alice".to_owned(), id: id.parse().unwrap() };
        let (store, worker) = beside(&service, Duration::from_millis(500)).await;
        let message = store.claim("worker").await.unwrap().unwrap();
        let run = async {
            until_status(&client, &id, "Processing").await;
            label(&store, &key).await;
            assert_eq!(client.get(&id).await.unwrap().json()["message"], "third in line");
        };
        let (ended, ()) = tokio::join!(worker.handle(&message), run);
        ended.unwrap();
        let done = client.get(&id).await.unwrap();
        assert_eq!((done.status().as_str(), done.revision), ("Succeeded", Some(5)));
    }
}

/// A message that is redelivered during its run is valid, and one that is redelivered before the start
/// starts only one run.
#[tokio::test]
async fn redelivered_for_nobody() {
    for service in Service::everywhere() {
        let server = service.server();
        let client = alice(&server);
        let id = client.create("one", 1).await.unwrap().id();
        let (store, slow) = beside(&service, Duration::from_secs(1)).await;
        let (_, quick) = beside(&service, Duration::ZERO).await;
        let claim = async || {
            sleep(Duration::from_millis(5)).await; // the lease passes
            store.claim("worker").await.unwrap().unwrap()
        };
        let (first, second) = (claim().await, claim().await);
        assert_eq!(first, second);
        let again = async {
            until_status(&client, &id, "Processing").await;
            let text = quick.handle(&second).await.unwrap_err().to_string();
            assert_eq!(text, "task cannot be started: status is Processing");

            let third = claim().await;
            assert_eq!((third.run, third.is_overdue), (0, true));
            quick.handle(&third).await.unwrap(); // queues it again
            quick.handle(&claim().await).await.unwrap();
            client.get(&id).await.unwrap()
        };
        let (lost, done) = tokio::join!(slow.handle(&first), again);
        assert_eq!(done.status(), Status::Succeeded.as_str());
        let stale = "stale run: expected 0, but the task is Succeeded in run 1";
        assert_eq!(lost.unwrap_err().to_string(), stale);
        assert_eq!(client.get(&id).await.unwrap().text, done.text);
    }
}

/// Changes the database without the service.
async fn by_hand(service: &Service, statement: &str) {
    let (store, _) = beside(service, Duration::ZERO).await;
    let statement = sqlx::raw_sql(sqlx::AssertSqlSafe(statement));
    statement.execute(&store.pool).await.unwrap();
}

/// An unreadable task is named, hides no other, and can be cancelled and deleted.
#[tokio::test]
async fn one_row_hid_the_list() {
    for service in Service::everywhere() {
        let server = service.server();
        let client = alice(&server);
        let bad = client.create("one", 1).await.unwrap().id();
        let good = client.create("one", 1).await.unwrap().id();
        let breaks = "SET payload = '{\"message\":1}', revision = revision + 1";
        by_hand(&service, &format!("UPDATE tasks {breaks} WHERE task_id = '{bad}'")).await;

        let list = client.call("GET", "/tasks").await.unwrap().json();
        assert_eq!(list["unreadable"], json!([bad]));
        assert_eq!(list["tasks"].as_array().unwrap().len(), 1);
        assert_eq!(list["tasks"][0]["task_id"], json!(good));
        refused(&client.get(&bad).await.unwrap(), 500, "Server error");
        let log = server.log();
        let named = log.lines().filter(|line| line.contains("ERROR") && line.contains(&bad));
        assert_eq!(named.count(), 2, "{log}");

        assert_eq!(client.cancel(&bad).await.unwrap().code, 200);
        assert_eq!(client.delete(&bad).await.unwrap().code, 200);
        assert_eq!(client.call("GET", "/tasks").await.unwrap().json()["unreadable"], json!([]));
    }
}

/// Unreadable rows at the head of the queue fail or are skipped, once.
#[tokio::test]
async fn one_row_stopped_the_queue() {
    for service in Service::everywhere() {
        let server = service.server();
        let client = alice(&server);
        let updated = succeeded(&service, &client).await.id();
        let odd = client.create("one", 1).await.unwrap().id();
        let bad = client.create("one", 1).await.unwrap().id();
        let update = client.update(&updated, 1).await.unwrap();
        for id in [&bad, &updated] {
            let breaks = "SET payload = '{}', revision = revision + 1";
            by_hand(&service, &format!("UPDATE tasks {breaks} WHERE task_id = '{id}'")).await;
        }
        by_hand(&service, &format!("DELETE FROM files WHERE task_id = '{odd}'")).await;
        let name = "UPDATE tasks SET task_id = 'no UUID'";
        by_hand(&service, &format!("{name} WHERE task_id = '{odd}'")).await;

        let good = client.create("one", 1).await.unwrap().id();
        let worker = service.worker("0");
        until_status(&client, &good, "Succeeded").await;
        // The update failed, and the task is what it was.
        let reverted = client.get(&updated).await.unwrap();
        assert_eq!(reverted.status(), "Succeeded");
        assert!(reverted.revision > update.revision);
        // The new task failed, and can be deleted.
        let failed = client.cancel(&bad).await.unwrap();
        refused(&failed, 400, "task cannot be cancelled: status is Failed");
        for id in [&bad, &updated] {
            let log = client.call("GET", &format!("/tasks/{id}/events")).await.unwrap().json();
            assert_eq!(
                log.as_array().unwrap().last().unwrap()["message"],
                "The task cannot be read"
            );
        }
        sleep(Duration::from_secs(3)).await; // and more than two leases later
        let log = worker.log();
        assert_eq!(log.lines().filter(|line| line.contains("no UUID")).count(), 1, "{log}");
        for id in [&bad, &updated] {
            let named = log.lines().filter(|line| line.contains("ERROR") && line.contains(id));
            assert_eq!(named.count(), 1, "{log}");
        }
    }
}

/// A serialization failure or a deadlock is a lost race.
#[tokio::test]
async fn serialization_failure_was_an_outage() {
    for service in Service::everywhere().into_iter().skip(1) {
        let server = service.server();
        let client = alice(&server);
        let id = client.create("one", 1).await.unwrap().id();
        // The first cancel meets the one, the second the other.
        by_hand(
            &service,
            "CREATE SEQUENCE tries;
             CREATE FUNCTION fails() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                 CASE nextval('tries')
                 WHEN 1 THEN RAISE EXCEPTION USING ERRCODE = '40001';
                 WHEN 2 THEN RAISE EXCEPTION USING ERRCODE = '40P01';
                 ELSE RETURN NEW; END CASE;
             END $$;
             CREATE TRIGGER fails BEFORE UPDATE ON tasks FOR EACH ROW EXECUTE FUNCTION fails()",
        )
        .await;
        assert_eq!(client.cancel(&id).await.unwrap().code, 200);
        assert_eq!(client.get(&id).await.unwrap().status(), "Cancelled");
    }
}

/// Leases and the queue go by one clock, even if the machines' clocks are wrong.
#[tokio::test]
async fn clocks_disagreed() {
    if !crate::testing::process::can_shift_clocks() {
        skipped("wrong clocks: libfaketime is not installed (Debian: faketime)");
        return;
    }
    // SQLite shares the clock of its machine.
    for service in Service::everywhere().into_iter().skip(1) {
        let (right, fast) = (service.server(), service.shifted("+120s", &["--workers", "0"]));
        let first = alice(&fast).create("one", 1).await.unwrap().id();
        let second = alice(&right).create("one", 1).await.unwrap().id();
        let list = alice(&right).call("GET", "/tasks?sort=asc").await.unwrap().json();
        assert_eq!(list["tasks"][0]["task_id"], json!(first));
        let (store, _) = beside(&service, Duration::ZERO).await;
        let message = store.claim("worker").await.unwrap().unwrap();
        assert_eq!(message.key.id.to_string(), first);

        assert_eq!(alice(&right).cancel(&second).await.unwrap().code, 200);

        let worker = ["--no-server", "--lease-seconds", "1", "--work-millis", "2500"];
        let _slow = service.shifted("-60s", &worker);
        until_status(&alice(&right), &first, "Processing").await;
        let _idle = service.shifted("+60s", &worker);
        until_status(&alice(&right), &first, "Succeeded").await;
        let log = alice(&right).call("GET", &format!("/tasks/{first}/events")).await.unwrap();
        assert!(!log.text.contains("retry"), "{}", log.text);
    }
}

/// A document that kills all its workers is given up; until then it can be cancelled.
#[tokio::test]
async fn poison_task() {
    for service in Service::everywhere() {
        let server = service.server();
        let client = alice(&server);
        let before = succeeded(&service, &client).await;
        let id = before.id();
        let (store, dying) = beside(&service, Duration::from_mins(1)).await;
        let dies = async || {
            sleep(Duration::from_millis(5)).await; // the lease passes
            let message = store.claim("worker").await.unwrap().unwrap();
            let handled = tokio::time::timeout(Duration::from_millis(300), dying.handle(&message));
            assert_eq!(handled.await.is_ok(), message.is_overdue);
        };
        client.update(&id, 1).await.unwrap();
        dies().await;
        dies().await; // which queues it again
        assert_eq!(client.cancel(&id).await.unwrap().code, 200);

        client.update(&id, 1).await.unwrap();
        for _ in 0..6 {
            let status = client.get(&id).await.unwrap().status();
            assert!(status == "Starting" || status == "Processing");
            dies().await;
        }
        assert_eq!(client.get(&id).await.unwrap().text, before.text);
        let log = client.call("GET", &format!("/tasks/{id}/events")).await.unwrap().json();
        let last = log.as_array().unwrap().last().unwrap();
        assert_eq!(last["message"], "Given up: 3 workers did not finish it");
        assert!(store.claim("worker").await.unwrap().is_none());
    }
}

/// A result that the database refuses is not retried without end.
#[tokio::test]
async fn result_cannot_be_stored() {
    let refuse = [
        "CREATE TRIGGER large BEFORE UPDATE ON tasks WHEN length(NEW.payload) > 3000
         BEGIN SELECT RAISE(ABORT, 'too large'); END",
        "ALTER TABLE tasks ADD CHECK (length(payload) < 3000)",
    ];
    for (service, refuse) in Service::everywhere().iter().zip(refuse) {
        let server = service.server();
        let client = alice(&server);
        by_hand(service, refuse).await;
        let _worker = service.worker("0");
        let id = client.create(&"word ".repeat(100), 1).await.unwrap().id();
        let failed = until_status(&client, &id, "Failed").await.json();
        assert_eq!(failed["message"], "The result cannot be stored");
        assert_eq!(crate::workers::story(&client, &id).await, ["create", "claim", "start", "fail"]);
    }
}

/// A change with `If-Match` is refused if the revision has changed.
#[tokio::test]
async fn stale_click_cancelled_the_next() {
    for service in Service::everywhere() {
        let server = service.server();
        let client = alice(&server);
        let id = succeeded(&service, &client).await.id();
        for _ in 0..2 {
            let seen = client.update(&id, 1).await.unwrap().revision.unwrap();
            let stale = format!("If-Match: the task is at \"{seen}\"");
            let tags = ["\"999\"", "\"0\"", "7", "W/\"1\"", "\"x\"", "", "\"1\", \"2\""];
            let weak = format!("W/\"{seen}\"");
            for tag in tags.into_iter().chain([seen.to_string().as_str(), &weak]) {
                let other = client.if_match(tag);
                refused(&other.cancel(&id).await.unwrap(), 412, &stale);
                refused(&other.update(&id, 1).await.unwrap(), 412, &stale);
                refused(&other.delete(&id).await.unwrap(), 412, &stale);
            }
            let right = client.if_match(&format!("\"999\", \"{seen}\""));
            refused(
                &right.delete(&id).await.unwrap(),
                400,
                "task cannot be deleted: status is Starting",
            );
            assert_eq!(right.cancel(&id).await.unwrap().code, 200);
        }
        let any = client.if_match("*");
        refused(
            &any.cancel(&id).await.unwrap(),
            400,
            "task cannot be cancelled: status is Succeeded",
        );
        assert_eq!(any.update(&id, 1).await.unwrap().code, 200);
        assert_eq!(any.cancel(&id).await.unwrap().code, 200);
        assert_eq!(any.delete(&id).await.unwrap().code, 200);
    }
}

/// HEAD has no side effect.
#[tokio::test]
async fn head_cancelled() {
    let service = Service::new();
    let server = service.server();
    let client = alice(&server);
    let id = client.create("one", 1).await.unwrap().id();
    for prefix in ["/tasks", "/task", "/api/v1/tasks", "/api/v1/task"] {
        for method in ["HEAD", "POST", "DELETE"] {
            let path = format!("{prefix}/{id}/cancel");
            let answer = client.call(method, &path).await.unwrap();
            assert_eq!((answer.code, answer.allow.as_str()), (405, "GET"), "{method} {path}");
        }
        for path in ["", "/parse", "/events", "/file"] {
            let path = format!("{prefix}/{id}{path}");
            let [head, get] = [client.call("HEAD", &path).await, client.call("GET", &path).await];
            let (head, get) = (head.unwrap(), get.unwrap());
            assert_eq!((head.code, head.revision, head.text.as_str()), (200, get.revision, ""));
        }
    }
    let created = client.call("HEAD", "/tasks/parse").await.unwrap();
    assert_eq!((created.code, created.allow.as_str()), (405, "POST"));
    let task = client.get(&id).await.unwrap();
    assert_eq!((task.status().as_str(), task.revision), ("Starting", Some(0)));
}

/// Work that takes longer than the lease, in one step.
#[tokio::test]
async fn no_renewal_at_work() {
    for service in Service::everywhere() {
        let server = service.server();
        let client = alice(&server);
        let id = client.create(&"a ".repeat(600_000), 1).await.unwrap().id();
        let _workers = [service.worker("0"), service.worker("0")];
        let path = "/tasks?statuses=Succeeded,Failed&limit=1";
        let limit = std::time::Instant::now() + Duration::from_mins(1);
        while client.call("GET", path).await.unwrap().json()["tasks"] == json!([]) {
            assert!(
                std::time::Instant::now() < limit,
                "{:?}",
                crate::workers::story(&client, &id).await
            );
            sleep(Duration::from_millis(500)).await;
        }
        assert_eq!(
            crate::workers::story(&client, &id).await,
            ["create", "claim", "start", "succeed"]
        );
    }
}

/// A deleted task leaves no file behind.
#[tokio::test]
async fn file_stayed_after_delete() {
    for service in Service::everywhere() {
        let server = service.server();
        let client = alice(&server);
        let (id, kept) = (client.create("one", 1).await.unwrap().id(), client.create("two", 1));
        let kept = kept.await.unwrap().id();
        client.cancel(&id).await.unwrap();
        assert_eq!(client.delete(&id).await.unwrap().code, 200);
        let file = client.call("GET", &format!("/tasks/{id}/file")).await.unwrap();
        refused(&file, 404, "Task not found");
        let (store, _) = beside(&service, Duration::ZERO).await;
        let files = sqlx::query_scalar::<_, String>("SELECT task_id FROM files");
        assert_eq!(files.fetch_all(&store.pool).await.unwrap(), [kept]);
    }
}

/// A create with a taken id stores nothing and leaves the existing task alone.
#[tokio::test]
async fn taken_name_answered_200() {
    for service in Service::everywhere() {
        let (store, _) = beside(&service, Duration::ZERO).await;
        let new = |text: &str| {
            let document = Document::queued(&Configuration::default(), serde_json::Map::new());
            New::of("alice".to_owned(), text.to_owned(), document, text.into())
        };
        let first = new("first");
        assert!(store.create(&first).await.unwrap().is_some());
        for user in ["alice", "bob"] {
            let mut second = new("second");
            second.key = Key { user: user.to_owned(), id: first.key.id };
            assert!(store.create(&second).await.unwrap().is_none());
        }
        assert_eq!(store.file(&first.key).await.unwrap().unwrap(), b"first");
        assert_eq!(store.log(&first.key).await.unwrap().len(), 1);
    }
}

/// A change is not acknowledged before COMMIT has succeeded.
#[tokio::test]
async fn failed_commit_answered_200() {
    let fail = [
        "CREATE TABLE late (task_id TEXT REFERENCES tasks DEFERRABLE INITIALLY DEFERRED);
         CREATE TRIGGER late AFTER UPDATE ON tasks BEGIN INSERT INTO late VALUES ('none'); END",
        "CREATE FUNCTION late() RETURNS trigger LANGUAGE plpgsql
             AS $$ BEGIN RAISE EXCEPTION 'too late'; END $$;
         CREATE CONSTRAINT TRIGGER late AFTER UPDATE ON tasks DEFERRABLE INITIALLY DEFERRED
             FOR EACH ROW EXECUTE FUNCTION late()",
    ];
    for (service, fail) in Service::everywhere().iter().zip(fail) {
        let server = service.server();
        let client = alice(&server);
        let id = client.create("one", 1).await.unwrap().id();
        by_hand(service, fail).await;
        refused(&client.cancel(&id).await.unwrap(), 500, "Server error");
        let task = client.get(&id).await.unwrap();
        assert_eq!((task.status().as_str(), task.revision), ("Starting", Some(0)));
    }
}

/// An expired task is not found on any route.
#[tokio::test]
async fn expired_task_was_updated() {
    for service in Service::everywhere() {
        let server = service.server();
        let client = alice(&server);
        let id = succeeded(&service, &client).await.id();
        by_hand(&service, "UPDATE tasks SET expires_in = 1, ended_at = ended_at - 2000000").await;
        for answer in [
            client.get(&id).await,
            client.cancel(&id).await,
            client.update(&id, 1).await,
            client.delete(&id).await,
            client.call("GET", &format!("/tasks/{id}/events")).await,
            client.call("GET", &format!("/tasks/{id}/file")).await,
        ] {
            refused(&answer.unwrap(), 404, "Task not found");
        }
        assert_eq!(client.call("GET", "/tasks").await.unwrap().json()["tasks"], json!([]));
    }
}

/// Page by page, each task is shown exactly once.
#[tokio::test]
async fn page_repeated_its_last_row() {
    for service in Service::everywhere() {
        let server = service.server();
        let client = alice(&server);
        let mut all = Vec::new();
        for nth in 0..11 {
            let id = client.create("one", 1).await.unwrap().id();
            if nth % 3 == 0 {
                client.cancel(&id).await.unwrap();
            }
            all.push(id);
        }
        for (sort, limit) in [("asc", 1), ("asc", 3), ("desc", 4), ("desc", 11), ("desc", 12)] {
            let (mut seen, mut cursor) = (Vec::new(), String::new());
            loop {
                let path = format!("/tasks?sort={sort}&limit={limit}{cursor}");
                let page = client.call("GET", &path).await.unwrap().json();
                let tasks = page["tasks"].as_array().unwrap();
                assert!(tasks.len() <= limit);
                seen.extend(tasks.iter().map(|task| task["task_id"].as_str().unwrap().to_owned()));
                if page["has_more"] == json!(false) {
                    break;
                }
                assert!(seen.len() <= all.len(), "{sort} {limit}: {seen:?}");
                cursor = format!("&cursor={}", page["next_cursor"].as_str().unwrap());
            }
            if sort == "desc" {
                seen.reverse();
            }
            assert_eq!(seen, all, "{sort} {limit}");
        }
        for statuses in
            ["Cancelled", "Cancelled,Cancelled", "Failed,Failed,Failed,Failed,Failed,Cancelled"]
        {
            let path = format!("/tasks?statuses={statuses}&limit=2&sort=asc");
            let page = client.call("GET", &path).await.unwrap().json();
            assert_eq!(page["tasks"][1]["task_id"], json!(all[3]), "{statuses}");
        }
    }
}

/// A request that began before the server is told to stop is answered.
#[tokio::test]
async fn stop_cut_requests() {
    let service = Service::new();
    let server = service.server();
    let mut stream = server.connect().unwrap();
    let body = json!({ "file": "data:,one" }).to_string();
    let head = format!(
        "POST /tasks/parse HTTP/1.1\r\nHost: x\r\nAuthorization: a\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).unwrap();
    sleep(Duration::from_millis(200)).await;
    server.signal("TERM");
    sleep(Duration::from_millis(500)).await;
    stream.write_all(body.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(server.ended());
}

/// A worker finishes after its run was retried, while the next run is under way: neither its result
/// nor its failure counts.
#[tokio::test]
async fn finished_after_its_lease() {
    for service in Service::everywhere() {
        let server = service.server();
        for (file, ends) in [("data:,one", "Succeeded"), ("data:;base64,/w==", "Failed")] {
            let form = json!({ "file": file }).to_string();
            let client = alice(&server);
            let id = client.send("POST", "/tasks/parse", form).await.unwrap().id();
            let (store, late) = beside(&service, Duration::from_millis(800)).await;
            let message = store.claim("late").await.unwrap().unwrap();
            let next = async {
                until_status(&client, &id, "Processing").await;
                let mut row = store.load(&message.key).await.unwrap().unwrap();
                for step in [Step::Retry, Step::Start] {
                    let loaded = row.task.revision();
                    let event = Event::of(&row.task.apply(step).unwrap(), "next", loaded, "");
                    assert!(store.commit(&row, loaded, &event).await.unwrap());
                }
            };
            let (stale, ()) = tokio::join!(late.handle(&message), next);
            assert!(matches!(stale, Err(Dropped::Stale(_))), "{ends}: {stale:?}");
            let task = client.get(&id).await.unwrap();
            assert_eq!((task.status().as_str(), task.revision), ("Processing", Some(4)));
            by_hand(&service, "DELETE FROM tasks").await;
        }
    }
}
