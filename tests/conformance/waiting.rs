//! Stores that wait between their steps: each step is right, and the whole is wrong.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Poll, Waker};

use task_lifecycle::conformance::{Law, Store};
use task_lifecycle::{Snapshot, Task};

/// What a store does wrong if something comes between.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) enum Fault {
    CheckThenWrite,
    CheckThenDelete,
    GuardByStatusAlone,
    RetriesOverTheWinner,
    DeletedIsWrittenAgain,
    OthersWrittenBack,
    RollbackOfAll,
    HalfWritten,
    HalfRead,
    HalfWrittenWhenGivenUp,
    RevisionBeforeTheRest,
    WrittenBeforeChecked,
    GivenUpIsWrittenLater,
    SlowReadFillsCache,
    AnswerBeforeWrite,
    SameNameTwice,
    NobodyWins,
    ConflictIsAnOutage,
    BusyIsAnOutage,
    PanicsIfChanged,
    LockIsNeverGivenBack,
}

#[rustfmt::skip]
pub(crate) const LAWS: &[(Fault, Law)] = &[
    (Fault::CheckThenWrite,         Law::OneWins),
    (Fault::CheckThenDelete,        Law::OneWins),
    (Fault::GuardByStatusAlone,     Law::OneWins),
    (Fault::RetriesOverTheWinner,   Law::OneWins),
    (Fault::DeletedIsWrittenAgain,  Law::OneWins),
    (Fault::OthersWrittenBack,      Law::NeverOlder),
    (Fault::RollbackOfAll,          Law::NeverOlder),
    (Fault::HalfWritten,            Law::SeenWhole),
    (Fault::HalfRead,               Law::SeenWhole),
    (Fault::HalfWrittenWhenGivenUp, Law::SeenWhole),
    (Fault::RevisionBeforeTheRest,  Law::SeenWhole),
    (Fault::WrittenBeforeChecked,   Law::SeenWhole),
    (Fault::GivenUpIsWrittenLater,  Law::SeenWhole),
    (Fault::SlowReadFillsCache,     Law::NeverOlder),
    (Fault::AnswerBeforeWrite,      Law::NeverOlder),
    (Fault::SameNameTwice,          Law::OthersAreUntouched),
    (Fault::NobodyWins,             Law::CurrentIsAccepted),
    (Fault::ConflictIsAnOutage,     Law::NoError),
    (Fault::BusyIsAnOutage,         Law::NoError),
    (Fault::PanicsIfChanged,        Law::NoError),
    (Fault::LockIsNeverGivenBack,   Law::NoError),
];

type Row = Snapshot<String>;
type Rows = BTreeMap<u32, Row>;

/// Waits once.
pub(crate) async fn pause() {
    let mut waited = false;
    poll_fn(|context| {
        if waited {
            return Poll::Ready(());
        }
        waited = true;
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// A lock that is waited for.
#[derive(Default)]
pub(crate) struct Lock {
    is_taken: Cell<bool>,
    waiting: RefCell<Vec<Waker>>,
}

pub(crate) struct Guard<'a>(&'a Lock);

impl Lock {
    pub(crate) async fn take(&self) -> Guard<'_> {
        poll_fn(|context| {
            if self.is_taken.replace(true) {
                self.waiting.borrow_mut().push(context.waker().clone());
                return Poll::Pending;
            }
            Poll::Ready(())
        })
        .await;
        Guard(self)
    }
}

impl Drop for Guard<'_> {
    fn drop(&mut self) {
        self.0.is_taken.set(false);
        self.0.waiting.take().into_iter().for_each(Waker::wake);
    }
}

#[derive(Default)]
struct Shared {
    rows: RefCell<Rows>,
    cache: RefCell<Rows>,
    next: Cell<u32>,
    lock: Lock,
    /// Where a store keeps the revisions apart.
    revisions: RefCell<BTreeMap<u32, u64>>,
    /// Accepted and not yet written.
    queue: RefCell<Vec<(u32, Option<Row>)>>,
    /// How many commits are under way, and how many were begun.
    under_way: Cell<(u32, u32)>,
}

/// A store whose handles share its rows: right, or with a fault.
#[derive(Clone)]
pub(crate) struct Waiting {
    shared: Rc<Shared>,
    fault: Option<Fault>,
}

impl Waiting {
    pub(crate) fn new(fault: Option<Fault>) -> Self {
        Self {
            shared: Rc::default(),
            fault,
        }
    }

    fn has(&self, fault: Fault) -> bool {
        self.fault == Some(fault)
    }

    fn is_at(&self, id: u32, revision: u64) -> bool {
        let rows = self.shared.rows.borrow();
        rows.get(&id).is_some_and(|row| row.revision == revision)
    }

    fn put(&self, id: u32, row: Option<Row>) {
        let mut rows = self.shared.rows.borrow_mut();
        match row {
            Some(row) => rows.insert(id, row),
            None => rows.remove(&id),
        };
        self.shared.cache.borrow_mut().remove(&id);
    }

    /// The right write, with a wait before and after it.
    async fn swap(&self, id: u32, loaded: u64, row: Option<Row>) -> bool {
        pause().await;
        let is_current = self.is_at(id, loaded);
        if is_current {
            self.put(id, row);
        }
        pause().await;
        is_current
    }

    async fn check_then_put(&self, id: u32, loaded: u64, row: Option<Row>) -> bool {
        let is_current = self.is_at(id, loaded);
        pause().await;
        if is_current {
            self.put(id, row);
        }
        is_current
    }

    /// Half of the row, and the other half after a wait.
    async fn put_halves(&self, id: u32, loaded: u64, row: Row) -> bool {
        if !self.is_at(id, loaded) {
            return false;
        }
        let half = Row {
            payload: self.shared.rows.borrow()[&id].payload.clone(),
            ..row.clone()
        };
        self.put(id, Some(half));
        pause().await;
        self.put(id, Some(row));
        true
    }

    /// Writes what was accepted before.
    async fn work_off(&self) {
        let job = self.shared.queue.borrow_mut().pop();
        if job.is_some() {
            let mut job = Later(self, job);
            pause().await;
            if let Some((id, row)) = job.1.take() {
                self.put(id, row);
            }
        }
    }
}

/// A write that is left to others if the client goes away.
struct Later<'a>(&'a Waiting, Option<(u32, Option<Row>)>);

impl Drop for Later<'_> {
    fn drop(&mut self) {
        let later = self.1.take();
        self.0.shared.queue.borrow_mut().extend(later);
    }
}

/// A commit that minds any other.
struct UnderWay<'a> {
    all: &'a Cell<(u32, u32)>,
    alone_since: Option<u32>,
}

impl<'a> UnderWay<'a> {
    fn new(all: &'a Cell<(u32, u32)>) -> Self {
        let (others, begun) = all.get();
        all.set((others + 1, begun + 1));
        let alone_since = (others == 0).then_some(begun + 1);
        Self { all, alone_since }
    }

    fn came(&self) -> bool {
        self.alone_since != Some(self.all.get().1)
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        let (now, begun) = self.all.get();
        self.all.set((now - 1, begun));
    }
}

impl Store for Waiting {
    type Id = u32;
    type Payload = String;
    type Error = String;

    fn payload(text: &str) -> String {
        text.to_owned()
    }

    async fn create(&self, task: &Task<String>) -> Result<u32, String> {
        let mut id = self.shared.next.get();
        if self.has(Fault::SameNameTwice) {
            pause().await;
        } else {
            id = self.shared.next.get();
        }
        self.shared.next.set(id + 1);
        self.put(id, Some(task.clone().into()));
        pause().await;
        Ok(id)
    }

    async fn load(&self, id: &u32) -> Result<Option<Task<String>>, String> {
        let shared = &self.shared;
        let lock = match self.fault {
            Some(Fault::HalfWrittenWhenGivenUp) => Some(shared.lock.take().await),
            Some(Fault::AnswerBeforeWrite) => {
                self.work_off().await;
                None
            }
            _ => None,
        };
        let cached = shared.cache.borrow().get(id).cloned();
        let row = match cached {
            Some(row) if self.has(Fault::SlowReadFillsCache) => Some(row),
            _ => shared.rows.borrow().get(id).cloned(),
        };
        pause().await;
        drop(lock);
        let Some(mut row) = row else { return Ok(None) };
        if self.has(Fault::HalfRead) {
            let later = shared.rows.borrow().get(id).cloned();
            row.payload = later.map_or(String::new(), |row| row.payload);
        }
        if self.has(Fault::SlowReadFillsCache) {
            shared.cache.borrow_mut().insert(*id, row.clone());
        }
        if let Some(Fault::GivenUpIsWrittenLater) = self.fault {
            self.work_off().await;
        }
        Task::try_from(row)
            .map(Some)
            .map_err(|fault| fault.to_string())
    }

    #[expect(clippy::too_many_lines, reason = "an arm for each fault")]
    async fn commit(&self, id: &u32, loaded: u64, task: &Task<String>) -> Result<bool, String> {
        let (id, row) = (*id, Row::from(task.clone()));
        let shared = &self.shared;
        let before = shared.rows.borrow().get(&id).cloned();
        Ok(match self.fault {
            Some(Fault::CheckThenWrite) => self.check_then_put(id, loaded, Some(row)).await,
            Some(Fault::GuardByStatusAlone) => {
                let is_current = self.is_at(id, loaded);
                pause().await;
                let now = shared.rows.borrow().get(&id).map(|row| row.status);
                let is_same = is_current && now == before.map(|row| row.status);
                if is_same {
                    self.put(id, Some(row));
                }
                is_same
            }
            Some(Fault::RetriesOverTheWinner) => {
                if !self.is_at(id, loaded) {
                    return Ok(false);
                }
                let mut expected = loaded;
                while !self.swap(id, expected, Some(row.clone())).await {
                    let now = shared.rows.borrow().get(&id).map(|row| row.revision);
                    let Some(now) = now else { return Ok(false) };
                    expected = now;
                }
                true
            }
            Some(Fault::DeletedIsWrittenAgain) => {
                let is_current = self.is_at(id, loaded);
                pause().await;
                let there = shared.rows.borrow().get(&id).map(|row| row.revision);
                let accepted = is_current && there.is_none_or(|revision| revision == loaded);
                if accepted {
                    self.put(id, Some(row));
                }
                accepted
            }
            Some(Fault::OthersWrittenBack) => {
                let mut all = shared.rows.borrow().clone();
                pause().await;
                let is_current = self.is_at(id, loaded);
                if is_current {
                    all.insert(id, row);
                    shared.rows.replace(all);
                }
                is_current
            }
            Some(Fault::RollbackOfAll) => {
                let all = shared.rows.borrow().clone();
                let is_current = self.swap(id, loaded, Some(row)).await;
                if !is_current {
                    shared.rows.replace(all);
                }
                is_current
            }
            Some(Fault::HalfWritten | Fault::HalfWrittenWhenGivenUp) => {
                let _guard = shared.lock.take().await;
                self.put_halves(id, loaded, row).await
            }
            Some(Fault::RevisionBeforeTheRest) => {
                let _guard = shared.lock.take().await;
                let Some(stored) = shared.rows.borrow().get(&id).map(|row| row.revision) else {
                    return Ok(false);
                };
                let revision = shared.revisions.borrow().get(&id).copied();
                if revision.unwrap_or(stored) != loaded {
                    return Ok(false);
                }
                shared.revisions.borrow_mut().insert(id, row.revision);
                pause().await;
                self.put(id, Some(row));
                true
            }
            Some(Fault::WrittenBeforeChecked) => {
                let _guard = shared.lock.take().await;
                let Some(before) = shared.rows.borrow().get(&id).cloned() else {
                    return Ok(false);
                };
                let is_current = before.revision == loaded;
                self.put(id, Some(row));
                pause().await;
                if !is_current {
                    self.put(id, Some(before));
                }
                is_current
            }
            Some(Fault::GivenUpIsWrittenLater) => {
                if !self.is_at(id, loaded) {
                    return Ok(false);
                }
                let mut later = Later(self, Some((id, Some(row.clone()))));
                pause().await;
                later.1 = None;
                let is_current = self.is_at(id, loaded);
                if is_current {
                    self.put(id, Some(row));
                }
                is_current
            }
            Some(Fault::AnswerBeforeWrite) => {
                let _guard = shared.lock.take().await;
                self.work_off().await;
                let is_current = self.is_at(id, loaded);
                if is_current {
                    shared.queue.borrow_mut().push((id, Some(row)));
                }
                is_current
            }
            Some(Fault::NobodyWins) => {
                let others = UnderWay::new(&shared.under_way);
                pause().await;
                let is_current = self.is_at(id, loaded) && !others.came();
                if is_current {
                    self.put(id, Some(row));
                }
                is_current
            }
            Some(Fault::ConflictIsAnOutage) => {
                if !self.is_at(id, loaded) {
                    return Ok(false);
                }
                if !self.swap(id, loaded, Some(row)).await {
                    return Err("could not serialize access".to_owned());
                }
                true
            }
            Some(Fault::BusyIsAnOutage) => {
                if shared.lock.is_taken.get() {
                    return Err("database is locked".to_owned());
                }
                let _guard = shared.lock.take().await;
                self.swap(id, loaded, Some(row)).await
            }
            Some(Fault::PanicsIfChanged) => {
                let is_current = self.is_at(id, loaded);
                pause().await;
                assert_eq!(is_current, self.is_at(id, loaded), "the row has changed");
                if is_current {
                    self.put(id, Some(row));
                }
                is_current
            }
            Some(Fault::LockIsNeverGivenBack) => {
                let guard = shared.lock.take().await;
                std::mem::forget(guard);
                let swapped = self.swap(id, loaded, Some(row)).await;
                drop(Guard(&shared.lock));
                swapped
            }
            _ => self.swap(id, loaded, Some(row)).await,
        })
    }

    async fn delete(&self, id: &u32, loaded: u64) -> Result<bool, String> {
        let _guard = match self.fault {
            Some(
                Fault::HalfWritten
                | Fault::HalfWrittenWhenGivenUp
                | Fault::RevisionBeforeTheRest
                | Fault::WrittenBeforeChecked
                | Fault::AnswerBeforeWrite
                | Fault::LockIsNeverGivenBack,
            ) => Some(self.shared.lock.take().await),
            _ => None,
        };
        if self.has(Fault::AnswerBeforeWrite) {
            self.work_off().await;
        }
        if self.has(Fault::CheckThenDelete) {
            return Ok(self.check_then_put(*id, loaded, None).await);
        }
        if self.has(Fault::RevisionBeforeTheRest) {
            let revisions = self.shared.revisions.borrow();
            if revisions
                .get(id)
                .is_some_and(|revision| *revision != loaded)
            {
                return Ok(false);
            }
        }
        Ok(self.swap(*id, loaded, None).await)
    }

    async fn another(&self) -> Option<Self> {
        Some(self.clone())
    }
}
