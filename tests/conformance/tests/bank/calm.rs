//! Faults that show when nothing overlaps: in what is written, compared, refused, named.

use std::sync::atomic::Ordering;

use task_lifecycle::{Draft, Revision, Run, Status};

use crate::memory::{Answer, Memory, Row, faults, lock};

faults! { calm:

// What is written.
SqlByFormat NoError {
    fn written(row: Row, _: Option<&Row>) -> Answer<Row> {
        if row.payload.contains('\'') { Err("syntax error at or near \"s\"".into()) } else { Ok(row) }
    }
}
PayloadTrimmed StoredWhole {
    fn written(row: Row, _: Option<&Row>) -> Answer<Row> {
        Ok(Row { payload: row.payload.trim().to_owned(), ..row })
    }
}
PayloadCutAtNul StoredWhole {
    fn written(row: Row, _: Option<&Row>) -> Answer<Row> {
        Ok(Row { payload: row.payload.split('\0').next().unwrap_or_default().to_owned(), ..row })
    }
}
PayloadCutAtLimit StoredWhole {
    fn written(row: Row, _: Option<&Row>) -> Answer<Row> {
        Ok(Row { payload: row.payload.chars().take(65_536).collect(), ..row })
    }
}
EmptyPayloadIsNull StoredWhole {
    fn written(row: Row, _: Option<&Row>) -> Answer<Row> {
        let payload = if row.payload.is_empty() { "NULL".to_owned() } else { row.payload };
        Ok(Row { payload, ..row })
    }
}
PayloadNotAscii StoredWhole {
    fn written(mut row: Row, _: Option<&Row>) -> Answer<Row> {
        row.payload.retain(|letter| letter.is_ascii());
        Ok(row)
    }
}
PayloadIsANumber StoredWhole {
    fn written(mut row: Row, _: Option<&Row>) -> Answer<Row> {
        if let Ok(number) = row.payload.parse::<f64>() {
            row.payload = number.to_string();
        }
        Ok(row)
    }
}
PreviousPayloadDropped StoredWhole {
    fn written(mut row: Row, _: Option<&Row>) -> Answer<Row> {
        if let Some(previous) = &mut row.previous { previous.payload.clear(); }
        Ok(row)
    }
}
PreviousStatusForgotten StoredWhole {
    fn written(mut row: Row, _: Option<&Row>) -> Answer<Row> {
        if let Some(previous) = &mut row.previous { previous.status = Status::Succeeded; }
        Ok(row)
    }
}
TwoLargeTextsAreOne StoredWhole {
    fn written(mut row: Row, _: Option<&Row>) -> Answer<Row> {
        if let Some(previous) = &mut row.previous {
            if previous.payload.get(..1_000) == row.payload.get(..1_000) && row.payload.len() > 1_000 {
                previous.payload.clone_from(&row.payload);
            }
        }
        Ok(row)
    }
}
RevisionIn32Bits StoredWhole {
    fn written(row: Row, _: Option<&Row>) -> Answer<Row> {
        Ok(Row { revision: Revision::new(row.revision.get() & u64::from(u32::MAX)), ..row })
    }
}
RunIn32Bits StoredWhole {
    fn written(row: Row, _: Option<&Row>) -> Answer<Row> {
        Ok(Row { run: Run::new(row.run.get().min(u64::from(u32::MAX))), ..row })
    }
}
RevisionIsAFloat StoredWhole {
    #[expect(clippy::cast_possible_truncation, clippy::cast_precision_loss, clippy::cast_sign_loss)]
    fn written(row: Row, _: Option<&Row>) -> Answer<Row> {
        Ok(Row { revision: Revision::new(row.revision.get() as f64 as u64), ..row })
    }
}
RevisionNotStored StoredWhole {
    fn written(row: Row, before: Option<&Row>) -> Answer<Row> {
        Ok(Row { revision: before.map_or(Revision::new(0), |before| before.revision), ..row })
    }
}
RevertKeepsTheConfiguration StoredWhole {
    fn written(mut row: Row, before: Option<&Row>) -> Answer<Row> {
        if let Some(before) = before.filter(|before| before.previous.is_some() && row.previous.is_none()) {
            row.payload.clone_from(&before.payload);
        }
        Ok(row)
    }
}
RevisionRestoredOnRevert StoredWhole {
    fn written(mut row: Row, before: Option<&Row>) -> Answer<Row> {
        if let Some(before) = before.filter(|before| before.previous.is_some() && row.previous.is_none()) {
            row.revision = Revision::new(before.revision.get().saturating_sub(1));
        }
        Ok(row)
    }
}
EditNotCounted StoredWhole {
    fn written(mut row: Row, before: Option<&Row>) -> Answer<Row> {
        if before.is_some_and(|before| (before.status, before.run) == (row.status, row.run)) {
            row.revision = Revision::new(row.revision.get().saturating_sub(1));
        }
        Ok(row)
    }
}

// What is compared.
UnconditionalWrite StaleIsRefused OneWins {
    async fn commit(store: &Memory, id: u32, _: &Draft<String>, row: Row) -> Answer<bool> {
        store.pause().await;
        Ok(store.swap_if(id, |old| old.is_some(), Some(row)))
    }
}
GuardByStatus StaleIsRefused OneWins {
    async fn commit(store: &Memory, id: u32, draft: &Draft<String>, row: Row) -> Answer<bool> {
        store.pause().await;
        let is_same = |old: Option<&Row>| old.is_some_and(|old| old.status == draft.before().status());
        Ok(store.swap_if(id, is_same, Some(row)))
    }
}
LostRaceAnswered200 StaleIsRefused OneWins {
    async fn commit(store: &Memory, id: u32, draft: &Draft<String>, row: Row) -> Answer<bool> {
        store.pause().await;
        store.swap(id, draft.loaded(), Some(row));
        Ok(true)
    }
}
DeleteIgnoresTheRevision StaleDeleteIsRefused OneWins {
    async fn delete(store: &Memory, id: u32, _: Revision) -> Answer<bool> {
        store.pause().await;
        Ok(store.swap_if(id, |old| old.is_some(), None))
    }
}
DeleteOfNothingSucceeds StaleDeleteIsRefused OneWins {
    async fn delete(store: &Memory, id: u32, loaded: Revision) -> Answer<bool> {
        store.pause().await;
        Ok(store.swap_if(id, |old| old.is_none_or(|old| old.revision == loaded), None))
    }
}
CommitBringsBackTheDeleted DeletedIsGone OneWins {
    async fn commit(store: &Memory, id: u32, draft: &Draft<String>, row: Row) -> Answer<bool> {
        store.pause().await;
        let was = id < store.next.load(Ordering::Relaxed);
        let is_right = |old: Option<&Row>| old.map_or(was, |old| old.revision == draft.loaded());
        Ok(store.swap_if(id, is_right, Some(row)))
    }
}
EveryThirdCommitRefused CurrentIsAccepted {
    async fn commit(store: &Memory, id: u32, draft: &Draft<String>, row: Row) -> Answer<bool> {
        store.pause().await;
        Ok(store.counted() % 3 > 0 && store.swap(id, draft.loaded(), Some(row)))
    }
}
EqualUpdateIsSkipped StoredWhole {
    async fn commit(store: &Memory, id: u32, draft: &Draft<String>, row: Row) -> Answer<bool> {
        store.pause().await;
        let is_equal = store.get(id).is_some_and(|old| old.payload == row.payload && row.previous.is_some());
        if is_equal && store.is_at(id, draft.loaded()) { return Ok(true); }
        Ok(store.swap(id, draft.loaded(), Some(row)))
    }
}
RefusalWrites RefusalWritesNothing {
    async fn commit(store: &Memory, id: u32, draft: &Draft<String>, row: Row) -> Answer<bool> {
        store.pause().await;
        let is_current = store.is_at(id, draft.loaded());
        store.swap_if(id, |old| old.is_some(), Some(row));
        Ok(is_current)
    }
}
RefusalCounts RefusalWritesNothing {
    async fn commit(store: &Memory, id: u32, draft: &Draft<String>, row: Row) -> Answer<bool> {
        store.pause().await;
        let is_current = store.swap(id, draft.loaded(), Some(row));
        if !is_current {
            let count = |row: &mut Row| row.revision = Revision::new(row.revision.get() + 1);
            lock(&store.rows).entry(id).and_modify(count);
        }
        Ok(is_current)
    }
}
UnknownIsCreated RefusalWritesNothing {
    async fn commit(store: &Memory, id: u32, draft: &Draft<String>, row: Row) -> Answer<bool> {
        store.pause().await;
        let is_current = store.swap(id, draft.loaded(), Some(row.clone()));
        store.swap_if(id, |old| old.is_none(), Some(row));
        Ok(is_current)
    }
}

// What is an error.
MaskedNotFound AbsenceIsNoError {
    async fn load(store: &Memory, id: u32) -> Answer<Option<Row>> {
        store.pause().await;
        store.get(id).map(Some).ok_or("outage".into())
    }
}
CommitToNothingIsAnError AbsenceIsNoError {
    async fn commit(store: &Memory, id: u32, draft: &Draft<String>, row: Row) -> Answer<bool> {
        store.pause().await;
        store.get(id).ok_or("no such task")?;
        Ok(store.swap(id, draft.loaded(), Some(row)))
    }
}
ConflictIsAnError NoError {
    async fn commit(store: &Memory, id: u32, draft: &Draft<String>, row: Row) -> Answer<bool> {
        store.pause().await;
        if store.get(id).is_some_and(|old| old.revision != draft.loaded()) { return Err("conflict".into()); }
        Ok(store.swap(id, draft.loaded(), Some(row)))
    }
}
Panics NoError {
    async fn commit(_: &Memory, _: u32, _: &Draft<String>, _: Row) -> Answer<bool> {
        panic!("called `unwrap` on a row")
    }
}
UnknownPanics NoError {
    async fn load(store: &Memory, id: u32) -> Answer<Option<Row>> {
        store.pause().await;
        assert!(id < store.next.load(Ordering::Relaxed), "no row {id}");
        Ok(store.get(id))
    }
}
StatusInLowerCase NoError {
    async fn load(store: &Memory, id: u32) -> Answer<Option<Row>> {
        store.pause().await;
        match store.get(id) {
            Some(row) if row.status == Status::Processing => Err("unknown status: processing".into()),
            row => Ok(row),
        }
    }
}
EqualPayloadsAreOne NoError {
    async fn create(store: &Memory, row: Row) -> Answer<u32> {
        store.pause().await;
        let is_there = lock(&store.rows).values().any(|other| other.payload == row.payload);
        if is_there { Err("UNIQUE constraint failed".into()) } else { Ok(store.insert(row)) }
    }
}

// What is seen.
CancelledIsUnknown StoredWhole {
    async fn load(store: &Memory, id: u32) -> Answer<Option<Row>> {
        store.pause().await;
        Ok(store.get(id).filter(|row| row.status != Status::Cancelled))
    }
}
StaleCopyIsRead StoredWhole {
    async fn load(store: &Memory, id: u32) -> Answer<Option<Row>> {
        store.pause().await;
        let row = store.get(id);
        Ok(row.map(|row| lock(&store.own).entry(id).or_insert(row).clone()))
    }
}
StaleCopyOfOthers SeenByAll {
    async fn load(store: &Memory, id: u32) -> Answer<Option<Row>> {
        StaleCopyIsRead::load(store, id).await
    }
    async fn commit(store: &Memory, id: u32, draft: &Draft<String>, row: Row) -> Answer<bool> {
        store.pause().await;
        let is_current = store.swap(id, draft.loaded(), Some(row.clone()));
        if is_current { lock(&store.own).insert(id, row); }
        Ok(is_current)
    }
}
CacheGivesTheDeletedBack DeletedIsGone {
    async fn load(store: &Memory, id: u32) -> Answer<Option<Row>> {
        store.pause().await;
        let row = store.get(id);
        if let Some(row) = row { lock(&store.beside).insert(id, row); }
        Ok(lock(&store.beside).get(&id).cloned())
    }
}
DeleteHides DeletedIsGone {
    async fn delete(store: &Memory, id: u32, loaded: Revision) -> Answer<bool> {
        store.pause().await;
        Ok(store.is_at(id, loaded))
    }
}
DeleteTakesTwo OthersAreUntouched {
    async fn delete(store: &Memory, id: u32, loaded: Revision) -> Answer<bool> {
        store.pause().await;
        let is_current = store.swap(id, loaded, None);
        if is_current { store.put(id + 1, None); }
        Ok(is_current)
    }
}
DeletesByPrefix OthersAreUntouched {
    async fn delete(store: &Memory, id: u32, loaded: Revision) -> Answer<bool> {
        store.pause().await;
        let is_current = store.is_at(id, loaded);
        if is_current {
            let prefix = id.to_string();
            lock(&store.rows).retain(|id, _| !id.to_string().starts_with(&prefix));
        }
        Ok(is_current)
    }
}
CrossTalk OthersAreUntouched {
    async fn commit(store: &Memory, id: u32, draft: &Draft<String>, row: Row) -> Answer<bool> {
        store.pause().await;
        let is_current = store.swap(id, draft.loaded(), Some(row.clone()));
        if is_current {
            let state = draft.before();
            for other in lock(&store.rows).values_mut().filter(|other| other.status == state.status()) {
                (other.status, other.previous) = (row.status, row.previous.clone());
            }
        }
        Ok(is_current)
    }
}
EqualTextsAreOneRow OthersAreUntouched {
    async fn commit(store: &Memory, id: u32, draft: &Draft<String>, row: Row) -> Answer<bool> {
        store.pause().await;
        let Some(before) = store.get(id).filter(|old| old.revision == draft.loaded()) else { return Ok(false) };
        let mut rows = lock(&store.rows);
        for other in rows.values_mut().filter(|other| other.payload == before.payload) {
            other.payload.clone_from(&row.payload);
        }
        rows.insert(id, row);
        Ok(true)
    }
}
TenRows OthersAreUntouched {
    async fn create(store: &Memory, row: Row) -> Answer<u32> {
        store.pause().await;
        let mut rows = lock(&store.rows);
        if rows.len() == 10 { rows.pop_first(); }
        drop(rows);
        Ok(store.insert(row))
    }
}
IdUsedAgain DeletedIsGone {
    async fn create(store: &Memory, row: Row) -> Answer<u32> {
        store.pause().await;
        let free = (0..store.next.load(Ordering::Relaxed)).find(|&id| store.get(id).is_none());
        let Some(id) = free else { return Ok(store.insert(row)) };
        store.put(id, Some(row));
        Ok(id)
    }
}

// Crashes.
CommitsLostInCrash SurvivesCrash {
    async fn create(store: &Memory, row: Row) -> Answer<u32> {
        store.pause().await;
        let id = store.insert(row.clone());
        lock(&store.beside).insert(id, row);
        Ok(id)
    }
    fn reopen(store: &Memory) {
        let on_disk = lock(&store.beside);
        for (id, row) in lock(&store.rows).iter_mut() {
            if let Some(written) = on_disk.get(id) { row.clone_from(written); }
        }
    }
}
DeletedIsBackAfterCrash SurvivesCrash {
    async fn delete(store: &Memory, id: u32, loaded: Revision) -> Answer<bool> {
        store.pause().await;
        let row = store.get(id);
        let is_current = store.swap(id, loaded, None);
        if let Some(row) = row.filter(|_| is_current) { lock(&store.beside).insert(id, row); }
        Ok(is_current)
    }
    fn reopen(store: &Memory) {
        lock(&store.rows).append(&mut lock(&store.beside));
    }
}
PreviousDroppedOnReopen SurvivesCrash {
    fn reopen(store: &Memory) {
        lock(&store.rows).values_mut().for_each(|row| row.previous = None);
    }
}

// Names that a client chose.
NameIsTakenOver TakenIsRefused {
    async fn create_as(store: &Memory, id: u32, row: Row) -> Answer<bool> {
        store.put(id, Some(row));
        Ok(true)
    }
}
FreeNameIsRefused CurrentIsAccepted {
    async fn create_as(_: &Memory, _: u32, _: Row) -> Answer<bool> {
        Ok(false)
    }
}
FreeNameIsNotStored StoredWhole {
    async fn create_as(store: &Memory, id: u32, _: Row) -> Answer<bool> {
        Ok(store.get(id).is_none())
    }
}
FreeNameIsAnError NoError {
    async fn create_as(store: &Memory, id: u32, row: Row) -> Answer<bool> {
        if id >= store.next.load(Ordering::Relaxed) { return Err("no such partition".into()); }
        Ok(store.swap_if(id, |old| old.is_none(), Some(row)))
    }
}
ChosenNameCannotBeDeleted DeletedIsGone {
    async fn delete(store: &Memory, id: u32, loaded: Revision) -> Answer<bool> {
        if id >= store.next.load(Ordering::Relaxed) { return Ok(store.is_at(id, loaded)); }
        Ok(store.swap(id, loaded, None))
    }
}

// What wears out.
Every64thWriteLost StoredWhole {
    async fn commit(store: &Memory, id: u32, draft: &Draft<String>, row: Row) -> Answer<bool> {
        store.pause().await;
        if store.is_at(id, draft.loaded()) && store.counted() % 64 == 0 { return Ok(true); }
        Ok(store.swap(id, draft.loaded(), Some(row)))
    }
}

// What only `Draft` makes possible.
GuardOnTheDraftsRevision CurrentIsAccepted {
    async fn commit(store: &Memory, id: u32, draft: &Draft<String>, row: Row) -> Answer<bool> {
        store.pause().await;
        Ok(store.swap(id, draft.revision(), Some(row)))
    }
}
GuardOnBefore StaleIsRefused OneWins {
    async fn commit(store: &Memory, id: u32, draft: &Draft<String>, row: Row) -> Answer<bool> {
        store.pause().await;
        let state = draft.before();
        let is_same = |old: Option<&Row>| old.is_some_and(|old| {
            (old.status, old.previous.as_ref().map(|it| it.status)) == (state.status(), state.previous())
        });
        Ok(store.swap_if(id, is_same, Some(row)))
    }
}
RunOnlyIfQueued StoredWhole {
    async fn commit(store: &Memory, id: u32, draft: &Draft<String>, mut row: Row) -> Answer<bool> {
        store.pause().await;
        if draft.queued().is_none() { row.run = draft.loaded_run(); }
        Ok(store.swap(id, draft.loaded(), Some(row)))
    }
}
SameStateIsAnEdit StoredWhole {
    async fn commit(store: &Memory, id: u32, draft: &Draft<String>, mut row: Row) -> Answer<bool> {
        store.pause().await;
        if let Some(before) = store.get(id).filter(|_| draft.before() == draft.state()) {
            row = Row { payload: row.payload, revision: row.revision, ..before };
        }
        Ok(store.swap(id, draft.loaded(), Some(row)))
    }
}
PreviousOnlyIfItWasNoUpdate StoredWhole {
    async fn commit(store: &Memory, id: u32, draft: &Draft<String>, mut row: Row) -> Answer<bool> {
        store.pause().await;
        let before = store.get(id).filter(|_| draft.before().is_update() && draft.is_update());
        if let Some(before) = before { row.previous = before.previous; }
        Ok(store.swap(id, draft.loaded(), Some(row)))
    }
}
}
