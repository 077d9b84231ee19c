//! Clients race for tasks on three nodes of etcd, of which the leader is killed again and again and
//! a follower is stopped; then an audit of what every client was told against what etcd remembers.

mod audit;
mod client;
mod cluster;

use std::cell::RefCell;
use std::path::PathBuf;
use std::process::ExitCode;
use std::rc::Rc;
use std::time::{Duration, Instant};

use clap::{Parser, ValueEnum};
use indicatif::{ProgressBar, ProgressStyle};
use rand::SeedableRng;
use rand::rngs::StdRng;
use task_stores::report;
use tokio::task::{JoinSet, LocalSet};
use tokio::time::sleep;

use audit::{Figure, Findings, audit};
use client::{Client, Fault, Pool};
use cluster::Cluster;

/// Exits with 1 if a law was broken, and with 2 if it could not find out.
#[derive(Parser)]
struct Options {
    /// How long clients ask
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=3600))]
    seconds: u64,
    /// How many ask
    #[arg(long, default_value_t = 12, value_parser = clap::value_parser!(u16).range(2..=200))]
    clients: u16,
    /// How many tasks there are at a time
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u16).range(1..))]
    tasks: u16,
    /// What the clients choose, and when nodes are killed: the same for the same seed, but for what
    /// the engine answers [default: another each time]
    #[arg(long)]
    seed: Option<u64>,
    /// A fault to build in, which must be found
    #[arg(long = "break", value_name = "NAME")]
    fault: Option<Fault>,
    /// A file to write the figures into, between its lines `<!-- fire -->` and `<!-- /fire -->`
    #[arg(long, value_name = "FILE")]
    write: Option<PathBuf>,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match LocalSet::new().run_until(run(&Options::parse())).await {
        Ok(is_right) => ExitCode::from(u8::from(!is_right)),
        Err(error) => {
            eprintln!("{error:?}");
            ExitCode::from(2)
        }
    }
}

/// Whether no law was broken.
async fn run(options: &Options) -> anyhow::Result<bool> {
    let seed = options.seed.unwrap_or_else(|| rand::random_range(0..1_000_000));
    println!("--seed {seed}");
    let findings = fire(options, seed).await?;
    let table = table(&findings);
    println!("\n{table}");
    if let Some(file) = &options.write {
        report::write(file, "fire", &table)?;
    }
    let violations = &findings.violations;
    for violation in violations.iter().take(3) {
        println!("\n{violation}");
    }
    let fault = options.fault.as_ref().and_then(ValueEnum::to_possible_value);
    println!();
    match (fault, violations.len()) {
        (None, 0) => println!("no law was broken"),
        (None, count) => println!("{count} violations"),
        (Some(fault), 0) => println!("{} was not found", fault.get_name()),
        (Some(fault), count) => println!("{} was found: {count} violations", fault.get_name()),
    }
    Ok(violations.is_empty())
}

async fn fire(options: &Options, seed: u64) -> anyhow::Result<Findings> {
    let mut cluster = Cluster::start().await?;
    let address = cluster.engine.address.clone();
    let pool = Rc::new(Pool { size: options.tasks.into(), tasks: RefCell::default() });
    let end = Instant::now() + Duration::from_secs(options.seconds);
    let mut clients = JoinSet::new();
    for number in 1..=options.clients {
        let client = Client::open(number.into(), &address, seed, options.fault).await?;
        clients.spawn_local(client.play(pool.clone(), end));
    }
    let bar = tokio::spawn(show(end));
    let (kills, stops) = cluster.disturb(StdRng::seed_from_u64(seed), end).await;
    let mut records = clients.join_all().await.concat();
    bar.await??;

    let mut reader = Client::open(0, &address, seed, options.fault).await?;
    for id in pool.tasks.take() {
        reader.read(id).await;
    }
    records.append(&mut reader.records);
    let mut findings = audit(&cluster.history().await?, &records);
    findings.count(Figure::Kills, kills);
    findings.count(Figure::Stops, stops);
    let shown =
        [Figure::Acknowledged, Figure::Lost, Figure::Silent, Figure::Reverts, Figure::Kills];
    for figure in shown {
        if findings.figures.get(&figure).is_none_or(|count| *count == 0) {
            findings.violations.push(format!("nothing was shown: {figure:?} is 0"));
        }
    }
    Ok(findings)
}

/// A bar that fills until `end`, where there is a terminal.
async fn show(end: Instant) -> anyhow::Result<()> {
    let begin = Instant::now();
    let bar = ProgressBar::new((end - begin).as_millis().try_into()?);
    bar.set_style(ProgressStyle::with_template("etcd under fire {wide_bar} {elapsed}")?);
    while Instant::now() < end {
        sleep(Duration::from_millis(100)).await;
        bar.set_position(begin.elapsed().as_millis().try_into()?);
    }
    bar.finish_and_clear();
    Ok(())
}

fn table(findings: &Findings) -> String {
    let mut lines = vec!["| | |".to_owned(), "| --- | ---: |".to_owned()];
    let figures = [
        (Figure::Kills, "the leader was killed and brought back"),
        (Figure::Stops, "a follower was stopped and continued"),
        (Figure::Pause, "longest time without an acknowledged change, in ms"),
        (Figure::Tasks, "tasks"),
        (Figure::Reads, "loads"),
        (Figure::Acknowledged, "changes acknowledged at once"),
        (Figure::Lost, "changes refused, for another client was faster"),
        (Figure::Silent, "calls of a change without an answer"),
        (Figure::FoundDone, "then: the task was as it was to be"),
        (
            Figure::CommittedAgain,
            "then: it was as it was loaded, committed again, and acknowledged",
        ),
        (Figure::FoundLost, "then: others had changed it, and not by way of this change"),
        (Figure::Happened, "then: nobody could say; etcd's history has it"),
        (Figure::NeverHappened, "then: nobody could say; etcd's history does not have it"),
        (Figure::Reverts, "reverts, each exact"),
        (Figure::Shared, "reverts and deletes that two clients hold to be theirs"),
    ];
    for (figure, what) in figures {
        let count = findings.figures.get(&figure).copied().unwrap_or_default();
        lines.push(format!("| {what} | {count} |"));
    }
    lines.push(format!("| **violations** | {} |", findings.violations.len()));
    lines.join("\n")
}
