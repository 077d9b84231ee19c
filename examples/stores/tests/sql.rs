//! What the two SQL databases keep by themselves, and what PostgreSQL's transactions add.

use std::time::Duration;

use sqlx::{Transaction, postgres::PgPool};
use task_lifecycle::{Operation, Previous, Snapshot, State};
use task_stores::engines::{self, Disk, Engine};
use task_stores::postgres::cancel::{self, Cancel};
use task_stores::suite::{Postgres, Sqlite, Store};
use task_stores::{Document, Result, Task, postgres, sqlite};
use tokio::time::sleep;
use uuid::Uuid;

/// A task in each state, at that revision.
fn tasks(revision: u64) -> Vec<Task> {
    let document = |message: &str| Document { message: message.to_owned(), ..Document::default() };
    let task = |&state: &State| {
        let payload = document("current");
        let previous = state.previous();
        let previous = previous.map(|status| Previous { status, payload: document("previous") });
        let snapshot = Snapshot { status: state.status(), revision, run: 7, payload, previous };
        Task::try_from(snapshot).unwrap()
    };
    State::ALL.iter().map(task).collect()
}

async fn postgresql() -> Option<(PgPool, Engine)> {
    let engine = engines::start(Postgres::NAME, Disk::Memory)?;
    let pool = PgPool::connect(&engine.address).await.unwrap();
    sqlx::raw_sql(postgres::SCHEMA).execute(&pool).await.unwrap();
    Some((pool, engine))
}

/// Every pair of words, and whether some task has it.
fn pairs() -> Vec<(&'static str, Option<&'static str>, bool)> {
    let words = || ["Starting", "Processing", "Succeeded", "Failed", "Cancelled", "starting", ""];
    let previous = || [None].into_iter().chain(words().map(Some));
    let is_task = |status: &str, previous: Option<&str>| {
        let previous = previous.map(str::parse).transpose();
        status.parse().is_ok_and(|status| {
            previous.is_ok_and(|previous| State::from_parts(status, previous).is_ok())
        })
    };
    let pair = |status| previous().map(move |before| (status, before, is_task(status, before)));
    words().into_iter().flat_map(pair).collect()
}

/// Tries rows and updates that are written by hand on a table with one new task.
async fn keeps_the_relation(by_hand: impl AsyncFn(String) -> Result<(), String>) {
    assert_eq!(pairs().iter().filter(|(.., is_task)| *is_task).count(), State::ALL.len());
    for (status, before, is_task) in pairs() {
        let (before, payload) = match before {
            Some(before) => (format!("'{before}'"), "'{}'"),
            None => ("NULL".to_owned(), "NULL"),
        };
        let insert = format!(
            "INSERT INTO tasks (id, status, revision, run, payload, previous_status,
                previous_payload)
            VALUES ('{}', '{status}', 0, 0, '{{}}', {before}, {payload})",
            Uuid::new_v4()
        );
        let update = format!(
            "UPDATE tasks SET status = '{status}', previous_status = {before},
                previous_payload = {payload}, revision = revision + 1"
        );
        for statement in [insert, update] {
            let done = by_hand(statement.clone()).await;
            assert_eq!(done.is_ok(), is_task, "{statement}: {done:?}");
        }
    }
    let start = "UPDATE tasks SET status = 'Starting', previous_status = 'Failed',
        previous_payload = '{}', revision = revision + 1";
    by_hand(start.to_owned()).await.unwrap();
    for half in ["previous_status = NULL", "previous_payload = NULL"] {
        let update = format!("UPDATE tasks SET {half}, revision = revision + 1");
        assert!(by_hand(update).await.is_err(), "{half}");
    }
    for change in [
        "status = 'Failed', previous_status = NULL, previous_payload = NULL",
        "payload = '{\"message\":\"by hand\"}'",
        "run = run + 1",
        "revision = revision",
    ] {
        let refused = by_hand(format!("UPDATE tasks SET {change}")).await.unwrap_err();
        assert!(refused.contains("an update must change the revision"), "{refused}");
    }
    by_hand("UPDATE tasks SET run = run + 1, revision = revision - 1".to_owned()).await.unwrap();
}

#[tokio::test]
async fn sqlite_keeps_the_relation() {
    let engine = engines::start(Sqlite::NAME, Disk::Memory).unwrap();
    let store = Sqlite::open(&engine.address).await.unwrap();
    sqlite::create(&store.db, Uuid::new_v4(), &tasks(0)[0]).unwrap();
    keeps_the_relation(async |statement| {
        store.db.execute_batch(&statement).map_err(|error| error.to_string())
    })
    .await;
}

#[tokio::test]
async fn postgresql_keeps_the_relation() {
    let Some((pool, _engine)) = postgresql().await else { return };
    postgres::create(&pool, Uuid::new_v4(), &tasks(0)[0]).await.unwrap();
    keeps_the_relation(async |statement| {
        let statement = sqlx::raw_sql(sqlx::AssertSqlSafe(statement));
        statement.execute(&pool).await.map(drop).map_err(|error| error.to_string())
    })
    .await;
}

/// Several programs make one file at the same time, and go on.
#[test]
fn sqlite_is_opened_by_many_at_once() {
    let task = &tasks(0)[0];
    for _ in 0..30 {
        let engine = engines::start(Sqlite::NAME, Disk::Memory).unwrap();
        let file = engine.address.as_ref();
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    let (db, id) = (sqlite::open(file).unwrap(), Uuid::new_v4());
                    assert!(sqlite::create(&db, id, task).unwrap());
                    assert!(sqlite::delete(&db, id, 0).unwrap());
                });
            }
        });
        let db = sqlite::open(file).unwrap();
        let mode: String = db.query_row("PRAGMA journal_mode", [], |row| row.get(0)).unwrap();
        assert_eq!(mode, "wal");
    }
}

#[tokio::test]
async fn a_cancel_without_payloads_is_the_machines() {
    let Some((pool, _engine)) = postgresql().await else { return };
    let revisions = [0, 41, i64::MAX.cast_unsigned(), u64::MAX];
    let tasks = revisions.into_iter().flat_map(tasks).collect::<Vec<_>>();
    let (mut one_by_one, mut at_once) = (Vec::new(), Vec::new());
    for task in &tasks {
        for ids in [&mut one_by_one, &mut at_once] {
            let id = Uuid::new_v4();
            assert!(postgres::create(&pool, id, task).await.unwrap());
            ids.push(id);
        }
    }
    // What is not named is not touched.
    let left = Uuid::new_v4();
    assert!(postgres::create(&pool, left, &tasks[0]).await.unwrap());

    let mut accepted = cancel::all(&pool, &at_once).await.unwrap();
    let mut expected = Vec::new();
    for (at, task) in tasks.iter().enumerate() {
        let mut cancelled = task.clone();
        let outcome = match cancelled.cancel() {
            Ok(done) => {
                expected.push(at_once[at]);
                Cancel::Done(done.to, done.revision)
            }
            Err(refused) => Cancel::Refused(refused),
        };
        assert_eq!(cancel::one(&pool, one_by_one[at]).await.unwrap(), outcome, "{}", task.state());
        for id in [one_by_one[at], at_once[at]] {
            let stored = postgres::load(&pool, id).await.unwrap().unwrap();
            assert_eq!(stored, cancelled, "{} at {}", task.state(), task.revision());
        }
    }
    accepted.sort();
    expected.sort();
    assert_eq!(accepted, expected);
    assert!(cancel::all(&pool, &at_once).await.unwrap().is_empty(), "the second time");
    assert_eq!(cancel::one(&pool, Uuid::new_v4()).await.unwrap(), Cancel::NotFound);
    assert_eq!(postgres::load(&pool, left).await.unwrap().as_ref(), Some(&tasks[0]));
}

/// Waits until somebody waits for a row's lock.
async fn somebody_waits(pool: &PgPool) {
    let sql = "SELECT count(*) FROM pg_locks WHERE NOT granted";
    while sqlx::query_scalar::<_, i64>(sql).fetch_one(pool).await.unwrap() == 0 {
        sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn a_cancel_looks_again_at_what_it_waited_for() {
    let Some((pool, _engine)) = postgresql().await else { return };
    let started = |task: &mut Task| drop(task.start().unwrap());
    let edited = |task: &mut Task| task.edit(|it| it.message.push_str(", edited"));
    for change in [started as fn(&mut Task), edited] {
        for at_once in [false, true] {
            for mut task in
                tasks(5).into_iter().filter(|task| task.check(Operation::Cancel).is_ok())
            {
                let id = Uuid::new_v4();
                assert!(postgres::create(&pool, id, &task).await.unwrap());
                // Another has changed it, and has not committed yet.
                let mut transaction = pool.begin().await.unwrap();
                change(&mut task);
                assert!(postgres::commit(&mut *transaction, id, 5, &task).await.unwrap());
                let cancel = async {
                    if at_once {
                        return cancel::all(&pool, &[id]).await.unwrap() == [id];
                    }
                    matches!(cancel::one(&pool, id).await.unwrap(), Cancel::Done(..))
                };
                let (is_cancelled, ()) = tokio::join!(cancel, async {
                    somebody_waits(&pool).await;
                    transaction.commit().await.unwrap();
                });
                assert_eq!(is_cancelled, task.cancel().is_ok(), "{task:?}");
                assert_eq!(postgres::load(&pool, id).await.unwrap(), Some(task));
            }
        }
    }
}

/// A lost race is `false` at every level of isolation, and by a deadlock.
#[tokio::test]
async fn a_lost_race_is_no_outage() {
    let Some((pool, _engine)) = postgresql().await else { return };
    let task = &tasks(0)[0];
    let mut edited = task.clone();
    edited.edit(|it| "edited".clone_into(&mut it.message));
    for level in ["READ COMMITTED", "REPEATABLE READ", "SERIALIZABLE"] {
        for delete in [false, true] {
            let id = Uuid::new_v4();
            assert!(postgres::create(&pool, id, task).await.unwrap());
            let begin = format!("BEGIN ISOLATION LEVEL {level}");
            let mut transaction = pool.begin_with(sqlx::AssertSqlSafe(begin)).await.unwrap();
            assert!(postgres::load(&mut *transaction, id).await.unwrap().is_some());
            assert!(postgres::commit(&pool, id, 0, &edited).await.unwrap());
            let answer = if delete {
                postgres::delete(&mut *transaction, id, 0).await
            } else {
                postgres::commit(&mut *transaction, id, 0, &edited).await
            };
            assert!(matches!(answer, Ok(false)), "{level}: {answer:?}");
        }
    }

    let ids = [Uuid::new_v4(), Uuid::new_v4()];
    for id in ids {
        assert!(postgres::create(&pool, id, task).await.unwrap());
    }
    let mut one = pool.begin().await.unwrap();
    let mut other = pool.begin().await.unwrap();
    assert!(postgres::commit(&mut *one, ids[0], 0, &edited).await.unwrap());
    assert!(postgres::commit(&mut *other, ids[1], 0, &edited).await.unwrap());
    let end = async |mut transaction: Transaction<'_, sqlx::Postgres>, id| {
        let won = postgres::commit(&mut *transaction, id, 0, &edited).await;
        transaction.rollback().await.unwrap();
        won.expect("a deadlock is a lost race")
    };
    let (a, b) = tokio::join!(end(one, ids[1]), end(other, ids[0]));
    assert!(a != b, "{a} {b}");
}

/// What is no lost race stays an error: nothing is known about it.
#[tokio::test]
async fn an_outage_is_no_lost_race() {
    let Some((pool, _engine)) = postgresql().await else { return };
    let (id, task) = (Uuid::new_v4(), &tasks(0)[0]);
    assert!(postgres::create(&pool, id, task).await.unwrap());
    let mut edited = task.clone();
    edited.edit(|it| "edited".clone_into(&mut it.message));

    let mut connection = pool.acquire().await.unwrap();
    let sql = "SELECT pg_backend_pid()";
    let process: i32 = sqlx::query_scalar(sql).fetch_one(&mut *connection).await.unwrap();
    let terminate = sqlx::query("SELECT pg_terminate_backend($1)").bind(process);
    terminate.execute(&pool).await.unwrap();
    let answer = postgres::commit(&mut *connection, id, 0, &edited).await;
    assert!(answer.is_err(), "{answer:?}");
    drop(connection);

    let mut holder = pool.begin().await.unwrap();
    assert!(postgres::commit(&mut *holder, id, 0, &edited).await.unwrap());
    let mut connection = pool.acquire().await.unwrap();
    sqlx::raw_sql("SET lock_timeout = 50").execute(&mut *connection).await.unwrap();
    let answer = postgres::commit(&mut *connection, id, 0, &edited).await;
    assert!(answer.is_err(), "{answer:?}");
}
