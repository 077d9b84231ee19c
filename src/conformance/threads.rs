//! Races of real threads, for stores whose calls never wait and so cannot be held.

use core::hint;
use core::mem;
use std::boxed::Box;
use std::panic;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};
use std::vec::Vec;

use super::barrier::{Barrier, TURNS};
use super::call::{Answer, Request};
use super::chain::{Note, judge};
use super::clock::Clock;
use super::found::Found;
use super::model::Write;
use super::round::{Kind, Round};
use super::turn::{Heard, answer, change, notes};
use super::{Law, Store, Violation};

/// How the text of a violation that threads found begins.
pub(super) const THREADS: &str = "threads";

/// How long they race, if they meet often enough; and if the machine leaves them no time to.
const RACING: Duration = Duration::from_millis(500);
const AT_MOST: Duration = Duration::from_secs(4);

/// How many commits must be lost races.
const ENOUGH: u32 = 10_000;

/// How long they go on after a violation that may be another law's doing.
const MORE: Duration = Duration::from_millis(300);

/// How many changes each thread tries of a task that is soon deleted.
const STEPS: u32 = 6;

/// What the threads share: of a store's types only the names of tasks.
struct Ring<I> {
    barrier: Barrier,
    tasks: Mutex<Vec<(Round, I)>>,
    /// The number of the task that each is at.
    at: [AtomicUsize; 2],
    notes: [Mutex<Vec<Vec<Note>>>; 2],
    /// Counts what was done, so that a thread that hangs is missed.
    progress: AtomicU32,
}

/// Races two threads, which have a handle each. Returns how many commits lost a race, and a
/// violation.
pub(super) fn race<S: Store + Send>(
    handles: [S; 2],
    clock: &Clock,
    tasks: u32,
) -> (u32, Option<Violation>) {
    let ring = &Ring {
        barrier: Barrier::default(),
        tasks: Mutex::default(),
        at: Default::default(),
        notes: Default::default(),
        progress: AtomicU32::new(0),
    };
    let [leader, other] = handles;
    let (lost, found) = thread::scope(|scope| {
        let leader = scope.spawn(move || {
            let _end = ring.barrier.closes();
            lead(&leader, ring, clock, tasks)
        });
        let other = scope.spawn(move || {
            let _end = ring.barrier.closes();
            while run(&other, ring, 1) {}
        });
        let mut last = u32::MAX;
        while !leader.is_finished() || !other.is_finished() {
            let now = ring.progress.load(Ordering::Relaxed);
            if now != last {
                clock.busy();
                last = now;
            }
            thread::sleep(Duration::from_millis(1));
        }
        clock.watched(|| ());
        match (leader.join(), other.join()) {
            (Ok(found), Ok(())) => found,
            (Err(panicked), _) | (_, Err(panicked)) => panic::resume_unwind(panicked),
        }
    });
    (lost, found.map(|found| found.violation))
}

fn lead<S: Store>(
    store: &S,
    ring: &Ring<S::Id>,
    clock: &Clock,
    tasks: u32,
) -> (u32, Option<Found>) {
    let began = Instant::now();
    let mut best: Option<Found> = None;
    let mut until = None;
    let (mut first, mut size, mut lost) = (0, 4, 0);
    let mut kinds = [Kind::New, Kind::Edits, Kind::Update].into_iter().cycle();
    while first < tasks && until.is_none_or(|until| Instant::now() < until) {
        let time = if lost < ENOUGH { AT_MOST } else { RACING };
        if began.elapsed() > time {
            break;
        }
        // Many that are soon deleted; and one with many changes, so that a thread that is stopped
        // in the middle finds the other at the same task.
        let (kind, steps) = (Kind::Deletes, STEPS);
        let many = (first..first + size).map(|number| Round {
            number,
            kind,
            steps,
        });
        let kind = kinds.next().unwrap_or(Kind::New);
        let one = Round {
            number: first,
            kind,
            steps: 8 * size,
        };
        first += size;
        let creating = Instant::now();
        let created: Result<Vec<_>, _> = many
            .chain([one])
            .map(|round| create(store, clock, round).map(|id| (round, id)))
            .collect();
        match created {
            Ok(created) => *lock(&ring.tasks) = created,
            Err(found) => return (lost, Some(*found)),
        }
        if creating.elapsed() < Duration::from_millis(5) {
            size = (size * 4).min(512);
        }
        if !run(store, ring, 0) {
            break;
        }
        for (at, (round, _)) in lock(&ring.tasks).iter().enumerate() {
            let notes = [0, 1].map(|who| mem::take(&mut lock(&ring.notes[who])[at]));
            let refused = notes.iter().flatten().filter(|note| note.lost_a_race());
            lost += u32::try_from(refused.count()).unwrap_or(0);
            if let Some(found) = judge(clock, *round, &notes) {
                if best.as_ref().is_none_or(|best| found.rank < best.rank) {
                    best = Some(found);
                }
            }
        }
        match &best {
            Some(best) if best.tells_all() => break,
            Some(_) => until = until.or(Some(Instant::now() + MORE)),
            None => {}
        }
    }
    (lost, best)
}

/// Creates the task of a round.
fn create<S: Store>(store: &S, clock: &Clock, round: Round) -> Result<S::Id, Box<Found>> {
    let mut answered = answer(store, &Request::Create(round.new_task::<S>()));
    if let Answer::Created(id) = &answered {
        let id = id.clone();
        let base = round.base::<S>();
        if base.revision() == 0 {
            return Ok(id);
        }
        let write = Write {
            loaded: 0,
            task: Some(base),
        };
        answered = answer(store, &Request::Write(id.clone(), write));
        if matches!(answered, Answer::Written(true)) {
            return Ok(id);
        }
    }
    clock.begin();
    clock.tell("client 1 creates task 1".into());
    let expected = "the task is stored".into();
    let found = Found::new(clock, Law::NoError, expected, answered.words(), false);
    Err(Box::new(found))
}

/// One thread's part in a batch. False if the other thread is gone.
fn run<S: Store>(store: &S, ring: &Ring<S::Id>, me: usize) -> bool {
    if !ring.barrier.meet() {
        return false;
    }
    let tasks = lock(&ring.tasks).clone();
    ring.at[me].store(0, Ordering::Release);
    let met = ring.barrier.meet();
    let mut heard = Vec::new();
    // Where the other was when it did not come.
    let mut absent = usize::MAX;
    for (at, (round, id)) in tasks.iter().enumerate() {
        ring.at[me].store(at, Ordering::Release);
        // The thread does not insist: on a busy machine the other is not running, and comes when
        // this one is stopped somewhere in the middle.
        let other = || ring.at[1 - me].load(Ordering::Acquire);
        if other() != absent {
            let missing = (0..TURNS)
                .take_while(|_| other() < at)
                .inspect(|_| hint::spin_loop());
            absent = if missing.count() < TURNS as usize {
                usize::MAX
            } else {
                other()
            };
        }
        heard.push(change(store, *round, id, me));
        ring.progress.fetch_add(1, Ordering::Relaxed);
    }
    // What is seen from here on is the end: nothing is under way.
    ring.at[me].store(usize::MAX - 1, Ordering::Release);
    let met = met && ring.barrier.meet();
    let notes = tasks.iter().zip(heard).map(|((round, id), mut heard)| {
        heard.push(Heard::Loaded(answer(store, &Request::Load(id.clone()))));
        notes(heard, *round)
    });
    *lock(&ring.notes[me]) = notes.collect();
    met && ring.barrier.meet()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
