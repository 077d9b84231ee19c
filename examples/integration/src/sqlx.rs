use std::error::Error;

use sqlx::{PgPool, Row, postgres::PgRow};
use task_lifecycle::{Draft, Previous, Revision, Run, Snapshot, Task};

pub async fn load(
    db: &PgPool,
    owner: &str,
    id: &str,
) -> Result<Option<Task<String>>, Box<dyn Error>> {
    let row = sqlx::query(
        "SELECT status::text, revision, run, payload, previous_status::text, previous_payload
         FROM tasks WHERE task_id = $1 AND owner = $2",
    );
    let row = row.bind(id).bind(owner).fetch_optional(db).await?;
    row.map(|row| read(&row)).transpose()
}

fn read(row: &PgRow) -> Result<Task<String>, Box<dyn Error>> {
    let previous = match row.try_get::<Option<&str>, _>("previous_status")? {
        Some(status) => {
            Some(Previous { status: status.parse()?, payload: row.try_get("previous_payload")? })
        }
        None => None,
    };
    let snapshot = Snapshot {
        status: row.try_get::<&str, _>("status")?.parse()?,
        revision: Revision::from_i64(row.try_get("revision")?),
        run: Run::from_i64(row.try_get("run")?),
        payload: row.try_get("payload")?,
        previous,
    };
    Ok(snapshot.try_into()?)
}

pub async fn commit(
    db: &PgPool,
    owner: &str,
    id: &str,
    draft: &Draft<String>,
) -> Result<bool, sqlx::Error> {
    let Snapshot { status, revision, run, payload, previous } = Snapshot::from(draft);
    let done = sqlx::query(
        "UPDATE tasks SET status = $1::task_status, revision = $2, run = $3, payload = $4,
             previous_status = $5::task_status, previous_payload = $6
         WHERE task_id = $7 AND owner = $8 AND revision = $9",
    );
    let done = done.bind(status.as_str()).bind(revision.to_i64()).bind(run.to_i64()).bind(payload);
    let done = done.bind(previous.as_ref().map(|previous| previous.status.as_str()));
    let done = done.bind(previous.map(|previous| previous.payload));
    let done = done.bind(id).bind(owner).bind(draft.loaded().to_i64()).execute(db).await?;
    Ok(done.rows_affected() == 1)
}
