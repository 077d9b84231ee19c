//! Each store as the conformance suite drives it, and as the commands do: a handle on tasks at an
//! address, which can be opened again.

use std::path::Path;

use sqlx::postgres::{PgPool, PgPoolOptions};
use task_lifecycle::conformance;
use uuid::Uuid;

use crate::{Document, Error, Result, Task, etcd, postgres, redis, s3, sqlite};

/// A store that is opened by an address, of which `engines` makes one.
pub trait Store: conformance::Store<Id = Uuid, Payload = Document, Error = Error> {
    const NAME: &'static str;

    fn open(address: &str) -> impl Future<Output = Result<Self>> + Send;
}

macro_rules! store {
    ($store:ident, $name:literal, $engine:ident on $db:ty, $open:expr $(, $($wait:tt)*)?) => {
        pub struct $store {
            address: String,
            pub db: $db,
        }

        impl conformance::Store for $store {
            type Id = Uuid;
            type Payload = Document;
            type Error = Error;

            fn payload(text: &str) -> Document {
                document(text)
            }

            async fn create(&self, task: &Task) -> Result<Uuid> {
                let id = Uuid::new_v4();
                while !$engine::create(&self.db, id, task)$($($wait)*)?? {}
                Ok(id)
            }

            async fn load(&self, id: &Uuid) -> Result<Option<Task>> {
                $engine::load(&self.db, *id)$($($wait)*)?
            }

            async fn commit(&self, id: &Uuid, loaded: u64, task: &Task) -> Result<bool> {
                $engine::commit(&self.db, *id, loaded, task)$($($wait)*)?
            }

            async fn delete(&self, id: &Uuid, loaded: u64) -> Result<bool> {
                $engine::delete(&self.db, *id, loaded)$($($wait)*)?
            }

            async fn create_as(&self, id: &Uuid, task: &Task) -> Result<Option<bool>> {
                Ok(Some($engine::create(&self.db, *id, task)$($($wait)*)??))
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

        impl Store for $store {
            const NAME: &'static str = $name;

            async fn open(address: &str) -> Result<Self> {
                let db = $open(address).await?;
                Ok(Self { address: address.to_owned(), db })
            }
        }
    };
}

store!(Sqlite, "SQLite", sqlite on rusqlite::Connection, async |file| sqlite::open(Path::new(file)));
store!(Postgres, "PostgreSQL", postgres on PgPool, pool, .await);
store!(Etcd, "etcd", etcd on etcd_client::Client, etcd::open, .await);
store!(Redis, "Redis", redis on ::redis::aio::ConnectionManager, redis::open, .await);
store!(S3, "S3", s3 on object_store::aws::AmazonS3, bucket, .await);

/// As many connections as a client has calls in flight.
async fn pool(url: &str) -> Result<PgPool> {
    Ok(PgPoolOptions::new().max_connections(2).test_before_acquire(false).connect(url).await?)
}

async fn bucket(endpoint: &str) -> Result<object_store::aws::AmazonS3> {
    s3::open(endpoint, "tasks", "key", "secret").await
}

/// Every field is filled from the text, the optional one for every other text.
fn document(text: &str) -> Document {
    Document {
        message: text.to_owned(),
        output: text.len().is_multiple_of(2).then(|| text.to_owned()),
        others: [("label".to_owned(), text.into())].into_iter().collect(),
    }
}
