//! Storms: callers race for tasks while what they rely on is killed, paused and cut off; then an
//! audit judges what was kept, and what every client was told.

mod audit;
mod database;
mod etcd;
mod proxy;
mod service;
mod storm;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::process::ExitCode;
use std::rc::Rc;
use std::time::Duration;

use anyhow::{Result, bail};
use clap::{Parser, ValueEnum};
use indicatif::{ProgressBar, ProgressStyle};
use task_stores::engines;
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::{LocalSet, spawn_local};

use audit::{Case, Change, Report, audit};
use storm::{MADE, Storm};

/// Exits with 1 if a law was broken, or if a storm reached too little to prove anything.
#[derive(Parser)]
struct Options {
    /// Storm only these [default: all that are installed]
    #[arg(value_enum)]
    engines: Vec<Kind>,
    /// Seconds for which clients ask, of each
    #[arg(long, default_value_t = 20)]
    seconds: u64,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
enum Kind {
    /// The service on PostgreSQL
    Postgresql,
    /// The service on SQLite
    Sqlite,
    /// The store in etcd, on three nodes
    Etcd,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<ExitCode> {
    let options = Options::parse();
    let mut terminate = signal(SignalKind::terminate())?;
    let local = LocalSet::new();
    tokio::select! {
        done = local.run_until(run(options)) => done,
        _ = tokio::signal::ctrl_c() => bail!("interrupted"), // and all processes end
        _ = terminate.recv() => bail!("terminated"),
    }
}

async fn run(options: Options) -> Result<ExitCode> {
    let mut reports = Vec::new();
    for kind in Kind::value_variants() {
        let engine = match kind {
            _ if !(options.engines.is_empty() || options.engines.contains(kind)) => None,
            Kind::Postgresql => engines::postgres(),
            Kind::Sqlite => engines::sqlite(),
            Kind::Etcd => engines::etcd(),
        };
        let Some(engine) = engine else { continue };
        let time = Duration::from_secs(options.seconds);
        let storm = Rc::new(Storm { time, ..Storm::default() });
        let bar = spawn_local(show(*kind, storm.clone()));
        let history = match kind {
            Kind::Postgresql | Kind::Sqlite => service::run(storm.clone(), engine).await?,
            Kind::Etcd => etcd::run(storm.clone(), engine).await?,
        };
        bar.abort();
        reports.push((*kind, judge(&storm, history)));
    }
    let row = |name: &str, cell: &dyn Fn(Kind, &Report) -> String| {
        let cells = reports.iter().map(|(engine, it)| format!(" {:>10} |", cell(*engine, it)));
        println!("| {name:50} |{}", cells.collect::<String>());
    };
    row("", &|engine, _| format!("{engine:?}"));
    row("---", &|_, _| "---:".to_owned());
    for figure in reports.iter().flat_map(|it| it.1.figures.keys()).collect::<BTreeSet<_>>() {
        row(figure, &|_, it| it.figures.get(figure).map_or("–".to_owned(), u64::to_string));
    }
    row("violations", &|_, it| it.violations.len().to_string());
    let mut is_right = !reports.is_empty();
    for (engine, Report { violations, figures }) in &reports {
        for law in violations.iter().map(|it| it.law).collect::<BTreeSet<_>>() {
            let count = violations.iter().filter(|it| it.law == law).count();
            println!("{engine:?}: broken {count} times: {law}");
        }
        for figure in figures.iter().filter(|it| *it.1 == 0).map(|it| it.0) {
            println!("{engine:?}: it proves nothing, for it has not met {figure}");
            is_right = false;
        }
        if let Some(first) = violations.first() {
            println!("\n{}\n", first.story);
            is_right = false;
        }
    }
    Ok(ExitCode::from(u8::from(!is_right)))
}

async fn show(engine: Kind, storm: Rc<Storm>) {
    let bar = ProgressBar::new(storm.time.as_secs()).with_prefix(format!("{engine:?}"));
    bar.set_style(ProgressStyle::with_template("{prefix} {wide_bar} {msg}").expect("a template"));
    loop {
        bar.set_position(storm.passed().as_secs());
        bar.set_message(format!("{} answers", storm.answers.borrow().len()));
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

fn judge(storm: &Storm, history: HashMap<String, Vec<Change>>) -> Report {
    let (mut cases, mut created) = (BTreeMap::<_, Case>::new(), HashMap::new());
    for (task, history) in history {
        let mark = history[0].after.as_ref().map(|it| it.task.payload().mark.clone());
        created.insert(mark, task.clone());
        cases.insert(task, Case { history, answers: vec![] });
    }
    for (task, answer) in storm.answers.take() {
        // A create without an answer is of the task that came of it.
        let task = created.remove(&Some(answer.request.clone())).unwrap_or(task);
        cases.entry(task).or_default().answers.push(answer);
    }
    let mut report = storm.report.take();
    report.figures.remove(MADE.0); // the audit counts them, too
    audit(&mut report, &cases);
    report
}
