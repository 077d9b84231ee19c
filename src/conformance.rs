//! Whether a store keeps tasks as the machine means them. Feature `conformance`.
//!
//! A store is wherever a program keeps its tasks: a table, a map, an actor. Its author writes this:
//!
//! ```
//! use std::collections::BTreeMap;
//! use task_lifecycle::{Task, conformance::{self, Store}};
//!
//! #[derive(Default)]
//! struct Tasks(BTreeMap<u64, Task<String>>, u64);
//!
//! impl Store for Tasks {
//!     type Id = u64;
//!     type Payload = String;
//!     type Error = std::convert::Infallible;
//!
//!     fn payload(text: &str) -> String {
//!         text.to_owned()
//!     }
//!     fn create(&mut self, task: &Task<String>) -> Result<u64, Self::Error> {
//!         self.1 += 1;
//!         self.0.insert(self.1, task.clone());
//!         Ok(self.1)
//!     }
//!     fn load(&mut self, id: &u64) -> Result<Option<Task<String>>, Self::Error> {
//!         Ok(self.0.get(id).cloned())
//!     }
//!     fn commit(&mut self, id: &u64, loaded: u64, task: &Task<String>) -> Result<bool, Self::Error> {
//!         let row = self.0.get_mut(id).filter(|row| row.revision() == loaded);
//!         Ok(row.map(|row| *row = task.clone()).is_some())
//!     }
//!     fn delete(&mut self, id: &u64, loaded: u64) -> Result<bool, Self::Error> {
//!         let is_there = self.0.get(id).is_some_and(|row| row.revision() == loaded);
//!         Ok(is_there && self.0.remove(id).is_some())
//!     }
//! }
//!
//! // #[test]
//! fn tasks_conform() {
//!     conformance::check(Tasks::default);
//! }
//! # tasks_conform();
//! ```
//!
//! Two clients then create, read, change and delete tasks at random, from copies that may be
//! stale; they repeat what they sent; the store is reopened; payloads are hostile. After every step
//! each client's view of every task is compared with the machine's. A failure prints the shortest
//! history that shows it, what was expected and seen, and the [`Law`] that was broken.
//!
//! The methods of the trait are plain functions: an async store waits in each for its runtime
//! (`self.runtime.block_on(…)`), so the crate needs to know none.
//!
//! What it catches is shown by stores that are broken on purpose, each in a history of at most
//! eight events:
//!
//! | store | broken law |
//! |---|---|
//! | UnconditionalWrite | StaleIsRefused |
//! | LostRaceAnswered200 | StaleIsRefused |
//! | MaskedNotFound | AbsenceIsNoError |
//! | SqlByFormat | NoError |
//! | StaleCopyIsRead | StoredWhole |
//! | StaleCopyOfOthers | SeenByAll |
//! | RevisionRestoredOnRevert | StoredWhole |
//! | RevisionNotStored | StoredWhole |
//! | PreviousDroppedOnReopen | SurvivesCrash |
//! | PreviousPayloadDropped | StoredWhole |
//! | PreviousStatusForgotten | StoredWhole |
//! | PayloadTrimmed | StoredWhole |
//! | PayloadCutAtNul | StoredWhole |
//! | PayloadCutAtLimit | StoredWhole |
//! | EmptyPayloadIsNull | StoredWhole |
//! | PayloadNotAscii | StoredWhole |
//! | RevertKeepsTheConfiguration | StoredWhole |
//! | StatusInLowerCase | NoError |
//! | CancelledIsUnknown | StoredWhole |
//! | DeleteIgnoresTheRevision | StaleDeleteIsRefused |
//! | DeleteHides | DeletedIsGone |
//! | DeleteTakesTwo | OthersAreUntouched |
//! | DeleteOfNothingSucceeds | StaleDeleteIsRefused |
//! | RefusalWrites | RefusalWritesNothing |
//! | RefusalCounts | RefusalWritesNothing |
//! | UnknownIsCreated | RefusalWritesNothing |
//! | CrossTalk | OthersAreUntouched |
//! | IdUsedAgain | OthersAreUntouched |
//! | EditNotCounted | StoredWhole |
//! | CommitsLostInCrash | SurvivesCrash |
//! | DeletedIsBackAfterCrash | SurvivesCrash |
//! | EveryThirdCommitRefused | CurrentIsAccepted |
//! | Panics | NoError |

use core::cell::RefCell;
use core::fmt;
use core::ops::RangeInclusive;
use std::panic::AssertUnwindSafe;
use std::string::{String, ToString};
use std::vec::Vec;
use std::{format, panic};

use proptest::collection::vec;
use proptest::prelude::any;
use proptest::prop_oneof;
use proptest::sample::{Index, select};
use proptest::strategy::{Just, Strategy};
use proptest::test_runner::{Config, TestCaseError, TestError, TestRunner};

use crate::Task;
use crate::strategy::{EVENTS, to_event};

/// Where a program keeps its tasks.
pub trait Store: Sized {
    /// What names a task.
    type Id: Clone + fmt::Debug;
    /// What the program keeps about a task.
    type Payload: Clone + PartialEq + fmt::Debug;
    /// What goes wrong when nobody raced: an outage, a row that cannot be read.
    type Error: fmt::Debug;

    /// A payload that has `text` in it: the suite's texts are hostile.
    fn payload(text: &str) -> Self::Payload;

    /// Stores a new task, and names it.
    ///
    /// # Errors
    ///
    /// Whatever keeps the task from being stored.
    fn create(&mut self, task: &Task<Self::Payload>) -> Result<Self::Id, Self::Error>;

    /// The task as it is stored; `None` if there is none of that name.
    ///
    /// # Errors
    ///
    /// An outage, or a row that is no task. That there is no such task is none.
    fn load(&mut self, id: &Self::Id) -> Result<Option<Task<Self::Payload>>, Self::Error>;

    /// Stores what operations and edits made of a task that was loaded at revision `loaded`:
    /// `UPDATE … WHERE id = ? AND revision = ?`. Whether a row was changed.
    ///
    /// # Errors
    ///
    /// An outage. A stale revision or a task that is gone is `Ok(false)`.
    fn commit(
        &mut self,
        id: &Self::Id,
        loaded: u64,
        task: &Task<Self::Payload>,
    ) -> Result<bool, Self::Error>;

    /// Removes a task that was loaded at revision `loaded`. Whether a row was removed.
    ///
    /// # Errors
    ///
    /// As for [`commit`](Self::commit).
    fn delete(&mut self, id: &Self::Id, loaded: u64) -> Result<bool, Self::Error>;

    /// Another handle on the same tasks, as another process has it. `None` (the default): the two
    /// clients share one.
    fn another(&mut self) -> Option<Self> {
        None
    }

    /// The store as it is found after a crash. The default does nothing.
    #[must_use]
    fn reopen(self) -> Self {
        self
    }
}

/// What a store promises.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[non_exhaustive]
pub enum Law {
    /// What was stored is loaded whole: status, revision, payload and previous state.
    StoredWhole,
    /// A commit or delete at the stored revision is accepted.
    CurrentIsAccepted,
    /// A commit at another revision is refused.
    StaleIsRefused,
    /// A delete at another revision is refused.
    StaleDeleteIsRefused,
    /// What is refused changes nothing.
    RefusalWritesNothing,
    /// A deleted task is gone, and nothing takes its name.
    DeletedIsGone,
    /// A change of one task leaves the others as they are.
    OthersAreUntouched,
    /// Every client sees each accepted change at once.
    SeenByAll,
    /// After a crash everything accepted is there.
    SurvivesCrash,
    /// A task that is not there is an answer and no error.
    AbsenceIsNoError,
    /// Nothing else is an error either, or panics.
    NoError,
}

/// The shortest history in which a store breaks a law. Its text is a story.
#[derive(Clone, Debug)]
pub struct Violation {
    /// The law.
    pub law: Law,
    /// What happened, a line an event.
    pub story: Vec<String>,
    /// What the machine says.
    pub expected: String,
    /// What the store did.
    pub seen: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "the store breaks the law {:?}:", self.law)?;
        for (number, line) in self.story.iter().enumerate() {
            writeln!(f, "{:>3}. {line}", number + 1)?;
        }
        writeln!(f, "expected: {}", self.expected)?;
        write!(f, "seen:     {}", self.seen)
    }
}

impl core::error::Error for Violation {}

/// What the histories came across: a suite that reached nothing would prove nothing.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
#[non_exhaustive]
pub struct Report {
    /// Histories that were played.
    pub histories: u32,
    /// Commits at the stored revision.
    pub commits: u32,
    /// Commits and deletes at another revision.
    pub stale: u32,
    /// Commits that brought a previous state back.
    pub reverts: u32,
    /// Deletes at the stored revision.
    pub deletes: u32,
    /// Crashes.
    pub reopened: u32,
}

/// Drives stores made by `open`, each empty or at least free of the suite's tasks, and panics with
/// the story of the first [`Violation`].
///
/// It plays 256 short histories and then 256 long ones, or as many as the environment variable
/// `PROPTEST_CASES` says.
///
/// # Panics
///
/// If the store breaks a law.
pub fn check<S: Store>(open: impl FnMut() -> S) {
    if let Err(violation) = find_violation(open) {
        panic!("{violation}");
    }
}

/// As [`check`], and returns the violation.
///
/// # Errors
///
/// The [`Violation`] with the shortest history that was found.
///
/// # Panics
///
/// If proptest gives up, which takes limits from the environment that it cannot keep.
pub fn find_violation<S: Store>(mut open: impl FnMut() -> S) -> Result<Report, Violation> {
    let mut report = Report::default();
    for length in [4..=8, 8..=32] {
        let found = RefCell::new(None);
        let state = RefCell::new((&mut open, &mut report));
        let config = Config {
            failure_persistence: None,
            max_shrink_iters: 10_000,
            ..Config::default()
        };
        let played = TestRunner::new(config).run(&history(length), |history| {
            let (open, report) = &mut *state.borrow_mut();
            play(open(), &history, report).map_err(|violation| {
                found.replace(Some(violation));
                TestCaseError::fail("the store breaks a law")
            })
        });
        match (played, found.into_inner()) {
            (Ok(()), _) => {}
            (Err(TestError::Fail(_, history)), Some(violation)) => {
                return Err(shorten(&mut open, history, violation));
            }
            (Err(gave_up), _) => panic!("{gave_up}"),
        }
    }
    Ok(report)
}

/// Leaves out what the violation does not need.
fn shorten<S: Store>(
    open: &mut impl FnMut() -> S,
    mut history: History,
    mut violation: Violation,
) -> Violation {
    let mut at = 0;
    while at < history.acts.len() {
        let mut without = history.clone();
        without.acts.remove(at);
        match play(open(), &without, &mut Report::default()) {
            Err(shorter) if shorter.law == violation.law => {
                (history, violation) = (without, shorter);
                at = 0;
            }
            Err(_) | Ok(()) => at += 1,
        }
    }
    violation
}

/// Plays a history on a store.
fn play<S: Store>(store: S, history: &History, report: &mut Report) -> Result<(), Violation> {
    let mut play = Play::new(store, *report, history.watched);
    let outcome = panic::catch_unwind(AssertUnwindSafe(|| play.all(&history.acts)));
    *report = play.report;
    match outcome {
        Ok(outcome) => outcome.map_err(|violation| *violation),
        Err(_) => play
            .breaks(Law::NoError, "an answer", "a panic")
            .map_err(|violation| *violation),
    }
}

/// One thing that happens.
#[derive(Clone, Debug)]
enum Act {
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
struct History {
    acts: Vec<Act>,
    /// Whether everybody looks at everything after each act, or only in the end.
    watched: bool,
}

fn history(length: RangeInclusive<usize>) -> impl Strategy<Value = History> {
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
const TEXTS: [&str; 12] = [
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

/// A task by its name, and what the machine says it is.
struct Row<S: Store> {
    id: S::Id,
    task: Option<Task<S::Payload>>,
}

/// A commit, or without a task a delete.
struct Sent<S: Store> {
    index: usize,
    loaded: u64,
    task: Option<Task<S::Payload>>,
    what: String,
}

/// What happened last, for telling which law a difference breaks.
#[derive(Clone, Copy)]
enum Last {
    Accepted { index: usize, client: usize },
    Refused { index: usize },
    Reopened,
}

/// One client: the copies that it holds, by task, and what it sent last.
struct Client<S: Store> {
    copies: Vec<Option<Task<S::Payload>>>,
    sent: Option<Sent<S>>,
}

/// A history, played on a store and on the machine.
struct Play<S: Store> {
    /// One handle, or one for each client.
    handles: Vec<S>,
    clients: [Client<S>; 2],
    rows: Vec<Row<S>>,
    texts: usize,
    last: Last,
    story: Vec<String>,
    watched: bool,
    report: Report,
}

type Outcome<T = ()> = Result<T, std::boxed::Box<Violation>>;

impl<S: Store> Play<S> {
    fn new(store: S, report: Report, watched: bool) -> Self {
        let client = || Client {
            copies: Vec::new(),
            sent: None,
        };
        Self {
            handles: Self::handles(store),
            clients: [client(), client()],
            rows: Vec::new(),
            texts: 0,
            last: Last::Reopened,
            story: Vec::new(),
            watched,
            report,
        }
    }

    fn handles(mut store: S) -> Vec<S> {
        let another = store.another();
        [store].into_iter().chain(another).collect()
    }

    fn handle(&mut self, client: usize) -> &mut S {
        let client = client % self.handles.len();
        &mut self.handles[client]
    }

    fn all(&mut self, acts: &[Act]) -> Outcome {
        self.report.histories += 1;
        for act in acts {
            self.act(act)?;
            if self.watched {
                self.look()?;
            }
        }
        self.look()
    }

    fn breaks<T>(
        &self,
        law: Law,
        expected: impl Into<String>,
        seen: impl Into<String>,
    ) -> Outcome<T> {
        let (story, expected, seen) = (self.story.clone(), expected.into(), seen.into());
        Err(Violation {
            law,
            story,
            expected,
            seen,
        }
        .into())
    }

    fn act(&mut self, act: &Act) -> Outcome {
        let tasks = self.rows.len();
        match *act {
            Act::Create { client, text } => self.create(client, text),
            Act::Reopen => {
                self.story.push("the store is reopened".into());
                self.report.reopened += 1;
                self.last = Last::Reopened;
                // The other handle goes first, as with the process that had it.
                self.handles.truncate(1);
                if let Some(store) = self.handles.pop() {
                    self.handles = Self::handles(store.reopen());
                }
                self.look()
            }
            Act::Repeat { client } => match self.clients[client].sent.take() {
                None => Ok(()),
                Some(sent) => self.send(client, sent, " again"),
            },
            Act::Read { .. } | Act::Change { .. } | Act::Delete { .. } if tasks == 0 => Ok(()),
            Act::Read { client, task } => {
                let index = task.index(tasks);
                self.story
                    .push(format!("client {} loads task {}", client + 1, index + 1));
                self.read(client, index)
            }
            Act::Change {
                client,
                task,
                ref changes,
            } => {
                let index = task.index(tasks);
                self.hold(client, index)?;
                let Some(copy) = self.clients[client].copies[index].clone() else {
                    return Ok(());
                };
                let loaded = copy.revision();
                let mut task = copy;
                let mut what = Vec::new();
                for &(change, text) in changes {
                    let payload = self.payload(text);
                    let (name, reverted) = make_change(&mut task, change, payload);
                    what.push(name);
                    self.report.reverts += u32::from(reverted);
                }
                let what = what.join(" and ");
                self.send(
                    client,
                    Sent {
                        index,
                        loaded,
                        task: Some(task),
                        what,
                    },
                    "",
                )
            }
            Act::Delete { client, task } => {
                let index = task.index(tasks);
                self.hold(client, index)?;
                let Some(copy) = self.clients[client].copies[index].take() else {
                    return Ok(());
                };
                let loaded = copy.revision();
                if copy.delete().is_err() {
                    return Ok(()); // the machine refuses, so nothing is sent
                }
                let what = "delete".into();
                self.send(
                    client,
                    Sent {
                        index,
                        loaded,
                        task: None,
                        what,
                    },
                    "",
                )
            }
        }
    }

    fn payload(&mut self, text: usize) -> S::Payload {
        self.texts += 1;
        match text {
            0 => S::payload(&format!("{} {}", TEXTS[0], self.texts)),
            _ => S::payload(TEXTS[text]),
        }
    }

    fn create(&mut self, client: usize, text: usize) -> Outcome {
        let task = Task::new(self.payload(text));
        let index = self.rows.len();
        let shown = show(Some(&task));
        self.story.push(format!(
            "client {} creates task {}: {shown}",
            client + 1,
            index + 1
        ));
        match self.handle(client).create(&task) {
            Ok(id) => {
                self.rows.push(Row {
                    id,
                    task: Some(task),
                });
                for client in &mut self.clients {
                    client.copies.push(None);
                }
                self.last = Last::Accepted { index, client };
                Ok(())
            }
            Err(error) => self.breaks(Law::NoError, "the task is stored", format!("{error:?}")),
        }
    }

    /// The client has a copy of the task, loaded now if it had none.
    fn hold(&mut self, client: usize, index: usize) -> Outcome {
        match self.clients[client].copies[index] {
            Some(_) => Ok(()),
            None => self.read(client, index),
        }
    }

    fn read(&mut self, client: usize, index: usize) -> Outcome {
        self.clients[client].copies[index] = self.see(client, index)?;
        Ok(())
    }

    fn send(&mut self, client: usize, sent: Sent<S>, again: &str) -> Outcome {
        let Sent {
            index,
            loaded,
            ref task,
            ref what,
        } = sent;
        let id = self.rows[index].id.clone();
        let shown = task
            .as_ref()
            .map(|task| format!(" -> {}", show(Some(task))));
        self.story.push(format!(
            "client {} commits {what} of task {} at revision {loaded}{again}{}",
            client + 1,
            index + 1,
            shown.unwrap_or_default()
        ));
        let handle = self.handle(client);
        let answer = match task {
            Some(task) => handle.commit(&id, loaded, task),
            None => handle.delete(&id, loaded),
        };
        let row = self.rows[index].task.as_ref();
        let current = row.is_some_and(|row| row.revision() == loaded);
        let stored = show(row);
        match answer {
            Ok(changed) if changed == current => {}
            Ok(true) => {
                let law = match task {
                    Some(_) => Law::StaleIsRefused,
                    None => Law::StaleDeleteIsRefused,
                };
                return self.breaks(
                    law,
                    format!("no row is changed, for it is: {stored}"),
                    "one is",
                );
            }
            Ok(false) => return self.breaks(Law::CurrentIsAccepted, "a row is changed", "none is"),
            Err(error) => {
                let law = if row.is_none() {
                    Law::AbsenceIsNoError
                } else {
                    Law::NoError
                };
                let expected = if current {
                    "a row is changed"
                } else {
                    "no row is changed"
                };
                return self.breaks(law, expected, format!("{error:?}"));
            }
        }
        let copy = &mut self.clients[client].copies[index];
        if current {
            self.report.commits += u32::from(task.is_some());
            self.report.deletes += u32::from(task.is_none());
            self.last = Last::Accepted { index, client };
            copy.clone_from(task);
            self.rows[index].task.clone_from(task);
        } else {
            self.report.stale += 1;
            self.last = Last::Refused { index };
            *copy = None; // load again, decide again
        }
        self.clients[client].sent = Some(sent);
        Ok(())
    }

    /// Every client looks at every task, the one who acted first.
    fn look(&mut self) -> Outcome {
        let first = match self.last {
            Last::Accepted { client, .. } => client,
            Last::Refused { .. } | Last::Reopened => 0,
        };
        for client in [first, 1 - first] {
            for index in 0..self.rows.len() {
                self.see(client, index)?;
            }
        }
        Ok(())
    }

    /// Loads a task, which must be as the machine has it.
    fn see(&mut self, viewer: usize, index: usize) -> Outcome<Option<Task<S::Payload>>> {
        let id = self.rows[index].id.clone();
        let loaded = self.handle(viewer).load(&id);
        let row = self.rows[index].task.as_ref();
        let expected = format!("task {}: {}", index + 1, show(row));
        let seen = match loaded {
            Ok(seen) if seen.as_ref() == row => return Ok(seen),
            Ok(seen) => seen,
            Err(error) => {
                let law = if row.is_none() {
                    Law::AbsenceIsNoError
                } else {
                    Law::NoError
                };
                return self.breaks(law, expected, format!("{error:?}"));
            }
        };
        let law = match self.last {
            Last::Reopened => Law::SurvivesCrash,
            Last::Refused { index: refused } if refused == index => Law::RefusalWritesNothing,
            Last::Accepted { index: changed, .. } | Last::Refused { index: changed }
                if changed != index && self.watched =>
            {
                Law::OthersAreUntouched
            }
            Last::Accepted { .. } | Last::Refused { .. } if row.is_none() => Law::DeletedIsGone,
            Last::Accepted { client, .. } if client != viewer && self.handles.len() > 1 => {
                Law::SeenByAll
            }
            Last::Accepted { .. } | Last::Refused { .. } => Law::StoredWhole,
        };
        let seen = format!("task {}: {}", index + 1, show(seen.as_ref()));
        self.breaks(law, expected, seen)
    }
}

/// Makes one of the changes that the task accepts. Returns its name, and whether it reverted.
fn make_change<T>(task: &mut Task<T>, change: Index, payload: T) -> (String, bool) {
    let accepted = EVENTS.iter().copied();
    let accepted = accepted.filter(|&operation| task.check(operation).is_ok());
    let accepted = accepted.collect::<Vec<_>>();
    // One more for an edit.
    match accepted.get(change.index(accepted.len() + 1)) {
        None => {
            task.edit(|current| *current = payload);
            ("edit".into(), false)
        }
        Some(&operation) => {
            let done = to_event(operation, payload).map(|event| task.apply(event));
            let reverted = done.is_some_and(|done| done.is_ok_and(|done| done.reverted));
            (operation.to_string(), reverted)
        }
    }
}

/// A task in a line.
fn show<T: fmt::Debug>(task: Option<&Task<T>>) -> String {
    let Some(task) = task else {
        return "none".into();
    };
    let previous = task.previous().map(|previous| {
        format!(
            ", previous {} with {}",
            previous.status,
            short(previous.payload)
        )
    });
    format!(
        "{}, revision {}, payload {}{}",
        task.status(),
        task.revision(),
        short(task.payload()),
        previous.unwrap_or_default()
    )
}

/// A payload, cut where it is long.
fn short(payload: &impl fmt::Debug) -> String {
    let text = format!("{payload:?}");
    match text.char_indices().nth(60) {
        None => text,
        Some((at, _)) => format!("{}… ({} bytes)", &text[..at], text.len()),
    }
}
