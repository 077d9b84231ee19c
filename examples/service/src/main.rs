use std::io::{IsTerminal as _, stderr};

use task_service::options::Options;
use task_service::service::run;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::EnvFilter;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let wanted = EnvFilter::builder().with_default_directive(LevelFilter::WARN.into());
    let log = tracing_subscriber::fmt().with_env_filter(wanted.from_env_lossy());
    log.with_writer(stderr).with_ansi(stderr().is_terminal()).init();
    run(Options::read()?).await
}
