use std::io::{Write as _, stderr};
use std::net::TcpListener;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;

use tempfile::TempDir;

use crate::fresh;

/// Says what is skipped where a person sees it: the test runner hides what a passing test prints.
pub(crate) fn skipped(what: &str) {
    _ = writeln!(stderr(), "SKIPPED: {what}");
}

/// A PostgreSQL server of the tests' own. It ends with their process, whose end closes its input.
pub(crate) struct Postgres {
    url: String,
    _server: Child,
}

/// Starts the server, says so, and waits for the end of the input.
const SERVER: &str = "set -e
cd \"$1\"
\"$0/initdb\" -D data -U postgres -A trust -N >log 2>&1
\"$0/pg_ctl\" -D data -l log -w -t 600 -o \"-c port=$2 -c listen_addresses=127.0.0.1 \
    -c unix_socket_directories=$1 -c max_connections=300\" start >>log 2>&1
touch started
cat >/dev/null
\"$0/pg_ctl\" -D data -m immediate stop >>log 2>&1
rm -rf data";

impl Postgres {
    /// The server of this process; `None`, with a message, if PostgreSQL is not installed.
    pub(crate) fn shared() -> Option<&'static Self> {
        static SHARED: OnceLock<Option<Postgres>> = OnceLock::new();
        SHARED.get_or_init(Self::start).as_ref()
    }

    fn start() -> Option<Self> {
        let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten();
        let programs = versions.flatten().map(|version| version.path().join("bin"));
        let Some(programs): Option<PathBuf> =
            programs.filter(|bin| bin.join("initdb").exists()).max()
        else {
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
        command.args(["-c", SERVER]).arg(&programs).arg(&dir).arg(port.to_string());
        let mut server = command.stdin(Stdio::piped()).current_dir("/").spawn().unwrap();
        while !dir.join("started").exists() {
            if let Some(status) = server.try_wait().unwrap() {
                panic!("{status}: {}", std::fs::read_to_string(dir.join("log")).unwrap());
            }
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        Some(Self { url: format!("postgres://postgres@127.0.0.1:{port}"), _server: server })
    }

    /// Creates a database, and returns its URL.
    pub(crate) fn database(&self) -> String {
        let name = fresh("tasks");
        let mut command = Command::new("createdb");
        command.arg(format!("--maintenance-db={}/postgres", self.url)).arg(&name);
        let output = command.output().unwrap();
        assert!(output.status.success(), "{output:?}");
        format!("{}/{name}", self.url)
    }
}
