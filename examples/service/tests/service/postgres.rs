use std::io::{Write as _, stderr};
use std::net::TcpListener;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use tempfile::TempDir;

/// Says what is skipped where a person sees it: the test runner hides what a passing test prints.
pub(crate) fn skipped(what: &str) {
    _ = writeln!(stderr(), "SKIPPED: {what}");
}

/// A PostgreSQL server of this process, with whose end its input ends.
pub(crate) struct Postgres(String, #[expect(dead_code, reason = "it is kept")] Child);

impl Postgres {
    /// `None`, with a message, if PostgreSQL is not installed.
    pub(crate) fn shared() -> Option<&'static Self> {
        static SHARED: OnceLock<Option<Postgres>> = OnceLock::new();
        SHARED.get_or_init(Self::start).as_ref()
    }

    fn start() -> Option<Self> {
        let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten();
        let programs = versions.flatten().map(|version| version.path().join("bin"));
        let Some(programs) = programs.filter(|bin| bin.join("initdb").exists()).max() else {
            skipped("PostgreSQL is not installed (Debian: postgresql)");
            return None;
        };
        let dir = TempDir::new().unwrap().keep();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut command = Command::new("sh");
        // The server refuses to run as root.
        if Path::new("/proc/self").metadata().is_ok_and(|process| process.uid() == 0) {
            assert!(Command::new("chown").arg("postgres").arg(&dir).status().unwrap().success());
            command = Command::new("runuser");
            command.args(["-u", "postgres", "--", "sh"]);
        }
        command.args(["-c", include_str!("server.sh")]).arg(programs).arg(&dir);
        command.arg(port.to_string()).stdin(Stdio::piped()).current_dir("/");
        let mut server = command.spawn().unwrap();
        while !dir.join("started").exists() {
            let log = || std::fs::read_to_string(dir.join("log"));
            assert!(server.try_wait().unwrap().is_none(), "{:?}", log());
        }
        Some(Self(format!("postgres://postgres@127.0.0.1:{port}"), server))
    }

    /// Creates a database, and returns its URL.
    pub(crate) fn database(&self) -> String {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let name = format!("tasks_{}", COUNT.fetch_add(1, Ordering::Relaxed));
        let maintenance = format!("--maintenance-db={}/postgres", self.0);
        assert!(Command::new("createdb").args([&maintenance, &name]).status().unwrap().success());
        format!("{}/{name}", self.0)
    }
}
