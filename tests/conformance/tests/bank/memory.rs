//! One small store in memory, and what a fault may do otherwise.

use std::collections::BTreeMap;
use std::hint;
use std::ops::Deref;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use task_lifecycle::{Draft, Revision, Snapshot, Task};
use task_lifecycle_conformance::{Law, Store};
use tokio::task::yield_now;
use tokio::time::sleep;

pub(crate) type Row = Snapshot<String>;
pub(crate) type Rows = BTreeMap<u32, Row>;
pub(crate) type Answer<T> = Result<T, String>;

/// Rows, and what faults need beside them.
#[derive(Default)]
pub(crate) struct Shared {
    pub(crate) rows: Mutex<Rows>,
    /// Other rows: what is on the disk, was deleted, or lies in a cache.
    pub(crate) beside: Mutex<Rows>,
    pub(crate) count: AtomicU32,
    pub(crate) next: AtomicU32,
    pub(crate) taken: AtomicBool,
    pub(crate) gate: tokio::sync::Mutex<()>,
}

/// A handle on rows. Clones are others.
#[derive(Default)]
pub(crate) struct Memory {
    shared: Arc<Shared>,
    /// The rows that this handle has read.
    pub(crate) own: Mutex<Rows>,
    /// True if calls wait; if not, they let other threads come between.
    waits: bool,
}

impl Clone for Memory {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared), own: Mutex::default(), waits: self.waits }
    }
}

impl Deref for Memory {
    type Target = Shared;

    fn deref(&self) -> &Shared {
        &self.shared
    }
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A lock that is held across waits.
pub(crate) struct Guard(Arc<Shared>);

impl Drop for Guard {
    fn drop(&mut self) {
        self.0.taken.store(false, Ordering::Release);
    }
}

impl Memory {
    pub(crate) async fn pause(&self) {
        if self.waits {
            yield_now().await;
        } else {
            (0..100).for_each(|_| hint::spin_loop());
        }
    }

    pub(crate) fn try_take(&self) -> Option<Guard> {
        let is_free = !self.taken.swap(true, Ordering::AcqRel);
        is_free.then(|| Guard(Arc::clone(&self.shared)))
    }

    pub(crate) async fn take(&self) -> Guard {
        loop {
            if let Some(guard) = self.try_take() {
                return guard;
            }
            self.wait().await;
        }
    }

    /// Waits for what another call holds.
    pub(crate) async fn wait(&self) {
        if self.waits {
            sleep(Duration::from_millis(1)).await;
        } else {
            thread::yield_now();
        }
    }

    pub(crate) fn get(&self, id: u32) -> Option<Row> {
        lock(&self.rows).get(&id).cloned()
    }

    pub(crate) fn is_at(&self, id: u32, loaded: Revision) -> bool {
        lock(&self.rows).get(&id).is_some_and(|row| row.revision == loaded)
    }

    pub(crate) fn put(&self, id: u32, row: Option<Row>) {
        let mut rows = lock(&self.rows);
        match row {
            Some(row) => rows.insert(id, row),
            None => rows.remove(&id),
        };
    }

    /// The right write: one step compares and swaps.
    pub(crate) fn swap(&self, id: u32, loaded: Revision, row: Option<Row>) -> bool {
        self.swap_if(id, |old| old.is_some_and(|old| old.revision == loaded), row)
    }

    pub(crate) fn swap_if(
        &self,
        id: u32,
        is_right: impl Fn(Option<&Row>) -> bool,
        row: Option<Row>,
    ) -> bool {
        let mut rows = lock(&self.rows);
        let swaps = is_right(rows.get(&id));
        if swaps {
            match row {
                Some(row) => rows.insert(id, row),
                None => rows.remove(&id),
            };
        }
        swaps
    }

    async fn swap_slowly(&self, id: u32, loaded: Revision, row: Option<Row>) -> Answer<bool> {
        self.pause().await;
        let is_current = self.swap(id, loaded, row);
        self.pause().await;
        Ok(is_current)
    }

    pub(crate) fn insert(&self, row: Row) -> u32 {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        self.put(id, Some(row));
        id
    }

    pub(crate) fn counted(&self) -> u32 {
        self.count.fetch_add(1, Ordering::Relaxed) + 1
    }
}

pub(crate) type Later<'a, T> = Pin<Box<dyn Future<Output = Answer<T>> + 'a>>;

/// The methods of a store; a fault overrides some of them.
pub(crate) trait Fault: Sync {
    /// The row that is written of a task, over the one that was there.
    fn written(&self, row: Row, _before: Option<&Row>) -> Answer<Row> {
        Ok(row)
    }
    fn create<'a>(&self, store: &'a Memory, row: Row) -> Later<'a, u32> {
        Box::pin(async move {
            store.pause().await;
            Ok(store.insert(row))
        })
    }
    fn create_as<'a>(&self, store: &'a Memory, id: u32, row: Row) -> Later<'a, bool> {
        Box::pin(async move {
            store.pause().await;
            Ok(store.swap_if(id, |old| old.is_none(), Some(row)))
        })
    }
    fn load<'a>(&self, store: &'a Memory, id: u32) -> Later<'a, Option<Row>> {
        Box::pin(async move {
            store.pause().await;
            let row = store.get(id);
            store.pause().await;
            Ok(row)
        })
    }
    fn commit<'a>(
        &self,
        store: &'a Memory,
        id: u32,
        draft: &'a Draft<String>,
        row: Row,
    ) -> Later<'a, bool> {
        Box::pin(store.swap_slowly(id, draft.loaded(), Some(row)))
    }
    fn delete<'a>(&self, store: &'a Memory, id: u32, loaded: Revision) -> Later<'a, bool> {
        Box::pin(store.swap_slowly(id, loaded, None))
    }
    fn reopen(&self, _store: &Memory) {}
}

/// No fault.
pub(crate) struct Right;

impl Fault for Right {}

/// Right, too: a create under a name that is given up still arrives, perhaps after a delete.
pub(crate) struct CreatesLate;

impl Fault for CreatesLate {
    fn create_as<'a>(&self, store: &'a Memory, id: u32, row: Row) -> Later<'a, bool> {
        let store = store.clone();
        let arrives = tokio::spawn(async move {
            sleep(Duration::from_millis(2)).await;
            store.swap_if(id, |old| old.is_none(), Some(row))
        });
        Box::pin(async { arrives.await.map_err(|gone| gone.to_string()) })
    }
}

pub(crate) struct With(Memory, &'static dyn Fault);

impl With {
    pub(crate) fn new(fault: &'static dyn Fault, waits: bool) -> Self {
        Self(Memory { waits, ..Memory::default() }, fault)
    }
}

impl Store for With {
    type Id = u32;
    type Payload = String;
    type Error = String;

    fn payload(text: &str) -> String {
        text.to_owned()
    }
    async fn create(&self, task: &Task<String>) -> Answer<u32> {
        self.1.create(&self.0, self.1.written(task.clone().into(), None)?).await
    }
    async fn create_as(&self, id: &u32, task: &Task<String>) -> Answer<Option<bool>> {
        let row = self.1.written(task.clone().into(), None)?;
        self.1.create_as(&self.0, *id, row).await.map(Some)
    }
    async fn load(&self, id: &u32) -> Answer<Option<Task<String>>> {
        let row = self.1.load(&self.0, *id).await?;
        row.map(|row| Task::try_from(row).map_err(|error| error.to_string())).transpose()
    }
    async fn commit(&self, id: &u32, draft: &Draft<String>) -> Answer<bool> {
        let row = self.1.written((**draft).clone().into(), self.0.get(*id).as_ref())?;
        self.1.commit(&self.0, *id, draft, row).await
    }
    async fn delete(&self, id: &u32, loaded: Revision) -> Answer<bool> {
        self.1.delete(&self.0, *id, loaded).await
    }
    async fn another(&self) -> Option<Self> {
        Some(Self(self.0.clone(), self.1))
    }
    async fn reopen(self) -> Self {
        self.1.reopen(&self.0);
        Self(self.0.clone(), self.1)
    }
}

/// A broken store.
#[derive(Clone, Copy)]
pub(crate) struct Broken {
    pub(crate) name: &'static str,
    pub(crate) laws: &'static [Law],
    pub(crate) fault: &'static dyn Fault,
}

/// Declares faults, each with the law that it breaks (or those, the first of which tells it best)
/// and what it does otherwise.
#[rustfmt::skip]
macro_rules! faults {
    ($list:ident: $($fault:ident $($law:ident)+ {
        $($method:ident($($argument:pat_param),*) $body:block)*
    })*) => {
        $(struct $fault;
        impl Fault for $fault {
            $(crate::memory::method! { $method($($argument),*) $body })*
        })*

        pub(crate) const $list: &[crate::memory::Broken] = &[$(crate::memory::Broken {
            name: stringify!($fault),
            laws: &[$(task_lifecycle_conformance::Law::$law),+],
            fault: &$fault,
        }),*];
    };
}
pub(crate) use faults;

#[rustfmt::skip]
macro_rules! method {
    (written($row:pat_param, $before:pat_param) $body:block) => {
        fn written(&self, $row: Row, $before: Option<&Row>) -> Answer<Row> $body
    };
    (create($store:pat_param, $row:pat_param) $body:block) => {
        fn create<'a>(&self, $store: &'a Memory, $row: Row) -> Later<'a, u32> { Box::pin(async move $body) }
    };
    (create_as($store:pat_param, $id:pat_param, $row:pat_param) $body:block) => {
        fn create_as<'a>(&self, $store: &'a Memory, $id: u32, $row: Row) -> Later<'a, bool> { Box::pin(async move $body) }
    };
    (load($store:pat_param, $id:pat_param) $body:block) => {
        fn load<'a>(&self, $store: &'a Memory, $id: u32) -> Later<'a, Option<Row>> { Box::pin(async move $body) }
    };
    (commit($store:pat_param, $id:pat_param, $draft:pat_param, $row:pat_param) $body:block) => {
        fn commit<'a>(&self, $store: &'a Memory, $id: u32, $draft: &'a Draft<String>, $row: Row) -> Later<'a, bool> { Box::pin(async move $body) }
    };
    (delete($store:pat_param, $id:pat_param, $loaded:pat_param) $body:block) => {
        fn delete<'a>(&self, $store: &'a Memory, $id: u32, $loaded: Revision) -> Later<'a, bool> { Box::pin(async move $body) }
    };
    (reopen($store:pat_param) $body:block) => { fn reopen(&self, $store: &Memory) $body };
}
pub(crate) use method;
