//! The example `cancel`: what it says of the bundled tasks and of broken lines.

use expect_test::{expect, expect_file};
use task_lifecycle::{State, Task};

#[path = "../../examples/cancel.rs"]
#[allow(dead_code, reason = "its `main` is not run here")]
mod cancel;

const TASKS: &[u8] = include_bytes!("../../examples/tasks.jsonl");

fn printed(text: &[u8]) -> (String, usize) {
    let mut out = Vec::new();
    let broken = cancel::cancel_all(text, &mut out).unwrap();
    (String::from_utf8(out).unwrap(), broken)
}

#[test]
fn a_line_for_each_task() {
    expect![[r#"
        line 1: Starting -> Cancelled
        line 2: Processing, unchanged: task cannot be cancelled: status is Processing
        line 3: Succeeded, unchanged: task cannot be cancelled: status is Succeeded
        line 4: Failed, unchanged: task cannot be cancelled: status is Failed
        line 5: Cancelled, unchanged: task cannot be cancelled: status is Cancelled
        line 6: Starting (an update, was Succeeded) -> Succeeded, reverted
        line 7: Starting (an update, was Failed) -> Failed, reverted
        line 8: Processing (an update, was Succeeded), unchanged: task cannot be cancelled: status is Processing
        line 9: Processing (an update, was Failed), unchanged: task cannot be cancelled: status is Processing
    "#]]
    .assert_eq(&printed(TASKS).0);
    let lines = TASKS.split(|&byte| byte == b'\n').filter(|line| !line.is_empty());
    let tasks = lines.map(|line| serde_json::from_slice::<Task<serde_json::Value>>(line).unwrap());
    assert_eq!(tasks.map(|task| task.state()).collect::<Vec<_>>(), State::ALL);
}

#[test]
fn broken_lines_are_named() {
    let (text, broken) = printed(include_bytes!("../../examples/broken.jsonl"));
    expect_file!["broken.txt"].assert_eq(&text);
    assert_eq!(broken, text.lines().count() - 1, "the last line is good");
}
