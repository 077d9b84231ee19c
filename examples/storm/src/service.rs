//! The service: servers and workers, each a process with a proxy to the database, and clients.

use std::cell::RefCell;
use std::collections::HashMap;
use std::path::Path;
use std::process::Stdio;
use std::rc::Rc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use rand::seq::IndexedRandom;
use rand::{random_bool, random_range, rng};
use reqwest::Method;
use serde_json::{Value, json};
use sqlx::any::{AnyPoolOptions, install_default_drivers};
use task_lifecycle::{Operation, Revision};
use task_stores::engines::{self, Engine};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};
use tokio::task::{JoinSet, spawn_local};
use tokio::time::timeout;

use crate::audit::{Asked, Change, Told};
use crate::database;
use crate::proxy::Proxy;
use crate::storm::{KILLED, Player, Storm, Target, nap};

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

/// A process of the service, and what it takes to start another in its place.
struct Process {
    child: Child,
    at: usize,
    listen: String,
    database: String,
    proxy: Option<Rc<Proxy>>,
}

impl Process {
    async fn start(
        at: usize,
        listen: &str,
        database: &str,
        proxy: Option<Rc<Proxy>>,
    ) -> Result<Self> {
        let program = std::env::current_exe()?.with_file_name("task-service");
        let (workers, takes, clock) = PROCESSES[at];
        let mut command = Command::new(&program);
        command.args(["--listen", listen, "--database", database, "--workers", workers]);
        command.args([
            "--work-millis",
            takes,
            "--lease-seconds",
            "1",
            "--attempts",
            "3",
            "--poison",
        ]);
        command.args(USERS.map(|user| format!("--api-key=key-{user}={user}")));
        // SQLite goes by the clock of the process.
        if proxy.is_some() && Path::new(FAKETIME).exists() {
            command.env("LD_PRELOAD", FAKETIME).env("FAKETIME", clock);
            command.env("FAKETIME_DONT_FAKE_MONOTONIC", "1").env("DONT_FAKE_MONOTONIC", "1");
        }
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        command.kill_on_drop(true);
        let mut child = command
            .spawn()
            .with_context(|| format!("no {}: cargo build -p task-service", program.display()))?;
        let mut line = String::new();
        let mut output = BufReader::new(child.stdout.take().context("an output")?);
        _ = timeout(Duration::from_secs(20), output.read_line(&mut line)).await;
        let address = line.split_once("http://").map_or(listen, |(_, address)| address.trim());
        let (listen, database) = (address.to_owned(), database.to_owned());
        spawn_local(
            async move { while output.read_line(&mut line).await.is_ok_and(|it| it > 0) {} },
        );
        Ok(Self { child, at, listen, database, proxy })
    }

    fn signal(&self, name: &str) {
        if let Some(id) = self.child.id() {
            let mut kill = std::process::Command::new("kill");
            _ = kill.args(["-s", name, &id.to_string()]).stderr(Stdio::null()).status();
        }
    }

    /// Ends it, and starts another in its place.
    async fn replace(&mut self) -> Result<()> {
        _ = self.child.kill().await;
        _ = self.proxy.as_ref().map(|proxy| proxy.doomed.take());
        *self = Self::start(self.at, &self.listen, &self.database, self.proxy.clone()).await?;
        Ok(())
    }

    async fn replace_dead(&mut self) -> Result<bool> {
        let is_dead = self.child.try_wait()?.is_some();
        if is_dead {
            self.replace().await?;
        }
        Ok(is_dead)
    }
}

pub async fn run(
    storm: Rc<Storm>,
    is_sqlite: bool,
) -> Result<Option<HashMap<String, Vec<Change>>>> {
    let engine = if is_sqlite { engines::sqlite() } else { engines::postgres() };
    let Some(mut engine) = engine else { return Ok(None) };
    let url =
        if is_sqlite { format!("sqlite://{}", engine.address) } else { engine.address.clone() };
    let mut processes = Vec::new();
    for at in 0..PROCESSES.len() {
        let (mut database, mut proxy) = (url.clone(), None);
        if !is_sqlite {
            let port = url.rsplit(['/', ':']).find_map(|it| it.parse().ok()).context("a port")?;
            let (started, own) = Proxy::start(storm.clone(), port).await?;
            database =
                format!("{}?sslmode=disable", url.replace(&port.to_string(), &own.to_string()));
            proxy = Some(started);
        }
        processes.push(Process::start(at, "127.0.0.1:0", &database, proxy).await?);
    }
    install_default_drivers();
    let db = AnyPoolOptions::new().max_connections(2).connect(&url).await?;
    database::watch(&db, is_sqlite).await?;
    storm.begin();
    let urls: Vec<_> =
        processes[..SERVERS].iter().map(|it| format!("http://{}", it.listen)).collect();
    let (mut players, mut readers) = (JoinSet::new(), Vec::new());
    for user in USERS {
        let tasks = Rc::<RefCell<_>>::default();
        for nth in 0..5 {
            let (http, urls, name) =
                (reqwest::Client::new(), urls.clone(), format!("{user} {nth}"));
            let (storm, tasks) = (storm.clone(), tasks.clone());
            let player = Player { storm, target: User { http, urls, name: user }, name, tasks };
            readers.push(player.clone());
            players.spawn_local(player.play());
        }
    }
    let meddling = spawn_local(database::meddle(db.clone(), storm.clone()));
    for turn in 0.. {
        if storm.is_over() {
            break;
        }
        disturb(turn, &storm, &mut engine, &mut processes).await?;
    }
    players.join_all().await;
    meddling.await?;
    let active = "SELECT count(*) FROM tasks WHERE status IN ('Starting', 'Processing')";
    while !storm.is_past_calm() {
        for process in &mut processes {
            process.replace_dead().await?;
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
        let is_dead = process.replace_dead().await?;
        storm.count("processes that died in a change or of a document", is_dead.into());
    }
    let at = random_range(0..processes.len());
    let process = &mut processes[at];
    match turn % 8 {
        0 => {
            storm.count("processes killed", 1);
            process.replace().await?;
        }
        2 | 6 => {
            if let (Some(proxy), Some(id)) = (&process.proxy, process.child.id()) {
                proxy.doomed.set(Some(id));
            } else {
                // Someone waits for its answer, or for the other server's.
                storm.count(KILLED, storm.unanswered.get().min(1));
                processes[random_range(0..SERVERS)].replace().await?;
            }
        }
        4 => {
            storm.count("processes told to end", 1);
            process.signal("TERM");
            _ = timeout(Duration::from_secs(5), process.child.wait()).await;
            process.replace().await?;
        }
        5 if turn.is_multiple_of(3) && !engine.nodes.is_empty() => {
            storm.count("databases killed", 1);
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

/// What a client of one user asks with.
#[derive(Clone)]
struct User {
    http: reqwest::Client,
    urls: Vec<String>,
    name: &'static str,
}

impl Target for User {
    const STOPS: bool = true;

    async fn ask(
        &self,
        task: &mut String,
        request: &str,
        asked: Asked,
        named: Option<Revision>,
    ) -> Result<Told> {
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
        if asked == Asked::Create {
            body["file"] = match random_range(0..60) {
                0 => "data:,kills".into(),       // its worker's process
                1..9 => "data:,vanishes".into(), // from its worker's mind
                _ => "data:,one%20two%20three%20four%20five%20six".into(),
            };
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
