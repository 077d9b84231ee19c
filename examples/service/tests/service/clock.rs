//! Leases, and the database's clock.

use std::time::Duration;

use task_service::store::SqlStore;

use crate::postgres::{Postgres, skipped};
use crate::program::Process;
use crate::{Service, worker};

everywhere! { clock_set_back }

/// A lease that ends further ahead than it is long is over, and a message that is hidden for longer
/// than any is due: the clock was set back since. A lease lasts as long as it was taken for, though.
async fn clock_set_back(service: Service) {
    let key = service.create("one").await;
    let short = SqlStore { lease: Duration::from_secs(1), ..service.store.clone() };
    service.receive().await;
    assert!(service.store.receive().await.unwrap().is_none());
    service.sql("UPDATE tasks SET due_at = due_at + 3600000000").await.unwrap();
    service.worker("long").start(&service.receive().await).await.unwrap().unwrap();
    let other = worker(short, "short");
    other.sweep().await;
    assert_eq!(service.status(&key).await, "Processing");
    service.sql("UPDATE tasks SET lease_until = lease_until + 3600000000").await.unwrap();
    other.sweep().await;
    assert_eq!(service.status(&key).await, "Starting");
    service.work().await;
    assert_eq!(service.status(&key).await, "Succeeded");
}

/// A worker whose clock is slow keeps its runs, and one whose clock is fast takes nobody's.
#[tokio::test]
async fn clocks_disagreed() {
    let Some(postgres) = Postgres::shared() else { return };
    if !Process::can_shift_clocks() {
        return skipped("libfaketime is not installed (Debian: faketime)");
    }
    let service = Service::on(Some(postgres)).await;
    let key = service.create("one").await;
    let slow = ["--lease-seconds", "60", "--work-millis", "3000"];
    let _slow = Process::start(&service.database, &slow, Some("-1h"));
    while service.status(&key).await != "Processing" {}
    let _fast = Process::start(&service.database, &slow, Some("+1h"));
    while service.status(&key).await == "Processing" {}
    assert_eq!(service.operations(&key).await, ["create", "edit, start", "edit, succeed"]);
}
