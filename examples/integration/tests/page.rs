//! The page is made of the code, and the code does what the page says.

use std::fmt::Write;

use axum::http::{HeaderMap, HeaderValue, header};
use task_integration::{http, migrate::*, queue, schema};
use task_lifecycle::{Run, Status, Task};

/// `UPDATE_EXPECT=1 cargo test -p task-integration` writes the code into the page.
#[test]
fn the_page_shows_this_code() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../src/documentation/integration.md");
    let page = std::fs::read_to_string(path).unwrap();
    let mut made = String::new();
    for (place, part) in page.split("\n<!-- src/").enumerate() {
        let Some((name, rest)) = part.split_once(" -->\n") else {
            made.push_str(part);
            continue;
        };
        assert!(place > 0, "a page begins with words");
        let file = format!("{}/src/{name}", env!("CARGO_MANIFEST_DIR"));
        let code = std::fs::read_to_string(file).unwrap();
        let (_, words) = rest.split_once("<!-- / -->").unwrap();
        write!(made, "\n<!-- src/{name} -->\n```Rust\n{code}```\n<!-- / -->{words}").unwrap();
    }
    expect_test::expect_file![path].assert_eq(&made);
}

#[test]
fn schemas_list_every_status() {
    let words = Status::ALL.iter().map(|status| status.as_str()).collect::<Vec<_>>();
    let schema = serde_json::to_value(schemars::schema_for!(schema::StatusWord)).unwrap();
    assert_eq!(schema["enum"], serde_json::json!(words));
    let answer = serde_json::to_value(schema::Answer::from(&Task::new(()))).unwrap();
    assert_eq!(answer["status"], "Starting");
}

#[test]
fn entity_tags_are_compared_as_text() {
    let mut task = Task::new(());
    task.edit(|()| ());
    for (tag, fits) in
        [("\"1\"", true), ("*", true), ("\"0\", \"1\"", true), ("\"01\"", false), ("1", false)]
    {
        let headers = HeaderMap::from_iter([(header::IF_MATCH, HeaderValue::from_static(tag))]);
        assert_eq!(http::check_if_match(&headers, &task).is_ok(), fits, "{tag}");
    }
    assert!(http::check_if_match(&HeaderMap::new(), &task).is_ok());
}

#[test]
fn messages_go_their_way() {
    let mut task = Task::new(());
    let next = |task: &Task<()>, run, delivery| queue::next(Some(task), Run::new(run), delivery);
    assert_eq!(next(&task, 0, 1), queue::Next::Start);
    assert_eq!(next(&task, 1, 1), queue::Next::GiveBack);
    assert_eq!(next(&task, 1, 5), queue::Next::SetAside);
    task.start().unwrap();
    assert_eq!(next(&task, 0, 2), queue::Next::Acknowledge);
    task.fail().unwrap();
    assert_eq!(next(&task, 0, 1), queue::Next::Acknowledge);
    assert_eq!(queue::next::<()>(None, Run::new(0), 1), queue::Next::Acknowledge);
}

#[test]
fn old_rows_become_tasks_or_name_their_fault() {
    let old = |status: &str, before: Option<&str>| {
        let before = before.map(|status| (status.to_owned(), "old".to_owned()));
        migrate(Old { status: status.to_owned(), document: "new".to_owned(), before, version: 7 })
    };
    let mut task = old("queued", Some("done")).unwrap();
    assert!(task.cancel().unwrap().reverted());
    assert_eq!((task.status(), task.payload().text.as_str()), (Status::Succeeded, "old"));
    assert_eq!(old("ocr", None).unwrap().payload().step.as_deref(), Some("ocr"));
    let fault = |status, before| old(status, before).unwrap_err().to_string();
    assert_eq!(fault("paused", None), "unknown status \"paused\"");
    assert_eq!(
        fault("done", Some("error")),
        "a task in status Succeeded cannot have a previous state"
    );
}
