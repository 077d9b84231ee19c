//! The service's own commit, worker and sweeper in a seeded simulation: one thread, a clock that the
//! simulation turns, and each load and each commit a step, so that anything may come between.
//!
//! `SIMULATED_STEPS=10000000 cargo test --release -p task-service --test simulation` for a long one.

use std::cell::Cell;
use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{Thread, current, park};
use std::time::Duration;

use clap::Parser as _;
use expect_test::expect_file;
use serde_json::json;
use sqlx::sqlite::SqlitePoolOptions;
use sqlx::{AssertSqlSafe, Error, Result, SqlitePool};
use task_lifecycle::{Draft, Run, Status, Task};
use task_service::commit::{Refusal, change};
use task_service::database::{Db, ON_SQLITE};
use task_service::document::{Chunk, Document};
use task_service::options::Options;
use task_service::routes::ask_to_stop;
use task_service::store::{Beside, COMMIT, Key, Message, Note, Row, SqlStore, Tasks};
use task_service::worker::Worker;
use tokio::runtime::{Builder, Runtime};

const LEASE: i64 = 5_000_000;
const ATTEMPTS: i64 = 3;

/// How many steps an episode has, before it becomes calm.
const EPISODE: u32 = 1000;

/// A precaution that is left out.
#[derive(Clone, Copy, PartialEq)]
enum Without {
    Nothing,
    /// A part of the statement that commits, replaced by another.
    Sql(&'static str, &'static str),
    DoubtIfYes,
    DoubtIfNo,
    SameDraft,
    Names,
    SightOfStop,
    SightOfLease,
    CheckOfRun,
    Sweeper,
    EditOfStop,
    SameUpdate,
}

#[rustfmt::skip]
const PRECAUTIONS: [(&str, Without); 21] = [
    ("a commit compares the revision", Without::Sql("AND revision = $3", "")),
    ("the commit of a sweeper compares the lease it saw", Without::Sql("lease_until = $14", "TRUE")),
    ("an expired lease is counted", Without::Sql("ELSE attempts + 1", "ELSE attempts")),
    ("an update begins with no attempts", Without::Sql("WHEN $10 THEN 0", "WHEN FALSE THEN 0")),
    ("an update notes its run", Without::Sql("CASE WHEN $10 THEN $6", "CASE WHEN FALSE THEN $6")),
    ("a retry does not", Without::Sql("CASE WHEN $10 THEN $6", "CASE WHEN $10 OR $11 THEN $6")),
    ("an update clears the request to stop", Without::Sql("WHEN $10 THEN NULL", "WHEN FALSE THEN NULL")),
    ("a retry does not", Without::Sql("WHEN $10 THEN NULL", "WHEN $10 OR $11 THEN NULL")),
    ("the request to stop is in the commit", Without::Sql("coalesce($15, stop_requested)", "stop_requested")),
    ("a start takes the lease", Without::Sql("WHEN $12 THEN (SELECT now FROM clock) + $13", "WHEN $12 THEN (SELECT now FROM clock) - 1")),
    ("so does a take-over", Without::Sql("WHEN $12 THEN (", "WHEN $12 AND lease_until IS NULL THEN (")),
    ("no answer is not taken for \"no\"", Without::DoubtIfNo),
    ("nor for \"yes\"", Without::DoubtIfYes),
    ("without an answer, the same draft is sent again", Without::SameDraft),
    ("every worker has a name of its own", Without::Names),
    ("workers look for a request to stop", Without::SightOfStop),
    ("nobody takes a run over whose lease lasts", Without::SightOfLease),
    ("a result is for its run", Without::CheckOfRun),
    ("somebody sweeps", Without::Sweeper),
    ("a request to stop is an edit", Without::EditOfStop),
    ("and is for one update", Without::SameUpdate),
];

/// What the simulation knows of the task.
struct Truth {
    task: Task<String>,
    queued_run: Run,
    expired: i64,
    stop: Option<Run>,
    stops: Vec<Run>,
    leased_until: i64,
    /// The run that is worked on, and by whom.
    holder: Option<(Run, String)>,
    history: Vec<Task<String>>,
    /// The requests whose commits were made, and those that were refused.
    made: Vec<u32>,
    refused: Vec<u32>,
    /// The last two rows that were loaded, for loads that are behind.
    rows: [Option<Row>; 2],
}

struct State {
    random: fastrand::Rng,
    without: Without,
    is_calm: bool,
    now: i64,
    numbers: u32,
    truth: Truth,
    late: Vec<(Draft<String>, Note, u32)>,
    received: Option<Message>,
    story: VecDeque<String>,
    violation: Option<String>,
}

struct World {
    state: Mutex<State>,
    store: SqlStore,
    pool: SqlitePool,
    key: Key,
}

thread_local! {
    static AT_STEP: Cell<bool> = const { Cell::new(false) };
}

/// Lets anybody else go first.
async fn step() {
    let mut is_here = false;
    poll_fn(|_| {
        AT_STEP.set(!is_here);
        if std::mem::replace(&mut is_here, true) { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Drives somebody to the next step, or to the end.
fn drive<T>(mut who: Pin<&mut (impl Future<Output = T> + ?Sized)>) -> Option<T> {
    let waker = Waker::from(Arc::new(Unpark(current())));
    loop {
        AT_STEP.set(false);
        match who.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(value) => return Some(value),
            Poll::Pending if AT_STEP.get() => return None,
            Poll::Pending => park(), // for the thread of SQLite
        }
    }
}

/// Somebody's way to the store.
#[derive(Clone)]
struct Way {
    world: Arc<World>,
    who: String,
    /// The request that it is for.
    request: u32,
}

impl World {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    async fn sql(&self, sql: String) {
        sqlx::raw_sql(AssertSqlSafe(sql)).execute(&self.pool).await.unwrap();
    }

    /// Turns the clock.
    async fn turn(&self, by: i64) {
        let now = {
            let mut state = self.state();
            state.now += by;
            state.now
        };
        self.sql(format!("UPDATE turned SET now = {now}")).await;
    }

    /// A commit arrives.
    async fn arrive(&self, draft: &Draft<String>, note: &Note, request: u32) -> bool {
        let made = self.store.commit(&self.key, draft, note).await;
        let mut state = self.state();
        match &made {
            Ok(true) => state.observe(draft, note, request),
            Ok(false) => {}
            Err(fault) => state.violated(&format!("the database refuses: {fault}")),
        }
        made.is_ok_and(|made| made)
    }
}

impl State {
    fn chance(&mut self, percent: u32) -> bool {
        !self.is_calm && self.random.u32(..100) < percent
    }

    fn tell(&mut self, who: &str, what: &str) {
        if self.story.len() == 40 {
            self.story.pop_front();
        }
        self.story.push_back(format!("{:>8}s {who}: {what}", self.now / 1_000_000));
    }

    fn violated(&mut self, what: &str) {
        self.violation.get_or_insert_with(|| what.to_owned());
    }

    /// Holds what was committed against the laws.
    fn observe(&mut self, draft: &Draft<String>, note: &Note, request: u32) {
        let (now, is_client) = (self.now, request > 0);
        let truth = &mut self.truth;
        let mut laws = vec![("a stale commit was made", draft.loaded() == truth.task.revision())];
        let was = draft.before().status();
        if draft.run() != draft.loaded_run() && was != Status::Processing {
            (truth.queued_run, truth.expired, truth.stop) = (draft.run(), 0, None);
        }
        let operations = note.operations;
        let is_stopped = truth.stop.is_some();
        if note.expired.is_some() {
            truth.expired += 1;
            let is_over = !(now..=now + LEASE).contains(&truth.leased_until);
            laws.push(("a run was taken whose lease lasts", is_over));
            let ends = draft.status() != Status::Starting && !operations.contains("start");
            laws.push((
                "given up too late, or too early",
                (truth.expired >= ATTEMPTS) == ends || is_stopped,
            ));
        }
        let is_stop = !is_client && operations.contains("cancel");
        laws.push(("stopped, and nobody asked", !is_stop || is_stopped));
        let goes_on = operations.contains("start")
            || operations.contains("succeed")
            || operations.contains("fail");
        laws.push(("a request to stop was not obeyed", !goes_on || !is_stopped));
        if operations.contains("succeed") {
            let Document { configuration, chunks, .. } = Document::read(draft.payload()).unwrap();
            let result = chunks.unwrap()[0].words as u64;
            laws.push(("another's result", configuration["words"].as_u64() == Some(result)));
        }
        if draft.taken().is_some() {
            truth.leased_until = now + LEASE;
        }
        truth.stop = note.stop.or(truth.stop);
        truth.stops.extend(note.stop);
        truth.task = (**draft).clone();
        truth.history.push((**draft).clone());
        truth.made.push(request);
        laws.push((
            "told \"no\", and it was made",
            request == 0 || !truth.refused.contains(&request),
        ));
        for (law, holds) in laws {
            if !holds {
                self.violated(law);
            }
        }
    }
}

impl Tasks for Way {
    fn store(&self) -> &SqlStore {
        &self.world.store
    }

    async fn load(&self, key: &Key) -> Result<Option<Row>> {
        step().await;
        let mut row = self.world.store.load(key).await?.unwrap();
        let mut state = self.world.state();
        let truth = &state.truth;
        let Beside { queued_run, attempts, stop_requested, .. } = row.beside;
        let beside = (Run::from_i64(queued_run), attempts, stop_requested.map(Run::from_i64));
        if row.task != truth.task || beside != (truth.queued_run, truth.expired, truth.stop) {
            state.violated("what is stored is not what was committed");
        }
        if state.without == Without::SightOfStop && self.request == 0 {
            row.beside.stop_requested = None;
        }
        if state.without == Without::SightOfLease {
            row.beside.is_lease_over = row.beside.lease_until.is_some();
        }
        let (what, at) = (row.task.state(), row.task.revision());
        state.tell(&self.who, &format!("loads {what}, {at}, run {}", row.task.run()));
        if state.truth.rows[1].as_ref().is_none_or(|last| last.task != row.task) {
            let rows = &mut state.truth.rows;
            rows[0] = rows[1].replace(row.clone());
        }
        if state.chance(3) {
            return Err(Error::PoolTimedOut);
        }
        let behind = if state.chance(5) { state.truth.rows[0].clone() } else { None };
        Ok(behind.or(Some(row)))
    }

    async fn commit(&self, _: &Key, draft: &Draft<String>, note: &Note) -> Result<bool> {
        step().await;
        let without = self.world.state().without;
        let (is_lost, is_late, is_unheard) = {
            let mut state = self.world.state();
            (state.chance(5), state.chance(5), state.chance(8))
        };
        let mut made = false;
        if is_late {
            let late = (draft.clone(), note.clone(), self.request);
            self.world.state().late.push(late);
        } else if !is_lost {
            made = self.world.arrive(draft, note, self.request).await;
        }
        let is_answered = !(is_lost || is_late || is_unheard);
        let what =
            format!("{} to {}: {made}, heard: {is_answered}", note.operations, draft.state());
        self.world.state().tell(&self.who, &what);
        match without {
            _ if is_answered => Ok(made),
            Without::DoubtIfNo => Ok(false),
            Without::DoubtIfYes => Ok(true),
            _ => Err(Error::Io(std::io::ErrorKind::TimedOut.into())),
        }
    }

    async fn pause(&self, _: u32) {
        step().await;
    }
}

/// Sends requests until it is calm.
async fn client(world: Arc<World>, name: String) {
    while !world.state().is_calm {
        step().await;
        let (kind, number, without) = {
            let mut state = world.state();
            state.numbers += 1;
            (state.random.u32(..10), state.numbers, state.without)
        };
        let way = Way { world: world.clone(), who: name.clone(), request: number };
        let is_stop = (6..8).contains(&kind);
        if is_stop && without == Without::EditOfStop {
            let state = "stop_requested = run WHERE status = 'Processing'";
            world.sql(format!("UPDATE tasks SET {state}")).await;
            let truth = &mut world.state().truth;
            if truth.task.status() == Status::Processing {
                truth.stop = Some(truth.task.run());
            }
            continue;
        }
        let (mut first, mut seen) = (None, None);
        let mut decide = |draft: &mut Draft<String>, beside: &Beside, note: &mut Note| {
            seen.get_or_insert(beside.queued_run);
            if without == Without::SameUpdate {
                first = None;
            }
            note.operations = ["cancel", "cancel", "update", "update", "update", "cancel, update"]
                .get(kind as usize)
                .unwrap_or(&"edit");
            if is_stop {
                return ask_to_stop(&mut first, draft, beside, note);
            }
            if note.operations.contains("cancel") {
                draft.cancel()?;
            }
            if note.operations.contains("update") {
                draft.update(document(number))?;
            }
            if note.operations == "edit" {
                let mut labelled = Document::read(draft.payload())?;
                labelled.file_name = format!("label {number}");
                labelled.set(draft)?;
            }
            Ok(())
        };
        let tries = if without == Without::SameDraft { 1 } else { 4 };
        let told = loop {
            match change(&way, &world.key, &name, tries, &mut decide).await {
                Err(Refusal::Unknown) if without == Without::SameDraft => {}
                told => break told,
            }
        };
        let mut state = world.state();
        let is_made = state.truth.made.contains(&number);
        let said = told.as_ref().map_or_else(ToString::to_string, |_| "yes".to_owned());
        state.tell(&name, &format!("is told: {said}"));
        match told {
            Ok((_, beside)) if is_stop && seen != Some(beside.queued_run) => {
                state.violated("another update was stopped");
            }
            // Another's request to stop the same run is as good.
            Ok((draft, _)) if is_stop && state.truth.stops.contains(&draft.run()) => {}
            Ok((draft, _)) if !is_made && !state.truth.history.contains(&draft) => {
                state.violated("told \"yes\", and it was not made");
            }
            Err(Refusal::Status(_) | Refusal::Request(..)) if is_made => {
                state.violated("told \"no\", and it was made");
            }
            Err(Refusal::Status(_) | Refusal::Request(..)) => state.truth.refused.push(number),
            _ => {}
        }
    }
}

/// A document whose result is its number of words.
fn document(words: u32) -> String {
    let configuration = serde_json::from_value(json!({ "words": words })).unwrap();
    Document { configuration, ..Document::default() }.text().unwrap()
}

/// Handles messages, until it dies.
async fn work(world: Arc<World>, name: String) {
    let way = Way { world: world.clone(), who: name.clone(), request: 0 };
    let is_same_name = world.state().without == Without::Names;
    let worker = worker(way, if is_same_name { "worker" } else { &name });
    loop {
        step().await;
        let again = {
            let mut state = world.state();
            if state.chance(20) { state.received.clone() } else { None }
        };
        let received = if again.is_some() { again } else { world.store.receive().await.unwrap() };
        let Some(message) = received else { continue };
        world.state().received = Some(message.clone());
        let (mut run, document) = match worker.start(&message).await {
            Ok(Some(started)) => started,
            Ok(None) => continue,
            Err(Refusal::Run(stale)) if stale.is_ahead() => {
                world.store.give_back(&message, Some(Duration::from_secs(5))).await.unwrap();
                continue;
            }
            Err(Refusal::Run(_)) => continue,
            Err(fault) => return world.state().violated(&format!("a worker gave up: {fault}")),
        };
        let holder = world.state().truth.holder.replace((run, name.clone()));
        if holder.is_some_and(|(held, by)| held == run && by != name) {
            world.state().violated("two workers have one run");
        }
        let turns = world.state().random.u32(..8);
        let mut is_kept = true;
        for _ in 0..turns {
            step().await;
            is_kept = is_kept && world.store.renew(&world.key, run).await.unwrap();
            if is_kept {
                let mut state = world.state();
                state.truth.leased_until = state.now + LEASE;
            }
        }
        if world.state().without == Without::CheckOfRun {
            run = world.state().truth.task.run();
        }
        let words = document.configuration["words"].as_u64().unwrap();
        let chunks = [Chunk { content: String::new(), words: usize::try_from(words).unwrap() }];
        let end = world.state().random.u32(..10);
        _ = match end {
            _ if !is_kept => worker.give_up(&world.key, run).await,
            0 => worker.give_up(&world.key, run).await,
            1 => worker.finish(&world.key, run, Err("it fails")).await,
            _ => worker.finish(&world.key, run, Ok(&chunks)).await,
        };
    }
}

fn worker(tasks: Way, name: &str) -> Worker<Way> {
    let options = Options::parse_from(["", "--lease-seconds", "5", "--attempts", "3"]);
    Worker { tasks, name: name.to_owned(), options, queued: Arc::default() }
}

async fn sweep(world: Arc<World>) {
    let way = Way { world, who: "sweeper".to_owned(), request: 0 };
    let worker = worker(way, "sweeper");
    loop {
        step().await;
        worker.sweep().await.unwrap();
    }
}

async fn idle() {
    loop {
        step().await;
    }
}

/// An empty database in memory, whose clock is a table.
async fn database() -> SqlitePool {
    let pool = SqlitePoolOptions::new().max_connections(1).idle_timeout(None).max_lifetime(None);
    let pool = pool.test_before_acquire(false).connect("sqlite::memory:").await.unwrap();
    ON_SQLITE.run(&pool).await.unwrap();
    let clock = "DROP VIEW clock; CREATE TABLE turned (now INTEGER); INSERT INTO turned VALUES (0);
        CREATE VIEW clock AS SELECT now, now AS place FROM turned";
    sqlx::raw_sql(clock).execute(&pool).await.unwrap();
    pool
}

type Actor = Pin<Box<dyn Future<Output = ()>>>;

/// Plays an episode, and returns the violation with its story.
fn play(pool: &SqlitePool, seed: u64, without: Without) -> Result<(), String> {
    let commit = match without {
        Without::Sql(part, other) => {
            assert!(COMMIT.contains(part), "{part}");
            COMMIT.replace(part, other).leak()
        }
        _ => COMMIT,
    };
    let db = Db::Sqlite(pool.clone());
    let lease = Duration::from_micros(LEASE.unsigned_abs());
    let store = SqlStore { readers: db.clone(), writers: db.clone(), apart: db, lease, commit };
    let task = Task::new(document(0));
    let truth = Truth {
        task: task.clone(),
        queued_run: Run::new(0),
        expired: 0,
        stop: None,
        stops: Vec::new(),
        leased_until: 0,
        holder: None,
        history: vec![task.clone()],
        made: Vec::new(),
        refused: Vec::new(),
        rows: [None, None],
    };
    let state = State {
        random: fastrand::Rng::with_seed(seed),
        without,
        is_calm: false,
        now: 1 << 50,
        numbers: 0,
        truth,
        late: Vec::new(),
        received: None,
        story: VecDeque::new(),
        violation: None,
    };
    let key = Key { id: seed.to_string(), owner: "owner".to_owned() };
    let world = Arc::new(World { state: Mutex::new(state), store, pool: pool.clone(), key });
    let created = async {
        world.sql("DELETE FROM tasks; DELETE FROM events".to_owned()).await;
        world.turn(0).await;
        world.store.create(&world.key, &task, b"file", "client").await.unwrap();
    };
    drive(Box::pin(created).as_mut());
    let mut actors: Vec<Actor> = Vec::new();
    for name in 0..3 {
        actors.push(Box::pin(client(world.clone(), format!("client {name}"))));
        actors.push(Box::pin(work(world.clone(), format!("worker {name}"))));
    }
    if without != Without::Sweeper {
        actors.push(Box::pin(sweep(world.clone())));
    }
    let mut clients = 3;
    let mut turn = 0;
    loop {
        turn += 1;
        let (chance, who, seconds) = {
            let mut state = world.state();
            state.is_calm = turn > EPISODE;
            let random = &mut state.random;
            (random.u32(..100), random.usize(..actors.len()), random.i64(0..4))
        };
        match chance {
            0..6 => drive(Box::pin(world.turn(seconds * 1_000_000)).as_mut()).unwrap(),
            6 if turn % 7 == 0 && turn < EPISODE => {
                drive(Box::pin(world.turn(-3_600_000_000)).as_mut()).unwrap();
            }
            7..10 if turn > EPISODE || chance == 7 => {
                let late = world.state().late.pop();
                if let Some((draft, note, request)) = late {
                    drive(Box::pin(world.arrive(&draft, &note, request)).as_mut()).unwrap();
                }
            }
            10 if who % 2 == 1 && who < 6 && turn < EPISODE => {
                actors[who] = Box::pin(work(world.clone(), format!("worker {turn}")));
            }
            _ => {
                if drive(actors[who].as_mut()).is_some() {
                    clients -= 1;
                    actors[who] = Box::pin(idle());
                }
            }
        }
        let mut state = world.state();
        let is_over = turn > EPISODE && clients == 0 && state.late.is_empty();
        if is_over && state.truth.task.status().is_completed() {
            return Ok(());
        }
        if turn > 20 * EPISODE {
            state.violated("it is calm, and the task does not end");
        }
        if let Some(violation) = &state.violation {
            let steps: Vec<_> = state.story.iter().map(String::as_str).collect();
            return Err(format!("seed {seed}: {violation}\n{}", steps.join("\n")));
        }
    }
}

/// A runtime for SQLite's threads, and its database.
fn open() -> (Runtime, SqlitePool) {
    let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let pool = runtime.block_on(database());
    (runtime, pool)
}

#[test]
fn laws_hold() {
    let (runtime, pool) = open();
    let _inside = runtime.enter();
    let steps = std::env::var("SIMULATED_STEPS").map_or(100_000, |steps| steps.parse().unwrap());
    for seed in 0..steps / u64::from(EPISODE) {
        play(&pool, seed, Without::Nothing).unwrap_or_else(|story| panic!("{story}"));
    }
}

/// Each precaution that is left out is found, by the first seed that does.
#[test]
#[ignore = "three of the precautions are not found within its seeds"]
fn precautions_are_needed() {
    let (runtime, pool) = open();
    let _inside = runtime.enter();
    let mut table = "| left out | seed | what is seen |\n|---|---:|---|\n".to_owned();
    for (precaution, without) in PRECAUTIONS {
        let found = (0..200).find_map(|seed| Some((seed, play(&pool, seed, without).err()?)));
        let (number, story) = found.unwrap_or_else(|| panic!("not found without: {precaution}"));
        let law = story.lines().next().unwrap().split(": ").nth(1).unwrap();
        table += &format!("| {precaution} | {number} | {law} |\n");
    }
    expect_file!["simulation.md"].assert_eq(&table);
}
