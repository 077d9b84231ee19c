//! Races of real threads. Two of them take tasks one after the other, and each keeps what it asked
//! and heard; afterwards the tasks that they hold must form one chain.

use core::hint;
use core::mem;
use core::pin::{Pin, pin};
use core::time::Duration;
use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::thread;
use std::time::Instant;

use task_lifecycle::{Draft, Event, Operation, Task};

use crate::call::{Answer, Call, Request, Write, ask};
use crate::ledger::{Breach, VAGUE};
use crate::polling::{Clock, lock, quietly};
use crate::{Law, Store};

/// Drives a future on the thread that calls it.
pub(crate) type BlockOn<'a> = &'a (dyn Fn(Pin<&mut dyn Future<Output = ()>>) + Sync);

/// They race until so many calls have overlapped and so much time has passed,
const ENOUGH: (u32, Duration) = (10_000, Duration::from_millis(200));
/// or for a slow store this,
const SLOW: (u32, Duration) = (500, Duration::from_secs(2));
/// and in any case no longer than this, on a machine that leaves them no time to meet.
const AT_MOST: Duration = Duration::from_secs(8);

/// How long they go on after a violation that may be another law's doing.
const MORE: Duration = Duration::from_millis(300);

/// Turns until a thread that waits for another lets others run, or goes on alone.
const TURNS: u32 = 2_000;

/// How many changes each thread tries of a task that is soon deleted, and of the one of a batch on
/// which a thread that is stopped in the middle finds the other.
const STEPS: [u32; 2] = [6, 1_000];

/// The calls of one thread about one task.
type Log<S> = Vec<(
    Call<<S as Store>::Id, <S as Store>::Payload>,
    Answer<<S as Store>::Id, <S as Store>::Payload>,
)>;

/// A task that the threads race for.
struct Prize<S: Store> {
    number: u32,
    id: S::Id,
    task: Task<S::Payload>,
    steps: u32,
}

/// What the threads share.
struct Ring<'a, S: Store> {
    block_on: BlockOn<'a>,
    clock: Clock,
    began: Instant,
    arrived: AtomicUsize,
    /// A thread is gone.
    is_closed: AtomicBool,
    /// They need not go on.
    is_over: AtomicBool,
    /// How many tasks each creates in a batch.
    size: AtomicU32,
    /// The tasks of a batch.
    prizes: Mutex<Vec<Prize<S>>>,
    /// The number of the task that each is at.
    at: [AtomicUsize; 2],
    /// What each heard of the tasks that the other judges.
    handed: [Mutex<Vec<Log<S>>>; 2],
    overlapped: AtomicU32,
    best: Mutex<Option<(Instant, Breach, Vec<String>)>>,
}

/// What came of the races: how many calls overlapped, and a broken law with its story.
pub(crate) struct Raced {
    pub(crate) overlapped: u32,
    pub(crate) found: Option<(Breach, Vec<String>)>,
}

/// Races two threads, which have a handle each. `None`: the store has no other handle.
pub(crate) fn race<S: Store + Send>(store: S, block_on: BlockOn<'_>) -> Option<Raced> {
    // Everything that is done with a store is done in `block_on` and not on the caller's thread,
    // which may be driven by a runtime itself.
    let handles = thread::scope(|scope| {
        let another = scope.spawn(move || {
            let another = drive(block_on, store.another()).unwrap_or_else(|text| panic!("{text}"));
            if another.is_none() {
                discard(block_on, store);
                return None;
            }
            Some((store, another?))
        });
        another.join().unwrap_or_else(|panicked| std::panic::resume_unwind(panicked))
    });
    let (one, two) = handles?;
    let ring = &Ring {
        block_on,
        clock: Clock::new(),
        began: Instant::now(),
        arrived: AtomicUsize::new(0),
        is_closed: AtomicBool::new(false),
        is_over: AtomicBool::new(false),
        size: AtomicU32::new(2),
        prizes: Mutex::default(),
        at: <[AtomicUsize; 2]>::default(),
        handed: <[Mutex<Vec<Log<S>>>; 2]>::default(),
        overlapped: AtomicU32::new(0),
        best: Mutex::default(),
    };
    thread::scope(|scope| {
        for (me, store) in [one, two].into_iter().enumerate() {
            scope.spawn(move || {
                let _closes = Closes(&ring.is_closed);
                let mut first = 0;
                while run(&store, ring, me, &mut first).is_some() {}
                discard(ring.block_on, store);
            });
        }
    });
    let found = lock(&ring.best).take().map(|(_, breach, story)| (breach, story));
    Some(Raced { overlapped: ring.overlapped.load(Ordering::Relaxed), found })
}

/// Drives a future to its end. An `Err` is the text of a panic.
fn drive<T>(block_on: BlockOn<'_>, future: impl Future<Output = T>) -> Result<T, String> {
    let mut output = None;
    quietly(|| block_on(pin!(async { output = Some(future.await) })))?;
    output.ok_or_else(|| "`block_on` returned before the future had ended".to_string())
}

/// Drops a store where its runtime is at hand.
fn discard<S>(block_on: BlockOn<'_>, store: S) {
    let _ = drive(block_on, async { drop(store) });
}

/// Lets the other thread go when this one ends, by a panic too.
struct Closes<'a>(&'a AtomicBool);

impl Drop for Closes<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

impl<S: Store> Ring<'_, S> {
    /// Waits for the other thread, without going to sleep, so that they leave together. `None` if
    /// it will not come.
    fn meet(&self) -> Option<()> {
        let number = self.arrived.fetch_add(1, Ordering::AcqRel);
        let both = number - number % 2 + 2;
        let mut turns = 0_u32;
        while self.arrived.load(Ordering::Acquire) < both {
            if self.is_closed.load(Ordering::Acquire) {
                return None;
            }
            turns += 1;
            if turns > TURNS {
                thread::yield_now();
            } else {
                hint::spin_loop();
            }
        }
        Some(())
    }

    /// Makes a call, and keeps what was asked and heard.
    async fn call(&self, store: &S, call: Call<S::Id, S::Payload>, log: &mut Log<S>) {
        log.push((call, Answer::Silent));
        let Some((call, answer)) = log.last_mut() else { return };
        let overlaps = self.clock.enter();
        *answer = ask(store, &call.request).await;
        self.clock.leave();
        self.overlapped.fetch_add(u32::from(overlaps), Ordering::Relaxed);
    }

    /// Makes a call alone.
    fn call_once(&self, store: &S, call: Call<S::Id, S::Payload>, log: &mut Log<S>) {
        let driven = drive(self.block_on, self.call(store, call, log));
        self.end(driven, log);
    }

    fn end(&self, driven: Result<(), String>, log: &mut Log<S>) {
        if let (Err(text), Some((_, answer))) = (driven, log.last_mut()) {
            *answer = Answer::Panicked(text);
            self.clock.leave();
        }
    }

    /// Waits for the other thread at a task, as long as it comes nearer. It is not insisted on: on
    /// a busy machine the other is not running, and comes when this one is stopped somewhere in
    /// the middle.
    fn meet_at(&self, me: usize, at: usize, absent: &mut usize) {
        self.at[me].store(at, Ordering::Release);
        let other = || self.at[1 - me].load(Ordering::Acquire);
        let (mut seen, mut turns) = (other(), 0);
        while seen < at && seen != *absent && turns < TURNS {
            hint::spin_loop();
            turns += 1;
            if other() != seen {
                (seen, turns) = (other(), 0);
            }
        }
        *absent = if seen < at { seen } else { usize::MAX };
    }

    /// Keeps a violation if it tells more than the one before.
    fn find(&self, breach: Breach, story: Vec<String>) {
        let mut best = lock(&self.best);
        let since = best.as_ref().map_or_else(Instant::now, |(since, ..)| *since);
        if best.as_ref().is_none_or(|(_, best, _)| breach.rank < best.rank) {
            *best = Some((since, breach, story));
        }
    }

    /// Decides whether it is enough, and how large the next batch is.
    fn next_batch(&self, took: Duration) {
        let (overlapped, time) = (self.overlapped.load(Ordering::Relaxed), self.began.elapsed());
        let is = |(calls, least)| overlapped >= calls && time >= least;
        let found = lock(&self.best)
            .as_ref()
            .is_some_and(|(since, breach, _)| breach.rank <= 1 || since.elapsed() > MORE);
        if found || is(ENOUGH) || is(SLOW) || time > AT_MOST {
            self.is_over.store(true, Ordering::Release);
        }
        let size = self.size.load(Ordering::Relaxed);
        if took < Duration::from_millis(20) {
            self.size.store((size * 4).min(128), Ordering::Relaxed);
        }
    }
}

/// One thread's part in a batch. `None` if that was the last, or the other thread is gone.
fn run<S: Store>(store: &S, ring: &Ring<'_, S>, me: usize, first: &mut u32) -> Option<()> {
    let began = Instant::now();
    let size = ring.size.load(Ordering::Relaxed);
    lock(&ring.prizes).clear();
    ring.meet()?;
    let mine = *first + u32::try_from(me).unwrap_or(0) * size;
    for number in mine..mine + size {
        create(store, ring, me, number, size);
    }
    *first += 2 * size;
    ring.meet()?;
    let prizes: Vec<_> = {
        let mut prizes = lock(&ring.prizes);
        prizes.sort_by_key(|prize| prize.number);
        prizes.iter().map(|prize| (prize.number, prize.id.clone(), prize.steps)).collect()
    };
    // Whoever created them: each is what it was created as.
    let load = |id: &S::Id| Call::new(me, 0, Request::Load(id.clone()));
    for (at, (_, id, _)) in prizes.iter().enumerate() {
        let mut log = Vec::new();
        ring.call_once(store, load(id), &mut log);
        check_created(ring, at, log);
    }
    ring.at[me].store(0, Ordering::Release);
    ring.meet()?;
    let mut logs = Vec::new();
    let mut absent = usize::MAX;
    for (at, (number, id, steps)) in prizes.iter().enumerate() {
        ring.meet_at(me, at, &mut absent);
        let mut log = Vec::new();
        let part = take_part(store, ring, me, (*number, id, *steps), &mut log);
        let driven = drive(ring.block_on, part);
        ring.end(driven, &mut log);
        logs.push(log);
    }
    // What is seen from here on is the end: nothing is under way.
    ring.at[me].store(usize::MAX - 1, Ordering::Release);
    ring.meet()?;
    for ((_, id, _), log) in prizes.iter().zip(&mut logs) {
        ring.call_once(store, load(id), log);
    }
    // Each judges every other task.
    let judges = |at: usize, who: usize| at % 2 == who;
    let (kept, handed): (Vec<_>, Vec<_>) =
        logs.into_iter().enumerate().partition(|&(at, _)| judges(at, me));
    *lock(&ring.handed[1 - me]) = handed.into_iter().map(|(_, log)| log).collect();
    ring.meet()?;
    let others = mem::take(&mut *lock(&ring.handed[me]));
    for ((at, mine), other) in kept.into_iter().zip(others) {
        let Some(base) = lock(&ring.prizes).get(at).map(|prize| prize.task.clone()) else { break };
        let logs = if me == 0 { [mine, other] } else { [other, mine] };
        if let Some((breach, story)) = judge::<S>(&base, &logs) {
            ring.find(breach, story);
        }
    }
    ring.meet()?;
    if me == 0 {
        ring.next_batch(began.elapsed());
    }
    ring.meet()?;
    (!ring.is_over.load(Ordering::Acquire)).then_some(())
}

/// Creates a task, while the other thread creates one.
fn create<S: Store>(store: &S, ring: &Ring<'_, S>, me: usize, number: u32, size: u32) {
    let task = Task::new(S::payload(&format!("plain {number}")));
    for attempt in 0..if S::LOSES_ANSWERS { 32 } else { 1 } {
        let mut log: Log<S> = Vec::new();
        ring.call_once(store, Call::new(me, 0, Request::Create(task.clone())), &mut log);
        let Some((call, answer)) = log.pop() else { return };
        if let Answer::Created(id) = answer {
            let steps = STEPS[usize::from(number % (2 * size) == 0)].min(6 * size.max(4));
            lock(&ring.prizes).push(Prize { number, id, task, steps });
            return;
        }
        if attempt == 31 || !S::LOSES_ANSWERS {
            let (expected, seen) = ("the task is stored and named".into(), answer.words());
            let story = vec![format!("{}: {seen}", call.line())];
            ring.find(Breach { law: Law::NoError, expected, seen, rank: VAGUE }, story);
        }
    }
}

/// Holds what was loaded of a task against what it was created as.
fn check_created<S: Store>(ring: &Ring<'_, S>, at: usize, mut log: Log<S>) {
    let prizes = lock(&ring.prizes);
    let (Some((call, answer)), Some(prize)) = (log.pop(), prizes.get(at)) else { return };
    let seen = match &answer {
        Answer::Loaded(Some(seen)) if *seen == prize.task => return,
        Answer::Error(_) if S::LOSES_ANSWERS => return,
        Answer::Loaded(seen) => seen.as_ref(),
        _ => None,
    };
    let is_others = prizes.iter().any(|other| Some(&other.task) == seen);
    let law = match answer {
        Answer::Loaded(_) if is_others => Law::OthersAreUntouched,
        Answer::Loaded(_) => Law::StoredWhole,
        _ => Law::NoError,
    };
    let (expected, seen) = (crate::call::show(Some(&prize.task)), answer.words());
    let create = Request::<S::Id, _>::Create(prize.task.clone());
    let creates = Call::new(0, 0, create).line();
    let creates = format!("{creates}, while another thread creates another: named {:?}", prize.id);
    let story = vec![creates, format!("{}: {seen}", call.line())];
    ring.find(Breach { law, expected, seen, rank: 2 }, story);
}

/// Loads and writes, as often as a thread does, and after some that are accepted commits once more
/// from the same copy, which is stale then.
async fn take_part<S: Store>(
    store: &S,
    ring: &Ring<'_, S>,
    me: usize,
    (number, id, steps): (u32, &S::Id, u32),
    log: &mut Log<S>,
) {
    let new = |request| Call::new(me, 0, request);
    for step in 0..steps {
        ring.call(store, new(Request::Load(id.clone())), log).await;
        let Some((_, Answer::Loaded(Some(task)))) = log.last() else { return };
        let task = task.clone();
        // What is done is as good as drawn, and is another thing for each of the two.
        let drawn = (number.wrapping_mul(31) + step.wrapping_mul(7) + 13 * u32::from(me > 0)) % 97;
        if task.status().is_completed() && drawn % 2 == 0 && steps == STEPS[0] {
            let request = Request::Delete(id.clone(), task.revision());
            ring.call(store, new(request), log).await;
            continue;
        }
        let text = format!("plain {number}, revision {} of client {}", task.revision(), me + 1);
        let again = (step % 3 == 0).then(|| task.clone());
        let (draft, words) = decide::<S>(task, drawn, &text);
        let call = Call { words, ..new(Request::Commit(id.clone(), draft)) };
        ring.call(store, call, log).await;
        if let (Some((_, Answer::Written(true))), Some(task)) = (log.last(), again) {
            let (draft, words) = decide::<S>(task, drawn + 1, &(text + ", too"));
            let call = Call { words: words + ", too", ..new(Request::Commit(id.clone(), draft)) };
            ring.call(store, call, log).await;
        }
    }
}

/// A change of the lifecycle if one is accepted, and an edit.
fn decide<S: Store>(task: Task<S::Payload>, drawn: u32, text: &str) -> (Draft<S::Payload>, String) {
    let mut draft = Draft::new(task);
    let mut words = String::new();
    let skipped = usize::try_from(drawn).unwrap_or(0) % 8;
    for &operation in Operation::ALL.iter().skip(skipped) {
        // A new task that is cancelled would only be edited from there on.
        let ends = operation == Operation::Cancel && !draft.is_update();
        if ends || operation == Operation::Delete || draft.check(operation).is_err() {
            continue;
        }
        if let Some(event) = Event::new(operation, S::payload(text)) {
            let _ = draft.apply(event);
            words = format!("{operation} and ");
        }
        break;
    }
    draft.edit(|payload| *payload = S::payload(text));
    (draft, words + "edit")
}

/// Holds what two threads heard of a task against each other.
fn judge<S: Store>(base: &Task<S::Payload>, logs: &[Log<S>; 2]) -> Option<(Breach, Vec<String>)> {
    let all = || logs.iter().flatten();
    let line = |(call, answer): &(Call<_, _>, Answer<_, _>)| {
        format!("{}: {}", call.line(), answer.words())
    };
    let found = |law, expected: &str, entries: &[&(Call<_, _>, Answer<_, _>)]| {
        let create = Call::<S::Id, _>::new(0, 0, Request::Create(base.clone())).line();
        let mut story = vec![format!("{create}: accepted; two threads load and commit at once")];
        story.extend(entries.iter().map(|entry| line(entry)));
        let seen = entries.last().map_or("nothing".into(), |(_, answer)| answer.words());
        let rank = match law {
            Law::OneWins => 1,
            Law::SeenWhole | Law::DeletedIsGone => 2,
            Law::NeverOlder => 3,
            _ => VAGUE,
        };
        Some((Breach { law, expected: expected.into(), seen, rank }, story))
    };

    // The states by revision, and what led away from each.
    let mut states = BTreeMap::from([(base.revision().get(), base.clone())]);
    let mut from = BTreeMap::new();
    let mut unknown = Vec::new();
    let mut delete = None;
    for entry in all() {
        let Some(write) = entry.0.request.write() else { continue };
        match &entry.1 {
            Answer::Written(true) => {}
            Answer::Error(_) if S::LOSES_ANSWERS => {
                unknown.push(write);
                continue;
            }
            _ => continue,
        }
        if let Some(rival) = write.from.and_then(|at| from.insert(at.get(), entry)) {
            let expected = "one of the two is refused, for both come from one revision";
            return found(Law::OneWins, expected, &[rival, entry]);
        }
        match write.to {
            Some(task) => _ = states.insert(task.revision().get(), task),
            None => delete = Some(entry),
        }
    }
    let is_known = unknown.is_empty();
    if let Some((_, stray)) = from.iter().find(|(at, _)| is_known && !states.contains_key(at)) {
        return found(Law::StaleIsRefused, "refused, for nobody committed that revision", &[stray]);
    }
    for entry in all() {
        let Answer::Loaded(seen) = &entry.1 else { continue };
        let is_committed = match seen {
            None => delete.is_some(),
            Some(seen) => states.get(&seen.revision().get()) == Some(seen),
        };
        if !is_committed && !unknown.iter().any(|Write { to, .. }| to == seen) {
            return found(Law::SeenWhole, "a task that was committed", &[entry]);
        }
    }
    for log in logs {
        let mut newest: Option<(u64, &(Call<_, _>, Answer<_, _>))> = None;
        for entry in log {
            let known = match (&entry.1, entry.0.request.write()) {
                (Answer::Loaded(seen), _) => seen.clone(),
                (Answer::Written(true), Some(write)) => write.to,
                _ => continue,
            };
            let known = known.map_or(u64::MAX, |task| task.revision().get());
            match newest {
                Some((u64::MAX, newer)) if known < u64::MAX => {
                    return found(Law::DeletedIsGone, "none, for it was deleted", &[newer, entry]);
                }
                Some((newest, newer)) if known < newest => {
                    return found(Law::NeverOlder, "nothing older than that", &[newer, entry]);
                }
                _ => newest = Some((known, entry)),
            }
        }
    }
    let is_failure = |answer: &Answer<_, _>| match answer {
        Answer::Error(_) => !S::LOSES_ANSWERS,
        Answer::Panicked(_) | Answer::Silent => true,
        _ => false,
    };
    if let Some(failed) = all().find(|(_, answer)| is_failure(answer)) {
        return found(Law::NoError, "an answer other than that", &[failed]);
    }
    if from.is_empty() && is_known {
        let refused: Vec<_> = all().take(6).collect();
        return found(Law::CurrentIsAccepted, "one is accepted", &refused);
    }
    // In the end nothing is under way.
    let last = states.last_key_value().map(|(_, task)| task).filter(|_| delete.is_none());
    let winner = delete.or_else(|| from.last_key_value().map(|(_, winner)| *winner));
    let behind = logs.iter().filter_map(|log| log.last()).find(|(_, answer)| {
        is_known && matches!(answer, Answer::Loaded(seen) if seen.as_ref() != last)
    });
    found(Law::SeenByAll, "what was accepted last", &[winner?, behind?])
}
