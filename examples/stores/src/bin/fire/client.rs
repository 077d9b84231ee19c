//! Clients that race for tasks, and write down what they wanted and what they were told.

use std::cell::{Cell, RefCell};
use std::fmt::{self, Display, Formatter};
use std::rc::Rc;
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use task_lifecycle::{Event, Operation, Snapshot, Status};
use task_stores::settle::{Settled, settle};
use task_stores::{Document, Result, Task, etcd};
use tokio::time::{sleep, timeout};
use uuid::{Builder, Uuid};

use crate::store::{Fault, Store};

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
        let (mut record, task) = (self.begin(id, Change::Create), Task::new(self.document()));
        (record.outcome, record.silent) = match self.store.create(id, &task).await {
            Ok(true) => (Outcome::Acknowledged, 0),
            Ok(false) => (Outcome::Lost, 0),
            Err(_) if self.store.look(id).await.as_ref() == Some(&task) => (Outcome::Found, 1),
            Err(_) => (Outcome::Unknown, 1),
        };
        record.task = Some(task);
        let is_there = record.is_done();
        self.end(record);
        is_there.then_some(id)
    }

    /// Shows a client a task.
    pub async fn load(&mut self, id: Uuid) -> Option<Task> {
        let mut record = self.begin(id, Change::Load);
        let found = self.store.look(id).await;
        record.task.clone_from(&found);
        self.end(record);
        found
    }

    /// Loads a task and makes one change that it accepts; false if it is gone.
    async fn change(&mut self, id: Uuid) -> bool {
        let Some(loaded) = self.load(id).await else { return false };
        let change = self.choose(loaded.status());
        let (task, mut record) = (self.decide(&loaded, change), self.begin(id, change));

        let (silent, acknowledged) = (Cell::new(0), Cell::new(false));
        let commit = async || {
            let answer = self.store.commit(id, loaded.revision(), task.as_ref()).await;
            silent.set(silent.get() + usize::from(answer.is_err()));
            acknowledged.set(matches!(answer, Ok(true)));
            answer
        };
        let load = async || self.store.load(id).await;
        let settled = settle(loaded.revision(), task.as_ref(), commit, load);
        record.outcome = match timeout(Duration::from_secs(30), settled).await {
            Ok(Settled::Won) if acknowledged.get() => Outcome::Acknowledged,
            Ok(Settled::Won) => Outcome::Found,
            Ok(Settled::Lost) => Outcome::Lost,
            Ok(Settled::Unknown) | Err(_) => Outcome::Unknown,
        };
        record.silent = silent.get();
        (record.loaded, record.task) = (Some(loaded), task);
        self.end(record);
        true
    }

    fn begin(&self, id: Uuid, change: Change) -> Record {
        let (client, sent, outcome) = (self.number, Instant::now(), Outcome::Shown);
        let (loaded, task, silent) = (None, None, 0);
        Record { client, id, change, loaded, task, outcome, silent, sent, told: sent }
    }

    fn end(&mut self, record: Record) {
        self.records.push(Record { told: Instant::now(), ..record });
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
