//! Each route's answers. Of *Cancel Task* these are 200, 400, 401, 404 and 500, in plain text; 405,
//! 412 and 503 are the service's own.

use serde_json::{Value, json};

use crate::{Service, alices, handle};

/// The answers that the public page of *Cancel Task* lists, and those that are added here.
const LISTED: [u16; 8] = [200, 400, 401, 404, 405, 412, 500, 503];

#[tokio::test]
async fn cancel_of_a_new_task_and_of_an_update() {
    for service in Service::everywhere().await {
        let key = service.create("one").await;
        let answer = service.cancel(&key).await;
        assert_eq!((answer.code, &*answer.text, &*answer.etag), (200, "", "\"1\""));
        let shown = service.show(&key).await.json;
        assert_eq!((&shown["status"], &shown["completed"]), (&json!("Cancelled"), &json!(true)));
        assert_eq!(shown["message"], "Task cancelled");
        assert!(shown["finished_at"].is_string());
        let refused = service.cancel(&key).await;
        refused.refuses(400, "task cannot be cancelled: status is Cancelled");
        let refused = service.update(&key, &json!({})).await;
        refused.refuses(400, "task cannot be updated: status is Cancelled");

        let key = service.succeeded().await;
        let before = service.show(&key).await.json;
        assert_eq!(service.update(&key, &json!({ "words": "new" })).await.code, 200);
        let waiting = service.show(&key).await.json;
        assert_eq!(waiting["status"], "Starting");
        assert_eq!(waiting["configuration"]["words"], "new");
        assert_eq!(service.cancel(&key).await.code, 200);
        assert_eq!(service.show(&key).await.json, before);
        service.cancel(&key).await.refuses(400, "task cannot be cancelled: status is Succeeded");

        let worker = service.worker("one");
        let (key, run) = service.started(&worker).await;
        service.cancel(&key).await.refuses(400, "task cannot be cancelled: status is Processing");
        service.show(&alices("no-such-task")).await.refuses(404, "Task not found");
        worker.finish(&key, run, Ok(&[])).await.unwrap();
        let deleted = service.send("a", "DELETE", &format!("/tasks/{}", key.id), "").await;
        assert_eq!((deleted.code, &*deleted.text), (200, ""));
        service.cancel(&key).await.refuses(404, "Task not found");
        assert_eq!(service.operations(&key).await.last().unwrap(), "delete");
    }
}

#[tokio::test]
async fn cancel_answers_what_is_listed() {
    for service in Service::everywhere().await {
        let key = service.create("one").await;
        let missing = "00000000-0000-4000-8000-000000000000";
        let long = "x".repeat(9000);
        let ids =
            [&key.id, missing, "", "%00", "%FF", "..%2F", "a/b", "?", "%27%20OR%201=1", &long];
        for id in ids {
            for method in ["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS"] {
                for user in ["a", "b", "", "try-me", "\u{e9}"] {
                    for tag in ["", "\"7\"", "W/\"0\"", "x\u{e9}"] {
                        let path = format!("/tasks/{id}/cancel");
                        let headers = if tag.is_empty() { vec![] } else { vec![("If-Match", tag)] };
                        if method == "GET" && user == "a" && tag.is_empty() && *id == *key.id {
                            continue;
                        }
                        let answer = service.request(user, method, &path, "{", &headers).await;
                        assert!(LISTED.contains(&answer.code), "{method} {path}: {answer:?}");
                        assert_ne!(answer.code, 200, "{method} {path} {user} {tag}");
                        assert_ne!(answer.code, 500, "{method} {path} {user} {tag}");
                    }
                }
            }
        }
        let refused = service.send("wrong", "GET", &format!("/tasks/{}/cancel", key.id), "").await;
        refused.refuses(401, "Unauthorized");
        assert_eq!(service.status(&key).await, "Starting");

        // A database that cannot be read is no missing task.
        service.sql("ALTER TABLE tasks RENAME TO elsewhere").await.unwrap();
        let refused = service.cancel(&key).await;
        assert!([500, 503].contains(&refused.code), "{refused:?}");
        assert_eq!(service.get("/health").await.code, 503);
    }
}

#[tokio::test]
async fn every_route_has_its_older_name() {
    let service = Service::on(None).await;
    for (create, one) in [
        ("/tasks/parse", "/tasks"),
        ("/task/parse", "/task"),
        ("/api/v1/tasks/parse", "/api/v1/tasks"),
        ("/api/v1/task/parse", "/api/v1/task"),
    ] {
        let body = json!({ "file": "b25lIHR3bw==", "file_name": "a.txt" }).to_string();
        let created = service.send("a", "POST", create, &body).await;
        let key = alices(created.json["task_id"].as_str().unwrap());
        assert_eq!((created.code, &*created.etag), (200, "\"0\""));
        assert_eq!(created.json["file_info"]["name"], "a.txt");
        handle(&service.worker("one"), &service.receive().await).await;
        let at = |rest: &str| format!("{one}/{}{rest}", key.id);
        assert_eq!(service.get(&at("")).await.json["output"]["chunks"][0]["content"], "one two");
        let short = service.get(&at("?include_chunks=false")).await;
        assert_eq!(short.json["output"]["chunks"], json!([]));
        assert_eq!(
            service.send("a", "PATCH", &at("/parse"), "{}").await.json["status"],
            "Starting"
        );
        assert_eq!(service.send("a", "POST", &at("/stop"), "").await.code, 200);
        assert_eq!(service.get(&at("/cancel")).await.code, 400);
        assert_eq!(service.get(&at("/log")).await.json.as_array().unwrap().len(), 5);
        assert_eq!(service.send("a", "DELETE", &at(""), "").await.code, 200);
    }
    assert_eq!(service.get("/health").await.text, "OK");
    assert_eq!(service.get("/tasks").await.json["tasks"], json!([]));
}

#[tokio::test]
async fn head_cancelled() {
    for service in Service::everywhere().await {
        let key = service.create("one").await;
        for method in ["HEAD", "POST"] {
            let path = format!("/tasks/{}/cancel", key.id);
            assert_eq!(service.send("a", method, &path, "").await.code, 405);
        }
        assert_eq!(service.send("a", "HEAD", &format!("/tasks/{}", key.id), "").await.code, 200);
        assert_eq!(service.status(&key).await, "Starting");
    }
}

/// `If-Match` is compared as an entity tag, not as a number.
#[tokio::test]
async fn stale_click_cancelled_the_next() {
    for service in Service::everywhere().await {
        let key = service.create("one").await;
        service.label(&key, "third in line").await;
        let path = format!("/tasks/{}", key.id);
        for tag in ["\"0\"", "\"+1\"", "\"01\"", "1", "W/\"1\"", "\"1", "\" 1\"", "\"2\"", "", "é"]
        {
            for (method, path) in
                [("GET", format!("{path}/cancel")), ("POST", format!("{path}/stop"))]
            {
                let refused = service.request("a", method, &path, "", &[("If-Match", tag)]).await;
                refused.refuses(412, "If-Match: the task is at \"1\"");
            }
        }
        assert_eq!(service.status(&key).await, "Starting");
        let tags = [("If-Match", "\"0\", \"1\"")];
        assert_eq!(
            service.request("a", "GET", &format!("{path}/cancel"), "", &tags).await.code,
            200
        );
        let stale = service.request("a", "DELETE", &path, "", &[("If-Match", "\"1\"")]).await;
        stale.refuses(412, "If-Match: the task is at \"2\"");
        assert_eq!(service.request("a", "DELETE", &path, "", &[("If-Match", "*")]).await.code, 200);
    }
}

#[tokio::test]
async fn update_answered_the_old_task() {
    for service in Service::everywhere().await {
        let key = service.succeeded().await;
        let settings = json!({ "chunk_processing": { "target_length": 1 }, "ocr_strategy": null });
        let answer = service.update(&key, &settings).await;
        assert_eq!(answer.json, service.show(&key).await.json);
        assert_eq!(answer.json["configuration"]["chunk_processing"]["target_length"], 1);
        assert_eq!(
            (&answer.json["status"], &answer.json["output"]),
            (&json!("Starting"), &Value::Null)
        );
        assert_eq!(answer.etag, service.show(&key).await.etag);
    }
}

/// A body that is nested as deep as it may be is stored, and can be read again.
#[tokio::test]
async fn nested_one_deeper() {
    for service in Service::everywhere().await {
        let mut accepted = 0;
        for depth in 110..130 {
            let nested = format!("{}{}", "[".repeat(depth), "]".repeat(depth));
            let body = format!(r#"{{"file":"b25l","llm_processing":{nested}}}"#);
            let answer = service.send("a", "POST", "/tasks/parse", &body).await;
            if answer.code == 200 {
                accepted += 1;
                let key = alices(answer.json["task_id"].as_str().unwrap());
                handle(&service.worker("one"), &service.receive().await).await;
                assert_eq!(service.update(&key, &json!({})).await.code, 200);
                assert_eq!(service.show(&key).await.code, 200);
                assert_eq!(service.cancel(&key).await.code, 200);
                assert_eq!(service.status(&key).await, "Succeeded");
            } else {
                assert_eq!(answer.code, 400, "{answer:?}");
            }
        }
        assert!((1..20).contains(&accepted));
    }
}

#[tokio::test]
async fn bodies_that_are_refused() {
    let service = Service::on(None).await;
    for (code, body) in [
        (400, ""),
        (400, "{"),
        (422, "{}"),
        (422, "[]"),
        (422, r#"{"file":7}"#),
        (400, r#"{"file":""}"#),
        (400, r#"{"file":"https://example.org/a.pdf"}"#),
        (400, r#"{"file":"data:"}"#),
    ] {
        let answer = service.send("a", "POST", "/tasks/parse", body).await;
        assert_eq!(answer.code, code, "{body}: {answer:?}");
        assert!(answer.content_type.starts_with("text/plain"), "{answer:?}");
    }
    let large = format!(r#"{{"file":"data:,{}"}}"#, "x".repeat(3 << 20));
    assert_eq!(service.send("a", "POST", "/tasks/parse", &large).await.code, 413);
    assert_eq!(service.get("/tasks").await.json["tasks"], json!([]));
}
