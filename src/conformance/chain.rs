//! What threads note of a round, and whether it may be.
//!
//! Every accepted commit names the revision that it came from. So those of a round form one chain,
//! and there is no search: two from one revision, a load that is off the chain, or a load behind
//! what its client knew, is all that can be wrong.

use std::collections::BTreeMap;
use std::format;
use std::string::String;
use std::vec::Vec;

use super::call::Answer;
use super::clock::Clock;
use super::found::Found;
use super::round::Round;
use super::{Law, Store};

/// Who wrote what a thread saw.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Author {
    /// The task is as it was at the start.
    Start,
    Client(usize),
    /// It is what nobody wrote.
    Nobody(String),
}

/// The revision of a task that was deleted.
pub(super) const GONE: u64 = u64::MAX;

/// What a thread saw or did.
#[derive(Clone, Debug)]
pub(super) enum Note {
    Saw {
        revision: u64,
        author: Author,
    },
    Wrote {
        from: u64,
        to: u64,
        /// Whether the thread had committed from this copy before.
        again: bool,
        accepted: bool,
    },
    /// A write whose answer was lost.
    Unknown,
    Failed {
        what: &'static str,
        how: String,
    },
}

impl Note {
    pub(super) fn failed<S: Store>(what: &'static str, answer: &Answer<S>) -> Self {
        let how = answer.words();
        Self::Failed { what, how }
    }

    /// Whether another thread was quicker.
    pub(super) const fn lost_a_race(&self) -> bool {
        matches!(
            self,
            Self::Wrote {
                again: false,
                accepted: false,
                ..
            }
        )
    }

    fn line(&self, who: usize) -> String {
        let client = who + 1;
        match self {
            Self::Saw { revision: GONE, .. } => format!("client {client} loads task 1: none"),
            Self::Saw { revision, author } => {
                let what = match author {
                    Author::Start => format!("revision {revision}, as at the start"),
                    Author::Client(by) => format!("revision {revision}, of client {}", by + 1),
                    Author::Nobody(text) => text.clone(),
                };
                format!("client {client} loads task 1: {what}")
            }
            Self::Wrote {
                from,
                to,
                again,
                accepted,
            } => {
                let again = if *again { ", too" } else { "" };
                let what = if *to == GONE { "delete" } else { "change" };
                let how = if *accepted { "accepted" } else { "refused" };
                format!(
                    "client {client} commits a {what} of task 1 at revision {from}{again}: {how}"
                )
            }
            Self::Unknown => format!("client {client} commits to task 1: no answer"),
            Self::Failed { what, how } => format!("client {client} {what}: {how}"),
        }
    }
}

/// Whether what the threads noted is one chain.
pub(super) fn judge(clock: &Clock, round: Round, notes: &[Vec<Note>; 2]) -> Option<Found> {
    let found = |law, expected: &str, lines: &[(usize, &Note)]| {
        clock.begin();
        let start = round.start();
        clock.tell(format!(
            "{start}: accepted; two threads load and commit at once"
        ));
        let lines: Vec<_> = lines.iter().map(|(who, note)| note.line(*who)).collect();
        let seen = lines.last().cloned().unwrap_or_default();
        for line in lines {
            clock.tell(line);
        }
        Some(Found::new(clock, law, expected.into(), seen, true))
    };
    let both = || (0..2).flat_map(|who| notes[who].iter().map(move |note| (who, note)));

    let (mut from, mut to) = (BTreeMap::new(), BTreeMap::new());
    for (who, note) in both() {
        if let Note::Wrote {
            from: old,
            to: new,
            accepted: true,
            ..
        } = note
        {
            if let Some(rival) = from.insert(old, (who, note)) {
                let expected = "one of the two is refused";
                return found(Law::OneWins, expected, &[rival, (who, note)]);
            }
            to.insert(*new, (who, note));
        }
    }
    let is_known = !both().any(|(_, note)| matches!(note, Note::Unknown | Note::Failed { .. }));
    for (who, note) in both() {
        let Note::Saw { revision, author } = note else {
            continue;
        };
        let writer = to.get(revision).map(|(writer, _)| writer);
        let is_committed = match author {
            _ if *revision == GONE => !is_known || writer.is_some(),
            Author::Start => true,
            Author::Client(by) => !is_known || writer == Some(by),
            Author::Nobody(_) => false,
        };
        if !is_committed {
            return found(Law::SeenWhole, "a task that was committed", &[(who, note)]);
        }
    }
    for (who, notes) in notes.iter().enumerate() {
        let mut known: Option<(u64, &Note)> = None;
        for note in notes {
            let revision = match note {
                Note::Saw { revision, .. } => *revision,
                Note::Wrote {
                    to, accepted: true, ..
                } => *to,
                Note::Wrote { .. } | Note::Unknown | Note::Failed { .. } => continue,
            };
            if let Some((_, newer)) = known.filter(|(known, _)| revision < *known) {
                let lines = [(who, newer), (who, note)];
                return found(Law::NeverOlder, "nothing older than that", &lines);
            }
            known = Some((revision, note));
        }
    }
    if let Some(failed) = both().find(|(_, note)| matches!(note, Note::Failed { .. })) {
        return found(Law::NoError, "an answer other than that", &[failed]);
    }
    let Some((last, winner)) = to.last_key_value() else {
        let lines: Vec<_> = both().take(6).collect();
        return (is_known).then(|| found(Law::CurrentIsAccepted, "one is accepted", &lines))?;
    };
    // In the end nothing is under way.
    let is_last = |note: &&Note| matches!(note, Note::Saw { revision, .. } if revision == last);
    let behind = (0..2).find(|&who| !notes[who].last().is_some_and(|note| is_last(&note)));
    let note = notes[behind.filter(|_| is_known)?].last()?;
    let lines = [*winner, (behind?, note)];
    found(Law::SeenByAll, "what was accepted last", &lines)
}
