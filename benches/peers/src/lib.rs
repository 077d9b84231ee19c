//! The comparison of `task-lifecycle` with hand-written layouts and with other crates.
//!
//! Here is what is compared and the check that all of it does the same; `main.rs` measures it.

pub mod check;
pub mod machines;
pub mod payload;

pub use task_lifecycle::Status;

#[derive(Clone, Copy, Debug)]
pub enum Step {
    Start,
    Succeed,
    Fail,
    Update,
    Cancel,
}

/// A task with a payload, as each implementation can best express it. An operation tells whether
/// it was accepted; a refused cancel tells the state that refused it, for an error to name.
pub trait Machine<T>: Sized {
    type Refusal;
    fn new(payload: T) -> Self;
    fn start(&mut self) -> bool;
    fn succeed(&mut self) -> bool;
    fn fail(&mut self) -> bool;
    fn update(&mut self, payload: T) -> bool;
    /// # Errors
    ///
    /// The state that refused it.
    fn cancel(&mut self) -> Result<(), Self::Refusal>;
    fn status(&self) -> Status;
    fn payload(&self) -> &T;
}

/// One implementation, for every payload.
pub trait Family {
    type Machine<T>: Machine<T>;
    const NAME: &'static str;
    const KIND: Kind;
    /// What of the contract the implementation cannot express and its wrapper adds.
    const SUPPLIES: &'static str;
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    Ours,
    Hand,
    Peer,
}

/// How many states there are, and how the numbers of `in_state` go.
pub const STATES: u8 = 9;
pub const STARTING: u8 = 0;
pub const PROCESSING: u8 = 1;
pub const STARTING_AFTER_SUCCEEDED: u8 = 5;

/// A machine in a state, by its place in `task_lifecycle::State::ALL`.
///
/// # Panics
///
/// If there is no such state.
#[must_use]
pub fn in_state<F: Family, T: payload::Payload>(state: u8) -> F::Machine<T> {
    use Step::{Cancel, Fail, Start, Succeed, Update};

    let steps: &[Step] = match state {
        STARTING => &[],
        PROCESSING => &[Start],
        2 => &[Start, Succeed],
        3 => &[Start, Fail],
        4 => &[Cancel],
        STARTING_AFTER_SUCCEEDED => &[Start, Succeed, Update],
        6 => &[Start, Fail, Update],
        7 => &[Start, Succeed, Update, Start],
        8 => &[Start, Fail, Update, Start],
        _ => panic!("there are nine states"),
    };
    check::run::<F, T>(steps).1
}

/// Calls a function that is generic over a [`Family`], and maybe a payload, for every
/// implementation, in the order of the report, and gives the answers as an array.
#[macro_export]
macro_rules! for_every_implementation {
    ($call:ident $(::<_, $payload:ty>)? ($($argument:expr),*)) => {
        [
            $call::<$crate::machines::ours::Ours $(, $payload)?>($($argument),*),
            $call::<$crate::machines::table::ByteTable $(, $payload)?>($($argument),*),
            $call::<$crate::machines::branches::Branches $(, $payload)?>($($argument),*),
            $call::<$crate::machines::obvious::Obvious $(, $payload)?>($($argument),*),
            $call::<$crate::machines::finny::Finny $(, $payload)?>($($argument),*),
            $call::<$crate::machines::fsmentry::Fsmentry $(, $payload)?>($($argument),*),
            $call::<$crate::machines::rust_fsm::RustFsm $(, $payload)?>($($argument),*),
            $call::<$crate::machines::smlang::Smlang $(, $payload)?>($($argument),*),
            $call::<$crate::machines::statig::Statig $(, $payload)?>($($argument),*),
        ]
    };
}
