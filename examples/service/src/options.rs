//! The command line. Nothing here prints a key or a database's URL, which may hold a password.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, anyhow, ensure};
use clap::Parser;

/// Cuts documents into chunks, as tasks that can be cancelled and updated.
#[derive(Parser, Clone)]
#[command(version)]
pub struct Options {
    /// The address to listen on; port 0 picks a free port
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8000")]
    pub listen: SocketAddr,
    /// sqlite://FILE, created if it is missing, or postgres://USER@HOST/NAME; several processes can
    /// share it
    #[arg(long, env = "DATABASE_URL", hide_env_values = true, default_value = "sqlite://tasks.db")]
    pub database: String,
    /// Workers in this process; 0 for the server alone
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub workers: usize,
    /// An API key and the user it belongs to; can be repeated [default: try-me=demo, if only this
    /// machine can reach the server]
    #[arg(long = "api-key", value_name = "KEY=USER")]
    pub api_keys: Vec<String>,
    /// A file of such keys, one per line
    #[arg(long, value_name = "FILE")]
    pub api_keys_file: Option<PathBuf>,
    /// The time that a document takes, in milliseconds
    #[arg(long, value_name = "MS", default_value_t = 2000)]
    pub work_millis: u64,
    /// The time that a run lasts unless its worker renews it, in seconds
    #[arg(long, value_name = "S", default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..=86400))]
    pub lease_seconds: u32,
    /// The number of expired leases at which a task fails
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    pub attempts: u32,
    /// For tests: a document that begins with `kills` kills the process of its worker
    #[arg(long, hide = true)]
    pub poison: bool,
}

impl Options {
    /// Reads the command line. An error does not repeat what was written, for it may be a key.
    pub fn read() -> anyhow::Result<Self> {
        Self::try_parse().map_err(|error| {
            if error.use_stderr() { anyhow!("{}: see --help", error.kind()) } else { error.exit() }
        })
    }

    pub fn lease(&self) -> Duration {
        Duration::from_secs(self.lease_seconds.into())
    }

    /// The user of each API key.
    pub fn keys(&self) -> anyhow::Result<HashMap<String, String>> {
        let mut lines = self.api_keys.clone();
        if let Some(file) = &self.api_keys_file {
            let text = std::fs::read_to_string(file).context("--api-keys-file cannot be read")?;
            ensure!(!text.trim().is_empty(), "--api-keys-file: no key in it");
            lines.extend(text.lines().filter(|line| !line.trim().is_empty()).map(str::to_owned));
        }
        if lines.is_empty() {
            ensure!(self.listen.ip().is_loopback(), "open to others: choose an --api-key");
            lines.push("try-me=demo".to_owned());
        }
        let mut keys = HashMap::new();
        for line in &lines {
            // A key may contain `=`, a user's name may not.
            let (key, user) = line.trim().rsplit_once('=').unwrap_or_default();
            ensure!(!key.is_empty() && !user.is_empty(), "an API key is not KEY=USER");
            let before = keys.insert(key.to_owned(), user.to_owned());
            ensure!(before.is_none_or(|before| before == user), "an API key is of two users");
        }
        Ok(keys)
    }
}
