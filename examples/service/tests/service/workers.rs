//! Workers that die, stall or restart.

use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use sqlx::Connection;
use task_lifecycle::Status;
use task_service::document::{ChunkProcessing, Configuration, Document, cut};
use task_service::store::{Event, New, Store as _};
use task_service::worker::Dropped;
use tokio::runtime::Runtime;
use tokio::time::sleep;

use crate::{Service, alice, beside, refused, succeeded, until, until_status};

/// The operations in the log of a task.
pub async fn story(client: &crate::Client, id: &str) -> Vec<String> {
    let log = client.call("GET", &format!("/tasks/{id}/events")).await.unwrap().json();
    let log = log.as_array().unwrap().iter();
    log.map(|event| event["operation"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn a_dead_workers_run_is_retried() {
    for service in Service::everywhere() {
        let server = service.server();
        let client = alice(&server);
        let before = succeeded(&service, &client).await;
        let id = before.id();
        let dying = service.worker("60000");
        client.update(&id, 1).await.unwrap();
        until_status(&client, &id, "Processing").await;
        drop(dying); // by SIGKILL

        let _worker = service.worker("0");
        let after = until(&client, &id, |task| {
            let json = task.json();
            // Never shown as completed while it is still to run: clients would stop polling.
            assert!(
                json["completed"] == false
                    || json["output"]["chunks"].as_array().unwrap().len() == 3,
                "{json}"
            );
            json["completed"] == true
        });
        assert_eq!(after.await.status(), "Succeeded");
        let story = story(&client, &id).await;
        assert_eq!(
            story,
            [
                "create", "claim", "start", "succeed", "update", "claim",
                "start", // and death
                "claim", "retry", "claim", "start", "succeed",
            ]
        );
    }
}

#[tokio::test]
async fn a_living_worker_keeps_its_lease() {
    for service in Service::everywhere() {
        let server = service.server();
        let client = alice(&server);
        let _slow = service.worker("3000");
        let id = client.create("one", 1).await.unwrap().id();
        until_status(&client, &id, "Processing").await;
        let _idle = service.worker("0");
        until_status(&client, &id, "Succeeded").await;
        assert_eq!(story(&client, &id).await, ["create", "claim", "start", "succeed"]);
    }
}

/// A worker that loses its run stops its work, and does not only drop the result.
#[tokio::test]
async fn lost_work_is_stopped() {
    let service = Service::new();
    let server = service.server();
    let client = alice(&server);
    let id = client.create("one", 1).await.unwrap().id();
    let (store, mut slow) = beside(&service, Duration::from_mins(1)).await;
    slow.lease = Duration::from_millis(300);
    let message = store.claim("worker").await.unwrap().unwrap();
    let taken = async {
        until_status(&client, &id, "Processing").await;
        let mut row = store.load(&message.key).await.unwrap().unwrap();
        let loaded = row.task.revision();
        let done = row.task.retry().unwrap();
        let event = Event::of(&done, "sweeper", loaded, "");
        assert!(store.commit(&row, loaded, &event).await.unwrap());
    };
    let begin = Instant::now();
    let (lost, ()) = tokio::join!(slow.handle(&message), taken);
    assert_eq!(lost.unwrap_err().to_string(), "the run is over, or another worker's by now");
    assert!(begin.elapsed() < Duration::from_secs(10));
}

/// The work stops in the middle, too: at its end the runtime has to wait for it, and need not.
#[test]
fn lost_work_is_stopped_in_the_middle() {
    let chunks = ChunkProcessing { target_length: 1, ..ChunkProcessing::default() };
    let configuration =
        Configuration { chunk_processing: Some(chunks), ..Configuration::default() };
    let words = b"a ".repeat(4 << 20);
    // On a busy machine the work may be done before the run is taken away: then once more.
    let waited = (0..10).find_map(|_| {
        let begin = Instant::now();
        cut(&words, &configuration, || true).unwrap_err(); // at last it is too large
        let whole = begin.elapsed();

        let runtime = Runtime::new().unwrap();
        let is_taken = runtime.block_on(async {
            let service = Service::new();
            let (store, mut worker) = beside(&service, Duration::ZERO).await;
            worker.lease = Duration::from_millis(30);
            let document = Document::queued(&configuration, serde_json::Map::new());
            let new = New::of("alice".to_owned(), "file".to_owned(), document, words.clone());
            store.create(&new).await.unwrap().unwrap();
            let message = store.claim("worker").await.unwrap().unwrap();
            let taken = async {
                let mut row = store.load(&new.key).await.unwrap().unwrap();
                while row.task.status() == Status::Starting {
                    row = store.load(&new.key).await.unwrap().unwrap();
                }
                sleep(whole / 5).await;
                let loaded = row.task.revision();
                let event = Event::of(&row.task.retry().unwrap(), "sweeper", loaded, "");
                store.commit(&row, loaded, &event).await.unwrap()
            };
            let (lost, is_taken) = tokio::join!(worker.handle(&message), taken);
            is_taken && matches!(lost, Err(Dropped::Lost))
        });
        let begin = Instant::now();
        drop(runtime);
        is_taken.then(|| (begin.elapsed(), whole))
    });
    let (waited, whole) = waited.expect("a run that is taken away in the middle");
    assert!(waited < whole / 3, "{waited:?} of {whole:?}");
}

/// A run whose worker is alive but never finishes is ended.
#[tokio::test]
async fn a_run_has_an_end() {
    for service in Service::everywhere() {
        let server = service.server();
        let client = alice(&server);
        let before = succeeded(&service, &client).await;
        let options = ["--no-server", "--work-millis", "60000", "--longest-run-seconds", "1"];
        let _worker = service.start(&options);
        client.update(&before.id(), 1).await.unwrap();
        let id = client.create("one", 1).await.unwrap().id();
        let failed = until_status(&client, &id, "Failed").await;
        assert_eq!(failed.json()["message"], "The document took too long");
        let reverted = until_status(&client, &before.id(), "Succeeded").await;
        assert_eq!(reverted.json()["output"], before.json()["output"]);
        let path = format!("/tasks/{}/events", before.id());
        let log = client.call("GET", &path).await.unwrap().json();
        let failed = log.as_array().unwrap().last().unwrap();
        // One change: what reverts need not say why, but in the log.
        assert_eq!(failed["revision"].as_u64(), failed["loaded"].as_u64().map(|it| it + 1));
    }
}

/// On PostgreSQL an idle worker need not wait for its next poll.
#[tokio::test]
async fn a_queued_task_wakes_a_worker() {
    let services = Service::everywhere();
    let Some(service) = services.get(1) else { return };
    let server = service.server();
    let client = alice(&server);
    let _worker = service.worker("0");
    let (mut at_once, all) = (0, 20);
    for _ in 0..all {
        let id = client.create("one", 1).await.unwrap().id();
        until_status(&client, &id, "Succeeded").await;
        let log = client.call("GET", &format!("/tasks/{id}/events")).await.unwrap().json();
        let at = |event: usize| log[event]["at"].as_str().unwrap().parse::<DateTime<Utc>>();
        let took = at(1).unwrap() - at(0).unwrap();
        at_once += i32::from(took.num_milliseconds() < 100);
    }
    assert!(at_once > all / 2, "{at_once} of {all}");
}

#[tokio::test]
async fn everything_is_there_after_a_restart() {
    for service in Service::everywhere() {
        let server = service.server();
        let client = alice(&server);
        let before = succeeded(&service, &client).await;
        let id = before.id();
        client.update(&id, 1).await.unwrap();
        server.signal("TERM");
        assert!(server.ended());

        let server = service.server();
        let client = alice(&server);
        assert_eq!(client.get(&id).await.unwrap().status(), "Starting");
        assert_eq!(client.cancel(&id).await.unwrap().code, 200);
        let port = |text: &str| text.replace(&server.url, "URL");
        let after = client.get(&id).await.unwrap();
        let url = before.json()["task_url"].as_str().unwrap().replace(&format!("/tasks/{id}"), "");
        assert_eq!(port(&after.text), before.text.replace(&url, "URL"));
        refused(
            &client.cancel(&id).await.unwrap(),
            400,
            "task cannot be cancelled: status is Succeeded",
        );
    }
}

#[tokio::test]
async fn a_worker_that_is_told_to_stop_ends_its_run() {
    let service = Service::new();
    let server = service.server();
    let client = alice(&server);
    let worker = service.worker("1000");
    let id = client.create("one", 1).await.unwrap().id();
    until_status(&client, &id, "Processing").await;
    worker.signal("TERM");
    assert!(worker.ended());
    assert_eq!(client.get(&id).await.unwrap().status(), "Succeeded");
}

#[tokio::test]
async fn a_row_that_is_no_task_stops_no_other() {
    let service = Service::new();
    let server = service.server();
    let client = alice(&server);
    let broken = client.create("one", 1).await.unwrap().id();
    let mut database = sqlx::SqliteConnection::connect(&service.database).await.unwrap();
    let breaks = "UPDATE tasks SET payload = '{}', revision = revision + 1";
    sqlx::raw_sql(breaks).execute(&mut database).await.unwrap();
    let id = client.create("one", 1).await.unwrap().id();
    let _worker = service.worker("0");
    until_status(&client, &id, "Succeeded").await;
    refused(&client.get(&broken).await.unwrap(), 500, "Server error");
}

#[test]
fn processes_that_begin_together_share_one_database() {
    for service in Service::everywhere() {
        std::thread::scope(|scope| {
            let start = |_| scope.spawn(|| service.server()); // which has to listen
            let servers: Vec<_> = (0..6).map(start).collect();
            assert!(servers.into_iter().all(|server| server.join().is_ok()));
        });
    }
}
