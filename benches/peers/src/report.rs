//! The text of the report, and where the figures go in it.

use std::fmt::Write as _;
use std::fs;
use std::process::Command;

use peers::machines::ours::Ours;
use peers::{Family, Kind, for_every_implementation};

use crate::cold::{Cold, OURS, TRIO, version};
use crate::count::{Cancels, Count, Counts};
use crate::goals::{self, best_time, ns};
use crate::stored::DOCUMENTS;
use crate::time::{BYTE, SIZES, STATE, Times};

/// What is to be said about goals that are not reached, one paragraph each. Figures that change
/// from run to run do not belong here.
const NOTES: &str = "\
Why some are not reached, and what was chosen:

- *`State::apply`*: a refusal names the status beside the operation, which is one look into a table
  more than a refusal without a reason. In place, the crate is at or below the hand-written table.
- *Three cancels of a `Task`*: the goal is the best hand-written layout and four instructions for
  the revision. The rest is the record. A refusal names operation and status; the update's payload
  is taken out of its `Option`, which is a store even where there was none; and the answer,
  `Result<Transition<T>, TransitionError>`, keeps its tag in a spare value of the payload that is
  released, so where the payload is the caller's and unknown, the compiler looks at it again to
  tell success from refusal, even if nobody wants the record. To ask the state first, and leave the
  `Option` of a new task alone, is cheaper for a new task and dearer for an updating one, with and
  without the record; the sums are the same within a few instructions, and the plain form was
  kept. A form that beats the rows of the peers would have to give up the released payload or the
  revision.
- *The lifecycle, apart*: four of its operations count a revision; the peers count none. Where the
  compiler sees the whole of it, the difference is a few instructions.
- *Bulk over `Task`s*: with `()` the crate and the best peer change places from run to run. With the
  struct the revision and the hand-back are the difference, until memory decides.
- *Writing*: the parts are borrowed into a snapshot before they are written; that is the difference
  to a struct that has them ready.
- *Cold build*: the ratio moves with whatever else the machine does; it is the crate itself on top of
  the three derives.
";

const INTRODUCTION: &str = "\
# The crate beside its peers

Written by one command, which needs valgrind; every figure below is from one run of it:

```console
$ cargo run --release --manifest-path benches/peers/Cargo.toml
```

`-- --instructions-only` prints the instruction counts and nothing else, in a few seconds. They
repeat exactly for one program; another version of the program, or of the compiler, may move them
by a few. Times do not repeat: they are medians of passes in which all implementations take turns.
Compare those of one run with each other, never with those of another.

Every implementation has first passed the same check: all sequences of up to seven starts,
successes, failures, updates and cancels give the answers, the status and the payload that the
contract says, and what is let go is dropped at once. (The check alone is `cargo test
--manifest-path benches/peers/Cargo.toml`. A failure in `Starting` is left out, and so are `retry`
and `delete`: only the crate has them.) Only the crate counts revisions and makes a record of what
it did.
";

const INSTRUCTIONS: &str = "
## Instructions per cancel

Of a new task / of an updating one / refused, and their sum. Counted by callgrind in one function
that cannot be inlined, `fn(&mut Task) -> Result<(), Refusal>`, everything else inlined into it
(fat LTO, one codegen unit, `panic = \"abort\"`); what the C library does counts as the one call.
The refusal names the state that refused: the crate's error names the operation too.
";

const BOOL: &str = "
The same as `fn(&mut Task) -> bool`. Here the compiler likes to test the status again after the
payload was dropped, which is why the shorter answer can cost more.
";

const LIFECYCLE: &str = "
## Instructions of a lifecycle

Create, start, succeed, update, cancel. *Apart*: nothing is known of the task from one operation to
the next, as in a server. *Together*: in one function, where the compiler sees that nothing is ever
refused.
";

const DECISION: &str = "
## Instructions of the decision alone

`Cancel` on one byte, without a payload: new / updating / refused.
";

const TIMES: &str = "
## Nanoseconds

One operation on each of 1000 tasks in the same state.
";

const BULK: &str = "
## Bulk cancel

Nanoseconds per task; all nine states in equal shares, in a fresh random order each pass, so that no
branch can be learned. `State` is the bare decision, one byte a task, and its ratios are to the best
peer with the payload `()`, which is the least that a peer can be made to carry.

![Nanoseconds per task against the number of tasks](growth.svg)
";

const STORED: &str = "
## The stored form

JSON with the 56-byte struct for a payload, against a plain derive of the same fields that also
refuses unknown ones but checks nothing. Instructions per document, all libraries included, and
calls of the allocator.
";

const COLD: &str = "
## Cold build of a dependent

Seconds of CPU of a debug build of a program with one line of code, from an empty target directory,
the least of three; normal dependencies, direct and not.
";

#[derive(Debug)]
pub struct Report {
    pub counts: Counts,
    pub cases: Vec<Times>,
    pub bulk: Vec<Times>,
    pub colds: Vec<Cold>,
}

pub fn sum(counts: &[Count; 3]) -> u64 {
    counts.iter().map(|count| count.own).sum()
}

pub fn triple(counts: &[Count; 3]) -> String {
    let [new, updating, refused] = counts.map(|count| count.own);
    format!("{new}/{updating}/{refused} = {}", sum(counts))
}

fn table(text: &mut String, head: &[&str], rows: impl IntoIterator<Item = Vec<String>>) {
    let _ = writeln!(
        text,
        "\n| {} |\n|{}",
        head.join(" | "),
        "---|".repeat(head.len())
    );
    for row in rows {
        let _ = writeln!(text, "| {} |", row.join(" | "));
    }
}

/// The instruction counts, all of them.
pub fn instructions(counts: &Counts) -> String {
    let mut text = INSTRUCTIONS.to_owned();
    let mut head = vec!["implementation"];
    head.extend(counts.payloads.iter().map(|payload| payload.name));
    let rows = |figure: &dyn Fn(&Cancels) -> String| -> Vec<Vec<String>> {
        (0..counts.payloads[0].rows.len())
            .map(|at| {
                let mut row = vec![counts.payloads[0].rows[at].name.to_owned()];
                row.extend(
                    counts
                        .payloads
                        .iter()
                        .map(|payload| figure(&payload.rows[at])),
                );
                row
            })
            .collect()
    };
    let mut cancel = rows(&|row| triple(&row.cancel));
    let mut recorded = vec!["— its record used".to_owned()];
    recorded.extend(
        counts
            .payloads
            .iter()
            .map(|payload| triple(&payload.recorded)),
    );
    cancel.insert(1, recorded);
    table(&mut text, &head, cancel);
    text.push_str(BOOL);
    table(&mut text, &head, rows(&|row| triple(&row.cancel_bool)));

    text.push_str(LIFECYCLE);
    let mut head = vec!["implementation".to_owned()];
    head.extend(
        counts
            .payloads
            .iter()
            .map(|payload| format!("{}: apart, together", payload.name)),
    );
    let head: Vec<&str> = head.iter().map(String::as_str).collect();
    table(
        &mut text,
        &head,
        rows(&|row| format!("{}, {}", row.apart.own, row.together.own)),
    );

    text.push_str(DECISION);
    let decisions = counts
        .decisions
        .iter()
        .map(|row| vec![row.shape.to_owned(), triple(&row.ours), triple(&row.table)]);
    table(
        &mut text,
        &["shape", "`State::apply`", "hand-written byte table"],
        decisions,
    );
    text
}

impl Report {
    pub fn text(&self) -> String {
        let mut text = INTRODUCTION.to_owned();
        text.push_str(&machine());
        Self::implementations(&mut text);
        text.push_str("\n## Goals\n\nThe best hand-written layout and the best peer are each the best of their kind for that row.\n");
        let goals = goals::all(self).into_iter().map(|goal| {
            let reached = if goal.reached { "yes" } else { "**no**" }.to_owned();
            vec![
                goal.what,
                goal.least,
                goal.measured,
                goal.hand_written,
                goal.peer,
                reached,
            ]
        });
        table(
            &mut text,
            &[
                "what",
                "goal",
                "the crate",
                "hand-written",
                "best peer",
                "reached",
            ],
            goals,
        );
        if !NOTES.is_empty() {
            let _ = write!(text, "\n{NOTES}");
        }
        text.push_str(&instructions(&self.counts));
        self.times(&mut text);
        self.stored(&mut text);
        self.cold(&mut text);
        text
    }

    fn implementations(text: &mut String) {
        fn row<F: Family>() -> Vec<String> {
            let version = match F::KIND {
                Kind::Ours => version(OURS),
                Kind::Hand => "",
                Kind::Peer => version(F::NAME),
            };
            vec![
                F::NAME.to_owned(),
                version.to_owned(),
                F::SUPPLIES.to_owned(),
            ]
        }
        text.push_str("\nThe payloads are kept beside the machine of each peer, which is faster than inside.\n");
        table(
            text,
            &["implementation", "version", "the wrapper supplies"],
            for_every_implementation!(row()),
        );
    }

    fn times(&self, text: &mut String) {
        text.push_str(TIMES);
        for times in &self.cases {
            let rows = times.rows.iter().map(|row| named(row.name, &row.ns));
            let head = [
                times.payload,
                "cancel: new",
                "updating",
                "refused",
                "lifecycle",
            ];
            table(text, &head, rows);
        }
        text.push_str(BULK);
        for times in &self.bulk {
            let mut rows: Vec<_> = times
                .rows
                .iter()
                .map(|row| named(row.name, &row.ns))
                .collect();
            let mut ratio = |name: &str, of: &dyn Fn(usize) -> f64, to: &dyn Fn(usize) -> f64| {
                let ratios: Vec<f64> = (0..SIZES.len()).map(|size| of(size) / to(size)).collect();
                rows.push(named(name, &ratios));
            };
            let row = |name| move |size| ns(times, name, size);
            let best = |kind| move |size| best_time(times, kind, size).1;
            if times.rows.iter().any(|row| row.name == STATE) {
                ratio("`State` / byte table", &row(STATE), &row(BYTE));
                ratio("`State` / best peer", &row(STATE), &best(Kind::Peer));
            }
            ratio(
                "`Task` / best hand-written",
                &row(Ours::NAME),
                &best(Kind::Hand),
            );
            ratio("`Task` / best peer", &row(Ours::NAME), &best(Kind::Peer));
            let mut head = vec![times.payload.to_owned()];
            head.extend(SIZES.iter().map(|size| format!("{size} tasks")));
            table(
                text,
                &head.iter().map(String::as_str).collect::<Vec<_>>(),
                rows,
            );
        }
    }

    fn stored(&self, text: &mut String) {
        text.push_str(STORED);
        let rows = self.counts.stored.iter().map(|row| {
            vec![
                row.what.to_owned(),
                (row.ours.total / DOCUMENTS).to_string(),
                (row.plain.total / DOCUMENTS).to_string(),
                format!("{:.3}", ratio(row.ours.total, row.plain.total)),
                (row.ours.allocations / DOCUMENTS).to_string(),
                (row.plain.allocations / DOCUMENTS).to_string(),
            ]
        });
        let head = [
            "",
            "the crate",
            "plain derive",
            "ratio",
            "allocations: the crate",
            "plain",
        ];
        table(text, &head, rows);
    }

    fn cold(&self, text: &mut String) {
        text.push_str(COLD);
        let trio = self.cold_of(TRIO);
        let rows = self.colds.iter().map(|cold| {
            vec![
                cold.name.clone(),
                format!("{:.2}", cold.seconds),
                format!("{:.2}", cold.seconds / trio),
                cold.dependencies.to_string(),
            ]
        });
        table(
            text,
            &[
                "dependency",
                "seconds",
                "ratio to the three derives",
                "dependencies",
            ],
            rows,
        );
    }

    pub fn cold_of(&self, name: &str) -> f64 {
        self.colds
            .iter()
            .find(|cold| cold.name == name)
            .expect("it was built")
            .seconds
    }
}

pub fn ratio(of: u64, to: u64) -> f64 {
    of as f64 / to as f64
}

fn named(name: &str, figures: &[f64]) -> Vec<String> {
    let mut row = vec![name.to_owned()];
    row.extend(figures.iter().map(|figure| format!("{figure:.2}")));
    row
}

/// The compiler and the machine of this run.
fn machine() -> String {
    let rustc = Command::new("rustc")
        .arg("--version")
        .output()
        .expect("rustc is installed");
    let rustc = String::from_utf8_lossy(&rustc.stdout).trim().to_owned();
    let information = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = information
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(": "))
        .map_or("unknown CPU", |(_, model)| model);
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    format!("\nThis run: {rustc}; {model}, {cores} cores.\n")
}
