//! What may happen, and what payloads are made of.

use std::vec::Vec;

/// What a client asks of the store. What it names by number is counted round and round, so that
/// every number means something.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Ask {
    Load,
    Create(u8),
    /// A new task under the name of one that is there.
    CreateAs(u8),
    /// One change or two, committed at once: which of the accepted, and with which text.
    Commit(Vec<(u8, u8)>),
    /// As many changes as bring the counters to an edge.
    Leap(u8),
    Delete,
}

/// A client asks this about a task.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Act {
    pub(super) client: u8,
    pub(super) task: u8,
    pub(super) ask: Ask,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Event {
    Act(Act),
    /// A client sends again what it sent last.
    Repeat(u8),
    /// More tasks than ten, by one client.
    Crowd(u8),
    /// A client asks about a task that never existed.
    Stranger(Act),
    Reopen,
    /// The first is held after so many waits until the second has ended or is stuck behind it.
    Race {
        acts: [Act; 2],
        waits: u8,
        one_handle: bool,
    },
    /// The client goes away after so many waits.
    GiveUp {
        act: Act,
        waits: u8,
    },
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct History {
    pub(super) events: Vec<Event>,
    /// Whether everybody looks at everything after each event, or only in the end: looking heals
    /// a cache that is filled when it is read.
    pub(super) watched: bool,
}

/// What payloads are made of. The first is numbered, so that no two are the same; the others are
/// what databases cut, escape, fold, retype and refuse.
pub(super) const TEXTS: [&str; 23] = [
    "plain",
    "plain",
    "",
    "it's \"quoted\"; --",
    "nul \0 and after",
    "  space around  ",
    "Größe 寸法 🦀 \u{202e}",
    "\u{feff}e\u{301}, not é",
    "lines\r\nand\ttabs\n",
    "100%_\\ {\"json\": null}",
    "NULL",
    "null",
    "true",
    "0",
    "1.0",
    "1e3",
    "{\"b\": 1,  \"a\": {\"d\": 1.0, \"c\": [2]}}",
    "<a href='?x=1&amp;y=2+3'>$1 | \\1 #</a>",
    "letter",
    "LETTER",
    "\u{1}\u{8}\u{1b}[0m\u{7f}\u{85}\u{2028}\u{ffff}",
    "2026-02-30T00:00:00Z",
    LARGE,
];
const LARGE: &str = match core::str::from_utf8(&[b'x'; 300_000]) {
    Ok(text) => text,
    Err(_) => "",
};

/// Counters at which columns end, or at which order as text is not order.
pub(super) const EDGES: [u64; 20] = [
    10,
    100,
    (1 << 7) - 1,
    1 << 7,
    (1 << 8) - 1,
    1 << 8,
    (1 << 15) - 1,
    1 << 15,
    (1 << 16) - 1,
    1 << 16,
    (1 << 24) + 1,
    (1 << 31) - 1,
    1 << 31,
    (1 << 32) - 1,
    1 << 32,
    (1 << 53) + 1,
    (1 << 63) - 1,
    1 << 63,
    (1 << 63) + 1,
    (1 << 63) + (1 << 53) + 1,
];
