//! Servers, workers and clients on one database, workers killed and stopped at random; then an
//! audit of what every client was told against the log, and of the log against the machine.

#[path = "../testing/mod.rs"]
mod testing;

mod audit;
mod clients;
mod fault;

use std::fs::{self, File, OpenOptions};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::Context;
use clap::{Parser, Subcommand};
use indicatif::{ProgressBar, ProgressStyle};
use rand::{random_bool, random_range};
use task_service::run;
use task_service::store::SqlStore;
use tempfile::TempDir;
use tokio::task::JoinSet;
use tokio::time::sleep;

use audit::audit;
use clients::{Ask, Storm, key, name};
use fault::{Fault, Faulty};
use testing::postgres::Postgres;
use testing::process::Process;

/// Three servers and three worker processes on one PostgreSQL, then a smaller storm on SQLite. Exits
/// with 1 if a law was broken.
#[derive(Parser)]
struct Options {
    #[command(subcommand)]
    part: Option<Part>,
    /// How long clients ask, in seconds; a third of it on SQLite, if that is the second
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..=3600))]
    seconds: u32,
    /// A PostgreSQL to use, postgres://USER@HOST/NAME; its tables are filled [default: one of its
    /// own, where PostgreSQL is installed]
    #[arg(long, value_name = "URL")]
    database: Option<String>,
    /// Only on SQLite
    #[arg(long)]
    sqlite: bool,
    /// A fault to build in, which must be found
    #[arg(long = "break", value_name = "NAME")]
    fault: Option<Fault>,
    /// A file to write the figures into, between its lines `<!-- storm -->` and `<!-- /storm -->`
    #[arg(long, value_name = "FILE")]
    write: Option<PathBuf>,
}

#[derive(Subcommand)]
enum Part {
    /// The service, as a part of the storm
    #[command(hide = true)]
    Service {
        #[command(flatten)]
        options: run::Options,
        #[arg(long = "break")]
        fault: Option<Fault>,
        #[arg(long)]
        conflicts: PathBuf,
    },
}

/// How much of everything.
struct Size {
    name: &'static str,
    servers: usize,
    users: usize,
    clients: usize,
    kills: u32,
    time: Duration,
}

/// Worker processes: how many workers in each, and how long a document takes them. The slow ones
/// are stopped in the midst of a run, and find when they wake that others have it.
const WORKERS: [(&str, &str); 3] = [("3", "100"), ("4", "400"), ("4", "400")];

#[tokio::main]
async fn main() -> anyhow::Result<ExitCode> {
    let options = Options::parse();
    if let Some(Part::Service { options, fault, conflicts }) = options.part {
        let conflicts = OpenOptions::new().append(true).create(true).open(conflicts)?;
        run::run(options, |store| {
            Arc::new(Faulty { store, fault, conflicts, runs: Mutex::default() })
        })
        .await?;
        return Ok(ExitCode::SUCCESS);
    }

    let time = Duration::from_secs(options.seconds.into());
    let mut columns = Vec::new();
    let own = if options.sqlite || options.database.is_some() { None } else { Postgres::start() };
    if let Some(url) = options.database.or_else(|| Some(own.as_ref()?.database("storm"))) {
        let size = Size { name: "PostgreSQL", servers: 3, users: 4, clients: 4, kills: 24, time };
        columns.push(storm(&url, size, options.fault).await?);
    }
    // A fault is to be found on one of them.
    if options.fault.is_none() || columns.is_empty() {
        let dir = TempDir::new()?;
        let url = format!("sqlite://{}/tasks.db", dir.path().display());
        let time = if columns.is_empty() { time } else { time / 3 };
        let size = Size { name: "SQLite", servers: 2, users: 3, clients: 2, kills: 8, time };
        columns.push(storm(&url, size, options.fault).await?);
    }

    let table = table(&columns);
    println!("{table}");
    if let Some(file) = options.write {
        write(&file, &table).with_context(|| file.display().to_string())?;
    }
    let violations: Vec<_> = columns.iter().flat_map(|column| &column.violations).collect();
    for violation in violations.iter().take(10) {
        println!("\n{violation}");
    }
    println!();
    match (options.fault, violations.len()) {
        (None, 0) => println!("no law was broken"),
        (None, count) => println!("{count} violations"),
        (Some(fault), 0) => println!("{} was not found", fault.name()),
        (Some(fault), count) => println!("{} was found: {count} violations", fault.name()),
    }
    Ok(ExitCode::from(u8::from(!violations.is_empty())))
}

/// What a storm on one database came to.
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

const COMPARED: &str = "reverts of which a client saw before and after";

async fn storm(url: &str, size: Size, fault: Option<Fault>) -> anyhow::Result<Column> {
    let dir = TempDir::new()?;
    let conflicts = dir.path().join("conflicts").display().to_string();
    let program = std::env::current_exe()?;
    let mut common = vec!["service", "--database", url, "--lease-seconds", "1"];
    common.extend(["--conflicts", &conflicts]);
    let fault = fault.map(Fault::name);
    if let Some(fault) = &fault {
        common.extend(["--break", fault]);
    }
    let start = |own: &[&str]| Process::start(&program, &[&common[..], own].concat());

    let keys = (0..size.users).map(|user| format!("--api-key={}={}", key(user), name(user)));
    let keys: Vec<_> = keys.collect();
    let mut server = vec!["--listen", "127.0.0.1:0", "--workers", "0"];
    server.extend(keys.iter().map(String::as_str));
    // One after the other: the first makes the tables.
    let servers: Vec<_> = (0..size.servers).map(|_| start(&server)).collect();
    let urls: Vec<_> = servers.iter().map(|server| server.url.clone()).collect();
    let worker = |at: usize| {
        let (workers, takes) = WORKERS[at];
        start(&["--no-server", "--workers", workers, "--work-millis", takes])
    };
    let mut workers: Vec<_> = (0..WORKERS.len()).map(worker).collect();

    let storm = Arc::new(Storm::new(&urls, size.users));
    let end = Instant::now() + size.time;
    let mut clients = JoinSet::new();
    for user in 0..size.users {
        for _ in 0..size.clients {
            clients.spawn(storm.clone().play(user, end));
        }
    }
    let database = Arc::new(SqlStore::open(url, Duration::from_secs(1)).await?);
    let editor = tokio::spawn(storm.clone().edit(database.clone(), end));
    let stops = disturb(&size, &mut workers, worker, &storm).await?;
    clients.join_all().await;
    let edits = editor.await??;

    // What is still to do is done, by workers that live.
    let limit = Instant::now() + Duration::from_secs(30);
    let active = "SELECT count(*) FROM tasks WHERE status IN ('Starting', 'Processing')";
    while sqlx::query_scalar::<_, i64>(active).fetch_one(&database.pool).await? > 0
        && Instant::now() < limit
    {
        sleep(Duration::from_millis(100)).await;
    }
    for user in 0..size.users {
        let tasks = storm.pools[user].lock().unwrap().clone();
        for task in tasks {
            storm.ask(user, &task, Ask::Get).await;
        }
    }
    drop((workers, servers));

    let (kept, log) = audit::read(&database).await?;
    let records = std::mem::take(&mut *storm.records.lock().unwrap());
    let found = audit(&kept, &log, &records);
    let conflicts = File::open(&conflicts)?.metadata()?.len();
    let figures = vec![
        ("tasks", found.tasks),
        ("answers", records.len()),
        ("cancels won", found.cancels_won),
        ("cancels lost", found.cancels_lost),
        ("edits by others", edits),
        ("reverts", found.reverts),
        (COMPARED, found.reverts_compared),
        ("workers killed", usize::try_from(size.kills)?),
        ("workers stopped past their lease", stops),
        ("runs retried for them", found.retries),
        ("conflicts, decided again or dropped", usize::try_from(conflicts)?),
        ("violations", found.violations.len()),
    ];
    let mut violations = found.violations;
    for (what, figure) in &figures {
        if ["cancels won", "cancels lost", "edits by others", COMPARED].contains(what)
            && *figure == 0
        {
            violations.push(format!("nothing was shown: {what}: 0"));
        }
    }
    Ok(Column { name: size.name, figures, violations })
}

/// Lets workers die, and others sleep past their lease, as long as the clients ask.
async fn disturb(
    size: &Size,
    workers: &mut [Process],
    start: impl Fn(usize) -> Process,
    storm: &Storm,
) -> anyhow::Result<usize> {
    let bar = ProgressBar::new(u64::try_from(size.time.as_millis())?);
    bar.set_style(ProgressStyle::with_template("{prefix:10} {wide_bar} {msg}")?);
    bar.set_prefix(size.name);
    let begin = Instant::now();
    let (mut kills, mut stops) = (0, 0);
    let mut asleep: Vec<(usize, Instant)> = Vec::new();
    while kills < size.kills || begin.elapsed() < size.time {
        sleep(Duration::from_millis(50)).await;
        for (at, _) in asleep.extract_if(.., |(_, until)| *until < Instant::now()) {
            workers[at].signal("CONT");
        }
        let at = random_range(1..workers.len());
        if random_bool(0.2) && asleep.iter().all(|(other, _)| *other != at) {
            workers[at].signal("STOP");
            let nap = Duration::from_millis(random_range(1050..1400));
            asleep.push((at, Instant::now() + nap));
            stops += 1;
        }
        if kills < size.kills && begin.elapsed() * size.kills >= size.time * kills {
            // The quick ones more often: a sleeper is to wake.
            let at = if random_bool(0.6) { 0 } else { random_range(1..workers.len()) };
            workers[at] = start(at); // the old one is killed as it is dropped
            asleep.retain(|(other, _)| *other != at);
            kills += 1;
        }
        bar.set_position(u64::try_from(begin.elapsed().as_millis())?);
        bar.set_message(format!("{} answers, {kills} kills", storm.records.lock().unwrap().len()));
    }
    for (at, _) in asleep {
        workers[at].signal("CONT");
    }
    bar.finish_and_clear();
    Ok(stops)
}

/// Puts `table` between the marks.
fn write(file: &PathBuf, table: &str) -> anyhow::Result<()> {
    let text = fs::read_to_string(file)?;
    let (before, rest) = text.split_once("<!-- storm -->").context("no mark")?;
    let (_, after) = rest.split_once("<!-- /storm -->").context("no end mark")?;
    fs::write(file, format!("{before}<!-- storm -->\n\n{table}\n\n<!-- /storm -->{after}"))?;
    Ok(())
}
