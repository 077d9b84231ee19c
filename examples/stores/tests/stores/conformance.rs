//! Each store passes the conformance suite.

use task_lifecycle::Revision;
use task_lifecycle_conformance::{check, check_blocking, check_threads};
use task_stores::{Task, s3};
use tokio::runtime::Runtime;
use uuid::Uuid;

use crate::harness::{Open, S3, Sqlite, document, on_each};

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
async fn s3_takes_no_id_twice_and_no_missing_bucket() {
    let Some(engine) = S3::start() else { return };
    let db = S3::open(&engine.address).await.unwrap().db;
    let (id, task) = (Uuid::new_v4(), Task::new(document("text")));
    assert!(s3::create(&db, id, &task).await.unwrap());
    assert!(s3::delete(&db, id, Revision::new(0)).await.unwrap());
    assert!(!s3::create(&db, id, &task).await.unwrap());
    assert!(!s3::delete(&db, id, Revision::new(0)).await.unwrap());
    assert_eq!(s3::load(&db, id).await.unwrap(), None);
    assert!(s3::open(&engine.address, "missing", "key", "secret").await.is_err());
}
