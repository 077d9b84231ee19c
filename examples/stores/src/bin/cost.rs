//! What a change costs on each engine that is installed, and how that grows with the clients.

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::exit;
use std::sync::{Barrier, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use clap::Parser;
use indicatif::{ProgressBar, ProgressStyle};
use plotters::prelude::*;
use task_stores::engines::{self, Disk, Engine};
use task_stores::suite::{Etcd, Postgres, Redis, S3, Sqlite, Store};
use task_stores::{Document, Result, Task, postgres, report};
use tokio::runtime::{Builder, Runtime};

#[derive(Parser)]
struct Options {
    /// How long each engine is measured with each number of clients, in each of three rounds
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u64).range(1..=60))]
    seconds: u64,
    /// A file to write the table into, between its lines `<!-- cost -->` and `<!-- /cost -->`; the
    /// plot, cost.svg, goes beside it
    #[arg(long, value_name = "FILE")]
    write: Option<PathBuf>,
}

const CLIENTS: [u16; 3] = [1, 8, 64];
/// So that what else the machine does falls on all of them.
const ROUNDS: u32 = 3;

type Measure = fn(&str, u16, Duration) -> Vec<Vec<Duration>>;

struct Subject {
    name: &'static str,
    engine: Engine,
    measure: Measure,
    costs: [Cost; CLIENTS.len()],
}

#[derive(Default)]
struct Cost {
    times: Vec<Duration>,
    in_time: usize,
    rate: f64,
    median: f64,
    high: f64,
}

fn main() -> anyhow::Result<()> {
    let options = Options::parse();
    let engines: [(_, Measure); 5] = [
        (Sqlite::NAME, measure::<Sqlite>),
        (Postgres::NAME, measure::<Postgres>),
        (Etcd::NAME, measure::<Etcd>),
        (Redis::NAME, measure::<Redis>),
        (S3::NAME, measure::<S3>),
    ];
    let mut subjects: Vec<_> = engines
        .into_iter()
        .filter_map(|(name, measure)| {
            let engine = engines::start(name, Disk::Real)?;
            Some(Subject { name, engine, measure, costs: Default::default() })
        })
        .collect();

    if let Some(subject) = subjects.iter().find(|subject| subject.name == Postgres::NAME) {
        Runtime::new()?.block_on(async {
            let db = Postgres::open(&subject.engine.address).await?.db;
            anyhow::Ok(sqlx::raw_sql(postgres::SCHEMA).execute(&db).await?)
        })?;
    }

    let time = Duration::from_secs(options.seconds);
    let bar = ProgressBar::new((subjects.len() * CLIENTS.len()) as u64 * u64::from(ROUNDS));
    bar.set_style(ProgressStyle::with_template("{msg:22} {wide_bar} {eta}")?);
    for _ in 0..ROUNDS {
        for (at, clients) in CLIENTS.into_iter().enumerate() {
            for Subject { name, engine, measure, costs } in &mut subjects {
                bar.set_message(format!("{name}, {clients} clients"));
                for mut times in measure(&engine.address, clients, time) {
                    costs[at].in_time += times.len() - 1; // the last is over after it
                    costs[at].times.append(&mut times);
                }
                bar.inc(1);
            }
        }
    }
    bar.finish_and_clear();

    for cost in subjects.iter_mut().flat_map(|subject| &mut subject.costs) {
        cost.times.sort();
        let millis =
            |per_cent: usize| 1e3 * cost.times[cost.times.len() * per_cent / 100].as_secs_f64();
        (cost.median, cost.high) = (millis(50), millis(99));
        cost.rate = f64::from(u32::try_from(cost.in_time)?) / (time * ROUNDS).as_secs_f64();
    }
    let table = table(&subjects);
    println!("{table}");
    if let Some(file) = options.write {
        report::write(&file, "cost", &table)?;
        draw(&subjects, &file.with_file_name("cost.svg"))?;
    }
    Ok(())
}

/// How long each change took that was begun in `time`, by client: each has a task, a thread and a
/// connection of its own.
fn measure<S: Store>(address: &str, clients: u16, time: Duration) -> Vec<Vec<Duration>> {
    let (turn, barrier) = (Mutex::new(()), Barrier::new(clients.into()));
    let open = async || -> Result<_> {
        let store = S::open(address).await?;
        let document = Document { message: "x".repeat(1000), ..Document::default() };
        let id = store.create(&Task::new(document)).await?;
        Ok((store, id))
    };
    let change = async |store: S, id| -> Result<_> {
        let (begin, mut times) = (Instant::now(), vec![]);
        while begin.elapsed() < time {
            let sent = Instant::now();
            let mut task = store.load(&id).await?.expect("a task");
            let loaded = task.revision();
            task.edit(|it| it.output = Some(loaded.to_string()));
            assert!(store.commit(&id, loaded, &task).await?, "nobody else has this task");
            times.push(sent.elapsed());
        }
        Ok(times)
    };
    let client = || -> Result<_> {
        let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
        let turn = turn.lock().expect("a turn");
        let (store, id) = runtime.block_on(open())?;
        drop(turn);
        barrier.wait();
        runtime.block_on(change(store, id))
    };
    let client = || {
        client().unwrap_or_else(|error| {
            eprintln!("{}: {error:?}", S::NAME);
            exit(2) // the others wait for this one
        })
    };
    thread::scope(|scope| {
        let clients: Vec<_> = (0..clients).map(|_| scope.spawn(client)).collect();
        clients.into_iter().map(|client| client.join().expect("its times")).collect()
    })
}

fn table(subjects: &[Subject]) -> String {
    let mut table = "| | clients | changes per second | median | 99th percentile |\n".to_owned();
    table += "| --- | ---: | ---: | ---: | ---: |";
    for subject in subjects {
        for ((clients, cost), base) in CLIENTS.iter().zip(&subject.costs).zip(&subjects[0].costs) {
            let rate = format!("{:.2} ({:.0})", cost.rate / base.rate, cost.rate);
            let [median, high] = [(cost.median, base.median), (cost.high, base.high)]
                .map(|(cost, base)| format!("{:.2} ({cost:.1} ms)", cost / base));
            _ = write!(table, "\n| {} | {clients} | {rate} | {median} | {high} |", subject.name);
        }
    }
    table
}

/// Changes per second against clients, as multiples of SQLite with one.
fn draw(subjects: &[Subject], file: &Path) -> anyhow::Result<()> {
    let colours = [BLACK, BLUE, RED, GREEN];
    let base = subjects[0].costs[0].rate;
    let lines = || subjects.iter().zip(colours).filter(|(subject, _)| subject.name != S3::NAME);
    let rates = || lines().flat_map(|(subject, _)| &subject.costs).map(|cost| cost.rate / base);
    let heights = rates().fold(f64::MAX, f64::min) / 1.5..rates().fold(0.0, f64::max) * 1.5;
    let area = SVGBackend::new(file, (640, 420)).into_drawing_area();
    area.fill(&WHITE)?;
    let mut chart = ChartBuilder::on(&area)
        .caption("changes per second, SQLite with one client = 1", ("sans-serif", 16))
        .margin(12)
        .margin_right(24)
        .x_label_area_size(36)
        .y_label_area_size(44)
        .build_cartesian_2d(0..CLIENTS.len() - 1, heights.log_scale())?;
    let mut mesh = chart.configure_mesh();
    mesh.x_labels(CLIENTS.len()).x_label_formatter(&|at| CLIENTS[*at].to_string());
    mesh.y_label_formatter(&|rate| format!("{rate:.2}"));
    mesh.light_line_style(TRANSPARENT).x_desc("clients").draw()?;
    for (subject, colour) in lines() {
        let (style, costs) = (colour.stroke_width(2), &subject.costs);
        let points = costs.iter().map(|cost| cost.rate / base).enumerate();
        let line = chart.draw_series(LineSeries::new(points, style).point_size(3))?;
        let sample = move |(x, y)| PathElement::new([(x, y), (x + 16, y)], style);
        line.label(subject.name).legend(sample);
    }
    chart.configure_series_labels().position(SeriesLabelPosition::UpperLeft).draw()?;
    Ok(area.present()?)
}
