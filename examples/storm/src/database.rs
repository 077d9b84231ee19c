//! The service's database: what it kept, and what is done to it behind the service's back.

use std::collections::HashMap;

use anyhow::{Context as _, Result};
use serde_json::Value;
use sqlx::{AnyPool, raw_sql};
use task_lifecycle::{Previous, Revision, Run, Snapshot};

use crate::audit::{Actor, Beside, Change, Moment, Payload};
use crate::storm::{Storm, nap};

/// Keeps every change of a row, as the database sees it, whoever makes it. And whenever the message
/// of an update is delivered, one in three, its client has just cancelled and queued it again.
pub async fn watch(db: &AnyPool, is_sqlite: bool) -> sqlx::Result<sqlx::any::AnyQueryResult> {
    let sql = [include_str!("../sql/postgres.sql"), include_str!("../sql/sqlite.sql")];
    raw_sql(sql[usize::from(is_sqlite)]).execute(db).await
}

/// Tests if nothing is to be done any more.
pub async fn is_calm(db: &AnyPool) -> bool {
    let sql = "SELECT count(*) FROM tasks WHERE status IN ('Starting', 'Processing')";
    sqlx::query_scalar::<_, i64>(sql).fetch_one(db).await.is_ok_and(|count| count == 0)
}

pub async fn history(db: &AnyPool) -> Result<HashMap<String, Vec<Change>>> {
    let sql = "SELECT task_id, at, before, after FROM storm ORDER BY number";
    let rows: Vec<(String, i64, Option<String>, Option<String>)> =
        sqlx::query_as(sql).fetch_all(db).await?;
    let mut history = HashMap::<String, Vec<Change>>::new();
    for (task, at, before, after) in rows {
        let row: Value = after.as_deref().map_or(Ok(Value::Null), serde_json::from_str)?;
        let text = |name| row[name].as_str().unwrap_or("delete");
        let operations = text("operations").split(", ").filter_map(|it| it.parse().ok()).collect();
        let moments = |row: Option<String>| row.map(|row| moment(&serde_json::from_str(&row)?));
        let (before, after) = (moments(before).transpose()?, moments(after).transpose()?);
        let by = match text("changed_by").split_once(' ') {
            Some(("request", name)) => Actor::Client(Some(name.to_owned())),
            Some(("worker", name)) => Actor::Worker(name.to_owned()),
            _ if after.is_none() => Actor::Client(None),
            _ => Actor::Stranger,
        };
        let loaded = before.as_ref().map(|before| before.task.revision());
        let change = Change { at, by, loaded, operations, before, after };
        history.entry(task).or_default().push(change);
    }
    Ok(history)
}

fn moment(row: &Value) -> Result<Moment> {
    let number = |name: &str| row[name].as_i64().with_context(|| name.to_owned());
    let text = |name: &str| row[name].as_str();
    let payload = |name: &str| {
        text(name).map(|digest| {
            let document: Value = serde_json::from_str(digest).unwrap_or_default();
            let mark = document["configuration"]["mark"].as_str().unwrap_or_default().to_owned();
            Payload { mark, digest: digest.to_owned() }
        })
    };
    let previous = text("previous_status").map(str::parse).transpose()?;
    let previous = previous.zip(payload("previous_payload"));
    let snapshot = Snapshot {
        status: text("status").context("status")?.parse()?,
        revision: Revision::from_i64(number("revision")?),
        run: Run::from_i64(number("run")?),
        payload: payload("payload").context("payload")?,
        previous: previous.map(|(status, payload)| Previous { status, payload }),
    };
    Ok(Moment {
        task: snapshot.try_into()?,
        beside: Some(Beside {
            queued_run: Run::from_i64(number("queued_run")?),
            attempts: number("attempts")?.try_into()?,
            stop: row["stop_requested"].as_i64().map(Run::from_i64),
            lease: row["lease_until"].as_i64(),
            has_message: !row["due_at"].is_null(),
            deliveries: number("deliveries")?.try_into()?,
        }),
    })
}

/// Meddlers, until the storm is over: a hand that edits; a queue that delivers again what somebody
/// has; and a worker that takes runs from others, for their leases are cut short, and then hangs.
const MEDDLERS: [(&str, &str); 3] = [
    ("edits by hand", include_str!("../sql/edit.sql")),
    ("messages delivered again", include_str!("../sql/redeliver.sql")),
    ("leases cut short", include_str!("../sql/hang.sql")),
];

pub async fn meddle(db: AnyPool, storm: std::rc::Rc<Storm>) {
    while !storm.is_over() {
        nap(10..100).await;
        let (figure, sql) = MEDDLERS[rand::random_range(0..MEDDLERS.len())];
        // The database may be down, or refuse.
        if let Ok(done) = raw_sql(sql).execute(&db).await {
            storm.count(figure, done.rows_affected());
        }
    }
}
