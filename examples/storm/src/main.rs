//! Storms: callers race for tasks while what they rely on is killed, paused and cut off; then an
//! audit judges what was kept, and what every client was told.

mod audit;
mod database;
mod etcd;
mod proxy;
mod service;
mod storm;

use std::collections::{BTreeSet, HashMap};
use std::process::ExitCode;
use std::rc::Rc;
use std::time::Duration;

use clap::{Parser, ValueEnum};
use indicatif::{ProgressBar, ProgressStyle};
use tokio::signal::ctrl_c;
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::{LocalSet, spawn_local};
use tokio::time::sleep;

use audit::{Case, Change, Report, Rules, audit};
use storm::{Fault, Storm};

/// Exits with 1 if a law was broken, or if a storm reached too little to prove anything.
#[derive(Parser)]
struct Options {
    /// Storm only these [default: all that are installed]
    #[arg(value_enum)]
    engines: Vec<Engine>,
    /// Seconds for which clients ask, of each
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

const ALL: &[Engine] = &[Engine::PostgreSQL, Engine::SQLite, Engine::Etcd];
const SERVICE: &[Engine] = &[Engine::PostgreSQL, Engine::SQLite];

/// Figures that each storm must meet, and goes on for: else it proves nothing.
#[rustfmt::skip]
const FLOORS: &[(&str, &[Engine])] = &[
    (storm::CLIENTS, ALL), (storm::KILLED, SERVICE), (storm::STOPS, SERVICE),
    (storm::LOST, &[Engine::PostgreSQL, Engine::Etcd]), (storm::LATE, &[Engine::PostgreSQL]),
    (storm::DATABASES, &[Engine::PostgreSQL]),
];

/// Figures that the audit must have seen.
#[rustfmt::skip]
const SEEN: &[(&str, &[Engine])] = &[
    (audit::REVERTS, ALL), (audit::COMPARED, ALL), (audit::MADE, ALL), (audit::TAKEN_AWAY, ALL),
    (audit::EXPIRED, SERVICE), (audit::GIVEN_UP, SERVICE), (audit::STOPPED, SERVICE),
    (audit::RENEWED, SERVICE),
];

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<ExitCode> {
    let options = Options::parse();
    let mut terminate = signal(SignalKind::terminate())?;
    let local = LocalSet::new();
    tokio::select! {
        done = local.run_until(run(options)) => done,
        _ = ctrl_c() => anyhow::bail!("interrupted"), // and all processes end
        _ = terminate.recv() => anyhow::bail!("terminated"),
    }
}

async fn run(options: Options) -> anyhow::Result<ExitCode> {
    let (engines, mut reports) = (options.engines, Vec::new());
    let is_wanted = |it: &&Engine| {
        let is_of_etcd = options.fault.is_none_or(|fault| fault < Fault::BulkCancelKeepsPayload);
        let is_of_service = options.fault.is_none_or(|fault| !Fault::OF_ETCD.contains(&fault));
        let may_be = if **it == Engine::Etcd { is_of_etcd } else { is_of_service };
        may_be && (engines.is_empty() || engines.contains(it))
    };
    for engine in Engine::value_variants().iter().filter(is_wanted) {
        let time = Duration::from_secs(options.seconds);
        let floors = FLOORS.iter().filter(|it| it.1.contains(engine)).map(|it| it.0).collect();
        let storm = Rc::new(Storm::new(time, options.fault, floors));
        let bar = spawn_local(show(*engine, options.seconds, storm.clone()));
        let history = match engine {
            Engine::PostgreSQL => service::run(storm.clone(), false).await?,
            Engine::SQLite => service::run(storm.clone(), true).await?,
            Engine::Etcd => etcd::run(storm.clone()).await?,
        };
        bar.abort();
        if let Some(history) = history {
            reports.push((*engine, judge(&storm, history)));
        }
    }
    print(&reports);
    let mut is_right = !reports.is_empty();
    for (engine, Report { violations, figures }) in &reports {
        for law in violations.iter().map(|it| it.law).collect::<BTreeSet<_>>() {
            let count = violations.iter().filter(|it| it.law == law).count();
            println!("{engine:?}: broken {count} times: {law}");
        }
        if let Some(first) = violations.first() {
            println!("\n{}\n", first.story);
        }
        if let Some(fault) = options.fault {
            let verdict = if violations.is_empty() { "was not found" } else { "was found" };
            println!("{engine:?}: {fault:?} {verdict}");
        }
        let is_empty = |figure: &str| figures.get(figure).is_none_or(|count| *count == 0);
        let missed = FLOORS.iter().chain(SEEN).filter(|it| it.1.contains(engine) && is_empty(it.0));
        let missed: Vec<_> = missed.filter(|_| options.fault.is_none()).map(|it| it.0).collect();
        for it in &missed {
            println!("{engine:?}: it proves nothing about {it}");
        }
        is_right &= violations.is_empty() && missed.is_empty();
    }
    Ok(ExitCode::from(u8::from(!is_right)))
}

async fn show(engine: Engine, seconds: u64, storm: Rc<Storm>) {
    let bar = ProgressBar::new(seconds).with_prefix(format!("{engine:?}"));
    let style = ProgressStyle::with_template("{prefix:10} {wide_bar} {msg}");
    bar.set_style(style.expect("a template"));
    loop {
        bar.set_position(storm.passed().as_secs());
        let answers = storm.answers.borrow().values().map(Vec::len).sum::<usize>();
        bar.set_message(format!("{answers} answers"));
        sleep(Duration::from_millis(200)).await;
    }
}

fn judge(storm: &Storm, mut history: HashMap<String, Vec<Change>>) -> Report {
    let mut answers = storm.answers.take();
    let tasks = history.keys().chain(answers.keys()).cloned().collect::<BTreeSet<_>>();
    let cases = tasks.into_iter().map(|task| {
        let history = history.remove(&task).unwrap_or_default();
        let answers = answers.remove(&task).unwrap_or_default();
        (task, Case { history, answers })
    });
    let mut report = audit(Rules { attempts: 3, is_calm: true }, &cases.collect());
    report.figures.append(&mut storm.figures.borrow_mut());
    report
}

/// A table of all figures, a column for each engine.
fn print(reports: &[(Engine, Report)]) {
    let figures = reports.iter().flat_map(|(_, it)| it.figures.keys());
    let row = |name: &str, cell: &dyn Fn(Engine, &Report) -> String| {
        let cells = reports.iter().map(|(engine, it)| format!(" {:>10} |", cell(*engine, it)));
        println!("| {name:50} |{}", cells.collect::<String>());
    };
    row("", &|engine, _| format!("{engine:?}"));
    row("---", &|_, _| "---:".to_owned());
    for figure in figures.collect::<BTreeSet<_>>() {
        row(figure, &|_, it| it.figures.get(figure).map_or("–".to_owned(), u64::to_string));
    }
    row("violations", &|_, it| it.violations.len().to_string());
}
