//! The program: a store, a server, workers.

use std::io::{Write as _, stderr, stdout};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use task_service::document::cut;
use task_service::options::Options;
use task_service::routes::{App, router};
use task_service::store::SqlStore;
use task_service::worker::Worker;
use tokio::net::TcpListener;
use tokio::signal::ctrl_c;
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;
use uuid::Uuid;

/// Runs until it is told to stop.
#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let log = tracing_subscriber::fmt().with_env_filter(EnvFilter::from_default_env());
    log.with_writer(stderr).with_ansi(false).init();
    let options = Options::read()?;
    let mut terminate = signal(SignalKind::terminate())?;
    let keys = Arc::new(options.keys()?);
    let store = SqlStore::open(&options.database, options.lease()).await;
    let store = store.context("--database cannot be opened")?;
    let (stop, mut running) = (CancellationToken::new(), JoinSet::new());
    for _ in 0..options.workers {
        let (tasks, name) = (store.clone(), format!("worker {}", Uuid::new_v4()));
        let worker = Worker { tasks, work: cut, name, options: options.clone() };
        let stop = stop.clone();
        running.spawn(async move {
            tokio::select! { () = worker.work(&stop) => {}, () = worker.sweep_on() => {} }
        });
    }
    let listener = TcpListener::bind(options.listen).await.context("--listen")?;
    // Said for people. If nobody can read it, that is no error.
    _ = writeln!(stdout(), "listening on http://{}", listener.local_addr()?);
    let served = axum::serve(listener, router(App { store, keys }));
    let served = served.with_graceful_shutdown(stop.clone().cancelled_owned());
    running.spawn(async { _ = served.await });
    let ended = tokio::select! {
        _ = ctrl_c() => Ok(()),
        _ = terminate.recv() => Ok(()),
        Some(ended) = running.join_next() => Err(anyhow!("a part of the program ended: {ended:?}")),
    };
    stop.cancel();
    _ = timeout(Duration::from_secs(10), running.join_all()).await;
    ended
}
