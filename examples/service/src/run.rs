//! The whole program: options, a store, a server, workers.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, ensure};
use tokio::net::TcpListener;
use tokio::signal::ctrl_c;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinSet;
use uuid::Uuid;

use crate::request::App;
use crate::routes::router;
use crate::server::serve;
use crate::store::{SqlStore, Store};
use crate::worker::Worker;

/// Cuts documents into chunks, as tasks that can be cancelled and updated.
#[derive(clap::Parser, Clone, Debug)]
#[command(version)]
pub struct Options {
    /// Where to listen; port 0 takes one that is free
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8000")]
    pub listen: SocketAddr,
    /// sqlite://FILE, made if it is not there, or postgres://USER@HOST/NAME; several processes can
    /// share one
    #[arg(long, value_name = "URL", default_value = "sqlite://tasks.db")]
    pub database: String,
    /// Workers in this process; 0: only the server
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub workers: usize,
    /// Only the workers
    #[arg(long)]
    pub no_server: bool,
    /// A key that clients may send, and the user whom it belongs to; can be repeated [default:
    /// try-me=demo, while nobody else can reach the address]
    #[arg(long = "api-key", value_name = "KEY=USER", value_parser = key_and_user)]
    pub api_keys: Vec<(String, String)>,
    /// How long a document takes, in milliseconds
    #[arg(long, value_name = "MS", default_value_t = 2000)]
    pub work_millis: u64,
    /// How long after its last word the run of a worker counts as dead, in seconds
    #[arg(long, value_name = "S", default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=86400))]
    pub lease_seconds: u64,
    /// After how many runs that ended so a task has failed
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..))]
    pub attempts: u64,
}

fn key_and_user(text: &str) -> Result<(String, String), &'static str> {
    let (key, user) = text.split_once('=').unwrap_or_default();
    let is_whole = !key.is_empty() && !user.is_empty();
    is_whole.then(|| (key.to_owned(), user.to_owned())).ok_or("expected KEY=USER")
}

/// Runs until it is interrupted. `wrap` is the identity, but for those who want a store to fail.
pub async fn run(
    options: Options,
    wrap: impl FnOnce(SqlStore) -> Arc<dyn Store>,
) -> anyhow::Result<()> {
    let Options { listen, database, .. } = options;
    ensure!(options.workers > 0 || !options.no_server, "--no-server and --workers 0: no work");
    let lease = Duration::from_secs(options.lease_seconds);
    let store = wrap(SqlStore::open(&database, lease).await.context(database)?);
    let mut terminate = signal(SignalKind::terminate())?;
    let (stop, stopped) = watch::channel(false);
    let mut running = JoinSet::new();
    for _ in 0..options.workers {
        let worker = Worker {
            store: store.clone(),
            name: format!("worker {}", Uuid::new_v4()),
            takes: Duration::from_millis(options.work_millis),
            lease,
            attempts: options.attempts,
        };
        running.spawn(worker.work(stopped.clone()));
    }
    if !options.no_server {
        let mut keys = options.api_keys;
        if keys.is_empty() {
            ensure!(listen.ip().is_loopback(), "{listen} is open to others: choose an --api-key");
            keys.push(("try-me".to_owned(), "demo".to_owned()));
        }
        let listener = TcpListener::bind(listen).await.with_context(|| listen)?;
        let address = listener.local_addr()?;
        greet(address, &keys[0]);
        let keys = Arc::new(HashMap::from_iter(keys));
        running.spawn(serve(listener, router(App { store, keys }), stopped));
    }
    tokio::select! {
        _ = ctrl_c() => {}
        _ = terminate.recv() => {}
    }
    stop.send_replace(true);
    running.join_all().await;
    Ok(())
}

/// What to do next.
fn greet(address: SocketAddr, (key, user): &(String, String)) {
    println!(
        r#"listening on http://{address}, API key {key} (user {user})

ID=$(curl -s http://{address}/tasks/parse -H 'Authorization: {key}' -d '{{"file":"data:,to be cut","chunk_processing":{{"target_length":2}}}}' | sed 's/.*"task_id":"\([^"]*\).*/\1/')
curl -si http://{address}/tasks/$ID/cancel -H 'Authorization: {key}'
curl -s http://{address}/tasks/$ID -H 'Authorization: {key}'
"#
    );
}
