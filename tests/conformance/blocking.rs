//! Stores that block instead of waiting, and are wrong if two threads are at it.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, TryLockError};
use std::thread;
use std::time::Duration;

use task_lifecycle::conformance::{Law, Store};
use task_lifecycle::{Snapshot, Status, Task};

/// What a store does wrong if another thread comes between.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) enum Fault {
    CheckThenWrite,
    CheckThenDelete,
    GuardByStatusAlone,
    RetriesOverTheWinner,
    HalfWritten,
    WrittenBeforeChecked,
    SlowReadFillsCache,
    AnswerBeforeWrite,
    ConflictIsAnOutage,
    BusyIsAnOutage,
    PanicsIfChanged,
    /// In no table: it ends the process.
    LockIsNeverGivenBack,
}

#[rustfmt::skip]
pub(crate) const LAWS: &[(Fault, Law)] = &[
    (Fault::CheckThenWrite,       Law::OneWins),
    (Fault::CheckThenDelete,      Law::OneWins),
    (Fault::GuardByStatusAlone,   Law::OneWins),
    (Fault::RetriesOverTheWinner, Law::OneWins),
    (Fault::HalfWritten,          Law::SeenWhole),
    (Fault::WrittenBeforeChecked, Law::SeenWhole),
    (Fault::SlowReadFillsCache,   Law::NeverOlder),
    (Fault::AnswerBeforeWrite,    Law::NeverOlder),
    (Fault::ConflictIsAnOutage,   Law::NoError),
    (Fault::BusyIsAnOutage,       Law::NoError),
    (Fault::PanicsIfChanged,      Law::NoError),
];

type Row = Snapshot<String>;

#[derive(Default)]
struct Shared {
    rows: Mutex<BTreeMap<u32, Row>>,
    cache: Mutex<BTreeMap<u32, Row>>,
    writers: Mutex<()>,
    next: AtomicU32,
}

/// A store whose handles share its rows: right, or with a fault.
#[derive(Clone)]
pub(crate) struct Blocking {
    shared: Arc<Shared>,
    fault: Option<Fault>,
}

impl Blocking {
    pub(crate) fn new(fault: Option<Fault>) -> Self {
        Self {
            shared: Arc::default(),
            fault,
        }
    }

    fn has(&self, fault: Fault) -> bool {
        self.fault == Some(fault)
    }

    fn get(&self, id: u32) -> Option<Row> {
        self.shared.rows.lock().unwrap().get(&id).cloned()
    }

    fn is_at(&self, id: u32, revision: u64) -> bool {
        self.get(id).is_some_and(|row| row.revision == revision)
    }

    fn put(&self, id: u32, row: Option<Row>) {
        let mut rows = self.shared.rows.lock().unwrap();
        match row {
            Some(row) => rows.insert(id, row),
            None => rows.remove(&id),
        };
        drop(rows);
        self.shared.cache.lock().unwrap().remove(&id);
    }

    /// The right write: a compare and a swap under one lock.
    fn swap(&self, id: u32, is_current: impl Fn(&Row) -> bool, row: Option<Row>) -> bool {
        let mut rows = self.shared.rows.lock().unwrap();
        let is_current = rows.get(&id).is_some_and(is_current);
        if is_current {
            match row {
                Some(row) => rows.insert(id, row),
                None => rows.remove(&id),
            };
            drop(rows);
            self.shared.cache.lock().unwrap().remove(&id);
        }
        is_current
    }
}

impl Store for Blocking {
    type Id = u32;
    type Payload = String;
    type Error = String;

    fn payload(text: &str) -> String {
        text.to_owned()
    }

    async fn create(&self, task: &Task<String>) -> Result<u32, String> {
        let id = self.shared.next.fetch_add(1, Ordering::Relaxed);
        self.put(id, Some(task.clone().into()));
        Ok(id)
    }

    async fn load(&self, id: &u32) -> Result<Option<Task<String>>, String> {
        let cached = self.shared.cache.lock().unwrap().get(id).cloned();
        let row = match cached {
            Some(row) if self.has(Fault::SlowReadFillsCache) => Some(row),
            _ => {
                let row = self.get(*id);
                if self.has(Fault::SlowReadFillsCache) {
                    thread::sleep(Duration::from_micros(50));
                }
                row
            }
        };
        if let (Some(row), Some(Fault::SlowReadFillsCache)) = (&row, self.fault) {
            self.shared.cache.lock().unwrap().insert(*id, row.clone());
        }
        let task = row.map(Task::try_from).transpose();
        task.map_err(|fault| fault.to_string())
    }

    async fn commit(&self, id: &u32, loaded: u64, task: &Task<String>) -> Result<bool, String> {
        let (id, row) = (*id, Row::from(task.clone()));
        Ok(match self.fault {
            Some(Fault::CheckThenWrite) => {
                let is_current = self.is_at(id, loaded);
                if is_current {
                    self.put(id, Some(row));
                }
                is_current
            }
            Some(Fault::GuardByStatusAlone) => {
                let Some(before) = self.get(id).filter(|row| row.revision == loaded) else {
                    return Ok(false);
                };
                self.swap(id, |row| row.status == before.status, Some(row))
            }
            Some(Fault::RetriesOverTheWinner) => {
                let mut expected = loaded;
                if !self.is_at(id, loaded) {
                    return Ok(false);
                }
                while !self.swap(id, |row| row.revision == expected, Some(row.clone())) {
                    let Some(now) = self.get(id) else {
                        return Ok(false);
                    };
                    expected = now.revision;
                }
                true
            }
            Some(Fault::HalfWritten) => {
                let _guard = self.shared.writers.lock().unwrap();
                let Some(mut half) = self.get(id).filter(|row| row.revision == loaded) else {
                    return Ok(false);
                };
                (half.status, half.revision) = (row.status, row.revision);
                self.put(id, Some(half));
                self.put(id, Some(row));
                true
            }
            Some(Fault::WrittenBeforeChecked) => {
                let _guard = self.shared.writers.lock().unwrap();
                let Some(before) = self.get(id) else {
                    return Ok(false);
                };
                let is_current = before.revision == loaded;
                self.put(id, Some(row));
                if !is_current {
                    self.put(id, Some(before));
                }
                is_current
            }
            Some(Fault::AnswerBeforeWrite) if row.status == Status::Processing => {
                let is_current = self.is_at(id, loaded);
                if is_current {
                    let store = self.clone();
                    std::thread::spawn(move || {
                        store.swap(id, |row| row.revision == loaded, Some(row));
                    });
                }
                is_current
            }
            Some(Fault::ConflictIsAnOutage) => {
                if !self.is_at(id, loaded) {
                    return Ok(false);
                }
                if !self.swap(id, |row| row.revision == loaded, Some(row)) {
                    return Err("could not serialize access".to_owned());
                }
                true
            }
            Some(Fault::LockIsNeverGivenBack) => {
                std::mem::forget(self.shared.writers.lock().unwrap());
                self.swap(id, |row| row.revision == loaded, Some(row))
            }
            Some(Fault::BusyIsAnOutage) => match self.shared.writers.try_lock() {
                Err(TryLockError::WouldBlock) => return Err("database is locked".to_owned()),
                _guard => self.swap(id, |row| row.revision == loaded, Some(row)),
            },
            Some(Fault::PanicsIfChanged) => {
                let is_current = self.is_at(id, loaded);
                let swapped = self.swap(id, |row| row.revision == loaded, Some(row));
                assert_eq!(is_current, swapped, "the row has changed");
                swapped
            }
            _ => self.swap(id, |row| row.revision == loaded, Some(row)),
        })
    }

    async fn delete(&self, id: &u32, loaded: u64) -> Result<bool, String> {
        let _guard = match self.fault {
            Some(Fault::HalfWritten | Fault::WrittenBeforeChecked) => {
                Some(self.shared.writers.lock().unwrap())
            }
            _ => None,
        };
        if self.has(Fault::CheckThenDelete) {
            let is_current = self.is_at(*id, loaded);
            if is_current {
                self.put(*id, None);
            }
            return Ok(is_current);
        }
        Ok(self.swap(*id, |row| row.revision == loaded, None))
    }

    async fn another(&self) -> Option<Self> {
        Some(self.clone())
    }
}
