//! The service as its clients see it: a process, a database, HTTP.

#[path = "../../testing/mod.rs"]
mod testing;

mod clients;
mod disk;
mod hazards;
mod input;
mod openapi;
mod operator;
mod program;
mod seed;
mod workers;

use std::io::Read as _;
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use sqlx::any::install_default_drivers;
use sqlx::{AnyConnection, Connection as _};
use task_service::store::{Event, Key, Payload, SqlStore, Store as _};
use task_service::worker::Worker;
use tempfile::TempDir;
use tokio::time::{Instant, sleep};

use testing::client::{Answer, Client};
use testing::postgres::Postgres;
use testing::process::Process;

const PROGRAM: &str = env!("CARGO_BIN_EXE_task-service");

/// A database of its own, and the processes that a test starts on it.
struct Service {
    _dir: TempDir,
    _postgres: Option<Postgres>,
    database: String,
}

impl Service {
    fn new() -> Self {
        let dir = TempDir::new().unwrap();
        let database = format!("sqlite://{}/tasks.db", dir.path().display());
        Self { _dir: dir, _postgres: None, database }
    }

    /// On SQLite and, where it is installed, on PostgreSQL.
    fn everywhere() -> Vec<Self> {
        let on_postgres = Postgres::start().map(|postgres| {
            let database = postgres.database("tasks");
            Self { _postgres: Some(postgres), database, ..Self::new() }
        });
        [Some(Self::new()), on_postgres].into_iter().flatten().collect()
    }

    /// A connection of another program.
    async fn connect(&self) -> AnyConnection {
        install_default_drivers();
        AnyConnection::connect(&self.database).await.unwrap()
    }

    fn start(&self, arguments: &[&str]) -> Process {
        let common = ["--database", &self.database, "--api-key", "a=alice", "--api-key", "b=bob"];
        let listen = ["--listen", "127.0.0.1:0"];
        Process::start(PROGRAM, &[&common[..], &listen, arguments].concat())
    }

    /// A server without workers.
    fn server(&self) -> Process {
        self.start(&["--workers", "0"])
    }

    /// A process with a wrong clock.
    fn shifted(&self, by: &str, arguments: &[&str]) -> Process {
        let common = ["--database", &self.database, "--api-key", "a=alice"];
        let listen = ["--listen", "127.0.0.1:0"];
        Process::start_at(by, PROGRAM, &[&common[..], &listen, arguments].concat())
    }

    /// A worker without a server, with a lease of one second; a document takes it so many milliseconds.
    fn worker(&self, takes: &str) -> Process {
        self.start(&["--no-server", "--lease-seconds", "1", "--work-millis", takes])
    }
}

fn alice(server: &Process) -> Client {
    Client::new(&server.url, "a")
}

/// Everything the server sent until it closed the connection.
fn said(mut stream: TcpStream) -> String {
    let mut said = Vec::new();
    _ = stream.read_to_end(&mut said); // a reset tells no more
    String::from_utf8_lossy(&said).into_owned()
}

/// Polls until the answer is `done`.
async fn until(client: &Client, id: &str, done: impl Fn(&Answer) -> bool) -> Answer {
    let limit = Instant::now() + Duration::from_secs(20);
    loop {
        let answer = client.get(id).await.unwrap();
        if done(&answer) {
            return answer;
        }
        assert!(Instant::now() < limit, "still {}", answer.text);
        sleep(Duration::from_millis(20)).await;
    }
}

async fn until_status(client: &Client, id: &str, status: &str) -> Answer {
    until(client, id, |answer| answer.status() == status).await
}

/// A task that has succeeded, cut into chunks of two words.
async fn succeeded(service: &Service, client: &Client) -> Answer {
    let _worker = service.worker("0");
    let id = client.create("one two three", 2).await.unwrap().id();
    until_status(client, &id, "Succeeded").await
}

/// Asserts that the answer is a refusal: a status code and plain text.
fn refused(answer: &Answer, code: u16, text: &str) {
    assert_eq!((answer.code, answer.text.as_str()), (code, text));
    assert!(answer.content_type.starts_with("text/plain"), "{answer:?}");
}

/// Another program's view of the database, with leases that expire at once, and a worker on it.
async fn beside(service: &Service, takes: Duration) -> (Arc<SqlStore>, Worker) {
    let store = Arc::new(SqlStore::open(&service.database, Duration::ZERO).await.unwrap());
    let lease = Duration::from_mins(1); // it says nothing of how far it is
    let (name, queued) = ("worker".to_owned(), Arc::default());
    let longest = Duration::from_hours(1);
    (store.clone(), Worker { store, name, takes, lease, attempts: 3, longest, queued })
}

/// Somebody else edits a task.
async fn label(store: &SqlStore, key: &Key) {
    let (mut row, mut document) = store.read(key).await.unwrap().unwrap();
    let loaded = row.task.revision();
    document.message = "third in line".to_owned();
    row.task.edit(|payload| *payload = Payload::new(document));
    let event = Event::new("operator", "edit", loaded, Some(&row.task));
    assert!(store.commit(&row, loaded, &event).await.unwrap());
}
