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
        call(&format!("E\t{key}"), measured_error, error);
        call(&format!("B\t{key}"), measured_bool, bool);
        call(&format!("W\t{key}"), measured_whole, whole);
        call(&format!("R\t{key}"), measured_log, (log, &mut None));
    }
    call(&format!("L\t{key}"), measured_lifecycle::<M, T>, (T::make(1), T::make(2)));
}

#[inline(never)]
fn measured_error<M: Machine<T>, T>(task: &mut M) -> Result<(), M::Refused> {
    task.apply(|| Event::Cancel).map(drop)
}

#[inline(never)]
fn measured_bool<M: Machine<T>, T>(task: &mut M) -> bool {
    task.apply(|| Event::Cancel).is_ok()
}

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

#[inline(never)]
fn measured_lifecycle<M: Machine<T>, T>((first, second): (T, T)) -> M {
    let mut task = M::new(first);
    let _ = black_box(&mut task).apply(|| Event::Start);
    let _ = black_box(&mut task).apply(|| Event::Succeed);
    let _ = black_box(&mut task).apply(|| Event::Update(second));
    let _ = black_box(&mut task).apply(|| Event::Cancel);
    task
}

/// A cancel on a draft.
pub fn drafts<T: Payload>(payload: &str) {
    for state in THREE {
        let draft = &mut Draft::new(in_state::<Task<T>, T>(state));
        call(&format!("draft\t{payload}"), measured_draft, draft);
    }
}

#[inline(never)]
fn measured_draft<T>(draft: &mut Draft<T>) -> Result<(), TransitionError> {
    draft.cancel().map(drop)
}

type Decision = Result<Option<State>, TransitionError>;

/// The decision alone, against tables by hand: of ready answers, and of next states.
pub fn decisions() {
    let answers: Vec<_> = State::ALL.iter().map(|it| it.apply(Operation::Cancel)).collect();
    let answers: [Decision; 9] = answers.try_into().expect("nine states");
    for at in THREE {
        call("by value", measured_state, State::ALL[at]);
        call("by value, table", measured_answer, (&answers, at));
        call("in place", measured_state_in_place, &mut State::ALL[at].clone());
        call("in place, table", measured_next, (&next(), &mut (at as u8)));
    }
}

/// The state that a cancel leads to from each, to itself if it is refused, by places in `State::ALL`.
pub fn next() -> [u8; 256] {
    let mut next = [0; 256];
    next[..9].copy_from_slice(&[4, 1, 2, 3, 4, 2, 3, 7, 8]);
    next
}

#[inline(never)]
fn measured_state(state: State) -> Decision {
    state.apply(Operation::Cancel)
}

#[inline(never)]
fn measured_answer((table, state): (&[Decision; 9], usize)) -> Decision {
    table[state]
}

#[inline(never)]
fn measured_state_in_place(state: &mut State) -> Result<(), TransitionError> {
    if let Some(next) = state.apply(Operation::Cancel)? {
        *state = next;
    }
    Ok(())
}

#[inline(never)]
fn measured_next((table, state): (&[u8; 256], &mut u8)) -> Result<(), Refused<u8>> {
    let from = *state;
    *state = table[from as usize];
    if *state == from { Err(Refused::new(Operation::Cancel, from)) } else { Ok(()) }
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
        let text = serde_json::to_string(&task).expect("JSON");
        let plain: Plain<Document> = serde_json::from_str(&text).expect("the same form");
        call(&format!("read {what}"), measured_read::<Task<Document>>, &*text);
        call(&format!("read {what}, derive"), measured_read::<Plain<Document>>, &*text);
        call(&format!("write {what}"), measured_write, &task);
        call(&format!("write {what}, derive"), measured_write, &plain);
    }
}

#[inline(never)]
fn measured_read<D: DeserializeOwned>(text: &str) -> D {
    serde_json::from_str(text).expect("a stored task")
}

#[inline(never)]
fn measured_write<D: Serialize>(document: &D) -> String {
    serde_json::to_string(document).expect("nothing in it can fail")
}
