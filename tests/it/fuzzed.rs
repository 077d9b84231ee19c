//! What a fuzzer tries: each function takes any bytes, and panics if a law is broken.

use serde_json::{Value, from_slice, to_vec};
use task_lifecycle::{Operation, Snapshot, Task};

use crate::client::Watched;

/// Any text is the task that its parts make, or an error.
pub(crate) fn json(bytes: &[u8]) {
    let read = from_slice::<Task<Value>>(bytes);
    let Ok(parts) = from_slice::<Snapshot<Value>>(bytes) else {
        assert!(read.is_err(), "it has not the form");
        return;
    };
    match (read, Task::try_from(parts)) {
        (Ok(task), Ok(made)) => {
            assert_eq!(task, made);
            let text = to_vec(&task).expect("a task can be written");
            assert_eq!(from_slice::<Task<Value>>(&text).expect("and read"), task);
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
}
