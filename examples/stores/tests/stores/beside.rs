//! The lease, the attempts, the end and the messages change in the commit that changes the task.

use task_stores::{Draft, Task, postgres, sqlite};
use uuid::Uuid;

use crate::harness::{Open, Postgres, Sqlite, document};

/// The run that was queued last by the task's owner, the attempts, whether there is a lease, whether
/// it is ended.
type Beside = (i64, i32, bool, bool);

const SQL: &str = "SELECT queued_run, attempts, lease IS NOT NULL, ended_at IS NOT NULL FROM tasks";

/// Of a task that was tried twice: what is done, what is beside it then, and how many messages.
#[rustfmt::skip]
const STEPS: [(&str, Beside, i64); 10] = [
    ("edit",         (0, 2, false, false), 1),
    ("start",        (0, 2, true,  false), 1),
    ("edit",         (0, 2, true,  false), 1),
    ("retry start",  (0, 2, true,  false), 1),
    ("retry",        (0, 2, false, false), 2),
    ("fail",         (0, 2, false, true),  2),
    ("edit",         (0, 2, false, true),  2),
    ("update",       (3, 0, false, false), 3),
    ("cancel update",(4, 0, false, false), 4),
    ("cancel",       (4, 0, false, true),  4),
];

fn decide(task: Task, steps: &str) -> Draft {
    let mut draft = Draft::new(task);
    for step in steps.split(' ') {
        match step.parse().map(|it| task_lifecycle::Event::new(it, document("next")).unwrap()) {
            Ok(event) => drop(draft.apply(event).unwrap()),
            Err(_) => draft.edit(|it| it.message.push_str(", edited")),
        }
    }
    draft
}

#[tokio::test]
async fn in_sqlite() {
    let Some(engine) = Sqlite::start() else { return };
    let (db, id) = (Sqlite::open(&engine.address).await.unwrap().db, Uuid::new_v4());
    let messages = || db.query_row("SELECT count(*) FROM messages", [], |row| row.get(0)).unwrap();
    assert!(sqlite::create(&db, id, &Task::new(document("text"))).unwrap());
    db.execute_batch("UPDATE tasks SET attempts = 2").unwrap();
    for (steps, beside, count) in STEPS {
        let draft = decide(sqlite::load(&db, id).unwrap().unwrap(), steps);
        assert!(sqlite::commit(&db, id, &draft).unwrap());
        assert!(!sqlite::commit(&db, id, &draft).unwrap());
        let found: Beside = db.query_row(SQL, [], |row| row.try_into()).unwrap();
        assert_eq!((found, messages()), (beside, count), "{steps}");
    }
}

#[tokio::test]
async fn in_postgres() {
    let Some(engine) = Postgres::start() else { return };
    let (db, id) = (Postgres::open(&engine.address).await.unwrap().db, Uuid::new_v4());
    assert!(postgres::create(&db, id, &Task::new(document("text"))).await.unwrap());
    sqlx::raw_sql("UPDATE tasks SET attempts = 2").execute(&db).await.unwrap();
    for (steps, beside, _) in STEPS {
        let draft = decide(postgres::load(&db, id).await.unwrap().unwrap(), steps);
        assert!(postgres::commit(&db, id, &draft).await.unwrap());
        let found: Beside = sqlx::query_as(SQL).fetch_one(&db).await.unwrap();
        assert_eq!(found, beside, "{steps}");
    }
}
