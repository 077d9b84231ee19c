//! The payloads that the tasks carry, and tasks that carry them.

use std::sync::{Arc, LazyLock};

use task_lifecycle::{Event, Operation};

use crate::task::{Family, Machine};

/// A payload that the harness can make: equal numbers make equal payloads.
pub trait Payload {
    const NAME: &'static str;
    fn make(number: u64) -> Self;
}

impl Payload for () {
    const NAME: &'static str = "`()`";
    fn make(_: u64) -> Self {}
}

impl Payload for u64 {
    const NAME: &'static str = "`u64`";
    fn make(number: u64) -> Self {
        number
    }
}

/// 56 bytes, of which some are on the heap.
#[derive(serde::Serialize, serde::Deserialize)]
pub struct Document {
    times: [u64; 3],
    pages: u64,
    message: String,
}

const _: () = assert!(size_of::<Document>() == 56);

impl Payload for Document {
    const NAME: &'static str = "struct";
    fn make(number: u64) -> Self {
        Self { times: [number; 3], pages: number % 100, message: format!("document {number}") }
    }
}

impl Payload for Box<[u8; 500]> {
    const NAME: &'static str = "`Box`";
    fn make(number: u64) -> Self {
        Box::new([number as u8; 500])
    }
}

/// Each is held a second time, so that a drop is a decrement: a task that shares its payload with
/// the rest of the program.
impl Payload for Arc<[u8; 500]> {
    const NAME: &'static str = "`Arc`";
    fn make(number: u64) -> Self {
        static HELD: LazyLock<Vec<Arc<[u8; 500]>>> =
            LazyLock::new(|| (0..16).map(|number| Arc::new([number; 500])).collect());
        HELD[number as usize % HELD.len()].clone()
    }
}

/// Places in `task_lifecycle::State::ALL`.
pub const STARTING: usize = 0;
pub const PROCESSING: usize = 1;
pub const STARTING_AFTER_SUCCEEDED: usize = 5;

/// A task in a state, by its place in `task_lifecycle::State::ALL`.
pub fn in_state<F: Family, T: Payload>(state: usize) -> F::Task<T> {
    use Operation::{Cancel, Fail, Start, Succeed, Update};

    const PATHS: [&[Operation]; 9] = [
        &[],
        &[Start],
        &[Start, Succeed],
        &[Fail],
        &[Cancel],
        &[Start, Succeed, Update],
        &[Fail, Update],
        &[Start, Succeed, Update, Start],
        &[Fail, Update, Start],
    ];
    let mut task = F::Task::<T>::new(T::make(1));
    for operation in PATHS[state] {
        let event = Event::new(*operation, T::make(2)).expect("no delete");
        let _ = task.apply(event);
    }
    task
}
