//! Races of real threads. Two of them take tasks one after the other, and each keeps what it asked
//! and heard; afterwards the tasks that they hold must form one chain.

use core::hint;
use core::mem;
use core::ops::Range;
use core::pin::{Pin, pin};
use core::time::Duration;
use std::collections::BTreeMap;
use std::panic::resume_unwind;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::sync::{Mutex, OnceLock};
use std::thread::{self, Thread};
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
/// but for no more calls than this, which are soon made of a store in memory,
const CALLS: u32 = 60_000;
/// and no longer than this, of a slow one.
const AT_MOST: Duration = Duration::from_secs(6);

/// How long they go on after a violation that may be another law's doing.
const MORE: Duration = Duration::from_millis(300);

/// Turns until a thread that waits for another goes to sleep, and for how long at a time.
const TURNS: u32 = 2_000;
const NAP: Duration = Duration::from_millis(1);

/// How long a thread waits at a task for one that does not come nearer.
const STALLED: Duration = Duration::from_millis(50);

/// How many changes each thread tries of a task that is soon deleted.
const STEPS: usize = 6;

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

/// What came of the races: how many calls overlapped, and a broken law with its story.
pub(crate) struct Raced {
    pub(crate) overlapped: u32,
    pub(crate) found: Option<(Breach, Vec<String>)>,
}

/// Races two threads, which have a handle each. `None`: the store has no other handle.
pub(crate) fn race<S: Store + Send>(store: S, block_on: BlockOn<'_>) -> Option<Raced> {
    // Everything that is done with a store is done in `block_on`, and not on the caller's thread,
    // which may be driven by a runtime itself.
    let mut handles = on_thread(move || {
        let another = drive(block_on, store.another()).unwrap_or_else(|text| panic!("{text}"));
        if another.is_none() {
            discard(block_on, store);
            return None;
        }
        Some([store, another?])
    })?;
    let (clock, began) = (Clock::new(), Instant::now());
    let mut found: Option<(Breach, Vec<String>)> = None;
    let (mut first, mut size, mut calls, mut overlapped) = (0, 2, 0, 0);
    let mut until = began + AT_MOST;
    while calls < CALLS && Instant::now() < until {
        let is_enough = overlapped >= ENOUGH.0 && began.elapsed() >= ENOUGH.1;
        if is_enough || found.as_ref().is_some_and(|(breach, _)| breach.rank <= 1) {
            break;
        }
        let time = Instant::now();
        let batch = &Batch::new(block_on, &clock, first..first + 2 * size, until);
        // New threads, for a busy machine puts new ones where there is room for both.
        let [(one, logs), (two, others)] = thread::scope(|scope| {
            let [one, two] = handles;
            [(0, one), (1, two)]
                .map(|(me, store)| {
                    scope.spawn(move || {
                        let _ = batch.threads[me].set(thread::current());
                        let logs = run(&store, batch, me);
                        (store, logs)
                    })
                })
                .map(|thread| thread.join().unwrap_or_else(|panicked| resume_unwind(panicked)))
        });
        handles = [one, two];
        let prizes = mem::take(&mut *lock(&batch.prizes));
        let judged = prizes
            .iter()
            .zip(logs.into_iter().zip(others))
            .filter_map(|(prize, (log, other))| judge(&prizes, prize, &[log, other]));
        for (breach, story) in lock(&batch.failed).take().into_iter().chain(judged) {
            until = until.min(Instant::now() + MORE);
            if found.as_ref().is_none_or(|(best, _)| breach.rank < best.rank) {
                found = Some((breach, story));
            }
        }
        first += 2 * size;
        calls += batch.calls.load(Ordering::Relaxed);
        overlapped += batch.overlapped.load(Ordering::Relaxed);
        if time.elapsed() < Duration::from_millis(20) {
            size = (size * 4).min(128);
        }
    }
    let [one, two] = handles;
    on_thread(move || {
        discard(block_on, one);
        discard(block_on, two);
    });
    Some(Raced { overlapped, found })
}

fn on_thread<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    thread::scope(|scope| {
        scope.spawn(work).join().unwrap_or_else(|panicked| resume_unwind(panicked))
    })
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

/// What the threads of a batch share.
struct Batch<'a, S: Store> {
    block_on: BlockOn<'a>,
    clock: &'a Clock,
    numbers: Range<u32>,
    until: Instant,
    threads: [OnceLock<Thread>; 2],
    /// How often each came to where they meet.
    arrived: AtomicUsize,
    /// The number of the task that each is at, and whether it is asleep.
    at: [AtomicUsize; 2],
    sleeps: [AtomicBool; 2],
    prizes: Mutex<Vec<Prize<S>>>,
    /// That a task could not be created.
    failed: Mutex<Option<(Breach, Vec<String>)>>,
    calls: AtomicU32,
    overlapped: AtomicU32,
}

impl<'a, S: Store> Batch<'a, S> {
    fn new(block_on: BlockOn<'a>, clock: &'a Clock, numbers: Range<u32>, until: Instant) -> Self {
        Self {
            block_on,
            clock,
            numbers,
            until,
            threads: <[OnceLock<Thread>; 2]>::default(),
            arrived: AtomicUsize::new(0),
            at: <[AtomicUsize; 2]>::default(),
            sleeps: <[AtomicBool; 2]>::default(),
            prizes: Mutex::default(),
            failed: Mutex::default(),
            calls: AtomicU32::new(0),
            overlapped: AtomicU32::new(0),
        }
    }

    /// Waits for the other thread, whatever it takes.
    fn meet(&self, me: usize) {
        let number = self.arrived.fetch_add(1, Ordering::SeqCst);
        self.wake(1 - me);
        let mut turns = 0;
        while self.arrived.load(Ordering::SeqCst) < number - number % 2 + 2 {
            self.turn(me, &mut turns);
        }
    }

    /// Waits for the other thread at a task, so that both go on awake and together. It is not
    /// insisted on for long: on a busy machine the other may not be running, and comes when this
    /// one is stopped somewhere in the middle.
    fn meet_at(&self, me: usize, at: usize) {
        let other = || self.at[1 - me].load(Ordering::SeqCst);
        self.at[me].store(at, Ordering::SeqCst);
        if other() == at {
            self.wake(1 - me);
        }
        let (mut turns, mut last, mut since) = (0, other(), Instant::now());
        while last < at || last == at && self.sleeps[1 - me].load(Ordering::SeqCst) {
            if last < at {
                self.turn(me, &mut turns);
            } else {
                turns += 1; // it is about to wake
                hint::spin_loop();
            }
            if mem::replace(&mut last, other()) != last {
                since = Instant::now();
            } else if turns % TURNS == 0
                && (since.elapsed() > STALLED || Instant::now() > self.until)
            {
                return;
            }
        }
    }

    /// Waits awake for a while, and then asleep, so that a machine that is busy lets the other come.
    fn turn(&self, me: usize, turns: &mut u32) {
        *turns += 1;
        if *turns % TURNS > 0 {
            return hint::spin_loop();
        }
        self.sleeps[me].store(true, Ordering::SeqCst);
        thread::park_timeout(NAP);
        self.sleeps[me].store(false, Ordering::SeqCst);
    }

    fn wake(&self, other: usize) {
        self.threads[other].get().into_iter().for_each(Thread::unpark);
    }

    /// Makes a call, and keeps what was asked and heard.
    async fn call(&self, store: &S, call: Call<S::Id, S::Payload>, log: &mut Log<S>) {
        log.push((call, Answer::Silent));
        let Some((call, answer)) = log.last_mut() else { return };
        let overlaps = self.clock.enter();
        *answer = ask(store, &call.request).await;
        self.clock.leave();
        self.calls.fetch_add(1, Ordering::Relaxed);
        let [one, two] = self.at.each_ref().map(|at| at.load(Ordering::Relaxed));
        let met = overlaps && one == two && one != LONG;
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

    /// Creates a task, while the other thread creates one.
    fn create(&self, store: &S, me: usize, number: u32) {
        let task = Task::new(S::payload(&format!("plain {number}")));
        let mut log = Vec::new();
        while log.len() < if S::LOSES_ANSWERS { 32 } else { 1 } {
            let create = Call::new(me, 0, Request::Create(task.clone()));
            self.drive(&mut log, async |log| self.call(store, create, log).await);
            if let Some((_, Answer::Created(id))) = log.last() {
                lock(&self.prizes).push(Prize { number, id: id.clone(), task });
                return;
            }
        }
        if let Some((call, answer)) = log.last() {
            let (expected, seen) = ("the task is stored and named".into(), answer.words());
            let story = vec![format!("{}: {seen}", call.line())];
            let breach = Breach { law: Law::NoError, expected, seen, rank: VAGUE };
            *lock(&self.failed) = Some((breach, story));
        }
    }
}

/// One thread's part in a batch. Returns what it asked and heard, by task.
fn run<S: Store>(store: &S, batch: &Batch<'_, S>, me: usize) -> Vec<Log<S>> {
    batch.meet(me);
    for (at, number) in batch.numbers.clone().skip(me).step_by(2).enumerate() {
        batch.meet_at(me, at + 1);
        batch.create(store, me, number);
    }
    batch.at[me].store(LONG - 1, Ordering::SeqCst);
    batch.meet(me);
    let prizes = {
        let mut prizes = lock(&batch.prizes);
        prizes.sort_by_key(|prize| prize.number);
        prizes.clone()
    };
    let mut logs = Vec::new();
    for (at, prize) in prizes.iter().enumerate() {
        batch.meet_at(me, LONG + at);
        let steps = if at == 0 { STEPS * prizes.len() } else { STEPS };
        let mut log = Vec::new();
        batch.drive(&mut log, async |log| take_part(store, batch, me, prize, steps, log).await);
        logs.push(log);
    }
    // What is seen from here on is the end: nothing is under way.
    batch.at[me].store(usize::MAX - me, Ordering::SeqCst);
    batch.meet(me);
    for (prize, log) in prizes.iter().zip(&mut logs) {
        let load = Call::new(me, 0, Request::Load(prize.id.clone()));
        batch.drive(log, async |log| batch.call(store, load, log).await);
    }
    logs
}

/// Loads and writes, as often as a thread does, and after some that are accepted commits once more
/// from the same copy, which is stale then.
async fn take_part<S: Store>(
    store: &S,
    batch: &Batch<'_, S>,
    me: usize,
    Prize { number, id, .. }: &Prize<S>,
    steps: usize,
    log: &mut Log<S>,
) {
    let new = |request| Call::new(me, 0, request);
    for step in 0..steps {
        batch.call(store, new(Request::Load(id.clone())), log).await;
        let Some((_, Answer::Loaded(Some(task)))) = log.last() else { return };
        let task = task.clone();
        // What is done is as good as drawn, and is another thing for each of the two.
        let drawn = (31 * *number as usize + 7 * step + 13 * me) % 97;
        if task.status().is_completed() && drawn % 4 > 0 && steps == STEPS {
            let request = Request::Delete(id.clone(), task.revision());
            batch.call(store, new(request), log).await;
            continue;
        }
        let text = format!("plain {number}, revision {} of client {}", task.revision(), me + 1);
        let again = (step % 3 == 0).then(|| task.clone());
        let (draft, words) = decide::<S>(task, drawn, &text);
        let call = Call { words, ..new(Request::Commit(id.clone(), draft)) };
        batch.call(store, call, log).await;
        if let (Some((_, Answer::Written(true))), Some(task)) = (log.last(), again) {
            let (draft, words) = decide::<S>(task, drawn + 1, &(text + ", too"));
            let words = words + ", too";
            batch.call(store, Call { words, ..new(Request::Commit(id.clone(), draft)) }, log).await;
        }
    }
}

/// A change of the lifecycle if one is accepted, and an edit.
fn decide<S: Store>(
    task: Task<S::Payload>,
    drawn: usize,
    text: &str,
) -> (Draft<S::Payload>, String) {
    let mut draft = Draft::new(task);
    let mut words = String::new();
    for &operation in Operation::ALL.iter().skip(drawn % 8) {
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
    prize: &Prize<S>,
    logs: &[Log<S>; 2],
) -> Option<(Breach, Vec<String>)> {
    let Prize { id, task: base, .. } = prize;
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
