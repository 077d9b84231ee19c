//! Where threads meet.

use core::hint;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

/// Turns until a thread that waits for another lets others run.
pub(super) const TURNS: u32 = 2_000;

/// Where two threads wait for each other without going to sleep, so that they leave together.
#[derive(Default)]
pub(super) struct Barrier {
    arrived: AtomicUsize,
    is_closed: AtomicBool,
}

impl Barrier {
    /// False if the other thread will not come.
    pub(super) fn meet(&self) -> bool {
        let number = self.arrived.fetch_add(1, Ordering::AcqRel);
        let both = number - number % 2 + 2;
        let mut turns = 0_u32;
        while self.arrived.load(Ordering::Acquire) < both {
            if self.is_closed.load(Ordering::Acquire) {
                return false;
            }
            turns += 1;
            if turns > TURNS {
                thread::yield_now();
            } else {
                hint::spin_loop();
            }
        }
        true
    }

    /// Lets the other thread go when this one ends, by a panic too.
    pub(super) fn closes(&self) -> Closes<'_> {
        Closes(self)
    }
}

pub(super) struct Closes<'a>(&'a Barrier);

impl Drop for Closes<'_> {
    fn drop(&mut self) {
        self.0.is_closed.store(true, Ordering::Release);
    }
}
