//! Full disks, failed writes and read-only databases: whatever was acknowledged is stored, and the
//! service recovers as soon as it can.

use std::collections::HashMap;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use sqlx::{AssertSqlSafe, Connection as _};
use tempfile::TempDir;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};
use uuid::Uuid;

use crate::testing::client::Client;
use crate::testing::postgres::Postgres;
use crate::testing::process::Process;
use crate::testing::skipped;
use crate::{PROGRAM, Service, alice};

/// A disk of its own, in memory.
struct Disk(TempDir);

impl Disk {
    /// `None`, with a message, if this process may not mount one.
    fn new(size: &str) -> Option<Self> {
        let disk = Self(TempDir::new().unwrap());
        if !disk.mount(&["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs"]) {
            skipped("a full disk: none can be mounted here");
            return None;
        }
        Some(disk)
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn mount(&self, arguments: &[&str]) -> bool {
        let output = Command::new("mount").args(arguments).arg(self.path()).output();
        output.is_ok_and(|output| output.status.success())
    }

    fn enlarge(&self) {
        assert!(self.mount(&["-o", "remount,size=100m"]));
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        _ = Command::new("umount").arg("--lazy").arg(self.path()).status();
    }
}

/// A document of about so many bytes that hardly compresses.
fn document(bytes: usize) -> String {
    (0..bytes / 32).map(|_| Uuid::new_v4().simple().to_string()).collect()
}

/// Creates tasks until two are refused, with requests in between whose client goes away. Returns the
/// ids of the acknowledged tasks.
async fn fill(client: Client, bytes: usize) -> Vec<String> {
    let (mut acknowledged, mut refused) = (Vec::new(), 0);
    while refused < 2 {
        let text = document(bytes);
        _ = timeout(Duration::from_millis(3), client.create(&text, 1)).await;
        let answer = client.create(&text, 1).await.unwrap();
        match answer.code {
            200 => acknowledged.push(answer.id()),
            500 | 503 => refused += 1,
            _ => panic!("{answer:?}"),
        }
        assert!(acknowledged.len() < 1000, "the disk is never full");
    }
    acknowledged
}

/// The status of each task that has its file, as another program reads it.
async fn stored(service: &Service) -> HashMap<String, String> {
    let mut database = service.connect().await;
    let tasks = "SELECT task_id, status FROM tasks JOIN files USING (task_id)";
    sqlx::query_as(tasks).fetch_all(&mut database).await.unwrap().into_iter().collect()
}

/// Fills a disk, makes room again, and looks for everything that was acknowledged.
async fn nothing_is_lost(
    service: &Service,
    server: &Process,
    clients: usize,
    bytes: usize,
    give_room: impl Fn(),
) {
    let mut filling = JoinSet::new();
    for _ in 0..clients {
        filling.spawn(fill(alice(server), bytes));
    }
    let mut acknowledged = filling.join_all().await.concat();
    let client = alice(server);
    let mut cancelled = Vec::new();
    for id in acknowledged.iter().take(1) {
        if client.cancel(id).await.unwrap().code == 200 {
            cancelled.push(id.clone());
        }
    }
    let _worker = service.worker("0"); // in vain, for now
    sleep(Duration::from_millis(500)).await;

    give_room();
    for _ in 0..10 {
        let answer = client.create(&document(bytes), 1).await.unwrap();
        assert_eq!(answer.code, 200, "{answer:?}");
        acknowledged.push(answer.id());
    }
    let limit = Instant::now() + Duration::from_mins(1);
    loop {
        let stored = stored(service).await;
        for id in &acknowledged {
            let status = stored.get(id).unwrap_or_else(|| panic!("lost: {id}"));
            assert_eq!(status == "Cancelled", cancelled.contains(id), "{id}: {status}");
        }
        if stored.values().all(|status| status == "Succeeded" || status == "Cancelled") {
            break;
        }
        assert!(Instant::now() < limit, "{stored:?}");
        sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test]
async fn full_disk_lost_creates() {
    // On the larger disk there is a checkpoint of the write-ahead log, which fails as well.
    for (size, clients, bytes) in [("2m", 8, 20_000), ("7m", 8, 100_000)] {
        let Some(disk) = Disk::new(size) else { return };
        let database = format!("sqlite://{}/tasks.db", disk.path().display());
        let service = Service { database, ..Service::new() };
        let server = service.server();
        nothing_is_lost(&service, &server, clients, bytes, || disk.enlarge()).await;
    }

    let Some(postgres) = Postgres::start() else { return };
    let Some(disk) = Disk::new("13m") else { return };
    let chown = Command::new("chown").arg("postgres").arg(disk.path()).status();
    assert!(chown.unwrap().success());
    let main = postgres.database("main");
    let mut database = sqlx::PgConnection::connect(&main).await.unwrap();
    let location = disk.path().display();
    for statement in [
        &format!("CREATE TABLESPACE small LOCATION '{location}'"),
        "CREATE DATABASE tasks TABLESPACE small",
    ] {
        sqlx::raw_sql(AssertSqlSafe(statement)).execute(&mut database).await.unwrap();
    }
    let database = main.replace("/main", "/tasks");
    let service = Service { _postgres: Some(postgres), database, ..Service::new() };
    let server = service.server();
    nothing_is_lost(&service, &server, 8, 100_000, || disk.enlarge()).await;
}

/// A file that may not grow, so that writes fail with an I/O error.
#[tokio::test]
async fn failed_write_lost_creates() {
    let service = Service::new();
    let limited = "trap '' XFSZ; exec prlimit --fsize=1500000:unlimited \"$@\"";
    let server = Process::start(
        "sh",
        &[
            &["-c", limited, "sh", PROGRAM, "--workers", "0", "--listen", "127.0.0.1:0"][..],
            &["--database", &service.database, "--api-key", "a=alice"],
        ]
        .concat(),
    );
    nothing_is_lost(&service, &server, 8, 20_000, || {
        let lift = format!("prlimit --pid {} --fsize=unlimited", server.id());
        assert!(Command::new("sh").args(["-c", &lift]).status().unwrap().success());
    })
    .await;
}

/// Reads go on, no change is acknowledged, and changes work again later.
#[tokio::test]
async fn read_only_change_answered_200() {
    for service in Service::everywhere() {
        let writable = service.server();
        let id = alice(&writable).create("one", 1).await.unwrap().id();
        let mut postgres = sqlx::PgConnection::connect(&service.database).await.ok();
        let arguments = ["--workers", "0", "--listen", "127.0.0.1:0", "--api-key", "a=alice"];
        let database = format!("{}?mode=ro", service.database);
        let server = if let Some(postgres) = &mut postgres {
            for set in ["ALTER SYSTEM SET default_transaction_read_only = on", RELOAD] {
                sqlx::raw_sql(set).execute(&mut *postgres).await.unwrap();
            }
            sleep(Duration::from_millis(500)).await;
            writable
        } else {
            Process::start(PROGRAM, &[&arguments[..], &["--database", &database]].concat())
        };
        let client = alice(&server);
        for answer in [client.create("two", 1).await, client.cancel(&id).await] {
            assert_eq!(answer.unwrap().code, 503);
        }
        assert_eq!(client.get(&id).await.unwrap().status(), "Starting");
        assert_eq!(stored(&service).await.len(), 1);

        let server = if let Some(postgres) = &mut postgres {
            for set in [
                "SET default_transaction_read_only = off",
                "ALTER SYSTEM RESET default_transaction_read_only",
                RELOAD,
            ] {
                sqlx::raw_sql(set).execute(&mut *postgres).await.unwrap();
            }
            sleep(Duration::from_millis(500)).await;
            server
        } else {
            service.server()
        };
        assert_eq!(alice(&server).cancel(&id).await.unwrap().code, 200);
    }
}

const RELOAD: &str = "SELECT pg_reload_conf()";
