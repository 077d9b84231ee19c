//! The vectors for other languages say what the crate does. `WRITE_VECTORS=1` writes them anew.

#![cfg(feature = "serde")]

mod common;

use std::path::Path;
use std::{env, fs};

use common::events;
use serde_json::{Value, json};
use task_lifecycle::{Event, Operation, State, Status, Task};

/// Compares a file with what it should hold, one entry a line.
fn compare(name: &str, entries: &[Value]) {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors").join(name);
    let lines: Vec<String> = entries.iter().map(Value::to_string).collect();
    let text = format!("[\n{}\n]\n", lines.join(",\n"));
    if env::var_os("WRITE_VECTORS").is_some() {
        fs::write(&file, &text).unwrap();
    }
    let written = fs::read_to_string(&file).unwrap_or_default();
    assert!(written == text, "{} is not what the crate does", file.display());
}

#[test]
fn relation() {
    let mut entries = Vec::new();
    for &state in State::ALL {
        for &operation in Operation::ALL {
            let answer = match state.apply(operation) {
                Ok(Some(next)) => json!({ "status": next.status(), "previous": next.previous() }),
                Ok(None) => json!("gone"),
                Err(refused) => {
                    json!({ "error": refused.to_string(), "is_repeat": refused.is_repeat() })
                }
            };
            entries.push(json!({
                "status": state.status(),
                "previous": state.previous(),
                "operation": operation,
                "answer": answer,
            }));
        }
    }
    compare("relation.json", &entries);
}

/// Every history of up to three events from a new task, and some that are longer.
#[test]
fn histories() {
    let mut histories = vec![Vec::new()];
    for length in 1..=3 {
        let longer: Vec<_> = histories
            .iter()
            .filter(|history: &&Vec<Event<String>>| history.len() == length - 1)
            .flat_map(|history| {
                events(format!("payload {length}"))
                    .into_iter()
                    .map(|event| [&history[..], &[event]].concat())
            })
            .collect();
        histories.extend(longer);
    }
    // Updates of both kinds, with a retry in between, and each end of them.
    for first in [Event::Succeed, Event::Fail] {
        for end in [vec![Event::Cancel], vec![Event::Fail], vec![Event::Start, Event::Succeed]] {
            let mut history = vec![Event::Start, first.clone(), Event::Update("new".to_owned())];
            history.extend([Event::Start, Event::Retry]);
            history.extend(end);
            history.push(Event::Cancel);
            histories.push(history);
        }
    }
    let entries: Vec<Value> = histories
        .into_iter()
        .filter(|history| !history.is_empty())
        .map(|history| {
            let mut task = Task::new("payload 0".to_owned());
            let steps: Vec<Value> = history
                .into_iter()
                .map(|event| {
                    let named = json!(event);
                    match task.apply(event) {
                        Ok(done) => json!({
                            "event": named,
                            "reverted": done.reverted(),
                            "released": done.released.into_payload(),
                            "stored": task,
                        }),
                        Err(refused) => json!({ "event": named, "error": refused.to_string() }),
                    }
                })
                .collect();
            json!({ "created": "payload 0", "steps": steps })
        })
        .collect();
    compare("histories.json", &entries);
}

#[test]
fn stored() {
    let mut entries = Vec::new();
    for &status in Status::ALL {
        for previous in [None].into_iter().chain(Status::ALL.iter().copied().map(Some)) {
            let mut stored = json!({ "status": status, "revision": 3, "run": 1, "payload": "new" });
            if let Some(previous) = previous {
                stored["previous"] = json!({ "status": previous, "payload": "old" });
            }
            let read = serde_json::from_value::<Task<String>>(stored.clone());
            entries.push(match read {
                Ok(task) => {
                    assert_eq!(json!(task), stored);
                    json!({ "stored": stored, "error": null })
                }
                Err(fault) => json!({ "stored": stored, "error": fault.to_string() }),
            });
        }
    }
    // What no state explains: the text differs between libraries, the refusal does not.
    for stored in [
        json!({ "revision": 3, "run": 1, "payload": "new" }),
        json!({ "status": "Starting", "run": 1, "payload": "new" }),
        json!({ "status": "Starting", "revision": 3, "payload": "new" }),
        json!({ "status": "Starting", "revision": 3, "run": 1 }),
        json!({ "status": "starting", "revision": 3, "run": 1, "payload": "new" }),
        json!({ "status": "Queued", "revision": 3, "run": 1, "payload": "new" }),
        json!({ "status": "Starting", "revision": -1, "run": 1, "payload": "new" }),
        json!({ "status": "Starting", "revision": 3, "run": "1", "payload": "new" }),
        json!({ "status": 0, "revision": 3, "run": 1, "payload": "new" }),
        json!({ "status": { "Starting": null }, "revision": 3, "run": 1, "payload": "new" }),
        json!({ "status": "Starting", "revision": 3, "run": 1, "payload": "new", "prevoius": null }),
        json!({ "status": "Starting", "revision": 3, "run": 1, "payload": "new", "previous": {} }),
        json!({ "status": "Starting", "revision": 3, "run": 1, "payload": "new", "previous": { "status": "Failed" } }),
        json!({ "status": "Starting", "revision": 3, "run": 1, "payload": "new", "previous": { "status": "Failed", "payload": "old", "revision": 2 } }),
    ] {
        assert!(serde_json::from_value::<Task<String>>(stored.clone()).is_err(), "{stored}");
        entries.push(json!({ "stored": stored, "error": "any" }));
    }
    compare("stored.json", &entries);
}
