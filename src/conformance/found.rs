//! A broken law, and what it is worth as evidence.

use std::boxed::Box;
use std::string::String;

use super::clock::Clock;
use super::{Law, Violation};

/// The rank of what may be another fault, seen from outside.
pub(super) const VAGUE: u8 = 4;

pub(super) struct Found {
    pub(super) violation: Violation,
    /// The lower, the more it tells.
    pub(super) rank: u8,
    /// Whether a call did not end.
    pub(super) silent: bool,
}

pub(super) type Outcome<T = ()> = Result<T, Box<Found>>;

impl Found {
    /// `disturbed`: calls overlapped, or one was given up.
    pub(super) fn new(
        clock: &Clock,
        law: Law,
        expected: String,
        seen: String,
        disturbed: bool,
    ) -> Self {
        let violation = Violation {
            law,
            story: clock.story(),
            expected,
            seen,
            replay: String::new(),
            seed: None,
            watched: false,
            blocking: false,
        };
        // What needs no overlap is told without. After one, an error may be half a row, which
        // cannot be read.
        let rank = if !disturbed {
            0
        } else if law == Law::OneWins {
            1
        } else if law == Law::SeenWhole {
            2
        } else if matches!(law, Law::NeverOlder | Law::OthersAreUntouched) {
            3
        } else {
            VAGUE
        };
        Self {
            violation,
            rank,
            silent: false,
        }
    }

    /// Whether nothing that is still to be found could tell more.
    pub(super) const fn tells_all(&self) -> bool {
        self.silent || self.rank <= 1
    }
}
