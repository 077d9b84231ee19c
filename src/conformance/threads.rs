//! Races of real threads, for stores whose calls never wait and so cannot be held.

use core::hint;
use std::boxed::Box;
use std::panic;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};
use std::vec::Vec;

use super::call::{Answer, Request, ask};
use super::chain::{Author, Note, Round, judge};
use super::clock::Clock;
use super::flight::{Fault, block_on, quietly};
use super::model::Write;
use super::play::Found;
use super::{Law, Store, Violation};

/// How the text of a violation that threads found begins.
pub(super) const THREADS: &str = "threads";

/// How long they race, if they meet often enough; and if the machine leaves them no time to.
const RACING: Duration = Duration::from_millis(500);
const AT_MOST: Duration = Duration::from_millis(1_500);

/// How many commits must be lost races.
const ENOUGH: u32 = 1_000;

/// How many rounds more are raced after a violation that may be another law's doing.
const MORE: u32 = 100;

/// How many changes each thread tries in a round.
const STEPS: u32 = 8;

/// What the threads share: of a store's types only the names of tasks.
struct Ring<I> {
    barrier: Barrier,
    task: Mutex<Option<I>>,
    notes: [Mutex<Vec<Note>>; 2],
}

/// Races two threads, which have a handle each. Returns how many commits lost a race, and a
/// violation.
pub(super) fn race<S: Store + Send>(
    handles: [S; 2],
    clock: &Clock,
    rounds: u32,
) -> (u32, Option<Box<Violation>>) {
    let (barrier, task) = (Barrier::default(), Mutex::default());
    let notes = [Mutex::default(), Mutex::default()];
    let ring = &Ring {
        barrier,
        task,
        notes,
    };
    let progress = &AtomicU32::new(0);
    let [leader, other] = handles;
    let (lost, found) = thread::scope(|scope| {
        let leader = scope.spawn(move || {
            let _end = ring.barrier.closes();
            lead(&leader, ring, clock, rounds, progress)
        });
        let other = scope.spawn(move || {
            let _end = ring.barrier.closes();
            for number in 0.. {
                if !run(&other, ring, Round { number }, 1) {
                    break;
                }
            }
        });
        let mut last = u32::MAX;
        while !leader.is_finished() || !other.is_finished() {
            let round = progress.load(Ordering::Relaxed);
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
    (lost, found.map(|found| Box::new(found.violation)))
}

fn lead<S: Store>(
    store: &S,
    ring: &Ring<S::Id>,
    clock: &Clock,
    rounds: u32,
    progress: &AtomicU32,
) -> (u32, Option<Box<Found>>) {
    let began = Instant::now();
    let mut best: Option<Box<Found>> = None;
    let mut more = MORE;
    let mut lost = 0;
    for number in 0..rounds {
        more -= u32::from(best.is_some());
        let time = if lost < ENOUGH { AT_MOST } else { RACING };
        if began.elapsed() > time || more == 0 {
            break;
        }
        clock.begin();
        let round = Round { number };
        let found = match prepare(store, ring, clock, round) {
            Ok(()) if run(store, ring, round, 0) => {
                let notes = [0, 1].map(|who| lock(&ring.notes[who]).clone());
                let refused = |note: &&Note| {
                    matches!(
                        note,
                        Note::Wrote {
                            accepted: false,
                            ..
                        }
                    )
                };
                let refused = notes.iter().flatten().filter(refused).count();
                lost += u32::try_from(refused).unwrap_or(0);
                judge(clock, round, notes)
            }
            Ok(()) => break,
            Err(found) => Some(found),
        };
        progress.fetch_add(1, Ordering::Relaxed);
        if let Some(found) = found {
            if best.as_ref().is_none_or(|best| found.rank < best.rank) {
                best = Some(found);
            }
            if best.as_ref().is_some_and(|best| best.rank <= 1) {
                break;
            }
        }
    }
    (lost, best)
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
    round: Round,
) -> Result<(), Box<Found>> {
    let wrong = |answer: &Answer<S>| {
        clock.tell("client 1 creates task 1".into());
        Found::new(
            clock,
            Law::NoError,
            "task 1 is stored".into(),
            answer.words(),
            0,
        )
    };
    let id = match answer(store, &Request::Create(round.new_task::<S>())) {
        Answer::Created(id) => id,
        answer => return Err(wrong(&answer)),
    };
    let base = round.base::<S>();
    if base.revision() > 0 {
        let write = Write {
            loaded: 0,
            task: Some(base),
        };
        let answer = answer(store, &Request::Write(id.clone(), write));
        if !matches!(answer, Answer::Written(true)) {
            return Err(wrong(&answer));
        }
    }
    *lock(&ring.task) = Some(id);
    Ok(())
}

/// One thread's part in a round. False if the other thread is gone.
fn run<S: Store>(store: &S, ring: &Ring<S::Id>, round: Round, me: usize) -> bool {
    if !ring.barrier.meet() {
        return false;
    }
    let Some(id) = lock(&ring.task).clone() else {
        return false;
    };
    let load = Request::Load(id.clone());
    let base = round.base::<S>();
    let mut notes = Vec::new();
    let met = ring.barrier.meet();
    for step in 0..STEPS {
        let task = match answer(store, &load) {
            Answer::Loaded(Some(task)) => task,
            Answer::Loaded(None) => {
                notes.push(Note::Saw(None, Author::Nobody("none".into())));
                break;
            }
            answer => {
                notes.push(Note::failed("loads task 1", &answer));
                break;
            }
        };
        let loaded = task.revision();
        notes.push(Note::Saw(Some(loaded), round.author::<S>(&task, &base)));
        let deletes = round.deletes(me, step);
        let task = (!deletes).then(|| round.change::<S>(task, me));
        match answer(store, &Request::Write(id.clone(), Write { loaded, task })) {
            Answer::Written(accepted) => notes.push(Note::Wrote {
                loaded,
                deletes,
                accepted,
            }),
            Answer::Error(_) if S::LOSES_ANSWERS => notes.push(Note::Unknown),
            answer => {
                let what = if deletes {
                    "deletes task 1"
                } else {
                    "commits a change of task 1"
                };
                notes.push(Note::failed(what, &answer));
                break;
            }
        }
    }
    // What is seen now was either answered or seen before.
    let met = met && ring.barrier.meet();
    notes.push(match answer(store, &load) {
        Answer::Loaded(Some(task)) => {
            Note::Saw(Some(task.revision()), round.author::<S>(&task, &base))
        }
        Answer::Loaded(None) => Note::Saw(None, Author::Nobody("none".into())),
        answer => Note::failed("loads task 1", &answer),
    });
    *lock(&ring.notes[me]) = notes;
    met && ring.barrier.meet()
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
