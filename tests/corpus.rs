//! Replays what the fuzzer keeps, and what it once found.

#![cfg(feature = "serde")]

#[path = "common/client.rs"]
#[allow(dead_code, reason = "each test binary uses its part")]
mod client;
#[path = "common/fuzzed.rs"]
mod fuzzed;

use std::fs;
use std::path::Path;

fn replay(target: &str, try_on: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/corpus").join(target);
    let mut files = 0;
    for entry in fs::read_dir(&folder).unwrap() {
        let file = entry.unwrap().path();
        try_on(&fs::read(&file).unwrap());
        files += 1;
    }
    assert!(files > 10, "{}: only {files} files", folder.display());
}

#[test]
fn json() {
    replay("json", fuzzed::json);
}

#[test]
fn history() {
    replay("history", fuzzed::history);
}

#[test]
fn snapshot() {
    replay("snapshot", fuzzed::snapshot);
}
