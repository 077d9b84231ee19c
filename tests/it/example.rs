//! The example `cancel`: what it says of the bundled tasks and of broken lines.

use expect_test::expect_file;
use serde_json::{Value, from_slice};
use task_lifecycle::{State, Task};

use crate::fuzzed;

#[path = "../../examples/cancel.rs"]
#[allow(dead_code, reason = "its `main` is not run here")]
mod cancel;

fn printed(text: &[u8]) -> (String, usize) {
    let mut out = Vec::new();
    let broken = cancel::cancel_all(text, &mut out).unwrap();
    (String::from_utf8(out).unwrap(), broken)
}

fn lines(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    text.strip_suffix(b"\n").unwrap().split(|&byte| byte == b'\n')
}

#[test]
fn a_line_for_each_task() {
    let tasks = include_bytes!("../../examples/tasks.jsonl");
    expect_file!["tasks.txt"].assert_eq(&printed(tasks).0);
    let states = lines(tasks).map(|line| from_slice::<Task<Value>>(line).unwrap().state());
    assert!(states.eq(State::ALL.iter().copied()), "a new state needs a line in tasks.jsonl");
}

/// All but the last are broken, for whatever payload: `Option` is null, and not absent.
#[test]
fn broken_lines_are_named() {
    let text = include_bytes!("../../examples/broken.jsonl");
    let (said, broken) = printed(text);
    expect_file!["broken.txt"].assert_eq(&said);
    assert_eq!(broken, said.lines().count() - 1);
    for (number, line) in lines(text).enumerate() {
        fuzzed::json(line);
        assert_eq!(from_slice::<Task<Value>>(line).is_ok(), number == broken);
        assert_eq!(from_slice::<Task<Option<Value>>>(line).is_ok(), number == broken);
    }
}
