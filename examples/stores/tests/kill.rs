//! Engines are killed in the middle of commits, all of their processes at once, and started again:
//! nothing that was acknowledged is lost, and nothing else is there. (It is SIGKILL: the system
//! still writes what it was given. What survives a power loss is the engine's promise.)

use std::cell::Cell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use task_stores::engines::{self, Disk, Engine, Process};
use task_stores::suite::{Etcd, Postgres, Redis, Store};
use task_stores::{Task, postgres};
use tokio::runtime::Runtime;
use tokio::task::{JoinHandle, LocalSet};
use tokio::time::{sleep, timeout};
use uuid::Uuid;

const CLIENTS: usize = 4;

/// A client that commits edits, each with the number of its revision, until there is no answer.
struct Client {
    id: Uuid,
    began: u64,
    /// The last revision that was acknowledged.
    acknowledged: Rc<Cell<u64>>,
    edits: JoinHandle<()>,
}

impl Client {
    async fn start<S: Store + 'static>(store: &S, id: Uuid) -> Self {
        let mut task = store.load(&id).await.unwrap().unwrap();
        let (began, store) = (task.revision(), store.another().await.unwrap());
        let acknowledged = Rc::new(Cell::new(began));
        let last = Rc::clone(&acknowledged);
        let edits = tokio::task::spawn_local(async move {
            loop {
                let loaded = task.revision();
                task.edit(|it| it.message = (loaded + 1).to_string());
                match store.commit(&id, loaded, &task).await {
                    Ok(true) => last.set(task.revision()),
                    Ok(false) => panic!("nobody else commits"),
                    Err(_) => return,
                }
            }
        });
        Self { id, began, acknowledged, edits }
    }
}

/// A store on engines that all answer again.
async fn again<S: Store>(engine: &mut Engine, id: Uuid) -> S {
    let end = Instant::now() + Duration::from_mins(1);
    let addresses: Vec<_> = engine.address.split(',').map(str::to_owned).collect();
    for address in &addresses {
        loop {
            // PostgreSQL does not start before the last of its old processes is gone.
            for process in &mut engine.processes {
                if !process.is_running() {
                    process.start_again();
                }
            }
            let load = async { S::open(address).await.ok()?.load(&id).await.ok()? };
            if let Ok(Some(_)) = timeout(Duration::from_secs(1), load).await {
                break;
            }
            assert!(Instant::now() < end, "{} does not start again", S::NAME);
            sleep(Duration::from_millis(50)).await;
        }
    }
    S::open(&engine.address).await.unwrap()
}

async fn survives<S: Store + 'static>() {
    let Some(mut engine) = engines::start(S::NAME, Disk::Memory) else { return };
    if S::NAME == Postgres::NAME {
        let store = Postgres::open(&engine.address).await.unwrap();
        sqlx::raw_sql(postgres::SCHEMA).execute(&store.db).await.unwrap();
    }
    let mut store = S::open(&engine.address).await.unwrap();
    let mut ids = Vec::new();
    for _ in 0..CLIENTS {
        ids.push(store.create(&Task::new(S::payload("0"))).await.unwrap());
    }
    for round in 0..3 {
        let mut clients = Vec::new();
        for &id in &ids {
            clients.push(Client::start(&store, id).await);
        }
        sleep(Duration::from_millis(300)).await;
        let is_at_work = |it: &Client| it.acknowledged.get() > it.began || it.edits.is_finished();
        while !clients.iter().all(is_at_work) {
            sleep(Duration::from_millis(10)).await;
        }
        engine.processes.iter_mut().for_each(Process::kill);
        for client in &mut clients {
            (&mut client.edits).await.unwrap();
        }
        store = again::<S>(&mut engine, ids[0]).await;
        for Client { id, began, acknowledged, .. } in clients {
            let acknowledged = acknowledged.get();
            assert!(acknowledged > began, "round {round}: no answer before the kill");
            let task = store.load(&id).await.unwrap().unwrap();
            let ahead = task.revision().wrapping_sub(acknowledged);
            assert!(ahead <= 1, "round {round}: {acknowledged} was acknowledged: {task:?}");
            assert_eq!(task.payload().message, task.revision().to_string());
        }
    }
}

fn alone(test: impl Future<Output = ()>) {
    LocalSet::new().block_on(&Runtime::new().unwrap(), test);
}

#[test]
fn postgresql_keeps_what_it_acknowledged() {
    alone(survives::<Postgres>());
}

#[test]
fn etcd_keeps_what_it_acknowledged() {
    alone(survives::<Etcd>());
}

#[test]
fn redis_keeps_what_it_acknowledged() {
    alone(survives::<Redis>());
}
