//! Cancels stored tasks, one JSON object a line, and says what became of each.
//!
//! ```console
//! cargo run --example cancel                  # the bundled tasks, one in each state
//! cargo run --example cancel -- tasks.jsonl   # a file of your own
//! ```
//!
//! A line that is no task is named, and the exit status is then 1.

use std::io::{self, Write};
use std::process::ExitCode;
use std::{env, fs};

use serde_json::value::RawValue;
use task_lifecycle::Task;

fn main() -> io::Result<ExitCode> {
    let text = match env::args_os().nth(1) {
        Some(file) => fs::read(file)?,
        None => include_bytes!("tasks.jsonl").to_vec(),
    };
    let broken = cancel_all(&text, &mut io::stdout().lock())?;
    Ok(if broken == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Cancels the task of each line, and returns how many lines were no task.
pub(crate) fn cancel_all(text: &[u8], out: &mut impl Write) -> io::Result<usize> {
    let mut broken = 0;
    let lines = text.strip_suffix(b"\n").unwrap_or(text).split(|&byte| byte == b'\n');
    for (number, line) in (1..).zip(lines) {
        write!(out, "line {number}: ")?;
        // The payload is opaque, so it stays the text that it is.
        let mut task: Task<Box<RawValue>> = match serde_json::from_slice(line) {
            Ok(task) => task,
            Err(fault) => {
                broken += 1;
                let fault = fault.to_string().replace(" at line 1 column", " at column");
                writeln!(out, "no task: {fault}")?;
                continue;
            }
        };
        let was = task.state();
        match task.cancel() {
            Ok(done) if done.reverted() => writeln!(out, "{was} -> {}, reverted", done.to)?,
            Ok(done) => writeln!(out, "{was} -> {}", done.to)?,
            Err(refused) => writeln!(out, "{was}, unchanged: {refused}")?,
        }
    }
    Ok(broken)
}
