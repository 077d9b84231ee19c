//! The service's database: what it kept, and what is done to it behind the service's back.

use std::collections::HashMap;
use std::rc::Rc;

use anyhow::{Context as _, Result};
use rand::random_range;
use serde_json::Value;
use sqlx::{AnyPool, AssertSqlSafe, raw_sql};
use task_lifecycle::{Revision, Run, State, Status};

use crate::audit::{Actor, Beside, Change, Moment, Payload};
use crate::storm::{Storm, nap};

/// The columns that a change of a task can change, and what else is kept of a row.
const CHANGED: &str = "status previous_status revision run payload previous_payload queued_run \
    attempts stop_requested";
const OTHERS: &str = "lease_until due_at deliveries operations changed_by";

/// Whenever the message of an update is delivered, one in three, its client has just cancelled and
/// queued it again.
const QUICK: &str = "UPDATE tasks SET run = run + 1, revision = revision + 2, queued_run = run + 1,
        attempts = 0, stop_requested = NULL, deliveries = 0, payload = payload || ' ',
        due_at = (SELECT now FROM clock) + 1000000, operations = 'cancel, update', changed_by = 'hand'
    WHERE task_id = NEW.task_id AND deliveries = 1 AND revision % 3 = 0 AND status = 'Starting'
        AND previous_status IS NOT NULL";

/// Keeps every change of a row, as the database sees it, whoever makes it.
pub async fn watch(db: &AnyPool, is_sqlite: bool) -> Result<()> {
    let (number, object, differs) = if is_sqlite {
        ("INTEGER PRIMARY KEY", "json_object", "IS NOT")
    } else {
        ("BIGSERIAL", "json_build_object", "IS DISTINCT FROM")
    };
    let list = |columns: &str, form: &dyn Fn(&str) -> String| {
        columns.split_whitespace().map(form).collect::<Vec<_>>().join(", ")
    };
    let row = |of: &str| {
        let fields = list(&format!("{CHANGED} {OTHERS}"), &|it| format!("'{it}', {of}.{it}"));
        format!("CAST({object}({fields}) AS TEXT)")
    };
    let insert = |id: &str, before: &str, after: &str| {
        format!(
            "INSERT INTO storm (at, task_id, before, after) VALUES ((SELECT now FROM clock), {id}.task_id, {before}, {after})"
        )
    };
    let [old, new] = ["OLD", "NEW"].map(|of| list(CHANGED, &|it| format!("{of}.{it}")));
    let table = format!(
        "CREATE TABLE storm (number {number}, at BIGINT, task_id TEXT, before TEXT, after TEXT)"
    );
    raw_sql(AssertSqlSafe(table)).execute(db).await?;
    let is_change = format!("({old}) {differs} ({new})");
    for (name, event, when, then) in [
        ("created", "INSERT", "TRUE", insert("NEW", "NULL", &row("NEW"))),
        ("changed", "UPDATE", &is_change, insert("NEW", &row("OLD"), &row("NEW"))),
        ("deleted", "DELETE", "TRUE", insert("OLD", &row("OLD"), "NULL")),
        ("delivered", "UPDATE OF deliveries", "TRUE", QUICK.to_owned()),
    ] {
        let trigger =
            format!("TRIGGER storm_{name} AFTER {event} ON tasks FOR EACH ROW WHEN ({when})");
        let sql = if is_sqlite {
            format!("CREATE {trigger} BEGIN {then}; END")
        } else {
            format!(
                "CREATE FUNCTION storm_{name}() RETURNS trigger LANGUAGE plpgsql AS
                $$ BEGIN {then}; RETURN NULL; END $$;
                CREATE {trigger} EXECUTE FUNCTION storm_{name}()"
            )
        };
        raw_sql(AssertSqlSafe(sql)).execute(db).await?;
    }
    Ok(())
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
        let loaded = before.as_ref().map(|before| before.revision);
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
    let previous = text("previous_status").map(str::parse::<Status>).transpose()?;
    Ok(Moment {
        revision: Revision::from_i64(number("revision")?),
        run: Run::from_i64(number("run")?),
        state: State::from_parts(text("status").context("status")?.parse()?, previous)?,
        payload: payload("payload").context("payload")?,
        previous: payload("previous_payload"),
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

/// Who meddles until the storm is over: a hand that edits; a queue that delivers again what somebody
/// has; and a worker that takes runs from others, for their leases are cut short, and then hangs.
#[rustfmt::skip]
const MEDDLERS: [(&str, &str); 3] = [
    ("edits by hand", "UPDATE tasks SET payload = payload || ' ', revision = revision + 1, operations = 'edit', changed_by = 'hand'
        WHERE task_id = (SELECT task_id FROM tasks ORDER BY random() LIMIT 1)"),
    ("messages delivered again", "UPDATE tasks SET due_at = 0
        WHERE task_id = (SELECT task_id FROM tasks WHERE status = 'Starting' AND deliveries > 0 LIMIT 1)"),
    ("leases cut short", "UPDATE tasks SET lease_until = (SELECT now FROM clock) - 1
        WHERE task_id = (SELECT task_id FROM tasks WHERE status = 'Processing' AND changed_by <> 'worker hung'
            AND lease_until > (SELECT now FROM clock) LIMIT 1);
    UPDATE tasks SET run = run + 1, revision = revision + 2, attempts = attempts + 1, lease_run = run + 1,
        lease_until = (SELECT now FROM clock) + lease_length, operations = 'retry, start', changed_by = 'worker hung'
        WHERE status = 'Processing' AND lease_until < (SELECT now FROM clock) AND attempts < 2 AND stop_requested IS NULL"),
];

pub async fn meddle(db: AnyPool, storm: Rc<Storm>) {
    while !storm.is_over() {
        nap(10..100).await;
        let (figure, sql) = MEDDLERS[random_range(0..MEDDLERS.len())];
        // The database may be down, or refuse.
        if let Ok(done) = raw_sql(sql).execute(&db).await {
            storm.count(figure, done.rows_affected());
        }
    }
}
