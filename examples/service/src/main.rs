use std::process::ExitCode;
use std::sync::Arc;

use clap::Parser;
use task_service::run::{Options, run};
use tracing_subscriber::EnvFilter;

#[tokio::main]
async fn main() -> ExitCode {
    let filter =
        EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info,sqlx=warn"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .init();
    match run(Options::parse(), |store| Arc::new(store)).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(fault) => {
            eprintln!("task-service: {fault}");
            ExitCode::FAILURE
        }
    }
}
