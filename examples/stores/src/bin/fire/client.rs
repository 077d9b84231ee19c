//! Clients that race for tasks, and write down what they wanted and what they were told.

use std::cell::{Cell, RefCell};
use std::fmt::{self, Display, Formatter};
use std::rc::Rc;
use std::time::{Duration, Instant};

use clap::ValueEnum;
use etcd_client::{GetOptions, Txn, TxnOp};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use task_lifecycle::{Event, Operation, Snapshot, Status};
use task_stores::settle::{Settled, settle};
use task_stores::{Document, Result, Task, etcd};
use tokio::time::{sleep, timeout};
use uuid::{Builder, Uuid};

/// What the clients do wrong.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
#[value(rename_all = "snake_case")]
pub enum Fault {
    /// A call without an answer is said to have changed nothing
    UnknownTakenForNo,
    /// A call without an answer is said to have been done
    UnknownTakenForYes,
    /// A commit reads the revision, compares, and writes whatever has come between
    ReadThenPut,
    /// A load asks one node for what it has, and does not ask the others whether that is the newest
    StaleRead,
    /// A revert brings the status back and keeps the payload of the update
    RevertForgetsPayload,
    /// Nobody marks what they write, so what another wrote passes for one's own
    Unmarked,
}

/// What a client asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Change {
    /// None: to be shown the task.
    Load,
    Create,
    Edit,
    Step(Operation),
}

impl Change {
    /// Whether it gives the task back its previous state.
    pub fn reverts(self, task: &Task) -> bool {
        task.is_update() && matches!(self, Self::Step(Operation::Cancel | Operation::Fail))
    }
}

impl Display for Change {
    fn fmt(&self, to: &mut Formatter) -> fmt::Result {
        to.write_str(match self {
            Self::Load => "load",
            Self::Create => "create",
            Self::Edit => "edit",
            Self::Step(operation) => operation.as_str(),
        })
    }
}

/// What it was told.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// The task.
    Shown,
    Acknowledged,
    /// There was no answer, and then the task was found as it was to be.
    Found,
    Lost,
    /// There was no answer, and nobody could say.
    Unknown,
}

#[derive(Clone, Debug)]
pub struct Record {
    pub client: usize,
    pub id: Uuid,
    pub change: Change,
    pub loaded: Option<Task>,
    /// What the client wanted, or was shown.
    pub task: Option<Task>,
    pub outcome: Outcome,
    /// How many of its calls had no answer.
    pub silent: usize,
    pub sent: Instant,
    pub told: Instant,
}

impl Record {
    /// Whether the client holds that its change was made.
    pub fn is_done(&self) -> bool {
        matches!(self.outcome, Outcome::Acknowledged | Outcome::Found)
    }

    /// Whether the client knows that the task was in this state.
    pub fn is_known(&self) -> bool {
        self.is_done() || self.outcome == Outcome::Shown
    }
}

/// The tasks that there are, as far as the clients know, and how many there should be.
pub struct Pool {
    pub size: usize,
    pub tasks: RefCell<Vec<Uuid>>,
}

pub struct Client {
    number: usize,
    store: Store,
    random: StdRng,
    marks: u32,
    pub records: Vec<Record>,
}

impl Client {
    pub async fn open(
        number: usize,
        address: &str,
        seed: u64,
        fault: Option<Fault>,
    ) -> Result<Self> {
        let store = Store { db: etcd::open(address).await?, fault };
        let random = StdRng::seed_from_u64(seed.wrapping_add(number as u64));
        Ok(Self { number, store, random, marks: 0, records: vec![] })
    }

    /// Asks until `end`, and ends when it knows what became of the last.
    pub async fn play(mut self, pool: Rc<Pool>, end: Instant) -> Vec<Record> {
        let mut last = None;
        while Instant::now() < end {
            sleep(Duration::from_millis(self.random.random_range(0..10))).await;
            let again = last.take().filter(|_| self.random.random_bool(0.5));
            match again.or_else(|| self.pick(&pool)) {
                None => {
                    let created = self.create().await;
                    pool.tasks.borrow_mut().extend(created);
                }
                Some(id) if self.change(id).await => last = Some(id),
                Some(id) => pool.tasks.borrow_mut().retain(|other| *other != id),
            }
        }
        self.records
    }

    /// Some of the tasks more often than others, so that clients meet.
    fn pick(&mut self, pool: &Pool) -> Option<Uuid> {
        let tasks = pool.tasks.borrow();
        let most = Some(tasks.len()).filter(|count| *count >= pool.size)?;
        let most = self.random.random_range(0..most);
        Some(tasks[self.random.random_range(0..=most)])
    }

    /// The new task, if it is there. One that is not found may still come: its id is never used
    /// again, for a second create could meet a late first one after the task was deleted.
    async fn create(&mut self) -> Option<Uuid> {
        let id = Builder::from_random_bytes(self.random.random()).into_uuid();
        let (task, sent) = (Task::new(self.document()), Instant::now());
        let (outcome, silent) = match self.store.create(id, &task).await {
            Ok(true) => (Outcome::Acknowledged, 0),
            Ok(false) => (Outcome::Lost, 0),
            Err(_) if self.store.look(id).await.as_ref() == Some(&task) => (Outcome::Found, 1),
            Err(_) => (Outcome::Unknown, 1),
        };
        let (client, told, change) = (self.number, Instant::now(), Change::Create);
        let (loaded, task) = (None, Some(task));
        let record = Record { client, id, change, loaded, task, outcome, silent, sent, told };
        let is_there = record.is_done();
        self.records.push(record);
        is_there.then_some(id)
    }

    /// Shows a client a task.
    pub async fn load(&mut self, id: Uuid) -> Option<Task> {
        let (sent, found) = (Instant::now(), self.store.look(id).await);
        let (client, told, change) = (self.number, Instant::now(), Change::Load);
        let (task, outcome) = (found.clone(), Outcome::Shown);
        let record =
            Record { client, id, change, loaded: None, task, outcome, silent: 0, sent, told };
        self.records.push(record);
        found
    }

    /// Loads a task and makes one change that it accepts; false if it is gone.
    async fn change(&mut self, id: Uuid) -> bool {
        let Some(loaded) = self.load(id).await else { return false };
        let change = self.choose(loaded.status());
        let task = self.decide(&loaded, change);

        let (sent, silent, acknowledged) = (Instant::now(), Cell::new(0), Cell::new(false));
        let commit = async || {
            let answer = self.store.commit(id, loaded.revision(), task.as_ref()).await;
            silent.set(silent.get() + usize::from(answer.is_err()));
            acknowledged.set(matches!(answer, Ok(true)));
            answer
        };
        let load = async || self.store.load(id).await;
        let settled = settle(loaded.revision(), task.as_ref(), commit, load);
        let outcome = match timeout(Duration::from_secs(30), settled).await {
            Ok(Settled::Won) if acknowledged.get() => Outcome::Acknowledged,
            Ok(Settled::Won) => Outcome::Found,
            Ok(Settled::Lost) => Outcome::Lost,
            Ok(Settled::Unknown) | Err(_) => Outcome::Unknown,
        };
        let (client, told, silent) = (self.number, Instant::now(), silent.get());
        let loaded = Some(loaded);
        self.records.push(Record { client, id, change, loaded, task, outcome, silent, sent, told });
        true
    }

    /// A change that is accepted; half the time the first, so that two meet who want the same.
    fn choose(&mut self, status: Status) -> Change {
        let accepted = Operation::ALL.iter().filter(|it| status.accepts(**it));
        let changes: Vec<_> = accepted.map(|it| Change::Step(*it)).chain([Change::Edit]).collect();
        let count = if self.random.random_bool(0.5) { 1 } else { changes.len() };
        changes[self.random.random_range(0..count)]
    }

    /// What the task is to become. It carries a mark, so that nobody else's is the same; but for a
    /// revert and a delete, which leave nothing to mark, and are the same whoever did them.
    fn decide(&mut self, loaded: &Task, change: Change) -> Option<Task> {
        let (mut task, document) = (loaded.clone(), self.document());
        let Change::Step(operation) = change else {
            task.edit(|it| *it = document);
            return Some(task);
        };
        if !change.reverts(loaded) && operation != Operation::Update {
            task.edit(|it| it.clone_from(&document));
        }
        task.apply(Event::new(operation, document)?).expect("it is accepted");
        if change.reverts(loaded) && self.store.fault == Some(Fault::RevertForgetsPayload) {
            let payload = loaded.payload().clone();
            let kept = Snapshot { payload, ..Snapshot::from(task) };
            task = kept.try_into().expect("a task");
        }
        Some(task)
    }

    fn document(&mut self) -> Document {
        self.marks += 1;
        let message = match self.store.fault {
            Some(Fault::Unmarked) => String::new(),
            _ => format!("client {}, mark {}", self.number, self.marks),
        };
        let others = [("kept".to_owned(), message.clone().into())].into_iter().collect();
        Document { output: Some(message.clone()), message, others }
    }
}

/// The store, or one with a fault.
struct Store {
    db: etcd_client::Client,
    fault: Option<Fault>,
}

impl Store {
    async fn create(&self, id: Uuid, task: &Task) -> Result<bool> {
        self.answer(etcd::create(&self.db, id, task).await)
    }

    async fn load(&self, id: Uuid) -> Result<Option<Task>> {
        if self.fault != Some(Fault::StaleRead) {
            return etcd::load(&self.db, id).await;
        }
        let options = GetOptions::new().with_serializable();
        let answer = self.db.kv_client().get(format!("task/{id}"), Some(options)).await?;
        Ok(answer.kvs().first().map(|it| serde_json::from_slice(it.value())).transpose()?)
    }

    /// As `load`, until there is an answer.
    async fn look(&self, id: Uuid) -> Option<Task> {
        loop {
            match self.load(id).await {
                Ok(found) => return found,
                Err(_) => sleep(Duration::from_millis(50)).await,
            }
        }
    }

    /// Commits a task, or deletes it.
    async fn commit(&self, id: Uuid, loaded: u64, task: Option<&Task>) -> Result<bool> {
        let answer = match task {
            Some(task) if self.fault == Some(Fault::ReadThenPut) => {
                self.read_then_put(id, loaded, task).await
            }
            Some(task) => etcd::commit(&self.db, id, loaded, task).await,
            None => etcd::delete(&self.db, id, loaded).await,
        };
        self.answer(answer)
    }

    async fn read_then_put(&self, id: Uuid, loaded: u64, task: &Task) -> Result<bool> {
        let found = etcd::load(&self.db, id).await?;
        if found.is_none_or(|found| found.revision() != loaded) {
            return Ok(false);
        }
        let json = serde_json::to_string(task)?;
        let puts = [("task", json), ("revision", task.revision().to_string())];
        let puts = puts.map(|(key, value)| TxnOp::put(format!("{key}/{id}"), value, None));
        self.db.kv_client().txn(Txn::new().and_then(puts)).await?;
        Ok(true)
    }

    fn answer(&self, answer: Result<bool>) -> Result<bool> {
        match (self.fault, answer) {
            (Some(Fault::UnknownTakenForNo), Err(_)) => Ok(false),
            (Some(Fault::UnknownTakenForYes), Err(_)) => Ok(true),
            (_, answer) => answer,
        }
    }
}
