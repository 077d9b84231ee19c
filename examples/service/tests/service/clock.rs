//! Leases, and the database's clock.

use std::time::Duration;

use crate::program::Process;
use crate::{LONG, Service, handle, worker};

/// A lease that ends further ahead than it is long is over, and a message that is hidden for longer
/// than any is due: the clock was set back since.
#[tokio::test]
async fn clock_set_back() {
    for service in Service::everywhere().await {
        let key = service.create("one").await;
        let worker = worker(service.leasing(Duration::from_mins(1)), "one");
        service.receive().await;
        assert!(service.store.receive().await.unwrap().is_none());
        service.sql("UPDATE tasks SET due_at = due_at + 3600000000").await.unwrap();
        worker.start(&service.receive().await).await.unwrap().unwrap();
        worker.sweep().await.unwrap();
        assert_eq!(service.status(&key).await, "Processing");
        service.sql("UPDATE tasks SET lease_until = lease_until + 3600000000").await.unwrap();
        worker.sweep().await.unwrap();
        assert_eq!(service.status(&key).await, "Starting");
        handle(&worker, &service.receive().await).await;
        assert_eq!(service.status(&key).await, "Succeeded");
    }
}

/// A lease lasts as long as it was taken for, by whoever looks.
#[tokio::test]
async fn lease_of_another_length() {
    for service in Service::everywhere().await {
        let key = service.create("one").await;
        service.worker("long").start(&service.receive().await).await.unwrap();
        worker(service.leasing(Duration::from_secs(1)), "short").sweep().await.unwrap();
        assert_eq!(service.status(&key).await, "Processing");
        let left = "SELECT (lease_until - now) / 1000000 FROM tasks, clock";
        assert!(service.number(left).await.unwrap() > LONG.as_secs().cast_signed() / 2);
    }
}

/// A worker whose clock is slow keeps its runs, and one whose clock is fast takes nobody's.
#[tokio::test]
async fn clocks_disagreed() {
    let Some(postgres) = crate::postgres::Postgres::shared() else { return };
    if !Process::can_shift_clocks() {
        return crate::postgres::skipped("libfaketime is not installed (Debian: faketime)");
    }
    let service = Service::on(Some(postgres)).await;
    let key = service.create("one").await;
    let slow = ["--lease-seconds", "60", "--work-millis", "3000"];
    let _slow = Process::start(&service.database, &slow, &[], Some("-1h"));
    while service.status(&key).await != "Processing" {}
    let _fast = Process::start(&service.database, &["--lease-seconds", "60"], &[], Some("+1h"));
    while service.status(&key).await == "Processing" {}
    assert_eq!(service.operations(&key).await, ["create", "edit, start", "edit, succeed"]);
}
