//! The program: options, a store, a server, workers.

use std::collections::HashMap;
use std::fs;
use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Error, anyhow, ensure};
use tokio::net::TcpListener;
use tokio::signal::ctrl_c;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;
use tokio::time::sleep;
use uuid::Uuid;

use crate::database::{is_sqlite, listen};
use crate::observe;
use crate::request::App;
use crate::routes::router;
use crate::server::{limited, serve};
use crate::store::{SqlStore, Store};
use crate::worker::Worker;

/// How long the program may take to stop; its answers and runs have less.
const PATIENCE: Duration = Duration::from_secs(20);

/// Cuts documents into chunks, as tasks that can be cancelled and updated.
#[derive(clap::Parser, Clone, Debug)]
#[command(version)]
pub struct Options {
    /// Where to listen; port 0 picks a free port
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8000")]
    pub listen: SocketAddr,
    /// sqlite://FILE, created if it is missing, or postgres://USER@HOST/NAME; several processes can
    /// share it
    #[arg(
        long,
        value_name = "URL",
        env = "DATABASE_URL",
        hide_env_values = true,
        default_value = "sqlite://tasks.db"
    )]
    pub database: String,
    /// Workers in this process; 0 for the server alone
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub workers: usize,
    /// Only the workers
    #[arg(long)]
    pub no_server: bool,
    /// An API key and the user it belongs to; can be repeated [default: try-me=demo, if only this
    /// machine can reach the server]
    #[arg(long = "api-key", value_name = "KEY=USER", value_parser = key_and_user)]
    pub api_keys: Vec<(String, String)>,
    /// A file of such keys, one per line
    #[arg(long, value_name = "FILE")]
    pub api_keys_file: Option<PathBuf>,
    /// How long a document takes, in milliseconds
    #[arg(long, value_name = "MS", default_value_t = 2000)]
    pub work_millis: u64,
    /// How long a run lasts without being renewed by its worker, in seconds
    #[arg(long, value_name = "S", default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=86400))]
    pub lease_seconds: u64,
    /// How long events are kept, in days
    #[arg(long, value_name = "N", default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=36500))]
    pub keep_events_days: u64,
    /// How long a run may take, in seconds, before its task fails
    #[arg(long, value_name = "S", default_value_t = 3600, value_parser = clap::value_parser!(u64).range(1..=864_000))]
    pub longest_run_seconds: u64,
    /// After how many runs with an expired lease a task fails
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..))]
    pub attempts: u64,
}

/// A key may contain `=`, a user's name may not.
fn key_and_user(text: &str) -> Result<(String, String), &'static str> {
    let (key, user) = text.trim().rsplit_once('=').unwrap_or_default();
    let is_whole = !key.is_empty() && !user.is_empty();
    is_whole.then(|| (key.to_owned(), user.to_owned())).ok_or("expected KEY=USER")
}

/// The keys from the command line and from the file.
fn keys(options: &Options) -> anyhow::Result<Vec<(String, String)>> {
    let mut keys = options.api_keys.clone();
    if let Some(file) = &options.api_keys_file {
        let name = || file.display().to_string();
        let text = fs::read_to_string(file).with_context(name)?;
        for line in text.lines().filter(|line| !line.trim().is_empty()) {
            keys.push(key_and_user(line).map_err(Error::msg).with_context(name)?);
        }
    }
    if keys.is_empty() {
        let listen = options.listen;
        ensure!(listen.ip().is_loopback(), "{listen} is open to others: choose an --api-key");
        keys.push(("try-me".to_owned(), "demo".to_owned()));
    }
    Ok(keys)
}

/// Runs until it is interrupted, or until a part of it ends, which none should. `wrap` is there for
/// tests, which make the store fail.
pub async fn run(
    options: Options,
    wrap: impl FnOnce(SqlStore) -> Arc<dyn Store>,
) -> anyhow::Result<()> {
    ensure!(options.workers > 0 || !options.no_server, "--no-server and --workers 0: no work");
    observe::count();
    let mut terminate = signal(SignalKind::terminate())?;
    let lease = Duration::from_secs(options.lease_seconds);
    let store = SqlStore::open(&options.database, lease).await;
    // Not the URL: it may contain a password.
    let store = store.context("--database cannot be opened")?;
    let database = store.clone();
    let store = wrap(store);
    let queued = Arc::new(Notify::new());
    let (stop, stopped) = watch::channel(false);
    let mut running = JoinSet::new();
    for _ in 0..options.workers {
        let worker = Worker {
            store: store.clone(),
            name: format!("worker {}", Uuid::new_v4()),
            takes: Duration::from_millis(options.work_millis),
            lease,
            attempts: options.attempts,
            longest: Duration::from_secs(options.longest_run_seconds),
            queued: queued.clone(),
        };
        running.spawn(worker.work(stopped.clone()));
    }
    if options.workers > 0 && !is_sqlite(&options.database) {
        running.spawn(until(stopped.clone(), listen(options.database.clone(), queued)));
    }
    if !options.no_server {
        let (listen, keys) = (options.listen, keys(&options)?);
        let listener = TcpListener::bind(listen).await.with_context(|| listen)?;
        greet(listener.local_addr()?, &keys[0]);
        let app = App::new(store, HashMap::from_iter(keys));
        running.spawn(serve(listener, limited(router(app)), stopped.clone()));
    }
    let age = Duration::from_hours(24 * options.keep_events_days);
    running.spawn(until(stopped, prune(database.clone(), age)));
    let ended = tokio::select! {
        _ = ctrl_c() => Ok(()),
        _ = terminate.recv() => Ok(()),
        Some(ended) = running.join_next() => Err(anyhow!("a part of the program ended: {ended:?}")),
    };
    stop.send_replace(true);
    let rest = async {
        while running.join_next().await.is_some() {}
        database.close().await;
    };
    tokio::select! {
        () = rest => {}
        () = sleep(PATIENCE) => tracing::warn!("not all could be ended in time"),
        _ = ctrl_c() => tracing::warn!("ended at once"),
        _ = terminate.recv() => tracing::warn!("ended at once"),
    }
    ended
}

/// Runs a part until the program is told to stop.
async fn until(mut stop: watch::Receiver<bool>, part: impl Future<Output = ()>) {
    tokio::select! {
        () = part => {}
        _ = stop.wait_for(|stop| *stop) => {}
    }
}

/// Prunes the log once an hour.
async fn prune(database: SqlStore, age: Duration) {
    loop {
        if let Err(fault) = database.prune(age).await {
            tracing::error!("the log is not pruned: {fault}");
        }
        sleep(Duration::from_hours(1)).await;
    }
}

/// Says what to try. If nobody can read it, that is no error.
fn greet(address: SocketAddr, (key, user): &(String, String)) {
    _ = writeln!(
        io::stdout(),
        r#"listening on http://{address}, API key {key} (user {user})

ID=$(curl -s http://{address}/tasks/parse -H 'Authorization: {key}' -d '{{"file":"data:,to be cut","chunk_processing":{{"target_length":2}}}}' | sed 's/.*"task_id":"\([^"]*\).*/\1/')
curl -si http://{address}/tasks/$ID/cancel -H 'Authorization: {key}'
curl -s http://{address}/tasks/$ID -H 'Authorization: {key}'
"#
    );
}
