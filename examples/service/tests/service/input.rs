//! Bad input on every route gets a clear refusal, and nothing is written.

use std::io::Write;

use serde_json::{Value, json};

use crate::testing::client::Client;
use crate::testing::process::Process;
use crate::{Service, alice, said, succeeded};

/// All tasks of a user, and their logs.
async fn everything(client: &Client) -> Vec<Value> {
    let tasks = client.call("GET", "/tasks?include_chunks=true").await.unwrap().json();
    let mut everything = vec![tasks.clone()];
    for task in tasks["tasks"].as_array().unwrap() {
        let path = format!("/tasks/{}/events", task["task_id"].as_str().unwrap());
        everything.push(client.call("GET", &path).await.unwrap().json());
    }
    everything
}

/// A value nested so deep; a form adds three levels.
fn nested(open: &str, close: &str, depth: usize) -> String {
    format!("{}1{}", open.repeat(depth), close.repeat(depth))
}

/// A string that is parsed as JSON, with a string in it that is parsed as JSON, and so on.
fn raw_values(times: usize) -> String {
    (0..times).fold("1".to_owned(), |inner, _| {
        let text = serde_json::to_string(&nested("[", "]", 40).replace('1', &inner)).unwrap();
        format!(r#"{{"$serde_json::private::RawValue":{text}}}"#)
    })
}

fn in_form(value: &str) -> String {
    format!(r#"{{"file":"data:,a","segment_processing":{{"a":{{"b":{value}}}}}}}"#)
}

/// A body nested as deep as allowed is stored and can be read by everybody.
#[tokio::test]
async fn a_deep_body_is_read_again() {
    for service in Service::everywhere() {
        let server = service.server();
        let client = alice(&server);
        for deep in [nested("[", "]", 61), nested(r#"{"a":"#, "}", 61)] {
            let created = client.send("POST", "/tasks/parse", in_form(&deep)).await.unwrap();
            assert_eq!(created.code, 200, "{created:?}");
            let _worker = service.worker("0");
            let done = crate::until_status(&client, &created.id(), "Succeeded").await.json();
            let kept = &done["configuration"]["segment_processing"]["a"]["b"];
            assert_eq!(kept.to_string(), deep);
        }
        let list = client.call("GET", "/tasks").await.unwrap().json();
        assert_eq!((list["tasks"].as_array().unwrap().len(), &list["unreadable"]), (2, &json!([])));
    }
}

/// Only what is nested counts as deep: not what stands side by side, and not what stands in a string.
#[tokio::test]
async fn a_flat_body_is_accepted() {
    let service = Service::new();
    let server = service.server();
    let client = alice(&server);
    for flat in [format!("[{}1]", "[],{},".repeat(100)), json!("\"[{\\".repeat(100)).to_string()] {
        let created = client.send("POST", "/tasks/parse", in_form(&flat)).await.unwrap();
        assert_eq!(created.code, 200, "{created:?}");
        assert_eq!(
            created.json()["configuration"]["segment_processing"]["a"]["b"].to_string(),
            flat
        );
    }
}

/// Numbers come back with every digit, and strings of digits stay strings.
#[tokio::test]
async fn a_number_comes_back_as_it_was_sent() {
    for service in Service::everywhere() {
        let server = service.server();
        let client = alice(&server);
        let _worker = service.worker("0");
        let numbers = "[18446744073709551616,-9223372036854775809,0.1000,1e+400,-0,1.0,5e+3,\
                       3.141592653589793238462643383279,\"18446744073709551616\"]";
        let created = client.send("POST", "/tasks/parse", in_form(numbers)).await.unwrap();
        let id = created.id();
        let done = crate::until_status(&client, &id, "Succeeded").await;
        let updated = client.update(&id, 1).await.unwrap();
        for answer in [created, done, updated, client.call("GET", "/tasks").await.unwrap()] {
            assert!(answer.text.contains(numbers), "{answer:?}");
        }
    }
}

/// What a request may hold besides its file is limited, because parsed it takes much more memory.
#[tokio::test]
async fn a_configuration_of_a_megabyte_is_refused() {
    let service = Service::new();
    let server = service.server();
    let client = alice(&server);
    let id = succeeded(&service, &client).await.id();
    let form = in_form(&format!("[{}0]", "0,".repeat(1 << 18)));
    for (method, path) in [("POST", "/tasks/parse"), ("PATCH", &format!("/tasks/{id}/parse"))] {
        let answer = client.send(method, path, form.clone()).await.unwrap();
        crate::refused(&answer, 413, "more than 262144 bytes besides the file");
    }
}

/// A file counts as it stands in the body, however many of its characters are escaped.
#[tokio::test]
async fn an_escaped_file_is_accepted() {
    let service = Service::new();
    let server = service.server();
    let client = alice(&server);
    for (escaped, plain) in
        [("\\u0061", "a"), ("YWFh\\r\\n", "aaa"), ("\\/\\/\\/\\/", "\u{fffd}\u{fffd}\u{fffd}")]
    {
        let begin = if plain == "a" { "data:," } else { "" };
        let form = format!(r#"{{"file":"{begin}{}"}}"#, escaped.repeat(100_000));
        let created = client.send("POST", "/tasks/parse", form).await.unwrap();
        assert_eq!(created.code, 200, "{created:?}");
        let path = format!("/tasks/{}/file", created.id());
        assert_eq!(client.call("GET", &path).await.unwrap().text, plain.repeat(100_000));
    }
}

/// Bodies that are refused where a form is expected, each with the status codes that are right.
fn bad_forms() -> Vec<(Vec<u8>, &'static [u16])> {
    let mut bad: Vec<(Vec<u8>, &'static [u16])> = vec![
        (b"".into(), &[400]),
        (b"{".into(), &[400]),
        (b"{\"file\":\"\xff\"}".into(), &[400]),
        (br#"{"file":"data:,a","segment_processing":{"a":"\ud800"}}"#.into(), &[400]),
        (b"{\"file\":\"data:,a\"}}".into(), &[400]),
        (b"\0".into(), &[400]),
        ("[".repeat(100_000).into(), &[400, 422]),
        (vec![b' '; task_service::server::LARGEST_BODY as usize + 1], &[413]),
    ];
    for nested in [nested("[", "]", 62), nested(r#"{"a":"#, "}", 62), raw_values(10)] {
        bad.push((in_form(&nested).into(), &[400]));
    }
    for key in ["$serde_json::private::RawValue", "$serde_json::private::Number"] {
        for key in [key.to_owned(), key.replace('$', "\\u0024")] {
            bad.push((in_form(&format!(r#"{{"{key}":"1"}}"#)).into(), &[400]));
        }
    }
    for wrong in [json!(null), json!(7), json!("text"), json!(["data:,a"])] {
        bad.push((wrong.to_string().into(), &[400, 422]));
    }
    bad.push((
        json!([{}, null, null, null, null, null, null, null, null]).to_string().into(),
        &[400, 422],
    ));
    for (field, values) in [
        (
            "chunk_processing",
            json!([7, "text", [], { "target_length": -1 }, { "target_length": 1.5 },
            { "target_length": "2" }, { "target_length": 4_294_967_296_u64 }, { "target_length": null },
            { "tokenizer": "Word" }, { "tokenizer": { "Enum": "word" } }, { "tokenizer": {} }]),
        ),
        ("expires_in", json!([-1, 0.5, "1", true, 4_294_967_296_u64])),
        ("high_resolution", json!([1, "true"])),
        ("error_handling", json!(["fail", 1, {}])),
        ("ocr_strategy", json!(["Sometimes", false])),
        ("pipeline", json!(["AZURE"])),
        ("segmentation_strategy", json!(["Word"])),
        ("segment_processing", json!([[], 1, "Table"])),
        ("llm_processing", json!([[], 1])),
    ] {
        for value in values.as_array().unwrap() {
            bad.push((json!({ "file": "data:,a", field: value }).to_string().into(), &[400, 422]));
        }
    }
    bad
}

#[tokio::test]
async fn a_bad_body_is_refused_and_nothing_is_written() {
    for service in Service::everywhere() {
        let server = service.server();
        let client = alice(&server);
        let id = succeeded(&service, &client).await.id();
        let before = everything(&client).await;
        let mut bad: Vec<_> = bad_forms()
            .into_iter()
            .flat_map(|(body, codes)| {
                let update = format!("/tasks/{id}/parse");
                [
                    ("POST", "/tasks/parse".to_owned(), body.clone(), codes),
                    ("PATCH", update, body, codes),
                ]
            })
            .collect();
        for file in [
            json!(null),
            json!(7),
            json!(""),
            json!("data:,"),
            json!("data:"),
            json!("%"),
            json!("a"),
            json!("data:text/plain;base64,%"),
            json!("https://example.org/a"),
            json!("ch://files/1"),
            json!("file:///etc/passwd"),
            json!("\0"),
        ] {
            bad.push((
                "POST",
                "/tasks/parse".to_owned(),
                json!({ "file": file }).to_string().into(),
                &[400, 422],
            ));
        }
        bad.push(("POST", "/tasks/parse".to_owned(), b"{}".into(), &[422]));
        bad.push((
            "POST",
            "/tasks/parse".to_owned(),
            br#"{"file":"data:,a","file_name":7}"#.into(),
            &[422],
        ));

        for (method, path, body, codes) in bad {
            let shown = String::from_utf8_lossy(&body[..body.len().min(80)]).into_owned();
            let answer = client.send(method, &path, body).await.unwrap();
            assert!(codes.contains(&answer.code), "{method} {shown}: {answer:?}");
            assert!(answer.content_type.starts_with("text/plain"), "{method} {shown}: {answer:?}");
            assert!(!answer.text.is_empty(), "{method} {shown}");
        }
        assert_eq!(everything(&client).await, before);
    }
}

#[tokio::test]
async fn a_bad_query_is_refused() {
    for service in Service::everywhere() {
        let server = service.server();
        let client = alice(&server);
        let id = client.create("one", 1).await.unwrap().id();
        for query in [
            "limit=0",
            "limit=1001",
            "limit=-1",
            "limit=x",
            "limit=99999999999",
            "sort=up",
            "cursor=x",
            "cursor=2025-13-01T00:00:00Z",
            "start=1",
            "end=%00",
            "statuses=starting",
            "statuses=",
            "statuses=Starting,,Failed",
            "statuses=%27%20OR%201=1",
            "include_chunks=maybe",
            "limit=1&limit=2",
        ] {
            let answer = client.call("GET", &format!("/tasks?{query}")).await.unwrap();
            assert_eq!(answer.code, 400, "{query}: {answer:?}");
            assert!(answer.content_type.starts_with("text/plain"), "{query}: {answer:?}");
        }
        for query in ["include_chunks=maybe", "include_chunks=true&include_chunks=true"] {
            let answer = client.call("GET", &format!("/tasks/{id}?{query}")).await.unwrap();
            assert_eq!(answer.code, 400, "{query}: {answer:?}");
        }
        for query in [
            "limit=1000",
            "cursor=%2B262142-12-31T23:59:59Z",
            "cursor=-262143-01-01T00:00:00Z&sort=asc",
        ] {
            let answer = client.call("GET", &format!("/tasks?{query}")).await.unwrap();
            assert_eq!(answer.code, 200, "{query}: {answer:?}");
        }
    }
}

#[tokio::test]
async fn a_wrong_method_or_path_is_refused() {
    let service = Service::new();
    let server = service.server();
    let client = alice(&server);
    let id = client.create("one", 1).await.unwrap().id();
    for (method, path, code) in [
        ("POST", format!("/tasks/{id}/cancel"), 405),
        ("DELETE", format!("/tasks/{id}/cancel"), 405),
        ("PUT", format!("/tasks/{id}"), 405),
        ("TRACE", "/tasks".to_owned(), 405),
        ("GET", "/tasks/parse".to_owned(), 405),
        ("GET", "/".to_owned(), 404),
        ("GET", format!("/tasks/{id}/"), 404),
        ("GET", format!("/tasks/{id}/cancel/"), 404),
        ("GET", "/tasks//cancel".to_owned(), 404),
        ("GET", "/v1/tasks".to_owned(), 404),
    ] {
        let answer = client.call(method, &path).await.unwrap();
        assert_eq!(answer.code, code, "{method} {path}: {answer:?}");
        assert!(!answer.text.is_empty(), "{method} {path}");
        assert!(answer.content_type.starts_with("text/plain"), "{method} {path}: {answer:?}");
    }
    assert_eq!(client.get(&id).await.unwrap().status(), "Starting");
}

/// Sends raw bytes and returns the first line of the answer.
fn raw(server: &Process, request: &[u8]) -> String {
    let mut stream = server.connect().unwrap();
    _ = stream.write_all(request);
    said(stream).lines().next().unwrap_or_default().to_owned()
}

#[test]
fn an_id_of_a_megabyte_is_refused() {
    let service = Service::new();
    let server = service.server();
    for length in [65_000, 70_000, 1 << 20, 2 << 20] {
        let id = "x".repeat(length);
        let request = format!(
            "GET /tasks/{id}/cancel HTTP/1.1\r\nHost: h\r\nAuthorization: a\r\nConnection: close\r\n\r\n"
        );
        let answer = raw(&server, request.as_bytes());
        let expected = match length {
            0..65_535 => "HTTP/1.1 404 Not Found",
            65_535..131_000 => "HTTP/1.1 414 URI Too Long",
            _ => "HTTP/1.1 431 Request Header Fields Too Large",
        };
        assert_eq!(answer, expected, "{length}");
    }
}

#[test]
fn what_is_no_http_is_refused() {
    let service = Service::new();
    let server = service.server();
    for request in [
        &b"\0\0\0\0\r\n\r\n"[..],
        b"GET /tasks HTTP/1.1\r\nConnection: close\r\n\r\n",
        b"GET /tasks HTTP/1.1\r\nHost: h\r\nAuthorization: \0\r\nConnection: close\r\n\r\n",
        b"GET /tasks/\xff HTTP/1.1\r\nHost: h\r\nAuthorization: a\r\nConnection: close\r\n\r\n",
        b"POST /tasks/parse HTTP/1.1\r\nHost: h\r\nAuthorization: a\r\nContent-Length: -1\r\nConnection: close\r\n\r\n",
    ] {
        let answer = raw(&server, request);
        assert!(answer.starts_with("HTTP/1.1 4"), "{}: {answer}", request.escape_ascii());
    }
}
