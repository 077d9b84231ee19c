//! What an operator meets at night.

use std::io::Write;
use std::net::TcpStream;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use sqlx::Connection as _;
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::timeout;

use crate::testing::client::Client;
use crate::testing::process::Process;
use crate::{PROGRAM, Service, alice, said, until_status, workers};

/// A log that cannot be written stops nothing.
#[tokio::test]
async fn a_log_that_is_full_ended_the_worker() {
    let service = Service::new();
    let arguments = ["--database", &service.database, "--api-key", "a=alice", "--work-millis", "0"];
    let server =
        Process::start_mute(PROGRAM, &[&arguments[..], &["--listen", "127.0.0.1:0"]].concat());
    for _ in 0..3 {
        let id = alice(&server).create("one", 1).await.unwrap().id();
        until_status(&alice(&server), &id, "Succeeded").await;
    }
}

/// `/health` asks the database.
#[tokio::test]
async fn health_said_ok_without_a_database() {
    let service = Service::new();
    let server = service.server();
    assert_eq!(alice(&server).call("GET", "/health").await.unwrap().text, "OK");
    let mut database = sqlx::SqliteConnection::connect(&service.database).await.unwrap();
    let lose = "PRAGMA legacy_alter_table = ON; ALTER TABLE tasks RENAME TO lost";
    sqlx::raw_sql(lose).execute(&mut database).await.unwrap();
    let health = alice(&server).call("GET", "/health").await.unwrap();
    crate::refused(&health, 503, "The database does not answer");
}

/// A long run does not block the exit; it is given back.
#[tokio::test]
async fn a_long_run_blocked_the_exit() {
    for service in Service::everywhere() {
        let server = service.server();
        let client = alice(&server);
        let worker = service.worker("60000");
        let id = client.create("one", 1).await.unwrap().id();
        until_status(&client, &id, "Processing").await;
        let begin = Instant::now();
        worker.signal("TERM");
        assert!(spawn_blocking(|| worker.ended()).await.unwrap());
        assert!(begin.elapsed() < Duration::from_secs(15), "{:?}", begin.elapsed());
        assert_eq!(client.get(&id).await.unwrap().status(), "Starting");
        assert_eq!(workers::story(&client, &id).await, ["create", "claim", "start", "retry"]);
    }
}

#[tokio::test]
async fn a_second_signal_was_swallowed() {
    let service = Service::new();
    let server = service.server();
    let worker = service.worker("60000");
    let id = alice(&server).create("one", 1).await.unwrap().id();
    until_status(&alice(&server), &id, "Processing").await;
    let begin = Instant::now();
    worker.signal("TERM");
    tokio::time::sleep(Duration::from_millis(200)).await;
    worker.signal("INT");
    assert!(spawn_blocking(|| worker.ended()).await.unwrap());
    assert!(begin.elapsed() < Duration::from_secs(3), "{:?}", begin.elapsed());
}

/// After a clean exit the SQLite file is complete.
#[tokio::test]
async fn a_copy_of_the_file_was_empty() {
    let service = Service::new();
    let server = service.server();
    let id = alice(&server).create("one", 1).await.unwrap().id();
    server.signal("INT");
    assert!(spawn_blocking(|| server.ended()).await.unwrap());
    let file = service.database.trim_start_matches("sqlite://");
    let copy = format!("{file}.copy");
    std::fs::copy(file, &copy).unwrap();
    let mut copy = sqlx::SqliteConnection::connect(&format!("sqlite://{copy}")).await.unwrap();
    let tasks = sqlx::query_scalar::<_, String>("SELECT task_id FROM tasks");
    assert_eq!(tasks.fetch_all(&mut copy).await.unwrap(), [id]);
}

/// A failure to open the database is reported at once, without the password.
#[test]
fn an_outage_at_start_showed_the_password() {
    let begin = Instant::now();
    let mut program = Command::new(PROGRAM);
    program.env("DATABASE_URL", "postgres://service:hunter2@127.0.0.1:1/tasks");
    let output = program.output().unwrap();
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success() && text.contains("refused"), "{text}");
    assert!(!text.contains("hunter2") && begin.elapsed() < Duration::from_secs(5), "{text}");
    let help = program.arg("--help").output().unwrap().stdout;
    assert!(!String::from_utf8(help).unwrap().contains("hunter2"));
}

/// Somebody holds a lock in the database and forgets about it. Reads go on; changes end with a clear
/// answer, on PostgreSQL before they have taken all connections.
#[tokio::test]
async fn a_lock_was_waited_for_without_end() {
    for service in Service::everywhere() {
        let server = service.server();
        let client = alice(&server);
        let id = client.create("one", 1).await.unwrap().id();
        let mut database = service.connect().await;
        let mut lock = database.begin().await.unwrap();
        let touch = "UPDATE tasks SET queued_at = queued_at";
        sqlx::query(touch).execute(&mut *lock).await.unwrap();

        let begin = Instant::now();
        let cancels: Vec<_> = (0..12)
            .map(|_| {
                let (client, id) = (client.clone(), id.clone());
                tokio::spawn(async move { client.cancel(&id).await.unwrap() })
            })
            .collect();
        tokio::time::sleep(Duration::from_millis(500)).await;
        assert_eq!(client.get(&id).await.unwrap().status(), "Starting");
        for cancel in cancels {
            let text = "It is not known whether this was done: get the task before you try again";
            crate::refused(&cancel.await.unwrap(), 503, text);
        }
        assert!(begin.elapsed() < Duration::from_secs(75), "{:?}", begin.elapsed());
        lock.rollback().await.unwrap();
        assert_eq!(client.cancel(&id).await.unwrap().code, 200);
    }
}

/// Keys can come from a file, and may contain `=`.
#[tokio::test]
async fn a_key_was_cut_at_its_first_sign() {
    let service = Service::new();
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "a=b==carol\n\nc=dora\n").unwrap();
    let server =
        service.start(&["--workers", "0", "--api-keys-file", file.path().to_str().unwrap()]);
    for (key, code) in [("a", 200), ("a=b=", 200), ("c", 200), ("a=b", 401), ("carol", 401)] {
        let answer = Client::new(&server.url, key).call("GET", "/tasks").await.unwrap();
        assert_eq!(answer.code, code, "{key}");
    }
}

/// A long answer is written in parts, but is the same JSON: each chunk once, in order.
#[tokio::test]
async fn a_long_answer_was_built_in_memory() {
    let service = Service::new();
    let server = service.server();
    let client = alice(&server);
    let _worker = service.worker("0");
    let words: Vec<String> = (0..250).map(|nth| format!("word{nth}")).collect();
    for count in [1, 100, 101, 250] {
        let id = client.create(&words[..count].join(" "), 1).await.unwrap().id();
        let done = until_status(&client, &id, "Succeeded").await;
        assert_eq!(done.content_type, "application/json");
        let output = &done.json()["output"];
        let chunks = output["chunks"].as_array().unwrap();
        let contents: Vec<_> =
            chunks.iter().map(|chunk| chunk["content"].as_str().unwrap()).collect();
        assert_eq!(contents, words[..count]);
        assert_eq!(output["file_name"], "document");
        let path = format!("/tasks/{id}?include_chunks=false");
        let without = client.call("GET", &path).await.unwrap().json();
        assert_eq!(without["output"]["chunks"].as_array().unwrap().len(), 0);
        assert_eq!(without["file_info"], done.json()["file_info"]);
    }
}

/// A repeated request is carried out once, and gets the first answer again.
#[tokio::test]
async fn a_repeated_request_made_two_tasks() {
    for service in Service::everywhere() {
        let server = service.server();
        let (client, bob) = (alice(&server), Client::new(&server.url, "b"));
        let (client, bob) = (client.named("7"), bob.named("7"));
        let first = client.create("one", 1).await.unwrap();
        assert_eq!(first.code, 200, "{first:?}");
        client.cancel(&first.id()).await.unwrap();
        let again = client.create("one", 1).await.unwrap();
        assert_eq!((&again.text, again.revision), (&first.text, first.revision));
        refused_name(&client.create("two", 1).await.unwrap());
        assert_ne!(bob.create("one", 1).await.unwrap().id(), first.id());

        // Concurrently as well; and a refused request leaves its key free.
        let client = client.named("8");
        assert_eq!(client.send("POST", "/tasks/parse", "{}").await.unwrap().code, 422);
        let tries: Vec<_> = (0..8)
            .map(|_| {
                let client = client.clone();
                tokio::spawn(async move { client.create("one", 1).await.unwrap().text })
            })
            .collect();
        let mut texts = Vec::new();
        for text in tries {
            texts.push(text.await.unwrap());
        }
        texts.dedup();
        assert_eq!(texts.len(), 1, "{texts:?}");

        // After a day it is a new request.
        let mut database = service.connect().await;
        let later = "UPDATE requests SET at = at - 86400000001";
        sqlx::query(later).execute(&mut database).await.unwrap();
        let next = client.create("one", 1).await.unwrap();
        assert!(next.code == 200 && !texts[0].contains(&next.id()), "{next:?}");
        let list = client.call("GET", "/tasks").await.unwrap().json();
        assert_eq!(list["tasks"].as_array().unwrap().len(), 3);
    }
}

fn refused_name(answer: &crate::testing::client::Answer) {
    crate::refused(answer, 400, "Idempotency-Key: it was another request's");
}

/// The log is pruned by its age.
#[tokio::test]
async fn the_log_grew_without_end() {
    for service in Service::everywhere() {
        let server = service.server();
        let client = alice(&server);
        let id = client.create("one", 1).await.unwrap().id();
        client.cancel(&id).await.unwrap();
        let mut database = service.connect().await;
        let old = "UPDATE events SET at = at - 2 * 86400000000 WHERE number = 1";
        sqlx::query(old).execute(&mut database).await.unwrap();
        let _pruning = service.start(&["--workers", "0", "--keep-events-days", "1"]);
        let limit = Instant::now() + Duration::from_secs(10);
        while workers::story(&client, &id).await != ["cancel"] {
            assert!(Instant::now() < limit);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

/// A body that is too large is refused by its head, and not requested.
#[tokio::test]
async fn a_body_too_large_was_waited_for() {
    let service = Service::new();
    let server = service.server();
    let mut stream = server.connect().unwrap();
    let head = "POST /tasks/parse HTTP/1.1\r\nHost: x\r\nAuthorization: a\r\nConnection: close\r\n\
                Expect: 100-continue\r\nContent-Length: 99999999999\r\n\r\n";
    stream.write_all(head.as_bytes()).unwrap();
    let begin = Instant::now();
    let said = spawn_blocking(|| said(stream)).await.unwrap();
    assert!(said.starts_with("HTTP/1.1 413"), "{said}");
    assert!(begin.elapsed() < Duration::from_secs(2), "{:?}", begin.elapsed());
}

/// A head or body that stops midway, or a connection without a request, is cut off.
#[tokio::test]
async fn a_silent_client_was_served_for_good() {
    let service = Service::new();
    let server = service.server();
    let body =
        "POST /tasks/parse HTTP/1.1\r\nHost: x\r\nAuthorization: a\r\nContent-Length: 100\r\n\r\n{";
    let silent = ["", "GET /tasks HTTP/1.1\r\nHost:", body].map(|said_first| {
        let mut stream = server.connect().unwrap();
        stream.write_all(said_first.as_bytes()).unwrap();
        spawn_blocking(move || said(stream))
    });
    let begin = Instant::now();
    for said in silent {
        let said = timeout(Duration::from_secs(20), said).await.expect("an end").unwrap();
        assert!(said.is_empty() || said.starts_with("HTTP/1.1 4"), "{said}");
    }
    let took = begin.elapsed();
    assert!((9..20).contains(&took.as_secs()), "{took:?}");
}

/// A client that does not read its answer is cut off.
#[tokio::test]
async fn an_answer_that_nobody_read_was_kept() {
    let service = Service::new();
    let server = service.server();
    let id = large(&service, &server).await;
    let mut stream = server.connect().unwrap();
    let head = format!("GET /tasks/{id} HTTP/1.1\r\nHost: x\r\nAuthorization: a\r\n\r\n");
    stream.write_all(head.as_bytes()).unwrap();
    tokio::time::sleep(Duration::from_secs(14)).await;
    let said = spawn_blocking(|| said(stream)).await.unwrap();
    let whole = alice(&server).get(&id).await.unwrap().text;
    assert!(said.starts_with("HTTP/1.1 200") && said.len() < whole.len(), "{}", said.len());
}

/// Concurrent requests for large answers wait for each other, and each gets the whole answer.
#[tokio::test]
async fn large_answers_came_all_at_once() {
    let service = Service::new();
    let server = service.server();
    let client = alice(&server);
    let id = large(&service, &server).await;
    let whole = client.get(&id).await.unwrap().text;
    let paths = [format!("/tasks/{id}"), "/tasks?include_chunks=true&limit=1".to_owned()];
    let asking: Vec<_> = (0..30)
        .map(|nth| {
            let (client, path) = (client.clone(), paths[nth % 2].clone());
            tokio::spawn(async move { client.call("GET", &path).await.unwrap().text })
        })
        .collect();
    for asked in asking {
        assert!(asked.await.unwrap().contains(&whole));
    }
}

/// The parts of an answer do not wait for the acknowledgement of the part before, which the client
/// delays by 40 ms.
#[tokio::test]
async fn a_page_waited_for_its_own_parts() {
    let service = Service::new();
    let server = service.server();
    let client = alice(&server);
    for _ in 0..10 {
        client.create("one", 1).await.unwrap();
    }
    let mut times = Vec::new();
    for _ in 0..40 {
        let begin = Instant::now();
        client.call("GET", "/tasks").await.unwrap();
        times.push(begin.elapsed());
    }
    let fastest = times[20..].iter().min().unwrap();
    assert!(*fastest < Duration::from_millis(35), "{times:?}");
}

/// A task with an output of some megabytes, more than the buffers of a connection hold.
async fn large(service: &Service, server: &Process) -> String {
    let _worker = service.worker("0");
    let id = alice(server).create(&"word%20".repeat(40_000), 1).await.unwrap().id();
    until_status(&alice(server), &id, "Succeeded").await;
    id
}

/// A page ends before it becomes too large, and the next one continues.
#[tokio::test]
async fn a_page_of_large_tasks_had_no_end() {
    let service = Service::new();
    let server = service.server();
    let client = alice(&server);
    let (label, all) = ("x".repeat(200_000), 25);
    let form = json!({ "file": "data:,one", "llm_processing": { "label": label } }).to_string();
    for _ in 0..all {
        assert_eq!(client.send("POST", "/tasks/parse", form.clone()).await.unwrap().code, 200);
    }
    let first = client.call("GET", "/tasks?limit=100").await.unwrap();
    assert!(first.text.len() < 5 << 20, "{}", first.text.len());
    let first = first.json();
    assert_eq!(first["has_more"], true);
    let cursor = first["next_cursor"].as_str().unwrap();
    let path = format!("/tasks?limit=100&cursor={cursor}");
    let rest = client.call("GET", &path).await.unwrap().json();
    let count = |page: &Value| page["tasks"].as_array().unwrap().len();
    assert_eq!((count(&first) + count(&rest), &rest["has_more"]), (all, &json!(false)));
}

/// Sends the same on so many connections, as far as the server reads it, and then nothing.
fn stall(server: &Process, times: usize, said: &str) -> Vec<JoinHandle<TcpStream>> {
    let stalled = (0..times).map(|_| {
        let (mut stream, said) = (server.connect().unwrap(), said.to_owned());
        spawn_blocking(move || {
            stream.set_write_timeout(Some(Duration::from_secs(1))).unwrap();
            _ = stream.write_all(said.as_bytes());
            stream
        })
    });
    stalled.collect()
}

/// Large bodies are read only while there is room for them.
#[tokio::test]
async fn stalled_uploads_took_all_memory() {
    let service = Service::new();
    let server = service.server();
    let head = "POST /tasks/parse HTTP/1.1\r\nHost: x\r\nAuthorization: a\r\n";
    let body = " ".repeat(15_000_000);
    let _stalled = stall(&server, 40, &format!("{head}Content-Length: 16000000\r\n\r\n{body}"));
    tokio::time::sleep(Duration::from_secs(5)).await;
    let kib = server.peak_memory();
    assert!(kib < 200 << 10, "{kib} KiB");
}

/// Large answers are sent only while there is room for them. Unread ones delay other large ones until
/// they are cut off; small ones do not wait.
#[tokio::test]
async fn unread_answers_took_all_memory() {
    let service = Service::new();
    let server = service.server();
    let client = alice(&server);
    let small = client.create("one", 1).await.unwrap().id();
    let worker = service.worker("0");
    let id = client.create(&"x".repeat(4 << 20), 0).await.unwrap().id();
    let path = format!("/tasks/{id}?include_chunks=false");
    while client.call("GET", &path).await.unwrap().status() != "Succeeded" {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    drop(worker);
    let head = format!(
        "GET /tasks/{id} HTTP/1.1\r\nHost: x\r\nAuthorization: a\r\nConnection: close\r\n\r\n"
    );
    let stalled = stall(&server, 9, &head);
    tokio::time::sleep(Duration::from_secs(1)).await;
    let begin = Instant::now();
    client.get(&small).await.unwrap();
    let small_took = begin.elapsed();
    let whole = client.get(&id).await.unwrap().text.len();
    let large_took = begin.elapsed();
    let mut cut_off = 0;
    for stream in stalled {
        let stream = stream.await.unwrap();
        cut_off += usize::from(spawn_blocking(|| said(stream)).await.unwrap().len() < whole);
    }
    assert!(cut_off >= 3 && small_took < large_took / 2, "{cut_off} {small_took:?} {large_took:?}");
}

/// Behind a proxy that terminates TLS, URLs use https.
#[tokio::test]
async fn addresses_were_wrong_behind_tls() {
    let service = Service::new();
    let server = service.server();
    for (proto, begin) in [("https", "https://"), ("http", "http://"), ("gopher", "http://")] {
        let body = r#"{"file":"data:,one"}"#;
        let request = reqwest::Client::new().post(format!("{}/tasks/parse", server.url));
        let request = request.header("Authorization", "a").header("X-Forwarded-Proto", proto);
        let answer = request.body(body).send().await.unwrap().text().await.unwrap();
        assert!(answer.contains(&format!(r#""task_url":"{begin}"#)), "{proto}: {answer}");
    }
}

/// Connections beyond the limit wait, the log says so, and idle ones are closed.
#[tokio::test]
async fn idle_connections_shut_everybody_out() {
    let service = Service::new();
    let server = service.server();
    let idle: Vec<TcpStream> = (0..600).map(|_| server.connect().unwrap()).collect();
    let client = alice(&server);
    let answer = timeout(Duration::from_secs(25), client.call("GET", "/tasks")).await;
    assert_eq!(answer.unwrap().unwrap().code, 200);
    assert!(server.log().contains("512 connections are open"), "{}", server.log());
    drop(idle);
}

/// One log line per request, and metrics.
#[tokio::test]
async fn nobody_knew_what_was_asked() {
    let service = Service::new();
    let server = service.server();
    let client = alice(&server);
    let id = client.create("one", 1).await.unwrap().id();
    client.cancel(&id).await.unwrap();
    client.cancel(&id).await.unwrap();
    let log = server.log();
    let line = log.lines().find(|line| line.contains(&id) && line.contains("code=400"));
    let line = line.unwrap_or_else(|| panic!("{log}"));
    assert!(line.contains("cancel") && line.contains("ms="), "{line}");
    let metrics = client.call("GET", "/metrics").await.unwrap().text;
    for number in [
        r#"http_request_seconds_count{route="/tasks/{task_id}/cancel",code="200"} 1"#,
        r#"http_request_seconds_count{route="/tasks/{task_id}/cancel",code="400"} 1"#,
        r#"task_changes_total{operation="cancel",outcome="done"} 1"#,
    ] {
        assert!(metrics.lines().any(|line| line == number), "{metrics}");
    }
    let quiet = Command::new(PROGRAM).env("RUST_LOG", "off").args(["--database", "x"]).output();
    assert!(!String::from_utf8(quiet.unwrap().stderr).unwrap().contains("INFO"));
}
