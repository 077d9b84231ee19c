//! The text of the report, and where the figures go in it.

use std::fmt::Write as _;
use std::process::Command;

use crate::Implementation;
use crate::bulk::Times;
use crate::callgrind::{Count, Pair};
use crate::cold::version;
use crate::probe::SHAPES;
use crate::stored::DOCUMENTS;
use crate::task::Kind::{self, Hand, Obvious, Ours, Peer};

pub struct Report<'a> {
    pub suite: &'a [Implementation],
    /// By implementation, payload and shape.
    pub shapes: Vec<[[Vec<Count>; SHAPES.len()]; 5]>,
    pub decisions: [Pair; 2],
    pub stored: Vec<Pair>,
    /// By payload and implementation; then the decision alone.
    pub bulk: Vec<Vec<Times>>,
    /// Seconds: with the crate, and with the derives.
    pub cold: [f64; 2],
}

/// One figure of each, the crate's first.
struct Row {
    what: String,
    digits: usize,
    figures: Vec<(Kind, &'static str, f64)>,
    /// The most that the ratio to the best of some should be, and why it is more.
    goal: Option<(&'static [Kind], f64, &'static str)>,
}

/// As good as the best, but for noise.
const AS_GOOD: f64 = 1.02;

impl Row {
    fn least(&self, kinds: &[Kind]) -> Option<&(Kind, &'static str, f64)> {
        let of_kinds = self.figures.iter().filter(|(kind, ..)| kinds.contains(kind));
        of_kinds.min_by(|one, other| one.2.total_cmp(&other.2))
    }

    fn ratio(&self, kinds: &[Kind]) -> Option<f64> {
        self.least(kinds).map(|least| self.figures[0].2 / least.2).filter(|it| it.is_finite())
    }

    fn cells(&self) -> Vec<String> {
        let figure = |figure: f64| format!("{figure:.*}", self.digits);
        let mut cells = vec![self.what.clone(), format!("**{}**", figure(self.figures[0].2))];
        for kinds in [&[Peer][..], &[Hand, Obvious]] {
            let best = self.least(kinds).map(|best| format!("{} ({})", figure(best.2), best.1));
            let ratio = self.ratio(kinds).map(|ratio| format!("{ratio:.2}"));
            cells.extend([best, ratio].map(Option::unwrap_or_default));
        }
        let obvious = self.least(&[Obvious]).map(|obvious| figure(obvious.2));
        cells.push(obvious.unwrap_or_default());
        cells
    }

    fn missed(&self) -> Option<String> {
        let (kinds, most, why) = self.goal?;
        let ratio = self.ratio(kinds).filter(|ratio| *ratio > most)?;
        let what = &self.what;
        Some(format!("- {what}: {ratio:.2} × the best, at most {most:.2}. {why}\n"))
    }
}

fn table<R: AsRef<[String]>>(head: &[&str], rows: impl IntoIterator<Item = R>) -> String {
    let mut text = format!("\n| {} |\n|{}\n", head.join(" | "), "---|".repeat(head.len()));
    for row in rows {
        let _ = writeln!(text, "| {} |", row.as_ref().join(" | "));
    }
    text
}

fn own(counts: &[Count]) -> u64 {
    counts.iter().map(|count| count.own).sum()
}

/// Instructions and their sum.
fn listed(counts: &[Count]) -> String {
    let each: Vec<_> = counts.iter().map(|count| count.own.to_string()).collect();
    if each.len() == 1 { each.concat() } else { format!("{} = {}", each.join("/"), own(counts)) }
}

impl Report<'_> {
    pub fn text(&self) -> String {
        let head =
            ["", "the crate", "best peer", "ratio", "best by hand", "ratio", "obvious by hand"];
        let rows = self.rows();
        let summary = table(&head, rows.iter().map(Row::cells));
        let shapes = SHAPES.map(|(letter, what)| format!("- **{letter}**: {what}\n")).concat();
        let missed: String =
            rows.iter().chain(&self.by_payload()).filter_map(Row::missed).collect();
        include_str!("report.md")
            .replace("<!-- summary -->\n", &summary)
            .replace("<!-- shapes -->\n", &shapes)
            .replace("<!-- this run -->", &self.machine())
            .replace("<!-- missed -->\n", &missed)
            .replace("<!-- instructions -->\n", &self.instructions())
            .replace("<!-- bulk -->\n", &self.times())
    }

    /// A table for each shape, and one of the decision alone.
    pub fn instructions(&self) -> String {
        let tables = SHAPES.iter().enumerate().map(|(shape, (letter, what))| {
            let table = self.table("sum", |at| {
                let payloads = self.shapes[at].iter().map(|shapes| listed(&shapes[shape]));
                payloads.chain([format!("**{}**", self.total(at, shape))]).collect()
            });
            format!("\n**{letter}**: {what}\n{table}")
        });
        let row = |pair: &Pair| [pair.what.clone(), listed(&pair.ours), listed(&pair.other)];
        let head = ["one byte", "the crate", "by hand: table"];
        tables.chain([table(&head, self.decisions.iter().map(row))]).collect()
    }

    /// The times of all sizes, as ratios to the crate's.
    fn times(&self) -> String {
        let ratios = |times: &[Times], at: usize| {
            let pairs = times[at].iter().zip(&times[0]);
            pairs.map(|(time, ours)| format!("{:.2}", time / ours)).collect::<Vec<_>>().join(" / ")
        };
        self.table("one byte", |at| {
            self.bulk
                .iter()
                .map(|it| if at < it.len() { ratios(it, at) } else { String::new() })
                .collect()
        })
    }

    /// A row for each implementation, a column for each payload and one more.
    fn table(&self, more: &str, cells: impl Fn(usize) -> Vec<String>) -> String {
        let payloads = self.suite[0].payloads.iter().map(|payload| payload.name);
        let head: Vec<_> = [""].into_iter().chain(payloads).chain([more]).collect();
        let name = |at: usize| vec![self.suite[at].name.to_owned()];
        table(&head, (0..self.suite.len()).map(|at| [name(at), cells(at)].concat()))
    }

    /// A shape over all payloads.
    fn total(&self, at: usize, shape: usize) -> u64 {
        self.shapes[at].iter().map(|shapes| own(&shapes[shape])).sum()
    }

    fn row(&self, what: String, digits: usize, figure: impl Fn(usize) -> f64) -> Row {
        let named = self.suite.iter().enumerate();
        let figures =
            named.map(|(at, it)| (it.kind, it.name.trim_start_matches("by hand: "), figure(at)));
        Row { what, digits, figures: figures.collect(), goal: None }
    }

    /// The summary.
    fn rows(&self) -> Vec<Row> {
        let pair = |what: &str, digits, [ours, other]: [f64; 2], name, most, why| Row {
            what: what.to_owned(),
            digits,
            figures: vec![(Ours, "", ours), (Hand, name, other)],
            goal: Some((&[Hand], most, why)),
        };
        let whys = [
            "",
            "LLVM tests the state again after the drop.",
            "The order of the record's fields that is best here is worse for E.",
            "",
            "",
        ];
        let mut rows = Vec::new();
        for (shape, why) in whys.into_iter().enumerate() {
            let cancels = if shape == 4 { "a lifecycle" } else { "three cancels" };
            let what = format!("instructions of {cancels}, {}", SHAPES[shape].0);
            let row = self.row(what, 0, |at| self.total(at, shape) as f64);
            rows.push(Row { goal: Some((&[Peer], AS_GOOD, why)), ..row });
        }
        let allocations = |at: usize| {
            let counts = self.shapes[at].iter().flatten().flatten();
            counts.map(|count| count.allocations as f64).sum()
        };
        rows.push(self.row("allocations in all of these".to_owned(), 0, allocations));
        for (payload, times) in self.suite[0].payloads.iter().zip(&self.bulk) {
            let what = format!("time of a bulk cancel of 10,000, {}", payload.name);
            let row = self.row(what, 2, |at| times[at][1] / times[0][1]);
            let why = "As in B, the record is not used.";
            rows.push(Row { goal: Some((&[Peer], AS_GOOD, why)), ..row });
        }
        let states = self.bulk.last().expect("the decision alone");
        let times = [1.0, states[1][1] / states[0][1]];
        rows.push(pair("time of the same, `State` alone", 2, times, "table", 1.1, ""));
        for it in &self.decisions {
            let counts = [&it.ours, &it.other].map(|counts| own(counts) as f64);
            let what = format!("instructions of three {}", it.what);
            let most = (counts[1] + 3.0) / counts[1]; // one each
            let why = "A table of ready answers is one load; this is a `match`.";
            rows.push(pair(&what, 0, counts, "table", most, why));
        }
        for it in &self.stored {
            let counts = [&it.ours, &it.other].map(|counts| counts[0]);
            let total = counts.map(|it| (it.total / DOCUMENTS) as f64);
            let allocations = counts.map(|it| (it.allocations / DOCUMENTS) as f64);
            let what = format!("instructions to {}, JSON", it.what);
            rows.push(pair(&what, 0, total, "plain derive", AS_GOOD, ""));
            let what = format!("allocations to {}", it.what);
            rows.push(pair(&what, 0, allocations, "plain derive", 1.0, ""));
        }
        let cold = [1.0, self.cold[1] / self.cold[0]];
        let what = "CPU time of a cold build of a dependent";
        rows.push(pair(what, 2, cold, "serde derive + thiserror + strum", 1.1, ""));
        rows
    }

    /// Goals that are of one payload.
    fn by_payload(&self) -> Vec<Row> {
        let mut rows = Vec::new();
        for (payload, most) in [25.0, 25.0, 42.0, 38.0, 33.0].into_iter().enumerate() {
            let of = |what: &str, shape: usize| {
                let what =
                    format!("instructions of {what}, {}", self.suite[0].payloads[payload].name);
                self.row(what, 0, |at| own(&self.shapes[at][payload][shape]) as f64)
            };
            let mut row = of("three cancels, E", 0);
            row.figures.truncate(1);
            row.figures.push((Hand, "goal", most));
            rows.push(Row { goal: Some((&[Hand], (most + 3.0) / most, "")), ..row });
            let row = of("a lifecycle, L", 4);
            rows.push(Row { goal: Some((&[Hand, Obvious], 1.15, "")), ..row });
        }
        rows
    }

    /// The compiler and the versions of this run.
    fn machine(&self) -> String {
        let rustc = Command::new("rustc").arg("--version").output().expect("rustc is installed");
        let rustc = String::from_utf8_lossy(&rustc.stdout).trim().to_owned();
        let peers = self.suite.iter().filter(|it| it.kind == Peer);
        let peers: Vec<_> = peers.map(|it| format!("{} {}", it.name, version(it.name))).collect();
        format!("{rustc}; {}", peers.join(", "))
    }
}
