//! Engines are killed in the middle of commits, all of their processes at once, and started again:
//! nothing that was acknowledged is lost, and nothing else is there. (It is SIGKILL: the system
//! still writes what it was given. What survives a power loss is the engine's promise.)

use std::time::{Duration, Instant};

use task_stores::engines::{self, Disk, Engine, Process};
use task_stores::suite::{Etcd, Postgres, Redis, Store};
use task_stores::{Task, postgres};
use tokio::time::{sleep, timeout};
use uuid::Uuid;

const CLIENTS: usize = 4;

/// Commits edits, each with the number of its revision, until there is no answer. Returns the last
/// revision that was acknowledged.
async fn edit<S: Store>(store: S, id: Uuid, mut task: Task) -> u64 {
    loop {
        let loaded = task.revision();
        task.edit(|it| it.message = (loaded + 1).to_string());
        match store.commit(&id, loaded, &task).await {
            Ok(true) => {}
            Ok(false) => panic!("nobody else commits"),
            Err(_) => return loaded,
        }
    }
}

/// A store that answers, on engines that may still be starting.
async fn again<S: Store>(engine: &mut Engine, id: Uuid) -> S {
    let end = Instant::now() + Duration::from_mins(1);
    loop {
        // PostgreSQL does not start before the last of the old processes has noticed.
        for process in &mut engine.processes {
            if !process.is_running() {
                process.start_again();
            }
        }
        let open = async { S::open(&engine.address).await.ok() };
        if let Ok(Some(store)) = timeout(Duration::from_secs(5), open).await
            && let Ok(Ok(_)) = timeout(Duration::from_secs(5), store.load(&id)).await
        {
            return store;
        }
        assert!(Instant::now() < end, "{} does not start again", S::NAME);
        sleep(Duration::from_millis(50)).await;
    }
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
        let local = tokio::task::LocalSet::new();
        let mut clients = Vec::new();
        for &id in &ids {
            let task = store.load(&id).await.unwrap().unwrap();
            let handle = store.another().await.unwrap();
            clients.push((id, task.revision(), local.spawn_local(edit(handle, id, task))));
        }
        let ends = local.run_until(async {
            sleep(Duration::from_millis(500)).await;
            engine.processes.iter_mut().for_each(Process::kill);
            let mut ends = Vec::new();
            for (id, began, client) in clients {
                ends.push((id, began, client.await.unwrap()));
            }
            ends
        });
        let ends = ends.await;
        store = again::<S>(&mut engine, ids[0]).await;
        for (id, began, acknowledged) in ends {
            assert!(acknowledged > began, "round {round}: {began} to {acknowledged}");
            let task = store.load(&id).await.unwrap().unwrap();
            let ahead = task.revision().wrapping_sub(acknowledged);
            assert!(ahead <= 1, "round {round}: {acknowledged} was acknowledged: {task:?}");
            assert_eq!(task.payload().message, task.revision().to_string());
        }
    }
}

#[tokio::test]
async fn postgresql_keeps_what_it_acknowledged() {
    survives::<Postgres>().await;
}

#[tokio::test]
async fn etcd_keeps_what_it_acknowledged() {
    survives::<Etcd>().await;
}

#[tokio::test]
async fn redis_keeps_what_it_acknowledged() {
    survives::<Redis>().await;
}
