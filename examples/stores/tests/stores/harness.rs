//! Each store as the conformance suite drives it, and the other tests.

use std::path::Path;
use std::time::Duration;

use sqlx::postgres::{PgPool, PgPoolOptions};
use task_lifecycle::Revision;
use task_lifecycle_conformance::Store;
use task_stores::engines::{self, Engine};
use task_stores::{Document, Draft, Error, Result, Task, etcd, postgres, redis, s3, sqlite};
use tokio::runtime::Runtime;
use tokio::task::LocalSet;
use uuid::Uuid;

/// More than a busy machine takes for a call.
const PATIENCE: Duration = Duration::from_mins(1);

/// A store that is opened by the address of its engine.
pub trait Open: Store<Id = Uuid, Payload = Document, Error = Error> {
    fn start() -> Option<Engine>;

    async fn open(address: &str) -> Result<Self>;
}

macro_rules! store {
    ($Store:ident, $engine:ident, $db:ty, $open:expr $(, $($wait:tt)*)?) => {
        pub struct $Store {
            address: String,
            pub db: $db,
        }

        impl Open for $Store {
            fn start() -> Option<Engine> {
                engines::$engine()
            }

            async fn open(address: &str) -> Result<Self> {
                Ok(Self { address: address.to_owned(), db: $open(address).await? })
            }
        }

        impl Store for $Store {
            type Id = Uuid;
            type Payload = Document;
            type Error = Error;

            fn payload(text: &str) -> Document {
                document(text)
            }

            async fn create(&self, task: &Task) -> Result<Uuid> {
                let id = Uuid::new_v4();
                while !$engine::create(&self.db, id, task)$($($wait)*)?? {} // a lost race
                Ok(id)
            }

            async fn create_as(&self, id: &Uuid, task: &Task) -> Result<Option<bool>> {
                Ok(Some($engine::create(&self.db, *id, task)$($($wait)*)??))
            }

            async fn load(&self, id: &Uuid) -> Result<Option<Task>> {
                $engine::load(&self.db, *id)$($($wait)*)?
            }

            async fn commit(&self, id: &Uuid, draft: &Draft) -> Result<bool> {
                $engine::commit(&self.db, *id, draft)$($($wait)*)?
            }

            async fn delete(&self, id: &Uuid, loaded: Revision) -> Result<bool> {
                $engine::delete(&self.db, *id, loaded)$($($wait)*)?
            }

            async fn another(&self) -> Option<Self> {
                Some(Self::open(&self.address).await.expect("another handle"))
            }

            async fn reopen(self) -> Self {
                let Self { address, db } = self;
                drop(db);
                Self::open(&address).await.expect("the store again")
            }
        }
    };
}

store!(Sqlite, sqlite, rusqlite::Connection, async |file| sqlite::open(Path::new(file)));
store!(Postgres, postgres, PgPool, pool, .await);
store!(Etcd, etcd, etcd_client::Client, async |nodes| etcd::open(nodes, PATIENCE).await, .await);
store!(Redis, redis, ::redis::aio::ConnectionManager, async |at| redis::open(at, PATIENCE).await, .await);
store!(S3, s3, object_store::aws::AmazonS3, async |at| s3::open(at, "tasks", "key", "secret").await, .await);

async fn pool(url: &str) -> Result<PgPool> {
    let options = PgPoolOptions::new().max_connections(4).acquire_timeout(PATIENCE);
    let pool = options.connect(url).await?;
    _ = sqlx::raw_sql(postgres::SCHEMA).execute(&pool).await; // an error if it is there
    Ok(pool)
}

/// A test on each of the stores that are named.
macro_rules! on_each {
    ($test:ident: $($name:ident $Store:ident)*) => {
        $(#[test]
        fn $name() {
            $test::<crate::harness::$Store>();
        })*
    };
}
pub(crate) use on_each;

/// Runs a test with tasks that stay on its thread.
pub fn run(test: impl Future<Output = ()>) {
    LocalSet::new().block_on(&Runtime::new().unwrap(), test);
}

/// Every field is filled from the text, the optional one for every other text.
pub fn document(text: &str) -> Document {
    let start = text.chars().take(20).collect::<String>(); // twice a large text is all etcd takes
    Document {
        message: text.to_owned(),
        output: text.len().is_multiple_of(2).then(|| start.clone()),
        others: [("label".to_owned(), start.into())].into_iter().collect(),
    }
}
