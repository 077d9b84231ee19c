//! Cancel Task, to the letter, and the routes around it.

use std::time::Duration;

use serde_json::json;
use task_service::store::Key;

use crate::testing::client::Client;
use crate::{Service, alice, beside, label, refused, succeeded, until_status};

const PREFIXES: [&str; 4] = ["/tasks", "/task", "/api/v1/tasks", "/api/v1/task"];
const UNKNOWN: &str = "00000000-0000-4000-8000-000000000000";

#[tokio::test]
async fn a_new_task_is_cancelled() {
    let service = Service::new();
    let server = service.server();
    let client = alice(&server);
    for prefix in PREFIXES {
        let created = client.create("one two three", 2).await.unwrap();
        assert_eq!((created.code, created.status().as_str()), (200, "Starting"));
        let path = format!("{prefix}/{}", created.id());

        let cancelled = client.call("GET", &format!("{path}/cancel")).await.unwrap();
        assert_eq!((cancelled.code, cancelled.text.as_str()), (200, ""));

        let task = client.call("GET", &path).await.unwrap();
        let json = task.json();
        assert_eq!(
            (json["status"].as_str(), json["completed"].as_bool()),
            (Some("Cancelled"), Some(true))
        );
        assert_eq!(json["message"], "Task cancelled");
        assert_eq!(json["output"], json!(null));
        assert_eq!(cancelled.revision, task.revision);

        let again = client.call("GET", &format!("{path}/cancel")).await.unwrap();
        refused(&again, 400, "task cannot be cancelled: status is Cancelled");
        let update = client.send("PATCH", &format!("{path}/parse"), "{}").await.unwrap();
        refused(&update, 400, "task cannot be updated: status is Cancelled");

        assert_eq!(client.call("DELETE", &path).await.unwrap().code, 200);
        refused(&client.call("GET", &path).await.unwrap(), 404, "Task not found");
    }
}

#[tokio::test]
async fn an_update_is_reverted() {
    for service in Service::everywhere() {
        let server = service.server();
        let client = alice(&server);
        let before = succeeded(&service, &client).await;
        for prefix in PREFIXES {
            let path = format!("{prefix}/{}", before.id());
            let form = json!({ "chunk_processing": { "target_length": 1 }, "expires_in": 60 });
            let updated = client.send("PATCH", &format!("{path}/parse"), form.to_string()).await;
            let json = updated.unwrap().json();
            assert_eq!(
                (json["status"].as_str(), json["completed"].as_bool()),
                (Some("Starting"), Some(false))
            );
            assert_eq!(json["configuration"]["chunk_processing"]["target_length"], 1);
            assert_eq!((&json["output"], &json["finished_at"]), (&json!(null), &json!(null)));
            refused(
                &client.call("DELETE", &path).await.unwrap(),
                400,
                "task cannot be deleted: status is Starting",
            );

            assert_eq!(client.call("GET", &format!("{path}/cancel")).await.unwrap().code, 200);
            let after = client.call("GET", &format!("{path}/parse")).await.unwrap();
            assert_eq!(after.text, before.text);
            assert!(after.revision > before.revision, "an old number came back");
            refused(
                &client.call("GET", &format!("{path}/cancel")).await.unwrap(),
                400,
                "task cannot be cancelled: status is Succeeded",
            );
        }
    }
}

#[tokio::test]
async fn an_update_keeps_what_it_does_not_name() {
    let service = Service::new();
    let server = service.server();
    let client = alice(&server);
    let form = json!({
        "file": "data:,one two three", "ocr_strategy": "Auto",
        "chunk_processing": { "target_length": 2 },
        "segment_processing": { "Table": { "strategy": "LLM" }, "x": 0.1 },
    });
    let id = client.send("POST", "/tasks/parse", form.to_string()).await.unwrap().id();
    let worker = service.worker("0");
    until_status(&client, &id, "Succeeded").await;
    drop(worker);
    let path = format!("/tasks/{id}/parse");
    let json = client.send("PATCH", &path, r#"{"pipeline":"Azure"}"#).await.unwrap().json();
    let configuration = &json["configuration"];
    assert_eq!(configuration["ocr_strategy"], "Auto");
    assert_eq!(configuration["pipeline"], "Azure");
    assert_eq!(configuration["chunk_processing"]["target_length"], 2);
    assert_eq!(configuration["segment_processing"], form["segment_processing"]);
}

#[tokio::test]
async fn too_late_is_400() {
    let service = Service::new();
    let server = service.server();
    let client = alice(&server);
    let id = client.create("one two three", 2).await.unwrap().id();
    let _worker = service.worker("60000");
    until_status(&client, &id, "Processing").await;
    refused(
        &client.cancel(&id).await.unwrap(),
        400,
        "task cannot be cancelled: status is Processing",
    );
    refused(
        &client.update(&id, 1).await.unwrap(),
        400,
        "task cannot be updated: status is Processing",
    );
    refused(
        &client.delete(&id).await.unwrap(),
        400,
        "task cannot be deleted: status is Processing",
    );
}

#[tokio::test]
async fn a_failed_update_is_reverted_and_its_message_stays() {
    for service in Service::everywhere() {
        let server = service.server();
        let client = alice(&server);
        let before = succeeded(&service, &client).await;
        let id = before.id();
        let form = json!({ "chunk_processing": { "tokenizer": { "String": "no/such" } } });
        let path = format!("/tasks/{id}/parse");
        assert_eq!(client.send("PATCH", &path, form.to_string()).await.unwrap().code, 200);
        let _worker = service.worker("0");
        let after = until_status(&client, &id, "Succeeded").await;
        assert_eq!(after.text, before.text);

        let log = client.call("GET", &format!("/tasks/{id}/events")).await.unwrap().json();
        let last = log.as_array().unwrap().last().unwrap();
        assert_eq!(
            (last["operation"].as_str(), last["reverted"].as_bool()),
            (Some("fail"), Some(true))
        );
        assert_eq!(last["message"], "Tokenizer no/such cannot be loaded");
    }
}

#[tokio::test]
async fn a_new_task_that_fails_says_why() {
    let service = Service::new();
    let server = service.server();
    let client = alice(&server);
    let form = json!({ "file": "//79" }); // no UTF-8
    let id = client.send("POST", "/tasks/parse", form.to_string()).await.unwrap().id();
    let _worker = service.worker("0");
    let task = until_status(&client, &id, "Failed").await.json();
    assert_eq!(task["message"], "The file is not UTF-8 text");
    assert_eq!(task["completed"], true);
}

#[tokio::test]
async fn the_key_is_the_whole_header() {
    let service = Service::new();
    let server = service.server();
    let id = alice(&server).create("one", 1).await.unwrap().id();
    for key in ["", "wrong", "Bearer a", "a ,a", "A", "\u{e9}"] {
        let stranger = Client::new(&server.url, key);
        for answer in [
            stranger.cancel(&id).await,
            stranger.cancel("no-id").await,
            stranger.get(&id).await,
            stranger.update(&id, 1).await,
            stranger.delete(&id).await,
            stranger.create("one", 1).await,
            stranger.call("GET", "/tasks").await,
            stranger.call("GET", &format!("/tasks/{id}/events")).await,
            stranger.call("GET", &format!("/tasks/{id}/file")).await,
        ] {
            refused(&answer.unwrap(), 401, "Unauthorized");
        }
    }
    assert_eq!(alice(&server).get(&id).await.unwrap().status(), "Starting");
}

#[tokio::test]
async fn an_unknown_task_is_404() {
    let service = Service::new();
    let server = service.server();
    let client = alice(&server);
    let id = client.create("one", 1).await.unwrap().id();
    for name in [
        UNKNOWN,
        "no-id",
        "null",
        "%00",
        "%FF%FE",
        "%2F",
        "..%2f",
        "' OR 1=1 --",
        &id.to_uppercase(),
        &id.replace('-', ""),
        &format!("{id}%20"),
        &"x".repeat(10_000),
    ] {
        for answer in [
            client.cancel(name).await,
            client.get(name).await,
            client.update(name, 1).await,
            client.delete(name).await,
            client.call("GET", &format!("/tasks/{name}/events")).await,
            client.call("GET", &format!("/tasks/{name}/file")).await,
        ] {
            refused(&answer.unwrap(), 404, "Task not found");
        }
    }
    assert_eq!(client.get(&id).await.unwrap().status(), "Starting");
}

/// Only a completed task expires, counted from its end; a revert counts as an end.
#[tokio::test]
async fn an_expired_task_is_404() {
    for service in Service::everywhere() {
        let server = service.server();
        let client = alice(&server);
        let sleep = || tokio::time::sleep(Duration::from_millis(1100));
        let create = async |seconds: u32| {
            let form = json!({ "file": "data:,one", "expires_in": seconds });
            let created = client.send("POST", "/tasks/parse", form.to_string()).await.unwrap();
            assert_eq!(created.json()["expires_at"], json!(null));
            created.id()
        };
        let (short, long, cancelled) = (create(1).await, create(60).await, create(1).await);
        sleep().await;
        assert_eq!(client.get(&short).await.unwrap().status(), "Starting");
        assert_eq!(client.cancel(&cancelled).await.unwrap().code, 200);
        assert_eq!(client.get(&cancelled).await.unwrap().status(), "Cancelled");
        let worker = service.worker("0");
        until_status(&client, &short, "Succeeded").await;
        until_status(&client, &long, "Succeeded").await;
        drop(worker);
        let expires_at =
            async |id: &str| client.get(id).await.unwrap().json()["expires_at"].clone();
        let before = expires_at(&long).await;
        assert!(before.is_string());

        // An update with a short `expires_in`, which is cancelled.
        let path = format!("/tasks/{long}/parse");
        let update = client.send("PATCH", &path, r#"{"expires_in":1}"#).await.unwrap();
        assert_eq!(update.json()["expires_at"], json!(null));
        sleep().await;
        assert_eq!(client.cancel(&long).await.unwrap().code, 200);
        let after = expires_at(&long).await;
        assert!(after.as_str() > before.as_str(), "{before}, {after}");
        // Not so an edit.
        let (store, _) = beside(&service, Duration::ZERO).await;
        let key = Key { user: "alice".to_owned(), id: long.parse().unwrap() };
        label(&store, &key).await;
        assert_eq!(expires_at(&long).await, after);

        for gone in [&short, &cancelled] {
            for answer in [
                client.get(gone).await,
                client.cancel(gone).await,
                client.update(gone, 1).await,
                client.delete(gone).await,
                client.call("GET", &format!("/tasks/{gone}/events")).await,
                client.call("GET", &format!("/tasks/{gone}/file")).await,
            ] {
                refused(&answer.unwrap(), 404, "Task not found");
            }
        }
        let list = client.call("GET", "/tasks").await.unwrap().json();
        let listed: Vec<_> = list["tasks"].as_array().unwrap().iter().collect();
        assert_eq!(listed.len(), 1, "{list}");
        assert_eq!(listed[0]["task_id"], json!(long));
        sleep().await;
        assert_eq!(client.get(&long).await.unwrap().status(), "Succeeded");
    }
}

#[tokio::test]
async fn the_file_is_as_it_was_uploaded() {
    for service in Service::everywhere() {
        let server = service.server();
        let client = alice(&server);
        for (file, content) in [
            ("b25lIHR3bw==", "one two"),
            ("b25l\r\nIHR3bw", "one two"),
            ("data:text/plain;base64,b25lIHR3bw==", "one two"),
            ("data:text/plain;charset=utf-8,one%20two", "one two"),
            ("data:,%C3%A9", "é"),
        ] {
            let form = json!({ "file": file, "file_name": "a.txt" });
            let task = client.send("POST", "/tasks/parse", form.to_string()).await.unwrap().json();
            assert_eq!(task["file_info"]["name"], "a.txt");
            let url = task["file_info"]["url"].as_str().unwrap().replace(&server.url, "");
            assert_eq!(client.call("GET", &url).await.unwrap().text, content, "{file}");
        }
    }
}
