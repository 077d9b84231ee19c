//! What threads note of a round, and whether it may be.
//!
//! Every accepted commit names the revision that it came from. So those of a round form one chain,
//! and there is no search: two from one revision, a load that is off the chain, or a load behind
//! what its client knew, is all that can be wrong.

use std::boxed::Box;
use std::collections::BTreeMap;
use std::format;
use std::string::String;
use std::vec::Vec;

use super::call::Answer;
use super::clock::Clock;
use super::play::Found;
use super::show::show;
use super::threads::THREADS;
use super::{Law, Store};
use crate::{Snapshot, Status, Task};

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
            Self::Wrote { from, to, accepted } => {
                let what = if *to == GONE { "delete" } else { "change" };
                let how = if *accepted { "accepted" } else { "refused" };
                format!("client {client} commits a {what} of task 1 at revision {from}: {how}")
            }
            Self::Unknown => format!("client {client} commits to task 1: no answer"),
            Self::Failed { what, how } => format!("client {client} {what}: {how}"),
        }
    }
}

/// What a round is about: its task, as a function of the revision and of who wrote it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Round {
    pub(super) number: u32,
    /// How many changes each thread tries.
    pub(super) steps: u32,
}

impl Round {
    const fn start(self) -> &'static str {
        match self.number % 4 {
            1 => "client 1 creates task 1, and commits fail and update",
            2 => "client 1 creates task 1, and commits fail",
            _ => "client 1 creates task 1",
        }
    }

    /// Whether the task is completed, and somebody deletes it.
    const fn is_last(self) -> bool {
        self.number % 4 == 2
    }

    /// Whether the task's status stays: changes are edits.
    const fn is_still(self) -> bool {
        self.number % 4 >= 2
    }

    /// How many revisions a change counts.
    pub(super) const fn each(self) -> u64 {
        if self.is_still() { 1 } else { 2 }
    }

    pub(super) fn new_task<S: Store>(self) -> Task<S::Payload> {
        Task::new(S::payload(&format!("plain {}", self.number)))
    }

    /// The task at the start: new, updating, or completed.
    pub(super) fn base<S: Store>(self) -> Task<S::Payload> {
        let mut task = self.new_task::<S>();
        if matches!(self.number % 4, 1 | 2) {
            let _ = task.fail();
        }
        if self.number % 4 == 1 {
            let _ = task.update(S::payload(&format!("plain {} again", self.number)));
        }
        task
    }

    pub(super) fn deletes(self, who: usize, step: u32) -> bool {
        let turn = self.number / 4 + step;
        self.is_last() && (step > 2 || turn % 2 == 0 || (turn % 4 == 1) == (who == 0))
    }

    fn payload<S: Store>(self, revision: u64, who: usize) -> S::Payload {
        S::payload(&format!(
            "plain {}, revision {revision} of client {}",
            self.number,
            who + 1
        ))
    }

    /// The change that a thread makes of what it loaded. Both the state and the payload change,
    /// but not those of a task that is to be deleted.
    pub(super) fn change<S: Store>(
        self,
        mut task: Task<S::Payload>,
        who: usize,
    ) -> Task<S::Payload> {
        if !self.is_still() {
            let _ = if task.status() == Status::Starting {
                task.start()
            } else {
                task.retry()
            };
        }
        let revision = task.revision().wrapping_add(1);
        task.edit(|payload| *payload = self.payload::<S>(revision, who));
        task
    }

    pub(super) fn author<S: Store>(
        self,
        task: &Task<S::Payload>,
        base: &Task<S::Payload>,
    ) -> Author {
        if task == base {
            return Author::Start;
        }
        let changes = task.revision().wrapping_sub(base.revision()) / self.each();
        let mut expected = Snapshot::from(base.clone());
        expected.revision = base.revision().wrapping_add(changes * self.each());
        if !self.is_still() {
            expected.run = base.run().wrapping_add(changes / 2);
            if changes % 2 == 1 {
                expected.status = Status::Processing;
            }
        }
        let Ok(expected) = Task::try_from(expected) else {
            return Author::Start;
        };
        let is_written = |&who: &usize| {
            let payload = self.payload::<S>(task.revision(), who);
            let mut expected = Snapshot::from(expected.clone());
            expected.payload = payload;
            Task::try_from(expected).is_ok_and(|expected| expected == *task)
        };
        let writer = [0, 1].into_iter().find(is_written);
        writer.map_or_else(|| Author::Nobody(show(Some(task))), Author::Client)
    }
}

impl Found {
    pub(super) fn new(
        clock: &Clock,
        law: Law,
        expected: String,
        seen: String,
        rank: u8,
    ) -> Box<Self> {
        let violation = super::Violation {
            law,
            story: clock.story(),
            expected,
            seen,
            replay: THREADS.into(),
            seed: None,
            watched: false,
        };
        Box::new(Self {
            violation,
            rank,
            silent: false,
        })
    }
}

/// Whether what the threads noted is one chain.
pub(super) fn judge(clock: &Clock, round: Round, notes: &[Vec<Note>; 2]) -> Option<Box<Found>> {
    let found = |law, expected: &str, lines: &[(usize, &Note)], rank| {
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
        Some(Found::new(clock, law, expected.into(), seen, rank))
    };
    let both = || (0..2).flat_map(|who| notes[who].iter().map(move |note| (who, note)));

    let (mut from, mut to) = (BTreeMap::new(), BTreeMap::new());
    for (who, note) in both() {
        if let Note::Wrote {
            from: old,
            to: new,
            accepted: true,
        } = note
        {
            if let Some(rival) = from.insert(old, (who, note)) {
                let expected = "one of the two is refused";
                return found(Law::OneWins, expected, &[rival, (who, note)], 1);
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
            return found(
                Law::SeenWhole,
                "a task that was committed",
                &[(who, note)],
                2,
            );
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
                _ => continue,
            };
            if let Some((_, newer)) = known.filter(|(known, _)| revision < *known) {
                let lines = [(who, newer), (who, note)];
                return found(Law::NeverOlder, "nothing older than that", &lines, 3);
            }
            known = Some((revision, note));
        }
    }
    if let Some(failed) = both().find(|(_, note)| matches!(note, Note::Failed { .. })) {
        return found(Law::NoError, "an answer other than that", &[failed], 4);
    }
    let Some((last, winner)) = to.last_key_value() else {
        let lines: Vec<_> = both().take(6).collect();
        return (is_known).then(|| found(Law::CurrentIsAccepted, "one is accepted", &lines, 4))?;
    };
    // In the end nothing is under way.
    let is_last = |note: &&Note| matches!(note, Note::Saw { revision, .. } if revision == last);
    let behind = (0..2).find(|&who| !notes[who].last().is_some_and(|note| is_last(&note)));
    let note = notes[behind.filter(|_| is_known)?].last()?;
    let lines = [*winner, (behind?, note)];
    found(Law::SeenByAll, "what was accepted last", &lines, 4)
}
