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
    let new = Task::new(Document::make(1));
    let updating = in_state::<Ours, Document>(STARTING_AFTER_SUCCEEDED);
    let (new_text, updating_text) = (text(&new), text(&updating));
    let mut read = |what, text: &str| Pair {
        what,
        ours: vec![counter.call(measured_read::<Task<Document>>, text)],
        other: vec![counter.call(measured_read::<Plain<Document>>, text)],
    };
    let reads = [read("read a new task", &new_text), read("read an updating task", &updating_text)];
    let mut write = |what, task: &Task<Document>, text: &str| Pair {
        what,
        ours: vec![counter.call(measured_write::<Task<Document>>, task)],
        other: vec![counter.call(measured_write::<Plain<Document>>, &of_text(text))],
    };
    let writes = [
        write("write a new task", &new, &new_text),
        write("write an updating task", &updating, &updating_text),
    ];
    reads.into_iter().chain(writes).collect()
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
