//! Each store passes the conformance suite on two handles, with overlapping calls and with threads, and
//! stores both counters to their maximum.

use std::env;
use std::process::Command;
use std::sync::Arc;

use task_lifecycle::{Snapshot, State, conformance};
use task_stores::engines::{self, Disk};
use task_stores::suite::{Etcd, Postgres, Redis, S3, Sqlite, Store};
use task_stores::{Document, Error, Result, Task, postgres, s3};
use tokio::runtime::Runtime;
use uuid::Uuid;

#[test]
fn sqlite() {
    if !in_a_process_of_its_own("sqlite", 256) {
        return;
    }
    let engine = engines::start(Sqlite::NAME, Disk::Memory).unwrap();
    let runtime = Runtime::new().unwrap();
    let open = || runtime.block_on(Sqlite::open(&engine.address)).unwrap();
    let report = conformance::find_violation_blocking(open);
    let report = report.unwrap_or_else(|violation| panic!("{violation}"));
    assert!(report.handles == 2 && report.overlapped > 100, "{report:?}");
    runtime.block_on(counts(&open()));
}

#[test]
fn postgres() {
    conforms::<Postgres>("postgres", 128);
}

#[test]
fn etcd() {
    conforms::<Etcd>("etcd", 64);
}

#[test]
fn redis() {
    conforms::<Redis>("redis", 256);
}

#[test]
fn s3() {
    conforms::<S3>("s3", 32);
}

/// The id of a deleted task stays taken, and a bucket that is missing is not an empty one.
#[tokio::test]
async fn s3_takes_no_id_twice() {
    let Some(engine) = engines::start(S3::NAME, Disk::Memory) else { return };
    let db = S3::open(&engine.address).await.unwrap().db;
    let (id, task) = (Uuid::new_v4(), Task::new(Document::default()));
    assert!(s3::create(&db, id, &task).await.unwrap());
    assert!(!s3::create(&db, id, &task).await.unwrap());
    assert!(s3::delete(&db, id, 0).await.unwrap());
    assert!(!s3::create(&db, id, &task).await.unwrap());
    assert!(!s3::delete(&db, id, 0).await.unwrap());
    assert_eq!(s3::load(&db, id).await.unwrap(), None);
    assert!(s3::open(&engine.address, "missing", "key", "secret").await.is_err());
}

fn conforms<S: Store + Send>(test: &str, cases: u32) {
    if !in_a_process_of_its_own(test, cases) {
        return;
    }
    let Some(engine) = engines::start(S::NAME, Disk::Memory) else { return };
    let runtime = Arc::new(Runtime::new().unwrap());
    let open = async || S::open(&engine.address).await.unwrap();
    let report = runtime.block_on(async {
        if S::NAME == Postgres::NAME {
            let store = Postgres::open(&engine.address).await.unwrap();
            sqlx::raw_sql(postgres::SCHEMA).execute(&store.db).await.unwrap();
        }
        conformance::find_violation(open).await
    });
    let report = report.unwrap_or_else(|violation| panic!("{violation}"));
    assert!(report.handles == 2 && report.overlapped > cases / 2, "{report:?}");
    assert!(report.given_up > cases / 4 && report.reopened > cases / 4, "{report:?}");
    runtime.block_on(async { counts(&open().await).await });

    // The rest of `check_blocking`: two threads race.
    let open = || Blocking { store: runtime.block_on(open()), runtime: Arc::clone(&runtime) };
    conformance::replay_blocking(open, "threads");
}

/// The suite takes the number of its histories from the environment. Runs the test again with that
/// number, and returns false; or true if that is this process.
fn in_a_process_of_its_own(test: &str, cases: u32) -> bool {
    const CASES: &str = "PROPTEST_CASES";
    if env::var_os(CASES).is_some() {
        return true;
    }
    let mut command = Command::new(env::current_exe().unwrap());
    command.args(["--exact", test, "--nocapture"]).env(CASES, cases.to_string());
    assert!(command.status().unwrap().success(), "{test} failed");
    false
}

/// Both counters are kept to the last, next to which a float has no other, and wrap.
async fn counts<S: Store>(store: &S) {
    for &state in State::ALL {
        let with = |revision, run| {
            let previous = state.previous();
            let previous = previous
                .map(|status| task_lifecycle::Previous { status, payload: S::payload("previous") });
            let (status, payload) = (state.status(), S::payload("current"));
            Task::try_from(Snapshot { status, revision, run, payload, previous }).unwrap()
        };
        let last = with(u64::MAX, u64::MAX - 1);
        let id = store.create(&last).await.unwrap();
        assert_eq!(store.load(&id).await.unwrap().as_ref(), Some(&last));
        let first = with(0, u64::MAX);
        for loaded in [u64::MAX - 1, u64::MAX / 2, 0] {
            assert!(!store.commit(&id, loaded, &first).await.unwrap(), "{state}, {loaded}");
            assert!(!store.delete(&id, loaded).await.unwrap(), "{state}, {loaded}");
        }
        assert!(store.commit(&id, u64::MAX, &first).await.unwrap());
        assert_eq!(store.load(&id).await.unwrap().as_ref(), Some(&first));
        assert!(!store.delete(&id, u64::MAX).await.unwrap());
        assert!(store.delete(&id, 0).await.unwrap());
        assert_eq!(store.load(&id).await.unwrap(), None);
    }
}

/// A store whose calls block their thread, so that threads can race.
struct Blocking<S> {
    store: S,
    runtime: Arc<Runtime>,
}

impl<S: Store> conformance::Store for Blocking<S> {
    type Id = Uuid;
    type Payload = Document;
    type Error = Error;

    fn payload(text: &str) -> Document {
        S::payload(text)
    }

    async fn create(&self, task: &Task) -> Result<Uuid> {
        self.runtime.block_on(self.store.create(task))
    }

    async fn load(&self, id: &Uuid) -> Result<Option<Task>> {
        self.runtime.block_on(self.store.load(id))
    }

    async fn commit(&self, id: &Uuid, loaded: u64, task: &Task) -> Result<bool> {
        self.runtime.block_on(self.store.commit(id, loaded, task))
    }

    async fn delete(&self, id: &Uuid, loaded: u64) -> Result<bool> {
        self.runtime.block_on(self.store.delete(id, loaded))
    }

    async fn another(&self) -> Option<Self> {
        let store = self.runtime.block_on(self.store.another())?;
        Some(Self { store, runtime: Arc::clone(&self.runtime) })
    }
}
