use std::io::{self, IsTerminal};
use std::sync::Arc;

use clap::Parser;
use task_service::run::{Options, run};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let log = tracing_subscriber::fmt().with_max_level(tracing::Level::INFO);
    log.with_writer(io::stderr).with_ansi(io::stderr().is_terminal()).init();
    run(Options::parse(), |store| Arc::new(store)).await
}
