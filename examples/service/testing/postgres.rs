use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use tempfile::TempDir;

/// A PostgreSQL server of its own, deleted when it is dropped.
pub struct Postgres {
    dir: TempDir,
    programs: PathBuf,
    port: u16,
    /// Whether commits survive a power failure.
    is_durable: bool,
}

impl Postgres {
    /// `None`, with a message, if PostgreSQL is not installed.
    pub fn start() -> Option<Self> {
        Self::with(false)
    }

    pub fn durable() -> Option<Self> {
        Self::with(true)
    }

    fn with(is_durable: bool) -> Option<Self> {
        let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten();
        let programs = versions.flatten().map(|version| version.path().join("bin"));
        let Some(programs) = programs.filter(|bin| bin.join("initdb").exists()).max() else {
            super::skipped("PostgreSQL is not installed (Debian: postgresql)");
            return None;
        };
        let dir = TempDir::new().unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let postgres = Self { dir, programs, port, is_durable };
        let path = postgres.dir.path().to_str().unwrap();
        if is_root() {
            assert!(Command::new("chown").args(["postgres", path]).status().unwrap().success());
        }
        let data = &format!("{path}/data");
        postgres.call("initdb", &["-D", data, "-U", "postgres", "-A", "trust", "-N"]);
        postgres.run();
        Some(postgres)
    }

    /// Creates a database and returns its URL.
    pub fn database(&self, name: &str) -> String {
        let url = format!("postgres://postgres@127.0.0.1:{}", self.port);
        self.call("createdb", &[&format!("--maintenance-db={url}/postgres"), name]);
        format!("{url}/{name}")
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// Crashes and restarts: either all its processes at once, or only the first one, which the others
    /// soon notice.
    pub fn crash(&self, is_killed: bool, pause: Duration) {
        let data = self.dir.path().join("data");
        if is_killed {
            let pid = std::fs::read_to_string(data.join("postmaster.pid")).unwrap();
            let kill = ["-KILL", pid.lines().next().unwrap()];
            assert!(Command::new("kill").args(kill).status().unwrap().success());
        } else {
            self.call("pg_ctl", &["-D", data.to_str().unwrap(), "-m", "immediate", "stop"]);
        }
        sleep(pause);
        self.run();
    }

    /// Starts the server. Remains of a killed one can be in the way, so it tries again.
    fn run(&self) {
        let path = self.dir.path().to_str().unwrap();
        let options = format!(
            "-c port={} -c listen_addresses=127.0.0.1 -c unix_socket_directories={path} \
             -c fsync={} -c max_connections=200",
            self.port,
            if self.is_durable { "on" } else { "off" }
        );
        let (data, log) = (&format!("{path}/data"), &format!("{path}/log"));
        let start = ["-D", data, "-l", log, "-w", "-o", &options, "start"];
        for _ in 0..50 {
            if self.command("pg_ctl", &start).stdout(Stdio::null()).status().unwrap().success() {
                return;
            }
            sleep(Duration::from_millis(200));
        }
        panic!("{}", std::fs::read_to_string(log).unwrap());
    }

    fn call(&self, program: &str, arguments: &[&str]) {
        let mut command = self.command(program, arguments);
        let output = command.output().unwrap();
        assert!(output.status.success(), "{command:?}: {output:?}");
    }

    /// One of its programs; as the user `postgres` if this is root, which it refuses.
    fn command(&self, program: &str, arguments: &[&str]) -> Command {
        let program = self.programs.join(program);
        let mut command = if is_root() {
            let mut command = Command::new("runuser");
            command.args(["-u", "postgres", "--"]).arg(program);
            command
        } else {
            Command::new(program)
        };
        command.args(arguments).current_dir("/");
        command
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        let data = self.dir.path().join("data");
        let stop = ["-D", data.to_str().unwrap(), "-m", "immediate", "stop"];
        _ = self.command("pg_ctl", &stop).output(); // it may be that it never started
    }
}

fn is_root() -> bool {
    use std::os::unix::fs::MetadataExt;
    Path::new("/proc/self").metadata().is_ok_and(|process| process.uid() == 0)
}
