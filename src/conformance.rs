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
//! The methods of the trait are plain functions, so the crate needs to know no runtime: an async
//! store waits in each of them.
//!
//! ```ignore
//! fn load(&mut self, id: &Uuid) -> Result<Option<Task<Document>>, sqlx::Error> {
//!     self.runtime.block_on(self.tasks.load(id))
//! }
//! ```
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
//! | IdUsedAgain | DeletedIsGone |
//! | EditNotCounted | StoredWhole |
//! | CommitsLostInCrash | SurvivesCrash |
//! | DeletedIsBackAfterCrash | SurvivesCrash |
//! | EveryThirdCommitRefused | CurrentIsAccepted |
//! | Panics | NoError |
//! | ConflictIsAnError | NoError |
//! | CommitToNothingIsAnError | AbsenceIsNoError |

mod history;
mod play;

use core::cell::RefCell;
use core::fmt;
use std::panic::{self, AssertUnwindSafe};
use std::string::String;
use std::vec::Vec;

use proptest::test_runner::{Config, FileFailurePersistence, TestCaseError, TestError, TestRunner};

use crate::Task;
use history::{History, history};
use play::Play;

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
        let config = Config::with_failure_persistence(FileFailurePersistence::Off);
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
    loop {
        let shorter = (0..history.acts.len()).find_map(|at| {
            let mut without = history.clone();
            without.acts.remove(at);
            let violation = play(open(), &without, &mut Report::default()).err()?;
            Some((without, violation))
        });
        match shorter {
            Some(shorter) => (history, violation) = shorter,
            None => return violation,
        }
    }
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
