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

use task_lifecycle::{Draft, Operation, Task};

use crate::call::{Answer, Call, CallOf, Heard, HeardOf, Request, RequestOf, Write, ask, decide};
use crate::ledger::{Breach, VAGUE, rank};
use crate::polling::{Clock, Fault, lock, quietly};
use crate::{Law, Store};

/// Drives a future on the thread that calls it.
pub(crate) type BlockOn<'a> = &'a (dyn Fn(Pin<&mut dyn Future<Output = ()>>) + Sync);

/// They race for this time at least, and until so many calls have overlapped; or fewer, if so many
/// were made, which are soon made of a store in memory.
const AT_LEAST: Duration = Duration::from_millis(150);
const OVERLAPPED: [u32; 2] = [3_000, 1_500];
const CALLS: u32 = 80_000;
/// They race no longer than this, where they seldom meet.
const AT_MOST: Duration = Duration::from_secs(8);

/// The time that they go on after a violation that may be another law's doing.
const MORE: Duration = Duration::from_millis(300);

/// Turns until a thread that waits for another goes to sleep, and for how long at a time.
const TURNS: u32 = 2_000;
const NAP: Duration = Duration::from_millis(1);

/// The time that a thread waits at a task for one that does not come nearer.
const STALLED: Duration = Duration::from_millis(500);

/// The changes that each thread tries of a task that is soon deleted.
const STEPS: usize = 6;

/// The place of a thread at the first task: one with many changes, so that a thread that is
/// stopped in the middle finds the other. Before, it creates tasks.
const LONG: usize = 1_000;

/// The calls of one thread about one task.
type Log<S> = Vec<HeardOf<S>>;

/// A task that the threads race for, as it was created.
#[derive(Clone)]
struct Prize<I, T> {
    number: u32,
    id: I,
    task: Task<T>,
}

type PrizeOf<S> = Prize<<S as Store>::Id, <S as Store>::Payload>;

/// A broken law, and the story of it.
type Told = (Breach, Vec<String>);

/// Races two threads, which have a handle each. Returns how many calls overlapped. `None`: the
/// store has no other handle.
pub(crate) fn race<S: Store + Send>(store: S, block_on: BlockOn<'_>) -> Option<Result<u32, Told>> {
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
    let mut found: Option<Told> = None;
    let (mut first, mut size, mut calls, mut overlapped) = (0, 2, 0, 0);
    let mut until = began + AT_MOST;
    while Instant::now() < until {
        let is_told = found.as_ref().is_some_and(|(breach, _)| breach.rank <= 1);
        let is_enough = overlapped >= OVERLAPPED[usize::from(calls > CALLS)];
        if is_told || is_enough && began.elapsed() >= AT_LEAST {
            break;
        }
        let time = Instant::now();
        let (numbers, meeting) = (first..first + 2 * size, Meeting::default());
        let (prizes, failed) = (Mutex::default(), Mutex::default());
        let batch =
            &Batch::<S> { block_on, clock: &clock, numbers, until, prizes, failed, meeting };
        // New threads, for a busy machine puts new ones where there is room for both.
        let [(one, logs), (two, others)] = thread::scope(|scope| {
            let [one, two] = handles;
            [(0, one), (1, two)]
                .map(|(me, store)| {
                    scope.spawn(move || {
                        let _ = batch.meeting.threads[me].set(thread::current());
                        let logs = Racer { store: &store, batch, me }.run();
                        (store, logs)
                    })
                })
                .map(|thread| thread.join().unwrap_or_else(|panicked| resume_unwind(panicked)))
        });
        handles = [one, two];
        let prizes = mem::take(&mut *lock(&batch.prizes));
        let logs = logs.into_iter().zip(others).enumerate();
        let judged = logs.filter_map(|(at, (log, other))| judge::<S>(&prizes, at, &[log, other]));
        for (breach, story) in lock(&batch.failed).take().into_iter().chain(judged) {
            until = until.min(Instant::now() + MORE);
            if found.as_ref().is_none_or(|(best, _)| breach.rank < best.rank) {
                found = Some((breach, story));
            }
        }
        first += 2 * size;
        calls += batch.meeting.calls.load(Ordering::Relaxed);
        overlapped += batch.meeting.overlapped.load(Ordering::Relaxed);
        // A batch that takes long is made smaller, for new threads may be put better.
        let is_quick = time.elapsed() < Duration::from_millis(40);
        size = if is_quick { (size * 4).min(128) } else { (size / 2).max(2) };
    }
    on_thread(move || discard(block_on, handles));
    Some(found.map_or(Ok(overlapped), Err))
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

/// The meeting place of two threads, and their counts.
#[derive(Default)]
struct Meeting {
    threads: [OnceLock<Thread>; 2],
    /// The times that one came to where they wait for each other.
    arrived: AtomicUsize,
    /// The number of the task that each is at, and whether it is asleep.
    at: [AtomicUsize; 2],
    sleeps: [AtomicBool; 2],
    calls: AtomicU32,
    overlapped: AtomicU32,
}

impl Meeting {
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
    fn meet_at(&self, me: usize, at: usize, until: Instant) {
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
            } else if turns % TURNS == 0 && (since.elapsed() > STALLED || Instant::now() > until) {
                return;
            }
        }
    }

    /// Waits awake for a while, and then asleep, so that a busy machine lets the other come.
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
}

/// A batch of tasks, shared by the threads.
struct Batch<'a, S: Store> {
    block_on: BlockOn<'a>,
    clock: &'a Clock,
    numbers: Range<u32>,
    until: Instant,
    prizes: Mutex<Vec<PrizeOf<S>>>,
    /// That a task could not be created.
    failed: Mutex<Option<Told>>,
    meeting: Meeting,
}

/// One of the two threads.
struct Racer<'a, S: Store> {
    store: &'a S,
    batch: &'a Batch<'a, S>,
    me: usize,
}

impl<S: Store> Racer<'_, S> {
    /// Takes part in a batch. Returns what was asked and heard, by task.
    fn run(&self) -> Vec<Log<S>> {
        let (me, Batch { meeting, numbers, until, .. }) = (self.me, self.batch);
        meeting.meet(me);
        for (at, number) in numbers.clone().skip(me).step_by(2).enumerate() {
            meeting.meet_at(me, at + 1, *until);
            self.create(number);
        }
        meeting.at[me].store(LONG - 1, Ordering::SeqCst);
        meeting.meet(me);
        lock(&self.batch.prizes).sort_by_key(|prize| prize.number);
        let prizes = lock(&self.batch.prizes).clone();
        let mut logs = Vec::new();
        for (at, prize) in prizes.iter().enumerate() {
            meeting.meet_at(me, LONG + at, *until);
            let steps = if at == 0 { STEPS * prizes.len() } else { STEPS };
            let mut log = Vec::new();
            self.drive(&mut log, async |log| self.take_part(prize, steps, log).await);
            logs.push(log);
        }
        // What is seen from here on is the end: nothing is under way.
        meeting.at[me].store(usize::MAX - me, Ordering::SeqCst);
        meeting.meet(me);
        for (prize, log) in prizes.iter().zip(&mut logs) {
            self.drive(log, async |log| self.call(Request::Load(prize.id.clone()), "", log).await);
        }
        logs
    }

    /// Creates a task, while the other thread creates one.
    fn create(&self, number: u32) {
        let task = Task::new(S::payload(&format!("plain {number}")));
        let mut log = Vec::new();
        for _ in 0..if S::LOSES_ANSWERS { 32 } else { 1 } {
            let create = Request::Create(task.clone());
            self.drive(&mut log, async |log| self.call(create, "", log).await);
            if let Some(Heard { answer: Answer::Created(id), .. }) = log.last() {
                lock(&self.batch.prizes).push(Prize { number, id: id.clone(), task });
                return;
            }
        }
        if let Some(heard) = log.last() {
            let expected = "the task is stored and named".into();
            let (seen, story) = (heard.answer.words(), vec![heard.line()]);
            let breach = Breach { law: Law::NoError, expected, seen, rank: VAGUE };
            *lock(&self.batch.failed) = Some((breach, story));
        }
    }

    /// Loads and writes, as often as a thread does, and after some that are accepted commits once
    /// more from the same copy, which is stale then.
    async fn take_part(&self, prize: &PrizeOf<S>, steps: usize, log: &mut Log<S>) {
        let (me, Prize { number, id, .. }) = (self.me, prize);
        for step in 0..steps {
            self.call(Request::Load(id.clone()), "", log).await;
            let Some(Heard { answer: Answer::Loaded(Some(task)), .. }) = log.last() else { return };
            let task = task.clone();
            // What is done is as good as drawn, and is another thing for each of the two.
            let drawn = (31 * *number as usize + 7 * step + 13 * me) % 97;
            if task.status().is_completed() && drawn % 2 > 0 && steps == STEPS {
                self.call(Request::Delete(id.clone(), task.revision()), "", log).await;
                continue;
            }
            let text = format!("plain {number}, revision {} of client {}", task.revision(), me + 1);
            let again = (step % 3 == 0).then(|| task.clone());
            let (draft, words) = change(task, drawn, || S::payload(&text));
            self.call(Request::Commit(id.clone(), draft), &words, log).await;
            let accepted = matches!(log.last(), Some(Heard { answer: Answer::Written(true), .. }));
            if let Some(task) = again.filter(|_| accepted) {
                let text = text + ", too";
                let (draft, words) = change(task, drawn + 1, || S::payload(&text));
                self.call(Request::Commit(id.clone(), draft), &(words + ", too"), log).await;
            }
        }
    }

    /// Makes a call, and keeps what was asked and heard.
    async fn call(&self, request: RequestOf<S>, words: &str, log: &mut Log<S>) {
        let call = Call { words: words.into(), ..Call::new(self.me, 0, request) };
        log.push(Heard { call, answer: Answer::None(Fault::Silent) });
        let Some(Heard { call, answer }) = log.last_mut() else { return };
        let overlaps = self.batch.clock.enter();
        *answer = ask(self.store, &call.request).await;
        self.batch.clock.leave();
        let Meeting { at, calls, overlapped, .. } = &self.batch.meeting;
        let [one, two] = at.each_ref().map(|at| at.load(Ordering::Relaxed));
        calls.fetch_add(1, Ordering::Relaxed);
        overlapped.fetch_add(u32::from(overlaps && one == two && one != LONG), Ordering::Relaxed);
    }

    /// Drives what makes calls. A panic is the answer to the last of them.
    fn drive(&self, log: &mut Log<S>, calls: impl AsyncFnOnce(&mut Log<S>)) {
        let driven = drive(self.batch.block_on, calls(log));
        if let (Err(text), Some(heard)) = (driven, log.last_mut()) {
            heard.answer = Answer::None(Fault::Panicked(text));
            self.batch.clock.leave();
        }
    }
}

/// An edit, and mostly a change of the lifecycle before it, which is never a cancel.
fn change<T>(task: Task<T>, drawn: usize, payload: impl Fn() -> T) -> (Draft<T>, String) {
    let mut draft = Draft::new(task);
    let change = if drawn % 3 == 0 { Operation::ALL.len() } else { drawn % 4 };
    let word = decide(&mut draft, change, payload());
    draft.edit(|current| *current = payload());
    (draft, word + " and edit")
}

/// Holds what two threads heard of a task against each other.
fn judge<S: Store>(prizes: &[PrizeOf<S>], at: usize, logs: &[Log<S>; 2]) -> Option<Told> {
    let Prize { id, task: base, .. } = prizes.get(at)?;
    let all = || logs.iter().flatten();
    let found = |law, expected: &str, told: &[&HeardOf<S>]| {
        let create = CallOf::<S>::new(0, 0, Request::Create(base.clone())).line();
        let mut story =
            vec![format!("{create}: named {id:?}; two threads load and commit at once")];
        story.extend(told.iter().map(|heard| heard.line()));
        let seen = told.last().map_or("nothing".into(), |heard| heard.answer.words());
        Some((Breach { law, expected: expected.into(), seen, rank: rank(law) }, story))
    };
    // The states by revision, and what led away from each.
    let mut states = BTreeMap::from([(base.revision().get(), base.clone())]);
    let mut from = BTreeMap::new();
    let mut delete = None;
    let mut unknown = Vec::new();
    for entry in all() {
        let Some(Write { from: Some(at), to }) = entry.call.request.write() else { continue };
        match &entry.answer {
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
        let Answer::Loaded(seen) = &entry.answer else { continue };
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
        let mut newest: Option<(u64, &HeardOf<S>)> = None;
        for entry in log {
            let known = match (&entry.answer, entry.call.request.write()) {
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
    let is_failure = |heard: &&HeardOf<S>| match heard.answer {
        Answer::Error(_) => !S::LOSES_ANSWERS,
        Answer::None(_) => true,
        _ => false,
    };
    if let Some(failed) = all().find(is_failure) {
        return found(Law::NoError, "an answer other than that", &[failed]);
    }
    if from.is_empty() && is_known {
        let refused: Vec<_> = all().take(6).collect();
        return found(Law::CurrentIsAccepted, "one is accepted", &refused);
    }
    // In the end nothing is under way.
    let last = states.last_key_value().map(|(_, task)| task).filter(|_| delete.is_none());
    let winner = delete.or_else(|| from.last_key_value().map(|(_, winner)| *winner));
    let behind = logs.iter().filter_map(|log| log.last()).find(|heard| {
        is_known && matches!(&heard.answer, Answer::Loaded(seen) if seen.as_ref() != last)
    });
    found(Law::SeenByAll, "what was accepted last", &[winner?, behind?])
}
