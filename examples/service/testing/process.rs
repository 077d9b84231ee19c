use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};

/// A server or a worker, killed when it is dropped.
pub struct Process {
    child: Child,
    /// Where its server listens; empty if it has none.
    pub url: String,
    /// Kept open, so that the process can print.
    _stdout: BufReader<ChildStdout>,
}

impl Process {
    pub fn start(program: impl AsRef<Path>, arguments: &[&str]) -> Self {
        let mut child = Command::new(program.as_ref())
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
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
        Self { child, url, _stdout: stdout }
    }

    /// Sends `STOP`, `CONT`, `TERM` or `KILL`.
    pub fn signal(&self, name: &str) {
        let kill = format!("kill -{name} {}", self.child.id());
        assert!(Command::new("sh").args(["-c", &kill]).status().unwrap().success());
    }

    /// Waits until it has ended by itself.
    pub fn ended(mut self) {
        assert!(self.child.wait().unwrap().success());
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        _ = self.child.kill();
        _ = self.child.wait();
    }
}
