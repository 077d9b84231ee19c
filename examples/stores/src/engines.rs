//! Engines for the tests and the commands: each in a temporary folder, on a port of its own, killed
//! when it is dropped.

use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU16, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};
use std::{env, fs};

use tempfile::TempDir;

/// Where an engine keeps its files.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Disk {
    /// In memory, where there is such a file system: a flush costs nothing.
    Memory,
    /// In the folder for temporary files, flushed to the disk.
    Real,
}

/// An engine that runs.
pub struct Engine {
    /// For `Store::open`.
    pub address: String,
    pub processes: Vec<Process>,
    /// Removed after the processes are gone.
    _dir: TempDir,
}

/// Starts an engine by name. If it is not installed, it says so, or panics if the environment
/// variable `ALL_ENGINES` is set.
pub fn start(name: &str, disk: Disk) -> Option<Engine> {
    let engine = match name {
        "SQLite" => Some(sqlite(disk)),
        "PostgreSQL" => postgres(disk),
        "etcd" => etcd(disk),
        "Redis" => redis(disk),
        "S3" => s3(disk),
        _ => panic!("no engine {name}"),
    };
    if engine.is_none() {
        // Past the capture of the test runner.
        _ = writeln!(
            std::io::stderr(),
            "SKIPPED: {name} is not installed (examples/stores/install)"
        );
    }
    engine
}

fn sqlite(disk: Disk) -> Engine {
    let dir = folder(disk);
    Engine { address: format!("{}/tasks.db", path(&dir)), processes: vec![], _dir: dir }
}

fn postgres(disk: Disk) -> Option<Engine> {
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let programs = versions.map(|version| version.path().join("bin"));
    let programs = programs.filter(|bin| bin.join("initdb").exists()).max()?;
    let dir = folder(disk);
    let data = format!("{}/data", path(&dir));
    // It refuses root.
    let user =
        (id("-u", None) == 0).then(|| (id("-u", Some("postgres")), id("-g", Some("postgres"))));
    let command = |program: &str| {
        let mut command = Command::new(programs.join(program));
        command.current_dir("/").args(["-D", &data]);
        if let Some((user, group)) = user {
            command.uid(user).gid(group);
        }
        command
    };
    if let Some((user, group)) = user {
        chown(dir.path(), Some(user), Some(group)).expect("chown");
    }
    let mut initdb = command("initdb");
    initdb.args(["-U", "postgres", "-A", "trust", "-N"]).stdout(Stdio::null());
    assert!(initdb.status().expect("initdb").success());
    let port = free_port();
    let mut server = command("postgres");
    server.args(["-c", &format!("port={port}"), "-c", "listen_addresses=127.0.0.1"]);
    server.args(["-c", "max_connections=200", "-c", "unix_socket_directories="]);
    let mut processes = vec![Process::start(server, "QUIT", &dir)];
    let pid_file = Path::new(&data).join("postmaster.pid");
    let is_ready = || fs::read_to_string(&pid_file).is_ok_and(|text| text.contains("ready"));
    wait(&mut processes, &dir, is_ready);
    let address = format!("postgres://postgres@127.0.0.1:{port}/postgres");
    Some(Engine { address, processes, _dir: dir })
}

/// Three nodes.
fn etcd(disk: Disk) -> Option<Engine> {
    const NODES: [&str; 3] = ["one", "two", "three"];
    let program = find("etcd")?;
    let dir = folder(disk);
    let url = || format!("http://127.0.0.1:{}", free_port());
    let (clients, peers) = (NODES.map(|_| url()), NODES.map(|_| url()));
    let cluster: Vec<_> =
        NODES.iter().zip(&peers).map(|(name, peer)| format!("{name}={peer}")).collect();
    let start = |at: usize| {
        let mut node = Command::new(&program);
        node.args(["--name", NODES[at], "--data-dir", &format!("{}/{}", path(&dir), NODES[at])]);
        node.args(["--listen-client-urls", &clients[at], "--advertise-client-urls", &clients[at]]);
        node.args(["--listen-peer-urls", &peers[at], "--initial-advertise-peer-urls", &peers[at]]);
        node.args(["--initial-cluster", &cluster.join(","), "--log-level", "error"]);
        // For a machine that does other things, too.
        node.args(["--heartbeat-interval", "100", "--election-timeout", "1000"]);
        Process::start(node, "KILL", &dir)
    };
    let mut processes = (0..NODES.len()).map(start).collect::<Vec<_>>();
    // A node that is no member of a cluster yet does not listen to clients.
    wait(&mut processes, &dir, || clients.iter().all(|it| answers(&it["http://".len()..])));
    Some(Engine { address: clients.join(","), processes, _dir: dir })
}

fn redis(disk: Disk) -> Option<Engine> {
    let program = find("redis-server").or_else(|| find("valkey-server"))?;
    let (dir, port) = (folder(disk), free_port().to_string());
    let mut server = Command::new(program);
    server.args(["--port", &port, "--dir", path(&dir), "--bind", "127.0.0.1", "--save", ""]);
    server.args(["--appendonly", "yes", "--appendfsync", "always"]);
    let mut processes = vec![Process::start(server, "KILL", &dir)];
    let address = format!("127.0.0.1:{port}");
    wait(&mut processes, &dir, || answers(&address));
    Some(Engine { address: format!("redis://{address}/"), processes, _dir: dir })
}

fn s3(disk: Disk) -> Option<Engine> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let python = here.join("../../target/moto/bin/python");
    python.exists().then_some(())?;
    let (dir, port) = (folder(disk), free_port().to_string());
    let mut server = Command::new(python);
    server.arg(here.join("s3.py")).arg(&port);
    let mut processes = vec![Process::start(server, "KILL", &dir)];
    let address = format!("127.0.0.1:{port}");
    wait(&mut processes, &dir, || answers(&address));
    Some(Engine { address: format!("http://{address}"), processes, _dir: dir })
}

/// A server, killed when it is dropped, or when this program ends in any other way.
pub struct Process {
    command: Command,
    child: Child,
    guard: Child,
    end: &'static str,
    dir: PathBuf,
}

impl Process {
    fn start(mut command: Command, end: &'static str, dir: &TempDir) -> Self {
        let log = || fs::OpenOptions::new().create(true).append(true).open(dir.path().join("log"));
        command.stdin(Stdio::null());
        command.stdout(log().expect("a log")).stderr(log().expect("a log"));
        let child = command.spawn().expect("an engine that starts");
        let guard = guard(&child, end, dir.path());
        Self { command, child, guard, end, dir: dir.path().to_owned() }
    }

    /// Sends `STOP` or `CONT`.
    pub fn signal(&self, name: &str) {
        let id = self.child.id().to_string();
        let sent = Command::new("kill").args(["-s", name, &id]).stderr(Stdio::null()).status();
        assert!(sent.expect("kill").success());
    }

    /// `SIGKILL`.
    pub fn kill(&mut self) {
        self.unguard();
        self.child.kill().expect("kill");
        self.child.wait().expect("its end");
    }

    /// Starts it again, on the files that it left.
    pub fn start_again(&mut self) {
        self.unguard();
        self.child = self.command.spawn().expect("an engine that starts");
        self.guard = guard(&self.child, self.end, &self.dir);
    }

    /// Whether it has not ended by itself.
    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().is_ok_and(|ended| ended.is_none())
    }

    fn unguard(&mut self) {
        _ = self.guard.kill();
        _ = self.guard.wait();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.unguard();
        if self.is_running() {
            self.signal(self.end);
        }
        _ = self.child.wait();
    }
}

/// A shell that waits for the end of this program, which closes its standard input, and cleans up.
fn guard(child: &Child, end: &str, dir: &Path) -> Child {
    let (id, dir) = (child.id(), dir.display());
    let script = format!("trap '' INT TERM; read _; kill -s {end} {id}; sleep 1; rm -rf '{dir}'");
    let mut guard = Command::new("sh");
    guard.args(["-c", &script]).stdin(Stdio::piped());
    guard.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("sh")
}

fn folder(disk: Disk) -> TempDir {
    let memory = Path::new("/dev/shm");
    let dir = if disk == Disk::Memory && memory.is_dir() {
        TempDir::new_in(memory)
    } else {
        TempDir::new()
    };
    dir.expect("a temporary folder")
}

fn path(dir: &TempDir) -> &str {
    dir.path().to_str().expect("a path in UTF-8")
}

fn find(program: &str) -> Option<PathBuf> {
    let folders = env::var_os("PATH")?;
    env::split_paths(&folders).map(|folder| folder.join(program)).find(|file| file.exists())
}

/// A port that this program has not had before. It is below those that a system gives to outgoing
/// connections: a server that was killed finds its own free when it starts again.
fn free_port() -> u16 {
    static NEXT: LazyLock<AtomicU16> = LazyLock::new(|| rand::random_range(0..15_000).into());
    loop {
        let port = 15_000 + NEXT.fetch_add(1, Ordering::Relaxed) % 15_000;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

fn answers(address: &str) -> bool {
    TcpStream::connect(address).is_ok()
}

fn wait(processes: &mut [Process], dir: &TempDir, is_ready: impl Fn() -> bool) {
    let end = Instant::now() + Duration::from_mins(1);
    while !is_ready() {
        let may_come = Instant::now() < end && processes.iter_mut().all(Process::is_running);
        let log = || fs::read_to_string(dir.path().join("log")).unwrap_or_default();
        assert!(may_come, "an engine does not start:\n{}", log());
        sleep(Duration::from_millis(20));
    }
}

fn id(which: &str, user: Option<&str>) -> u32 {
    let output = Command::new("id").arg(which).args(user).output().expect("id");
    String::from_utf8_lossy(&output.stdout).trim().parse().expect("a number")
}
