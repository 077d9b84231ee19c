//! Clients race for tasks on three nodes of etcd, of which the leader is killed again and again and
//! a follower is stopped; then an audit of what every client was told against what etcd remembers.

mod audit;
mod client;
mod cluster;
mod store;

use std::cell::RefCell;
use std::fmt::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use clap::{Parser, ValueEnum};
use rand::SeedableRng;
use rand::rngs::StdRng;
use task_stores::report;
use tokio::task::{JoinSet, LocalSet};
use tokio::time::timeout;

use audit::{FIGURES, Findings, audit};
use client::{Client, Pool};
use cluster::Cluster;
use store::Fault;

/// Exits with 1 if a law was broken, and with 2 if it could not find out.
#[derive(Parser)]
struct Options {
    /// How long clients ask
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=600))]
    seconds: u64,
    /// How many ask
    #[arg(long, default_value_t = 24, value_parser = clap::value_parser!(u16).range(2..=200))]
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
    #[arg(long, value_name = "FILE", conflicts_with = "fault")]
    write: Option<PathBuf>,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let options = Options::parse();
    match LocalSet::new().run_until(Box::pin(run(&options))).await {
        Ok(is_right) => ExitCode::from(u8::from(!is_right)),
        Err(error) => {
            eprintln!("{error:?}");
            ExitCode::from(2)
        }
    }
}

/// Whether there is no violation.
async fn run(options: &Options) -> anyhow::Result<bool> {
    let seed = options.seed.unwrap_or_else(|| rand::random_range(0..1_000_000));
    println!("--seed {seed}");
    let limit = Duration::from_secs(options.seconds + 120);
    let findings =
        timeout(limit, fire(options, seed)).await.context("etcd does not come back")??;
    let table = table(&findings);
    println!("\n{table}");
    if let Some(file) = &options.write {
        report::write(file, "fire", &table)?;
    }
    let violations = &findings.violations;
    for (_, violation) in violations.iter().take(3) {
        println!("\n{violation}");
    }
    let fault = options.fault.as_ref().and_then(ValueEnum::to_possible_value);
    println!();
    match (fault, violations.len()) {
        (None, 0) => println!("no violations"),
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
    let time = Duration::from_secs(options.seconds);
    let mut clients = JoinSet::new();
    for number in 1..=options.clients {
        let client = Client::open(number.into(), &address, seed, options.fault).await?;
        clients.spawn_local(client.play(pool.clone(), Instant::now() + time));
    }
    let (kills, stops) = cluster.disturb(StdRng::seed_from_u64(seed), time).await;
    let mut records = clients.join_all().await.concat();

    let mut reader = Client::open(0, &address, seed, options.fault).await?;
    for id in pool.tasks.take() {
        reader.load(id).await;
    }
    records.append(&mut reader.records);
    let mut findings = audit(&cluster.history().await?, &records);
    findings.count(audit::KILLS, kills);
    findings.count(audit::STOPS, stops);
    for figure in [audit::KILLS, audit::ACKNOWLEDGED, audit::LOST, audit::SILENT, audit::REVERTS] {
        let is_shown = findings.figures.get(figure).is_some_and(|count| *count > 0);
        ensure!(is_shown || options.fault.is_some(), "nothing was shown: {figure}: 0");
    }
    Ok(findings)
}

fn table(findings: &Findings) -> String {
    let mut table = "| | |\n| --- | ---: |".to_owned();
    let figure = |name| (name, findings.figures.get(name).copied().unwrap_or_default());
    for (name, count) in
        FIGURES.map(figure).into_iter().chain([("violations", findings.violations.len())])
    {
        _ = write!(table, "\n| {name} | {count} |");
    }
    table
}
