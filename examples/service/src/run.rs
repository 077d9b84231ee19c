//! The whole program: options, a store, a server, workers.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinSet;
use uuid::Uuid;

use crate::request::App;
use crate::routes::router;
use crate::server::serve;
use crate::store::{SqlStore, Store, StoreError};
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
}

fn key_and_user(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, user)) if !key.is_empty() && !user.is_empty() => {
            Ok((key.to_owned(), user.to_owned()))
        }
        _ => Err("expected KEY=USER".to_owned()),
    }
}

/// Why the program cannot start.
#[derive(thiserror::Error, Debug)]
pub enum Fault {
    #[error("{0}: {1}")]
    Database(String, StoreError),
    #[error("{0}: {1}")]
    Listen(SocketAddr, io::Error),
    #[error("{0} can be reached from elsewhere: name the --api-key that clients must send")]
    NoKey(SocketAddr),
    #[error("--no-server and --workers 0 leave nothing to do")]
    Nothing,
    #[error("signals: {0}")]
    Signals(io::Error),
}

/// Runs until it is interrupted. `wrap` is the identity, but for those who want a store to fail.
///
/// # Errors
///
/// If it cannot start.
pub async fn run(
    options: Options,
    wrap: impl FnOnce(SqlStore) -> Arc<dyn Store>,
) -> Result<(), Fault> {
    if options.no_server && options.workers == 0 {
        return Err(Fault::Nothing);
    }
    let lease = Duration::from_secs(options.lease_seconds);
    let store = match SqlStore::open(&options.database, lease).await {
        Ok(store) => wrap(store),
        Err(fault) => return Err(Fault::Database(options.database, fault)),
    };
    let stopping = until_interrupted().map_err(Fault::Signals)?;
    let (stop, stopped) = watch::channel(false);
    let mut running = JoinSet::new();
    for _ in 0..options.workers {
        let worker = Worker {
            store: store.clone(),
            name: format!("worker {}", Uuid::new_v4()),
            takes: Duration::from_millis(options.work_millis),
            lease,
        };
        running.spawn(worker.work(stopped.clone()));
    }
    if !options.no_server {
        let mut keys = options.api_keys;
        if keys.is_empty() {
            if !options.listen.ip().is_loopback() {
                return Err(Fault::NoKey(options.listen));
            }
            keys.push(("try-me".to_owned(), "demo".to_owned()));
        }
        let listening = TcpListener::bind(options.listen).await;
        let listener = listening.map_err(|fault| Fault::Listen(options.listen, fault))?;
        let address = listener
            .local_addr()
            .map_err(|fault| Fault::Listen(options.listen, fault))?;
        greet(address, &keys[0]);
        let keys = Arc::new(HashMap::from_iter(keys));
        running.spawn(serve(listener, router(App { store, keys }), stopped));
    }
    stopping.await;
    stop.send_replace(true);
    running.join_all().await;
    Ok(())
}

/// What to do next.
fn greet(address: SocketAddr, (key, user): &(String, String)) {
    println!(
        r#"listening on http://{address}, API key {key} (user {user})

ID=$(curl -s http://{address}/tasks/parse -H 'Authorization: {key}' --json '{{"file":"data:,to be cut","chunk_processing":{{"target_length":2}}}}' | grep -oP '"task_id":"\K[^"]+')
curl -si http://{address}/tasks/$ID/cancel -H 'Authorization: {key}'
curl -s http://{address}/tasks/$ID -H 'Authorization: {key}'
"#
    );
}

fn until_interrupted() -> io::Result<impl Future<Output = ()>> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    })
}
