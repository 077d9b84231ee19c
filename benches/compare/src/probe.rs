//! What is counted in instructions: the five shapes, and the decision alone.

use std::hint::black_box;

use task_lifecycle::{Event, Operation, Released, State, TransitionError};

use crate::callgrind::{Count, Counter, Pair};
use crate::machines::byte::{self, Byte};
use crate::payload::{PROCESSING, Payload, STARTING, STARTING_AFTER_SUCCEEDED, in_state};
use crate::task::{Family, Machine, Record, Refused};

/// A new task, an updating one, and one that refuses a cancel.
const THREE: [usize; 3] = [STARTING, STARTING_AFTER_SUCCEEDED, PROCESSING];

/// What the caller does with the answer of a cancel; the last is a lifecycle.
pub const SHAPES: [(&str, &str); 5] = [
    ("E", "`Result<(), Error>`: the record is not used"),
    ("B", "`bool`"),
    ("W", "the whole record is returned"),
    ("R", "every fact of the record is written to a log, and the payload is returned"),
    ("L", "create, start, succeed, update, cancel; nothing is known between, records are not used"),
];

/// The counts of each shape.
pub fn shapes<F: Family, T: Payload>(counter: &mut Counter) -> [Vec<Count>; SHAPES.len()] {
    let mut tasks = [0; 4].map(|_| THREE.map(in_state::<F, T>));
    let [error, bool, whole, log] = tasks.each_mut().map(|three| three.iter_mut());
    [
        error.map(|task| counter.call(measured_error, task)).collect(),
        bool.map(|task| counter.call(measured_bool, task)).collect(),
        whole.map(|task| counter.call(measured_whole, task)).collect(),
        log.map(|task| counter.call(measured_log, (task, &mut None))).collect(),
        vec![counter.call(measured_lifecycle::<F::Task<T>, T>, (T::make(1), T::make(2)))],
    ]
}

#[inline(never)]
fn measured_error<M: Machine<T>, T>(task: &mut M) -> Result<(), M::Refused> {
    task.apply(Event::Cancel).map(drop)
}

#[inline(never)]
fn measured_bool<M: Machine<T>, T>(task: &mut M) -> bool {
    task.apply(Event::Cancel).is_ok()
}

#[inline(never)]
fn measured_whole<M: Machine<T>, T>(task: &mut M) -> Result<M::Record, M::Refused> {
    task.apply(Event::Cancel)
}

/// What a log keeps of a record.
#[expect(dead_code, reason = "it is written to be measured")]
struct Entry<S> {
    operation: Operation,
    from: S,
    to: S,
    revision: u64,
    run: u64,
    reverted: bool,
}

#[inline(never)]
fn measured_log<M: Machine<T>, T>(
    (task, log): (&mut M, &mut Option<Entry<M::State>>),
) -> Result<Option<T>, M::Refused> {
    let record = task.apply(Event::Cancel)?.into();
    let Record { operation, from, to, revision, run, released } = record;
    let reverted = matches!(released, Released::Update(_));
    *log = Some(Entry { operation, from, to, revision, run, reverted });
    Ok(released.into_payload())
}

#[inline(never)]
fn measured_lifecycle<M: Machine<T>, T>((first, second): (T, T)) -> M {
    let mut task = M::new(first);
    let _ = black_box(&mut task).apply(Event::Start);
    let _ = black_box(&mut task).apply(Event::Succeed);
    let _ = black_box(&mut task).update(second);
    let _ = black_box(&mut task).apply(Event::Cancel);
    task
}

/// The decision without payloads: the crate's, and a table's.
pub fn decisions(counter: &mut Counter) -> [Pair; 2] {
    let (mut states, mut bytes) = (THREE.map(|at| State::ALL[at]), THREE.map(|at| byte::ALL[at]));
    let pair = |how, ours: [Count; 3], other: [Count; 3]| Pair {
        what: format!("`State::apply(Cancel)`, {how}"),
        ours: ours.into(),
        other: other.into(),
    };
    let ours = states.map(|state| counter.call(measured_state, state));
    let by_value = pair("by value", ours, bytes.map(|byte| counter.call(measured_byte, byte)));
    let ours = states.each_mut().map(|state| counter.call(measured_state_in_place, state));
    let other = bytes.each_mut().map(|byte| counter.call(measured_byte_in_place, byte));
    [by_value, pair("in place", ours, other)]
}

#[inline(never)]
fn measured_state(state: State) -> Result<Option<State>, TransitionError> {
    state.apply(Operation::Cancel)
}

#[inline(never)]
fn measured_byte(byte: Byte) -> Result<Option<Byte>, Refused<Byte>> {
    byte.cancel()
}

#[inline(never)]
fn measured_state_in_place(state: &mut State) -> Result<(), TransitionError> {
    if let Some(next) = state.apply(Operation::Cancel)? {
        *state = next;
    }
    Ok(())
}

#[inline(never)]
fn measured_byte_in_place(byte: &mut Byte) -> Result<(), Refused<Byte>> {
    let from = *byte;
    if byte.cancel_in_place() { Ok(()) } else { Err(Refused::new(Operation::Cancel, from)) }
}
