//! What a fuzzer tries: each function takes any bytes, and panics if a law is broken.

use serde::Deserialize;
use serde_json::Value;
use task_lifecycle::{Operation, Previous, Revision, Run, Snapshot, Status, Task};

use crate::client::Watched;

/// Any text is the task that its parts make, or an error.
pub(crate) fn json(bytes: &[u8]) {
    /// The stored form by a plain derive.
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Plain {
        status: Status,
        revision: u64,
        run: u64,
        #[serde(deserialize_with = "Deserialize::deserialize")]
        payload: Value,
        previous: Option<PlainPrevious>,
    }
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct PlainPrevious {
        status: Status,
        #[serde(deserialize_with = "Deserialize::deserialize")]
        payload: Value,
    }

    let read = serde_json::from_slice::<Task<Value>>(bytes);
    let Ok(Plain { status, revision, run, payload, previous }) = serde_json::from_slice(bytes)
    else {
        assert!(read.is_err(), "it has not the form");
        return;
    };
    let (revision, run) = (Revision::new(revision), Run::new(run));
    let previous = previous.map(|PlainPrevious { status, payload }| Previous { status, payload });
    match (read, Task::try_from(Snapshot { status, revision, run, payload, previous })) {
        (Ok(task), Ok(made)) => {
            assert_eq!(task, made);
            let text = serde_json::to_string(&task).expect("a task can be written");
            assert_eq!(serde_json::from_str::<Task<Value>>(&text).expect("and read"), task);
        }
        (Err(fault), Err(reason)) => assert!(fault.to_string().starts_with(&reason.to_string())),
        (read, made) => panic!("{read:?}, but its parts are {made:?}"),
    }
}

/// Any bytes are operations and edits on one task.
pub(crate) fn history(bytes: &[u8]) {
    let mut watched = Watched::new();
    for &byte in bytes {
        let operation = usize::from(byte) % (Operation::ALL.len() + 1);
        if !watched.step(Operation::ALL.get(operation).copied()) {
            return;
        }
        if byte >= 128 {
            watched.load();
        }
    }
}

#[test]
fn the_corpus_breaks_no_law() {
    for (target, try_on) in [("json", json as fn(&[u8])), ("history", history)] {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fuzz/corpus/").to_owned() + target;
        for entry in std::fs::read_dir(folder).unwrap() {
            try_on(&std::fs::read(entry.unwrap().path()).unwrap());
        }
    }
    let tasks: &[u8] = include_bytes!("../../examples/tasks.jsonl");
    let broken = include_bytes!("../../examples/broken.jsonl");
    tasks.split(|&byte| byte == b'\n').chain(broken.split(|&byte| byte == b'\n')).for_each(json);
}
