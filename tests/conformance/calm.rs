//! Stores in memory that are wrong whatever overlaps.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use task_lifecycle::conformance::{Law, Store};
use task_lifecycle::{Previous, Snapshot, Status, Task};

/// What a store does wrong.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) enum Fault {
    UnconditionalWrite,
    LostRaceAnswered200,
    MaskedNotFound,
    SqlByFormat,
    StaleCopyIsRead,
    StaleCopyOfOthers,
    RevisionRestoredOnRevert,
    RevisionNotStored,
    PreviousDroppedOnReopen,
    PreviousPayloadDropped,
    PreviousStatusForgotten,
    PayloadTrimmed,
    PayloadCutAtNul,
    PayloadCutAtLimit,
    EmptyPayloadIsNull,
    PayloadNotAscii,
    RevertKeepsTheConfiguration,
    StatusInLowerCase,
    CancelledIsUnknown,
    DeleteIgnoresTheRevision,
    DeleteHides,
    DeleteTakesTwo,
    DeleteOfNothingSucceeds,
    RefusalWrites,
    RefusalCounts,
    UnknownIsCreated,
    CrossTalk,
    IdUsedAgain,
    EditNotCounted,
    CommitsLostInCrash,
    DeletedIsBackAfterCrash,
    EveryThirdCommitRefused,
    Panics,
    ConflictIsAnError,
    CommitToNothingIsAnError,
    RevisionIn32Bits,
    RunIn32Bits,
    RevisionIsAFloat,
    PayloadIsANumber,
    EqualPayloadsAreOne,
    TenRows,
    DeletesByPrefix,
    UnknownPanics,
    NameIsTakenOver,
}

type Row = Snapshot<String>;

#[derive(Default, Debug)]
struct Table {
    rows: BTreeMap<u32, Row>,
    /// As of the last time that it was written out.
    on_disk: BTreeMap<u32, Row>,
    deleted: BTreeMap<u32, Row>,
    next: u32,
    commits: u32,
}

/// A store in memory: right, or with a fault.
pub(crate) struct Memory {
    table: Arc<Mutex<Table>>,
    /// What this handle has read.
    cache: Mutex<BTreeMap<u32, Row>>,
    fault: Option<Fault>,
}

impl Memory {
    pub(crate) fn new(fault: Option<Fault>) -> Self {
        Self {
            table: Arc::default(),
            cache: Mutex::default(),
            fault,
        }
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn has(&self, fault: Fault) -> bool {
        self.fault == Some(fault)
    }

    /// The faults of what is written.
    fn written(&self, task: &Task<String>, before: Option<&Row>) -> Result<Row, String> {
        let mut row = Row::from(task.clone());
        match self.fault {
            Some(Fault::SqlByFormat) if row.payload.contains('\'') => {
                return Err("syntax error at or near \"s\"".to_owned());
            }
            Some(Fault::PayloadTrimmed) => row.payload = row.payload.trim().to_owned(),
            Some(Fault::PayloadCutAtNul) => {
                row.payload = row
                    .payload
                    .split('\0')
                    .next()
                    .unwrap_or_default()
                    .to_owned();
            }
            Some(Fault::PayloadCutAtLimit) => {
                row.payload = row.payload.chars().take(65_536).collect();
            }
            Some(Fault::EmptyPayloadIsNull) if row.payload.is_empty() => {
                "NULL".clone_into(&mut row.payload);
            }
            #[expect(clippy::cast_possible_truncation, reason = "it is the fault")]
            Some(Fault::RevisionIn32Bits) => row.revision = u64::from(row.revision as u32),
            Some(Fault::RunIn32Bits) => row.run = row.run.min(u64::from(u32::MAX)),
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_precision_loss,
                clippy::cast_sign_loss,
                reason = "it is the fault"
            )]
            Some(Fault::RevisionIsAFloat) => row.revision = row.revision as f64 as u64,
            Some(Fault::PayloadIsANumber) => {
                if let Ok(number) = row.payload.parse::<f64>() {
                    row.payload = number.to_string();
                }
            }
            Some(Fault::PayloadNotAscii) => row.payload.retain(|letter| letter.is_ascii()),
            Some(Fault::RevisionNotStored) => row.revision = before.map_or(0, |row| row.revision),
            Some(Fault::PreviousStatusForgotten) => {
                if let Some(previous) = &mut row.previous {
                    previous.status = Status::Succeeded;
                }
            }
            Some(Fault::PreviousPayloadDropped) => {
                if let Some(previous) = &mut row.previous {
                    previous.payload.clear();
                }
            }
            _ => {}
        }
        if let Some((before, Previous { .. })) = before.and_then(|b| Some((b, b.previous.clone()?)))
        {
            let reverted = row.previous.is_none() && row.payload != before.payload;
            if reverted && self.has(Fault::RevertKeepsTheConfiguration) {
                row.payload.clone_from(&before.payload);
            }
            if reverted && self.has(Fault::RevisionRestoredOnRevert) {
                row.revision = before.revision.saturating_sub(1);
            }
        }
        let only_edited = before
            .is_some_and(|before| (before.status, &before.previous) == (row.status, &row.previous));
        if only_edited && self.has(Fault::EditNotCounted) {
            row.revision = row.revision.saturating_sub(1);
        }
        Ok(row)
    }
}

impl Store for Memory {
    type Id = u32;
    type Payload = String;
    type Error = String;

    fn payload(text: &str) -> String {
        text.to_owned()
    }

    async fn create(&self, task: &Task<String>) -> Result<u32, String> {
        let row = self.written(task, None)?;
        let mut table = self.table();
        let is_there = table
            .rows
            .values()
            .any(|other| other.payload == row.payload);
        if is_there && self.has(Fault::EqualPayloadsAreOne) {
            return Err("UNIQUE constraint failed".to_owned());
        }
        if self.has(Fault::TenRows) && table.rows.len() == 10 {
            table.rows.pop_first();
        }
        let free = (0..table.next).find(|id| !table.rows.contains_key(id));
        let again = free.filter(|_| self.has(Fault::IdUsedAgain));
        let id = again.unwrap_or(table.next);
        table.next += u32::from(again.is_none());
        table.rows.insert(id, row.clone());
        table.on_disk.insert(id, row);
        Ok(id)
    }

    async fn load(&self, id: &u32) -> Result<Option<Task<String>>, String> {
        let table = self.table();
        let row = table.rows.get(id).cloned();
        assert!(
            !self.has(Fault::UnknownPanics) || *id < table.next,
            "no row {id}"
        );
        let row = match self.fault {
            Some(Fault::StaleCopyIsRead | Fault::StaleCopyOfOthers) => {
                row.map(|row| self.cache.lock().unwrap().entry(*id).or_insert(row).clone())
            }
            Some(Fault::MaskedNotFound) if row.is_none() => return Err("outage".to_owned()),
            Some(Fault::StatusInLowerCase)
                if row
                    .as_ref()
                    .is_some_and(|row| row.status == Status::Processing) =>
            {
                return Err("unknown status: processing".to_owned());
            }
            Some(Fault::CancelledIsUnknown)
                if row
                    .as_ref()
                    .is_some_and(|row| row.status == Status::Cancelled) =>
            {
                None
            }
            _ => row,
        };
        row.map(|row| Task::try_from(row).map_err(|fault| fault.to_string()))
            .transpose()
    }

    async fn commit(&self, id: &u32, loaded: u64, task: &Task<String>) -> Result<bool, String> {
        let mut table = self.table();
        let before = table.rows.get(id).cloned();
        let row = self.written(task, before.as_ref())?;
        let Some(before) = before else {
            if self.has(Fault::CommitToNothingIsAnError) {
                return Err("no such task".to_owned());
            }
            if self.has(Fault::UnknownIsCreated) {
                table.rows.insert(*id, row);
            }
            return Ok(self.has(Fault::LostRaceAnswered200));
        };
        let current = before.revision == loaded || self.has(Fault::UnconditionalWrite);
        if !current && self.has(Fault::ConflictIsAnError) {
            return Err("conflict".to_owned());
        }
        table.commits += 1;
        assert!(!self.has(Fault::Panics), "called `unwrap` on a row");
        if current && self.has(Fault::EveryThirdCommitRefused) && table.commits % 3 == 0 {
            return Ok(false);
        }
        if current {
            if self.has(Fault::CrossTalk) {
                for other in table
                    .rows
                    .values_mut()
                    .filter(|other| other.status == before.status)
                {
                    other.status = row.status;
                    other.previous.clone_from(&row.previous);
                }
            }
            if !self.has(Fault::CommitsLostInCrash) {
                table.on_disk.insert(*id, row.clone());
            }
            if self.has(Fault::StaleCopyOfOthers) {
                self.cache.lock().unwrap().insert(*id, row.clone());
            }
            table.rows.insert(*id, row);
        } else if self.has(Fault::RefusalWrites) {
            table.rows.insert(*id, row);
        } else if self.has(Fault::RefusalCounts) {
            let count = |row: &mut Row| row.revision += 1;
            table.rows.entry(*id).and_modify(count);
        }
        Ok(current || self.has(Fault::LostRaceAnswered200))
    }

    async fn delete(&self, id: &u32, loaded: u64) -> Result<bool, String> {
        let mut table = self.table();
        let Some(row) = table.rows.get(id).cloned() else {
            return Ok(self.has(Fault::DeleteOfNothingSucceeds));
        };
        if row.revision != loaded && !self.has(Fault::DeleteIgnoresTheRevision) {
            return Ok(false);
        }
        if !self.has(Fault::DeleteHides) {
            table.rows.remove(id);
        }
        if self.has(Fault::DeletesByPrefix) {
            let prefix = id.to_string();
            table
                .rows
                .retain(|id, _| !id.to_string().starts_with(&prefix));
        }
        if self.has(Fault::DeleteTakesTwo) {
            table.rows.remove(&(id + 1));
        }
        table.on_disk.remove(id);
        table.deleted.insert(*id, row);
        Ok(true)
    }

    async fn create_as(&self, id: &u32, task: &Task<String>) -> Result<Option<bool>, String> {
        let row = self.written(task, None)?;
        let mut table = self.table();
        let is_free = !table.rows.contains_key(id) || self.has(Fault::NameIsTakenOver);
        if is_free {
            table.rows.insert(*id, row);
        }
        Ok(Some(is_free))
    }

    async fn another(&self) -> Option<Self> {
        let table = Arc::clone(&self.table);
        Some(Self {
            table,
            cache: Mutex::default(),
            fault: self.fault,
        })
    }

    async fn reopen(self) -> Self {
        self.cache.lock().unwrap().clear();
        let table = &mut *self.table.lock().unwrap();
        table.rows.clone_from(&table.on_disk);
        if self.fault == Some(Fault::PreviousDroppedOnReopen) {
            for row in table.rows.values_mut() {
                row.previous = None;
            }
        }
        if self.fault == Some(Fault::DeletedIsBackAfterCrash) {
            table.rows.append(&mut table.deleted);
        }
        Self {
            table: Arc::clone(&self.table),
            cache: Mutex::default(),
            fault: self.fault,
        }
    }
}

#[rustfmt::skip]
pub(crate) const LAWS: &[(Fault, Law)] = &[
    (Fault::UnconditionalWrite,          Law::StaleIsRefused),
    (Fault::LostRaceAnswered200,         Law::StaleIsRefused),
    (Fault::MaskedNotFound,              Law::AbsenceIsNoError),
    (Fault::SqlByFormat,                 Law::NoError),
    (Fault::StaleCopyIsRead,             Law::StoredWhole),
    (Fault::StaleCopyOfOthers,           Law::SeenByAll),
    (Fault::RevisionRestoredOnRevert,    Law::StoredWhole),
    (Fault::RevisionNotStored,           Law::StoredWhole),
    (Fault::PreviousDroppedOnReopen,     Law::SurvivesCrash),
    (Fault::PreviousPayloadDropped,      Law::StoredWhole),
    (Fault::PreviousStatusForgotten,     Law::StoredWhole),
    (Fault::PayloadTrimmed,              Law::StoredWhole),
    (Fault::PayloadCutAtNul,             Law::StoredWhole),
    (Fault::PayloadCutAtLimit,           Law::StoredWhole),
    (Fault::EmptyPayloadIsNull,          Law::StoredWhole),
    (Fault::PayloadNotAscii,             Law::StoredWhole),
    (Fault::RevertKeepsTheConfiguration, Law::StoredWhole),
    (Fault::StatusInLowerCase,           Law::NoError),
    (Fault::CancelledIsUnknown,          Law::StoredWhole),
    (Fault::DeleteIgnoresTheRevision,    Law::StaleDeleteIsRefused),
    (Fault::DeleteHides,                 Law::DeletedIsGone),
    (Fault::DeleteTakesTwo,              Law::OthersAreUntouched),
    (Fault::DeleteOfNothingSucceeds,     Law::StaleDeleteIsRefused),
    (Fault::RefusalWrites,               Law::RefusalWritesNothing),
    (Fault::RefusalCounts,               Law::RefusalWritesNothing),
    (Fault::UnknownIsCreated,            Law::RefusalWritesNothing),
    (Fault::CrossTalk,                   Law::OthersAreUntouched),
    (Fault::IdUsedAgain,                 Law::DeletedIsGone),
    (Fault::EditNotCounted,              Law::StoredWhole),
    (Fault::CommitsLostInCrash,          Law::SurvivesCrash),
    (Fault::DeletedIsBackAfterCrash,     Law::SurvivesCrash),
    (Fault::EveryThirdCommitRefused,     Law::CurrentIsAccepted),
    (Fault::Panics,                      Law::NoError),
    (Fault::ConflictIsAnError,           Law::NoError),
    (Fault::CommitToNothingIsAnError,    Law::AbsenceIsNoError),
    (Fault::RevisionIn32Bits,            Law::StoredWhole),
    (Fault::RunIn32Bits,                 Law::StoredWhole),
    (Fault::RevisionIsAFloat,            Law::StoredWhole),
    (Fault::PayloadIsANumber,            Law::StoredWhole),
    (Fault::EqualPayloadsAreOne,         Law::NoError),
    (Fault::TenRows,                     Law::OthersAreUntouched),
    (Fault::DeletesByPrefix,             Law::OthersAreUntouched),
    (Fault::UnknownPanics,               Law::NoError),
    (Fault::NameIsTakenOver,             Law::TakenIsRefused),
];
