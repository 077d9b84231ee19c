//! The stored form: the crate's checked reading and borrowing writing, against a plain derive.

use std::hint::black_box;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use task_lifecycle::Task;

use crate::callgrind::{Counter, Pair};
use crate::payload::{Document, Payload as _, STARTING_AFTER_SUCCEEDED, in_state};
use crate::task::Ours;

/// As many documents go through one measured call; more than there are before it, so that those
/// vanish when the allocations are divided.
pub const DOCUMENTS: u64 = 100;

/// The stored form as one would derive it: any status, with or without a previous state.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Plain<T> {
    status: Status,
    revision: u64,
    run: u64,
    payload: T,
    #[serde(skip_serializing_if = "Option::is_none")]
    previous: Option<Previous<T>>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Previous<T> {
    status: Status,
    payload: T,
}

#[derive(Serialize, Deserialize)]
enum Status {
    Starting,
    Processing,
    Succeeded,
    Failed,
    Cancelled,
}

pub fn count(counter: &mut Counter) -> Vec<Pair> {
    let tasks = [
        ("a new task", Task::new(Document::make(1))),
        ("an updating task", in_state::<Ours, _>(STARTING_AFTER_SUCCEEDED)),
    ];
    let pair = |verb, what, ours, derive| Pair {
        what: format!("{verb} {what}"),
        ours: vec![ours],
        other: vec![derive],
    };
    let pairs = tasks.map(|(what, task)| {
        let text = text(&task);
        let plain: Plain<Document> = of_text(&text);
        let ours = counter.call(measured_read::<Task<Document>>, &text);
        let read = pair("read", what, ours, counter.call(measured_read::<Plain<Document>>, &text));
        let ours = counter.call(measured_write, &task);
        [read, pair("write", what, ours, counter.call(measured_write, &plain))]
    });
    pairs.into_iter().flatten().collect()
}

fn text<D: Serialize>(document: &D) -> String {
    serde_json::to_string(document).expect("nothing in it can fail")
}

fn of_text<D: DeserializeOwned>(text: &str) -> D {
    serde_json::from_str(text).expect("a stored task")
}

#[inline(never)]
fn measured_read<D: DeserializeOwned>(stored: &str) {
    for _ in 0..DOCUMENTS {
        black_box(of_text::<D>(black_box(stored)));
    }
}

#[inline(never)]
fn measured_write<D: Serialize>(document: &D) {
    for _ in 0..DOCUMENTS {
        black_box(text(black_box(document)));
    }
}
