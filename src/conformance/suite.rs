//! What a check keeps from one history to the next.

use super::clock::{Clock, PATIENCE};
use super::history::TEXTS;
use super::{Report, Store};
use crate::Task;

pub(super) struct Suite<S: Store> {
    pub(super) clock: Clock,
    pub(super) report: Report,
    /// Ticks until a call counts as one that does not end.
    pub(super) patience: u64,
    /// The name of a task in another store.
    pub(super) stranger: Option<S::Id>,
    /// Whether, as far as is known, the store takes names.
    pub(super) creates_as: bool,
    /// Whether what was committed is seen if one waits; `None` until that was tried.
    pub(super) comes_late: Option<bool>,
    /// The most waits of a call, among those before the last few and among those.
    most_waits: [u32; 2],
    calls: u32,
    /// Ticks that a slow call takes.
    slow: u64,
}

impl<S: Store> Suite<S> {
    pub(super) fn new() -> Self {
        Self {
            clock: Clock::new(),
            report: Report::default(),
            patience: PATIENCE,
            stranger: None,
            creates_as: true,
            comes_late: None,
            most_waits: [0; 2],
            calls: 0,
            slow: 0,
        }
    }

    pub(super) fn strange_task() -> Task<S::Payload> {
        Task::new(S::payload(TEXTS[1]))
    }

    /// Learns from a call that was made alone.
    pub(super) fn measure(&mut self, ticks: u64, waits: u32) {
        // What is long ago is forgotten: the first call may have opened a connection.
        const FEW: u32 = 64;
        self.calls += 1;
        if self.calls % FEW == 0 {
            self.most_waits = [self.most_waits[1], 0];
        }
        self.most_waits[1] = self.most_waits[1].max(waits);
        self.slow = ticks.max(self.slow - self.slow.div_ceil(16));
    }

    /// How often a call of this store waits at most, as far as is known.
    pub(super) fn waits(&self) -> u8 {
        const MOST: u32 = 40;
        let waits = self.most_waits[0].max(self.most_waits[1]);
        u8::try_from(waits.min(MOST)).unwrap_or(u8::MAX)
    }

    /// Ticks after which a call is stuck behind another.
    pub(super) fn moment(&self) -> u64 {
        (2 + 3 * self.slow).min(100)
    }

    /// From here on a call that does not end is no news.
    pub(super) fn hurry(&mut self) {
        self.patience = (50 * self.slow).clamp(100, PATIENCE);
    }
}
