//! Each store passes the conformance suite.

use task_lifecycle_conformance::{check, check_blocking, check_threads};
use task_stores::s3;
use tokio::runtime::Runtime;

use crate::harness::{Open, S3, Sqlite, on_each};

#[test]
fn sqlite() {
    let Some(engine) = Sqlite::start() else { return };
    let runtime = Runtime::new().unwrap();
    check_blocking(|| runtime.block_on(Sqlite::open(&engine.address)).unwrap());
}

fn conforms<S: Open + Send>() {
    let Some(engine) = S::start() else { return };
    let runtime = Runtime::new().unwrap();
    runtime.block_on(check(async || S::open(&engine.address).await.unwrap()));
    let open = || runtime.block_on(S::open(&engine.address)).unwrap();
    check_threads(open, |call| runtime.block_on(call));
}

on_each!(conforms: postgres Postgres etcd Etcd redis Redis s3 S3);

#[tokio::test]
async fn a_missing_bucket_is_no_empty_one() {
    let Some(engine) = S3::start() else { return };
    assert!(s3::open(&engine.address, "missing", "key", "secret").await.is_err());
}
