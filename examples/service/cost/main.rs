//! What the service costs: its load, its growth with the number of tasks, its memory under hostile
//! requests, and a cancel that moves no document.

#[path = "../testing/mod.rs"]
mod testing;

mod cancel;
mod growth;
mod load;
mod memory;

use std::any::Any;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::{Parser, Subcommand};
use task_service::run;
use tempfile::TempDir;

use testing::postgres::Postgres;
use testing::process::Process;
use testing::report;

#[derive(Parser)]
struct Options {
    #[command(subcommand)]
    part: Option<Part>,
    /// How long each kind of request is measured for each number of clients, in seconds
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..=60))]
    seconds: u64,
    /// A file to write the tables into, between lines like `<!-- load -->` and `<!-- /load -->`; the
    /// plot, cost.svg, goes next to it
    #[arg(long, value_name = "FILE")]
    write: Option<PathBuf>,
}

#[derive(Subcommand)]
enum Part {
    /// The service as a process to measure
    #[command(hide = true)]
    Service(run::Options),
}

/// A database, and what keeps it alive.
struct Database {
    name: &'static str,
    url: String,
    _kept: Box<dyn Any>,
}

impl Database {
    /// New ones on SQLite and, where it is installed, PostgreSQL.
    fn each() -> anyhow::Result<Vec<Self>> {
        let dir = TempDir::new()?;
        let url = format!("sqlite://{}/tasks.db", dir.path().display());
        let sqlite = Self { name: "SQLite", url, _kept: Box::new(dir) };
        let postgres = Postgres::durable().map(|postgres| {
            let url = postgres.database("tasks");
            Self { name: "PostgreSQL", url, _kept: Box::new(postgres) }
        });
        Ok([sqlite].into_iter().chain(postgres).collect())
    }

    /// Starts the service on it.
    fn serve(&self, options: &[&str]) -> anyhow::Result<Process> {
        let common = ["service", "--database", &self.url, "--listen", "127.0.0.1:0"];
        Ok(Process::start(std::env::current_exe()?, &[&common[..], options].concat()))
    }
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let options = Options::parse();
    if let Some(Part::Service(options)) = options.part {
        return run::run(options, |store| Arc::new(store)).await;
    }
    let time = Duration::from_secs(options.seconds);
    let (growth, points) = growth::measure().await?;
    for (mark, table) in [
        ("load", load::measure(time).await?),
        ("growth", growth),
        ("memory", memory::measure().await?),
        ("cancel", cancel::measure().await?),
    ] {
        println!("{table}\n");
        if let Some(file) = &options.write {
            report::write(file, mark, &table)?;
        }
    }
    if let Some(file) = &options.write {
        growth::draw(&points, &file.with_file_name("cost.svg"))?;
    }
    Ok(())
}
