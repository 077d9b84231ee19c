//! The example `cancel`: what the README shows of it, and what it says of broken lines.

#![cfg(feature = "serde")]

use task_lifecycle::{State, Task};

#[path = "../examples/cancel.rs"]
#[allow(dead_code, reason = "its `main` is not run here")]
mod cancel;

const TASKS: &[u8] = include_bytes!("../examples/tasks.jsonl");
const BROKEN: &[u8] = include_bytes!("../examples/broken.jsonl");

/// What it prints for `text`, and the lines afterwards.
fn cancelled(text: &[u8]) -> (String, Vec<u8>) {
    let (mut out, mut after) = (Vec::new(), Vec::new());
    cancel::cancel_all(text, &mut out, &mut after).unwrap();
    (String::from_utf8(out).unwrap(), after)
}

fn tasks(text: &[u8]) -> Vec<Task<serde_json::Value>> {
    let lines = text.split(|&byte| byte == b'\n').filter(|line| !line.is_empty());
    lines.map(|line| serde_json::from_slice(line).unwrap()).collect()
}

#[test]
fn what_it_prints() {
    let expected = "\
line 1: Starting -> Cancelled
line 2: Processing, unchanged: task cannot be cancelled: status is Processing
line 3: Succeeded, unchanged: task cannot be cancelled: status is Succeeded
line 4: Failed, unchanged: task cannot be cancelled: status is Failed
line 5: Cancelled, unchanged: task cannot be cancelled: status is Cancelled
line 6: Starting (an update, was Succeeded) -> Succeeded, reverted
line 7: Starting (an update, was Failed) -> Failed, reverted
line 8: Processing (an update, was Succeeded), unchanged: task cannot be cancelled: status is Processing
line 9: Processing (an update, was Failed), unchanged: task cannot be cancelled: status is Processing
1 cancelled, 2 reverted, 6 refused, 0 no task
";
    assert_eq!(cancelled(TASKS).0, expected);
}

#[test]
fn the_bundled_file_has_every_state_and_an_update_whose_revert_matters() {
    let before = tasks(TASKS);
    let states: Vec<State> = before.iter().map(Task::state).collect();
    assert_eq!(states, State::ALL);
    let update = &before[5];
    let previous = update.previous().unwrap().payload;
    for part in ["configuration", "output"] {
        assert_ne!(update.payload()[part], previous[part]);
    }
}

#[test]
fn what_it_writes_is_each_task_after_its_cancel() {
    let (_, after) = cancelled(TASKS);
    let mut expected = tasks(TASKS);
    for task in &mut expected {
        let _ = task.cancel();
    }
    assert_eq!(tasks(&after), expected);
    // The bytes of a payload stay as they are.
    let line = br#"{"status":"Starting","revision":0,"run":0,"payload":{"b":1.50,"a":"\u0041"}}"#;
    let (_, after) = cancelled(line);
    let expected: &[u8] =
        br#"{"status":"Cancelled","revision":1,"run":0,"payload":{"b":1.50,"a":"\u0041"}}
"#;
    assert_eq!(after, expected);
}

#[test]
fn a_line_that_is_no_task_is_named_and_kept_and_the_rest_goes_on() {
    let expected = "\
line 1: no task: EOF while parsing a value at column 0
line 2: no task: invalid type: null, expected a stored task at column 4
line 3: no task: missing field `status` at column 2
line 4: no task: EOF while parsing a string at column 58
line 5: no task: trailing characters at column 62
line 6: no task: unknown status: expected Starting, Processing, Succeeded, Failed or Cancelled, not `starting` at column 20
line 7: no task: unknown status: expected Starting, Processing, Succeeded, Failed or Cancelled, not `Paused` at column 18
line 8: no task: missing field `revision` at column 44
line 9: no task: missing field `run` at column 49
line 10: no task: invalid value: integer `-1`, expected u64 at column 34
line 11: no task: invalid type: floating point `1.8446744073709552e+19`, expected u64 at column 52
line 12: no task: missing field `payload` at column 42
line 13: no task: unknown field `prevoius`, expected one of `status`, `revision`, `run`, `payload`, `previous` at column 67
line 14: no task: duplicate field `status` at column 29
line 15: no task: a task in status Succeeded cannot have a previous state
line 16: no task: a task in status Cancelled cannot have a previous state
line 17: no task: a previous state must be Succeeded or Failed, not Cancelled
line 18: no task: missing field `payload` at column 90
line 19: no task: unknown field `revision`, expected `status` or `payload` at column 112
line 20: no task: invalid unicode code point at column 54
line 21: Starting -> Cancelled
1 cancelled, 0 reverted, 0 refused, 20 no task
";
    let (printed, after) = cancelled(BROKEN);
    assert_eq!(printed, expected);
    let lines = |text: &[u8]| -> Vec<Vec<u8>> {
        text.split(|&byte| byte == b'\n').map(<[u8]>::to_vec).collect()
    };
    assert_eq!(lines(&after)[..20], lines(BROKEN)[..20]);
}

#[test]
fn arguments() {
    let run = |args: &[&str]| {
        let mut out = Vec::new();
        let report = cancel::run(args.iter().map(|&arg| arg.to_owned()), &mut out);
        report.map(|_| String::from_utf8(out).unwrap())
    };
    assert!(run(&["--help"]).unwrap().starts_with("usage: cancel"));
    assert!(run(&["--wirte", "f"]).unwrap_err().starts_with("unknown option --wirte"));
    assert!(run(&["a", "b"]).unwrap_err().starts_with("more than one input: b"));
    assert_eq!(run(&["--write"]).unwrap_err(), "--write needs a file");
    assert!(run(&["no such file"]).unwrap_err().starts_with("no such file: "));
    assert_eq!(cancelled(b"").0, "0 cancelled, 0 reverted, 0 refused, 0 no task\n");
}

/// The file that is read may be the one that is written.
#[test]
fn writes_back() {
    let file = std::env::temp_dir().join(format!("cancel-{}.jsonl", std::process::id()));
    std::fs::write(&file, TASKS).unwrap();
    let name = file.to_str().unwrap().to_owned();
    let args = [name.clone(), "--write".to_owned(), name];
    cancel::run(args.into_iter(), &mut Vec::new()).unwrap();
    let after = std::fs::read(&file).unwrap();
    std::fs::remove_file(&file).unwrap();
    assert_eq!(after, cancelled(TASKS).1);
}
