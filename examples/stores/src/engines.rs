//! Engines for tests and storms: each in a folder of `TMPDIR` or, without it, in memory where there
//! is such a file system, on ports of its own, ended when it is dropped or this program ends in any
//! other way.
//!
//! One that is not installed says so and gives `None`, or panics if the environment variable
//! `ALL_ENGINES` is set.

use std::io::{self, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio, id};
use std::sync::atomic::{AtomicU16, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};
use std::{env, fs};

/// An engine that runs.
pub struct Engine {
    /// The argument of the store's `open`: addresses, with commas between the nodes of a cluster.
    pub address: String,
    /// The processes, in the order of the addresses.
    pub nodes: Vec<Node>,
    dir: PathBuf,
    /// A shell that waits for the end of its standard input, and cleans up.
    guard: Child,
}

/// A file that is not there yet: SQLite needs nothing else.
#[allow(clippy::unnecessary_wraps)] // as the others
pub fn sqlite() -> Option<Engine> {
    let mut engine = Engine::new();
    engine.address = format!("{}/tasks.db", engine.dir.display());
    Some(engine)
}

/// A server without tables.
pub fn postgres() -> Option<Engine> {
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let programs = versions.map(|version| version.path().join("bin"));
    let programs = programs.filter(|bin| bin.join("initdb").exists()).max();
    let programs = installed("PostgreSQL", programs)?;
    let (mut engine, port) = (Engine::new(), free_port());
    let data = engine.dir.join("data");
    // It refuses root.
    let is_root = engine.dir.metadata().expect("a folder").uid() == 0;
    let command = |program: &str| {
        let mut command = Command::new(if is_root { "setpriv" } else { "env" });
        if is_root {
            command.args(["--reuid=postgres", "--regid=postgres", "--clear-groups"]);
        }
        command.arg(programs.join(program)).arg("-D").arg(&data).current_dir("/");
        command
    };
    if is_root {
        let chown = Command::new("chown").arg("postgres").arg(&engine.dir).status();
        assert!(chown.expect("chown").success());
    }
    let mut initdb = command("initdb");
    initdb.args(["-U", "postgres", "-A", "trust", "-N"]).stdout(Stdio::null());
    assert!(initdb.status().expect("initdb").success());
    let mut server = command("postgres");
    server.args(["-c", &format!("port={port}"), "-c", "listen_addresses=127.0.0.1"]);
    server.args(["-c", "max_connections=300", "-c", "unix_socket_directories="]);
    server.args(["-c", "dynamic_shared_memory_type=mmap"]); // in its folder
    engine.start(server);
    let state = data.join("postmaster.pid");
    engine.wait(|| fs::read_to_string(&state).is_ok_and(|text| text.contains("ready")));
    engine.address = format!("postgres://postgres@127.0.0.1:{port}/postgres");
    Some(engine)
}

/// A cluster of three nodes that know a leader.
pub fn etcd() -> Option<Engine> {
    let program = installed("etcd", find("etcd"))?;
    let mut engine = Engine::new();
    let url = |_| format!("http://127.0.0.1:{}", free_port());
    let (clients, peers) = ([0; 3].map(url), [0; 3].map(url));
    let cluster = peers.iter().enumerate().map(|(at, peer)| format!("{at}={peer}"));
    let cluster = cluster.collect::<Vec<_>>().join(",");
    for (at, (client, peer)) in clients.iter().zip(&peers).enumerate() {
        let mut node = Command::new(&program);
        node.args(["--name", &at.to_string(), "--initial-cluster", &cluster]);
        node.arg("--data-dir").arg(engine.dir.join(at.to_string()));
        node.args(["--listen-client-urls", client, "--advertise-client-urls", client]);
        node.args(["--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer]);
        // For a machine that does other things, too.
        node.args(["--heartbeat-interval", "100", "--election-timeout", "1000"]);
        node.args(["--log-level", "error"]);
        engine.start(node);
    }
    engine.wait(|| clients.iter().all(|it| is_healthy(&it["http://".len()..])));
    engine.address = clients.join(",");
    Some(engine)
}

/// A server that flushes each write.
pub fn redis() -> Option<Engine> {
    let program = find("redis-server").or_else(|| find("valkey-server"));
    let mut server = Command::new(installed("Redis", program)?);
    let (engine, port) = (Engine::new(), free_port());
    server.args(["--port", &port.to_string(), "--bind", "127.0.0.1"]).arg("--dir").arg(&engine.dir);
    server.args(["--save", "", "--appendonly", "yes", "--appendfsync", "always"]);
    Some(engine.listening("redis", port, server))
}

/// moto, which has everything in memory, with a bucket `tasks`.
pub fn s3() -> Option<Engine> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let python = here.join("../../target/moto/bin/python");
    let mut server = Command::new(installed("moto", python.exists().then_some(python))?);
    let port = free_port();
    server.arg(here.join("s3.py")).arg(port.to_string());
    Some(Engine::new().listening("http", port, server))
}

impl Engine {
    fn new() -> Self {
        remove_clocks();
        let asked = env::var_os("TMPDIR").map(PathBuf::from);
        let memory = Some(PathBuf::from("/dev/shm")).filter(|memory| memory.is_dir());
        let name = format!("task-stores-{}-{}", id(), free_port());
        let dir = asked.or(memory).unwrap_or_else(env::temp_dir).join(name);
        fs::create_dir(&dir).expect("a new folder");
        // The nodes are in its group. A paused one ends when it goes on.
        let script = "trap '' INT TERM QUIT; read _; kill -s QUIT 0; kill -s CONT 0
            sleep 1; rm -rf \"$1\"; kill -s KILL 0";
        let mut guard = Command::new("sh");
        guard.args(["-c", script, "guard"]).arg(&dir).process_group(0).stdin(Stdio::piped());
        let guard = guard.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("sh");
        Self { address: String::new(), nodes: vec![], dir, guard }
    }

    fn start(&mut self, mut command: Command) {
        let log = self.dir.join("log");
        let log = || fs::OpenOptions::new().create(true).append(true).open(&log).expect("a log");
        command.stdin(Stdio::null()).stdout(log()).stderr(log());
        command.process_group(self.guard.id().cast_signed());
        let child = command.spawn().expect("an engine that starts");
        self.nodes.push(Node { command, child });
    }

    fn listening(mut self, protocol: &str, port: u16, server: Command) -> Self {
        self.start(server);
        self.wait(|| TcpStream::connect(("127.0.0.1", port)).is_ok());
        self.address = format!("{protocol}://127.0.0.1:{port}");
        self
    }

    fn wait(&mut self, is_ready: impl Fn() -> bool) {
        let end = Instant::now() + Duration::from_mins(3);
        while !is_ready() {
            let may_come = Instant::now() < end && self.nodes.iter_mut().all(Node::is_running);
            let log = || fs::read_to_string(self.dir.join("log")).unwrap_or_default();
            assert!(may_come, "an engine does not start:\n{}", log());
            sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        drop(self.guard.stdin.take());
        for node in &mut self.nodes {
            _ = node.child.wait();
        }
    }
}

/// A process of an engine.
pub struct Node {
    command: Command,
    child: Child,
}

impl Node {
    /// Kills it: `SIGKILL`.
    pub fn kill(&mut self) {
        self.child.kill().expect("kill");
        self.child.wait().expect("its end");
    }

    /// Starts it again, on the files that it left.
    pub fn restart(&mut self) {
        self.child = self.command.spawn().expect("an engine that starts");
    }

    /// Stops it where it is: `SIGSTOP`.
    pub fn pause(&self) {
        self.signal("STOP");
    }

    /// Lets it go on: `SIGCONT`.
    pub fn resume(&self) {
        self.signal("CONT");
    }

    /// Returns false once it was killed or has ended by itself.
    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().is_ok_and(|ended| ended.is_none())
    }

    fn signal(&self, name: &str) {
        let sent = Command::new("kill").args(["-s", name, &self.child.id().to_string()]).status();
        assert!(sent.expect("kill").success());
    }
}

/// Removes what libfaketime leaves of processes that were killed.
fn remove_clocks() {
    for file in fs::read_dir("/dev/shm").into_iter().flatten().flatten() {
        let name = file.file_name().into_string().unwrap_or_default();
        let id = name.strip_prefix("faketime_shm_").or(name.strip_prefix("sem.faketime_sem_"));
        if id.is_some_and(|id| !Path::new("/proc").join(id).exists()) {
            _ = fs::remove_file(file.path());
        }
    }
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

/// Asks a node of etcd for a leader: it listens long before it knows one.
fn is_healthy(address: &str) -> bool {
    let ask = || -> io::Result<String> {
        let mut node = TcpStream::connect(address)?;
        node.set_read_timeout(Some(Duration::from_secs(1)))?;
        node.write_all(b"GET /health HTTP/1.0\r\n\r\n")?;
        io::read_to_string(node)
    };
    ask().is_ok_and(|answer| answer.contains("true"))
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
        let count = id().wrapping_mul(251) + u32::from(COUNT.fetch_add(1, Ordering::Relaxed));
        let port = 15_000 + u16::try_from(count % 15_000).expect("it is smaller");
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}
