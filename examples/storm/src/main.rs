//! Storms: callers race for tasks while what they rely on is killed, paused and cut off; then an
//! audit judges what was kept, and what every client was told.

mod audit;
mod client;
mod database;
mod etcd;
mod proxy;
mod service;
mod storm;

use std::collections::{BTreeMap, HashMap};
use std::process::ExitCode;
use std::rc::Rc;
use std::time::Duration;

use clap::{Parser, ValueEnum};
use indicatif::{ProgressBar, ProgressStyle};
use tokio::task::{LocalSet, spawn_local};
use tokio::time::sleep;

use audit::{Case, Change, Report, Rules, audit};
use storm::{Fault, Storm};

/// Exits with 1 if a law was broken, or if a storm reached too little to prove anything.
#[derive(Parser)]
struct Options {
    /// What to storm [default: all that are installed]
    #[arg(value_enum)]
    engines: Vec<Engine>,
    /// How long clients ask, of each
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..=3600))]
    seconds: u64,
    /// A fault to build in, which must be found
    #[arg(long = "break", value_name = "NAME")]
    fault: Option<Fault>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
#[value(rename_all = "lower")]
enum Engine {
    /// The service on PostgreSQL
    PostgreSQL,
    /// The service on SQLite
    SQLite,
    /// The store in etcd, on three nodes
    Etcd,
}

/// What each storm must reach, and so prove.
#[rustfmt::skip]
const FLOORS: &[(&str, &[Engine])] = &[
    (audit::REVERTS,  &[Engine::PostgreSQL, Engine::SQLite, Engine::Etcd]),
    (audit::COMPARED, &[Engine::PostgreSQL, Engine::SQLite, Engine::Etcd]),
    (audit::MADE,     &[Engine::PostgreSQL, Engine::SQLite, Engine::Etcd]),
    (storm::KILLED,   &[Engine::PostgreSQL, Engine::SQLite, Engine::Etcd]),
    (storm::LOST,     &[Engine::PostgreSQL, Engine::Etcd]),
    (storm::LATE,     &[Engine::PostgreSQL]),
    (audit::TAKEN_AWAY, &[Engine::PostgreSQL, Engine::SQLite, Engine::Etcd]),
    (audit::EXPIRED,  &[Engine::PostgreSQL, Engine::SQLite]),
    (audit::GIVEN_UP, &[Engine::PostgreSQL, Engine::SQLite]),
    (audit::STOPPED,  &[Engine::PostgreSQL, Engine::SQLite]),
];

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<ExitCode> {
    LocalSet::new().run_until(run(Options::parse())).await
}

async fn run(options: Options) -> anyhow::Result<ExitCode> {
    let (mut engines, mut reports) = (options.engines, Vec::new());
    if engines.is_empty() {
        engines = Engine::value_variants().to_vec();
    }
    let places = options.fault.map_or((true, true), Fault::places);
    engines.retain(|engine| if *engine == Engine::Etcd { places.0 } else { places.1 });
    for engine in engines {
        let storm = Rc::new(Storm::new(Duration::from_secs(options.seconds), options.fault));
        let bar = spawn_local(show(engine, options.seconds, storm.clone()));
        let history = match engine {
            Engine::PostgreSQL => service::run(storm.clone(), false).await?,
            Engine::SQLite => service::run(storm.clone(), true).await?,
            Engine::Etcd => etcd::run(storm.clone()).await?,
        };
        bar.abort();
        if let Some(history) = history {
            reports.push((engine, judge(&storm, history)));
        }
    }
    print(&reports);
    let mut is_right = !reports.is_empty();
    for (engine, report) in &reports {
        if let Some(first) = report.violations.first() {
            println!(
                "\n{engine:?}: {} violations; of the first:\n{}",
                report.violations.len(),
                first.story
            );
            is_right = false;
        }
        for (figure, _) in FLOORS.iter().filter(|floor| floor.1.contains(engine)) {
            if report.figures.get(figure).is_none_or(|count| *count == 0) {
                println!("\n{engine:?}: it proves nothing: {figure}: 0");
                is_right = false;
            }
        }
    }
    Ok(ExitCode::from(u8::from(!is_right)))
}

async fn show(engine: Engine, seconds: u64, storm: Rc<Storm>) {
    let bar = ProgressBar::new(seconds * 1000);
    let style = ProgressStyle::with_template("{prefix:10} {wide_bar} {msg}");
    bar.set_style(style.expect("a template"));
    bar.set_prefix(format!("{engine:?}"));
    loop {
        bar.set_position(u64::try_from(storm.passed().as_millis()).unwrap_or_default());
        let answers = storm.answers.borrow().values().map(Vec::len).sum::<usize>();
        bar.set_message(format!("{answers} answers"));
        sleep(Duration::from_millis(200)).await;
    }
}

fn judge(storm: &Storm, history: HashMap<String, Vec<Change>>) -> Report {
    let mut cases = BTreeMap::<String, Case>::new();
    for (task, history) in history {
        cases.entry(task).or_default().history = history;
    }
    for (task, answers) in storm.answers.take() {
        cases.entry(task).or_default().answers = answers;
    }
    let mut report = audit(Rules { attempts: 3, is_calm: true }, &cases);
    for (figure, count) in storm.figures.take() {
        *report.figures.entry(figure).or_default() += count;
    }
    report
}

/// A table of all figures, a column for each engine.
fn print(reports: &[(Engine, Report)]) {
    let mut figures: Vec<_> = reports.iter().flat_map(|(_, it)| it.figures.keys()).collect();
    figures.sort();
    figures.dedup();
    let row = |name: &str, cells: Vec<String>| println!("| {name:50} | {} |", cells.join(" | "));
    row("", reports.iter().map(|(engine, _)| format!("{engine:>10?}")).collect());
    row("---", reports.iter().map(|_| format!("{:>10}", "---:")).collect());
    for figure in figures {
        let cell = |it: &Report| it.figures.get(figure).map_or("–".to_owned(), u64::to_string);
        row(figure, reports.iter().map(|(_, it)| format!("{:>10}", cell(it))).collect());
    }
    row(
        "violations",
        reports.iter().map(|(_, it)| format!("{:>10}", it.violations.len())).collect(),
    );
}
