//! Servers, workers and clients on one database. Workers, servers and the database are killed at
//! random, answers are lost, clocks disagree, documents kill their workers. Then an audit checks what
//! every client was told against the log, and the log against the state machine.

#[path = "../testing/mod.rs"]
mod testing;

mod audit;
mod clients;
mod fault;
mod proxy;

use std::fs::{File, OpenOptions};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::ensure;
use chrono::{DateTime, Utc};
use clap::{Parser, Subcommand, ValueEnum};
use indicatif::{ProgressBar, ProgressStyle};
use rand::{random_bool, random_range};
use task_service::document::{Configuration, Document};
use task_service::run;
use task_service::store::{New, SqlStore, Store};
use tempfile::TempDir;
use tokio::task::JoinSet;
use tokio::time::sleep;

use audit::audit;
use clients::{Ask, Storm, key, name};
use fault::{Fault, Faulty, Role, TAKEN};
use proxy::Proxy;
use testing::postgres::Postgres;
use testing::process::{Process, can_shift_clocks};

/// Three servers and four worker processes on one PostgreSQL, then a smaller storm on SQLite. Exits
/// with 1 if there is a violation.
#[derive(Parser)]
struct Options {
    #[command(subcommand)]
    part: Option<Part>,
    /// How long clients send requests, in seconds; on SQLite, after PostgreSQL, a third of it
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..=3600))]
    seconds: u32,
    /// A PostgreSQL database to fill, postgres://USER@HOST/NAME [default: a server of its own, if
    /// PostgreSQL is installed]
    #[arg(long, value_name = "URL")]
    database: Option<String>,
    /// Use only SQLite
    #[arg(long)]
    sqlite: bool,
    /// A fault to build in, which the audit must find
    #[arg(long = "break", value_name = "NAME")]
    fault: Option<Fault>,
    /// Run a storm with each fault; exits with 1 if one is not found
    #[arg(long, conflicts_with = "fault")]
    all_faults: bool,
    /// A file to write the figures into, between its lines `<!-- storm -->` and `<!-- /storm -->`
    #[arg(long, value_name = "FILE")]
    write: Option<PathBuf>,
}

#[derive(Subcommand)]
enum Part {
    /// The service as a process of the storm
    #[command(hide = true)]
    Service {
        #[command(flatten)]
        options: run::Options,
        #[arg(long = "break")]
        fault: Option<Fault>,
        #[arg(long)]
        role: Role,
        #[arg(long)]
        conflicts: PathBuf,
    },
}

/// The size of a storm.
struct Size {
    name: &'static str,
    servers: usize,
    users: usize,
    clients: usize,
    kills: u32,
    server_kills: u32,
    crashes: u32,
    time: Duration,
}

/// The worker processes: their part, how many workers each has, and how many milliseconds a document
/// takes. The lease is one second.
#[rustfmt::skip]
const WORKERS: [(Role, &str, &str); 4] = [
    (Role::Quick, "3", "100"),
    (Role::Sleeper, "4", "400"),
    (Role::Deaf, "3", "1500"),
    (Role::Steady, "4", "2000"),
];
const SLEEPER: usize = 1;
/// How many of them may be killed, from the first on.
const MORTAL: usize = 3;

/// How many runs a task gets if workers do not finish it.
const ATTEMPTS: usize = 3;

#[tokio::main]
async fn main() -> anyhow::Result<ExitCode> {
    let options = Options::parse();
    if let Some(Part::Service { options, fault, role, conflicts }) = options.part {
        let conflicts = OpenOptions::new().append(true).create(true).open(conflicts)?;
        let state = Mutex::default();
        run::run(options, |store| Arc::new(Faulty { store, fault, role, conflicts, state }))
            .await?;
        return Ok(ExitCode::SUCCESS);
    }
    if options.all_faults {
        return all_faults(options.seconds, options.sqlite);
    }

    let time = Duration::from_secs(options.seconds.into());
    let mut columns = Vec::new();
    let own = if options.sqlite || options.database.is_some() { None } else { Postgres::start() };
    if let Some(url) = options.database.or_else(|| Some(own.as_ref()?.database("storm"))) {
        let each = |seconds: u32| options.seconds.div_ceil(seconds);
        let size = Size {
            name: "PostgreSQL",
            servers: 3,
            users: 4,
            clients: 4,
            kills: each(2),
            server_kills: each(5),
            crashes: if own.is_some() { each(12) } else { 0 },
            time,
        };
        columns.push(storm(&url, own.as_ref(), size, options.fault).await?);
    }
    // With a fault, one database is enough.
    if options.fault.is_none() || columns.is_empty() {
        let dir = TempDir::new()?;
        let url = format!("sqlite://{}/tasks.db", dir.path().display());
        let time = if columns.is_empty() { time } else { time / 3 };
        let size = Size {
            name: "SQLite",
            servers: 2,
            users: 3,
            clients: 2,
            kills: 8,
            server_kills: 2,
            crashes: 0,
            time,
        };
        columns.push(storm(&url, None, size, options.fault).await?);
    }

    let table = table(&columns);
    println!("{table}");
    if let Some(file) = options.write {
        testing::report::write(&file, "storm", &table)?;
    }
    let violations: Vec<_> = columns.iter().flat_map(|column| &column.violations).collect();
    for violation in violations.iter().take(10) {
        println!("\n{violation}");
    }
    println!();
    match (options.fault, violations.len()) {
        (None, 0) => println!("no violations"),
        (None, count) => println!("{count} violations"),
        (Some(fault), 0) => println!("{} was not found", fault.name()),
        (Some(fault), count) => println!("{} was found: {count} violations", fault.name()),
    }
    Ok(ExitCode::from(u8::from(!violations.is_empty())))
}

/// The results on one database.
struct Column {
    name: &'static str,
    figures: Vec<(&'static str, usize)>,
    violations: Vec<String>,
}

fn table(columns: &[Column]) -> String {
    let row = |first: &str, cells: Vec<String>| format!("| {first} | {} |", cells.join(" | "));
    let mut lines = vec![
        row("", columns.iter().map(|column| column.name.to_owned()).collect()),
        row("---", columns.iter().map(|_| "---:".to_owned()).collect()),
    ];
    for (at, (what, _)) in columns[0].figures.iter().enumerate() {
        let cells = columns.iter().map(|column| column.figures[at].1.to_string());
        lines.push(row(what, cells.collect()));
    }
    lines.join("\n")
}

const CANCELS_WON: &str = "cancels won";
const CANCELS_LOST: &str = "cancels lost";
const EDITS: &str = "edits by hand";
const COMPARED: &str = "reverts of which a client saw before and after";

async fn storm(
    url: &str,
    own: Option<&Postgres>,
    size: Size,
    fault: Option<Fault>,
) -> anyhow::Result<Column> {
    let dir = TempDir::new()?;
    let conflicts = dir.path().join("conflicts").display().to_string();
    let (mut through, mut proxy) = (url.to_owned(), Arc::new(Proxy::default()));
    if let Some(postgres) = own {
        let (port, started) = Proxy::start(postgres.port()).await?;
        through = format!(
            "{}?sslmode=disable",
            url.replace(&postgres.port().to_string(), &port.to_string())
        );
        proxy = started;
    }
    let database = Arc::new(SqlStore::open(url, Duration::from_secs(1)).await?);
    let document = Document::queued(&Configuration::default(), serde_json::Map::new());
    let taken = New::of(String::new(), "taken".to_owned(), document, b"taken".to_vec());
    database.create(&New { key: TAKEN, ..taken }).await?;
    if fault == Some(Fault::FileStaysAfterDelete) {
        let statement = "ALTER TABLE files DROP CONSTRAINT files_task_id_fkey";
        sqlx::query(statement).execute(&database.pool).await?;
    }

    let mut fleet = Fleet::start(&size, &through, &conflicts, fault)?;
    let urls: Vec<_> = fleet.servers.iter().map(|server| server.url.clone()).collect();
    let storm = Arc::new(Storm::new(&urls, size.users));
    let end = Instant::now() + size.time;
    let mut clients = JoinSet::new();
    for user in 0..size.users {
        for _ in 0..size.clients {
            clients.spawn(storm.clone().play(user, end));
        }
    }
    let editor = tokio::spawn(storm.clone().edit(database.clone(), end));
    fleet.disturb(&size, own, &storm).await?;
    proxy.is_calm.store(true, Ordering::Relaxed);
    clients.join_all().await;
    let edits = editor.await?;

    // The workers finish what is left.
    let limit = Instant::now() + Duration::from_mins(1);
    let active = "SELECT count(*) FROM tasks WHERE status IN ('Starting', 'Processing')";
    while sqlx::query_scalar::<_, i64>(active).fetch_one(&database.pool).await? > 0
        && Instant::now() < limit
    {
        sleep(Duration::from_millis(100)).await;
        fleet.replace_dead();
    }
    for user in 0..size.users {
        let tasks = storm.pools[user].lock().unwrap().clone();
        for task in tasks {
            storm.ask(user, &task, Ask::Get).await;
        }
    }
    let Fleet { troubles, kills, server_kills, crashes, stops, deaths, .. } = fleet;

    let (kept, log) = audit::read(&database).await?;
    let records = std::mem::take(&mut *storm.records.lock().unwrap());
    let found = audit(&kept, &log, &records, &troubles);
    let conflicts = File::open(&conflicts)?.metadata()?.len();
    let figures = vec![
        ("tasks", found.tasks),
        ("answers", records.len()),
        (CANCELS_WON, found.cancels_won),
        (CANCELS_LOST, found.cancels_lost),
        ("reverts", found.reverts),
        (COMPARED, found.reverts_compared),
        (EDITS, edits),
        ("workers killed", usize::try_from(kills)?),
        ("workers paused past their lease", stops),
        ("workers killed by their document", deaths),
        ("runs retried", found.retries),
        ("given up after the last attempt", found.given_up),
        ("messages redelivered", found.redelivered),
        ("servers killed", usize::try_from(server_kills)?),
        ("PostgreSQL killed", usize::try_from(crashes)?),
        ("lost commits, and lost answers to commits", proxy.lost.load(Ordering::Relaxed)),
        ("requests without an answer", found.silent),
        ("changes whose client got no answer", found.untold),
        ("tasks expired", found.expired),
        ("runs longer than the lease", found.outlasted),
        ("⋯ and lost all the same, by undisturbed workers", found.lost),
        ("lost races", usize::try_from(conflicts)?),
        ("violations", found.violations.len()),
    ];
    let mut violations = found.violations;
    for (what, figure) in &figures {
        let is_wanted = [CANCELS_WON, CANCELS_LOST, EDITS, COMPARED].contains(what);
        if is_wanted && *figure == 0 && records.len() > 2000 {
            violations.push(format!("it proves nothing: {what}: 0"));
        }
    }
    Ok(Column { name: size.name, figures, violations })
}

/// The processes of a storm, and what happened to them.
struct Fleet {
    program: PathBuf,
    common: Vec<String>,
    servers: Vec<Process>,
    workers: Vec<Process>,
    asleep: Option<Instant>,
    shifts_clocks: bool,
    /// When a server or the database was down.
    troubles: Vec<(DateTime<Utc>, DateTime<Utc>)>,
    kills: u32,
    server_kills: u32,
    crashes: u32,
    stops: usize,
    deaths: usize,
}

impl Fleet {
    fn start(
        size: &Size,
        url: &str,
        conflicts: &str,
        fault: Option<Fault>,
    ) -> anyhow::Result<Self> {
        let mut common = vec!["service", "--database", url, "--lease-seconds", "1"];
        common.extend(["--conflicts", conflicts]);
        let mut common: Vec<_> = common.into_iter().map(str::to_owned).collect();
        common.extend(fault.map(|fault| format!("--break={}", fault.name())));
        common
            .extend((0..size.users).map(|user| format!("--api-key={}={}", key(user), name(user))));
        // SQLite uses the clock of the process.
        let shifts_clocks = url.starts_with("postgres") && can_shift_clocks();
        if !can_shift_clocks() {
            eprintln!("faketime is not installed (Debian: libfaketime): all clocks agree");
        }
        let mut fleet = Self {
            program: std::env::current_exe()?,
            common,
            servers: Vec::new(),
            workers: Vec::new(),
            asleep: None,
            shifts_clocks,
            troubles: Vec::new(),
            kills: 0,
            server_kills: 0,
            crashes: 0,
            stops: 0,
            deaths: 0,
        };
        for at in 0..size.servers {
            let server = fleet.server(at, "127.0.0.1:0");
            fleet.servers.push(server);
        }
        fleet.workers = (0..WORKERS.len()).map(|at| fleet.worker(at)).collect();
        Ok(fleet)
    }

    /// Starts a server; the last is two minutes fast.
    fn server(&self, at: usize, listen: &str) -> Process {
        let own = ["--role", "server", "--workers", "0", "--listen", listen];
        self.process(&own, (at == 1).then_some("+120s"))
    }

    /// Starts workers; the deaf ones are also a minute slow.
    fn worker(&self, at: usize) -> Process {
        let (role, workers, takes) = WORKERS[at];
        let name =
            role.to_possible_value().map_or(String::new(), |value| value.get_name().to_owned());
        let own = ["--no-server", "--role", &name, "--workers", workers, "--work-millis", takes];
        self.process(&own, (role == Role::Deaf).then_some("-60s"))
    }

    fn process(&self, own: &[&str], clock: Option<&str>) -> Process {
        let common = self.common.iter().map(String::as_str);
        let arguments: Vec<_> = common.chain(own.iter().copied()).collect();
        match clock.filter(|_| self.shifts_clocks) {
            Some(clock) => Process::start_at(clock, &self.program, &arguments),
            None => Process::start(&self.program, &arguments),
        }
    }

    /// Replaces workers that were killed by a document.
    fn replace_dead(&mut self) {
        for at in 0..self.workers.len() {
            if self.workers[at].has_ended() {
                self.workers[at] = self.worker(at);
                self.deaths += 1;
            }
        }
    }

    /// Does something that causes an outage, and records when. No worker is paused meanwhile, because a
    /// process that starts waits for those that started before.
    fn trouble(&mut self, make: impl FnOnce(&mut Self)) {
        self.wake();
        let from = Utc::now();
        make(self);
        self.troubles.push((from, Utc::now() + Duration::from_secs(2)));
    }

    fn wake(&mut self) {
        if self.asleep.take().is_some() {
            self.workers[SLEEPER].signal("CONT");
        }
    }

    /// Kills and pauses processes while the clients send requests.
    async fn disturb(
        &mut self,
        size: &Size,
        postgres: Option<&Postgres>,
        storm: &Storm,
    ) -> anyhow::Result<()> {
        let bar = ProgressBar::new(u64::try_from(size.time.as_millis())?);
        bar.set_style(ProgressStyle::with_template("{prefix:10} {wide_bar} {msg}")?);
        bar.set_prefix(size.name);
        let begin = Instant::now();
        while begin.elapsed() < size.time {
            sleep(Duration::from_millis(50)).await;
            let is_due =
                |done: u32, of: u32| begin.elapsed() * of * 2 >= size.time * (2 * done + 1);
            self.replace_dead();
            if self.asleep.is_none() && random_bool(0.2) {
                self.workers[SLEEPER].signal("STOP");
                self.asleep =
                    Some(Instant::now() + Duration::from_millis(random_range(1050..1400)));
                self.stops += 1;
            } else if self.asleep.is_some_and(|until| until < Instant::now()) {
                self.wake();
            }
            if is_due(self.kills, size.kills) {
                // Mostly quick ones: the others should finish their runs, or lose them.
                let at = if random_bool(0.6) { 0 } else { random_range(0..MORTAL) };
                self.workers[at] = self.worker(at); // the old one is killed as it is dropped
                if at == SLEEPER {
                    self.asleep = None;
                }
                self.kills += 1;
            }
            if is_due(self.server_kills, size.server_kills) {
                let at = random_range(0..self.servers.len());
                self.trouble(|fleet| {
                    fleet.servers[at].kill();
                    let listen = fleet.servers[at].url.replace("http://", "");
                    fleet.servers[at] = fleet.server(at, &listen);
                });
                self.server_kills += 1;
            }
            if let Some(postgres) = postgres.filter(|_| is_due(self.crashes, size.crashes)) {
                let pause = Duration::from_millis(random_range(0..800));
                self.trouble(|fleet| postgres.crash(fleet.crashes.is_multiple_of(2), pause));
                self.crashes += 1;
            }
            bar.set_position(u64::try_from(begin.elapsed().as_millis())?);
            bar.set_message(format!("{} answers", storm.records.lock().unwrap().len()));
        }
        self.wake();
        bar.finish_and_clear();
        Ok(())
    }
}

/// Runs a storm with each fault, as a process of its own.
fn all_faults(seconds: u32, sqlite: bool) -> anyhow::Result<ExitCode> {
    let mut missed = Vec::new();
    for fault in Fault::value_variants() {
        let begin = Instant::now();
        let mut command = std::process::Command::new(std::env::current_exe()?);
        command.args(["--break", &fault.name(), "--seconds", &seconds.to_string()]);
        let output = command.args(sqlite.then_some("--sqlite")).output()?;
        let text = String::from_utf8_lossy(&output.stdout);
        let (last, took) = (text.lines().last().unwrap_or_default(), begin.elapsed().as_secs());
        println!("{last}, in {took} s");
        if output.status.code() != Some(1) || !last.contains("was found") {
            missed.push(fault.name());
        }
    }
    ensure!(missed.is_empty(), "not found: {}", missed.join(", "));
    Ok(ExitCode::SUCCESS)
}
