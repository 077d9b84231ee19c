//! One small store in memory, and what a fault may do otherwise.

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::hint;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::thread;

use task_lifecycle::{Draft, Revision, Snapshot, Task};
use task_lifecycle_conformance::Store;

pub(crate) type Row = Snapshot<String>;
pub(crate) type Rows = BTreeMap<u32, Row>;
pub(crate) type Answer<T> = Result<T, String>;

/// Waits once.
pub(crate) async fn wait() {
    let mut waited = false;
    poll_fn(|context| {
        if std::mem::replace(&mut waited, true) {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// Rows, and what faults need beside them. Clones are handles on the same rows.
#[derive(Default)]
pub(crate) struct Memory {
    pub(crate) rows: Arc<Mutex<Rows>>,
    /// Other rows: what is on the disk, was deleted, or lies in a cache.
    pub(crate) beside: Arc<Mutex<Rows>>,
    /// The rows that this handle has read.
    pub(crate) own: Mutex<Rows>,
    pub(crate) count: Arc<AtomicU32>,
    pub(crate) next: Arc<AtomicU32>,
    pub(crate) taken: Arc<AtomicBool>,
    pub(crate) gate: Arc<tokio::sync::Mutex<()>>,
    /// Whether calls wait; if not, they let other threads come between.
    pub(crate) waits: bool,
}

impl Clone for Memory {
    fn clone(&self) -> Self {
        let (rows, beside) = (Arc::clone(&self.rows), Arc::clone(&self.beside));
        let (count, next) = (Arc::clone(&self.count), Arc::clone(&self.next));
        let (taken, waits, own) = (Arc::clone(&self.taken), self.waits, Mutex::default());
        let gate = Arc::clone(&self.gate);
        Self { rows, beside, own, count, next, taken, gate, waits }
    }
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A lock that is held across waits.
pub(crate) struct Guard(Arc<AtomicBool>);

impl Drop for Guard {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}

impl Memory {
    pub(crate) async fn pause(&self) {
        if self.waits {
            wait().await;
        } else {
            (0..100).for_each(|_| hint::spin_loop());
        }
    }

    pub(crate) fn try_take(&self) -> Option<Guard> {
        let is_free = !self.taken.swap(true, Ordering::AcqRel);
        is_free.then(|| Guard(Arc::clone(&self.taken)))
    }

    pub(crate) async fn take(&self) -> Guard {
        loop {
            if let Some(guard) = self.try_take() {
                return guard;
            }
            self.pause().await;
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

    pub(crate) fn insert(&self, row: Row) -> u32 {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        self.put(id, Some(row));
        id
    }

    pub(crate) fn counted(&self) -> u32 {
        self.count.fetch_add(1, Ordering::Relaxed) + 1
    }
}

pub(crate) fn row(draft: &Draft<String>) -> Row {
    Row::from((**draft).clone())
}

/// What a store does; a fault does some of it otherwise.
pub(crate) trait Fault: 'static {
    /// What is written of a task, over the row that was there.
    fn written(row: Row, _before: Option<&Row>) -> Answer<Row> {
        Ok(row)
    }
    async fn create(store: &Memory, row: Row) -> Answer<u32> {
        store.pause().await;
        Ok(store.insert(row))
    }
    async fn create_as(store: &Memory, id: u32, row: Row) -> Answer<bool> {
        store.pause().await;
        Ok(store.swap_if(id, |old| old.is_none(), Some(row)))
    }
    async fn load(store: &Memory, id: u32) -> Answer<Option<Row>> {
        store.pause().await;
        let row = store.get(id);
        store.pause().await;
        Ok(row)
    }
    async fn commit(store: &Memory, id: u32, draft: &Draft<String>, row: Row) -> Answer<bool> {
        store.pause().await;
        let is_current = store.swap(id, draft.loaded(), Some(row));
        store.pause().await;
        Ok(is_current)
    }
    async fn delete(store: &Memory, id: u32, loaded: Revision) -> Answer<bool> {
        store.pause().await;
        let is_current = store.swap(id, loaded, None);
        store.pause().await;
        Ok(is_current)
    }
    fn reopen(_store: &Memory) {}
}

/// A store with no fault.
pub(crate) struct Right;

impl Fault for Right {}

pub(crate) struct With<F>(pub(crate) Memory, pub(crate) std::marker::PhantomData<F>);

impl<F> With<F> {
    pub(crate) fn new(waits: bool) -> Self {
        Self(Memory { waits, ..Memory::default() }, std::marker::PhantomData)
    }
}

// The fault is no more than a name.
impl<F: Fault + Send> Store for With<F> {
    type Id = u32;
    type Payload = String;
    type Error = String;

    fn payload(text: &str) -> String {
        text.to_owned()
    }
    async fn create(&self, task: &Task<String>) -> Answer<u32> {
        F::create(&self.0, F::written(task.clone().into(), None)?).await
    }
    async fn create_as(&self, id: &u32, task: &Task<String>) -> Answer<Option<bool>> {
        F::create_as(&self.0, *id, F::written(task.clone().into(), None)?).await.map(Some)
    }
    async fn load(&self, id: &u32) -> Answer<Option<Task<String>>> {
        let row = F::load(&self.0, *id).await?;
        row.map(|row| Task::try_from(row).map_err(|error| error.to_string())).transpose()
    }
    async fn commit(&self, id: &u32, draft: &Draft<String>) -> Answer<bool> {
        let before = self.0.get(*id);
        F::commit(&self.0, *id, draft, F::written(row(draft), before.as_ref())?).await
    }
    async fn delete(&self, id: &u32, loaded: Revision) -> Answer<bool> {
        F::delete(&self.0, *id, loaded).await
    }
    async fn another(&self) -> Option<Self> {
        Some(Self(self.0.clone(), std::marker::PhantomData))
    }
    async fn reopen(self) -> Self {
        F::reopen(&self.0);
        Self(self.0.clone(), std::marker::PhantomData)
    }
}

/// Declares faults, each with the law that it breaks (or those, the first of which tells it best)
/// and what it does otherwise.
macro_rules! faults {
    ($list:ident: $($fault:ident $($law:ident)+ {$($body:tt)*})*) => {
        $(pub(crate) struct $fault;
        impl crate::memory::Fault for $fault {$($body)*})*

        pub(crate) fn $list() -> Vec<crate::Broken> {
            vec![$(crate::Broken::new::<$fault>(
                stringify!($fault),
                &[$(task_lifecycle_conformance::Law::$law),+],
            )),*]
        }
    };
}
pub(crate) use faults;
