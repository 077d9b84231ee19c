//! The store in etcd on three nodes, with clients, workers and a sweeper in this process.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use etcd_client::{Client, EventType, GetOptions, Txn, TxnOp, WatchOptions};
use rand::seq::IndexedRandom;
use rand::{random_bool, random_range, rng};
use task_lifecycle::{Event, Operation, Revision, Run, Status};
use task_stores::settle::{Settled, settle};
use task_stores::{Document, Draft, Result, Task, engines, etcd};
use tokio::task::{JoinSet, spawn_local};
use uuid::Uuid;

use crate::audit::{Actor, Asked, Change, Moment, Payload, Time, Told};
use crate::storm::{Ask, Fault, LOST, Player, Storm, Target, calm, nap, now};

/// A connection to one node, and what all have in common.
#[derive(Clone)]
struct Caller {
    db: Client,
    storm: Rc<Storm>,
    tasks: Rc<RefCell<Vec<String>>>,
    /// Every commit that somebody sent, without what it replaced.
    intents: Rc<RefCell<HashMap<String, Vec<Change>>>>,
    is_over: Rc<Cell<bool>>,
}

pub async fn run(storm: Rc<Storm>) -> anyhow::Result<Option<HashMap<String, Vec<Change>>>> {
    let Some(mut engine) = engines::etcd() else { return Ok(None) };
    let mut nodes = Vec::new();
    let (tasks, intents, is_over) = <(Rc<RefCell<_>>, _, _)>::default();
    for address in engine.address.split(',') {
        let db = etcd::open(address, Duration::from_secs(1)).await?;
        let (storm, tasks) = (storm.clone(), tasks.clone());
        let (intents, is_over) = (Rc::clone(&intents), Rc::clone(&is_over));
        nodes.push(Caller { db, storm, tasks, intents, is_over });
    }
    storm.begin();
    let (mut players, mut others) = (JoinSet::new(), JoinSet::new());
    for nth in 0..12 {
        let (storm, target, tasks) = (storm.clone(), nodes[nth % 3].clone(), tasks.clone());
        let name = format!("client {nth}");
        players.spawn_local(Player { storm, target, name, tasks }.play());
        others.spawn_local(nodes[nth % 3].clone().work(format!("worker {nth}")));
    }
    for node in &nodes {
        others.spawn_local(node.clone().sweep());
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
    players.join_all().await;
    let (ids, calm) = (tasks.borrow().clone(), calm());
    for task in ids {
        let is_done = async || match nodes[0].load(task.parse()?).await? {
            Some(task) => Ok::<_, anyhow::Error>(task.status().is_completed()),
            None => Ok(true),
        };
        while !is_done().await.unwrap_or(false) && Instant::now() < calm {
            nap(50..100).await;
        }
    }
    is_over.set(true);
    others.join_all().await;
    nodes[0].history().await.map(Some)
}

/// Waits for a leader.
async fn leader(nodes: &[Caller]) -> usize {
    loop {
        for (at, node) in nodes.iter().enumerate() {
            let status = node.db.maintenance_client().status().await;
            if status.is_ok_and(|it| it.header().is_some_and(|own| own.member_id() == it.leader()))
            {
                return at;
            }
        }
        nap(50..100).await;
    }
}

impl Target for Caller {
    const STOPS: bool = false;

    async fn ask(&self, task: &mut String, ask: &Ask) -> anyhow::Result<Told> {
        let Ask { request, asked, named } = ask;
        let operations = match asked {
            Asked::Step(operation) => std::slice::from_ref(operation),
            _ => &[],
        };
        let by = Actor::Client(None);
        match asked {
            Asked::Create => {
                let (id, new) = (Uuid::new_v4(), Task::new(document(request)));
                *task = id.to_string();
                self.intend(id, &by, None, &[], Some(&new));
                let made = Told::Made(Some(new.revision()));
                let caller = self.clone();
                // Whoever asked may be gone by then: the others shall find it all the same.
                let creating = spawn_local(async move {
                    while etcd::create(&caller.db, id, &new).await.is_err() {}
                    caller.tasks.borrow_mut().push(id.to_string());
                });
                creating.await?;
                Ok(made)
            }
            Asked::Show => Ok(self.load(task.parse()?).await?.map_or(Told::Absent, |task| {
                Told::Shown(task.revision(), task.status(), digest(task.payload()))
            })),
            Asked::Step(Operation::Delete) => {
                let id = task.parse()?;
                let Some(task) = self.load(id).await? else { return Ok(Told::Absent) };
                if named.is_some_and(|named| task.check_revision(named).is_err()) {
                    return Ok(Told::Stale);
                }
                if task.check(Operation::Delete).is_err() {
                    return Ok(Told::Refused(task.status()));
                }
                self.intend(id, &by, Some(task.revision()), operations, None);
                let is_deleted = etcd::delete(&self.db, id, task.revision()).await?;
                Ok(if is_deleted { Told::Made(None) } else { Told::NotDone })
            }
            _ => Ok(self.change(task.parse()?, &by, operations, request, *named).await),
        }
    }
}

impl Caller {
    async fn load(&self, id: Uuid) -> Result<Option<Task>> {
        if !self.storm.is(Fault::StaleRead) {
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
        task: Option<&Task>,
    ) {
        let (at, by, operations) = (now(), by.clone(), operations.to_vec());
        let change = Change { at, by, loaded, operations, before: None, after: task.map(moment) };
        self.intents.borrow_mut().entry(id.to_string()).or_default().push(change);
    }

    /// Decides and commits, until the outcome is known.
    async fn change(
        &self,
        id: Uuid,
        by: &Actor,
        operations: &[Operation],
        request: &str,
        named: Option<Revision>,
    ) -> Told {
        let decide = |draft: &mut Draft| {
            let is_stale = match by {
                Actor::Worker(_, run) => {
                    draft.check_run(*run).is_err() && !self.storm.is(Fault::NoCheckRun)
                }
                _ => named.is_some_and(|named| draft.check_revision(named).is_err()),
            };
            if is_stale {
                return Err(Told::Stale);
            }
            let status = draft.status();
            if operations.is_empty() || !matches!(by, Actor::Client(_)) {
                draft.edit(|it| *it = document(request));
            }
            for event in operations.iter().filter_map(|it| Event::new(*it, document(request))) {
                draft.apply(event).map_err(|_| Told::Refused(status))?;
            }
            self.intend(id, by, Some(draft.loaded()), operations, Some(&**draft));
            Ok(())
        };
        let commit = |draft: Draft| async move {
            let answer = self.commit(id, &draft).await;
            self.storm.count(LOST, answer.is_err().into());
            answer
        };
        match settle(|| self.load(id), decide, commit).await {
            Settled::Made(task) => Told::Made(Some(task.revision())),
            Settled::Refused(told) => told,
            Settled::Gone => Told::Absent,
            Settled::Unknown => Told::Unknown,
        }
    }

    async fn commit(&self, id: Uuid, draft: &Draft) -> Result<bool> {
        let is_blind = self.storm.is(Fault::UnconditionalWrite);
        if !is_blind && !self.storm.is(Fault::CheckThenWrite) {
            return etcd::commit(&self.db, id, draft).await;
        }
        let found = etcd::load(&self.db, id).await?;
        if !is_blind && found.is_none_or(|found| found.revision() != draft.loaded()) {
            return Ok(false);
        }
        let values = [
            ("task", serde_json::to_string(&**draft)?),
            ("revision", draft.revision().to_string()),
        ];
        let puts = values.map(|(key, value)| TxnOp::put(format!("{key}/{id}"), value, None));
        self.db.kv_client().txn(Txn::new().and_then(puts)).await?;
        Ok(true)
    }

    /// A task, as it is soon no longer.
    async fn pick(&self) -> Option<(Uuid, Task)> {
        nap(0..20).await;
        let task = self.tasks.borrow().choose(&mut rng()).cloned()?;
        let id = task.parse().ok()?;
        let task = self.load(id).await.ok()??;
        nap(0..20).await;
        Some((id, task))
    }

    /// Takes runs and ends them, some so late that they are another's by then.
    async fn work(self, name: String) {
        while !self.is_over.get() {
            let Some((id, task)) = self.pick().await else { continue };
            if task.status() == Status::Starting {
                let (by, mark) = (Actor::Worker(name.clone(), task.run()), self.storm.request());
                let start = self.change(id, &by, &[Operation::Start], &mark, None).await;
                nap(if random_bool(0.3) { 600..1800 } else { 0..50 }).await;
                if matches!(start, Told::Made(_)) {
                    let ends = [Operation::Succeed, Operation::Fail, Operation::Retry];
                    let end = ends[random_range(0..5_usize).saturating_sub(2)];
                    self.change(id, &by, &[end], &self.storm.request(), None).await;
                }
            }
        }
    }

    /// Queues again what is worked on for too long.
    async fn sweep(self) {
        let mut seen = HashMap::<(Uuid, Run), Time>::new();
        while !self.is_over.get() {
            let Some((id, task)) = self.pick().await else { continue };
            let since = *seen.entry((id, task.run())).or_insert_with(now);
            if task.status() == Status::Processing && now() - since > 300_000 {
                let (revision, mark) = (Some(task.revision()), self.storm.request());
                self.change(id, &Actor::Sweeper, &[Operation::Retry], &mark, revision).await;
            }
        }
    }

    /// Every state of every task: nothing was compacted, so etcd still has them all. Who led there,
    /// and from what, is what somebody intended.
    async fn history(&self) -> anyhow::Result<HashMap<String, Vec<Change>>> {
        let mut db = self.db.clone();
        db.put("task/end", "", None).await?;
        let options = WatchOptions::new().with_prefix().with_start_revision(1);
        let mut watch = db.watch("task/", Some(options)).await?;
        let mut history = HashMap::<String, Vec<Change>>::new();
        let intents = self.intents.take();
        loop {
            for event in watch.message().await?.context("the watch has ended")?.events() {
                let kv = event.kv().context("an event of nothing")?;
                let id = kv.key_str()?.trim_start_matches("task/");
                if id == "end" {
                    return Ok(history);
                }
                let after = match event.event_type() {
                    EventType::Put => Some(moment(&serde_json::from_slice(kv.value())?)),
                    EventType::Delete => None,
                };
                let changes = history.entry(id.to_owned()).or_default();
                let before = changes.last().and_then(|it| it.after.clone());
                let found = before.as_ref().map(|it| it.revision);
                let intents = intents.get(id).into_iter().flatten().filter(|it| it.after == after);
                // Reverts and deletes are equal, whoever made them.
                let intent = intents.min_by_key(|it| (it.loaded != found, it.at)).cloned();
                let (at, by, loaded, operations) = (0, Actor::Stranger, None, vec![]);
                let nobodys = Change { at, by, loaded, operations, before: None, after };
                changes.push(Change { before, ..intent.unwrap_or(nobodys) });
            }
        }
    }
}

fn document(mark: &str) -> Document {
    let others = [("kept".to_owned(), mark.into())].into_iter().collect();
    Document { message: mark.to_owned(), output: Some(mark.to_owned()), others }
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
