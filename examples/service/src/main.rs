use std::sync::Arc;

use clap::Parser;
use task_service::run::{Options, run};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    tracing_subscriber::fmt()
        .with_max_level(tracing::Level::INFO)
        .with_writer(std::io::stderr)
        .init();
    run(Options::parse(), |store| Arc::new(store)).await
}
