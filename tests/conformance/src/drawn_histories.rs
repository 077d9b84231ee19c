//! The histories that a seed draws.

use crate::history::Ask::{Commit, Create, CreateAs, Delete, Leap, Load, Reopen};
use crate::history::{
    AGAIN, AS_HELD, ASK, Ask, CHANGE, CLIENT, Event, FATE, FREE_NAME, Fate, History, MORE, PART,
    TASK, TEXT, WAITS,
};
use crate::hostile::FIRST_LARGE;

/// The rounds of one check. The last few are marathons.
pub(crate) const ROUNDS: u32 = 900;

/// The first round that is a marathon: some 500 calls, for what leaks or wears out.
pub(crate) const MARATHONS: u32 = ROUNDS - 4;

/// The requests, each as often as it is drawn.
#[rustfmt::skip]
const ANY: [Ask; 24] = [
    Create, Create, Create, Load, Load, Load, Leap, Leap, Delete, Delete, CreateAs, Reopen, Reopen,
    Commit, Commit, Commit, Commit, Commit, Commit, Commit, Commit, Commit, Commit, Commit,
];
/// The calls that are given up.
#[rustfmt::skip]
const GIVEN_UP: [Ask; 12] = [
    Delete, Delete, Load, Create, CreateAs, Commit, Commit, Commit, Commit, Commit, Commit, Commit,
];
/// The calls that overlap: the first is held while the second is made.
#[rustfmt::skip]
const PAIRS: [[Ask; 2]; 24] = [
    [Commit, Commit], [Commit, Commit], [Commit, Commit], [Commit, Commit], [Commit, Commit],
    [Commit, Commit], [Commit, Commit], [Commit, Commit], [Commit, Load], [Commit, Load],
    [Commit, Load], [Load, Commit], [Load, Commit], [Load, Commit], [Commit, Delete],
    [Commit, Delete], [Delete, Commit], [Delete, Commit], [Delete, Delete], [Delete, Load],
    [Load, Delete], [Create, Create], [Create, Commit], [CreateAs, CreateAs],
];

/// Draws the history of a round: of a seed and a round always the same.
pub(crate) fn draw(seed: u64, round: u32) -> History {
    let mut draw = Draw(seed ^ u64::from(round).wrapping_mul(0xd134_2543_de82_ef95), [0; 2]);
    draw.1 = draw.texts(round);
    let watch = draw.below(2);
    match round {
        MARATHONS.. => History { watch: 1, events: draw.marathon() },
        _ if round % 4 == 3 => History { watch, events: draw.events(8, 25) },
        _ if round % 4 == 2 => History { watch, events: draw.events(4, 5) },
        _ => History { watch, events: draw.race() },
    }
}

/// A generator of numbers, `SplitMix64`, and the texts of a history beside the plain one: few, so
/// that payloads may be equal.
struct Draw(u64, [u8; 2]);

impl Draw {
    /// A number below `end`.
    fn below(&mut self, end: u8) -> u8 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        u8::try_from((mixed ^ (mixed >> 31)) % u64::from(end)).unwrap_or(0)
    }

    fn one_in(&mut self, count: u8) -> bool {
        self.below(count) == 0
    }

    /// The large ones are slow, so they come together, and in short histories only.
    fn texts(&mut self, round: u32) -> [u8; 2] {
        if round % 32 == 6 || round % 64 == 9 {
            return [FIRST_LARGE, FIRST_LARGE + 1];
        }
        [(); 2].map(|()| 1 + self.below(FIRST_LARGE - 1))
    }

    fn text(&mut self) -> u8 {
        let text = self.1[usize::from(self.below(2))];
        if text < FIRST_LARGE && self.one_in(2) { 0 } else { text }
    }

    fn event(&mut self, ask: Ask) -> Event {
        let mut event = Event::default();
        event[ASK] = ask as u8;
        event[CLIENT] = self.below(2);
        event[TASK] = if self.one_in(20) { FREE_NAME } else { self.below(5) };
        event[TEXT] = if ask == Leap { self.below(20) } else { self.text() };
        event[AS_HELD] = u8::from(self.one_in(2));
        event[CHANGE] = self.below(7);
        for more in MORE {
            event[more] = if self.one_in(3) { 1 + self.below(7) } else { 0 };
        }
        if ask == CreateAs && self.one_in(2) {
            event[TASK] = FREE_NAME;
        }
        event
    }

    fn any(&mut self) -> Event {
        let ask = ANY[usize::from(self.below(24))];
        self.event(ask)
    }

    fn events(&mut self, least: u8, more: u8) -> Vec<Event> {
        let mut events = vec![self.event(Create)];
        if self.one_in(8) {
            events[0][AGAIN] = 10 + self.below(3); // more tasks than ten
        }
        for _ in 1..least + self.below(more) {
            match self.below(12) {
                0 => events.extend(self.overlap()),
                1 => events.push(self.given_up()),
                _ => events.push(self.any()),
            }
        }
        events
    }

    /// A short history about one race, or one call that is given up.
    fn race(&mut self) -> Vec<Event> {
        let mut events = vec![self.event(Create)];
        if self.one_in(4) {
            events.push(self.event(Create));
        }
        for _ in 0..self.below(4) {
            let ask = if self.one_in(4) { Load } else { Commit };
            events.push(self.event(ask));
        }
        if self.one_in(4) {
            events.push(self.given_up());
        } else {
            events.extend(self.overlap());
        }
        for _ in 0..self.below(3) {
            events.push(self.any());
        }
        events
    }

    fn overlap(&mut self) -> [Event; 2] {
        let asks = PAIRS[usize::from(self.below(24))];
        let mut events = asks.map(|ask| self.event(ask));
        let [first, second] = &mut events;
        first[FATE] = match self.below(8) {
            0 => Fate::Together as u8,
            1..4 => Fate::HeldOnOneHandle as u8,
            _ => Fate::Held as u8,
        };
        first[WAITS] = PART + self.below(PART);
        // Mostly from the task as it is, and sometimes from a stale copy.
        for event in [&mut *first, &mut *second] {
            event[AS_HELD] = u8::from(self.one_in(4));
        }
        second[TASK] = u8::from(self.one_in(4));
        events
    }

    fn given_up(&mut self) -> Event {
        let ask = GIVEN_UP[usize::from(self.below(12))];
        let mut event = self.event(ask);
        event[FATE] = Fate::GivenUp as u8;
        event[WAITS] = PART + self.below(PART);
        event
    }

    fn marathon(&mut self) -> Vec<Event> {
        self.1 = [1, 3];
        let mut events = self.events(40, 1);
        for mut often in [self.event(Commit), self.event(Load), self.given_up(), self.given_up()] {
            often[AGAIN] = 20 + self.below(200);
            let at = 1 + usize::from(self.below(u8::try_from(events.len()).unwrap_or(u8::MAX)));
            events.insert(at.min(events.len()), often);
        }
        // The first task is still there.
        let mut given_up = self.given_up();
        [given_up[ASK], given_up[TASK], given_up[AGAIN]] = [Commit as u8, 0, 20 + self.below(80)];
        events.insert(1, given_up);
        events
    }
}
