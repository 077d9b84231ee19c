//! The service's own commit, worker and sweeper in a seeded simulation: one thread, a clock that the
//! simulation turns, and each load and each commit a step, so that anything may come between.
//!
//! `SIMULATED_STEPS=10000000 cargo test --release -p task-service --test service laws` for long.

use std::cell::Cell;
use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::task::Poll;

use expect_test::expect_file;
use sqlx::Result;
use sqlx::sqlite::SqlitePoolOptions;
use task_lifecycle::Status;
use task_service::database::ON_SQLITE;
use task_service::document::Chunk;
use task_service::store::COMMIT;
use tokio::runtime::{Builder, Runtime};

use super::*;

const LEASE: i64 = 5_000_000; // microseconds, as all times
const EPISODE: u32 = 1000; // turns, until it becomes calm

/// A precaution that is left out: a part of the statement that commits is another, or …
#[rustfmt::skip]
#[derive(Clone, Copy, Default, PartialEq)]
enum Without {
    #[default] Nothing, Sql(&'static str, &'static str), DoubtIfNo, DoubtIfYes, SameDraft, Names, SightOfStop,
    SightOfLease, RunOfResult, Sweeper, EditOfStop, SameUpdate,
}

#[rustfmt::skip]
const PRECAUTIONS: [(&str, Without); 20] = [
    ("a commit compares the revision", Without::Sql("AND revision = $3", "")),
    ("the commit of a sweeper compares the lease it saw", Without::Sql("lease_until = $14", "TRUE")),
    ("an expired lease is counted", Without::Sql("ELSE attempts + 1", "ELSE attempts")),
    ("an update begins with no attempts", Without::Sql("WHEN $10 THEN 0", "WHEN FALSE THEN 0")),
    ("an update notes its run", Without::Sql("CASE WHEN $10 THEN $6", "CASE WHEN FALSE THEN $6")),
    ("a retry does not", Without::Sql("CASE WHEN $10 THEN $6", "CASE WHEN $10 OR $11 THEN $6")),
    ("an update clears the request to stop", Without::Sql("WHEN $10 THEN NULL", "WHEN FALSE THEN NULL")),
    ("the request to stop is in the commit", Without::Sql("coalesce($15, stop_requested)", "stop_requested")),
    ("a start takes the lease", Without::Sql("WHEN $12 THEN now + $13", "WHEN $12 THEN 0")),
    ("so does a take-over", Without::Sql("WHEN $12 THEN now", "WHEN $12 AND lease_until IS NULL THEN now")),
    ("no answer is not taken for \"no\"", Without::DoubtIfNo),
    ("nor for \"yes\"", Without::DoubtIfYes),
    ("nobody decides anew without an answer", Without::SameDraft),
    ("every worker has a name of its own", Without::Names),
    ("workers look for a request to stop", Without::SightOfStop),
    ("nobody takes a run over whose lease lasts", Without::SightOfLease),
    ("a result is for its run", Without::RunOfResult),
    ("somebody sweeps", Without::Sweeper),
    ("a request to stop is an edit", Without::EditOfStop),
    ("and is for one update", Without::SameUpdate),
];

/// The task as it must be in the database, and all else that the laws need.
#[derive(Default)]
struct State {
    random: fastrand::Rng,
    without: Without,
    is_calm: bool,
    now: i64,
    late: Vec<(Draft, Note, u32)>,
    received: Option<Message>,
    story: VecDeque<String>,
    violation: Option<String>,
    /// The last one is the task as it is.
    history: Vec<Task>,
    queued_run: i64,
    expired: i64,
    stop: Option<i64>,
    leased_until: i64,
    /// The run that is worked on, and its worker.
    holder: Option<(Run, String)>,
    stops: Vec<Run>,
    /// The requests whose commits were made, and those that were refused.
    made: Vec<u32>,
    refused: Vec<u32>,
    /// The row that was loaded last, for loads that are behind.
    row: Option<Row>,
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

/// Drives somebody to the next step, or to the end. (SQLite has a thread of its own.)
fn drive<T>(runtime: &Runtime, who: impl Future<Output = T>) -> Option<T> {
    let mut who = pin!(who);
    runtime.block_on(poll_fn(|context| {
        AT_STEP.set(false);
        match who.as_mut().poll(context) {
            Poll::Ready(value) => Poll::Ready(Some(value)),
            Poll::Pending if AT_STEP.get() => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        }
    }))
}

impl World {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    fn draw(&self, below: u32) -> u32 {
        self.state().random.u32(..below)
    }

    async fn sql(&self, sql: &str) {
        sqlx::raw_sql(AssertSqlSafe(sql)).execute(&self.pool).await.unwrap();
    }

    async fn turn_clock(&self, by: i64) {
        let now = self.state().now + by;
        self.state().now = now;
        self.sql(&format!("UPDATE turned SET now = {now}")).await;
    }

    /// A commit arrives.
    async fn arrive(&self, draft: &Draft, note: &Note, request: u32) -> bool {
        let made = self.store.commit(&self.key, draft, note).await;
        match &made {
            Ok(true) => self.state().observe(draft, note, request),
            Ok(false) => {}
            Err(fault) => self.state().violated(&format!("the database refuses, {fault}")),
        }
        made.is_ok_and(|made| made)
    }
}

impl State {
    fn chance(&mut self, percent: u32) -> bool {
        !self.is_calm && self.random.u32(..100) < percent
    }

    fn task(&self) -> &Task {
        self.history.last().unwrap()
    }

    fn tell(&mut self, who: &str, what: &str) {
        self.story.truncate(39);
        self.story.push_front(format!("{}s {who}: {what}", self.now / 1_000_000));
    }

    fn violated(&mut self, what: &str) {
        self.violation.get_or_insert_with(|| what.to_owned());
    }

    /// Holds what was committed against the laws.
    fn observe(&mut self, draft: &Draft, note: &Note, request: u32) {
        let (operations, was) = (note.operations, draft.before().status());
        let is_worker = request == 0;
        let mut laws = vec![("a stale commit was made", draft.loaded() == self.task().revision())];
        if draft.run() != draft.loaded_run() && was != Status::Processing {
            (self.queued_run, self.expired, self.stop) = (draft.run().to_i64(), 0, None);
        }
        let is_stopped = self.stop.is_some();
        if note.expired.is_some() {
            self.expired += 1;
            let is_over = !(self.now..=self.now + LEASE).contains(&self.leased_until);
            laws.push(("a run was taken whose lease lasts", is_over));
            let is_limit = operations.contains("fail") == (self.expired >= 3);
            laws.push(("given up too early, or too late", is_limit || is_stopped));
        } else if is_worker && was == Status::Processing && !is_stopped {
            let is_holder = self.holder == Some((draft.loaded_run(), note.by.clone()));
            laws.push(("another's run was ended", is_holder || self.without == Without::Names));
        }
        let is_stop = is_worker && operations.contains("cancel");
        laws.push(("stopped, and nobody asked", !is_stop || is_stopped));
        let goes_on = ["start", "succeed", "fail"].iter().any(|word| operations.contains(word));
        laws.push(("a request to stop was not obeyed", !goes_on || !is_stopped));
        if operations.contains("succeed") {
            let Document { configuration, chunks, .. } = Document::read(draft.payload()).unwrap();
            let words = chunks.unwrap()[0].words as u64;
            laws.push(("another's result was stored", configuration["words"] == words));
        }
        laws.push(("told \"no\", and it was made", is_worker || !self.refused.contains(&request)));
        if draft.taken().is_some() {
            self.leased_until = self.now + LEASE;
        }
        self.stop = note.stop.map(Run::to_i64).or(self.stop);
        self.stops.extend(note.stop);
        self.history.push((**draft).clone());
        self.made.push(request);
        for (law, _) in laws.iter().filter(|(_, holds)| !holds) {
            self.violated(law);
        }
    }
}

/// Somebody's way to the store, for a request or, with 0, for a worker.
struct Way(Arc<World>, String, u32);

impl Tasks for Way {
    fn store(&self) -> &SqlStore {
        &self.0.store
    }

    async fn load(&self, key: &Key) -> Result<Option<Row>> {
        step().await;
        let mut row = self.0.store.load(key).await?.unwrap();
        let task = row.task()?;
        let mut state = self.0.state();
        let beside = (row.queued_run, row.attempts, row.stop_requested);
        if task != *state.task() || beside != (state.queued_run, state.expired, state.stop) {
            state.violated("what is stored is not what was committed");
        }
        if state.without == Without::SightOfStop && self.2 == 0 {
            row.stop_requested = None;
        }
        row.is_lease_over |= state.without == Without::SightOfLease && row.lease_until.is_some();
        state.tell(&self.1, &format!("loads {}, {}, run {}", task.state(), row.revision, row.run));
        let is_behind = state.chance(5);
        let last = state.row.replace(row.clone()).filter(|_| is_behind);
        if state.chance(3) {
            return Err(Error::PoolTimedOut);
        }
        Ok(last.or(Some(row)))
    }

    async fn commit(&self, _: &Key, draft: &Draft, note: &Note) -> Result<bool> {
        step().await;
        let [is_lost, is_late, is_unheard] = [5, 5, 8].map(|odds| self.0.state().chance(odds));
        let mut made = false;
        if is_late {
            self.0.state().late.push((draft.clone(), note.clone(), self.2));
        } else if !is_lost {
            made = self.0.arrive(draft, note, self.2).await;
        }
        let is_heard = !(is_lost || is_late || is_unheard);
        let what = format!("{} to {}: {made}, heard: {is_heard}", note.operations, draft.state());
        let mut state = self.0.state();
        state.tell(&self.1, &what);
        match state.without {
            _ if is_heard => Ok(made),
            Without::DoubtIfNo => Ok(false),
            Without::DoubtIfYes => Ok(true),
            Without::SameDraft => Err(Error::PoolTimedOut),
            _ => Err(Error::Io(std::io::ErrorKind::TimedOut.into())),
        }
    }

    async fn pause(&self, _: u32) {
        step().await;
    }
}

/// A document whose result is its number of words.
fn document(words: u32) -> String {
    let configuration = serde_json::from_value(json!({ "words": words })).unwrap();
    Document { configuration, ..Document::default() }.text().unwrap()
}

/// Sends requests until it is calm.
async fn client(world: Arc<World>, name: String) {
    while !world.state().is_calm {
        step().await;
        let kind = world.draw(10);
        let number = world.draw(u32::MAX) + 1;
        let (without, is_stop) = (world.state().without, kind < 2);
        if is_stop && without == Without::EditOfStop {
            world.sql("UPDATE tasks SET stop_requested = run WHERE status = 'Processing'").await;
            let mut state = world.state();
            if state.task().status() == Status::Processing {
                state.stop = Some(state.task().run().to_i64());
            }
            continue;
        }
        let (mut ask, mut seen) = (ask_to_stop(), None);
        let mut decide = |draft: &mut Draft, row: &Row, note: &mut Note| {
            seen.get_or_insert(row.queued_run);
            if is_stop && without == Without::SameUpdate {
                return ask_to_stop()(draft, row, note);
            } else if is_stop {
                return ask(draft, row, note);
            }
            if (2..=4).contains(&kind) {
                draft.cancel()?;
            }
            if (4..=7).contains(&kind) {
                draft.update(document(number))?;
            } else if kind > 7 {
                let mut labelled = Document::read(draft.payload())?;
                labelled.file_name = format!("label {number}");
                labelled.set(draft)?;
            }
            Ok(["cancel", "cancel, update", "update", "edit"]
                [[0, 0, 0, 0, 1, 2, 2, 2, 3, 3][kind as usize]])
        };
        let way = Way(world.clone(), name.clone(), number);
        let told = loop {
            match change(&way, &world.key, &name, &mut decide).await {
                Err(Refusal::Store(_)) if without == Without::SameDraft => {}
                told => break told,
            }
        };
        let mut state = world.state();
        state.tell(&name, &format!("is told {:?}", told.as_ref().map(|_| "yes")));
        let is_refused = matches!(told, Err(Refusal::Status(_) | Refusal::Request(..)));
        state.refused.extend(is_refused.then_some(number));
        if is_refused && state.made.contains(&number) {
            state.violated("told \"no\", and it was made");
        }
        let Ok((draft, row)) = told else { continue };
        let is_asked = is_stop && draft.status() == Status::Processing;
        if is_stop && seen != Some(row.queued_run) {
            state.violated("another update was stopped");
        } else if !state.history.contains(&draft) {
            state.violated("told \"yes\", and it was not made");
        } else if is_asked && !state.stops.contains(&draft.run()) {
            state.violated("told that it is to stop, and it is not"); // or by another's request
        }
    }
}

fn worker(world: &Arc<World>, name: &str) -> Worker<Way> {
    let name = if world.state().without == Without::Names { "worker" } else { name }.to_owned();
    let options = Options::parse_from(["", "--lease-seconds", "5", "--attempts", "3"]);
    Worker { tasks: Way(world.clone(), name.clone(), 0), work: cut, name, options }
}

/// Handles messages, until it dies.
async fn work(world: Arc<World>, name: String) {
    let (worker, store, key) = (worker(&world, &name), &world.store, &world.key);
    loop {
        step().await;
        let is_again = world.state().chance(20);
        let again = world.state().received.clone().filter(|_| is_again);
        let received = if again.is_some() { again } else { store.receive().await.unwrap() };
        let Some(message) = received else { continue };
        world.state().received = Some(message.clone());
        let (mut run, document) = match worker.start(&message).await {
            Ok(Some(started)) => started,
            Ok(None) | Err(Refusal::Run(_)) => continue, // one that is ahead is received again
            Err(fault) => return world.state().violated(&format!("a worker gives up, {fault}")),
        };
        let holder = world.state().holder.replace((run, name.clone()));
        if holder.is_some_and(|(held, by)| held == run && by != name) {
            world.state().violated("two workers have one run");
        }
        let mut is_kept = true;
        for _ in 0..world.draw(8) {
            step().await;
            is_kept = is_kept && store.renew(key, run).await.unwrap();
            if is_kept {
                let now = world.state().now;
                world.state().leased_until = now + LEASE;
            }
        }
        if world.state().without == Without::RunOfResult {
            run = world.state().task().run();
        }
        let words = document.configuration["words"].as_u64().unwrap();
        let chunks = vec![Chunk { content: String::new(), words: usize::try_from(words).unwrap() }];
        _ = match if is_kept { world.draw(10) } else { 0 } {
            0 => worker.give_up(key, run).await,
            1 => worker.finish(key, run, &Err(Fault::Lasting("it fails"))).await,
            _ => worker.finish(key, run, &Ok(chunks)).await,
        };
    }
}

async fn sweep(world: Arc<World>) {
    let worker = worker(&world, "sweeper");
    loop {
        step().await;
        worker.sweep().await;
    }
}

/// A runtime, and an empty database in memory whose clock is a table.
type Opened = (Runtime, SqlitePool);

fn open() -> Opened {
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    let pool = runtime.block_on(async {
        let pool = SqlitePoolOptions::new().max_connections(1).idle_timeout(None);
        let pool = pool.max_lifetime(None).connect("sqlite::memory:").await.unwrap();
        ON_SQLITE.run(&pool).await.unwrap();
        let clock = "DROP VIEW clock; CREATE TABLE turned AS SELECT 0 AS now;
            CREATE VIEW clock AS SELECT now, now AS place FROM turned";
        sqlx::raw_sql(clock).execute(&pool).await.unwrap();
        pool
    });
    (runtime, pool)
}

/// Plays an episode, and returns the violation with its story.
fn play((runtime, pool): &Opened, seed: u64, without: Without) -> Result<(), String> {
    let mut commit = COMMIT;
    if let Without::Sql(part, other) = without {
        assert!(COMMIT.contains(part), "{part}");
        commit = COMMIT.replace(part, other).leak();
    }
    let (db, lease) = (Db::Sqlite(pool.clone()), Duration::from_micros(LEASE.unsigned_abs()));
    let store = SqlStore { readers: db.clone(), writers: db.clone(), apart: db, lease, commit };
    let task = Task::new(document(0));
    let (random, history) = (fastrand::Rng::with_seed(seed), vec![task.clone()]);
    let state = State { random, without, now: 1 << 50, history, ..State::default() };
    let state = Mutex::new(state);
    let key = Key { id: seed.to_string(), owner: "owner".to_owned() };
    let world = Arc::new(World { state, store, pool: pool.clone(), key });
    drive(runtime, async {
        world.sql("DELETE FROM tasks; DELETE FROM events").await;
        world.turn_clock(0).await;
        world.store.add(&world.key, &task, b"file", "client").await.unwrap();
    });
    let mut actors: Vec<Pin<Box<dyn Future<Output = ()>>>> = Vec::new();
    for name in 0..3 {
        actors.push(Box::pin(work(world.clone(), format!("worker {name}"))));
        actors.push(Box::pin(client(world.clone(), format!("client {name}"))));
    }
    if without != Without::Sweeper {
        actors.push(Box::pin(sweep(world.clone())));
    }
    for turn in 0..20 * EPISODE {
        world.state().is_calm = turn > EPISODE;
        let chance = world.draw(100);
        let who = world.state().random.usize(..actors.len());
        match chance {
            0..7 => {
                let is_set_back = chance == 0 && turn % 7 == 0 && turn < EPISODE;
                let seconds = if is_set_back { -3600 } else { world.draw(8).into() };
                drive(runtime, world.turn_clock(seconds * 1_000_000));
            }
            7..9 => {
                let late = world.state().late.pop();
                late.map(|(draft, note, to)| drive(runtime, world.arrive(&draft, &note, to)));
            }
            9..12 if who < 6 && who.is_multiple_of(2) && turn < EPISODE => {
                actors[who] = Box::pin(work(world.clone(), format!("worker {turn}")));
            }
            _ if drive(runtime, actors[who].as_mut()).is_some() => drop(actors.remove(who)),
            _ => {}
        }
        let state = world.state();
        if let Some(violation) = &state.violation {
            let steps: Vec<_> = state.story.iter().rev().map(String::as_str).collect();
            return Err(format!("seed {seed}: {violation}\n{}", steps.join("\n")));
        }
        let are_gone = actors.len() < 5 && state.late.is_empty(); // the clients, as it is calm
        if are_gone && state.task().status().is_completed() {
            return Ok(());
        }
    }
    Err(format!("seed {seed}: it is calm, and the task does not end"))
}

#[test]
fn laws_hold() {
    let opened = open();
    let steps = std::env::var("SIMULATED_STEPS").map_or(100_000, |steps| steps.parse().unwrap());
    for seed in 0..steps / u64::from(EPISODE) {
        play(&opened, seed, Without::Nothing).unwrap_or_else(|story| panic!("{story}"));
    }
}

/// Each precaution that is left out is found, by the first seed that does.
#[test]
fn precautions_are_needed() {
    let opened = open();
    let rows = PRECAUTIONS.map(|(precaution, without)| {
        let found = (0..99).find_map(|seed| Some((seed, play(&opened, seed, without).err()?)));
        let (number, story) = found.unwrap_or_else(|| panic!("not found without: {precaution}"));
        let law = story.lines().next().unwrap().split(": ").nth(1).unwrap();
        format!("| {precaution} | {number} | {law} |\n")
    });
    let table = format!("| left out | seed | what is seen |\n|---|---:|---|\n{}", rows.concat());
    expect_file!["../simulation.md"].assert_eq(&table);
}
