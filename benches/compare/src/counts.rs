//! All that is counted in instructions, one call of a function `measured_*` a figure.

use std::hint::black_box;

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use task_lifecycle::{Draft, Event, Operation, Released, State, Task, TransitionError};

use crate::machine::{Answer, Machine, Record, Refused, Stored};
use crate::payload::{Document, Payload};

/// Places in `State::ALL`: a new task, an updating one, and one that refuses a cancel.
const THREE: [usize; 3] = [0, 5, 1];

/// A task in a state, by its place in `State::ALL`.
pub fn in_state<M: Machine<T>, T: Payload>(state: usize) -> M {
    let mut task = M::new(T::make(1));
    for step in ["", "s", "sS", "f", "c", "sSu", "fu", "sSus", "fus"][state].chars() {
        let _ = task.apply(|| match step {
            's' => Event::Start,
            'S' => Event::Succeed,
            'f' => Event::Fail,
            'c' => Event::Cancel,
            _ => Event::Update(T::make(2)),
        });
    }
    task
}

/// Makes a call that callgrind counts under `key`. The compiler knows neither the function nor what
/// goes in and out, so the call can neither be left out nor be fitted to its argument.
fn call<A, R>(key: &str, measured: fn(A) -> R, argument: A) {
    println!("{key}");
    black_box(black_box(measured)(black_box(argument)));
    end_of_profile();
}

/// Makes a call of a closure.
fn count<A, R, W: Fn(A) -> R>(key: &str, argument: A, work: W) {
    call(key, measured_closure, (work, argument));
}

#[inline(never)]
fn measured_closure<A, R, W: Fn(A) -> R>((work, argument): (W, A)) -> R {
    work(argument)
}

/// Callgrind writes a profile before it enters this.
#[inline(never)]
fn end_of_profile() {
    black_box(());
}

/// All shapes, called directly and through a function in between.
pub fn shapes<M: Machine<T>, T: Payload>(name: &str, payload: &str) {
    called::<M, T>(&format!("direct\t{name}\t{payload}"));
    called::<Stored<M>, T>(&format!("wrapped\t{name}\t{payload}"));
}

fn called<M: Machine<T>, T: Payload>(key: &str) {
    for state in THREE {
        let mut tasks = [0; 4].map(|_| in_state::<M, T>(state));
        let [error, bool, whole, log] = tasks.each_mut();
        count(&format!("E\t{key}"), error, |task| task.apply(|| Event::Cancel).map(drop));
        count(&format!("B\t{key}"), bool, |task| task.apply(|| Event::Cancel).is_ok());
        call(&format!("W\t{key}"), measured_whole, whole);
        call(&format!("R\t{key}"), measured_log, (log, &mut None));
    }
    count(&format!("L\t{key}"), (T::make(1), T::make(2)), |(first, second)| {
        let mut task = M::new(first);
        let _ = black_box(&mut task).apply(|| Event::Start);
        let _ = black_box(&mut task).apply(|| Event::Succeed);
        let _ = black_box(&mut task).apply(|| Event::Update(second));
        let _ = black_box(&mut task).apply(|| Event::Cancel);
        task
    });
}

// Not closures, which would get other instructions.

#[inline(never)]
fn measured_whole<M: Machine<T>, T>(task: &mut M) -> Answer<M, T> {
    task.apply(|| Event::Cancel)
}

/// The part of a record that a log keeps: all but the payload.
type Entry<S> = (Operation, S, S, u64, u64, bool);

#[inline(never)]
fn measured_log<M: Machine<T>, T>(
    (task, log): (&mut M, &mut Option<Entry<M::State>>),
) -> Result<Option<T>, M::Refused> {
    let record = task.apply(|| Event::Cancel)?.into();
    let Record { operation, from, to, revision, run, released } = record;
    let reverted = matches!(released, Released::Update(_));
    *log = Some((operation, from, to, revision, run, reverted));
    Ok(released.into_payload())
}

/// A cancel on a draft.
pub fn drafts<T: Payload>(payload: &str) {
    for state in THREE {
        let draft = &mut Draft::new(in_state::<Task<T>, T>(state));
        count(&format!("draft\t{payload}"), draft, |draft| draft.cancel().map(drop));
    }
}

/// The decision alone, against tables by hand: of ready answers, and of next states.
pub fn decisions() {
    let answers: Vec<_> = State::ALL.iter().map(|it| it.apply(Operation::Cancel)).collect();
    let answers: [_; 9] = answers.try_into().expect("nine states");
    for at in THREE {
        count("by value", State::ALL[at], |state| state.apply(Operation::Cancel));
        count("by value, table", (&answers, at), |(table, at)| table[at]);
        count("in place", &mut State::ALL[at].clone(), |state| {
            if let Some(next) = state.apply(Operation::Cancel)? {
                *state = next;
            }
            Ok::<_, TransitionError>(())
        });
        count("in place, table", (&next(), &mut (at as u8)), |(table, state)| {
            let from = *state;
            *state = table[from as usize];
            if *state == from { Err(Refused::new(Operation::Cancel, from)) } else { Ok(()) }
        });
    }
}

/// The state that a cancel leads to from each, to itself if it is refused, by places in `State::ALL`.
pub fn next() -> [u8; 256] {
    let mut next = [0; 256];
    next[..9].copy_from_slice(&[4, 1, 2, 3, 4, 2, 3, 7, 8]);
    next
}

/// The stored form as one would derive it: the same fields and no others, and nothing checked.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plain<T> {
    status: Status,
    revision: u64,
    run: u64,
    payload: T,
    #[serde(skip_serializing_if = "Option::is_none")]
    previous: Option<Previous<T>>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Previous<T> {
    status: Status,
    payload: T,
}

#[derive(Serialize, Deserialize)]
#[rustfmt::skip]
enum Status { Starting, Processing, Succeeded, Failed, Cancelled }

/// Reading and writing of a new task and an updating one, against the plain derive.
pub fn stored() {
    for (state, what) in [(0, "a new task"), (5, "an updating task")] {
        let task = in_state::<Task<Document>, Document>(state);
        let text = both(what, "", &task);
        let plain: Plain<Document> = serde_json::from_str(&text).expect("the same form");
        both(what, ", derive", &plain);
    }
}

fn both<D: Serialize + DeserializeOwned>(what: &str, how: &str, document: &D) -> String {
    let write = |document: &D| serde_json::to_string(document).expect("nothing in it can fail");
    let read = |text: &str| serde_json::from_str::<D>(text).expect("a stored task");
    let text = write(document);
    count(&format!("read {what}{how}"), &*text, read);
    count(&format!("write {what}{how}"), document, write);
    text
}
