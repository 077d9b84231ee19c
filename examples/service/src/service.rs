//! The program: a store, a server, workers.

use std::io::{Write as _, stdout};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use tokio::net::TcpListener;
use tokio::signal::ctrl_c;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use uuid::Uuid;

use crate::options::Options;
use crate::request::App;
use crate::routes::router;
use crate::store::SqlStore;
use crate::worker::{Worker, told};

/// How long the program may take to stop.
const PATIENCE: Duration = Duration::from_secs(10);

/// Runs until it is told to stop.
pub async fn run(options: Options) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let keys = Arc::new(options.keys()?);
    let lease = Duration::from_secs(options.lease_seconds.into());
    let store = SqlStore::open(&options.database, lease).await;
    let store = store.context("--database cannot be opened")?;
    let queued = Arc::new(Notify::new());
    let (stop, mut stopped) = watch::channel(false);
    let mut running = JoinSet::new();
    for number in 0..options.workers {
        let name = Uuid::new_v4().to_string();
        let (tasks, options, queued) = (store.clone(), options.clone(), queued.clone());
        let worker = Arc::new(Worker { tasks, name, options, queued });
        if number == 0 {
            running.spawn(sweep(worker.clone(), stopped.clone()));
        }
        let stopped = stopped.clone();
        running.spawn(async move { worker.work(stopped).await });
    }
    let listener = TcpListener::bind(options.listen).await.context("--listen")?;
    // Said for people. If nobody can read it, that is no error.
    _ = writeln!(stdout(), "listening on http://{}", listener.local_addr()?);
    let app = App { store, keys, queued };
    running.spawn(async move {
        let stopped = async move { told(&mut stopped).await };
        let served = axum::serve(listener, router(app)).with_graceful_shutdown(stopped).await;
        _ = served.inspect_err(|fault| tracing::error!("{fault}"));
    });
    let ended = tokio::select! {
        _ = ctrl_c() => Ok(()),
        _ = terminate.recv() => Ok(()),
        Some(ended) = running.join_next() => Err(anyhow!("a part of the program ended: {ended:?}")),
    };
    stop.send_replace(true);
    _ = timeout(PATIENCE, running.join_all()).await;
    ended
}

/// Sweeps until the program is told to stop.
async fn sweep(worker: Arc<Worker<SqlStore>>, mut stopped: watch::Receiver<bool>) {
    while !*stopped.borrow() {
        if let Err(fault) = worker.sweep().await {
            tracing::error!("not swept: {fault}");
        }
        tokio::select! {
            () = sleep(Duration::from_millis(500)) => {}
            () = told(&mut stopped) => {}
        }
    }
}
