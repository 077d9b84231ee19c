use core::ops::RangeInclusive;
use std::vec::Vec;

use proptest::collection::vec;
use proptest::prelude::any;
use proptest::prop_oneof;
use proptest::sample::{Index, select};
use proptest::strategy::{Just, Strategy};

/// One thing that happens.
#[derive(Clone, Debug)]
pub(super) enum Act {
    Create {
        client: usize,
        text: usize,
    },
    /// A client loads a task and keeps the copy.
    Read {
        client: usize,
        task: Index,
    },
    /// A client changes its copy, or one that it loads now, in one step or two, and commits it.
    Change {
        client: usize,
        task: Index,
        changes: Vec<(Index, usize)>,
    },
    Delete {
        client: usize,
        task: Index,
    },
    /// A client sends again what it sent last.
    Repeat {
        client: usize,
    },
    Reopen,
}

#[derive(Clone, Debug)]
pub(super) struct History {
    pub(super) acts: Vec<Act>,
    /// Whether everybody looks at everything after each act, or only in the end.
    pub(super) watched: bool,
}

pub(super) fn history(length: RangeInclusive<usize>) -> impl Strategy<Value = History> {
    let client = || 0..2_usize;
    let text = || prop_oneof![0..1_usize, 1..TEXTS.len()];
    let act = prop_oneof![
        2 => (client(), text()).prop_map(|(client, text)| Act::Create { client, text }),
        2 => (client(), any::<Index>()).prop_map(|(client, task)| Act::Read { client, task }),
        8 => (client(), any::<Index>(), vec((any::<Index>(), text()), 1..=2))
            .prop_map(|(client, task, changes)| Act::Change { client, task, changes }),
        1 => (client(), any::<Index>()).prop_map(|(client, task)| Act::Delete { client, task }),
        1 => client().prop_map(|client| Act::Repeat { client }),
        1 => Just(Act::Reopen),
    ];
    let acts = vec(act, length);
    (acts, select(&[true, true, true, false][..]))
        .prop_map(|(acts, watched)| History { acts, watched })
}

/// What payloads are made of. The first is numbered, so that no two are the same; the others are
/// hostile.
pub(super) const TEXTS: [&str; 12] = [
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
    "0",
    LARGE,
];
const LARGE: &str = match core::str::from_utf8(&[b'x'; 70_000]) {
    Ok(text) => text,
    Err(_) => "",
};
