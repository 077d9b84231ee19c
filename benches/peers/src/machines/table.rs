//! Hand-written: one byte of state, a table an operation, the payloads beside it.

use crate::machines::{Beside, Decider};
use crate::{Family, Kind, Step};

pub struct ByteTable;

impl Family for ByteTable {
    type Machine<T> = Beside<Byte, T>;
    const NAME: &'static str = "hand-written, one byte and tables";
    const KIND: Kind = Kind::Hand;
    const SUPPLIES: &'static str = "everything";
}

#[derive(Clone, Copy, PartialEq)]
#[repr(u8)]
pub enum Byte {
    Starting,
    Processing,
    Succeeded,
    Failed,
    Cancelled,
    StartingAfterSucceeded,
    StartingAfterFailed,
    ProcessingAfterSucceeded,
    ProcessingAfterFailed,
}

use Byte::{
    Cancelled, Failed, Processing, ProcessingAfterFailed, ProcessingAfterSucceeded, Starting,
    StartingAfterFailed, StartingAfterSucceeded, Succeeded,
};

/// Where an operation leads from each state: to itself if it is refused.
type Table = [Byte; 9];

static START: Table = {
    let mut table = Byte::ALL;
    table[Starting as usize] = Processing;
    table[StartingAfterSucceeded as usize] = ProcessingAfterSucceeded;
    table[StartingAfterFailed as usize] = ProcessingAfterFailed;
    table
};
static SUCCEED: Table = {
    let mut table = Byte::ALL;
    table[Processing as usize] = Succeeded;
    table[ProcessingAfterSucceeded as usize] = Succeeded;
    table[ProcessingAfterFailed as usize] = Succeeded;
    table
};
static FAIL: Table = {
    let mut table = Byte::ALL;
    table[Processing as usize] = Failed;
    table[ProcessingAfterSucceeded as usize] = Succeeded;
    table[ProcessingAfterFailed as usize] = Failed;
    table
};
static UPDATE: Table = {
    let mut table = Byte::ALL;
    table[Succeeded as usize] = StartingAfterSucceeded;
    table[Failed as usize] = StartingAfterFailed;
    table
};
static CANCEL: Table = {
    let mut table = Byte::ALL;
    table[Starting as usize] = Cancelled;
    table[StartingAfterSucceeded as usize] = Succeeded;
    table[StartingAfterFailed as usize] = Failed;
    table
};

impl Byte {
    pub const ALL: Table = [
        Starting,
        Processing,
        Succeeded,
        Failed,
        Cancelled,
        StartingAfterSucceeded,
        StartingAfterFailed,
        ProcessingAfterSucceeded,
        ProcessingAfterFailed,
    ];

    #[inline]
    fn look_up(&mut self, table: &Table) -> bool {
        let from = *self;
        *self = table[from as usize];
        *self != from
    }

    /// In place; whether it is accepted.
    #[inline]
    pub fn cancel(&mut self) -> bool {
        self.look_up(&CANCEL)
    }

    /// By value; the answer has the shape of the crate's, with the refusing state for an error.
    ///
    /// # Errors
    ///
    /// The state, if it refuses.
    #[inline]
    pub fn cancelled(self) -> Result<Option<Self>, Self> {
        let next = CANCEL[self as usize];
        if next == self {
            Err(self)
        } else {
            Ok(Some(next))
        }
    }
}

impl Decider for Byte {
    type State = Self;

    #[inline]
    fn new() -> Self {
        Starting
    }

    #[inline]
    fn state(&self) -> Self {
        *self
    }

    #[inline]
    fn step(&mut self, step: Step) -> bool {
        self.look_up(match step {
            Step::Start => &START,
            Step::Succeed => &SUCCEED,
            Step::Fail => &FAIL,
            Step::Update => &UPDATE,
            Step::Cancel => &CANCEL,
        })
    }

    super::nine_states!(Byte);
}
