//! The SQL of the documentation's page about embedding, as it stands there, on both databases.

use sqlx::Row;
use task_lifecycle::{Draft, Event, Previous, Revision, Run, Snapshot, State, Status, Task};
use task_stores::engines::{self, Engine};

const PAGE: &str = include_str!("../../../src/documentation/embedding.md");
const BLOCKS: [&str; 7] = [
    "-- PostgreSQL: renew a lease",
    "-- The table",
    "-- A commit",
    "-- PostgreSQL: the trigger",
    "-- SQLite: the trigger",
    "-- Bulk cancel of an owner's tasks",
    "-- Bulk update of an owner's tasks",
];

fn blocks() -> impl Iterator<Item = &'static str> {
    PAGE.split("```sql\n").skip(1).filter_map(|rest| rest.split("```").next())
}

fn block(name: &str) -> &'static str {
    blocks().find(|block| block.starts_with(name)).unwrap()
}

#[test]
fn every_block_of_the_page_is_run_here() {
    let names: Vec<_> = blocks().filter_map(|block| block.lines().next()).collect();
    assert_eq!(names, BLOCKS);
}

#[derive(Clone)]
enum Value {
    Text(Option<String>),
    Number(i64),
    Flag(bool),
}

fn text(text: &str) -> Value {
    Value::Text(Some(text.to_owned()))
}

enum Database {
    Sqlite(rusqlite::Connection),
    /// The engine runs as long as it is kept.
    Postgres(sqlx::PgPool, tokio::runtime::Runtime, #[expect(dead_code)] Engine),
}

impl Database {
    /// Runs a block, statement by statement, in one transaction. Returns the rows that the last
    /// one changed.
    fn run(&self, block: &str, values: &[Value]) -> Result<u64, String> {
        let statements = block.trim_end().split(";\n").filter(|part| !part.trim().is_empty());
        let statements = statements.map(|statement| {
            let used = (1..=values.len()).rev().find(|n| statement.contains(&format!("${n}")));
            (statement, &values[..used.unwrap_or(0)])
        });
        match self {
            Self::Sqlite(connection) => {
                let transaction = connection.unchecked_transaction().unwrap();
                let mut rows = 0;
                for (statement, values) in statements {
                    let statement = statement.replace('$', "?").replace(
                        "CURRENT_TIMESTAMP + INTERVAL '30 seconds'",
                        "datetime('now', '+30 seconds')",
                    );
                    let values = values.iter().map(|value| -> Box<dyn rusqlite::ToSql> {
                        match value.clone() {
                            Value::Text(text) => Box::new(text),
                            Value::Number(number) => Box::new(number),
                            Value::Flag(flag) => Box::new(flag),
                        }
                    });
                    let done = transaction.execute(&statement, rusqlite::params_from_iter(values));
                    rows = done.map_err(|error| error.to_string())? as u64;
                }
                transaction.commit().unwrap();
                Ok(rows)
            }
            Self::Postgres(pool, runtime, _) => runtime.block_on(async {
                let mut transaction = pool.begin().await.unwrap();
                let mut rows = 0;
                for (statement, values) in statements {
                    let mut query = sqlx::query(sqlx::AssertSqlSafe(statement.to_owned()));
                    for value in values {
                        query = match value.clone() {
                            Value::Text(text) => query.bind(text),
                            Value::Number(number) => query.bind(number),
                            Value::Flag(flag) => query.bind(flag),
                        };
                    }
                    let done = query.execute(&mut *transaction).await;
                    rows = done.map_err(|error| error.to_string())?.rows_affected();
                }
                transaction.commit().await.unwrap();
                Ok(rows)
            }),
        }
    }

    /// Runs a block without values as a whole.
    fn script(&self, block: &str) -> Result<(), String> {
        match self {
            Self::Sqlite(connection) => {
                connection.execute_batch(block).map_err(|error| error.to_string())
            }
            Self::Postgres(pool, runtime, _) => runtime.block_on(async {
                let script = sqlx::raw_sql(sqlx::AssertSqlSafe(block.to_owned()));
                script.execute(pool).await.map(drop).map_err(|error| error.to_string())
            }),
        }
    }

    /// The text columns that `query` selects of each row.
    fn rows(&self, query: &str) -> Vec<Vec<Option<String>>> {
        match self {
            Self::Sqlite(connection) => {
                let mut statement = connection.prepare(query).unwrap();
                let count = statement.column_count();
                let rows =
                    statement.query_map([], |row| (0..count).map(|at| row.get(at)).collect());
                rows.unwrap().map(Result::unwrap).collect()
            }
            Self::Postgres(pool, runtime, _) => {
                let query = sqlx::query(sqlx::AssertSqlSafe(query.to_owned()));
                let rows = runtime.block_on(query.fetch_all(pool)).unwrap();
                rows.iter().map(|row| (0..row.len()).map(|at| row.get(at)).collect()).collect()
            }
        }
    }

    fn row(&self, id: &str) -> Vec<Option<String>> {
        let mut rows = self.rows(&format!(
            "SELECT status, previous_status, CAST(revision AS TEXT), CAST(run AS TEXT), payload,
                 previous_payload, CAST(queued_run AS TEXT), CAST(attempts AS TEXT),
                 CAST(stop_requested AS TEXT), CAST(lease_run AS TEXT),
                 CASE WHEN lease_until > CURRENT_TIMESTAMP THEN 'renewed' ELSE CAST(lease_until AS TEXT) END,
                 CASE WHEN ended_at < '2002-01-01' THEN 'long ago' WHEN ended_at IS NOT NULL THEN 'now' END
             FROM tasks WHERE task_id = '{id}'"
        ));
        rows.pop().unwrap()
    }

    /// A task as it was some time ago: its second attempt, with a stop request, its lease over.
    fn insert(&self, id: &str, owner: &str, task: &Task<String>) {
        let old = Beside::of(task);
        let Snapshot { status, revision, run, payload, previous } = Snapshot::from(task);
        let (previous_status, previous_payload) = match previous {
            Some(previous) => (format!("'{}'", previous.status), format!("'{}'", previous.payload)),
            None => ("NULL".to_owned(), "NULL".to_owned()),
        };
        let number = |number: Option<Run>| number.map_or("NULL".to_owned(), |run| run.to_string());
        let (lease, lease_until) =
            (number(old.lease), old.lease.map_or("NULL", |_| "'2001-01-01'"));
        let (stop, ended) = (number(old.stop), old.ended.map_or("NULL", |_| "'2001-01-01'"));
        self.script(&format!(
            "INSERT INTO tasks (task_id, owner, status, previous_status, revision, run, payload,
                 previous_payload, queued_run, attempts, lease_run, lease_until, stop_requested, ended_at)
             VALUES ('{id}', '{owner}', '{status}', {previous_status}, {revision}, {run}, '{payload}',
                 {previous_payload}, {}, {}, {lease}, {lease_until}, {stop}, {ended})",
            old.queued, old.attempts
        ))
        .unwrap();
    }
}

/// What lies beside a task, as the table of the page has it.
struct Beside {
    queued: Run,
    attempts: u32,
    stop: Option<Run>,
    lease: Option<Run>,
    renewed: bool,
    ended: Option<&'static str>,
}

impl Beside {
    fn of(task: &Task<String>) -> Self {
        let status = task.status();
        let lease = (status == Status::Processing).then_some(task.run());
        let ended = status.is_completed().then_some("long ago");
        let (queued, stop) = (Run::new(6), Some(Run::new(6)));
        Self { queued, attempts: 1, stop, lease, renewed: false, ended }
    }

    fn after(mut self, draft: &Draft<String>) -> Self {
        if draft.run() != draft.loaded_run() && draft.before().status() != Status::Processing {
            (self.queued, self.attempts, self.stop) = (draft.run(), 0, None);
        }
        self.lease = (draft.status() == Status::Processing).then_some(draft.run());
        self.renewed = draft.taken().is_some();
        self.ended = draft.status().is_completed().then_some(self.ended.unwrap_or("now"));
        self
    }

    /// As [`Database::row`] has it.
    fn row(&self, task: &Task<String>, over: &str) -> Vec<Option<String>> {
        let Snapshot { status, revision, run, payload, previous } = Snapshot::from(task);
        let (previous, previous_payload) =
            previous.map(|it| (it.status.to_string(), it.payload.clone())).unzip();
        let until = if self.renewed { "renewed" } else { over };
        vec![
            Some(status.to_string()),
            previous,
            Some(revision.to_string()),
            Some(run.to_string()),
            Some(payload.clone()),
            previous_payload,
            Some(self.queued.to_string()),
            Some(self.attempts.to_string()),
            self.stop.map(|run| run.to_string()),
            self.lease.map(|run| run.to_string()),
            self.lease.map(|_| until.to_owned()),
            self.ended.map(str::to_owned),
        ]
    }
}

fn tasks() -> Vec<Task<String>> {
    let payload = |text: &str| text.to_owned();
    let task = |&state: &State| {
        let previous = state.previous();
        let previous = previous.map(|status| Previous { status, payload: payload("old") });
        let (revision, run, payload) = (Revision::new(41), Run::new(7), payload("new"));
        Task::try_from(Snapshot { status: state.status(), revision, run, payload, previous })
            .unwrap()
    };
    State::ALL.iter().map(task).collect()
}

/// On SQLite, and on PostgreSQL if it is installed: with the table and the trigger of the page.
fn on_both(test: impl Fn(&Database, &str)) {
    let sqlite = Database::Sqlite(rusqlite::Connection::open_in_memory().unwrap());
    sqlite.script(block("-- The table")).unwrap();
    sqlite.script(block("-- SQLite: the trigger")).unwrap();
    test(&sqlite, "2001-01-01");
    if let Some(engine) = engines::postgres() {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let pool = runtime.block_on(sqlx::PgPool::connect(&engine.address)).unwrap();
        let postgres = Database::Postgres(pool, runtime, engine);
        postgres
            .script("SET TIME ZONE 'UTC'; ALTER DATABASE postgres SET TIME ZONE 'UTC'")
            .unwrap();
        postgres.script(block("-- The table")).unwrap();
        postgres.script(block("-- PostgreSQL: the trigger")).unwrap();
        test(&postgres, "2001-01-01 00:00:00+00");
    }
}

#[test]
fn checks_accept_the_nine_states_alone() {
    let words = [None, Some("Starting"), Some("Processing"), Some("Succeeded"), Some("Failed")];
    let words = words.into_iter().chain([Some("Cancelled"), Some("starting"), Some("")]);
    let words: Vec<_> = words.collect();
    let mut rows = vec![];
    for status in &words {
        for previous in &words {
            for (old, lease, until, ended) in (0..24).map(|n| (n % 2, n / 2 % 3, n / 6 % 2, n / 12))
            {
                rows.push((*status, *previous, old == 1, lease, until == 1, ended == 1));
            }
        }
    }
    on_both(|database, _| {
        let mut accepted = 0;
        for &(status, previous, old, lease, until, ended) in &rows {
            let parsed = status.and_then(|word| word.parse::<Status>().ok());
            let state = parsed.and_then(|status| match previous.map(str::parse) {
                Some(previous) => State::from_parts(status, Some(previous.ok()?)).ok(),
                None => State::from_parts(status, None).ok(),
            });
            let is_task = state.is_some_and(|state| {
                let is_leased = state.status() == Status::Processing;
                let lease_fits = if is_leased { lease == 1 && until } else { lease == 0 && !until };
                lease_fits && old == state.is_update() && ended == state.status().is_completed()
            });
            let word =
                |word: Option<&str>| word.map_or("NULL".to_owned(), |word| format!("'{word}'"));
            let time = |is_there| if is_there { "CURRENT_TIMESTAMP" } else { "NULL" };
            let insert = format!(
                "INSERT INTO tasks (task_id, owner, status, previous_status, revision, run, payload,
                     previous_payload, lease_run, lease_until, ended_at)
                 VALUES ('{accepted}', 'me', {}, {}, 0, 7, 'new', {}, {}, {}, {})",
                word(status),
                word(previous),
                word(old.then_some("old")),
                ["NULL", "7", "6"][lease],
                time(until),
                time(ended),
            );
            let done = database.script(&insert);
            assert_eq!(done.is_ok(), is_task, "{insert}: {done:?}");
            accepted += usize::from(is_task);
        }
        assert_eq!(accepted, State::ALL.len());
        for column in ["owner", "status", "revision", "run", "payload", "queued_run", "attempts"] {
            let update = format!("UPDATE tasks SET {column} = NULL, revision = revision + 1");
            let update =
                update.replace("revision = NULL, revision = revision + 1", "revision = NULL");
            assert!(database.script(&update).is_err(), "{column}");
        }
    });
}

#[test]
fn the_trigger_passes_a_renewal_and_refuses_an_uncounted_change() {
    on_both(|database, over| {
        let [processing, ..] = &tasks()[1..] else { unreachable!() };
        database.insert("id", "me", processing);
        assert_eq!(database.row("id")[10].as_deref(), Some(over));
        let renew = |run| database.run(block(BLOCKS[0]), &[text("id"), Value::Number(run)]);
        assert_eq!((renew(6), renew(7)), (Ok(0), Ok(1)));
        assert_eq!(database.row("id")[10].as_deref(), Some("renewed"));
        for change in [
            "status = 'Starting', lease_run = NULL, lease_until = NULL",
            "run = 8, lease_run = 8",
            "payload = 'by hand'",
            "previous_status = 'Failed', previous_payload = 'by hand'",
        ] {
            let refused = database.script(&format!("UPDATE tasks SET {change}")).unwrap_err();
            assert!(refused.contains("an update must change the revision"), "{change}: {refused}");
        }
        database.script("UPDATE tasks SET payload = 'by hand', revision = revision + 1").unwrap();
        database.insert("waits", "me", &tasks()[0]);
        let renewed = database.run(block(BLOCKS[0]), &[text("waits"), Value::Number(7)]);
        assert_eq!(renewed, Ok(0), "there is no lease to renew");
    });
}

#[test]
fn a_commit_writes_the_draft_and_what_lies_beside_it() {
    use Event::{Cancel, Fail, Retry, Start, Succeed};
    let update = || Event::Update("newer".to_owned());
    let steps = [vec![], vec![Start], vec![Retry], vec![Succeed], vec![Fail], vec![Cancel]];
    let mut steps = Vec::from(steps);
    steps.extend([vec![update()], vec![Retry, Start], vec![Retry, Cancel], vec![Cancel, update()]]);
    steps.extend([vec![update(), Start], vec![update(), Cancel]]);
    on_both(|database, over| {
        let mut commits = 0;
        for (task, steps) in tasks().iter().flat_map(|task| steps.iter().map(move |it| (task, it)))
        {
            let mut draft = Draft::new(task.clone());
            draft.edit(|payload| payload.push_str(", edited"));
            if !steps.iter().all(|step| draft.apply(step.clone()).is_ok()) {
                continue;
            }
            commits += 1;
            let id = format!("{commits}");
            database.insert(&id, "me", task);
            let Snapshot { status, revision, run, payload, previous } = Snapshot::from(&draft);
            let (previous, old) =
                previous.map(|it| (it.status.to_string(), it.payload.clone())).unzip();
            let is_new_update =
                draft.run() != draft.loaded_run() && draft.before().status() != Status::Processing;
            let values = |owner: &str, loaded: Revision| {
                [
                    text(status.as_str()),
                    Value::Text(previous.clone()),
                    Value::Number(revision.to_i64()),
                    Value::Number(run.to_i64()),
                    text(payload),
                    Value::Text(old.clone()),
                    Value::Flag(is_new_update),
                    Value::Flag(draft.taken().is_some()),
                    text(&id),
                    text(owner),
                    Value::Number(loaded.to_i64()),
                ]
            };
            let commit = |owner, loaded| database.run(block("-- A commit"), &values(owner, loaded));
            assert_eq!(
                commit("me", draft.revision()),
                Ok(0),
                "the revision that was loaded counts"
            );
            assert_eq!(commit("you", draft.loaded()), Ok(0), "the owner counts");
            assert_eq!(database.row(&id), Beside::of(task).row(task, over));
            assert_eq!(commit("me", draft.loaded()), Ok(1));
            let after = Beside::of(task).after(&draft);
            assert_eq!(database.row(&id), after.row(&draft, over), "{} {steps:?}", draft.before());
        }
        assert_eq!(commits, 41);
    });
}

/// A bulk statement does to each row what the task does, and messages go out for what is queued.
fn bulk(name: &str, values: &[Value], operation: impl Fn(&mut Draft<String>) -> bool) {
    on_both(|database, over| {
        for (at, task) in tasks().iter().enumerate() {
            database.insert(&format!("mine {at}"), "me", task);
            database.insert(&format!("yours {at}"), "you", task);
        }
        database.run(block(name), values).unwrap();
        let mut messages = vec![];
        for (at, task) in tasks().into_iter().enumerate() {
            let beside = Beside::of(&task);
            assert_eq!(database.row(&format!("yours {at}")), beside.row(&task, over));
            let mut draft = Draft::new(task);
            let after = if operation(&mut draft) { beside.after(&draft) } else { beside };
            assert_eq!(database.row(&format!("mine {at}")), after.row(&draft, over), "{at}");
            messages.extend(
                draft.queued().map(|run| vec![Some(format!("mine {at}")), Some(run.to_string())]),
            );
        }
        let sent = "SELECT task_id, CAST(run AS TEXT) FROM messages ORDER BY task_id";
        assert_eq!(database.rows(sent), messages);
    });
}

#[test]
fn bulk_cancel_does_what_cancel_does() {
    bulk("-- Bulk cancel", &[text("me")], |draft| draft.cancel().is_ok());
}

#[test]
fn bulk_update_does_what_update_does() {
    let update = |draft: &mut Draft<String>| draft.update("newer".to_owned()).is_ok();
    bulk("-- Bulk update", &[text("me"), text("newer")], update);
}
