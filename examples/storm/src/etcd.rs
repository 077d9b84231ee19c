//! The store in etcd on three nodes, and callers who do with its tasks whatever they accept.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use etcd_client::{Client, EventType, StatusResponse, WatchOptions};
use task_lifecycle::{Event, Operation, Revision};
use task_stores::engines::Engine;
use task_stores::settle::{Settled, settle};
use task_stores::{Document, Draft, Task, etcd};
use uuid::Uuid;

use crate::audit::{Actor, Answer, Asked, Change, Moment, Payload, Told};
use crate::storm::{LOST, Player, Storm, Target, nap, now};

/// A connection to one node.
#[derive(Clone)]
struct Caller {
    db: Client,
    storm: Rc<Storm>,
    /// Every commit that somebody sent to a task, without what it replaced.
    intents: Rc<RefCell<HashMap<Uuid, Vec<Change>>>>,
}

pub async fn run(storm: Rc<Storm>, mut engine: Engine) -> Result<HashMap<String, Vec<Change>>> {
    let (mut nodes, mut players, tasks) =
        (Vec::new(), tokio::task::JoinSet::new(), Rc::<RefCell<_>>::default());
    let intents = Rc::<RefCell<HashMap<Uuid, Vec<_>>>>::default();
    for address in engine.address.split(',') {
        let db = etcd::open(address, Duration::from_secs(1)).await?;
        nodes.push(Caller { db, storm: storm.clone(), intents: intents.clone() });
    }
    storm.begin(&[LOST, "leaders killed"]);
    for nth in 0..20 {
        let (storm, target, tasks) = (storm.clone(), nodes[nth % 3].clone(), tasks.clone());
        let player = Player { storm, target, name: format!("caller {nth}"), tasks };
        players.spawn_local(player.play());
    }
    for at in (0..3).cycle().take_while(|_| !storm.is_over()) {
        nap(200..1000).await;
        let status = nodes[at].db.maintenance_client().status().await;
        let is_leader =
            |it: StatusResponse| it.header().is_some_and(|own| own.member_id() == it.leader());
        engine.nodes[at].kill();
        storm.count("leaders killed", status.is_ok_and(is_leader));
        nap(300..1500).await;
        engine.nodes[at].restart();
        nap(200..1000).await;
        let node = &engine.nodes[rand::random_range(0..3)];
        node.pause();
        nap(300..2000).await; // before and after the callers have run out of patience
        node.resume();
        storm.count("nodes paused", true);
    }
    players.join_all().await;
    nodes[0].history().await
}

impl Target for Caller {
    const STEPS: &[Operation] = {
        use Operation::{Cancel, Delete, Retry, Start, Succeed, Update};
        // No `Fail`: what it reverts looks as if it were cancelled.
        &[Start, Start, Start, Cancel, Retry, Succeed, Update, Update, Update, Update, Delete]
    };
    const OTHER: Asked = Asked::Show;

    async fn ask(&self, task: &mut String, ask: &Answer) -> Result<Told> {
        let id = task.parse().unwrap_or_else(|_| Uuid::new_v4());
        Ok(match ask.asked {
            Asked::Create => {
                let new = Task::new(document(ask));
                *task = id.to_string();
                self.intend(id, None, ask, Some(&new));
                etcd::create(&self.db, id, &new).await?;
                Told::Made(Some(new.revision()))
            }
            Asked::Step(Operation::Delete) => {
                let Some(task) = etcd::load(&self.db, id).await? else { return Ok(Told::Absent) };
                if ask.named.is_some_and(|named| task.check_revision(named).is_err()) {
                    return Ok(Told::Stale);
                }
                if task.check(Operation::Delete).is_err() {
                    return Ok(Told::Refused(task.status()));
                }
                self.intend(id, Some(task.revision()), ask, None);
                let is_deleted = etcd::delete(&self.db, id, task.revision()).await?;
                if is_deleted { Told::Made(None) } else { Told::NotDone }
            }
            Asked::Step(step) => self.change(id, ask, step).await,
            Asked::Show | Asked::Stop => match etcd::load(&self.db, id).await? {
                Some(it) => Told::Shown(it.revision(), it.status(), format!("{:?}", it.payload())),
                None => Told::Absent,
            },
        })
    }
}

impl Caller {
    fn intend(&self, id: Uuid, loaded: Option<Revision>, ask: &Answer, task: Option<&Task>) {
        let operations = if let Asked::Step(step) = ask.asked { vec![step] } else { vec![] };
        let (at, by, before) = (now(), Actor::Client(None), None);
        let change = Change { at, by, loaded, operations, before, after: task.map(moment) };
        self.intents.borrow_mut().entry(id).or_default().push(change);
    }

    /// Decides and commits, until the outcome is known.
    async fn change(&self, id: Uuid, ask: &Answer, step: Operation) -> Told {
        let decide = |draft: &mut Draft| {
            if ask.named.is_some_and(|named| draft.check_revision(named).is_err()) {
                return Err(Told::Stale);
            }
            let status = draft.status();
            let event = Event::new(step, document(ask)).expect("it is no delete");
            draft.apply(event).map_err(|_| Told::Refused(status))?;
            if step != Operation::Cancel {
                draft.edit(|it| *it = document(ask));
            }
            self.intend(id, Some(draft.loaded()), ask, Some(&**draft));
            Ok(())
        };
        let commit = |draft: Draft| async move {
            let answer = etcd::commit(&self.db, id, &draft).await.ok();
            let answer = answer.filter(|_| rand::random_bool(0.95)); // some are lost on their way
            self.storm.count(LOST, answer.is_none());
            answer.ok_or(())
        };
        let load = async || etcd::load(&self.db, id).await.map_err(drop);
        match settle(load, decide, commit).await {
            Settled::Made(task) => Told::Made(Some(task.revision())),
            Settled::Refused(told) => told,
            Settled::Gone => Told::Absent,
            Settled::Unknown => Told::Unknown,
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
                let found = before.as_ref().map(|it| it.task.revision());
                let intents = intents.get(&id).into_iter().flatten().filter(|it| it.after == after);
                // Reverts and deletes are equal, whoever made them.
                let intent = intents.min_by_key(|it| (it.loaded != found, it.at)).cloned();
                let (at, by, operations) = (0, Actor::Stranger, vec![]);
                let nobodys = Change { at, by, loaded: None, operations, before: None, after };
                changes.push(Change { before, ..intent.unwrap_or(nobodys) });
            }
        }
    }
}

fn document(ask: &Answer) -> Document {
    let others = [("kept".to_owned(), ask.client.clone().into())].into_iter().collect();
    Document { message: ask.request.clone(), output: None, others }
}

fn moment(task: &Task) -> Moment {
    let payload = |it: Document| Payload { digest: format!("{it:?}"), mark: it.message };
    Moment { task: task.clone().map(payload), beside: None }
}
