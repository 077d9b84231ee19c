//! Engines for tests and storms: each in a temporary folder, in memory where there is such a file
//! system, on ports of its own, killed when it is dropped.
//!
//! One that is not installed says so and gives `None`, or panics if the environment variable
//! `ALL_ENGINES` is set.

use std::io::{self, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};
use std::{env, fs};

use tempfile::TempDir;

/// An engine that runs.
pub struct Engine {
    /// For the store's `open`. With commas between the nodes of a cluster.
    pub address: String,
    /// In the order of the addresses.
    pub nodes: Vec<Node>,
    /// Removed after the nodes are gone.
    _dir: TempDir,
}

/// A file that is not there yet: SQLite needs nothing else.
#[allow(clippy::unnecessary_wraps)] // as the others
pub fn sqlite() -> Option<Engine> {
    let dir = folder();
    Some(Engine { address: format!("{}/tasks.db", path(&dir)), nodes: vec![], _dir: dir })
}

/// A server without tables.
pub fn postgres() -> Option<Engine> {
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let programs = versions.map(|version| version.path().join("bin"));
    let programs = programs.filter(|bin| bin.join("initdb").exists()).max();
    let programs = installed("PostgreSQL", programs)?;
    let (dir, port) = (folder(), free_port());
    let data = format!("{}/data", path(&dir));
    // It refuses root.
    let user = (id("-u", &[]) == 0).then(|| (id("-u", &["postgres"]), id("-g", &["postgres"])));
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
    let mut server = command("postgres");
    server.args(["-c", &format!("port={port}"), "-c", "listen_addresses=127.0.0.1"]);
    server.args(["-c", "max_connections=200", "-c", "unix_socket_directories="]);
    let mut nodes = vec![Node::start(server, "QUIT", &dir)];
    let pid_file = Path::new(&data).join("postmaster.pid");
    let is_ready = || fs::read_to_string(&pid_file).is_ok_and(|text| text.contains("ready"));
    wait(&mut nodes, &dir, is_ready);
    let address = format!("postgres://postgres@127.0.0.1:{port}/postgres");
    Some(Engine { address, nodes, _dir: dir })
}

/// A cluster of three nodes that know a leader.
pub fn etcd() -> Option<Engine> {
    const NAMES: [&str; 3] = ["one", "two", "three"];
    let program = installed("etcd", find("etcd"))?;
    let dir = folder();
    let url = || format!("http://127.0.0.1:{}", free_port());
    let (clients, peers) = (NAMES.map(|_| url()), NAMES.map(|_| url()));
    let cluster: Vec<_> =
        NAMES.iter().zip(&peers).map(|(name, peer)| format!("{name}={peer}")).collect();
    let start = |at: usize| {
        let mut node = Command::new(&program);
        node.args(["--name", NAMES[at], "--data-dir", &format!("{}/{}", path(&dir), NAMES[at])]);
        node.args(["--listen-client-urls", &clients[at], "--advertise-client-urls", &clients[at]]);
        node.args(["--listen-peer-urls", &peers[at], "--initial-advertise-peer-urls", &peers[at]]);
        node.args(["--initial-cluster", &cluster.join(","), "--log-level", "error"]);
        // For a machine that does other things, too.
        node.args(["--heartbeat-interval", "100", "--election-timeout", "1000"]);
        Node::start(node, "KILL", &dir)
    };
    let mut nodes = (0..NAMES.len()).map(start).collect::<Vec<_>>();
    wait(&mut nodes, &dir, || clients.iter().all(|it| is_healthy(&it["http://".len()..])));
    Some(Engine { address: clients.join(","), nodes, _dir: dir })
}

/// A server that flushes each write.
pub fn redis() -> Option<Engine> {
    let program = find("redis-server").or_else(|| find("valkey-server"));
    let mut server = Command::new(installed("Redis", program)?);
    let (dir, port) = (folder(), free_port());
    server.args(["--port", &port.to_string(), "--dir", path(&dir), "--bind", "127.0.0.1"]);
    server.args(["--save", "", "--appendonly", "yes", "--appendfsync", "always"]);
    Some(listening("redis", port, server, dir))
}

/// moto, which has everything in memory, with a bucket `tasks`.
pub fn s3() -> Option<Engine> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let python = here.join("../../target/moto/bin/python");
    let mut server = Command::new(installed("moto", python.exists().then_some(python))?);
    let port = free_port();
    server.arg(here.join("s3.py")).arg(port.to_string());
    Some(listening("http", port, server, folder()))
}

fn installed<T>(name: &str, program: Option<T>) -> Option<T> {
    if program.is_none() {
        let text = format!("{name} is not installed: see examples/stores/install");
        assert!(env::var_os("ALL_ENGINES").is_none(), "{text}");
        // Past the capture of the test runner.
        _ = writeln!(io::stderr(), "SKIPPED: {text}");
    }
    program
}

fn listening(protocol: &str, port: u16, server: Command, dir: TempDir) -> Engine {
    let mut nodes = vec![Node::start(server, "KILL", &dir)];
    wait(&mut nodes, &dir, || TcpStream::connect(("127.0.0.1", port)).is_ok());
    Engine { address: format!("{protocol}://127.0.0.1:{port}"), nodes, _dir: dir }
}

/// A process, killed when it is dropped, or when this program ends in any other way.
pub struct Node {
    command: Command,
    child: Child,
    guard: Child,
    end: &'static str,
    dir: PathBuf,
}

impl Node {
    fn start(mut command: Command, end: &'static str, dir: &TempDir) -> Self {
        let log = || fs::OpenOptions::new().create(true).append(true).open(dir.path().join("log"));
        command.stdin(Stdio::null());
        command.stdout(log().expect("a log")).stderr(log().expect("a log"));
        let child = command.spawn().expect("an engine that starts");
        let guard = guard(&child, end, dir.path());
        Self { command, child, guard, end, dir: dir.path().to_owned() }
    }

    /// Kills it: `SIGKILL`.
    pub fn kill(&mut self) {
        self.unguard();
        self.child.kill().expect("kill");
        self.child.wait().expect("its end");
    }

    /// Starts it again, on the files that it left.
    pub fn restart(&mut self) {
        self.unguard();
        self.child = self.command.spawn().expect("an engine that starts");
        self.guard = guard(&self.child, self.end, &self.dir);
    }

    /// Stops it where it is: `SIGSTOP`.
    pub fn pause(&self) {
        self.signal("STOP");
    }

    /// Lets it go on: `SIGCONT`.
    pub fn resume(&self) {
        self.signal("CONT");
    }

    /// Whether it has neither been killed nor ended by itself.
    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().is_ok_and(|ended| ended.is_none())
    }

    fn signal(&self, name: &str) {
        let id = self.child.id().to_string();
        let sent = Command::new("kill").args(["-s", name, &id]).stderr(Stdio::null()).status();
        assert!(sent.expect("kill").success());
    }

    fn unguard(&mut self) {
        _ = self.guard.kill();
        _ = self.guard.wait();
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.unguard();
        if self.is_running() {
            self.signal(self.end);
            self.signal("CONT");
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

fn wait(nodes: &mut [Node], dir: &TempDir, is_ready: impl Fn() -> bool) {
    let end = Instant::now() + Duration::from_mins(3);
    while !is_ready() {
        let may_come = Instant::now() < end && nodes.iter_mut().all(Node::is_running);
        let log = || fs::read_to_string(dir.path().join("log")).unwrap_or_default();
        assert!(may_come, "an engine does not start:\n{}", log());
        sleep(Duration::from_millis(20));
    }
}

/// Whether a node of etcd knows a leader: it listens long before.
fn is_healthy(address: &str) -> bool {
    let ask = || -> io::Result<String> {
        let mut node = TcpStream::connect(address)?;
        node.set_read_timeout(Some(Duration::from_secs(1)))?;
        node.write_all(b"GET /health HTTP/1.0\r\n\r\n")?;
        io::read_to_string(node)
    };
    ask().is_ok_and(|answer| answer.contains("true"))
}

fn folder() -> TempDir {
    let memory = Path::new("/dev/shm");
    let dir = if memory.is_dir() { TempDir::new_in(memory) } else { TempDir::new() };
    dir.expect("a temporary folder")
}

fn path(dir: &TempDir) -> &str {
    dir.path().to_str().expect("a path in UTF-8")
}

fn find(program: &str) -> Option<PathBuf> {
    let folders = env::var_os("PATH")?;
    env::split_paths(&folders).map(|folder| folder.join(program)).find(|file| file.exists())
}

/// A port that this program has not had before, far from those of its neighbours. It is below those
/// that a system gives to outgoing connections: a server that was killed finds its own free when it
/// starts again.
fn free_port() -> u16 {
    static COUNT: AtomicU16 = AtomicU16::new(0);
    loop {
        let count = std::process::id() * 251 + u32::from(COUNT.fetch_add(1, Ordering::Relaxed));
        let port = 15_000 + u16::try_from(count % 15_000).expect("it is smaller");
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

fn id(which: &str, user: &[&str]) -> u32 {
    let output = Command::new("id").arg(which).args(user).output().expect("id");
    String::from_utf8_lossy(&output.stdout).trim().parse().expect("a number")
}
