//! Each route's answers. Of *Cancel Task* these are 200, 400, 401, 404 and 500, in plain text; 405,
//! 412 and 503 are the service's own.

use super::*;

everywhere! {
    cancel_of_a_new_task_and_of_an_update cancel_answers_what_is_listed head_cancelled masked_not_found
    stale_click_cancelled_the_next update_answered_the_old_task nested_one_deeper every_route
}

async fn cancel_of_a_new_task_and_of_an_update(service: Service) {
    let key = service.create("one").await;
    let answer = service.cancel(&key).await;
    assert_eq!((answer.code, &*answer.text, &*answer.etag), (200, "", "\"1\""));
    let shown = service.show(&key).await.json;
    assert!(shown["status"] == "Cancelled" && shown["completed"] == true);
    assert!(shown["message"] == "Task cancelled" && shown["finished_at"].is_string());
    service.cancel(&key).await.refuses(400, "task cannot be cancelled: status is Cancelled");
    let refused = service.update(&key, &json!({})).await;
    refused.refuses(400, "task cannot be updated: status is Cancelled");

    let key = service.succeeded().await;
    let before = service.show(&key).await.json;
    service.update(&key, &json!({ "words": "new" })).await;
    let waiting = service.show(&key).await.json;
    assert!(waiting["status"] == "Starting" && waiting["configuration"]["words"] == "new");
    assert_eq!(service.cancel(&key).await.code, 200);
    assert_eq!(service.show(&key).await.json, before);
    for refused in [service.cancel(&key).await, service.ask(&key, "stop").await] {
        refused.refuses(400, "task cannot be cancelled: status is Succeeded");
    }

    let (key, _) = service.started(&service.worker("one")).await;
    service.cancel(&key).await.refuses(400, "task cannot be cancelled: status is Processing");
}

/// Whatever is sent, the answer is one of those that are listed.
async fn cancel_answers_what_is_listed(service: Service) {
    let key = service.create("one").await;
    let missing = "00000000-0000-4000-8000-000000000000";
    let hostile = "%00 %FF ..%2F a/b ? %27%20OR%201=1 ";
    let long = "x".repeat(9000);
    for id in hostile.split(' ').chain([&*key.id, missing, &long]) {
        for method in ["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS"] {
            let senders = [("a", Some("\"7\"")), ("a", Some("é")), ("b", None), ("é", None)];
            for (user, tag) in senders {
                let path = format!("/tasks/{id}/cancel");
                let answer = service.request([user, method, &path, "{"], tag).await;
                let is_listed = [400, 401, 404, 405, 412].contains(&answer.code);
                assert!(is_listed, "{method} {path} {user} {tag:?}: {answer:?}");
            }
        }
    }
    let path = format!("/tasks/{}/cancel", key.id);
    service.send("wrong", "GET", &path, "").await.refuses(401, "Unauthorized");
    assert_eq!(service.status(&key).await, "Starting");
}

/// A database that cannot be read is no missing task.
async fn masked_not_found(service: Service) {
    let key = service.create("one").await;
    service.show(&alices("no-such-task")).await.refuses(404, "Task not found");
    service.sql("DROP VIEW overdue; DROP VIEW loads; DROP TABLE tasks CASCADE").await.err();
    service.sql("DROP VIEW IF EXISTS due; DROP TABLE IF EXISTS tasks").await.err();
    assert!([500, 503].contains(&service.cancel(&key).await.code));
    assert_eq!(service.get("/health").await.code, 503);
}

async fn every_route(service: Service) {
    for one in ["/tasks", "/task", "/api/v1/tasks", "/api/v1/task"] {
        let body = json!({ "file": "b25lIHR3bw==", "file_name": "a.txt" }).to_string();
        let created = service.send("a", "POST", &format!("{one}/parse"), &body).await;
        assert_eq!((created.code, &*created.etag), (200, "\"0\""));
        assert_eq!(created.json["file_info"]["name"], "a.txt");
        assert!(created.json["task_url"].as_str().unwrap().starts_with("https://127.0.0.1:"));
        service.work().await;
        let id = created.json["task_id"].as_str().unwrap();
        let at = |rest: &str| format!("{one}/{id}{rest}");
        assert_eq!(service.get(&at("")).await.json["output"]["chunks"][0]["content"], "one two");
        let short = service.get(&at("?include_chunks=false")).await;
        assert_eq!(short.json["output"]["chunks"], json!([]));
        let updated = service.send("a", "PATCH", &at("/parse"), "{}").await;
        assert_eq!(updated.json["status"], "Starting");
        assert_eq!(service.send("a", "POST", &at("/stop"), "").await.code, 200);
        assert_eq!(service.get(&at("/cancel")).await.code, 400);
        assert_eq!(service.send("a", "DELETE", &at(""), "").await.code, 200);
        let cancelled = &service.get(&at("/log")).await.json[4];
        assert_eq!(cancelled["operations"], "cancel");
        assert_eq!(cancelled["changed_by"], "request one");
        assert_eq!(service.get(&at("")).await.code, 404);
    }
    assert_eq!(service.get("/health").await.text, "OK");
    let unusable = r#" { {} [] {"file":7} {"file":""} {"file":"https://example.org/"}"#;
    for body in unusable.split(' ') {
        let answer = service.send("a", "POST", "/tasks/parse", body).await;
        assert!(answer.code == 400 && answer.content_type.starts_with("text/plain"), "{body}");
    }
    let large = format!(r#"{{"file":"data:,{}"}}"#, "x".repeat(3 << 20));
    assert_eq!(service.send("a", "POST", "/tasks/parse", &large).await.code, 413);
}

async fn head_cancelled(service: Service) {
    let key = service.create("one").await;
    for method in ["HEAD", "POST"] {
        let path = format!("/tasks/{}/cancel", key.id);
        assert_eq!(service.send("a", method, &path, "").await.code, 405);
    }
    assert_eq!(service.send("a", "HEAD", &format!("/tasks/{}", key.id), "").await.code, 200);
    assert_eq!(service.status(&key).await, "Starting");
}

/// `If-Match` is compared as an entity tag, not as a number.
async fn stale_click_cancelled_the_next(service: Service) {
    let key = service.create("one").await;
    service.label(&key).await;
    let path = format!("/tasks/{}", key.id);
    let [cancel, stop] = ["cancel", "stop"].map(|word| format!("{path}/{word}"));
    for tag in ["\"0\"", "\"+1\"", "\"01\"", "1", "W/\"1\"", "\"1", "\" 1\"", "\"2\"", "", "é"] {
        for (method, path) in [("GET", &cancel), ("POST", &stop), ("DELETE", &path)] {
            let refused = service.request(["a", method, path, ""], Some(tag)).await;
            refused.refuses(412, "If-Match: the task is at \"1\"");
        }
    }
    let answer = service.request(["a", "GET", &cancel, ""], Some("\"0\", \"1\"")).await;
    assert_eq!((answer.code, &*answer.etag), (200, "\"2\""));
    assert_eq!(service.request(["a", "DELETE", &path, ""], Some("*")).await.code, 200);
}

async fn update_answered_the_old_task(service: Service) {
    let key = service.succeeded().await;
    let settings = json!({ "chunk_processing": { "target_length": 0 }, "ocr_strategy": null });
    let answer = service.update(&key, &settings).await;
    assert_eq!(answer.json, service.show(&key).await.json);
    assert_eq!(answer.json["configuration"]["chunk_processing"]["target_length"], 0);
    assert!(answer.json["configuration"].get("ocr_strategy").is_none());
    assert!(answer.json["status"] == "Starting" && answer.json["output"].is_null());
    assert_eq!(answer.etag, service.show(&key).await.etag);
    service.work().await;
    assert_eq!(service.show(&key).await.json["output"]["chunks"][2]["content"], "three");
}

/// A body that is nested as deep as it may be is stored, and can be read again.
async fn nested_one_deeper(service: Service) {
    let mut accepted = 0;
    for depth in 120..130 {
        let nested = format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        let body = format!(r#"{{"file":"b25l","llm_processing":{nested}}}"#);
        let answer = service.send("a", "POST", "/tasks/parse", &body).await;
        if answer.code == 200 {
            accepted += 1;
            let key = alices(answer.json["task_id"].as_str().unwrap());
            service.work().await;
            assert_eq!(service.update(&key, &json!({})).await.code, 200);
            assert_eq!(service.cancel(&key).await.code, 200);
            assert_eq!(service.show(&key).await.json["status"], "Succeeded");
        } else {
            assert_eq!(answer.code, 400, "{answer:?}");
        }
    }
    assert!((1..10).contains(&accepted));
}
