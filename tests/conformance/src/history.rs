//! Histories: what happens to a store, in bytes of which zero is always the simplest. So one loop
//! makes any history simpler, and its hexadecimal digits play it again.

use core::fmt;

/// One thing that a client does, a byte each for:
pub(crate) type Event = [u8; 11];

/// what it asks,
pub(crate) const ASK: usize = 0;
/// the first change of a commit: the operation that is accepted, counting from this one,
pub(crate) const CHANGE: usize = 1;
/// how its call fares,
pub(crate) const FATE: usize = 2;
/// the waits, less one, after which the call is held or given up; from [`PART`] on, a part of as
/// many waits as a call of its kind has,
pub(crate) const WAITS: usize = 3;
/// the task, counted round and round, and for what happens meanwhile, counted from the task of the
/// call that is held; from [`FREE_NAME`] on, the task under a name that is free,
pub(crate) const TASK: usize = 4;
/// the client, 0 or 1; the other one for what happens meanwhile,
pub(crate) const CLIENT: usize = 5;
/// the text of the payload, or the counter to come to,
pub(crate) const TEXT: usize = 6;
/// whether it uses its copy of the task as it stands and not as a load shows it now,
pub(crate) const AS_HELD: usize = 7;
/// two more changes of the commit, each counted from one; zero is none,
pub(crate) const MORE: [usize; 2] = [8, 9];
/// how often it happens again.
pub(crate) const AGAIN: usize = 10;

pub(crate) const PART: u8 = 128;
pub(crate) const FREE_NAME: u8 = 128;

/// A request of a client.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Ask {
    Create,
    Commit,
    Load,
    /// A delete, and before it a commit of `fail` if the task is active.
    Delete,
    /// As many changes in one commit as bring the counters to a column's end.
    Leap,
    /// A new task under a name that its client chose.
    CreateAs,
    Reopen,
}

/// The course that a call takes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Fate {
    /// It is made alone.
    Alone,
    /// It is held while the next event happens.
    Held,
    /// The same, and both calls are made on one handle.
    HeldOnOneHandle,
    /// The call of the next event is begun right after it, and neither is held.
    Together,
    /// Its client goes away.
    GivenUp,
}

macro_rules! read {
    ($byte:expr, $($kind:expr),+) => {{
        let kinds = [$($kind),+];
        kinds[usize::from($byte) % kinds.len()]
    }};
}

/// Reads what an event asks.
#[rustfmt::skip]
pub(crate) fn ask(event: &Event) -> Ask {
    read!(event[ASK], Ask::Create, Ask::Commit, Ask::Load, Ask::Delete, Ask::Leap, Ask::CreateAs,
        Ask::Reopen)
}

/// Reads what becomes of an event's call.
#[rustfmt::skip]
pub(crate) fn fate(event: &Event) -> Fate {
    read!(event[FATE], Fate::Alone, Fate::Held, Fate::HeldOnOneHandle, Fate::Together, Fate::GivenUp)
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct History {
    /// Zero: both clients look at all tasks after each event; else in the end only, for looking
    /// heals a cache that is filled when it is read.
    pub(crate) watch: u8,
    pub(crate) events: Vec<Event>,
}

impl History {
    /// Reads what `Display` wrote. `None`: it did not.
    pub(crate) fn read(text: &str) -> Option<Self> {
        let mut words = text.trim().split('-').map(|word| {
            let mut event = Event::default();
            for at in 0..word.len().div_ceil(2) {
                let digits = word.get(2 * at..2 * at + 2)?;
                *event.get_mut(at)? = u8::from_str_radix(digits, 16).ok()?;
            }
            Some(event)
        });
        let watch = words.next()??[0];
        Some(Self { watch, events: words.collect::<Option<_>>()? })
    }

    /// Returns the histories that are simpler by one step, the boldest first: with fewer events,
    /// or with a smaller byte.
    pub(crate) fn simpler(&self) -> impl Iterator<Item = Self> {
        let all = self.events.len();
        let sizes = core::iter::successors(Some(all), |size| Some(size / 2));
        let fewer = sizes.take_while(|&size| size > 0).flat_map(move |size| {
            (0..=all - size).step_by(size).map(move |from| {
                let mut fewer = self.clone();
                fewer.events.drain(from..from + size);
                fewer
            })
        });
        let watched = (0..self.watch).map(|watch| Self { watch, ..self.clone() });
        let smaller = (0..all).flat_map(move |event| {
            (0..Event::default().len()).flat_map(move |at| {
                let byte = self.events[event][at];
                let bytes = [0, byte / 2, byte.saturating_sub(1)].into_iter();
                bytes.filter(move |&smaller| smaller < byte).map(move |smaller| {
                    let mut simpler = self.clone();
                    simpler.events[event][at] = smaller;
                    simpler
                })
            })
        });
        fewer.chain(watched).chain(smaller)
    }
}

/// Hexadecimal: when the clients look, and then the events, each without the zeros at its end.
impl fmt::Display for History {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:02x}", self.watch)?;
        for event in &self.events {
            let length = event.iter().rposition(|&byte| byte > 0).map_or(1, |last| last + 1);
            f.write_str("-")?;
            event[..length].iter().try_for_each(|byte| write!(f, "{byte:02x}"))?;
        }
        Ok(())
    }
}
