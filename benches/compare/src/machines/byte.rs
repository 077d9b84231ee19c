//! Hand-written: the nine states in a byte. With a match for each operation it is a task's state;
//! with tables, the least that a decision can cost.

use task_lifecycle::Operation;

use crate::task::{Kind, Refused, nine_states};
use crate::wrapped::Decider;

#[derive(Clone, Copy, PartialEq)]
#[rustfmt::skip]
pub enum Byte {
    Starting, Processing, Succeeded, Failed, Cancelled, StartingAfterSucceeded,
    StartingAfterFailed, ProcessingAfterSucceeded, ProcessingAfterFailed,
}

use Byte::{
    Cancelled as C, Failed as F, Processing as P, ProcessingAfterFailed as PF,
    ProcessingAfterSucceeded as PS, Starting as N, StartingAfterFailed as NF,
    StartingAfterSucceeded as NS, Succeeded as S,
};

nine_states!(Byte);

impl Decider for Byte {
    const NAME: &'static str = "by hand: byte";
    const KIND: Kind = Kind::Hand;
    type State = Self;

    fn new() -> Self {
        N
    }

    fn state(&self) -> Self {
        *self
    }

    #[rustfmt::skip]
    fn step(&mut self, operation: Operation) -> bool {
        *self = match (operation, *self) {
            (Operation::Start, N) => P,
            (Operation::Start, NS) => PS,
            (Operation::Start, NF) => PF,
            (Operation::Retry, P) => N,
            (Operation::Retry, PS) => NS,
            (Operation::Retry, PF) => NF,
            (Operation::Succeed, P | PS | PF) | (Operation::Fail, NS | PS) | (Operation::Cancel, NS) => S,
            (Operation::Fail, N | P | NF | PF) | (Operation::Cancel, NF) => F,
            (Operation::Cancel, N) => C,
            (Operation::Update, S) => NS,
            (Operation::Update, F) => NF,
            _ => return false,
        };
        true
    }
}

/// In the order of the crate's `State::ALL`.
pub const ALL: [Byte; 9] = [N, P, S, F, C, NS, NF, PS, PF];
/// Where a cancel leads from each: to itself if it is refused.
static CANCEL: [Byte; 9] = [C, P, S, F, C, S, F, PS, PF];

type Answer = Result<Option<Byte>, Refused<Byte>>;
/// The answers to a cancel of each, ready made.
#[rustfmt::skip]
static ANSWERS: [Answer; 9] = [
    Ok(Some(C)), no(P), no(S), no(F), no(C), Ok(Some(S)), Ok(Some(F)), no(PS), no(PF),
];

const fn no(state: Byte) -> Answer {
    Err(Refused::new(Operation::Cancel, state))
}

impl Byte {
    pub fn cancel(self) -> Answer {
        ANSWERS[self as usize]
    }

    /// Whether it is accepted.
    pub fn cancel_in_place(&mut self) -> bool {
        let from = *self;
        *self = CANCEL[from as usize];
        *self != from
    }
}
