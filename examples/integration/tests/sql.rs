//! The SQL of the documentation's page about embedding, as it stands there, on both databases.

use std::cell::RefCell;

use sqlx::any::install_default_drivers;
use sqlx::{AnyConnection, AssertSqlSafe, Connection, Executor, Row as _, query, raw_sql};
use task_lifecycle::{Draft, Event, Previous, Revision, Run, Snapshot, State, Status, Task};
use task_stores::engines;
use tokio::runtime::{Builder, Runtime};

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

/// The columns of a row as texts, in the order of [`COLUMNS`].
type Row = Vec<Option<String>>;

const COLUMNS: &str = "task_id, owner, status, previous_status, revision, run, payload,
    previous_payload, queued_run, attempts, stop_requested, lease_run, lease_until, ended_at";

const LONG_AGO: &str = "2001-01-01";

struct Database {
    runtime: Runtime,
    connection: RefCell<AnyConnection>,
}

impl Database {
    fn open(url: &str) -> Self {
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        let connection = RefCell::new(runtime.block_on(AnyConnection::connect(url)).unwrap());
        let database = Self { runtime, connection };
        database.script(block("-- The table")).unwrap();
        database
    }

    /// Runs a block, statement by statement, in one transaction. Returns the rows that the last
    /// one changed.
    fn run(&self, block: &str, values: &[Value]) -> Result<u64, String> {
        let mut connection = self.connection.borrow_mut();
        let is_sqlite = connection.backend_name() == "SQLite";
        let run = async {
            let mut transaction = connection.begin().await?;
            let mut rows = 0;
            for statement in block.trim_end().split_inclusive(";\n") {
                let used = (1..=values.len()).rev().find(|n| statement.contains(&format!("${n}")));
                let mut statement = statement.to_owned();
                if is_sqlite {
                    let later = "CURRENT_TIMESTAMP + INTERVAL '30 seconds'";
                    statement = statement.replace(later, "datetime('now', '+30 seconds')");
                }
                let mut query = query(AssertSqlSafe(statement));
                for value in &values[..used.unwrap_or(0)] {
                    query = match value.clone() {
                        Value::Text(text) => query.bind(text),
                        Value::Number(number) => query.bind(number),
                        Value::Flag(flag) => query.bind(flag),
                    };
                }
                rows = query.execute(&mut *transaction).await?.rows_affected();
            }
            transaction.commit().await?;
            Ok(rows)
        };
        self.runtime.block_on(run).map_err(|error: sqlx::Error| error.to_string())
    }

    /// Runs statements without values.
    fn script(&self, statements: &str) -> Result<(), String> {
        let script = raw_sql(AssertSqlSafe(statements.to_owned()));
        let done = self.runtime.block_on(script.execute(&mut *self.connection.borrow_mut()));
        done.map(drop).map_err(|error| error.to_string())
    }

    fn insert(&self, row: &Row) -> Result<(), String> {
        let value = |value: &Option<String>| match value {
            Some(text) => format!("'{text}'"),
            None => "NULL".to_owned(),
        };
        let values = row.iter().map(value).collect::<Vec<_>>().join(", ");
        self.script(&format!("INSERT INTO tasks ({COLUMNS}) VALUES ({values})"))
    }

    /// The columns of a table, as texts.
    fn rows(&self, columns: &str, table: &str) -> Vec<Row> {
        let texts = columns.split(',').map(|column| match column.trim() {
            // The database's clock is right, and a lease is for some time.
            "lease_until" => "CASE WHEN lease_until > CURRENT_TIMESTAMP THEN 'in future'
                ELSE substr(CAST(lease_until AS TEXT), 1, 10) END"
                .to_owned(),
            "ended_at" => "CASE WHEN ended_at > '2002-01-01' THEN 'now'
                ELSE substr(CAST(ended_at AS TEXT), 1, 10) END"
                .to_owned(),
            column => format!("CAST({column} AS TEXT)"),
        });
        let texts = texts.collect::<Vec<_>>().join(", ");
        let query = AssertSqlSafe(format!("SELECT {texts} FROM {table} ORDER BY task_id"));
        let rows = self.runtime.block_on(self.connection.borrow_mut().fetch_all(query)).unwrap();
        rows.iter().map(|row| (0..row.len()).map(|at| row.get(at)).collect()).collect()
    }

    fn tasks(&self) -> Vec<Row> {
        self.rows(COLUMNS, "tasks")
    }
}

/// A row that is in its second attempt, with a stop request, and its lease over.
fn old_row(id: &str, owner: &str, task: &Task<String>) -> Row {
    let run = |is_there: bool| is_there.then(|| task.run().to_string());
    let long_ago = |is_there: bool| is_there.then(|| LONG_AGO.to_owned());
    let is_leased = task.status() == Status::Processing;
    let beside = [
        Some("6".to_owned()),
        Some("1".to_owned()),
        Some("6".to_owned()),
        run(is_leased),
        long_ago(is_leased),
        long_ago(task.status().is_completed()),
    ];
    task_columns(id, owner, Snapshot::from(task)).into_iter().chain(beside).collect()
}

/// The columns of the task itself, and before them its name and its owner.
fn task_columns(id: &str, owner: &str, task: Snapshot<&String>) -> Row {
    let Snapshot { status, revision, run, payload, previous } = task;
    let previous = previous.map(|it| (it.status.to_string(), it.payload.clone()));
    let (previous_status, previous_payload) = previous.unzip();
    let [revision, run] = [revision.to_string(), run.to_string()].map(Some);
    let texts = [id, owner, status.as_str()].map(|text| Some(text.to_owned()));
    let rest = [previous_status, revision, run, Some(payload.clone()), previous_payload];
    texts.into_iter().chain(rest).collect()
}

/// The row once a draft of it is committed.
fn after(row: &Row, draft: &Draft<String>) -> Row {
    let [id, owner] = [0, 1].map(|column| row[column].as_deref().unwrap());
    let mut after = task_columns(id, owner, Snapshot::from(draft));
    after.extend_from_slice(&row[8..]);
    let [queued, attempts, stop, lease, until, ended] = after.last_chunk_mut().unwrap();
    let run = draft.run().to_string();
    if is_new_update(draft) {
        (*queued, *attempts, *stop) = (Some(run.clone()), Some("0".to_owned()), None);
    }
    if draft.status() == Status::Processing {
        *lease = Some(run);
        if draft.taken().is_some() {
            *until = Some("in future".to_owned());
        }
    } else {
        (*lease, *until) = (None, None);
    }
    let is_completed = draft.status().is_completed();
    *ended = is_completed.then(|| ended.take().unwrap_or_else(|| "now".to_owned()));
    after
}

fn is_new_update(draft: &Draft<String>) -> bool {
    draft.run() != draft.loaded_run() && draft.before().status() != Status::Processing
}

/// One task in each state.
fn tasks() -> Vec<Task<String>> {
    let task = |state: &State| {
        let previous = state.previous();
        let previous = previous.map(|status| Previous { status, payload: "old".to_owned() });
        let (revision, run, payload) = (Revision::new(41), Run::new(7), "new".to_owned());
        let snapshot = Snapshot { status: state.status(), revision, run, payload, previous };
        Task::try_from(snapshot).unwrap()
    };
    State::ALL.iter().map(task).collect()
}

/// On SQLite, and on PostgreSQL if it is installed: with the table and the trigger of the page.
fn on_both(test: impl Fn(&Database)) {
    install_default_drivers();
    let sqlite = Database::open("sqlite::memory:");
    sqlite.script(block("-- SQLite: the trigger")).unwrap();
    test(&sqlite);
    if let Some(engine) = engines::postgres() {
        let postgres = Database::open(&engine.address);
        postgres.script(block("-- PostgreSQL: the trigger")).unwrap();
        test(&postgres);
    }
}

#[test]
fn checks_accept_the_nine_states_alone() {
    let words = Status::ALL.iter().map(|status| Some(status.as_str()));
    let words: Vec<_> = words.chain([None, Some("starting"), Some("")]).collect();
    let pairs =
        words.iter().flat_map(|status| words.iter().map(move |previous| (*status, *previous)));
    let beside = (0..24).map(|n| (n % 2 == 1, n / 2 % 3, n / 6 % 2 == 1, n / 12 == 1));
    let rows = pairs.flat_map(|pair| beside.clone().map(move |beside| (pair, beside)));
    on_both(|database| {
        let mut accepted = 0;
        for ((status, previous), (old, lease, until, ended)) in rows.clone() {
            let state = status.and_then(|word| word.parse::<Status>().ok()).and_then(|status| {
                let previous = previous.map(str::parse).transpose().ok()?;
                State::from_parts(status, previous).ok()
            });
            let is_task = state.is_some_and(|state| {
                let is_leased = state.status() == Status::Processing;
                let lease_fits = if is_leased { lease == 1 && until } else { lease == 0 && !until };
                lease_fits && old == state.is_update() && ended == state.status().is_completed()
            });
            let id = accepted.to_string();
            let texts = [Some(&*id), Some("me"), status, previous, Some("0"), Some("7")];
            let payloads = [Some("new"), old.then_some("old"), Some("7"), Some("0"), None];
            let times = [until, ended].map(|is_there| is_there.then_some(LONG_AGO));
            let lease = [None, Some("7"), Some("6")][lease];
            let row = texts.into_iter().chain(payloads).chain([lease]).chain(times);
            let row = row.map(|value| value.map(str::to_owned)).collect();
            let done = database.insert(&row);
            assert_eq!(done.is_ok(), is_task, "{row:?}: {done:?}");
            accepted += usize::from(is_task);
        }
        assert_eq!(accepted, State::ALL.len());
        for column in ["owner", "status", "revision", "run", "payload", "queued_run", "attempts"] {
            let counted = if column == "revision" { "" } else { ", revision = revision + 1" };
            let update = format!("UPDATE tasks SET {column} = NULL{counted}");
            assert!(database.script(&update).is_err(), "{column}");
        }
    });
}

#[test]
fn the_trigger_passes_a_renewal_and_refuses_an_uncounted_change() {
    on_both(|database| {
        let tasks = tasks();
        let in_status = |status| tasks.iter().rfind(|task| task.status() == status).unwrap();
        let (waiting, processing) = (in_status(Status::Starting), in_status(Status::Processing));
        database.insert(&old_row("id", "me", processing)).unwrap();
        let renew = |id, run| database.run(block(BLOCKS[0]), &[text(id), Value::Number(run)]);
        assert_eq!(renew("id", 6), Ok(0));
        assert_eq!(database.tasks(), [old_row("id", "me", processing)]);
        assert_eq!(renew("id", 7), Ok(1));
        assert_eq!(database.tasks()[0][12].as_deref(), Some("in future"));
        for change in [
            "status = 'Starting', lease_run = NULL, lease_until = NULL",
            "run = 8, lease_run = 8",
            "payload = 'by hand'",
            "previous_status = 'Succeeded'",
            "previous_payload = 'by hand'",
        ] {
            let refused = database.script(&format!("UPDATE tasks SET {change}")).unwrap_err();
            assert!(refused.contains("an update must change the revision"), "{change}: {refused}");
        }
        database.script("UPDATE tasks SET payload = 'by hand', revision = revision + 1").unwrap();
        database.insert(&old_row("waits", "me", waiting)).unwrap();
        assert_eq!(renew("waits", 7), Ok(0), "there is no lease to renew");
    });
}

#[test]
fn a_commit_writes_the_draft_and_what_lies_beside_it() {
    use Event::{Cancel, Fail, Retry, Start, Succeed};
    let update = || Event::Update("newer".to_owned());
    let steps = [
        &[][..],
        &[Start],
        &[Retry],
        &[Succeed],
        &[Fail],
        &[Cancel],
        &[update()],
        &[Retry, Start],
        &[Retry, Cancel],
        &[Cancel, update()],
        &[update(), Start],
        &[update(), Cancel],
    ];
    on_both(|database| {
        let mut commits = 0;
        for (task, steps) in tasks().iter().flat_map(|task| steps.map(|steps| (task, steps))) {
            let mut draft = Draft::new(task.clone());
            draft.edit(|payload| payload.push_str(", edited"));
            if !steps.iter().all(|step| draft.apply(step.clone()).is_ok()) {
                continue;
            }
            commits += 1;
            let old = old_row("id", "me", task);
            database.insert(&old).unwrap();
            let new = after(&old, &draft);
            let column = |at: usize| Value::Text(new[at].clone());
            let commit = |owner, loaded: Revision| {
                let values = [
                    column(2),
                    column(3),
                    Value::Number(draft.revision().to_i64()),
                    Value::Number(draft.run().to_i64()),
                    column(6),
                    column(7),
                    Value::Flag(is_new_update(&draft)),
                    Value::Flag(draft.taken().is_some()),
                    text("id"),
                    text(owner),
                    Value::Number(loaded.to_i64()),
                ];
                database.run(block("-- A commit"), &values)
            };
            assert_eq!(commit("me", draft.revision()), Ok(0), "the loaded revision counts");
            assert_eq!(commit("you", draft.loaded()), Ok(0), "the owner counts");
            assert_eq!(database.tasks()[0], old);
            assert_eq!(commit("me", draft.loaded()), Ok(1));
            assert_eq!(database.tasks(), [new], "{} {steps:?}", draft.before());
            database.script("DELETE FROM tasks").unwrap();
        }
        assert_eq!(commits, 41);
    });
}

/// A bulk statement does to each row what the task does, and messages go out for what is queued.
fn bulk(name: &str, values: &[Value], operation: impl Fn(&mut Draft<String>) -> bool) {
    on_both(|database| {
        let (mut expected, mut messages) = (vec![], vec![]);
        for (owner, (at, task)) in ["me", "you"]
            .iter()
            .flat_map(|owner| tasks().into_iter().enumerate().map(move |task| (owner, task)))
        {
            let id = format!("{owner} {at}");
            let old = old_row(&id, owner, &task);
            database.insert(&old).unwrap();
            let mut draft = Draft::new(task);
            let is_done = *owner == "me" && operation(&mut draft);
            expected.push(if is_done { after(&old, &draft) } else { old });
            messages.extend(draft.queued().map(|run| vec![Some(id), Some(run.to_string())]));
        }
        database.run(block(name), values).unwrap();
        assert_eq!(database.tasks(), expected);
        assert_eq!(database.rows("task_id, run", "messages"), messages);
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
