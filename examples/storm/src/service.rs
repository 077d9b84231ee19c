//! The service: servers and workers, each a process with a proxy to the database, and clients.

use std::cell::RefCell;
use std::collections::HashMap;
use std::process::Stdio;
use std::rc::Rc;

use anyhow::{Context as _, Result, bail};
use rand::seq::IndexedRandom as _;
use rand::{random_bool, random_range, rng};
use reqwest::Method;
use serde_json::{Value, json};
use sqlx::any::AnyPoolOptions;
use task_lifecycle::Operation;
use task_stores::engines::Engine;
use tokio::process::{Child, Command};

use crate::audit::{Answer, Asked, Change, Told};
use crate::database;
use crate::proxy::{self, Doomed, LATE};
use crate::storm::{KILLED, LOST, Player, STOPS, Storm, Target, calm, nap};

const DATABASES: &str = "databases killed";

const USERS: [&str; 3] = ["ann", "bob", "eve"];

/// Two servers, and processes of workers: how many each has, how long a document takes, and how
/// wrong its clock is. The lease is one second.
#[rustfmt::skip]
const PROCESSES: [(&str, &str, &str); 5] =
    [("0", "0", "+0"), ("0", "0", "+120s"), ("3", "50", "+0"), ("3", "400", "-60s"), ("3", "1500", "+0")];

const FAKETIME: &str = "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1";

/// A process of the service.
struct Process {
    command: Command,
    child: Child,
    doomed: Doomed,
    url: String,
}

impl Process {
    /// Starts one of `PROCESSES`. SQLite goes by the clock of the process, so there it is right.
    async fn new(at: usize, engine: &Engine, storm: &Rc<Storm>) -> Result<Self> {
        let program = std::env::current_exe()?.with_file_name("task-service");
        let (mut command, (workers, takes, clock)) = (Command::new(program), PROCESSES[at]);
        let (mut database, doomed) = (url(engine), Doomed::default());
        if !engine.nodes.is_empty() {
            let to = engine.address.rsplit(['/', ':']).find_map(|it| it.parse().ok());
            let to: u16 = to.context("a port")?;
            let port = proxy::start(storm.clone(), doomed.clone(), to).await?;
            database = database.replace(&to.to_string(), &port.to_string()) + "?sslmode=disable";
            if std::path::Path::new(FAKETIME).exists() {
                command.env("LD_PRELOAD", FAKETIME).env("FAKETIME", clock);
                command.env("FAKETIME_DONT_FAKE_MONOTONIC", "1").env("DONT_FAKE_MONOTONIC", "1");
            }
        }
        let address = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.to_string();
        command.args("--lease-seconds 1 --attempts 3 --poison --workers".split(' ')).arg(workers);
        command.args(["--work-millis", takes, "--database", &database, "--listen", &address]);
        command.args(USERS.map(|user| format!("--api-key=key-{user}={user}")));
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let child = command.kill_on_drop(true).spawn().context("cargo build -p task-service")?;
        Ok(Self { command, child, doomed, url: format!("http://{address}") })
    }

    /// Kills it, if it runs, and starts it again.
    async fn restart(&mut self) -> Result<()> {
        _ = self.child.kill().await;
        self.doomed.take();
        self.child = self.command.spawn()?;
        Ok(())
    }

    async fn restart_if_dead(&mut self) -> Result<bool> {
        let is_dead = self.child.try_wait()?.is_some();
        if is_dead {
            self.restart().await?;
        }
        Ok(is_dead)
    }

    fn signal(&self, name: &str) {
        if let Some(id) = self.child.id() {
            kill(name, id);
        }
    }
}

pub fn kill(signal: &str, process: u32) {
    _ = std::process::Command::new("kill")
        .args(["-s", signal, &process.to_string()])
        .stderr(Stdio::null())
        .status();
}

fn url(engine: &Engine) -> String {
    let scheme = if engine.nodes.is_empty() { "sqlite://" } else { "" };
    format!("{scheme}{}", engine.address)
}

pub async fn run(storm: Rc<Storm>, mut engine: Engine) -> Result<HashMap<String, Vec<Change>>> {
    let (is_sqlite, mut processes) = (engine.nodes.is_empty(), Vec::new());
    for at in 0..PROCESSES.len() {
        processes.push(Process::new(at, &engine, &storm).await?);
    }
    sqlx::any::install_default_drivers();
    let db = AnyPoolOptions::new().max_connections(2).connect_lazy(&url(&engine))?;
    calm(async || database::watch(&db, is_sqlite).await.is_ok()).await; // there are tables
    let figures = [STOPS, KILLED, LOST, LATE, DATABASES];
    storm.begin(if is_sqlite { &figures[..2] } else { &figures });
    let urls: Vec<_> = processes[..2].iter().map(|it| it.url.clone()).collect();
    let mut players = tokio::task::JoinSet::new();
    let pools = USERS.map(|_| Rc::<RefCell<_>>::default());
    for nth in 0..15 {
        let (user, tasks) = (USERS[nth % 3], pools[nth % 3].clone());
        let target = User { http: reqwest::Client::new(), urls: urls.clone(), name: user };
        let (storm, name) = (storm.clone(), format!("{user} {nth}"));
        players.spawn_local(Player { storm, target, name, tasks }.play());
    }
    players.spawn_local(database::meddle(db.clone(), storm.clone()));
    for turn in (0..).take_while(|_| !storm.is_over()) {
        disturb(turn, &storm, (&mut engine, &mut processes)).await?;
    }
    players.join_all().await;
    calm(async || {
        for process in &mut processes {
            _ = process.restart_if_dead().await;
        }
        database::is_calm(&db).await
    })
    .await;
    database::history(&db).await
}

/// Does one thing that should do no harm.
async fn disturb(turn: usize, storm: &Storm, of: (&mut Engine, &mut [Process])) -> Result<()> {
    let (engine, processes) = of;
    nap(50..250).await;
    for process in &mut *processes {
        let is_dead = process.restart_if_dead().await?;
        storm.count("processes that died in a change or of a document", is_dead);
    }
    let at = random_range(0..processes.len());
    let process = &mut processes[at];
    match (turn % 12, engine.nodes.first_mut()) {
        (0 | 6, _) => {
            process.restart().await?;
            storm.count("processes killed", true);
        }
        (2 | 4 | 8 | 10, Some(_)) => process.doomed.set(process.child.id()),
        (2 | 4 | 8 | 10, None) => {
            // Someone waits for its answer, or for the other server's.
            storm.count(KILLED, storm.unanswered.get().min(1));
            processes[random_range(0..2)].restart().await?;
        }
        (3, Some(database)) => {
            database.kill();
            nap(0..500).await;
            // Until what is left of the old one is gone, there can be no other.
            while !database.is_running() {
                database.restart();
                nap(200..300).await;
            }
            storm.count(DATABASES, true);
        }
        _ => {
            process.signal("STOP");
            nap(1100..1500).await;
            process.signal("CONT");
            storm.count("processes paused past the lease", true);
        }
    }
    Ok(())
}

/// The clients' means to ask as one user.
struct User {
    http: reqwest::Client,
    urls: Vec<String>,
    name: &'static str,
}

impl Target for User {
    const STEPS: &[Operation] = {
        use Operation::{Cancel, Delete, Update};
        &[Cancel, Update, Update, Update, Update, Delete]
    };
    const OTHER: Asked = Asked::Stop;

    async fn ask(&self, task: &mut String, ask: &Answer) -> Result<Told> {
        let (method, end) = match ask.asked {
            Asked::Create => (Method::POST, "parse".to_owned()),
            Asked::Step(Operation::Update) => (Method::PATCH, format!("{task}/parse")),
            Asked::Step(Operation::Cancel) => (Method::GET, format!("{task}/cancel")),
            Asked::Step(Operation::Delete) => (Method::DELETE, task.clone()),
            Asked::Stop => (Method::POST, format!("{task}/stop")),
            Asked::Show | Asked::Step(_) => (Method::GET, task.clone()),
        };
        // Now and then there is no such tokenizer, and the run fails; or it kills every worker.
        let tokenizer = if random_bool(0.15) { "String" } else { "Enum" };
        let file = if random_bool(0.03) { "kills" } else { "one%20two%20three%20four%20five" };
        let body = json!({ "mark": ask.request, "file": format!("data:,{file}"), "chunk_processing": {
            "target_length": random_range(1..9), "tokenizer": { tokenizer: "Word" },
        } });
        let base = self.urls.choose(&mut rng()).context("a server")?;
        let seen = ask.named.map_or("*".to_owned(), |named| format!("\"{named}\""));
        let request = self.http.request(method, format!("{base}/tasks/{end}"));
        let request = request.header("authorization", format!("key-{}", self.name));
        let request = request.header("x-request-id", &ask.request).header("if-match", seen);
        let request = request.header("content-type", "application/json").body(body.to_string());
        let answer = request.send().await?;
        let code = answer.status().as_u16();
        let tag = answer.headers().get("etag").and_then(|it| it.to_str().ok());
        let revision = tag.and_then(|tag| tag.trim_matches('"').parse().ok());
        let text = answer.text().await?;
        let body = || serde_json::from_str::<Value>(&text);
        Ok(match (code, ask.asked) {
            (200, Asked::Show) => {
                let status = body()?["status"].as_str().unwrap_or_default().parse()?;
                Told::Shown(revision.context("no tag")?, status, text.replace(base, ""))
            }
            (200, Asked::Create) => {
                body()?["task_id"].as_str().context("no id")?.clone_into(task);
                Told::Made(revision)
            }
            (200, _) => Told::Made(revision),
            (202, _) => Told::Noted,
            (400, _) => Told::Refused(text.rsplit(' ').next().unwrap_or_default().parse()?),
            (404, _) => Told::Absent,
            (409 | 412, _) => Told::Stale,
            (503, _) if text.starts_with("Nothing was done") => Told::NotDone,
            _ => bail!("{code}: {text}"),
        })
    }
}
