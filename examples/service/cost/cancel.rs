//! The cost of a cancel that reverts to an output of 10 MB: as it is, where SQL moves the columns, and
//! as it would be if both documents passed through the program.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use serde_json::Map;
use sqlx::Row as _;
use task_lifecycle::{Previous, Snapshot, Task};
use task_service::document::{Chunk, Configuration, Document};
use task_service::store::{Event, Key, New, Payload, Row, SqlStore, Store as _};
use uuid::Uuid;

use crate::Database;

/// How often each is measured, in turns, for the median.
const TIMES: usize = 15;

pub async fn measure() -> anyhow::Result<String> {
    let mut table = "|  | as it is | through the program |\n| --- | ---: | ---: |".to_owned();
    for database in Database::each()? {
        let [as_it_is, through] = compare(&database.url).await?;
        let ratio = through.as_secs_f64() / as_it_is.as_secs_f64();
        write!(table, "\n| {} | 1 | {ratio:.1} |", database.name)?;
    }
    Ok(table)
}

async fn compare(url: &str) -> anyhow::Result<[Duration; 2]> {
    let store = SqlStore::open(url, Duration::from_mins(1)).await?;
    let queued = Document::queued(&Configuration::default(), Map::new());
    let chunk = Chunk { id: Uuid::nil(), content: "a word ".repeat(15), words: 30 };
    let chunks = Some(Arc::new(vec![chunk; 60_000]));
    let cut = Document { chunks, ..queued.clone() };
    let new = New::of("user".to_owned(), "file".to_owned(), queued.clone(), b"file".to_vec());
    let mut row = store.create(&new).await?.context("a new name")?;
    row.task.start()?;
    row.task.edit(|payload| *payload = Payload::new(cut));
    row.task.succeed()?;
    commit(&store, &row, 0).await?;

    let mut times = [const { Vec::new() }; 2];
    for _ in 0..TIMES {
        for (way, times) in times.iter_mut().enumerate() {
            let mut row = store.load(&new.key).await?.context("the task")?;
            let loaded = row.task.revision();
            row.task.update(Payload::new(queued.clone()))?;
            commit(&store, &row, loaded).await?;
            let begin = Instant::now();
            match way {
                0 => as_it_is(&store, &new.key).await?,
                _ => through(&store, &new.key).await?,
            }
            times.push(begin.elapsed());
        }
    }
    Ok(times.map(|mut times| {
        times.sort_unstable();
        times[TIMES / 2]
    }))
}

async fn commit(store: &SqlStore, row: &Row, loaded: u64) -> anyhow::Result<()> {
    let event = Event::new("user", "edit", loaded, Some(&row.task));
    anyhow::ensure!(store.commit(row, loaded, &event).await?, "a lost race");
    Ok(())
}

async fn as_it_is(store: &SqlStore, key: &Key) -> anyhow::Result<()> {
    let mut row = store.load(key).await?.context("the task")?;
    let loaded = row.task.revision();
    row.task.cancel()?;
    commit(store, &row, loaded).await
}

async fn through(store: &SqlStore, key: &Key) -> anyhow::Result<()> {
    let id = key.id.to_string();
    let select = "SELECT status, revision, run, payload, previous_status, previous_payload
                  FROM tasks WHERE task_id = $1";
    let row = sqlx::query(select).bind(&id).fetch_one(&store.pool).await?;
    let loaded = row.try_get::<i64, _>("revision")?;
    let mut task: Task<Document> = Snapshot {
        status: row.try_get::<&str, _>("status")?.parse()?,
        revision: loaded.cast_unsigned(),
        run: row.try_get::<i64, _>("run")?.cast_unsigned(),
        payload: serde_json::from_str(row.try_get("payload")?)?,
        previous: Some(Previous {
            status: row.try_get::<&str, _>("previous_status")?.parse()?,
            payload: serde_json::from_str(row.try_get("previous_payload")?)?,
        }),
    }
    .try_into()?;
    task.cancel()?;
    let update =
        "UPDATE tasks SET status = $3, revision = $4, payload = $5, previous_status = NULL,
                  previous_payload = NULL WHERE task_id = $1 AND revision = $2";
    let update = sqlx::query(update).bind(&id).bind(loaded).bind(task.status().as_str());
    let update = update.bind(task.revision().cast_signed());
    let update = update.bind(serde_json::to_string(task.payload())?);
    anyhow::ensure!(update.execute(&store.pool).await?.rows_affected() == 1, "a lost race");
    Ok(())
}
