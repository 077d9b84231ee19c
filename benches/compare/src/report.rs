//! The text of the report, its goals, and where the figures go in it.

use std::fmt::Write as _;
use std::process::Command;
use std::{fs, iter, thread};

use task_lifecycle::Task;

use crate::bulk::Times;
use crate::callgrind::{Count, Pair};
use crate::cold::{self, Cold, version};
use crate::probe::SHAPES;
use crate::stored::DOCUMENTS;
use crate::suite::Implementation;
use crate::task::Kind;

const TEXT: &str = include_str!("report.md");

pub struct Report<'a> {
    pub suite: &'a [Implementation],
    /// By implementation, payload and shape.
    pub shapes: Vec<[[Vec<Count>; SHAPES.len()]; 5]>,
    pub decisions: Vec<Pair>,
    pub stored: Vec<Pair>,
    /// By payload and implementation.
    pub bulk: Vec<Vec<Times>>,
    /// `State::apply` and a byte table.
    pub states: Vec<Times>,
    pub colds: Vec<Cold>,
}

/// A figure of the crate, and the best of each kind with its name.
struct Row {
    what: String,
    digits: usize,
    ours: f64,
    peer: Option<(f64, String)>,
    hand: Option<(f64, String)>,
    obvious: Option<f64>,
    /// The most that the ratio to the best peer and to the best by hand should be.
    goals: [f64; 2],
    /// Why it is not reached, where that is known; without figures.
    why: &'static str,
}

const NO_GOAL: f64 = f64::INFINITY;
/// As good as the best, but for noise.
const NOISE: f64 = 1.02;

impl Row {
    fn ratios(&self) -> [Option<f64>; 2] {
        [&self.peer, &self.hand].map(|other| other.as_ref().map(|(figure, _)| self.ours / figure))
    }

    fn cells(&self) -> Vec<String> {
        let digits = self.digits;
        let named = |other: &Option<(f64, String)>| match other {
            Some((figure, name)) => format!("{figure:.digits$} ({name})"),
            None => String::new(),
        };
        let [to_peer, to_hand] =
            self.ratios().map(|ratio| ratio.map_or(String::new(), |ratio| format!("{ratio:.2}")));
        let obvious = self.obvious.map_or(String::new(), |figure| format!("{figure:.digits$}"));
        let ours = format!("**{:.digits$}**", self.ours);
        let (peer, hand) = (named(&self.peer), named(&self.hand));
        vec![self.what.clone(), ours, peer, to_peer, hand, to_hand, obvious]
    }

    /// A line for each goal that is not reached.
    fn missed(&self) -> impl Iterator<Item = String> {
        let kinds = ["the best peer", "the best by hand"].iter().zip(self.goals);
        let missed = kinds.zip(self.ratios()).filter(|((_, most), ratio)| *ratio > Some(*most));
        missed.map(|((kind, most), ratio)| {
            let ratio = ratio.unwrap_or_default();
            format!("{}: {ratio:.2} × {kind}, at most {most:.2}. {}", self.what, self.why)
        })
    }
}

fn table(head: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let mut text = format!("\n| {} |\n|{}\n", head.join(" | "), "---|".repeat(head.len()));
    for row in rows {
        let _ = writeln!(text, "| {} |", row.join(" | "));
    }
    text
}

/// Instructions and their sum.
fn listed(counts: &[Count]) -> String {
    let each: Vec<String> = counts.iter().map(|count| count.own.to_string()).collect();
    if each.len() == 1 { each.concat() } else { format!("{} = {}", each.join("/"), own(counts)) }
}

fn own(counts: &[Count]) -> u64 {
    counts.iter().map(|count| count.own).sum()
}

fn joined<T: ToString>(items: impl Iterator<Item = T>) -> String {
    items.map(|item| item.to_string()).collect::<Vec<_>>().join("/")
}

impl Report<'_> {
    pub fn text(&self) -> String {
        let parts: Vec<&str> = TEXT.split("<!-- figures -->\n").collect();
        let [before, shapes, goals, missed, instructions, bulk, sizes, cold] = parts[..] else {
            panic!("the text has other places for figures");
        };
        let mut text = before.to_owned();
        let rows = self.rows();
        let head = [
            "",
            "the crate",
            "best peer",
            "crate / peer",
            "best by hand",
            "crate / hand",
            "obvious by hand",
        ];
        text.push_str(&table(&head, rows.iter().map(Row::cells)));
        text.push_str(shapes);
        for (letter, meaning) in SHAPES {
            let _ = writeln!(text, "- **{letter}**: {meaning}");
        }
        let _ = writeln!(text, "\nThis run: {}.", self.machine());
        text.push_str(goals);
        let lines = rows.iter().flat_map(Row::missed).chain(self.other_goals());
        text.extend(lines.map(|line| format!("- {}\n", line.trim_end())));
        text.push_str(missed);
        text.push_str(&self.instructions());
        text.push_str(instructions);
        for (payload, times) in self.suite[0].payloads.iter().zip(&self.bulk) {
            let head = [payload.name, "1,000", "10,000", "100,000", "1,000,000"];
            text.push_str(&self.table(&head, |at| two_digits(&times[at])));
        }
        let states = ["`State::apply`", "by hand: table"].iter().zip(&self.states);
        let states =
            states.map(|(name, times)| [vec![(*name).to_owned()], two_digits(times)].concat());
        text.push_str(&table(&["one byte", "1,000", "10,000", "100,000", "1,000,000"], states));
        text.push_str(bulk);
        let size = |at: usize| self.suite[at].payloads.each_ref().map(|it| it.size.to_string());
        text.push_str(&self.table(&self.payloads(), |at| size(at).into()));
        text.push_str(sizes);
        let colds = self.colds.iter().map(|cold| {
            let ratio = cold.seconds / self.colds[cold::TRIO].seconds;
            let figures = [format!("{:.1}", cold.seconds), format!("{ratio:.2}")];
            [vec![cold.name.clone()], figures.into(), vec![cold.crates.to_string()]].concat()
        });
        text.push_str(&table(&["dependency", "seconds", "ratio", "crates compiled"], colds));
        text.push_str(cold);
        text
    }

    /// Five tables, one for each shape.
    pub fn instructions(&self) -> String {
        let tables = SHAPES.iter().enumerate().map(|(shape, (letter, meaning))| {
            let head = [self.payloads(), vec!["sum"]].concat();
            let table = self.table(&head, |at| {
                let payloads = self.shapes[at].iter().map(|shapes| listed(&shapes[shape]));
                payloads.chain([format!("**{}**", self.total(at, shape))]).collect()
            });
            format!("\n**{letter}**: {meaning}\n{table}")
        });
        let decisions = self
            .decisions
            .iter()
            .map(|pair| vec![pair.what.to_owned(), listed(&pair.ours), listed(&pair.other)]);
        let decisions = table(&["one byte", "the crate", "by hand: table"], decisions);
        tables.chain([decisions]).collect()
    }

    /// A row for each implementation.
    fn table(&self, head: &[&str], cells: impl Fn(usize) -> Vec<String>) -> String {
        let names = self.suite.iter().map(|implementation| vec![implementation.name.to_owned()]);
        table(head, names.enumerate().map(|(at, name)| [name, cells(at)].concat()))
    }

    fn payloads(&self) -> Vec<&str> {
        iter::once("").chain(self.suite[0].payloads.iter().map(|it| it.name)).collect()
    }

    /// A shape over all payloads.
    fn total(&self, implementation: usize, shape: usize) -> u64 {
        self.shapes[implementation].iter().map(|shapes| own(&shapes[shape])).sum()
    }

    /// The least of one of the kinds, over a figure of each implementation.
    fn least(&self, kinds: &[Kind], figure: &dyn Fn(usize) -> f64) -> Option<(f64, String)> {
        let of_kind = (0..self.suite.len()).filter(|at| kinds.contains(&self.suite[*at].kind));
        let named = of_kind.map(|at| (figure(at), self.suite[at].name.replace("by hand: ", "")));
        named.min_by(|one, other| one.0.total_cmp(&other.0))
    }

    /// The summary.
    fn rows(&self) -> Vec<Row> {
        let of_all = |what, digits, peers, why, figure: &dyn Fn(usize) -> f64| Row {
            what,
            digits,
            ours: figure(0),
            peer: self.least(&[Kind::Peer], figure),
            hand: self.least(&[Kind::Hand, Kind::Obvious], figure),
            obvious: self.least(&[Kind::Obvious], figure).map(|obvious| obvious.0),
            goals: [peers, NO_GOAL],
            why,
        };
        let of_pair = |what, digits, goal, why, ours, other, name: &str| Row {
            what,
            digits,
            ours,
            peer: None,
            hand: Some((other, name.to_owned())),
            obvious: None,
            goals: [NO_GOAL, goal],
            why,
        };
        let mut rows = Vec::new();
        let shapes = [
            ("three cancels, E", ""),
            ("three cancels, B", "LLVM tests the state again after the drop."),
            (
                "three cancels, W",
                "The order of the record's fields that is best here is worse for E.",
            ),
            ("three cancels, R", ""),
            ("a lifecycle, L", ""),
        ];
        for (shape, (what, why)) in shapes.into_iter().enumerate() {
            let what = format!("instructions of {what}");
            rows.push(of_all(what, 0, NOISE, why, &|at| self.total(at, shape) as f64));
        }
        for (payload, times) in self.suite[0].payloads.iter().zip(&self.bulk) {
            let what = format!("ns, bulk cancel of 10,000, {}", payload.name);
            let why = "As in B, the record is not used.";
            rows.push(of_all(what, 2, NOISE, why, &|at| times[at][1]));
        }
        let [ours, table] = [&self.states[0], &self.states[1]].map(|times| times[1]);
        let (what, name) = ("ns, bulk cancel of 10,000 `State`s", "table");
        rows.push(of_pair(what.to_owned(), 2, 1.1, "", ours, table, name));
        for pair in &self.decisions {
            let [ours, table] = [&pair.ours, &pair.other].map(|counts| own(counts) as f64);
            let what = format!("instructions of three {}", pair.what);
            let goal = (table + 3.0) / table; // one instruction each
            let why = "A table of ready answers is one load; this is the relation, spelled out.";
            rows.push(of_pair(what, 0, goal, why, ours, table, name));
        }
        for pair in &self.stored {
            let per_document = |counts: &[Count]| counts[0].total as f64 / DOCUMENTS as f64;
            let [ours, derive] = [&pair.ours, &pair.other].map(|counts| per_document(counts));
            let what = format!("instructions to {}, JSON", pair.what);
            rows.push(of_pair(what, 0, 1.02, "", ours, derive, "plain derive"));
        }
        let [ours, trio] = [cold::OURS, cold::TRIO].map(|at| &self.colds[at]);
        let peers = self.colds[cold::PEERS..].iter();
        let peer = peers.min_by(|one, other| one.seconds.total_cmp(&other.seconds));
        let what = "seconds of a cold build".to_owned();
        rows.push(Row {
            peer: peer.map(|cold| (cold.seconds, cold.name.clone())),
            ..of_pair(what, 1, 1.1, "", ours.seconds, trio.seconds, &trio.name)
        });
        rows
    }

    /// A line for each goal that is not reached and is no row of the summary.
    fn other_goals(&self) -> Vec<String> {
        let mut missed = Vec::new();
        let mut goal = |reached: bool, line: String| missed.extend((!reached).then_some(line));

        let error = self.shapes[0].each_ref().map(|shapes| own(&shapes[0]));
        let most = [25, 25, 42, 38, 33];
        let reached = iter::zip(error, most).all(|(error, most)| error <= most + 3);
        let (error, most) = (joined(error.iter()), joined(most.iter()));
        goal(reached, format!("E by payload: {error}, at most {most}."));

        let lifecycle = [0, 1, 2, 3, 4].map(|payload: usize| {
            let figure = |at: usize| own(&self.shapes[at][payload][4]) as f64;
            figure(0) / self.least(&[Kind::Hand, Kind::Obvious], &figure).map_or(0.0, |it| it.0)
        });
        let ratios = joined(lifecycle.iter().map(|ratio| format!("{ratio:.2}")));
        let reached = lifecycle.iter().all(|ratio| *ratio <= 1.15);
        goal(reached, format!("L by payload: {ratios} × the best by hand, at most 1.15."));

        let counts = self.shapes[0].iter().flatten().flatten();
        let allocations: u64 = counts.map(|count| count.allocations).sum();
        goal(allocations == 0, format!("Allocations in the shapes: {allocations}, at most 0."));
        let pairs = || self.stored.iter().map(|pair| (pair.ours[0], pair.other[0]));
        let more = pairs()
            .any(|(ours, derive)| ours.allocations / DOCUMENTS > derive.allocations / DOCUMENTS);
        goal(!more, "The stored form takes more allocations than a plain derive.".to_owned());
        let sizes =
            [size_of::<Task<()>>(), size_of::<Task<Box<()>>>(), size_of::<Task<[u64; 8]>>()];
        let reached = iter::zip(sizes, [24, 40, 160]).all(|(size, most)| size <= most);
        let sizes = joined(sizes.iter());
        let what = "Bytes of tasks of `()`, a `Box` and `[u64; 8]`";
        goal(reached, format!("{what}: {sizes}, at most 24/40/160."));
        missed
    }

    /// The compiler, the machine and the versions of this run.
    fn machine(&self) -> String {
        let rustc = Command::new("rustc").arg("--version").output().expect("rustc is installed");
        let rustc = String::from_utf8_lossy(&rustc.stdout).trim().to_owned();
        let information = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let model = information.lines().find_map(|line| line.strip_prefix("model name"));
        let model = model.unwrap_or("unknown CPU").trim_start_matches([' ', '\t', ':']);
        let cores = thread::available_parallelism().map_or(1, usize::from);
        let peers = self.suite.iter().filter(|it| it.kind == Kind::Peer);
        let peers: Vec<_> = peers.map(|it| format!("{} {}", it.name, version(it.name))).collect();
        format!("{rustc}; {model}, {cores} cores; {}", peers.join(", "))
    }
}

fn two_digits(times: &Times) -> Vec<String> {
    times.iter().map(|time| format!("{time:.2}")).collect()
}
