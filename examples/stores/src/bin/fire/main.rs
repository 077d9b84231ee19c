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
use rand::SeedableRng;
use rand::rngs::StdRng;
use task_stores::report;
use tokio::task::{JoinSet, LocalSet};

use audit::{FIGURES, Findings, audit};
use client::{Client, Fault, Pool};
use cluster::Cluster;

/// Exits with 1 if a law was broken, and with 2 if it could not find out.
#[derive(Parser)]
struct Options {
    /// How long clients ask
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=3600))]
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
    for (_, violation) in violations.iter().take(3) {
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
    for figure in [audit::ACKNOWLEDGED, audit::LOST, audit::SILENT, audit::REVERTS, audit::KILLS] {
        if findings.figures.get(figure).is_none_or(|count| *count == 0) {
            findings.violations.push((0, format!("nothing was shown: {figure}: 0")));
        }
    }
    Ok(findings)
}

fn table(findings: &Findings) -> String {
    let figure = |what| (what, findings.figures.get(what).copied().unwrap_or_default());
    let mut rows = vec!["| | |\n| --- | ---: |".to_owned()];
    for (what, count) in
        FIGURES.map(figure).into_iter().chain([("violations", findings.violations.len())])
    {
        rows.push(format!("| {what} | {count} |"));
    }
    rows.join("\n")
}
