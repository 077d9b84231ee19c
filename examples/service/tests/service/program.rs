//! The program: its options, its keys, its signals.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Output, Stdio};

use super::*;

everywhere! { deploys_used_up_the_attempts }

const PROGRAM: &str = env!("CARGO_BIN_EXE_task-service");
pub(crate) const SHIFTS_CLOCKS: &str = "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1";

/// The program in a process of its own, with one worker; killed when it is dropped.
pub(crate) struct Process {
    child: Child,
    pub(crate) url: String,
    said: NamedTempFile,
}

impl Process {
    pub(crate) fn start(database: &str, arguments: &[&str], clock: Option<&str>) -> Self {
        let (mut command, said) = (Command::new(PROGRAM), NamedTempFile::new().unwrap());
        command.args(["--database", database, "--listen", "127.0.0.1:0"]).args(arguments);
        command.env("RUST_LOG", "trace").stdout(Stdio::piped()).stderr(said.reopen().unwrap());
        if let Some(clock) = clock {
            command.env("LD_PRELOAD", SHIFTS_CLOCKS).env("FAKETIME", clock);
            command.env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
        }
        let (mut child, mut line) = (command.spawn().unwrap(), String::new());
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let url = line.trim().rsplit(' ').next().unwrap().to_owned();
        Self { child, url, said }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        _ = self.child.kill();
        _ = self.child.wait();
    }
}

#[test]
fn keys_fail_closed() {
    let file = NamedTempFile::new().unwrap();
    let keys = file.path().to_str().unwrap();
    let refused = |arguments: &[&str], said: &str| {
        let mut command = Command::new(PROGRAM);
        let command = command.args(arguments).env("DATABASE_URL", "sqlite::memory:");
        let Output { status, stdout, stderr } = command.output().unwrap();
        let text = String::from_utf8([stdout, stderr].concat()).unwrap();
        assert!(!status.success() && text.contains(said), "{arguments:?}: {text}");
        assert!(!text.contains("secret"), "{arguments:?}: {text}");
    };
    for (arguments, said) in [
        ("--listen 0.0.0.0:0", "open to others"),
        ("--api-key secret", "KEY=USER"),
        ("--api-key =secret", "KEY=USER"),
        ("--api-key secret=", "KEY=USER"),
        ("--api-key ", "KEY=USER"),
        ("--api-key secret=alice --api-key secret=bob", "two users"),
        ("--api-kee secret=alice", "--help"),
        ("--api-key k=alice secret=alice", "--help"),
        ("--workers secret", "--help"),
        ("--attempts 0", "--help"),
        ("--database postgres://secret:secret@127.0.0.1:1/secret", "--database"),
        ("--api-keys-file /no/such/secret", "cannot be read"),
    ] {
        refused(&arguments.split(' ').collect::<Vec<_>>(), said);
    }
    for (text, said) in [("\n  \n", "no key"), ("secret=alice\nsecret=bob", "two users")] {
        std::fs::write(&file, text).unwrap();
        refused(&["--api-key", "a=alice", "--api-keys-file", keys], said);
    }
}

/// With no key there is one for demonstration; with one there is none but that.
#[tokio::test]
async fn keys_are_never_printed() {
    let service = Service::on(None).await;
    let code = async |process: &Process, key: &str| {
        let request = reqwest::Client::new().get(format!("{}/tasks", process.url));
        request.header("Authorization", key).send().await.unwrap().status().as_u16()
    };
    let demo = Process::start(&service.database, &[], None);
    assert_eq!((code(&demo, "try-me").await, code(&demo, "a").await), (200, 401));
    let process = Process::start(&service.database, &["--api-key", "sec=ret=alice"], None);
    assert_eq!((code(&process, "sec=ret").await, code(&process, "try-me").await), (200, 401));
    let said = process.url.clone() + &std::fs::read_to_string(&process.said).unwrap();
    assert!(said.contains("/tasks") && !said.contains("sec=ret"), "{said}");
}

/// Told to stop, a worker gives its run back, which is no attempt, and the next one goes on at once.
async fn deploys_used_up_the_attempts(service: Service) {
    let key = service.create("one two three").await;
    let slow = ["--work-millis", "3600000", "--lease-seconds", "3600"];
    for _ in 0..3 {
        let mut process = Process::start(&service.database, &slow, None);
        while service.status(&key).await != "Processing" {}
        let id = process.child.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &id]).status().unwrap().success());
        assert!(process.child.wait().unwrap().success());
        assert_eq!(service.status(&key).await, "Starting");
    }
    // Killed, it does not, and its run is swept.
    let short = ["--work-millis", "3600000", "--lease-seconds", "3"];
    let killed = Process::start(&service.database, &short, None);
    while service.status(&key).await != "Processing" {}
    drop(killed);
    let quick = ["--work-millis", "0", "--workers", "2"];
    let _quick = Process::start(&service.database, &quick, None);
    while service.status(&key).await != "Succeeded" {}
    let operations = service.operations(&key).await;
    assert_eq!(operations[..3], ["create", "edit, start", "retry"]);
    assert_eq!((operations.len(), &*operations[10]), (11, "edit, succeed"));
    assert_eq!(service.load(&key).await.attempts, 1);
}
