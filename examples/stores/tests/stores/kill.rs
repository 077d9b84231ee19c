//! Engines are killed in the middle of commits, all of their nodes at once, and started again:
//! nothing that was acknowledged is lost, and nothing else is there. (It is SIGKILL: the system
//! still writes what it was given. What survives a power loss is the engine's promise.)

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use task_stores::engines::{Engine, Node};
use task_stores::{Draft, Task};
use tokio::task::JoinSet;
use tokio::time::timeout;
use uuid::Uuid;

use crate::harness::{Open, document, on_each, run};

/// Commits edits without end, each with the number of its revision.
async fn edit<S: Open>(store: S, id: Uuid, acknowledged: Rc<Cell<u64>>) {
    loop {
        let mut draft = Draft::new(store.load(&id).await.unwrap().unwrap());
        let next = draft.revision().get() + 1;
        draft.edit(|it| it.message = next.to_string());
        assert!(store.commit(&id, &draft).await.unwrap(), "nobody else commits");
        acknowledged.set(next);
    }
}

/// Starts the nodes again, and waits until each of them answers.
async fn restart<S: Open>(engine: &mut Engine, id: Uuid) {
    for address in engine.address.clone().split(',') {
        let load = async || S::open(address).await.ok()?.load(&id).await.ok();
        while timeout(Duration::from_secs(5), load()).await.ok().flatten().is_none() {
            // PostgreSQL does not start before the last of its old processes is gone.
            let ended = engine.nodes.iter_mut().filter_map(|it| (!it.is_running()).then_some(it));
            ended.for_each(Node::restart);
        }
    }
}

async fn survives<S: Open + 'static>() {
    let Some(mut engine) = S::start() else { return };
    let store = S::open(&engine.address).await.unwrap();
    let mut clients = Vec::<(Uuid, Rc<Cell<u64>>)>::new();
    for _ in 0..4 {
        let id = store.create(&Task::new(document("0"))).await.unwrap();
        clients.push((id, Rc::default()));
    }
    for round in 0..3 {
        let goals: Vec<_> =
            clients.iter().map(|(_, acknowledged)| acknowledged.get() + 20).collect();
        let mut edits = JoinSet::new();
        for (id, acknowledged) in &clients {
            let own = S::open(&engine.address).await.unwrap();
            edits.spawn_local(edit(own, *id, Rc::clone(acknowledged)));
        }
        while clients.iter().zip(&goals).any(|((_, at), goal)| at.get() < *goal) {
            let failed = timeout(Duration::from_millis(10), edits.join_next()).await;
            assert!(failed.is_err(), "{failed:?}");
        }
        engine.nodes.iter_mut().for_each(Node::kill);
        drop(edits);
        restart::<S>(&mut engine, clients[0].0).await;
        let store = S::open(&engine.address).await.unwrap();
        for (id, acknowledged) in &clients {
            let task = store.load(id).await.unwrap().unwrap();
            let unanswered = task.revision().get().wrapping_sub(acknowledged.get());
            assert!(unanswered <= 1, "round {round}: {acknowledged:?} was acknowledged: {task:?}");
            assert_eq!(task.payload().message, task.revision().to_string());
            acknowledged.set(task.revision().get());
        }
    }
}

fn keeps_what_it_acknowledged<S: Open + 'static>() {
    run(survives::<S>());
}

on_each!(keeps_what_it_acknowledged: postgres Postgres etcd Etcd redis Redis);
