//! What a check keeps from one history to the next.

use std::collections::VecDeque;

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
    pub(super) waits: Waits,
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
            waits: Waits::default(),
            slow: 0,
        }
    }

    pub(super) fn strange_task() -> Task<S::Payload> {
        Task::new(S::payload(TEXTS[1]))
    }

    /// Learns from a call that was made alone how long one takes.
    pub(super) fn measure(&mut self, ticks: u64) {
        self.slow = ticks.max(self.slow - self.slow.div_ceil(16));
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

/// How often the last few calls waited that waited at all: so often a call can be held.
#[derive(Default)]
pub(super) struct Waits {
    loads: VecDeque<u8>,
    writes: VecDeque<u8>,
}

impl Waits {
    pub(super) fn learn(&mut self, loads: bool, waits: u32) {
        const FEW: usize = 32;
        let last = if loads {
            &mut self.loads
        } else {
            &mut self.writes
        };
        if waits > 0 {
            last.push_back(u8::try_from(waits).unwrap_or(u8::MAX));
        }
        if last.len() > FEW {
            last.pop_front();
        }
    }

    pub(super) const fn of(&self, loads: bool) -> &VecDeque<u8> {
        if loads { &self.loads } else { &self.writes }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.loads.is_empty() && self.writes.is_empty()
    }
}
