//! The histories that a seed draws.

use crate::history::{
    AGAIN, AS_HELD, ASK, Ask, CHANGE, CLIENT, Event, FATE, FREE_NAME, Fate, History, MORE, PART,
    TASK, TEXT, WAITS,
};
use crate::hostile::{COUNTERS, FIRST_LARGE};

/// The rounds of one check. The last few are marathons.
pub(crate) const ROUNDS: u32 = 900;

/// The first round that is a marathon: some 500 calls, for what leaks or wears out.
pub(crate) const MARATHONS: u32 = ROUNDS - 4;

/// Draws the history of a round: of a seed and a round always the same.
pub(crate) fn draw(seed: u64, round: u32) -> History {
    let mut draw = Draw(seed ^ u64::from(round).wrapping_mul(0xd134_2543_de82_ef95), [0; 2]);
    draw.1 = draw.texts();
    let watch = if draw.one_in(2) { 0 } else { 2 };
    match round {
        MARATHONS.. => History { watch: 1, events: draw.marathon() },
        _ if round % 32 == 3 => History { watch, events: draw.crowd() },
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

    /// The large ones are slow, so they come together and seldom.
    fn texts(&mut self) -> [u8; 2] {
        if self.one_in(16) {
            return [FIRST_LARGE, FIRST_LARGE + 1];
        }
        [(); 2].map(|()| 1 + self.below(FIRST_LARGE - 1))
    }

    fn text(&mut self) -> u8 {
        match self.below(4) {
            0 | 1 => 0,
            second => self.1[usize::from(second - 2)],
        }
    }

    fn event(&mut self, ask: Ask) -> Event {
        let mut event = Event::default();
        event[ASK] = ask as u8;
        event[CLIENT] = self.below(2);
        event[TASK] = if self.one_in(20) { FREE_NAME } else { self.below(5) };
        event[TEXT] = self.text();
        event[AS_HELD] = u8::from(self.one_in(2));
        match ask {
            Ask::Commit => {
                event[CHANGE] = self.below(7);
                for more in MORE {
                    event[more] = if self.one_in(3) { 1 + self.below(7) } else { 0 };
                }
            }
            Ask::Leap => event[TEXT] = self.below(u8::try_from(COUNTERS.len()).unwrap_or(1)),
            Ask::CreateAs if self.one_in(2) => event[TASK] = FREE_NAME,
            Ask::Create | Ask::CreateAs | Ask::Load | Ask::Delete | Ask::Repeat | Ask::Reopen => {}
        }
        event
    }

    fn any(&mut self) -> Event {
        let ask = match self.below(24) {
            0..3 => Ask::Create,
            3..6 => Ask::Load,
            6..8 => Ask::Leap,
            8..10 => Ask::Delete,
            10 => Ask::CreateAs,
            11 => Ask::Repeat,
            12 => Ask::Reopen,
            _ => Ask::Commit,
        };
        self.event(ask)
    }

    fn events(&mut self, least: u8, more: u8) -> Vec<Event> {
        let mut events = vec![self.event(Ask::Create)];
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
        let mut events = vec![self.event(Ask::Create)];
        if self.one_in(4) {
            events.push(self.event(Ask::Create));
        }
        for _ in 0..self.below(4) {
            let ask = if self.one_in(4) { Ask::Load } else { Ask::Commit };
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
        let asks = match self.below(24) {
            0..8 => [Ask::Commit, Ask::Commit],
            8..11 => [Ask::Commit, Ask::Load],
            11..14 => [Ask::Load, Ask::Commit],
            14..16 => [Ask::Commit, Ask::Delete],
            16..18 => [Ask::Delete, Ask::Commit],
            18 => [Ask::Delete, Ask::Delete],
            19 => [Ask::Load, Ask::Delete],
            20 => [Ask::Create, Ask::Create],
            21 => [Ask::Create, Ask::Commit],
            22 => [Ask::CreateAs, Ask::CreateAs],
            _ => [Ask::Delete, Ask::Load],
        };
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
        second[TASK] = if self.one_in(4) { 1 } else { 0 };
        events
    }

    fn given_up(&mut self) -> Event {
        let ask = match self.below(12) {
            0 | 1 => Ask::Delete,
            2 => Ask::Load,
            3 => Ask::Create,
            4 => Ask::CreateAs,
            _ => Ask::Commit,
        };
        let mut event = self.event(ask);
        event[FATE] = Fate::GivenUp as u8;
        event[WAITS] = PART + self.below(PART);
        event
    }

    /// More tasks than ten, one of the first of which is deleted.
    fn crowd(&mut self) -> Vec<Event> {
        let mut create = self.event(Ask::Create);
        create[AGAIN] = 10 + self.below(3);
        let mut delete = self.event(Ask::Delete);
        delete[TASK] = self.below(2);
        let mut events = vec![create, delete];
        events.extend(self.events(4, 9));
        events
    }

    fn marathon(&mut self) -> Vec<Event> {
        self.1 = [1, 3];
        let mut events = self.events(40, 1);
        for _ in 0..5 {
            let mut often = match self.below(8) {
                0..3 => self.event(Ask::Commit),
                3 => self.event(Ask::Load),
                4 => self.event(Ask::Repeat),
                _ => self.given_up(),
            };
            often[AGAIN] = 20 + self.below(200);
            let at = 1 + usize::from(self.below(u8::try_from(events.len()).unwrap_or(u8::MAX)));
            events.insert(at.min(events.len()), often);
        }
        events
    }
}
