//! Faults that show when calls overlap, or are given up: each step is right, and the whole is wrong.

use std::sync::atomic::Ordering;

use task_lifecycle::{Draft, Revision};

use crate::memory::{Fault, Later, Memory, Row, faults, lock};

/// Writes what was accepted before.
async fn work_off(store: &Memory) {
    let job = lock(&store.beside).pop_first();
    if let Some((id, row)) = job {
        store.pause().await;
        store.put(id, Some(row));
    }
}

faults! { RACING:

CheckThenWrite OneWins { commit(store, id, draft, row) {
    let is_current = store.is_at(id, draft.loaded()); store.pause().await;
    if is_current { store.put(id, Some(row)); }
    Ok(is_current)
}}
CheckThenDelete OneWins { delete(store, id, loaded) {
    let is_current = store.is_at(id, loaded); store.pause().await;
    if is_current { store.put(id, None); }
    Ok(is_current)
}}
CheckThenStatus OneWins { commit(store, id, draft, row) {
    let is_current = store.is_at(id, draft.loaded()); store.pause().await;
    let is_same = |old: Option<&Row>| old.is_some_and(|old| old.status == draft.before().status());
    Ok(is_current && store.swap_if(id, is_same, Some(row)))
}}
RetriesOverTheWinner OneWins { commit(store, id, draft, row) {
    let mut expected = draft.loaded(); if !store.is_at(id, expected) { return Ok(false); }
    store.pause().await; while !store.swap(id, expected, Some(row.clone())) {
        let Some(now) = store.get(id) else { return Ok(false) };
        expected = now.revision;
    }
    Ok(true)
}}
DeletedIsWrittenBack OneWins { commit(store, id, draft, row) {
    let is_current = store.is_at(id, draft.loaded()); store.pause().await;
    let is_right = |old: Option<&Row>| old.is_none_or(|old| old.revision == draft.loaded());
    Ok(is_current && store.swap_if(id, is_right, Some(row)))
}}
StaleIsWrittenBackAfterDelete DeletedIsGone OneWins SeenWhole { commit(store, id, draft, row) {
    let was_there = store.get(id); store.pause().await;
    let is_current = store.swap(id, draft.loaded(), Some(row));
    // A rollback puts back what was there.
    if let Some(before) = was_there.filter(|_| !is_current) {
        store.swap_if(id, |old| old.is_none(), Some(before));
    }
    Ok(is_current)
}}
SameNameTwice OthersAreUntouched SeenWhole { create(store, row) {
    let id = store.next.load(Ordering::Relaxed); store.pause().await;
    store.next.store(id + 1, Ordering::Relaxed); store.put(id, Some(row)); Ok(id)
}}
OthersWrittenBack NeverOlder OneWins DeletedIsGone { commit(store, id, draft, row) {
    let mut all = lock(&store.rows).clone(); store.pause().await;
    let is_current = store.is_at(id, draft.loaded());
    if is_current { all.insert(id, row); *lock(&store.rows) = all; }
    Ok(is_current)
}}
HalfWritten SeenWhole { commit(store, id, draft, row) {
    let _guard = store.take().await;
    let Some(before) = store.get(id).filter(|old| old.revision == draft.loaded()) else { return Ok(false) };
    store.put(id, Some(Row { payload: before.payload, ..row.clone() })); store.pause().await;
    store.put(id, Some(row)); Ok(true)
}
delete(store, id, loaded) { let _guard = store.take().await; Ok(store.swap(id, loaded, None)) }
}
HalfRead SeenWhole { load(store, id) {
    let Some(row) = store.get(id) else { return Ok(None) }; store.pause().await;
    let payload = store.get(id).map_or(String::new(), |row| row.payload);
    Ok(Some(Row { payload, ..row }))
}}
WrittenBeforeChecked SeenWhole { commit(store, id, draft, row) {
    let _guard = store.take().await; let Some(before) = store.get(id) else { return Ok(false) };
    let is_current = before.revision == draft.loaded(); store.put(id, Some(row)); store.pause().await;
    if !is_current { store.put(id, Some(before)); }
    Ok(is_current)
}
delete(store, id, loaded) { HalfWritten.delete(store, id, loaded).await }
}
SlowReadFillsCache NeverOlder DeletedIsGone { load(store, id) {
    if let Some(row) = lock(&store.beside).get(&id) { return Ok(Some(row.clone())); }
    let row = store.get(id); store.pause().await;
    if let Some(row) = &row { lock(&store.beside).insert(id, row.clone()); }
    Ok(row)
}
commit(store, id, draft, row) {
    let is_current = store.swap(id, draft.loaded(), Some(row)); lock(&store.beside).remove(&id);
    store.pause().await; Ok(is_current)
}
delete(store, id, loaded) {
    let is_current = store.swap(id, loaded, None); lock(&store.beside).remove(&id); store.pause().await;
    Ok(is_current)
}}
ConflictIsAnOutage NoError { commit(store, id, draft, row) {
    if !store.is_at(id, draft.loaded()) { return Ok(false); }
    store.pause().await;
    if store.swap(id, draft.loaded(), Some(row)) { Ok(true) } else { Err("could not serialize access".into()) }
}}
BusyIsAnOutage NoError { commit(store, id, draft, row) {
    let _guard = store.try_take().ok_or("database is locked")?; store.pause().await;
    Ok(store.swap(id, draft.loaded(), Some(row)))
}}
PanicsIfChanged NoError { commit(store, id, draft, row) {
    let is_current = store.is_at(id, draft.loaded()); store.pause().await;
    let swapped = store.swap(id, draft.loaded(), Some(row));
    assert_eq!(is_current, swapped, "the row has changed"); Ok(swapped)
}}
}

faults! { ONLY_WAITING:

NobodyWins CurrentIsAccepted { commit(store, id, draft, row) {
    let mine = store.counted(); store.pause().await; let came = store.counted() != mine + 1;
    Ok(!came && store.swap(id, draft.loaded(), Some(row)))
}}
NameTakenTwice TakenIsRefused { create_as(store, id, row) {
    let is_free = store.get(id).is_none(); store.pause().await; if is_free { store.put(id, Some(row)); }
    Ok(is_free)
}}
HalfWrittenWhenGivenUp SeenWhole {
    commit(store, id, draft, row) { HalfWritten.commit(store, id, draft, row).await }
    load(store, id) { let _guard = store.take().await; Ok(store.get(id)) }
    delete(store, id, loaded) { HalfWritten.delete(store, id, loaded).await }
}
AnswerBeforeWrite NeverOlder {
    load(store, id) { work_off(store).await; store.pause().await; Ok(store.get(id)) }
    commit(store, id, draft, row) {
        let _guard = store.take().await; work_off(store).await;
        let is_current = store.is_at(id, draft.loaded());
        if is_current { lock(&store.beside).insert(id, row); }
        Ok(is_current)
    }
    delete(store, id, loaded) {
        let _guard = store.take().await; work_off(store).await; Ok(store.swap(id, loaded, None))
    }}
GivenUpIsWrittenOverLater SeenWhole {
    load(store, id) { let row = store.get(id); store.pause().await; work_off(store).await; Ok(row) }
    commit(store, id, draft, row) {
        if !store.is_at(id, draft.loaded()) { return Ok(false); }
        lock(&store.beside).insert(id, row.clone()); store.pause().await; lock(&store.beside).remove(&id);
        Ok(store.swap(id, draft.loaded(), Some(row)))
    }}
LockIsNeverGivenBack NoError { commit(store, id, draft, row) {
    std::mem::forget(store.take().await); store.pause().await;
    let is_current = store.swap(id, draft.loaded(), Some(row));
    store.taken.store(false, Ordering::Release); Ok(is_current)
}}
AbandonedLockRefusesForEver CurrentIsAccepted { commit(store, id, draft, row) {
    let Some(guard) = store.try_take() else { return Ok(false) }; std::mem::forget(guard);
    store.pause().await; let is_current = store.swap(id, draft.loaded(), Some(row));
    store.taken.store(false, Ordering::Release); Ok(is_current)
}}
PermitLeaks NoError { commit(store, id, draft, row) {
    while store.count.load(Ordering::Relaxed) >= 10 { store.pause().await; }
    store.counted(); store.pause().await; let is_current = store.swap(id, draft.loaded(), Some(row));
    store.count.fetch_sub(1, Ordering::Relaxed); Ok(is_current)
}}
}

faults! { ON_THREADS:

CheckThenWriteOnThreads OneWins { commit(store, id, draft, row) {
    let (store, loaded) = (store.clone(), draft.loaded()); let work = move || {
        let is_current = store.is_at(id, loaded);
        std::thread::yield_now();
        if is_current { store.put(id, Some(row)); }
        is_current
    }; tokio::task::spawn_blocking(work).await.map_err(|gone| gone.to_string())
}}
LockTakenTwice OneWins { commit(store, id, draft, row) {
    let checked = store.gate.lock().await; let is_current = store.is_at(id, draft.loaded());
    drop(checked); let _written = store.gate.lock().await; if is_current { store.put(id, Some(row)); }
    Ok(is_current)
}}
}
