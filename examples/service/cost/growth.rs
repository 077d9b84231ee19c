//! The cost of a page and a claim, by the number of tasks.

use std::fmt::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::ensure;
use plotters::prelude::*;
use sqlx::query;
use task_lifecycle::Status;
use task_service::store::{Page, SqlStore, Store as _};

use crate::Database;

const SIZES: [i64; 4] = [100, 1_000, 10_000, 100_000];

/// How often each is measured, for the median.
const TIMES: usize = 31;

/// What is measured on which database, and its microseconds for each size.
pub type Lines = Vec<(String, Vec<(f64, f64)>)>;

pub async fn measure() -> anyhow::Result<(String, Lines)> {
    let mut lines = Lines::new();
    for database in Database::each()? {
        let store = SqlStore::open(&database.url, Duration::from_hours(1)).await?;
        let [mut page, mut claim] = [Vec::new(), Vec::new()];
        let mut before = 0;
        for size in SIZES {
            add(&store, before, size).await?;
            before = size;
            let size = f64::from(u32::try_from(size)?);
            page.push((size, median(async || list(&store).await).await?));
            claim.push((size, median(async || take(&store).await).await?));
        }
        lines.push((format!("{}, a page of a rare status", database.name), page));
        lines.push((format!("{}, a claim", database.name), claim));
    }
    let mut table = "| |".to_owned();
    for size in SIZES {
        write!(table, " {size} tasks |")?;
    }
    table += "\n| --- |";
    table += &" ---: |".repeat(SIZES.len());
    for (name, points) in &lines {
        write!(table, "\n| {name} |")?;
        for (_, micros) in points {
            write!(table, " {:.2} |", micros / points[0].1)?;
        }
    }
    Ok((table, lines))
}

/// Half of the tasks are queued; of the others, one in a hundred failed.
async fn add(store: &SqlStore, before: i64, size: i64) -> anyhow::Result<()> {
    let insert = "WITH RECURSIVE n(i) AS (SELECT $1 UNION ALL SELECT i + 1 FROM n WHERE i < $2)
        INSERT INTO tasks (task_id, user_id, created_at, file_name, status, revision, run, payload,
                           queued_at, queued_run, leased_until)
        SELECT substr('00000000-0000-4000-8000-000000000000', 1, 36 - length(CAST(i AS TEXT)))
                   || CAST(i AS TEXT),
               'user', i, 'file', CASE WHEN i % 2 = 0 THEN 'Starting' WHEN i % 200 = 1 THEN 'Failed'
                                  ELSE 'Succeeded' END, 0, 0, '{}', i, 0, 0
        FROM n";
    query(insert).bind(before + 1).bind(size).execute(&store.pool).await?;
    query("ANALYZE").execute(&store.pool).await?;
    Ok(())
}

async fn list(store: &SqlStore) -> anyhow::Result<()> {
    let statuses = vec![Status::Failed];
    let page = Page { from: i64::MIN, to: i64::MAX, statuses, ascending: false, limit: 11 };
    ensure!(!store.list("user", &page).await?.is_empty(), "no task");
    Ok(())
}

async fn take(store: &SqlStore) -> anyhow::Result<()> {
    ensure!(store.claim("worker").await?.is_some(), "no message");
    Ok(())
}

async fn median(act: impl AsyncFn() -> anyhow::Result<()>) -> anyhow::Result<f64> {
    let mut times = Vec::new();
    for _ in 0..TIMES {
        let begin = Instant::now();
        act().await?;
        times.push(begin.elapsed());
    }
    times.sort_unstable();
    Ok(times[TIMES / 2].as_secs_f64() * 1e6)
}

/// Each line as multiples of its first point.
pub fn draw(lines: &Lines, file: &Path) -> anyhow::Result<()> {
    let area = SVGBackend::new(file, (640, 420)).into_drawing_area();
    area.fill(&WHITE)?;
    let mut chart = ChartBuilder::on(&area)
        .caption("time against the number of tasks, 100 tasks = 1", ("sans-serif", 16))
        .margin(12)
        .margin_right(24)
        .x_label_area_size(36)
        .y_label_area_size(44)
        .build_cartesian_2d((100.0..100_000.0).log_scale(), (0.1..100.0).log_scale())?;
    chart.configure_mesh().light_line_style(TRANSPARENT).x_desc("tasks").draw()?;
    for ((name, points), colour) in lines.iter().zip([BLACK, BLUE, RED, GREEN]) {
        let style = colour.stroke_width(2);
        let points = points.iter().map(|(size, micros)| (*size, micros / points[0].1));
        let line = chart.draw_series(LineSeries::new(points, style).point_size(3))?;
        let sample = move |(x, y)| PathElement::new([(x, y), (x + 16, y)], style);
        line.label(name).legend(sample);
    }
    chart.configure_series_labels().position(SeriesLabelPosition::UpperLeft).draw()?;
    Ok(area.present()?)
}
