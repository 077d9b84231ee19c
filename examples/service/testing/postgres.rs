use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

/// A PostgreSQL of its own, thrown away when it is dropped.
pub struct Postgres {
    dir: TempDir,
    programs: PathBuf,
    url: String,
}

impl Postgres {
    /// None, and a word of it on standard error, if PostgreSQL is not installed.
    pub fn start() -> Option<Self> {
        let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten();
        let programs = versions.flatten().map(|version| version.path().join("bin"));
        let Some(programs) = programs.filter(|bin| bin.join("initdb").exists()).max() else {
            eprintln!("PostgreSQL is not installed (Debian: postgresql): skipped");
            return None;
        };
        let dir = TempDir::new().unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let url = format!("postgres://postgres@127.0.0.1:{port}");
        let postgres = Self { dir, programs, url };
        let path = postgres.dir.path().to_str().unwrap();
        if is_root() {
            assert!(Command::new("chown").args(["postgres", path]).status().unwrap().success());
        }
        let data = &format!("{path}/data");
        postgres.call("initdb", &["-D", data, "-U", "postgres", "-A", "trust", "-N"]);
        let options = format!(
            "-c port={port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={path} \
             -c fsync=off -c max_connections=200"
        );
        let log = &format!("{path}/log");
        postgres.call("pg_ctl", &["-D", data, "-l", log, "-w", "-o", &options, "start"]);
        Some(postgres)
    }

    /// The address of a new database.
    pub fn database(&self, name: &str) -> String {
        let server = format!("--maintenance-db={}/postgres", self.url);
        self.call("createdb", &[&server, name]);
        format!("{}/{name}", self.url)
    }

    fn call(&self, program: &str, arguments: &[&str]) {
        let mut command = self.command(program, arguments);
        let output = command.output().unwrap();
        assert!(output.status.success(), "{command:?}: {output:?}");
    }

    /// One of its programs, as the user `postgres` if root runs this: it refuses root.
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
