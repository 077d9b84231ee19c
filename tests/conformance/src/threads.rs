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
use crate::ledger::{Breach, VAGUE, rank};
use crate::polling::{Clock, lock, quietly};
use crate::{Law, Store};

/// Drives a future on the thread that calls it.
pub(crate) type BlockOn<'a> = &'a (dyn Fn(Pin<&mut dyn Future<Output = ()>>) + Sync);

/// They race until so many calls have overlapped and so much time has passed,
const ENOUGH: (u32, Duration) = (3_000, Duration::from_millis(150));
/// and in any case no longer than this, on a machine that leaves them no time to meet.
const AT_MOST: Duration = Duration::from_secs(6);

/// How long they go on after a violation that may be another law's doing.
const MORE: Duration = Duration::from_millis(300);

/// Turns until a thread that waits for another goes to sleep, and for how long at a time.
const TURNS: u32 = 2_000;
const NAP: Duration = Duration::from_micros(50);

/// How long a thread waits at a task for one that does not come nearer.
const STALLED: Duration = Duration::from_millis(50);

/// How many changes each thread tries of a task that is soon deleted.
const STEPS: u32 = 6;

/// Where a thread is when it is at the first task: one with many changes, so that a thread that is
/// stopped in the middle finds the other. Before, it creates tasks.
const LONG: usize = 1_000;

/// What was asked, and heard.
type Entry<S> = (
    Call<<S as Store>::Id, <S as Store>::Payload>,
    Answer<<S as Store>::Id, <S as Store>::Payload>,
);

/// What one thread asked and heard about one task.
type Log<S> = Vec<Entry<S>>;

/// A task that the threads race for, as it was created.
struct Prize<S: Store> {
    number: u32,
    id: S::Id,
    task: Task<S::Payload>,
}

impl<S: Store> Clone for Prize<S> {
    fn clone(&self) -> Self {
        Self { number: self.number, id: self.id.clone(), task: self.task.clone() }
    }
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

/// Waits for another thread: awake, so that both go on at once, and after a while asleep, so that a
/// machine that is busy lets it come. Returns whether it slept.
fn wait(turns: &mut u32) -> bool {
    *turns += 1;
    let sleeps = *turns > TURNS;
    if sleeps {
        thread::sleep(NAP);
    } else {
        hint::spin_loop();
    }
    sleeps
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
            wait(&mut turns);
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
        let at = self.at.each_ref().map(|at| at.load(Ordering::Relaxed));
        let met = overlaps && at[0] == at[1] && at[0] != LONG;
        self.overlapped.fetch_add(u32::from(met), Ordering::Relaxed);
    }

    /// Drives what makes calls. A panic is the answer to the last of them.
    fn drive(&self, log: &mut Log<S>, calls: impl AsyncFnOnce(&mut Log<S>)) {
        let driven = drive(self.block_on, calls(log));
        if let (Err(text), Some((_, answer))) = (driven, log.last_mut()) {
            *answer = Answer::Panicked(text);
            self.clock.leave();
        }
    }

    /// Waits for the other thread at a task, as long as it comes nearer. It is not insisted on: on
    /// a busy machine the other is not running, and comes when this one is stopped somewhere in
    /// the middle.
    fn meet_at(&self, me: usize, at: usize) {
        self.at[me].store(at, Ordering::Release);
        let other = || self.at[1 - me].load(Ordering::Acquire);
        let (mut seen, mut turns, mut since) = (other(), 0_u32, None);
        let is_patient = |since: Option<Instant>| since.is_none_or(|it| it.elapsed() < STALLED);
        while seen < at && is_patient(since) && self.began.elapsed() < AT_MOST {
            if wait(&mut turns) {
                since = since.or_else(|| Some(Instant::now()));
            }
            if other() != seen {
                (seen, turns, since) = (other(), 0, None);
            }
        }
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
        let found = lock(&self.best)
            .as_ref()
            .is_some_and(|(since, breach, _)| breach.rank <= 1 || since.elapsed() > MORE);
        if found || overlapped >= ENOUGH.0 && time >= ENOUGH.1 || time > AT_MOST {
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
    ring.at[me].store(0, Ordering::Release);
    ring.meet()?;
    for at in 0..size {
        ring.meet_at(me, at as usize + 1);
        create(store, ring, me, *first + 2 * at + u32::from(me > 0));
    }
    *first += 2 * size;
    ring.meet()?;
    let mut prizes = lock(&ring.prizes).clone();
    prizes.sort_by_key(|prize| prize.number);
    let mut logs = Vec::new();
    for (at, prize) in prizes.iter().enumerate() {
        ring.meet_at(me, LONG + at);
        let steps = if at == 0 { STEPS.max(2 * size) } else { STEPS };
        let mut log = Vec::new();
        ring.drive(&mut log, async |log| take_part(store, ring, me, prize, steps, log).await);
        logs.push(log);
    }
    // What is seen from here on is the end: nothing is under way.
    ring.at[me].store(usize::MAX - me, Ordering::Release);
    ring.meet()?;
    for (prize, log) in prizes.iter().zip(&mut logs) {
        let load = Call::new(me, 0, Request::Load(prize.id.clone()));
        ring.drive(log, async |log| ring.call(store, load, log).await);
    }
    // Each judges every other task.
    let (kept, handed): (Vec<_>, Vec<_>) =
        logs.into_iter().enumerate().partition(|(at, _)| at % 2 == me);
    *lock(&ring.handed[1 - me]) = handed.into_iter().map(|(_, log)| log).collect();
    ring.meet()?;
    let others = mem::take(&mut *lock(&ring.handed[me]));
    for ((at, mine), other) in kept.into_iter().zip(others) {
        let logs = if me == 0 { [mine, other] } else { [other, mine] };
        if let Some((breach, story)) = judge(&prizes, at, &logs) {
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
fn create<S: Store>(store: &S, ring: &Ring<'_, S>, me: usize, number: u32) {
    let task = Task::new(S::payload(&format!("plain {number}")));
    let mut log = Vec::new();
    while log.len() < if S::LOSES_ANSWERS { 32 } else { 1 } {
        let create = Call::new(me, 0, Request::Create(task.clone()));
        ring.drive(&mut log, async |log| ring.call(store, create, log).await);
        if let Some((_, Answer::Created(id))) = log.last() {
            lock(&ring.prizes).push(Prize { number, id: id.clone(), task });
            return;
        }
    }
    if let Some((call, answer)) = log.last() {
        let (expected, seen) = ("the task is stored and named".into(), answer.words());
        let story = vec![format!("{}: {seen}", call.line())];
        ring.find(Breach { law: Law::NoError, expected, seen, rank: VAGUE }, story);
    }
}

/// Loads and writes, as often as a thread does, and after some that are accepted commits once more
/// from the same copy, which is stale then.
async fn take_part<S: Store>(
    store: &S,
    ring: &Ring<'_, S>,
    me: usize,
    Prize { number, id, .. }: &Prize<S>,
    steps: u32,
    log: &mut Log<S>,
) {
    let new = |request| Call::new(me, 0, request);
    for step in 0..steps {
        ring.call(store, new(Request::Load(id.clone())), log).await;
        let Some((_, Answer::Loaded(Some(task)))) = log.last() else { return };
        let task = task.clone();
        // What is done is as good as drawn, and is another thing for each of the two.
        let drawn = (number.wrapping_mul(31) + step.wrapping_mul(7) + 13 * u32::from(me > 0)) % 97;
        if task.status().is_completed() && drawn % 4 > 0 && steps == STEPS {
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
            let words = words + ", too";
            ring.call(store, Call { words, ..new(Request::Commit(id.clone(), draft)) }, log).await;
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
fn judge<S: Store>(
    prizes: &[Prize<S>],
    at: usize,
    logs: &[Log<S>; 2],
) -> Option<(Breach, Vec<String>)> {
    let Prize { id, task: base, .. } = prizes.get(at)?;
    let all = || logs.iter().flatten();
    let found = |law, expected: &str, entries: &[&Entry<S>]| {
        let create = Call::<S::Id, _>::new(0, 0, Request::Create(base.clone())).line();
        let mut story =
            vec![format!("{create}: named {id:?}; two threads load and commit at once")];
        let lines = entries.iter().map(|(call, answer)| (call.line(), answer.words()));
        story.extend(lines.map(|(line, words)| format!("{line}: {words}")));
        let seen = entries.last().map_or("nothing".into(), |(_, answer)| answer.words());
        Some((Breach { law, expected: expected.into(), seen, rank: rank(law) }, story))
    };
    // The states by revision, and what led away from each.
    let mut states = BTreeMap::from([(base.revision().get(), base.clone())]);
    let mut from = BTreeMap::new();
    let mut delete = None;
    let mut unknown = Vec::new();
    for entry in all() {
        let Some(Write { from: Some(at), to }) = entry.0.request.write() else { continue };
        match &entry.1 {
            Answer::Written(true) => {}
            Answer::Error(_) if S::LOSES_ANSWERS => {
                unknown.push(to);
                continue;
            }
            _ => continue,
        }
        if let Some(rival) = from.insert(at.get(), entry) {
            let expected = "one of the two is refused, for both come from one revision";
            return found(Law::OneWins, expected, &[rival, entry]);
        }
        match to {
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
        if !is_committed && !unknown.contains(seen) {
            let is_others = prizes.iter().any(|other| Some(&other.task) == seen.as_ref());
            let law = if is_others { Law::OthersAreUntouched } else { Law::SeenWhole };
            return found(law, "a task that was committed", &[entry]);
        }
    }
    for log in logs {
        let mut newest: Option<(u64, &Entry<S>)> = None;
        for entry in log {
            let known = match (&entry.1, entry.0.request.write()) {
                (Answer::Loaded(seen), _) => seen.clone(),
                (Answer::Written(true), Some(write)) => write.to,
                _ => continue,
            };
            let known = known.map_or(u64::MAX, |task| task.revision().get());
            if let Some((newest, newer)) = newest.filter(|(newest, _)| known < *newest) {
                let is_gone = newest == u64::MAX;
                let law = if is_gone { Law::DeletedIsGone } else { Law::NeverOlder };
                return found(law, "nothing older than that", &[newer, entry]);
            }
            newest = Some((known, entry));
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
