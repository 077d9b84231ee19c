//! The service's database: what it kept, and what is done to it behind the service's back.

use std::collections::HashMap;
use std::rc::Rc;

use anyhow::Context as _;
use serde_json::Value;
use sqlx::{AnyPool, AssertSqlSafe};
use task_lifecycle::{Revision, Run, State, Status};

use crate::audit::{Actor, Beside, Change, Moment, Payload};
use crate::storm::{Fault, Storm, nap};

/// The columns that a change of a task can change.
const COLUMNS: &str = "status previous_status revision run payload previous_payload queued_run \
    attempts stop_requested";

/// Keeps every change of a row, as the database sees it, whoever makes it.
pub async fn watch(db: &AnyPool, is_sqlite: bool) -> sqlx::Result<()> {
    let [number, now, object, differs] = if is_sqlite {
        let now = "CAST(unixepoch('subsec') * 1000000 AS INTEGER)";
        ["INTEGER PRIMARY KEY", now, "json_object", "IS NOT"]
    } else {
        let number = "BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY";
        let now = "(extract(epoch FROM clock_timestamp()) * 1000000)::BIGINT";
        [number, now, "json_build_object", "IS DISTINCT FROM"]
    };
    let join = |columns: &str, form: &dyn Fn(&str) -> String| {
        columns.split_whitespace().map(form).collect::<Vec<_>>().join(", ")
    };
    let row = |of: &str| {
        let columns = format!("{COLUMNS} lease_until operations changed_by");
        format!("CAST({object}({}) AS TEXT)", join(&columns, &|it| format!("'{it}', {of}.{it}")))
    };
    let list = |of: &str| join(COLUMNS, &|it| format!("{of}.{it}"));
    let is_change = format!("WHEN (({}) {differs} ({}))", list("OLD"), list("NEW"));
    let table = format!(
        "CREATE TABLE storm (number {number}, at BIGINT, task_id TEXT, before TEXT, after TEXT)"
    );
    sqlx::raw_sql(AssertSqlSafe(table)).execute(db).await?;
    for (event, of, before, after, when) in [
        ("INSERT", "NEW", "NULL".to_owned(), row("NEW"), ""),
        ("UPDATE", "NEW", row("OLD"), row("NEW"), &*is_change),
        ("DELETE", "OLD", row("OLD"), "NULL".to_owned(), ""),
    ] {
        let insert = format!(
            "INSERT INTO storm (at, task_id, before, after) VALUES ({now}, {of}.task_id, {before}, {after});"
        );
        let trigger = format!("TRIGGER storm_{event} AFTER {event} ON tasks FOR EACH ROW {when}");
        let sql = if is_sqlite {
            format!("CREATE {trigger} BEGIN {insert} END")
        } else {
            format!(
                "CREATE FUNCTION storm_{event}() RETURNS trigger LANGUAGE plpgsql AS
                    $$ BEGIN {insert} RETURN NULL; END $$;
                CREATE {trigger} EXECUTE FUNCTION storm_{event}()"
            )
        };
        sqlx::raw_sql(AssertSqlSafe(sql)).execute(db).await?;
    }
    Ok(())
}

pub async fn history(db: &AnyPool) -> anyhow::Result<HashMap<String, Vec<Change>>> {
    let sql = "SELECT task_id, at, before, after FROM storm ORDER BY number";
    let rows: Vec<(String, i64, Option<String>, Option<String>)> =
        sqlx::query_as(sql).fetch_all(db).await?;
    let mut history = HashMap::<String, Vec<Change>>::new();
    for (task, at, before, after) in rows {
        let read = |row: Option<String>| row.map(|row| serde_json::from_str(&row)).transpose();
        let (before, after): (Option<Value>, Option<Value>) = (read(before)?, read(after)?);
        let text = |name| after.as_ref().and_then(|row| row[name].as_str()).unwrap_or("delete");
        let operations = text("operations").split(", ").filter_map(|it| it.parse().ok()).collect();
        let moments = |row: &Option<Value>| row.as_ref().map(moment).transpose();
        let (before, left) = (moments(&before)?, moments(&after)?);
        let by = match text("changed_by").split_once(' ') {
            Some(("request", name)) => Actor::Client(Some(name.to_owned())),
            Some(("worker", name)) => {
                let run = before.as_ref().map_or(Run::new(0), |before| before.run);
                Actor::Worker(name.to_owned(), run)
            }
            _ if after.is_none() => Actor::Client(None),
            _ => Actor::Stranger,
        };
        let loaded = before.as_ref().map(|before| before.revision);
        let change = Change { at, by, loaded, operations, before, after: left };
        history.entry(task).or_default().push(change);
    }
    Ok(history)
}

fn moment(row: &Value) -> anyhow::Result<Moment> {
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
        }),
    })
}

/// Edits by hand, and messages that are due again although somebody has them, until the storm is
/// over; and what the fault does.
pub async fn meddle(db: AnyPool, storm: Rc<Storm>) {
    let mut steps = vec![
        ("edits by hand", EDIT.to_owned()),
        ("messages delivered again", REDELIVER.to_owned()),
    ];
    for (_, sql) in BROKEN.iter().filter(|(fault, _)| storm.is(*fault)) {
        steps.push(("faults", sql.replace("RETRIED", RETRIED)));
    }
    while !storm.is_over() {
        for (figure, sql) in &steps {
            // The database may be down, or refuse.
            if let Ok(done) = sqlx::query(AssertSqlSafe(sql.clone())).execute(&db).await {
                storm.count(figure, done.rows_affected().try_into().unwrap_or_default());
            }
            nap(10..60).await;
        }
    }
}

const EDIT: &str = "UPDATE tasks SET payload = payload || ' ', revision = revision + 1,
        operations = 'edit', changed_by = 'hand'
    WHERE task_id = (SELECT task_id FROM tasks ORDER BY random() LIMIT 1)";
const REDELIVER: &str = "UPDATE tasks SET due_at = 0
    WHERE task_id = (SELECT task_id FROM tasks WHERE status = 'Starting' AND deliveries > 0 LIMIT 1)";
const RETRIED: &str = "status = 'Starting', run = run + 1, revision = revision + 1, due_at = 0,
    lease_run = NULL, lease_until = NULL, lease_length = NULL,
    operations = 'retry', changed_by = 'worker broken'";

/// The statements of programs that do not know the rules.
#[rustfmt::skip]
const BROKEN: &[(Fault, &str)] = &[
    (Fault::BulkCancelKeepsPayload, "UPDATE tasks SET status = previous_status, previous_status = NULL, previous_payload = NULL,
        revision = revision + 1, ended_at = 1, operations = 'cancel', changed_by = 'hand'
        WHERE status = 'Starting' AND previous_status IS NOT NULL"),
    (Fault::BulkCancelEndsUpdates, "UPDATE tasks SET status = 'Cancelled', previous_status = NULL, previous_payload = NULL,
        revision = revision + 1, ended_at = 1, operations = 'cancel', changed_by = 'hand'
        WHERE status = 'Starting' AND previous_status IS NOT NULL"),
    (Fault::TriggerDropped, "DROP TRIGGER tasks_revision ON tasks"),
    (Fault::TriggerDropped, "DROP TRIGGER tasks_revision"),
    (Fault::TriggerDropped, "UPDATE tasks SET payload = payload || '  ' WHERE task_id = (SELECT task_id FROM tasks ORDER BY random() LIMIT 1)"),
    (Fault::NoCheckRun, "UPDATE tasks SET status = 'Succeeded', previous_status = NULL, previous_payload = NULL,
        revision = revision + 1, ended_at = 1, lease_run = NULL, lease_until = NULL, lease_length = NULL,
        operations = 'succeed', changed_by = 'worker broken' WHERE status = 'Processing'"),
    (Fault::NoRenewal, "UPDATE tasks SET RETRIED, attempts = attempts + 1 WHERE status = 'Processing' AND attempts = 0"),
    (Fault::AttemptsNotCounted, "UPDATE tasks SET RETRIED WHERE status = 'Processing' AND lease_until < (SELECT now FROM clock)"),
    (Fault::StopIgnored, "UPDATE tasks SET RETRIED WHERE status = 'Processing' AND stop_requested IS NOT NULL"),
    (Fault::StopOutlivesItsRun, "UPDATE tasks SET stop_requested = run, revision = revision + 1, operations = 'edit',
        changed_by = 'hand' WHERE status = 'Starting' AND stop_requested IS NULL AND previous_status IS NOT NULL"),
    (Fault::DeletedComesBack, "CREATE TABLE copies AS SELECT * FROM tasks WHERE FALSE"),
    (Fault::DeletedComesBack, "INSERT INTO copies SELECT * FROM tasks WHERE task_id NOT IN (SELECT task_id FROM copies)"),
    (Fault::DeletedComesBack, "INSERT INTO tasks SELECT * FROM copies WHERE task_id NOT IN (SELECT task_id FROM tasks)"),
    (Fault::MessageLost, "UPDATE tasks SET due_at = NULL WHERE status = 'Starting'"),
];
