//! What threads note of a round, and whether it may be.
//!
//! Every accepted commit names the revision that it came from. So those of a round form one chain,
//! and there is no search: two from one revision, a load that is off the chain, or a load behind
//! what its client knew, is all that can be wrong.

use std::boxed::Box;
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
    /// It is what nobody wrote, or gone.
    Nobody(String),
}

/// What a thread saw or did.
#[derive(Clone, Debug)]
pub(super) enum Note {
    /// A load: the revision, `None` if it is gone.
    Saw(Option<u64>, Author),
    Wrote {
        loaded: u64,
        deletes: bool,
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
        Self::Failed {
            what,
            how: answer.words(),
        }
    }

    fn line(&self, who: usize) -> String {
        let client = who + 1;
        match self {
            Self::Saw(None, _) => format!("client {client} loads task 1: none"),
            Self::Saw(Some(_), Author::Nobody(text)) => {
                format!("client {client} loads task 1: {text}")
            }
            Self::Saw(Some(revision), Author::Start) => {
                format!("client {client} loads task 1: revision {revision}, as at the start")
            }
            Self::Saw(Some(revision), Author::Client(writer)) => {
                let writer = writer + 1;
                format!("client {client} loads task 1: revision {revision}, of client {writer}")
            }
            Self::Wrote {
                loaded,
                deletes,
                accepted,
            } => {
                let what = if *deletes { "delete" } else { "change" };
                let how = if *accepted { "accepted" } else { "refused" };
                format!("client {client} commits a {what} of task 1 at revision {loaded}: {how}")
            }
            Self::Unknown => format!("client {client} commits a change of task 1: no answer"),
            Self::Failed { what, how } => format!("client {client} {what}: {how}"),
        }
    }
}

/// What a round is about: its task, as a function of the revision and of who wrote it.
#[derive(Clone, Copy)]
pub(super) struct Round {
    pub(super) number: u32,
}

impl Round {
    /// Whether the task is completed, and somebody deletes it.
    const fn is_last(self) -> bool {
        self.number % 4 == 2
    }

    /// Whether the task's status stays: changes are edits.
    const fn is_still(self) -> bool {
        self.number % 4 >= 2
    }

    /// How many revisions a change counts.
    const fn each(self) -> u64 {
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
pub(super) fn judge(clock: &Clock, round: Round, notes: [Vec<Note>; 2]) -> Option<Box<Found>> {
    let start = match round.number % 4 {
        0 | 3 => "client 1 creates task 1",
        1 => "client 1 creates task 1, and commits fail and update",
        _ => "client 1 creates task 1, and commits fail",
    };
    clock.tell(format!(
        "{start}: accepted; two threads load and commit at once"
    ));
    let found = |law, expected: &str, lines: &[(usize, &Note)], rank| {
        for (who, note) in lines {
            clock.tell(note.line(*who));
        }
        let seen = lines
            .last()
            .map_or(String::new(), |(who, note)| note.line(*who));
        Some(Found::new(clock, law, expected.into(), seen, rank))
    };
    let all = || {
        notes
            .iter()
            .enumerate()
            .flat_map(|(who, notes)| notes.iter().map(move |note| (who, note)))
    };
    let accepted = |(_, note): &(usize, &Note)| matches!(note, Note::Wrote { accepted: true, .. });
    let from = |note: &Note| match note {
        Note::Wrote { loaded, .. } => Some(*loaded),
        _ => None,
    };
    let winners: Vec<_> = all().filter(accepted).collect();
    for (at, winner) in winners.iter().enumerate() {
        let rival = winners[at + 1..]
            .iter()
            .find(|rival| from(rival.1) == from(winner.1));
        if let Some(rival) = rival {
            return found(
                Law::OneWins,
                "one of the two is refused",
                &[*winner, *rival],
                1,
            );
        }
    }
    let is_known = !all().any(|(_, note)| matches!(note, Note::Unknown | Note::Failed { .. }));
    // Who wrote a revision; the last to be deleted is `None`.
    let each = round.each();
    let writer = |seen: Option<u64>| {
        winners.iter().find(|(_, note)| match note {
            Note::Wrote {
                loaded, deletes, ..
            } => {
                if *deletes {
                    seen.is_none()
                } else {
                    seen == Some(loaded.wrapping_add(each))
                }
            }
            _ => false,
        })
    };
    for (who, notes) in notes.iter().enumerate() {
        let mut newest: Option<(u64, &Note)> = None;
        for note in notes {
            let revision = match note {
                Note::Saw(seen, author) => {
                    let right = match (seen, author) {
                        (None, _) => !is_known || writer(None).is_some(),
                        (_, Author::Start) => true,
                        (_, Author::Nobody(_)) => false,
                        (_, Author::Client(by)) => {
                            !is_known || writer(*seen).is_some_and(|(writer, _)| writer == by)
                        }
                    };
                    if !right {
                        let expected = "a task that was committed";
                        return found(Law::SeenWhole, expected, &[(who, note)], 2);
                    }
                    seen.unwrap_or(u64::MAX)
                }
                Note::Wrote {
                    deletes: true,
                    accepted: true,
                    ..
                } => u64::MAX,
                Note::Wrote {
                    loaded,
                    accepted: true,
                    ..
                } => loaded.wrapping_add(each),
                // Somebody else has changed it.
                Note::Wrote {
                    loaded,
                    accepted: false,
                    ..
                } => *loaded,
                Note::Unknown | Note::Failed { .. } => continue,
            };
            if let Some((_, newest)) = newest.filter(|(newest, _)| revision < *newest) {
                let expected = "nothing older than that";
                return found(Law::NeverOlder, expected, &[(who, newest), (who, note)], 3);
            }
            newest = Some((revision, note));
        }
    }
    // In the end nothing is under way.
    let last = winners.iter().max_by_key(|(_, note)| from(note));
    for (who, notes) in notes.iter().enumerate().filter(|_| is_known) {
        let (Some(last), Some(note)) = (last, notes.last()) else {
            continue;
        };
        let is_last = matches!(
            (last.1, note),
            (Note::Wrote { deletes: true, .. }, Note::Saw(None, _))
        ) || matches!((last.1, note), (Note::Wrote { loaded, .. }, Note::Saw(Some(seen), _))
                if *seen == loaded.wrapping_add(each));
        if !is_last {
            return found(
                Law::SeenByAll,
                "what was accepted last",
                &[*last, (who, note)],
                4,
            );
        }
    }
    if let Some(failed) = all().find(|(_, note)| matches!(note, Note::Failed { .. })) {
        return found(Law::NoError, "an answer other than that", &[failed], 4);
    }
    if is_known && winners.is_empty() {
        let lines: Vec<_> = all().take(6).collect();
        return found(Law::CurrentIsAccepted, "one of them is accepted", &lines, 4);
    }
    None
}
