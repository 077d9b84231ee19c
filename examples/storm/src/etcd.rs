//! The store in etcd on three nodes, with clients, workers and a sweeper in this process.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::time::Duration;

use anyhow::Context as _;
use etcd_client::{Client, EventType, GetOptions, Txn, TxnOp, WatchOptions};
use rand::seq::IndexedRandom;
use rand::{random_bool, random_range, rng};
use task_lifecycle::{Event, Operation, Revision, Run, Snapshot, Status};
use task_stores::settle::{Settled, settle};
use task_stores::{Document, Draft, Result, Task, engines, etcd};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use uuid::Uuid;

use crate::audit::{Actor, Asked, Change, Moment, Payload, Time, Told};
use crate::storm::{Ask, Fault, KILLED, LOST, Storm, nap, now};

/// How many tasks the clients have at a time: few, so that they meet.
const TASKS: usize = 24;

/// A commit that somebody sent.
struct Intent {
    at: Time,
    by: Actor,
    loaded: Option<Revision>,
    operations: Vec<Operation>,
    task: Option<Task>,
}

/// What all have in common.
struct Shared {
    storm: Rc<Storm>,
    ids: RefCell<Vec<Uuid>>,
    /// By what they lead to.
    intents: RefCell<HashMap<(Uuid, Option<Revision>), Vec<Intent>>>,
    is_over: Cell<bool>,
}

/// A client, a worker or the sweeper, with a connection to one node.
#[derive(Clone)]
struct Caller {
    name: String,
    db: Client,
    shared: Rc<Shared>,
}

pub async fn run(storm: Rc<Storm>) -> anyhow::Result<Option<HashMap<String, Vec<Change>>>> {
    let Some(mut engine) = engines::etcd() else { return Ok(None) };
    let (ids, intents, is_over) = Default::default();
    let shared = Rc::new(Shared { storm: storm.clone(), ids, intents, is_over });
    storm.begin();
    let addresses: Vec<_> = engine.address.split(',').map(str::to_owned).collect();
    let (mut clients, mut others) = (JoinSet::new(), JoinSet::new());
    for nth in 0..20 {
        let db = etcd::open(&addresses[nth % 3], Duration::from_secs(1)).await?;
        let (name, shared) = (format!("caller {nth}"), shared.clone());
        let caller = Caller { name, db, shared };
        match nth {
            0..12 => _ = clients.spawn_local(caller.ask()),
            12..19 => _ = others.spawn_local(caller.work()),
            _ => _ = others.spawn_local(caller.sweep()),
        }
    }
    let mut nodes = Vec::new();
    for address in &addresses {
        nodes.push(etcd::open(address, Duration::from_secs(1)).await?);
    }
    while !storm.is_over() {
        nap(200..1000).await;
        let leader = leader(&nodes).await;
        engine.nodes[leader].kill();
        storm.count("leaders killed", 1);
        nap(300..1500).await;
        engine.nodes[leader].restart();
        nap(200..1000).await;
        let node = &engine.nodes[random_range(0..3)];
        node.pause();
        storm.count("nodes paused", 1);
        nap(300..2000).await; // before and after the callers have run out of patience
        node.resume();
    }
    clients.join_all().await;
    let reader = Caller { name: "reader".to_owned(), db: nodes[0].clone(), shared: shared.clone() };
    let ids = shared.ids.borrow().clone();
    for id in ids {
        let is_active = |it: Task| it.status().is_active();
        while reader.show(id).await.is_some_and(is_active) && !storm.is_past_calm() {
            nap(50..100).await;
        }
    }
    shared.is_over.set(true);
    others.join_all().await;
    history(&nodes[0], &shared).await.map(Some)
}

/// Waits for a leader.
async fn leader(nodes: &[Client]) -> usize {
    loop {
        for (at, node) in nodes.iter().enumerate() {
            let status = node.maintenance_client().status().await;
            let is_leader = status.is_ok_and(|status| {
                status.header().is_some_and(|header| header.member_id() == status.leader())
            });
            if is_leader {
                return at;
            }
        }
        sleep(Duration::from_millis(50)).await;
    }
}

impl Caller {
    fn is(&self, fault: Fault) -> bool {
        self.shared.storm.fault == Some(fault)
    }

    fn document(&self) -> Document {
        let mark = if self.is(Fault::Unmarked) { 0 } else { self.shared.storm.mark() };
        let message = format!("{}, mark {mark}", self.name);
        let others = [("kept".to_owned(), message.clone().into())].into_iter().collect();
        Document { output: Some(message.clone()), message, others }
    }

    fn pick(&self) -> Option<Uuid> {
        self.shared.ids.borrow().choose(&mut rng()).copied()
    }

    fn told(&self, id: Uuid, sent: Time, ask: Ask, told: Told) {
        self.shared.storm.told(&id.to_string(), &self.name, sent, ask, told);
    }

    /// Asks for one thing after the other.
    async fn ask(self) {
        while !self.shared.storm.is_over() {
            nap(0..20).await;
            let count = self.shared.ids.borrow().len();
            let Some(id) = self.pick().filter(|_| count >= TASKS) else {
                self.create().await;
                continue;
            };
            let Some(seen) = self.show(id).await else {
                self.shared.ids.borrow_mut().retain(|it| *it != id);
                continue;
            };
            let (named, document) = (random_bool(0.3).then(|| seen.revision()), self.document());
            let operation = match seen.status() {
                Status::Starting | Status::Processing => Operation::Cancel,
                Status::Succeeded | Status::Failed if random_bool(0.9) => Operation::Update,
                Status::Succeeded | Status::Failed | Status::Cancelled => Operation::Delete,
            };
            let (asked, operations) = match operation {
                _ if random_bool(0.1) => (Asked::Edit, &[][..]),
                operation => (Asked::Step(operation), &[operation][..]),
            };
            let sent = now();
            let told = if operations == [Operation::Delete] {
                self.delete(id, named).await
            } else {
                self.change(id, &Actor::Client(None), operations, &document, named).await
            };
            self.told(id, sent, Ask { request: document.message, asked, named }, told);
            self.show(id).await;
        }
    }

    /// Creates a task, again if there was no answer: nobody can have deleted it yet.
    async fn create(&self) {
        let (id, task, sent) = (Uuid::new_v4(), Task::new(self.document()), now());
        let (request, made) = (task.payload().message.clone(), Some(task.revision()));
        self.intend(id, &Actor::Client(None), None, &[], Some(task.clone()));
        let told = match etcd::create(&self.db, id, &task).await {
            Ok(_) => Told::Made(made),
            Err(_) => loop {
                if etcd::create(&self.db, id, &task).await.is_ok() {
                    break Told::Found(made);
                }
            },
        };
        self.shared.ids.borrow_mut().push(id);
        self.told(id, sent, Ask { request, asked: Asked::Create, named: None }, told);
    }

    /// Shows a task, once there is an answer.
    async fn show(&self, id: Uuid) -> Option<Task> {
        loop {
            let sent = now();
            let Ok(found) = self.load(id).await else {
                nap(10..30).await;
                continue;
            };
            let told = found.as_ref().map_or(Told::Absent, |task| {
                Told::Shown(task.revision(), task.status(), digest(task.payload()))
            });
            self.told(
                id,
                sent,
                Ask { request: String::new(), asked: Asked::Show, named: None },
                told,
            );
            return found;
        }
    }

    async fn load(&self, id: Uuid) -> Result<Option<Task>> {
        if !self.is(Fault::StaleRead) {
            return etcd::load(&self.db, id).await;
        }
        let options = GetOptions::new().with_serializable();
        let answer = self.db.kv_client().get(format!("task/{id}"), Some(options)).await?;
        Ok(answer.kvs().first().map(|it| serde_json::from_slice(it.value())).transpose()?)
    }

    fn intend(
        &self,
        id: Uuid,
        by: &Actor,
        loaded: Option<Revision>,
        operations: &[Operation],
        task: Option<Task>,
    ) {
        let key = (id, task.as_ref().map(|task| task.revision()));
        let (at, by, operations) = (now(), by.clone(), operations.to_vec());
        let intent = Intent { at, by, loaded, operations, task };
        self.shared.intents.borrow_mut().entry(key).or_default().push(intent);
    }

    /// Decides and commits until the outcome is known, or until it is killed on the way.
    async fn change(
        &self,
        id: Uuid,
        by: &Actor,
        operations: &[Operation],
        document: &Document,
        named: Option<Revision>,
    ) -> Told {
        let decide = |draft: &mut Draft| {
            if named.is_some_and(|named| draft.check_revision(named).is_err()) {
                return Err(Told::Stale);
            }
            let (status, update) = (draft.status(), draft.payload().clone());
            if let Actor::Worker(_, run) = by
                && draft.check_run(*run).is_err()
                && !self.is(Fault::NoCheckRun)
            {
                return Err(Told::Stale);
            }
            if operations.is_empty() || !matches!(by, Actor::Client(_)) {
                draft.edit(|it| it.clone_from(document));
            }
            for event in operations.iter().filter_map(|it| Event::new(*it, document.clone())) {
                let made = draft.apply(event).map_err(|_| Told::Refused(status))?;
                if made.reverted() && self.is(Fault::RevertKeepsPayload) {
                    let kept = Snapshot {
                        payload: update.clone(),
                        ..Snapshot::from(draft.clone().into_task())
                    };
                    **draft = kept.try_into().expect("a task");
                }
            }
            self.intend(id, by, Some(draft.loaded()), operations, Some(draft.clone().into_task()));
            Ok(())
        };
        let (is_sent, is_acknowledged) = (Cell::new(false), Cell::new(false));
        let commit = async |draft: &Draft| {
            is_sent.set(true);
            let answer = self.commit(id, draft).await;
            is_sent.set(false);
            is_acknowledged.set(matches!(answer, Ok(true)));
            self.shared.storm.count(LOST, usize::from(answer.is_err()));
            answer
        };
        let is_killed = random_bool(0.05);
        let patience = if is_killed { random_range(0..20) } else { 20_000 };
        let settled = settle(async || self.load(id).await, decide, commit);
        match timeout(Duration::from_millis(patience), settled).await {
            Ok(Settled::Made(task)) if is_acknowledged.get() => Told::Made(Some(task.revision())),
            Ok(Settled::Made(task)) => Told::Found(Some(task.revision())),
            Ok(Settled::Refused(told)) => told,
            Ok(Settled::Gone) => Told::Absent,
            Ok(Settled::Unknown) => Told::Unknown,
            Err(_) => {
                self.shared.storm.count(KILLED, usize::from(is_sent.get()));
                Told::Unknown
            }
        }
    }

    async fn commit(&self, id: Uuid, draft: &Draft) -> Result<bool> {
        let is_blind = self.is(Fault::UnconditionalWrite);
        let answer = if is_blind || self.is(Fault::CheckThenWrite) {
            let found = etcd::load(&self.db, id).await?;
            if found.is_none_or(|found| found.revision() != draft.loaded() && !is_blind) {
                return Ok(false);
            }
            let values = [
                ("task", serde_json::to_string(&**draft)?),
                ("revision", draft.revision().to_string()),
            ];
            let puts = values.map(|(key, value)| TxnOp::put(format!("{key}/{id}"), value, None));
            let put = self.db.kv_client().txn(Txn::new().and_then(puts)).await;
            put.map(|_| true).map_err(Into::into)
        } else {
            etcd::commit(&self.db, id, draft).await
        };
        match answer {
            Err(_) if self.is(Fault::TimeoutCountedAsNo) => Ok(false),
            Err(_) if self.is(Fault::TimeoutCountedAsYes) => Ok(true),
            answer => answer,
        }
    }

    async fn delete(&self, id: Uuid, named: Option<Revision>) -> Told {
        let mut is_silent = false;
        loop {
            let Ok(found) = self.load(id).await else {
                nap(10..30).await;
                continue;
            };
            let Some(task) = found else {
                return if is_silent { Told::Found(None) } else { Told::Absent };
            };
            if named.is_some_and(|named| task.check_revision(named).is_err()) {
                return if is_silent { Told::Unknown } else { Told::Stale };
            }
            if task.check(Operation::Delete).is_err() {
                return Told::Refused(task.status());
            }
            self.intend(
                id,
                &Actor::Client(None),
                Some(task.revision()),
                &[Operation::Delete],
                None,
            );
            match etcd::delete(&self.db, id, task.revision()).await {
                Ok(true) => return Told::Made(None),
                answer => is_silent |= answer.is_err(),
            }
        }
    }

    /// Takes runs and ends them, but for some at which it dies.
    async fn work(self) {
        while !self.shared.is_over.get() {
            nap(0..20).await;
            let Some(id) = self.pick() else { continue };
            let Ok(Some(task)) = self.load(id).await else { continue };
            nap(0..30).await; // its message is old by now
            if task.status() != Status::Starting {
                continue;
            }
            let by = Actor::Worker(self.name.clone(), task.run());
            let start = self.change(id, &by, &[Operation::Start], &self.document(), None).await;
            nap(0..100).await;
            if matches!(start, Told::Made(_) | Told::Found(_)) && random_bool(0.9) {
                let ends =
                    [Operation::Succeed, Operation::Succeed, Operation::Fail, Operation::Retry];
                let end = ends.choose(&mut rng()).copied();
                self.change(id, &by, end.as_slice(), &self.document(), None).await;
            }
        }
    }

    /// Queues again what is worked on for too long.
    async fn sweep(self) {
        let mut seen = HashMap::<(Uuid, Run), Time>::new();
        while !self.shared.is_over.get() {
            nap(0..10).await;
            let Some(id) = self.pick() else { continue };
            let Ok(Some(task)) = self.load(id).await else { continue };
            let since = *seen.entry((id, task.run())).or_insert_with(now);
            if task.status() == Status::Processing && now() - since > 1_000_000 {
                let by = Actor::Sweeper;
                let named = Some(task.revision());
                self.change(id, &by, &[Operation::Retry], &self.document(), named).await;
            }
        }
    }
}

fn digest(document: &Document) -> String {
    serde_json::to_string(document).expect("a document")
}

fn moment(task: &Task) -> Moment {
    let payload = |it: &Document| Payload { mark: it.message.clone(), digest: digest(it) };
    Moment {
        revision: task.revision(),
        run: task.run(),
        state: task.state(),
        payload: payload(task.payload()),
        previous: task.previous().map(|it| payload(it.payload)),
        beside: None,
    }
}

/// Every state of every task: nothing was compacted, so etcd still has them all. Who led there, and
/// from what, is what the callers intended.
async fn history(db: &Client, shared: &Shared) -> anyhow::Result<HashMap<String, Vec<Change>>> {
    let mut db = db.clone();
    db.put("task/end", "", None).await?;
    let options = WatchOptions::new().with_prefix().with_start_revision(1);
    let mut watch = db.watch("task/", Some(options)).await?;
    let mut history = HashMap::<String, Vec<Change>>::new();
    let intents = shared.intents.borrow();
    loop {
        for event in watch.message().await?.context("the watch has ended")?.events() {
            let kv = event.kv().context("an event of nothing")?;
            let id = kv.key_str()?.trim_start_matches("task/");
            if id == "end" {
                return Ok(history);
            }
            let task: Option<Task> = match event.event_type() {
                EventType::Put => Some(serde_json::from_slice(kv.value())?),
                EventType::Delete => None,
            };
            let changes = history.entry(id.to_owned()).or_default();
            let before = changes.last().and_then(|it| it.after.clone());
            let found = before.as_ref().map(|it| it.revision);
            let key = (id.parse()?, task.as_ref().map(|task| task.revision()));
            let intents = intents.get(&key).into_iter().flatten().filter(|it| it.task == task);
            // Reverts and deletes are equal, whoever made them.
            let intent = intents.max_by_key(|it| it.loaded == found);
            let (at, by, loaded, operations) = intent.map_or_else(
                || (0, Actor::Stranger, None, vec![]),
                |it| (it.at, it.by.clone(), it.loaded, it.operations.clone()),
            );
            let after = task.as_ref().map(moment);
            changes.push(Change { at, by, loaded, operations, before, after });
        }
    }
}
