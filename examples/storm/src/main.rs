//! Storms: callers race for tasks while what they rely on is killed, paused and cut off; then an
//! audit judges what was kept, and what every client was told.

mod audit;
mod database;
mod etcd;
mod proxy;
mod service;
mod storm;

use std::collections::{BTreeMap, HashMap};
use std::process::ExitCode;
use std::rc::Rc;
use std::time::Duration;

use anyhow::{Result, bail};
use clap::{Parser, ValueEnum};
use task_stores::engines;
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::LocalSet;

use audit::{Case, Change, Report, audit};
use storm::Storm;

/// Exits with 1 if a law was broken, or if a storm reached too little to prove anything.
#[derive(Parser)]
struct Options {
    /// Storm only these, if they are installed
    #[arg(value_enum, default_values_t = Kind::value_variants().to_vec())]
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
    let mut verdicts = Vec::new();
    for kind in options.engines {
        let engine = match kind {
            Kind::Postgresql => engines::postgres(),
            Kind::Sqlite => engines::sqlite(),
            Kind::Etcd => engines::etcd(),
        };
        let Some(engine) = engine else { continue };
        let time = Duration::from_secs(options.seconds);
        let storm = Rc::new(Storm { time, ..Storm::default() });
        let history = match kind {
            Kind::Postgresql | Kind::Sqlite => service::run(storm.clone(), engine).await?,
            Kind::Etcd => etcd::run(storm.clone(), engine).await?,
        };
        verdicts.push(tell(kind, &judge(&storm, history)));
    }
    let is_right = !verdicts.is_empty() && verdicts.iter().all(|is_right| *is_right);
    Ok(ExitCode::from(u8::from(!is_right)))
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
    audit(&mut report, &cases);
    report
}

/// Prints what a storm met and what was found, and returns whether all is as it should be.
fn tell(engine: Kind, Report { violations, figures }: &Report) -> bool {
    let mut laws = BTreeMap::<_, u64>::new();
    for violation in violations {
        *laws.entry(violation.law).or_default() += 1;
    }
    println!("{engine:?}: {} violations", violations.len());
    for (figure, count) in figures {
        println!("{count:>12} {figure}");
    }
    for (law, count) in laws {
        println!("{engine:?}: broken {count} times: {law}");
    }
    let is_met = figures.values().all(|count| *count > 0);
    if !is_met {
        println!("{engine:?}: it proves nothing, for a figure is 0");
    }
    if let Some(first) = violations.first() {
        println!("\n{}\n", first.story);
    }
    is_met && violations.is_empty()
}
