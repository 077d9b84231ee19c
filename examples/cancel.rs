//! Cancels stored tasks, one JSON object a line, and says what became of each.
//!
//! ```console
//! cargo run --example cancel                          # the bundled tasks
//! cargo run --example cancel -- tasks.jsonl           # a file
//! cargo run --example cancel -- - --write out.jsonl   # standard input, and keep the result
//! ```

use std::io::{self, Read, Write};
use std::process::ExitCode;
use std::{env, fmt, fs};

use serde_json::value::RawValue;
use task_lifecycle::Task;

const USAGE: &str = "\
usage: cancel [FILE | -] [--write FILE]

Cancels each stored task of FILE, one JSON object a line; `-` is standard input.
Without FILE it reads the tasks that come with the example.

  --write FILE  write the tasks as they are afterwards; a line that is no task
                is written as it was
  --help        show this

exit status: 0, 1 if a line was no task, 2 if a file cannot be read or written
";

fn main() -> ExitCode {
    match run(env::args().skip(1), &mut io::stdout().lock()) {
        Ok(Report { broken: 0, .. }) => ExitCode::SUCCESS,
        Ok(_) => ExitCode::from(1),
        Err(fault) => {
            eprintln!("cancel: {fault}");
            ExitCode::from(2)
        }
    }
}

pub(crate) fn run(
    args: impl Iterator<Item = String>,
    out: &mut impl Write,
) -> Result<Report, String> {
    let options = Options::parse(args)?;
    if options.help {
        write!(out, "{USAGE}").map_err(|fault| fault.to_string())?;
        return Ok(Report::default());
    }
    let text = match options.input.as_deref() {
        None => include_bytes!("tasks.jsonl").to_vec(),
        Some("-") => {
            let mut text = Vec::new();
            let read = io::stdin().lock().read_to_end(&mut text);
            read.map_err(|fault| format!("standard input: {fault}"))?;
            text
        }
        Some(file) => fs::read(file).map_err(|fault| format!("{file}: {fault}"))?,
    };
    let mut after = Vec::with_capacity(text.len());
    let report = cancel_all(&text, out, &mut after).map_err(|fault| fault.to_string())?;
    if let Some(file) = options.write {
        // Beside the file first: `file` may be the input, and is never half written.
        let beside = format!("{file}.new");
        fs::write(&beside, after)
            .and_then(|()| fs::rename(&beside, &file))
            .map_err(|fault| format!("{file}: {fault}"))?;
    }
    Ok(report)
}

/// Cancels the task of each line of `text`, reports to `out`, and writes the lines as they are
/// afterwards to `after`.
pub(crate) fn cancel_all(
    text: &[u8],
    out: &mut impl Write,
    after: &mut impl Write,
) -> io::Result<Report> {
    let mut report = Report::default();
    let text = text.strip_suffix(b"\n").unwrap_or(text);
    let lines = text.split(|&byte| byte == b'\n').enumerate();
    for (number, line) in lines.filter(|_| !text.is_empty()) {
        write!(out, "line {}: ", number + 1)?;
        // The payload is opaque, so it stays the text that it is.
        match serde_json::from_slice::<Task<Box<RawValue>>>(line) {
            Ok(mut task) => {
                writeln!(out, "{}", report.cancel(&mut task))?;
                serde_json::to_writer(&mut *after, &task)?;
            }
            Err(fault) => {
                report.broken += 1;
                let fault = fault.to_string().replace(" at line 1 column ", " at column ");
                writeln!(out, "no task: {fault}")?;
                after.write_all(line)?;
            }
        }
        after.write_all(b"\n")?;
    }
    writeln!(out, "{report}")?;
    Ok(report)
}

/// How many lines had each outcome.
#[derive(Default)]
pub(crate) struct Report {
    cancelled: usize,
    reverted: usize,
    refused: usize,
    broken: usize,
}

impl Report {
    fn cancel<T>(&mut self, task: &mut Task<T>) -> String {
        let was = task.state();
        match task.cancel() {
            Ok(done) if done.reverted() => {
                self.reverted += 1;
                format!("{was} -> {}, reverted", done.to)
            }
            Ok(done) => {
                self.cancelled += 1;
                format!("{was} -> {}", done.to)
            }
            Err(refused) => {
                self.refused += 1;
                format!("{was}, unchanged: {refused}")
            }
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { cancelled, reverted, refused, broken } = self;
        write!(f, "{cancelled} cancelled, {reverted} reverted, {refused} refused, {broken} no task")
    }
}

#[derive(Default)]
struct Options {
    input: Option<String>,
    write: Option<String>,
    help: bool,
}

impl Options {
    fn parse(mut args: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut options = Self::default();
        while let Some(arg) = args.next() {
            match arg.as_str() {
                "--help" | "-h" => options.help = true,
                "--write" => {
                    options.write = Some(args.next().ok_or("--write needs a file")?);
                }
                option if option.starts_with('-') && option != "-" => {
                    return Err(format!("unknown option {option}\n\n{USAGE}"));
                }
                _ if options.input.is_none() => options.input = Some(arg),
                _ => return Err(format!("more than one input: {arg}\n\n{USAGE}")),
            }
        }
        Ok(options)
    }
}
