use std::time::Instant;
use task_lifecycle::conformance;
use task_stores::engines::{self, Disk};
use task_stores::suite::*;
fn go<S: Store>() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let Some(engine) = engines::start(S::NAME, Disk::Memory) else { return };
    let address = engine.address.clone();
    runtime.block_on(prepare::<S>(&address));
    let t = Instant::now();
    let report =
        runtime.block_on(conformance::find_violation(async || S::open(&address).await.unwrap()));
    println!(
        "{} {:?} {}",
        S::NAME,
        t.elapsed(),
        match report {
            Ok(r) => format!("{r:?}"),
            Err(v) => panic!("{v}"),
        }
    );
}
async fn prepare<S: Store>(address: &str) {
    if S::NAME == "PostgreSQL" {
        let p = Postgres::open(address).await.unwrap();
        sqlx::raw_sql(task_stores::postgres::SCHEMA).execute(&p.db).await.unwrap();
    }
}
#[test]
fn sqlite() {
    go::<Sqlite>()
}
#[test]
fn postgres() {
    go::<Postgres>()
}
#[test]
fn etcd() {
    go::<Etcd>()
}
#[test]
fn redis() {
    go::<Redis>()
}
#[test]
fn s3() {
    go::<S3>()
}
