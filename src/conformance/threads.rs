//! Races of real threads, for stores whose calls never wait and so cannot be held.

use core::hint;
use std::boxed::Box;
use std::format;
use std::panic;
use std::string::String;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};
use std::vec::Vec;

use super::call::{Answer, Call, Request, ask, change};
use super::clock::Clock;
use super::flight::{Fault, block_on, quietly};
use super::model::Write;
use super::show::show;
use super::{Law, Store, Violation};
use crate::Task;

/// How the text of a violation that threads found begins.
pub(super) const THREADS: &str = "threads";

/// How long they race.
const RACING: Duration = Duration::from_millis(500);

/// How many rounds more are raced after a violation that may be another law's doing.
const MORE: u32 = 200;

/// What a thread does in a round.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Role {
    Commit,
    Delete,
    /// Loads until the other is done.
    Load,
}

const ROUNDS: [[Role; 2]; 8] = [
    [Role::Commit, Role::Commit],
    [Role::Commit, Role::Load],
    [Role::Commit, Role::Delete],
    [Role::Load, Role::Commit],
    [Role::Commit, Role::Commit],
    [Role::Delete, Role::Delete],
    [Role::Delete, Role::Commit],
    [Role::Load, Role::Delete],
];

/// What a thread saw of the task.
#[derive(Clone)]
struct Sight {
    text: String,
    /// Whether it is the task as it was before, as the first thread leaves it, as the second does.
    is: [bool; 3],
    failed: bool,
}

/// What a thread did and saw in a round.
#[derive(Clone, Default)]
struct Log {
    line: String,
    answer: String,
    /// Whether its write was accepted; `None`: there was none, or no answer.
    won: Option<bool>,
    failed: bool,
    before: String,
    meanwhile: Vec<Sight>,
    afterwards: Vec<Sight>,
}

/// What the threads share: of a store's types only the names of tasks.
struct Ring<I> {
    barrier: Barrier,
    task: Mutex<Option<I>>,
    logs: [Mutex<Log>; 2],
    is_done: [AtomicBool; 2],
}

type Found = (u8, Box<Violation>);

/// Races two threads, which have a handle each. Returns the number of rounds, and a violation.
pub(super) fn race<S: Store + Send>(
    handles: [S; 2],
    clock: &Clock,
    rounds: u32,
) -> (u32, Option<Box<Violation>>) {
    let ring = Ring {
        barrier: Barrier::default(),
        task: Mutex::new(None),
        logs: Default::default(),
        is_done: Default::default(),
    };
    let (ring, raced) = (&ring, &AtomicU32::new(0));
    let [leader, other] = handles;
    let found = thread::scope(|scope| {
        let leader = scope.spawn(move || {
            let _end = ring.barrier.closes();
            lead(&leader, ring, clock, rounds, raced)
        });
        let other = scope.spawn(move || {
            let _end = ring.barrier.closes();
            let mut round = 0;
            while run(&other, ring, round, 1) {
                round += 1;
            }
        });
        let mut last = u32::MAX;
        while !leader.is_finished() || !other.is_finished() {
            let round = raced.load(Ordering::Relaxed);
            if round != last {
                clock.busy();
                last = round;
            }
            thread::sleep(Duration::from_millis(1));
        }
        clock.watched(|| ());
        match (leader.join(), other.join()) {
            (Ok(found), Ok(())) => found,
            (Err(panicked), _) | (_, Err(panicked)) => panic::resume_unwind(panicked),
        }
    });
    (raced.load(Ordering::Relaxed), found)
}

fn lead<S: Store>(
    store: &S,
    ring: &Ring<S::Id>,
    clock: &Clock,
    rounds: u32,
    raced: &AtomicU32,
) -> Option<Box<Violation>> {
    let until = Instant::now() + RACING;
    let mut best: Option<Found> = None;
    let mut more = MORE;
    for round in 0..rounds {
        more -= u32::from(best.is_some());
        if Instant::now() > until || more == 0 {
            break;
        }
        clock.begin();
        let found = match prepare(store, ring, clock, round) {
            Ok(()) if run(store, ring, round, 0) => judge(ring, clock),
            Ok(()) => break,
            Err(found) => Some(found),
        };
        raced.fetch_add(1, Ordering::Relaxed);
        if let Some((rank, violation)) = found {
            if best.as_ref().is_none_or(|(best, _)| rank < *best) {
                best = Some((rank, violation));
            }
            if rank <= 1 {
                break;
            }
        }
    }
    best.map(|(_, violation)| violation)
}

fn answer<S: Store>(store: &S, request: &Request<S>) -> Answer<S> {
    quietly(|| block_on(ask(store, request)))
        .unwrap_or_else(|text| Answer::None(Fault::Panicked(text)))
}

/// Creates the task of the round.
fn prepare<S: Store>(
    store: &S,
    ring: &Ring<S::Id>,
    clock: &Clock,
    round: u32,
) -> Result<(), Found> {
    let make = |request, words: &str, name: Option<&S::Id>| {
        let words = words.into();
        let call = Call {
            client: 0,
            index: 0,
            request,
            words,
            reverts: false,
        };
        let line = clock.tell(call.line());
        let answer = answer(store, &call.request);
        clock.add(line, &format!(": {}", answer.words()));
        match (answer, name) {
            (Answer::Created(id), _) => Ok(id),
            (Answer::Written(true), Some(id)) => Ok(id.clone()),
            (answer, _) => Err(found(clock, Law::NoError, "accepted", answer.words(), 0)),
        }
    };
    let mut task = Task::new(S::payload(&format!("plain {round}")));
    let id = make(Request::Create(task.clone()), "", None)?;
    if roles(round).contains(&Role::Delete) {
        let _ = task.fail();
        let write = Write {
            loaded: 0,
            task: Some(task),
        };
        make(Request::Write(id.clone(), write), "fail", Some(&id))?;
    }
    *lock(&ring.task) = Some(id);
    for done in &ring.is_done {
        done.store(false, Ordering::Release);
    }
    Ok(())
}

const fn roles(round: u32) -> [Role; 2] {
    ROUNDS[round as usize % ROUNDS.len()]
}

/// One thread's part in a round. False if there is no other.
fn run<S: Store>(store: &S, ring: &Ring<S::Id>, round: u32, me: usize) -> bool {
    if !ring.barrier.meet() {
        return false;
    }
    let Some(id) = lock(&ring.task).clone() else {
        return false;
    };
    let load = Request::Load(id.clone());
    let base = match answer(store, &load) {
        Answer::Loaded(task) => task,
        _ => None,
    };
    // Both threads make both calls, as tasks cannot be handed over.
    let writes = [0, 1].map(|who| write::<S>(roles(round)[who], base.as_ref(), round, who));
    let after = |who: usize| writes[who].as_ref().map(|(write, _)| write.task.as_ref());
    let look = || {
        let answer = answer(store, &load);
        let is = match &answer {
            Answer::Loaded(task) => {
                let task = task.as_ref();
                [
                    task == base.as_ref(),
                    after(0) == Some(task),
                    after(1) == Some(task),
                ]
            }
            _ => [false; 3],
        };
        let failed = !matches!(answer, Answer::Loaded(_));
        Sight {
            text: answer.words(),
            is,
            failed,
        }
    };
    let request = match &writes[me] {
        Some((write, _)) => Request::Write(id.clone(), write.clone()),
        None => Request::Load(id.clone()),
    };
    let words = writes[me]
        .as_ref()
        .map_or(String::new(), |(_, words)| words.clone());
    let call = Call {
        client: me,
        index: 0,
        request,
        words,
        reverts: false,
    };
    let mut log = Log {
        line: call.line(),
        before: show(base.as_ref()),
        ..Log::default()
    };

    let met = ring.barrier.meet();
    // They do not always start at the same moment.
    for _ in 0..(round / 8).wrapping_mul(2_654_435_761 + 97 * me as u32) >> 23 {
        hint::spin_loop();
    }
    if call.write().is_none() {
        while log.meanwhile.len() < 64 {
            let last = ring.is_done[1 - me].load(Ordering::Acquire);
            log.meanwhile.push(look());
            if last {
                break;
            }
        }
    } else {
        let answer = answer(store, &call.request);
        log.answer = answer.words();
        match answer {
            Answer::Written(won) => log.won = Some(won),
            Answer::Error(_) if S::LOSES_ANSWERS => {}
            _ => log.failed = true,
        }
    }
    ring.is_done[me].store(true, Ordering::Release);

    let met = met && ring.barrier.meet();
    log.afterwards.push(look());
    *lock(&ring.logs[me]) = log;
    met && ring.barrier.meet()
}

/// What a thread in this role writes.
fn write<S: Store>(
    role: Role,
    base: Option<&Task<S::Payload>>,
    round: u32,
    who: usize,
) -> Option<(Write<S::Payload>, String)> {
    let mut task = base?.clone();
    let loaded = task.revision();
    match role {
        Role::Load => None,
        Role::Delete => Some((Write { loaded, task: None }, "delete".into())),
        Role::Commit => {
            let which = (round / 8 + who as u32) % 7;
            let changes = [(which as u8, 0)];
            let text = format!("plain {round}, client {}", who + 1);
            let (words, _) = change(&mut task, &changes, |_, _| S::payload(&text));
            Some((
                Write {
                    loaded,
                    task: Some(task),
                },
                words,
            ))
        }
    }
}

/// Whether there is an order in which the round may have been.
fn judge<I>(ring: &Ring<I>, clock: &Clock) -> Option<Found> {
    let logs = [lock(&ring.logs[0]).clone(), lock(&ring.logs[1]).clone()];
    for (who, log) in logs.iter().enumerate() {
        let meanwhile = if who == 0 { "" } else { "at the same time " };
        let told = log.meanwhile.iter().map(|sight| sight.text.as_str());
        let mut told: Vec<&str> = told
            .chain((log.meanwhile.is_empty()).then_some(&*log.answer))
            .collect();
        told.dedup();
        clock.tell(format!("{meanwhile}{}: {}", log.line, told.join("; then ")));
    }
    let wins = [0, 1].map(|who| logs[who].won == Some(true));
    if wins == [true, true] {
        let expected = "one of the two is refused, for both were at the same revision";
        return Some(found(
            clock,
            Law::OneWins,
            expected,
            "both are accepted".into(),
            1,
        ));
    }
    let failed = logs.iter().find(|log| log.failed);
    let is_known = logs
        .iter()
        .all(|log| !log.failed && (log.won.is_some() || log.answer.is_empty()));
    if is_known && wins == [false, false] {
        let expected = "one of the two is accepted";
        return Some(found(
            clock,
            Law::CurrentIsAccepted,
            expected,
            "none is".into(),
            4,
        ));
    }
    // A sight is of the task before, or of what may have been accepted.
    let may_be = |sight: &Sight| {
        (!is_known || wins[0]) && sight.is[1] || (!is_known || wins[1]) && sight.is[2]
    };
    for (who, log) in logs.iter().enumerate() {
        let mut is_over = false;
        let sights = log.meanwhile.iter().chain(&log.afterwards);
        for (number, sight) in sights.enumerate() {
            is_over |= is_known && number >= log.meanwhile.len();
            let expected = if is_over {
                "the task as it was accepted".into()
            } else {
                format!("the task as it was accepted, or as it was: {}", log.before)
            };
            let law = if sight.failed {
                Law::NoError
            } else if may_be(sight) {
                is_over = true;
                continue;
            } else if !sight.is[0] {
                Law::SeenWhole
            } else if is_over {
                Law::NeverOlder
            } else {
                continue;
            };
            let rank = match law {
                Law::SeenWhole => 2,
                Law::NeverOlder => 3,
                _ => 4,
            };
            if number >= log.meanwhile.len() {
                clock.tell(format!("client {} loads task 1: {}", who + 1, sight.text));
            }
            return Some(found(clock, law, &expected, sight.text.clone(), rank));
        }
    }
    let log = failed?;
    Some(found(
        clock,
        Law::NoError,
        "accepted or refused",
        log.answer.clone(),
        4,
    ))
}

fn found(clock: &Clock, law: Law, expected: &str, seen: String, rank: u8) -> Found {
    let violation = Violation {
        law,
        story: clock.story(),
        expected: expected.into(),
        seen,
        replay: THREADS.into(),
        seed: None,
        watched: false,
    };
    (rank, Box::new(violation))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Where two threads wait for each other without going to sleep, so that they leave together.
#[derive(Default)]
struct Barrier {
    arrived: AtomicUsize,
    is_closed: AtomicBool,
}

impl Barrier {
    /// False if the other thread will not come.
    fn meet(&self) -> bool {
        let number = self.arrived.fetch_add(1, Ordering::AcqRel);
        let both = number - number % 2 + 2;
        let mut turns = 0_u32;
        while self.arrived.load(Ordering::Acquire) < both {
            if self.is_closed.load(Ordering::Acquire) {
                return false;
            }
            turns += 1;
            if turns % 1_024 == 0 {
                thread::yield_now();
            } else {
                hint::spin_loop();
            }
        }
        true
    }

    /// Lets the other thread go when this one ends, by a panic too.
    fn closes(&self) -> Closes<'_> {
        Closes(self)
    }
}

struct Closes<'a>(&'a Barrier);

impl Drop for Closes<'_> {
    fn drop(&mut self) {
        self.0.is_closed.store(true, Ordering::Release);
    }
}
