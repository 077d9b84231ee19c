use std::io::{self, BufRead, BufReader};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};

use tempfile::NamedTempFile;

/// A process of the service, killed when it is dropped.
pub struct Process {
    child: Child,
    /// The URL of its server; empty if it has none.
    pub url: String,
    /// Kept open for the process to print to.
    _stdout: BufReader<ChildStdout>,
    stderr: NamedTempFile,
}

const SHIFTS_CLOCKS: &str = "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1";

pub fn can_shift_clocks() -> bool {
    Path::new(SHIFTS_CLOCKS).exists()
}

impl Process {
    pub fn start(program: impl AsRef<Path>, arguments: &[&str]) -> Self {
        Self::spawn(Command::new(program.as_ref()).args(arguments), arguments)
    }

    /// With a standard error that cannot be written.
    pub fn start_mute(program: impl AsRef<Path>, arguments: &[&str]) -> Self {
        let mut command = Command::new("sh");
        command.args(["-c", "exec \"$@\" 2>/dev/full", "sh"]).arg(program.as_ref());
        Self::spawn(command.args(arguments), arguments)
    }

    /// With a wrong clock.
    pub fn start_at(by: &str, program: impl AsRef<Path>, arguments: &[&str]) -> Self {
        let mut command = Command::new(program.as_ref());
        command.env("LD_PRELOAD", SHIFTS_CLOCKS).env("FAKETIME", by);
        command.env("FAKETIME_DONT_FAKE_MONOTONIC", "1").env("DONT_FAKE_MONOTONIC", "1");
        Self::spawn(command.args(arguments), arguments)
    }

    fn spawn(command: &mut Command, arguments: &[&str]) -> Self {
        let stderr = NamedTempFile::new().unwrap();
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(stderr.reopen().unwrap())
            .spawn()
            .unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut url = String::new();
        if !arguments.contains(&"--no-server") {
            let mut line = String::new();
            stdout.read_line(&mut line).unwrap();
            let listens = line.split_whitespace().find(|word| word.starts_with("http"));
            url = listens.expect("a server").trim_end_matches(',').to_owned();
        }
        Self { child, url, _stdout: stdout, stderr }
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// A connection to its server.
    pub fn connect(&self) -> io::Result<TcpStream> {
        TcpStream::connect(self.url.trim_start_matches("http://"))
    }

    /// The most memory that it has had, in KiB.
    pub fn peak_memory(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmHWM")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }

    /// What it wrote to standard error.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.stderr.path()).unwrap()
    }

    /// Sends `STOP`, `CONT`, `TERM` or `KILL`.
    pub fn signal(&self, name: &str) {
        let kill = format!("kill -{name} {}", self.child.id());
        assert!(Command::new("sh").args(["-c", &kill]).status().unwrap().success());
    }

    pub fn kill(&mut self) {
        _ = self.child.kill();
        _ = self.child.wait();
    }

    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().is_ok_and(|status| status.is_some())
    }

    /// Waits until it ends by itself, and returns whether it reports success.
    pub fn ended(mut self) -> bool {
        self.child.wait().unwrap().success()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}
