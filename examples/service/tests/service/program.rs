//! The program: its options, its keys, its signals.

use std::io::{BufRead as _, BufReader, Read as _};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use serde_json::json;
use tempfile::NamedTempFile;

use crate::Service;

const PROGRAM: &str = env!("CARGO_BIN_EXE_task-service");
const SHIFTS_CLOCKS: &str = "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1";

/// The program in a process of its own, with one worker; killed when it is dropped.
pub(crate) struct Process {
    child: Child,
    pub(crate) url: String,
}

impl Process {
    pub(crate) fn can_shift_clocks() -> bool {
        Path::new(SHIFTS_CLOCKS).exists()
    }

    pub(crate) fn start(
        database: &str,
        arguments: &[&str],
        keys: &[&str],
        clock: Option<&str>,
    ) -> Self {
        let mut command = command(database, keys);
        command.args(arguments).stderr(Stdio::null());
        if let Some(clock) = clock {
            command.env("LD_PRELOAD", SHIFTS_CLOCKS).env("FAKETIME", clock);
            command.env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
        }
        let mut child = command.spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let url = line.trim().rsplit(' ').next().unwrap().to_owned();
        Self { child, url }
    }

    fn signal(&self, name: &str) {
        let id = self.child.id().to_string();
        assert!(Command::new("kill").args([name, &id]).status().unwrap().success());
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        _ = self.child.kill();
        _ = self.child.wait();
    }
}

fn command(database: &str, keys: &[&str]) -> Command {
    let mut command = Command::new(PROGRAM);
    command.args(["--database", database, "--listen", "127.0.0.1:0"]).stdout(Stdio::piped());
    for key in keys {
        command.args(["--api-key", key]);
    }
    command
}

/// Runs the program where it must not start.
fn refused(arguments: &[&str]) -> String {
    let Output { status, stdout, stderr } = Command::new(PROGRAM)
        .args(arguments)
        .env("DATABASE_URL", "sqlite::memory:")
        .output()
        .unwrap();
    let said = format!("{}{}", String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
    assert!(!status.success(), "{arguments:?}: {said}");
    assert!(!said.contains("secret"), "{arguments:?}: {said}");
    said
}

#[test]
fn keys_fail_closed() {
    let file = NamedTempFile::new().unwrap();
    let keys = file.path().to_str().unwrap();
    for (arguments, said) in [
        (&["--listen", "0.0.0.0:0"][..], "open to others"),
        (&["--api-keys-file", keys], "no key"),
        (&["--api-keys-file", "/no/such/secret"], "cannot be read"),
        (&["--api-key", "secret"], "KEY=USER"),
        (&["--api-key", "=secret"], "KEY=USER"),
        (&["--api-key", "secret="], "KEY=USER"),
        (&["--api-key", ""], "KEY=USER"),
        (&["--api-key", "secret=alice", "--api-key", "secret=bob"], "two users"),
        (&["--api-kee", "secret=alice"], "--help"),
        (&["--api-key", "k=alice", "secret=alice"], "--help"),
        (&["--workers", "secret"], "--workers"),
        (&["--attempts", "0"], "--attempts"),
        (&["--database", "postgres://secret:secret@127.0.0.1:1/secret"], "--database"),
    ] {
        let answer = refused(arguments);
        assert!(answer.contains(said), "{arguments:?}: {answer}");
    }
    std::fs::write(&file, "\n  \n").unwrap();
    assert!(refused(&["--api-keys-file", keys]).contains("no key"));
    std::fs::write(&file, "secret=alice\nsecret=bob\n").unwrap();
    assert!(refused(&["--api-keys-file", keys]).contains("two users"));
}

/// With no key there is one for demonstration; with one there is none but that.
#[tokio::test]
async fn keys_are_never_printed() {
    let service = Service::on(None).await;
    let code = async |url: &str, key: &str| {
        let request = service.http.get(format!("{url}/tasks")).header("Authorization", key);
        request.send().await.unwrap().status().as_u16()
    };
    let demo = Process::start(&service.database, &[], &[], None);
    assert_eq!((code(&demo.url, "try-me").await, code(&demo.url, "a").await), (200, 401));
    let mut command = command(&service.database, &["sec=ret=alice"]);
    let mut child = command.env("RUST_LOG", "trace").stderr(Stdio::piped()).spawn().unwrap();
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    let mut said = String::new();
    stdout.read_line(&mut said).unwrap();
    let url = said.trim().rsplit(' ').next().unwrap().to_owned();
    assert_eq!((code(&url, "sec=ret").await, code(&url, "try-me").await), (200, 401));
    child.kill().unwrap();
    child.wait().unwrap();
    stdout.read_to_string(&mut said).unwrap();
    child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    assert!(!said.contains("sec=ret"), "{said}");
}

/// Told to stop, a worker gives its run back, and the next one goes on at once.
#[tokio::test]
async fn stop_cut_runs() {
    for service in Service::everywhere().await {
        let key = service.create("one two three").await;
        let slow = ["--work-millis", "3600000", "--lease-seconds", "3600"];
        let mut first = Process::start(&service.database, &slow, &["a=alice"], None);
        while service.status(&key).await != "Processing" {}
        first.signal("-TERM");
        assert!(first.child.wait().unwrap().success());
        assert_eq!(service.status(&key).await, "Starting");
        let quick = ["--work-millis", "0", "--workers", "2"];
        let _second = Process::start(&service.database, &quick, &["a=alice"], None);
        while service.status(&key).await != "Succeeded" {}
        let operations = service.operations(&key).await;
        assert_eq!(operations, ["create", "edit, start", "retry", "edit, start", "edit, succeed"]);
        assert_eq!(service.load(&key).await.1.attempts, 0);
    }
}

/// A document that kills its process is given up after the limit, and those behind it are done.
#[tokio::test]
async fn poison_kills_processes() {
    for service in Service::everywhere().await {
        let key = service.create("kills one").await;
        let other = service.create("one").await;
        let arguments =
            ["--poison", "--lease-seconds", "1", "--attempts", "2", "--work-millis", "0"];
        let start = || Process::start(&service.database, &arguments, &["a=alice"], None);
        let mut process = start();
        while service.status(&key).await != "Failed" {
            if process.child.try_wait().unwrap().is_some() {
                process = start();
            }
        }
        while service.status(&other).await != "Succeeded" {}
        let message = &service.show(&key).await.json["message"];
        assert_eq!(message, &json!("Given up: 2 workers did not finish it"));
    }
}
