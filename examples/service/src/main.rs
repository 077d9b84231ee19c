use std::sync::Arc;

use clap::Parser;
use task_service::observe;
use task_service::run::{Options, run};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    observe::log();
    run(Options::parse(), |store| Arc::new(store)).await
}
