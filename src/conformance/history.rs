//! What may happen: the histories that are drawn, and what payloads are made of.

use core::ops::RangeInclusive;
use std::vec::Vec;

use proptest::collection::vec;
use proptest::prelude::any;
use proptest::prop_oneof;
use proptest::strategy::{BoxedStrategy, Just, Strategy};

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

/// Histories for a store whose calls wait up to `waits` times.
pub(super) fn history(phase: Phase, waits: u8) -> impl Strategy<Value = History> {
    let events = match phase {
        Phase::Race => race_history(waits),
        Phase::Short => vec(event(waits), 4..=8).boxed(),
        Phase::Long => prop_oneof![
            7 => vec(event(waits), 8..=32),
            1 => crowded(vec(event(waits), 4..=12)),
        ]
        .boxed(),
    };
    (events, any::<bool>()).prop_map(|(events, watched)| History { events, watched })
}

fn race_history(waits: u8) -> BoxedStrategy<Vec<Event>> {
    let create = || calm(client(), text().prop_map(Ask::Create));
    let before = vec(calm(client(), changes()), 0..=2);
    let race = prop_oneof![3 => race(waits), 1 => give_up(waits)];
    let after = prop_oneof![
        2 => calm(client(), Just(Ask::Load)),
        2 => calm(client(), changes()),
        1 => Just(Event::Reopen),
    ];
    let creates = prop_oneof![3 => vec(create(), 1), 1 => vec(create(), 2)];
    (creates, before, race, vec(after, 0..=2))
        .prop_map(|(creates, before, race, after)| {
            let events = creates.into_iter().chain(before);
            events.chain([race]).chain(after).collect()
        })
        .boxed()
}

fn event(waits: u8) -> impl Strategy<Value = Event> {
    prop_oneof![
        16 => calm(client(), ask()),
        1 => client().prop_map(Event::Repeat),
        1 => act(client(), stranger()).prop_map(Event::Stranger),
        1 => Just(Event::Reopen),
        1 => race(waits),
        1 => give_up(waits),
    ]
}

/// A history of many tasks, the first of which is deleted.
fn crowded(events: impl Strategy<Value = Vec<Event>>) -> impl Strategy<Value = Vec<Event>> {
    (11..=13_u8, client(), 0..2_u8, events).prop_map(|(count, client, task, events)| {
        let ask = Ask::Delete;
        let delete = Event::Act(Act { client, task, ask });
        [Event::Crowd(count), delete]
            .into_iter()
            .chain(events)
            .collect()
    })
}

fn race(waits: u8) -> impl Strategy<Value = Event> {
    let asks = || {
        prop_oneof![
            8 => changes(),
            3 => Just(Ask::Load),
            2 => Just(Ask::Delete),
            1 => text().prop_map(Ask::Create),
        ]
    };
    let waits = prop_oneof![1 => Just(0), 7 => 1..=waits.max(1)];
    let other = prop_oneof![3 => Just(None), 1 => task().prop_map(Some)];
    let who = (client(), task(), other, any::<bool>());
    (who, asks(), asks(), waits).prop_map(
        |((client, task, other, one_handle), first, second, waits)| {
            let first = Act {
                client,
                task,
                ask: first,
            };
            let task = other.unwrap_or(task);
            let second = Act {
                client: 1 - client,
                task,
                ask: second,
            };
            Event::Race {
                acts: [first, second],
                waits,
                one_handle,
            }
        },
    )
}

fn give_up(waits: u8) -> impl Strategy<Value = Event> {
    let ask = prop_oneof![
        8 => changes(),
        2 => Just(Ask::Delete),
        1 => Just(Ask::Load),
        1 => text().prop_map(Ask::Create),
    ];
    (act(client(), ask), 1..=waits.max(1)).prop_map(|(act, waits)| Event::GiveUp { act, waits })
}

fn ask() -> impl Strategy<Value = Ask> {
    prop_oneof![
        4 => text().prop_map(Ask::Create),
        4 => Just(Ask::Load),
        16 => changes(),
        2 => (0..u8::try_from(EDGES.len()).unwrap_or(0)).prop_map(Ask::Leap),
        2 => Just(Ask::Delete),
        1 => text().prop_map(Ask::CreateAs),
    ]
}

fn stranger() -> impl Strategy<Value = Ask> {
    prop_oneof![
        Just(Ask::Load),
        Just(Ask::Commit(Vec::new())),
        Just(Ask::Delete)
    ]
}

fn calm(
    client: impl Strategy<Value = u8>,
    ask: impl Strategy<Value = Ask>,
) -> impl Strategy<Value = Event> {
    act(client, ask).prop_map(Event::Act)
}

fn act(
    client: impl Strategy<Value = u8>,
    ask: impl Strategy<Value = Ask>,
) -> impl Strategy<Value = Act> {
    (client, task(), ask).prop_map(|(client, task, ask)| Act { client, task, ask })
}

fn client() -> impl Strategy<Value = u8> {
    0..2_u8
}

fn task() -> impl Strategy<Value = u8> {
    0..6_u8
}

fn changes() -> impl Strategy<Value = Ask> {
    vec((0..6_u8, text()), 1..=2).prop_map(Ask::Commit)
}

/// Mostly the first, one of the hostile, or, since it is slow, now and then the large one.
fn text() -> impl Strategy<Value = u8> {
    const LAST: u8 = 22;
    const HOSTILE: RangeInclusive<u8> = 1..=LAST - 1;
    const { assert!(TEXTS.len() == LAST as usize + 1) };
    prop_oneof![24 => Just(0), 24 => HOSTILE, 1 => Just(LAST)]
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
