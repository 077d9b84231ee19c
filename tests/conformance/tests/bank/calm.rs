//! Faults that show when nothing overlaps: in what is written, compared, refused, named.

use std::sync::atomic::Ordering;

use task_lifecycle::{Draft, Revision, Run, Status};

use crate::memory::{Answer, Fault, Later, Memory, Row, faults, lock};

faults! { CALM: // What is written.
SqlByFormat NoError {
    written(row, _) { if row.payload.contains('\'') { Err("syntax error at or near \"s\"".into()) } else { Ok(row) } }
}
PayloadTrimmed StoredWhole { written(row, _) { Ok(Row { payload: row.payload.trim().to_owned(), ..row }) } }
PayloadCutAtNul StoredWhole {
    written(row, _) { Ok(Row { payload: row.payload.split('\0').next().unwrap_or_default().to_owned(), ..row }) }
}
PayloadCutAtLimit StoredWhole {
    written(row, _) { Ok(Row { payload: row.payload.chars().take(65_536).collect(), ..row }) }
}
EmptyPayloadIsNull StoredWhole { written(row, _) {
    let payload = if row.payload.is_empty() { "NULL".to_owned() } else { row.payload }; Ok(Row { payload, ..row })
}}
PayloadNotAscii StoredWhole { written(mut row, _) { row.payload.retain(|letter| letter.is_ascii()); Ok(row) } }
PayloadIsANumber StoredWhole { written(mut row, _) {
    if let Ok(number) = row.payload.parse::<f64>() {
        row.payload = number.to_string();
    }
    Ok(row)
}}
PreviousPayloadDropped StoredWhole {
    written(mut row, _) { if let Some(previous) = &mut row.previous { previous.payload.clear(); } Ok(row) }
}
PreviousStatusForgotten StoredWhole {
    written(mut row, _) { if let Some(previous) = &mut row.previous { previous.status = Status::Succeeded; } Ok(row) }
}
TwoLargeTextsAreOne StoredWhole SeenWhole { written(mut row, _) {
    if let Some(previous) = &mut row.previous {
        if previous.payload.get(..1_000) == row.payload.get(..1_000) && row.payload.len() > 1_000 {
            previous.payload.clone_from(&row.payload);
        }
    }
    Ok(row)
}}
RevisionIn32Bits StoredWhole {
    written(row, _) { Ok(Row { revision: Revision::new(row.revision.get() & u64::from(u32::MAX)), ..row }) }
}
RunIn32Bits StoredWhole {
    written(row, _) { Ok(Row { run: Run::new(row.run.get().min(u64::from(u32::MAX))), ..row }) }
}
RevisionIsAFloat StoredWhole { written(row, _) {
    let excess = 11_u32.saturating_sub(row.revision.get().leading_zeros());
    Ok(Row { revision: Revision::new(row.revision.get() >> excess << excess), ..row })
}}
RevisionNotStored StoredWhole {
    written(row, before) { Ok(Row { revision: before.map_or(Revision::new(0), |before| before.revision), ..row }) }
}
RevertKeepsTheConfiguration StoredWhole { written(mut row, before) {
    if let Some(before) = before.filter(|before| before.previous.is_some() && row.previous.is_none()) {
        row.payload.clone_from(&before.payload);
    }
    Ok(row)
}}
RevisionRestoredOnRevert StoredWhole { written(mut row, before) {
    if let Some(before) = before.filter(|before| before.previous.is_some() && row.previous.is_none()) {
        row.revision = Revision::new(before.revision.get().saturating_sub(1));
    }
    Ok(row)
}}
EditNotCounted StoredWhole { written(mut row, before) {
    if before.is_some_and(|before| (before.status, before.run) == (row.status, row.run)) {
        row.revision = Revision::new(row.revision.get().saturating_sub(1));
    }
    Ok(row)
}}

// What is compared.
UnconditionalWrite StaleIsRefused {
    commit(store, id, _, row) { Ok(store.swap_if(id, |old| old.is_some(), Some(row))) }
}
GuardByStatus StaleIsRefused { commit(store, id, draft, row) {
    let is_same = |old: Option<&Row>| old.is_some_and(|old| old.status == draft.before().status());
    Ok(store.swap_if(id, is_same, Some(row)))
}}
LostRaceAnswered200 StaleIsRefused {
    commit(store, id, draft, row) { store.swap(id, draft.loaded(), Some(row)); Ok(true) }
}
DeleteIgnoresTheRevision StaleDeleteIsRefused OneWins {
    delete(store, id, _) { Ok(store.swap_if(id, |old| old.is_some(), None)) }
}
DeleteOfNothingSucceeds StaleDeleteIsRefused {
    delete(store, id, loaded) { Ok(store.swap_if(id, |old| old.is_none_or(|old| old.revision == loaded), None)) }
}
CommitBringsBackTheDeleted DeletedIsGone OneWins { commit(store, id, draft, row) {
    let was = id < store.next.load(Ordering::Relaxed);
    let is_right = |old: Option<&Row>| old.map_or(was, |old| old.revision == draft.loaded());
    Ok(store.swap_if(id, is_right, Some(row)))
}}
EveryThirdCommitRefused CurrentIsAccepted {
    commit(store, id, draft, row) { Ok(store.counted() % 3 > 0 && store.swap(id, draft.loaded(), Some(row))) }
}
EqualUpdateIsSkipped StoredWhole { commit(store, id, draft, row) {
    let is_equal = store.get(id).is_some_and(|old| old.payload == row.payload && row.previous.is_some());
    if is_equal && store.is_at(id, draft.loaded()) { return Ok(true); }
    Ok(store.swap(id, draft.loaded(), Some(row)))
}}
RefusalWrites RefusalWritesNothing { commit(store, id, draft, row) {
    let is_current = store.is_at(id, draft.loaded()); store.swap_if(id, |old| old.is_some(), Some(row));
    Ok(is_current)
}}
RefusalCounts RefusalWritesNothing { commit(store, id, draft, row) {
    let is_current = store.swap(id, draft.loaded(), Some(row)); if !is_current {
        let count = |row: &mut Row| row.revision = Revision::new(row.revision.get() + 1);
        lock(&store.rows).entry(id).and_modify(count);
    }
    Ok(is_current)
}}
UnknownIsCreated RefusalWritesNothing { commit(store, id, draft, row) {
    let is_current = store.swap(id, draft.loaded(), Some(row.clone()));
    store.swap_if(id, |old| old.is_none(), Some(row)); Ok(is_current)
}}

// What is an error.
MaskedNotFound AbsenceIsNoError { load(store, id) { store.get(id).map(Some).ok_or("outage".into()) } }
CommitToNothingIsAnError AbsenceIsNoError { commit(store, id, draft, row) {
    store.get(id).ok_or("no such task")?; Ok(store.swap(id, draft.loaded(), Some(row)))
}}
ConflictIsAnError NoError { commit(store, id, draft, row) {
    if store.get(id).is_some_and(|old| old.revision != draft.loaded()) { return Err("conflict".into()); }
    Ok(store.swap(id, draft.loaded(), Some(row)))
}}
Panics NoError { commit(_, _, _, _) { panic!("called `unwrap` on a row") } }
UnknownPanics NoError {
    load(store, id) { assert!(id < store.next.load(Ordering::Relaxed), "no row {id}"); Ok(store.get(id)) }
}
StatusInLowerCase NoError { load(store, id) {
    match store.get(id) {
        Some(row) if row.status == Status::Processing => Err("unknown status: processing".into()),
        row => Ok(row),
    }
}}
EqualPayloadsAreOne NoError { create(store, row) {
    let is_there = lock(&store.rows).values().any(|other| other.payload == row.payload);
    if is_there { Err("UNIQUE constraint failed".into()) } else { Ok(store.insert(row)) }
}}

// What is seen.
CancelledIsUnknown StoredWhole {
    load(store, id) { Ok(store.get(id).filter(|row| row.status != Status::Cancelled)) }
}
StaleCopyIsRead StoredWhole {
    load(store, id) { let row = store.get(id); Ok(row.map(|row| lock(&store.own).entry(id).or_insert(row).clone())) }
}
StaleCopyOfOthers SeenByAll {
    load(store, id) { StaleCopyIsRead.load(store, id).await }
    commit(store, id, draft, row) {
        let is_current = store.swap(id, draft.loaded(), Some(row.clone()));
        if is_current { lock(&store.own).insert(id, row); }
        Ok(is_current)
    }}
CacheGivesTheDeletedBack DeletedIsGone { load(store, id) {
    let row = store.get(id); if let Some(row) = row { lock(&store.beside).insert(id, row); }
    Ok(lock(&store.beside).get(&id).cloned())
}}
DeleteHides DeletedIsGone { delete(store, id, loaded) { Ok(store.is_at(id, loaded)) } }
DeleteTakesTwo OthersAreUntouched { delete(store, id, loaded) {
    let is_current = store.swap(id, loaded, None); if is_current { store.put(id + 1, None); }
    Ok(is_current)
}}
DeletesByPrefix OthersAreUntouched { delete(store, id, loaded) {
    let is_current = store.is_at(id, loaded); if is_current {
        let prefix = id.to_string();
        lock(&store.rows).retain(|id, _| !id.to_string().starts_with(&prefix));
    }
    Ok(is_current)
}}
CrossTalk OthersAreUntouched { commit(store, id, draft, row) {
    let is_current = store.swap(id, draft.loaded(), Some(row.clone())); if is_current {
        let state = draft.before();
        for other in lock(&store.rows).values_mut().filter(|other| other.status == state.status()) {
            (other.status, other.previous) = (row.status, row.previous.clone());
        }
    }
    Ok(is_current)
}}
EqualTextsAreOneRow OthersAreUntouched { commit(store, id, draft, row) {
    let Some(before) = store.get(id).filter(|old| old.revision == draft.loaded()) else { return Ok(false) };
    let mut rows = lock(&store.rows);
    for other in rows.values_mut().filter(|other| other.payload == before.payload) {
        other.payload.clone_from(&row.payload);
    }
    rows.insert(id, row); Ok(true)
}}
TenRows OthersAreUntouched { create(store, row) {
    let mut rows = lock(&store.rows); if rows.len() == 10 { rows.pop_first(); }
    drop(rows); Ok(store.insert(row))
}}
IdUsedAgain DeletedIsGone { create(store, row) {
    let free = (0..store.next.load(Ordering::Relaxed)).find(|&id| store.get(id).is_none());
    let Some(id) = free else { return Ok(store.insert(row)) }; store.put(id, Some(row)); Ok(id)
}}

// Crashes.
CommitsLostInCrash SurvivesCrash {
    create(store, row) { let id = store.insert(row.clone()); lock(&store.beside).insert(id, row); Ok(id) }
    reopen(store) {
        let on_disk = lock(&store.beside); for (id, row) in lock(&store.rows).iter_mut() {
            if let Some(written) = on_disk.get(id) { row.clone_from(written); }
        }
    }}
DeletedIsBackAfterCrash SurvivesCrash { delete(store, id, loaded) {
    let row = store.get(id); let is_current = store.swap(id, loaded, None);
    if let Some(row) = row.filter(|_| is_current) { lock(&store.beside).insert(id, row); }
    Ok(is_current)
}
reopen(store) { lock(&store.rows).append(&mut lock(&store.beside)); }
}
PreviousDroppedOnReopen SurvivesCrash {
reopen(store) { lock(&store.rows).values_mut().for_each(|row| row.previous = None); }
}

// Names that a client chose.
NameIsTakenOver TakenIsRefused { create_as(store, id, row) { store.put(id, Some(row)); Ok(true) } }
FreeNameIsRefused CurrentIsAccepted { create_as(_, _, _) { Ok(false) } }
FreeNameIsNotStored StoredWhole { create_as(store, id, _) { Ok(store.get(id).is_none()) } }
FreeNameIsAnError NoError { create_as(store, id, row) {
    if id >= store.next.load(Ordering::Relaxed) { return Err("no such partition".into()); }
    Ok(store.swap_if(id, |old| old.is_none(), Some(row)))
}}
ChosenNameCannotBeDeleted DeletedIsGone { delete(store, id, loaded) {
    if id >= store.next.load(Ordering::Relaxed) { return Ok(store.is_at(id, loaded)); }
    Ok(store.swap(id, loaded, None))
}}

// What wears out.
Every64thWriteLost StoredWhole { commit(store, id, draft, row) {
    if store.is_at(id, draft.loaded()) && store.counted() % 64 == 0 { return Ok(true); }
    Ok(store.swap(id, draft.loaded(), Some(row)))
}}

// What only `Draft` makes possible.
GuardOnTheDraftsRevision CurrentIsAccepted {
    commit(store, id, draft, row) { Ok(store.swap(id, draft.revision(), Some(row))) }
}
GuardOnBefore StaleIsRefused { commit(store, id, draft, row) {
    let state = draft.before(); let is_same = |old: Option<&Row>| old.is_some_and(|old| {
        (old.status, old.previous.as_ref().map(|it| it.status)) == (state.status(), state.previous())
    }); Ok(store.swap_if(id, is_same, Some(row)))
}}
RunOnlyIfQueued StoredWhole { commit(store, id, draft, mut row) {
    if draft.queued().is_none() { row.run = draft.loaded_run(); }
    Ok(store.swap(id, draft.loaded(), Some(row)))
}}
SameStateIsAnEdit StoredWhole { commit(store, id, draft, mut row) {
    if let Some(before) = store.get(id).filter(|_| draft.before() == draft.state()) {
        row = Row { payload: row.payload, revision: row.revision, ..before };
    }
    Ok(store.swap(id, draft.loaded(), Some(row)))
}}
PreviousOnlyIfItWasNoUpdate StoredWhole { commit(store, id, draft, mut row) {
    let before = store.get(id).filter(|_| draft.before().is_update() && draft.is_update());
    if let Some(before) = before { row.previous = before.previous; }
    Ok(store.swap(id, draft.loaded(), Some(row)))
}}
}
