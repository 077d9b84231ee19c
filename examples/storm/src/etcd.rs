//! The store in etcd on three nodes, with clients, workers and a sweeper in this process.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use etcd_client::{Client, EventType, WatchOptions};
use rand::seq::IndexedRandom;
use rand::{random_bool, random_range, rng};
use task_lifecycle::{Event, Operation, Revision, Run, Status};
use task_stores::settle::{Settled, settle};
use task_stores::{Document, Draft, Task, engines, etcd};
use tokio::task::JoinSet;
use uuid::Uuid;

use crate::audit::{Actor, Asked, Change, Moment, Payload, Time, Told};
use crate::storm::{LOST, Player, Storm, Target, calm, nap, now};

/// A connection to one node, and what all have in common.
#[derive(Clone)]
struct Caller {
    db: Client,
    storm: Rc<Storm>,
    /// The tasks that workers look at.
    ids: Rc<RefCell<Vec<Uuid>>>,
    /// Every commit that somebody sent to a task, without what it replaced.
    intents: Rc<RefCell<HashMap<Uuid, Vec<Change>>>>,
}

pub async fn run(storm: Rc<Storm>) -> Result<Option<HashMap<String, Vec<Change>>>> {
    let Some(mut engine) = engines::etcd() else { return Ok(None) };
    let (mut nodes, tasks) = (Vec::new(), Rc::<RefCell<_>>::default());
    let (ids, intents) = <(Rc<RefCell<Vec<_>>>, Rc<RefCell<HashMap<_, _>>>)>::default();
    for address in engine.address.split(',') {
        let db = etcd::open(address, Duration::from_secs(1)).await?;
        let (storm, ids, intents) = (storm.clone(), ids.clone(), intents.clone());
        nodes.push(Caller { db, storm, ids, intents });
    }
    storm.begin(&[LOST]);
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
        nap(300..1500).await;
        engine.nodes[leader].restart();
        storm.count("leaders killed", true);
        nap(200..1000).await;
        let node = &engine.nodes[random_range(0..3)];
        node.pause();
        nap(300..2000).await; // before and after the callers have run out of patience
        node.resume();
        storm.count("nodes paused", true);
    }
    players.join_all().await;
    let all: Vec<_> = intents.borrow().keys().copied().collect();
    ids.borrow_mut().clone_from(&all); // with those that were created late
    for id in all {
        let is_completed = |task: Option<Task>| task.is_none_or(|it| it.status().is_completed());
        calm(async || etcd::load(&nodes[0].db, id).await.is_ok_and(is_completed)).await;
    }
    others.shutdown().await;
    nodes[0].history().await.map(Some)
}

/// Waits for a leader.
async fn leader(nodes: &[Caller]) -> usize {
    loop {
        for (at, node) in nodes.iter().enumerate() {
            let status = node.db.maintenance_client().status().await;
            let is_own = |own: u64, status: &etcd_client::StatusResponse| own == status.leader();
            if status.is_ok_and(|it| it.header().is_some_and(|own| is_own(own.member_id(), &it))) {
                return at;
            }
        }
        nap(50..100).await;
    }
}

impl Target for Caller {
    const OTHER: Asked = Asked::Edit;

    async fn ask(
        &self,
        task: &mut String,
        request: &str,
        asked: Asked,
        named: Option<Revision>,
    ) -> Result<Told> {
        let by = Actor::Client(None);
        let id = task.parse().unwrap_or_else(|_| Uuid::new_v4());
        Ok(match asked {
            Asked::Create => {
                let new = Task::new(document(request));
                *task = id.to_string();
                self.ids.borrow_mut().push(id);
                self.intend(id, &by, None, &[], Some(&new));
                etcd::create(&self.db, id, &new).await?;
                Told::Made(Some(new.revision()))
            }
            Asked::Show => etcd::load(&self.db, id).await?.map_or(Told::Absent, |task| {
                Told::Shown(task.revision(), task.status(), digest(task.payload()))
            }),
            Asked::Step(Operation::Delete) => {
                let Some(task) = etcd::load(&self.db, id).await? else { return Ok(Told::Absent) };
                if named.is_some_and(|named| task.check_revision(named).is_err()) {
                    return Ok(Told::Stale);
                }
                if task.check(Operation::Delete).is_err() {
                    return Ok(Told::Refused(task.status()));
                }
                self.intend(id, &by, Some(task.revision()), &[Operation::Delete], None);
                let is_deleted = etcd::delete(&self.db, id, task.revision()).await?;
                if is_deleted { Told::Made(None) } else { Told::NotDone }
            }
            Asked::Step(step) => self.change(id, &by, Some(step), request, named).await,
            Asked::Edit | Asked::Stop => self.change(id, &by, None, request, named).await,
        })
    }
}

impl Caller {
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
        self.intents.borrow_mut().entry(id).or_default().push(change);
    }

    /// Decides and commits, until the outcome is known.
    async fn change(
        &self,
        id: Uuid,
        by: &Actor,
        step: Option<Operation>,
        request: &str,
        named: Option<Revision>,
    ) -> Told {
        let decide = |draft: &mut Draft| {
            let is_stale = match by {
                Actor::Worker(_, run) => draft.check_run(*run).is_err(),
                _ => named.is_some_and(|named| draft.check_revision(named).is_err()),
            };
            if is_stale {
                return Err(Told::Stale);
            }
            let status = draft.status();
            if step.is_none() || !matches!(by, Actor::Client(_)) {
                draft.edit(|it| *it = document(request));
            }
            if let Some(event) = step.and_then(|step| Event::new(step, document(request))) {
                draft.apply(event).map_err(|_| Told::Refused(status))?;
            }
            self.intend(id, by, Some(draft.loaded()), step.as_slice(), Some(&**draft));
            Ok(())
        };
        let commit = |draft: Draft| async move {
            let answer = etcd::commit(&self.db, id, &draft).await;
            self.storm.count(LOST, answer.is_err());
            answer
        };
        match settle(|| etcd::load(&self.db, id), decide, commit).await {
            Settled::Made(task) => Told::Made(Some(task.revision())),
            Settled::Refused(told) => told,
            Settled::Gone => Told::Absent,
            Settled::Unknown => Told::Unknown,
        }
    }

    /// A task, as it is soon no longer.
    async fn pick(&self) -> Option<(Uuid, Task)> {
        nap(0..20).await;
        let id = self.ids.borrow().choose(&mut rng()).copied()?;
        let Some(task) = etcd::load(&self.db, id).await.ok()? else {
            self.ids.borrow_mut().retain(|it| *it != id);
            return None;
        };
        nap(0..20).await;
        Some((id, task))
    }

    /// Takes runs and ends them, some so late that they are another's by then.
    async fn work(self, name: String) {
        loop {
            let Some((id, task)) = self.pick().await else { continue };
            if task.status() == Status::Starting {
                let by = Actor::Worker(name.clone(), task.run());
                let step = async |step: Operation| {
                    self.change(id, &by, Some(step), &self.storm.request(), None).await
                };
                let started = step(Operation::Start).await;
                nap(if random_bool(0.3) { 600..1800 } else { 0..50 }).await;
                if matches!(started, Told::Made(_)) {
                    let ends = [Operation::Succeed, Operation::Fail, Operation::Retry];
                    step(ends[random_range(0..5_usize).saturating_sub(2)]).await;
                }
            }
        }
    }

    /// Queues again what is worked on for too long.
    async fn sweep(self) {
        let mut seen = HashMap::<(Uuid, Run), Time>::new();
        loop {
            let Some((id, task)) = self.pick().await else { continue };
            let since = *seen.entry((id, task.run())).or_insert_with(now);
            if task.status() == Status::Processing && now() - since > 300_000 {
                let (step, named) = (Some(Operation::Retry), Some(task.revision()));
                self.change(id, &Actor::Sweeper, step, &self.storm.request(), named).await;
            }
        }
    }

    /// Every state of every task: nothing was compacted, so etcd still has them all. Who led there,
    /// and from what, is what somebody intended.
    async fn history(&self) -> Result<HashMap<String, Vec<Change>>> {
        let mut db = self.db.clone();
        db.put("task/end", "", None).await?;
        let options = WatchOptions::new().with_prefix().with_start_revision(1);
        let mut watch = db.watch("task/", Some(options)).await?;
        let mut history = HashMap::<String, Vec<Change>>::new();
        let intents = self.intents.take();
        loop {
            for event in watch.message().await?.context("the watch has ended")?.events() {
                let kv = event.kv().context("an event of nothing")?;
                let Ok(id) = kv.key_str()?.trim_start_matches("task/").parse::<Uuid>() else {
                    return Ok(history);
                };
                let after = match event.event_type() {
                    EventType::Put => Some(moment(&serde_json::from_slice(kv.value())?)),
                    EventType::Delete => None,
                };
                let changes = history.entry(id.to_string()).or_default();
                let before = changes.last().and_then(|it| it.after.clone());
                let found = before.as_ref().map(|it| it.revision);
                let intents = intents.get(&id).into_iter().flatten().filter(|it| it.after == after);
                // Reverts and deletes are equal, whoever made them.
                let intent = intents.min_by_key(|it| (it.loaded != found, it.at)).cloned();
                changes.push(Change { before, ..intent.context("nobody's change")? });
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
