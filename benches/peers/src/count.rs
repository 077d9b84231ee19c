//! Instructions, counted by callgrind.
//!
//! The report starts itself again under callgrind, with `SUBJECT` in the environment. That run
//! makes every measured call once; callgrind counts inside functions named `measured_*` and writes
//! a profile after each. Both runs go through the same list of cases, so the profiles
//! are matched by order. (Not by name: the compiler folds equal functions into one.)

use std::hint::black_box;
use std::path::Path;
use std::process::Command;
use std::{env, fs, mem};

use crate::stored::{self, Stored};
use peers::machines::ours::Ours;
use peers::machines::table::Byte;
use peers::payload::{Configuration, Document, Payload};
use peers::{
    Family, Kind, Machine, PROCESSING, STARTING, STARTING_AFTER_SUCCEEDED,
    for_every_implementation, in_state,
};
use task_lifecycle::{Operation, State, Task, Transition, TransitionError};

/// One measured call.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Count {
    /// Instructions of this program. What the C library does for an allocation, a release or a
    /// copy counts as the one call.
    pub own: u64,
    /// All instructions.
    pub total: u64,
    /// Calls of the allocator. Where there is one, callgrind adds those that the same function made
    /// before the measured call.
    pub allocations: u64,
}

/// The counts of one implementation with one payload.
#[derive(Clone, Copy, Debug)]
pub struct Cancels {
    pub name: &'static str,
    pub kind: Kind,
    /// Of a new task, of an updating one, refused: with the error that names the refusing state.
    pub cancel: [Count; 3],
    /// The same, but only whether it was accepted.
    pub cancel_bool: [Count; 3],
    /// Create, start, succeed, update, cancel: in one function that can see all of it.
    pub together: Count,
    /// The same, but nothing known of the task from one operation to the next.
    pub apart: Count,
}

/// The counts of the decision alone.
#[derive(Clone, Copy, Debug)]
pub struct Decision {
    pub shape: &'static str,
    pub ours: [Count; 3],
    pub table: [Count; 3],
}

#[derive(Debug)]
pub struct Counts {
    /// Per payload.
    pub payloads: Vec<OfPayload>,
    pub decisions: Vec<Decision>,
    pub stored: Vec<Stored>,
}

#[derive(Debug)]
pub struct OfPayload {
    pub name: &'static str,
    pub rows: Vec<Cancels>,
    /// The crate's cancel again, with the record used.
    pub recorded: [Count; 3],
}

/// Gives the next count; in the run under callgrind, makes it.
pub struct Counter {
    read: Option<std::vec::IntoIter<Count>>,
}

impl Counter {
    /// The call goes through a pointer that the compiler does not know, as does what it gives: it
    /// can neither be left out nor be fitted to its argument.
    pub fn call<A, R>(&mut self, measured: fn(A) -> R, argument: A) -> Count {
        if let Some(counts) = &mut self.read {
            return counts.next().expect("a profile for each call");
        }
        black_box(black_box(measured)(black_box(argument)));
        end_of_profile();
        Count::default()
    }
}

/// Callgrind writes a profile before it enters this.
#[inline(never)]
fn end_of_profile() {
    black_box(());
}

/// Whether this is the run under callgrind; if so, it is done.
pub fn was_subject() -> bool {
    let subject = env::var_os("SUBJECT").is_some();
    if subject {
        all(&mut Counter { read: None });
    }
    subject
}

/// Counts everything, in a scratch directory.
pub fn count(scratch: &Path) -> Counts {
    fs::create_dir_all(scratch).expect("a scratch directory");
    for entry in fs::read_dir(scratch)
        .expect("the scratch directory")
        .flatten()
    {
        fs::remove_file(entry.path()).expect("an old profile is removed");
    }
    let status = Command::new("valgrind")
        .args(["--quiet", "--tool=callgrind", "--compress-strings=no"])
        .args(["--collect-atstart=no", "--toggle-collect=*measured_*"])
        // Not `--dump-after=*measured_*`: of two options for one function, the first counts.
        .arg("--dump-before=*end_of_profile*")
        .arg(format!(
            "--callgrind-out-file={}/profile",
            scratch.display()
        ))
        .arg(env::current_exe().expect("this program"))
        .env("SUBJECT", "1")
        .status()
        .expect("valgrind is installed");
    assert!(status.success(), "callgrind failed");

    let counts: Vec<Count> = (1..)
        .map_while(|part| fs::read_to_string(scratch.join(format!("profile.{part}"))).ok())
        .map(|profile| parse(&profile))
        .collect();
    let mut counter = Counter {
        read: Some(counts.into_iter()),
    };
    let counts = all(&mut counter);
    assert_eq!(
        counter.read.map(Iterator::count),
        Some(0),
        "more profiles than calls"
    );
    counts
}

/// Sums the cost lines of a profile. A line after `calls=` repeats what the callee did.
fn parse(profile: &str) -> Count {
    let mut count = Count::default();
    let (mut own, mut called, mut inclusive) = (true, "", false);
    let is_allocator = |name: &str| {
        ["malloc", "calloc", "realloc"].contains(&name) || name.contains("posix_memalign")
    };
    for line in profile.lines() {
        if let Some(object) = line.strip_prefix("ob=") {
            own = !object.contains(".so");
        } else if let Some(name) = line.strip_prefix("cfn=") {
            called = name;
        } else if let Some(calls) = line.strip_prefix("calls=") {
            inclusive = true;
            if own && is_allocator(called) {
                count.allocations += first_number(calls);
            }
        } else if line.starts_with(|first: char| "+-*0123456789".contains(first)) {
            let cost = line.split(' ').nth(1).map_or(0, first_number);
            if !mem::take(&mut inclusive) {
                count.total += cost;
                count.own += if own { cost } else { 0 };
            }
        }
    }
    count
}

fn first_number(text: &str) -> u64 {
    let end = text.find(' ').unwrap_or(text.len());
    text[..end].parse().expect("a number in the profile")
}

fn all(counter: &mut Counter) -> Counts {
    Counts {
        payloads: vec![
            of_payload::<()>(counter),
            of_payload::<Document>(counter),
            of_payload::<Configuration>(counter),
        ],
        decisions: decisions(counter),
        stored: stored::count(counter),
    }
}

fn of_payload<T: Payload>(counter: &mut Counter) -> OfPayload {
    OfPayload {
        name: T::NAME,
        rows: for_every_implementation!(cancels_of::<_, T>(counter)).into(),
        recorded: machines::<Ours, T>()
            .map(|mut task| counter.call(measured_record::<T>, &mut task)),
    }
}

fn cancels_of<F: Family, T: Payload>(counter: &mut Counter) -> Cancels {
    Cancels {
        name: F::NAME,
        kind: F::KIND,
        cancel: machines::<F, T>()
            .map(|mut machine| counter.call(measured_cancel::<F::Machine<T>, T>, &mut machine)),
        cancel_bool: machines::<F, T>().map(|mut machine| {
            counter.call(measured_cancel_bool::<F::Machine<T>, T>, &mut machine)
        }),
        together: counter.call(
            measured_lifecycle::<F::Machine<T>, T>,
            (T::make(1), T::make(2)),
        ),
        apart: counter.call(
            measured_lifecycle_apart::<F::Machine<T>, T>,
            (T::make(1), T::make(2)),
        ),
    }
}

/// A new one, an updating one, and one that refuses a cancel.
fn machines<F: Family, T: Payload>() -> [F::Machine<T>; 3] {
    [STARTING, STARTING_AFTER_SUCCEEDED, PROCESSING].map(in_state::<F, T>)
}

#[inline(never)]
fn measured_cancel<M: Machine<T>, T>(machine: &mut M) -> Result<(), M::Refusal> {
    machine.cancel()
}

#[inline(never)]
fn measured_cancel_bool<M: Machine<T>, T>(machine: &mut M) -> bool {
    machine.cancel().is_ok()
}

#[inline(never)]
fn measured_record<T>(task: &mut Task<T>) -> Result<Transition<T>, TransitionError> {
    task.cancel()
}

#[inline(never)]
fn measured_lifecycle<M: Machine<T>, T>((first, second): (T, T)) -> M {
    let mut machine = M::new(first);
    machine.start();
    machine.succeed();
    machine.update(second);
    let _ = machine.cancel();
    machine
}

#[inline(never)]
fn measured_lifecycle_apart<M: Machine<T>, T>((first, second): (T, T)) -> M {
    let mut machine = M::new(first);
    black_box(&mut machine).start();
    black_box(&mut machine).succeed();
    black_box(&mut machine).update(second);
    let _ = black_box(&mut machine).cancel();
    machine
}

fn decisions(counter: &mut Counter) -> Vec<Decision> {
    let states = machines::<Ours, ()>().map(|task| task.state());
    let bytes = [
        Byte::Starting,
        Byte::StartingAfterSucceeded,
        Byte::Processing,
    ];

    vec![
        Decision {
            shape: "by value, the next state",
            ours: states.map(|state| counter.call(measured_decide, state)),
            table: bytes.map(|byte| counter.call(measured_look_up, byte)),
        },
        Decision {
            shape: "in place, the error",
            ours: states.map(|mut state| counter.call(measured_decide_error, &mut state)),
            table: bytes.map(|mut byte| counter.call(measured_look_up_error, &mut byte)),
        },
        Decision {
            shape: "in place, a `bool`",
            ours: states.map(|mut state| counter.call(measured_decide_bool, &mut state)),
            table: bytes.map(|mut byte| counter.call(measured_look_up_bool, &mut byte)),
        },
    ]
}

#[inline(never)]
fn measured_decide(state: State) -> Result<Option<State>, TransitionError> {
    state.apply(Operation::Cancel)
}

#[inline(never)]
fn measured_look_up(byte: Byte) -> Result<Option<Byte>, Byte> {
    byte.cancelled()
}

#[inline(never)]
fn measured_decide_bool(state: &mut State) -> bool {
    let answer = state.apply(Operation::Cancel);
    if let Ok(Some(next)) = answer {
        *state = next;
    }
    answer.is_ok()
}

#[inline(never)]
fn measured_look_up_bool(byte: &mut Byte) -> bool {
    byte.cancel()
}

#[inline(never)]
fn measured_decide_error(state: &mut State) -> Result<(), TransitionError> {
    if let Some(next) = state.apply(Operation::Cancel)? {
        *state = next;
    }
    Ok(())
}

#[inline(never)]
fn measured_look_up_error(byte: &mut Byte) -> Result<(), Byte> {
    let from = *byte;
    if byte.cancel() { Ok(()) } else { Err(from) }
}
