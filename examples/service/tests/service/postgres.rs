use std::process::Command;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

// A file and not the package, whose other engines' clients would take minutes to compile.
#[expect(dead_code, reason = "of the engines one is used")]
#[path = "../../../stores/src/engines.rs"]
mod engines;

use engines::Engine;

/// A PostgreSQL server of this process, which ends with it.
pub(crate) struct Postgres(Engine);

impl Postgres {
    /// `None`, with a message, if PostgreSQL is not installed.
    pub(crate) fn shared() -> Option<&'static Self> {
        static SHARED: OnceLock<Option<Postgres>> = OnceLock::new();
        SHARED.get_or_init(|| engines::postgres().map(Self)).as_ref()
    }

    /// Creates a database, and returns its URL.
    pub(crate) fn database(&self) -> String {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let name = format!("tasks_{}", COUNT.fetch_add(1, Ordering::Relaxed));
        let maintenance = &self.0.address;
        let create = ["--maintenance-db", maintenance, &name];
        assert!(Command::new("createdb").args(create).status().unwrap().success());
        format!("{}/{name}", maintenance.strip_suffix("/postgres").unwrap())
    }
}
