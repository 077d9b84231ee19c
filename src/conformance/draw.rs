//! The histories that are drawn.

use std::vec;
use std::vec::Vec;

use super::history::{Act, Ask, EDGES, Event, History, TEXTS};
use super::suite::Waits;

#[derive(Clone, Copy)]
pub(super) enum Phase {
    /// One race in a short history.
    Race,
    Short,
    Long,
}

impl Phase {
    pub(super) const ALL: [Self; 3] = [Self::Race, Self::Short, Self::Long];
}

/// Draws histories. A seed is the whole of it, and what it draws is plain: histories are made
/// shorter while calls wait, which proptest's own runner cannot do.
pub(super) struct Draw(u64);

/// The change after those that are operations.
const EDIT: usize = 6;

impl Draw {
    pub(super) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A number below `end`: the generator is `SplitMix64`.
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((mixed ^ (mixed >> 31)) >> 33).unwrap_or(0) % end
    }

    fn number(&mut self, end: usize) -> u8 {
        u8::try_from(self.below(end)).unwrap_or(0)
    }

    /// A history for a store whose calls wait so often.
    pub(super) fn history(&mut self, phase: Phase, waits: &Waits) -> History {
        let watched = self.below(2) == 0;
        let events = match phase {
            Phase::Race => self.race_history(waits),
            Phase::Short => {
                let length = 4 + self.below(5);
                self.events(length, waits)
            }
            Phase::Long if self.below(8) == 0 => self.crowded(waits),
            Phase::Long => {
                let length = 8 + self.below(25);
                self.events(length, waits)
            }
        };
        History { events, watched }
    }

    fn race_history(&mut self, waits: &Waits) -> Vec<Event> {
        let mut events = Vec::new();
        for _ in 0..=usize::from(self.below(4) == 0) {
            let ask = Ask::Create(self.text());
            events.push(Event::Act(self.act(ask)));
        }
        for _ in 0..self.below(3) {
            let ask = self.changes();
            events.push(Event::Act(self.act(ask)));
        }
        if self.below(4) == 0 {
            // Somebody else may have a copy, and commit it without another look.
            let has_copy = self.below(2) == 0;
            let (load, commit) = (Ask::Load, self.changes());
            let [load, commit] = [load, commit].map(|ask| self.act(ask));
            let Act { client, task, .. } = load;
            if has_copy {
                events.push(Event::Act(load));
            }
            events.push(self.give_up(waits));
            if has_copy {
                events.push(Event::Act(Act {
                    client,
                    task,
                    ..commit
                }));
            }
        } else {
            events.push(self.race(waits));
        }
        for _ in 0..self.below(3) {
            let ask = match self.below(8) {
                0 => {
                    events.push(Event::Reopen);
                    continue;
                }
                1 => {
                    events.push(Event::Repeat(self.number(2)));
                    continue;
                }
                2..5 => Ask::Load,
                _ => self.changes(),
            };
            events.push(Event::Act(self.act(ask)));
        }
        events
    }

    /// Many tasks, the first of which is deleted.
    fn crowded(&mut self, waits: &Waits) -> Vec<Event> {
        let count = 11 + self.number(3);
        let delete = Act {
            client: self.number(2),
            task: self.number(2),
            ask: Ask::Delete,
        };
        let mut events = vec![Event::Crowd(count), Event::Act(delete)];
        let length = 4 + self.below(9);
        events.extend(self.events(length, waits));
        events
    }

    fn events(&mut self, length: usize, waits: &Waits) -> Vec<Event> {
        (0..length).map(|_| self.event(waits)).collect()
    }

    fn event(&mut self, waits: &Waits) -> Event {
        match self.below(21) {
            0 => Event::Repeat(self.number(2)),
            1 => {
                let asks = [Ask::Load, Ask::Commit(Vec::new()), Ask::Delete];
                let ask = asks[self.below(asks.len())].clone();
                Event::Stranger(self.act(ask))
            }
            2 => Event::Reopen,
            3 => self.race(waits),
            4 => self.give_up(waits),
            _ => {
                let ask = match self.below(29) {
                    0..4 => Ask::Create(self.text()),
                    4..8 => Ask::Load,
                    8..10 => Ask::Leap(self.number(EDGES.len())),
                    10..12 => Ask::Delete,
                    12 => Ask::CreateAs(self.text()),
                    _ => self.changes(),
                };
                Event::Act(self.act(ask))
            }
        }
    }

    fn race(&mut self, waits: &Waits) -> Event {
        let asks = match self.below(20) {
            0..8 => [self.changes(), self.changes()],
            8..11 => [self.changes(), Ask::Load],
            11..14 => [Ask::Load, self.changes()],
            14 => [self.changes(), Ask::Delete],
            15 => [Ask::Delete, self.changes()],
            16 => [Ask::Delete, Ask::Delete],
            17 => [Ask::Load, Ask::Delete],
            18 => [Ask::Create(self.text()), Ask::Create(self.text())],
            _ => [Ask::Create(self.text()), self.changes()],
        };
        let [first, second] = asks.map(|ask| self.act(ask));
        let task = if self.below(4) == 0 {
            second.task
        } else {
            first.task
        };
        let second = Act {
            client: 1 - first.client,
            task,
            ..second
        };
        let waits = if self.below(8) == 0 {
            0
        } else {
            self.waits(&first.ask, waits)
        };
        let one_handle = self.below(2) == 0;
        Event::Race {
            acts: [first, second],
            waits,
            one_handle,
        }
    }

    fn give_up(&mut self, waits: &Waits) -> Event {
        let ask = match self.below(12) {
            0 | 1 => Ask::Delete,
            2 => Ask::Load,
            3 => Ask::Create(self.text()),
            _ => self.changes(),
        };
        let waits = self.waits(&ask, waits);
        Event::GiveUp {
            act: self.act(ask),
            waits,
        }
    }

    /// After how many waits to hold a call: as many as one of its kind has.
    fn waits(&mut self, ask: &Ask, waits: &Waits) -> u8 {
        let last = waits.of(*ask == Ask::Load);
        let most = if last.is_empty() {
            1
        } else {
            last[self.below(last.len())]
        };
        1 + self.number(usize::from(most))
    }

    fn act(&mut self, ask: Ask) -> Act {
        Act {
            client: self.number(2),
            task: self.number(6),
            ask,
        }
    }

    fn changes(&mut self) -> Ask {
        let length = 1 + self.below(2);
        Ask::Commit(
            (0..length)
                .map(|_| (self.number(EDIT + 1), self.text()))
                .collect(),
        )
    }

    /// Mostly the first, one of the hostile, or, since it is slow, now and then the large one.
    fn text(&mut self) -> u8 {
        let hostile = TEXTS.len() - 2;
        match self.below(49) {
            0..24 => 0,
            24 => u8::try_from(TEXTS.len() - 1).unwrap_or(0),
            _ => 1 + self.number(hostile),
        }
    }
}
