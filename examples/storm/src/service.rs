//! The service: servers and workers, each a process with a proxy to the database, and clients.

use std::cell::RefCell;
use std::collections::HashMap;
use std::net::TcpListener;
use std::path::Path;
use std::process::Stdio;
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use rand::seq::IndexedRandom;
use rand::{random_bool, random_range, rng};
use reqwest::Method;
use serde_json::{Value, json};
use sqlx::any::{AnyPoolOptions, install_default_drivers};
use task_lifecycle::Operation;
use task_stores::engines::{self, Engine};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};
use tokio::task::{JoinSet, spawn_local};
use tokio::time::timeout;

use crate::audit::{Asked, Change, Told};
use crate::database;
use crate::proxy::Proxy;
use crate::storm::{Ask, DATABASES, KILLED, Player, Storm, Target, calm, nap};

const USERS: [&str; 3] = ["ann", "bob", "eve"];

/// The processes: how many workers each has, how long a document takes, and how wrong its clock is.
/// The lease is one second.
const PROCESSES: [(&str, &str, &str); 5] = [
    ("0", "0", "+0"),
    ("0", "0", "+120s"),
    ("3", "50", "+0"),
    ("3", "400", "-60s"),
    ("3", "1500", "+0"),
];
const SERVERS: usize = 2;

const FAKETIME: &str = "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1";

/// A process of the service.
struct Process {
    command: Command,
    child: Option<Child>,
    proxy: Option<Rc<Proxy>>,
    url: String,
}

impl Process {
    /// One of `PROCESSES`, not yet started. SQLite goes by the clock of the process, so there it is
    /// right.
    async fn new(at: usize, engine: &Engine, storm: &Rc<Storm>, is_sqlite: bool) -> Result<Self> {
        let program = std::env::current_exe()?.with_file_name("task-service");
        ensure!(program.exists(), "cargo build -p task-service");
        let (mut command, (workers, takes, clock)) = (Command::new(program), PROCESSES[at]);
        let (mut proxy, mut database) = (None, format!("sqlite://{}", engine.address));
        if !is_sqlite {
            let to = engine.address.rsplit(['/', ':']).find_map(|it| it.parse().ok());
            let to: u16 = to.context("a port")?;
            let (started, port) = Proxy::start(storm.clone(), to).await?;
            database = engine.address.replace(&to.to_string(), &port.to_string());
            database.push_str("?sslmode=disable");
            proxy = Some(started);
            if Path::new(FAKETIME).exists() {
                command.env("LD_PRELOAD", FAKETIME).env("FAKETIME", clock);
                command.env("FAKETIME_DONT_FAKE_MONOTONIC", "1").env("DONT_FAKE_MONOTONIC", "1");
            }
        }
        let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?.to_string();
        command.args("--lease-seconds 1 --attempts 3 --poison --workers".split(' ')).arg(workers);
        command.args(["--work-millis", takes, "--database", &database, "--listen", &address]);
        command.args(USERS.map(|user| format!("--api-key=key-{user}={user}")));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        command.kill_on_drop(true);
        Ok(Self { command, child: None, proxy, url: format!("http://{address}") })
    }

    /// Kills it, if it runs, and starts it again.
    async fn start(&mut self) -> Result<()> {
        if let Some(mut child) = self.child.take() {
            _ = child.kill().await;
        }
        _ = self.proxy.as_ref().map(|proxy| proxy.doomed.take());
        let mut child = self.command.spawn()?;
        let output = child.stdout.take().context("an output")?;
        self.child = Some(child);
        let mut lines = BufReader::new(output).lines();
        _ = timeout(Duration::from_mins(1), lines.next_line()).await; // it listens
        Ok(())
    }

    async fn start_if_dead(&mut self) -> Result<bool> {
        let is_dead =
            self.child.as_mut().is_none_or(|it| it.try_wait().is_ok_and(|it| it.is_some()));
        if is_dead {
            self.start().await?;
        }
        Ok(is_dead)
    }

    fn id(&self) -> Option<u32> {
        self.child.as_ref()?.id()
    }

    fn signal(&self, name: &str) {
        if let Some(id) = self.id() {
            let mut kill = std::process::Command::new("kill");
            _ = kill.args(["-s", name, &id.to_string()]).stderr(Stdio::null()).status();
        }
    }
}

pub async fn run(
    storm: Rc<Storm>,
    is_sqlite: bool,
) -> Result<Option<HashMap<String, Vec<Change>>>> {
    let engine = if is_sqlite { engines::sqlite() } else { engines::postgres() };
    let Some(mut engine) = engine else { return Ok(None) };
    let mut processes = Vec::new();
    for at in 0..PROCESSES.len() {
        let mut process = Process::new(at, &engine, &storm, is_sqlite).await?;
        process.start().await?;
        processes.push(process);
    }
    let url =
        if is_sqlite { format!("sqlite://{}", engine.address) } else { engine.address.clone() };
    install_default_drivers();
    let db = AnyPoolOptions::new().max_connections(2).connect(&url).await?;
    database::watch(&db, is_sqlite).await?;
    storm.begin();
    let urls: Vec<_> = processes[..SERVERS].iter().map(|it| it.url.clone()).collect();
    let (mut players, mut readers) = (JoinSet::new(), Vec::new());
    for user in USERS {
        let tasks = Rc::<RefCell<_>>::default();
        for nth in 0..5 {
            let (urls, file) = (urls.clone(), "one%20two%20three%20four%20five");
            let target = User { http: reqwest::Client::new(), urls, name: user, file };
            let (storm, tasks) = (storm.clone(), tasks.clone());
            let player = Player { storm, target, name: format!("{user} {nth}"), tasks };
            readers.push(player.clone());
            players.spawn_local(player.play());
        }
    }
    // A document that kills every worker's process, and that nobody cancels.
    let mut poisoner = readers[0].clone();
    (poisoner.target.file, poisoner.tasks) = ("kills", Rc::default());
    let poisoning = spawn_local(async move {
        while !matches!(poisoner.ask("", Asked::Create, None).await, Told::Made(_)) {
            nap(50..100).await;
        }
    });
    let meddling = spawn_local(database::meddle(db.clone(), storm.clone()));
    for turn in 0.. {
        if storm.is_over() {
            break;
        }
        disturb(turn, &storm, &mut engine, &mut processes).await?;
    }
    players.join_all().await;
    meddling.await?;
    poisoning.await?;
    let active = "SELECT count(*) FROM tasks WHERE status IN ('Starting', 'Processing')";
    let calm = calm();
    while Instant::now() < calm {
        for process in &mut processes {
            process.start_if_dead().await?;
        }
        if sqlx::query_scalar::<_, i64>(active).fetch_one(&db).await.is_ok_and(|count| count == 0) {
            break;
        }
        nap(50..100).await;
    }
    for reader in readers {
        let task = reader.tasks.borrow_mut().pop();
        if let Some(task) = task {
            reader.show(&task).await;
        }
    }
    let history = database::history(&db).await?;
    storm.name_tasks(&history);
    Ok(Some(history))
}

/// Does one thing that should do no harm.
async fn disturb(
    turn: usize,
    storm: &Storm,
    engine: &mut Engine,
    processes: &mut [Process],
) -> Result<()> {
    nap(50..250).await;
    for process in &mut *processes {
        let is_dead = process.start_if_dead().await?;
        storm.count("processes that died in a change or of a document", is_dead.into());
    }
    let at = random_range(0..processes.len());
    let process = &mut processes[at];
    match turn % 8 {
        0 => {
            storm.count("processes killed", 1);
            process.start().await?;
        }
        2 | 6 => {
            if let Some(proxy) = &process.proxy {
                proxy.doomed.set(process.id());
            } else {
                // Someone waits for its answer, or for the other server's.
                storm.count(KILLED, storm.unanswered.get().min(1));
                processes[random_range(0..SERVERS)].start().await?;
            }
        }
        4 => {
            storm.count("processes told to end", 1);
            process.signal("TERM");
            let ended = async { process.child.as_mut()?.wait().await.ok() };
            _ = timeout(Duration::from_secs(5), ended).await;
            process.start().await?;
        }
        3 if !engine.nodes.is_empty() => {
            storm.count(DATABASES, 1);
            engine.nodes[0].kill();
            nap(0..500).await;
            // Until what is left of the old one is gone, there can be no other.
            while !engine.nodes[0].is_running() {
                engine.nodes[0].restart();
                nap(200..300).await;
            }
        }
        _ => {
            storm.count("processes paused past the lease", 1);
            process.signal("STOP");
            nap(1100..1500).await;
            process.signal("CONT");
        }
    }
    Ok(())
}

/// The clients' means to ask as one user.
#[derive(Clone)]
struct User {
    http: reqwest::Client,
    urls: Vec<String>,
    name: &'static str,
    /// The content of the documents that it creates.
    file: &'static str,
}

impl Target for User {
    const STOPS: bool = true;

    async fn ask(&self, task: &mut String, ask: &Ask) -> Result<Told> {
        let Ask { request, asked, named } = ask;
        let (method, end) = match asked {
            Asked::Create => (Method::POST, "parse".to_owned()),
            Asked::Step(Operation::Update) => (Method::PATCH, format!("{task}/parse")),
            Asked::Step(Operation::Cancel) => (Method::GET, format!("{task}/cancel")),
            Asked::Step(Operation::Delete) => (Method::DELETE, task.clone()),
            Asked::Stop => (Method::POST, format!("{task}/stop")),
            Asked::Show | Asked::Edit | Asked::Step(_) => (Method::GET, task.clone()),
        };
        let base = self.urls.choose(&mut rng()).context("a server")?;
        let mut sending = self.http.request(method, format!("{base}/tasks/{end}"));
        sending = sending.header("authorization", format!("key-{}", self.name));
        sending =
            sending.header("content-type", "application/json").header("x-request-id", request);
        if let Some(named) = named {
            sending = sending.header("if-match", format!("\"{named}\""));
        }
        // Now and then there is no such tokenizer, and the run fails.
        let name = if random_bool(0.15) { "String" } else { "Enum" };
        let tokenizer = json!({ name: "Word" });
        let chunking = json!({ "target_length": random_range(1..9), "tokenizer": tokenizer });
        let mut body = json!({ "mark": request, "chunk_processing": chunking });
        if *asked == Asked::Create {
            body["file"] = format!("data:,{}", self.file).into();
        }
        let answer = sending.body(body.to_string()).send().await?;
        let code = answer.status().as_u16();
        let tag = answer.headers().get("etag").and_then(|it| it.to_str().ok());
        let revision = tag.and_then(|tag| tag.trim_matches('"').parse().ok());
        let text = answer.text().await?;
        Ok(match (code, asked) {
            (200, Asked::Show) => {
                let body: Value = serde_json::from_str(&text)?;
                let status = body["status"].as_str().unwrap_or_default().parse()?;
                Told::Shown(revision.context("no tag")?, status, text.replace(base, ""))
            }
            (200, Asked::Create) => {
                let body: Value = serde_json::from_str(&text)?;
                body["task_id"].as_str().context("no id")?.clone_into(task);
                Told::Made(revision)
            }
            (200 | 202, _) => Told::Made(revision),
            (400, _) => Told::Refused(text.rsplit(' ').next().unwrap_or_default().parse()?),
            (404, _) => Told::Absent,
            (409 | 412, _) => Told::Stale,
            (503, _) if text.starts_with("Nothing was done") => Told::NotDone,
            _ => bail!("{code}: {text}"),
        })
    }
}
