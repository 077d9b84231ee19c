//! Checks that a store keeps tasks as the machine means them. Feature `conformance`.
//!
//! A store is wherever a program keeps its tasks: a table, a map, an actor. Its author implements
//! [`Store`], whether it waits or not, and calls one function from a test. For a store that waits,
//! in whatever runtime it needs:
//!
//! ```ignore
//! #[tokio::test]
//! async fn tasks_conform() {
//!     conformance::check(Tasks::open).await;
//! }
//! ```
//!
//! For a store that never waits, from a plain test:
//!
//! ```
//! use std::collections::BTreeMap;
//! use std::convert::Infallible;
//! use std::sync::{Arc, Mutex};
//! use task_lifecycle::{Task, conformance::{self, Store}};
//!
//! #[derive(Clone, Default)]
//! struct Tasks(Arc<Mutex<BTreeMap<usize, Task<String>>>>, Arc<Mutex<usize>>);
//!
//! impl Store for Tasks {
//!     type Id = usize;
//!     type Payload = String;
//!     type Error = Infallible;
//!
//!     fn payload(text: &str) -> String {
//!         text.to_owned()
//!     }
//!     async fn create(&self, task: &Task<String>) -> Result<usize, Infallible> {
//!         let mut last = self.1.lock().unwrap();
//!         *last += 1;
//!         self.0.lock().unwrap().insert(*last, task.clone());
//!         Ok(*last)
//!     }
//!     async fn load(&self, id: &usize) -> Result<Option<Task<String>>, Infallible> {
//!         Ok(self.0.lock().unwrap().get(id).cloned())
//!     }
//!     async fn commit(&self, id: &usize, loaded: u64, task: &Task<String>) -> Result<bool, Infallible> {
//!         let mut tasks = self.0.lock().unwrap();
//!         let row = tasks.get_mut(id).filter(|row| row.revision() == loaded);
//!         Ok(row.map(|row| *row = task.clone()).is_some())
//!     }
//!     async fn delete(&self, id: &usize, loaded: u64) -> Result<bool, Infallible> {
//!         let mut tasks = self.0.lock().unwrap();
//!         let is_current = tasks.get(id).is_some_and(|row| row.revision() == loaded);
//!         Ok(is_current && tasks.remove(id).is_some())
//!     }
//!     async fn another(&self) -> Option<Self> {
//!         Some(self.clone())
//!     }
//! }
//!
//! // #[test]
//! fn tasks_conform() {
//!     conformance::check_blocking(Tasks::default);
//! }
//! # tasks_conform();
//! ```
//!
//! A failure prints the broken [`Law`], the shortest story that was found, what was expected and
//! seen, and how to play exactly that again.
//!
//! # What is checked
//!
//! Two clients create, read, change and delete tasks, from copies that may be stale. They repeat
//! what they sent; the store is [reopened](Store::reopen); payloads are what databases escape,
//! retype and cut, and counters stand where columns end. What each client is shown is compared
//! with the machine, after every event in half of the histories, and in the end in the others.
//!
//! *Calls that overlap.* Two clients commit to or delete a task, or load it, while each other's
//! call is in flight: one call is polled until it has waited some number of times, the other is
//! driven to its end (or, if it is stuck behind a lock, for a moment), and the first goes on. It
//! is the same every time, so it shrinks to a story as everything else does. A store that never
//! waits has nothing to hold a call at; with [`check_blocking`], two real threads with a
//! [handle](Store::another) each meet at one task after the other instead, for half a second (or
//! up to four, on a machine that leaves them little time to meet).
//!
//! *Calls that are given up.* A client goes away and its call is dropped in the middle: all of it
//! has happened, or nothing, or all of it a little later.
//!
//! *Unknown outcomes.* An `Err` from a commit or a delete promises nothing. While nothing is
//! injected it is a violation, a lost race included: that is `Ok(false)`. A store whose backend
//! may lose answers [says so](Store::LOSES_ANSWERS); after an `Err` the task may then be the old
//! or the new one, and stays what it was seen to be.
//!
//! None of it needs a search through possible orders: an accepted commit names the revision that
//! it came from, so the accepted ones form one chain. Two from one revision, a load that is off
//! the chain, or a load that is behind what was answered, is all that can be wrong.
//!
//! # What it found
//!
//! A store on the key-value buckets of NATS (server 2.15.1, async-nats 0.51, three replicas) wrote
//! under the sequence number that it had read, as it should, and yet did not pass. At the default
//! settings it was caught in 14 runs of 14, each within four seconds, by a story of two to five
//! events. The shortest: client 1 creates task 1; client 1 loads task 1: none
//! ([`NeverOlder`](Law::NeverOlder)). By default any replica answers a read, and a follower may be
//! behind what its client was told. When only the leader answered (`allow_direct` off), the suite
//! found in one run of three that a lost race could be an error: the server has a second code for it
//! (10164), which the client library does not take for one. With that mapped to `Ok(false)` as well,
//! five runs of five passed, of 768 histories each.
//!
//! # What is not checked
//!
//! - Durability under power loss: [`reopen`](Store::reopen) is as hard as its author makes it.
//! - Isolation between processes that do not share what [`open`](check) opens.
//! - Three calls in flight at once, except by the threads of [`check_blocking`].
//! - Interleavings inside a step that does not wait, except by those threads, as luck has it; and
//!   not even so for a store with one handle ([`Report::handles`]).
//! - Lists, queues, owners, leases: whatever a store does beyond the trait.
//!
//! # Cost
//!
//! It plays 256 histories of one race each, 256 short ones and 256 long ones, or as many as the
//! environment variable `PROPTEST_CASES` says, which also bounds what threads race for. If calls
//! wait and are quick, it plays three times as many races. A store in memory takes less than a
//! second in a debug build; a database, what opening it so often takes, and some tens of calls for
//! each history. `PROPTEST_RNG_SEED` makes the draws those of an earlier run.
//!
//! # Stability
//!
//! The names and signatures of this module are covered by semver. What is drawn is not, nor the
//! words of a story, nor the text that plays a story again: it is for the version that wrote it.
//! Laws may be added, and histories that reach further: a store that passed may then fail in a
//! minor release, as it should have before.

mod barrier;
mod blame;
mod call;
mod chain;
mod clock;
mod draw;
mod flight;
mod found;
mod handles;
mod history;
mod judge;
mod model;
mod notation;
mod plan;
mod play;
mod race;
mod round;
mod search;
mod show;
mod shrink;
mod suite;
mod threads;
mod turn;

use core::cell::Cell;
use core::fmt;
use core::ops::AsyncFnMut;
use core::panic::Location;
use std::string::String;
use std::vec::Vec;

use crate::Task;

/// The environment variable that makes a check play one history.
const REPLAY: &str = "TASK_LIFECYCLE_REPLAY";

std::thread_local! {
    /// Set by what `Store::reopen` does by default.
    static NOT_REOPENED: Cell<bool> = const { Cell::new(false) };
}

/// Where a program keeps its tasks.
///
/// A store that waits is driven by [`check`], one that never does by [`check_blocking`].
#[expect(
    async_fn_in_trait,
    reason = "the suite asks for no `Send`, and whoever implements it writes `async fn`"
)]
pub trait Store: Sized {
    /// What names a task. `Send`, so that threads can race for one.
    type Id: Clone + fmt::Debug + Send;
    /// What the program keeps about a task.
    type Payload: Clone + PartialEq + fmt::Debug;
    /// What goes wrong when nobody raced: an outage, a row that cannot be read.
    type Error: fmt::Debug;

    /// Whether an `Err` of [`commit`](Self::commit) or [`delete`](Self::delete) may mean that it
    /// happened, also while nothing is injected. Then no `Err` is a violation, unless there is
    /// never another answer.
    const LOSES_ANSWERS: bool = false;

    /// The largest revision and run that the store keeps. The suite goes to the ends of the
    /// columns that people choose, up to 2⁶³, as if that many changes were committed at once.
    /// A store that counts for itself says 0.
    const LARGEST_COUNTER: u64 = u64::MAX;

    /// Makes a payload that has `text` in it: the suite's texts are hostile. Put it into every
    /// field that holds text, and leave an optional field out for some texts, such as those of odd
    /// length: `COALESCE(?, old)` keeps what should go.
    fn payload(text: &str) -> Self::Payload;

    /// Stores a new task, and names it.
    ///
    /// # Errors
    ///
    /// Whatever keeps the task from being stored.
    async fn create(&self, task: &Task<Self::Payload>) -> Result<Self::Id, Self::Error>;

    /// Returns the task as it is stored; `None` if there is none of that name.
    ///
    /// # Errors
    ///
    /// An outage, or a row that cannot be read. That there is no such task is none.
    async fn load(&self, id: &Self::Id) -> Result<Option<Task<Self::Payload>>, Self::Error>;

    /// Stores what operations and edits made of a task that was loaded at revision `loaded`:
    /// `UPDATE … WHERE id = ? AND revision = ?`. Returns whether a row was changed.
    ///
    /// # Errors
    ///
    /// An outage. A stale revision, a task that is gone and a serialization failure are
    /// `Ok(false)`.
    async fn commit(
        &self,
        id: &Self::Id,
        loaded: u64,
        task: &Task<Self::Payload>,
    ) -> Result<bool, Self::Error>;

    /// Removes a task that was loaded at revision `loaded`. Returns whether a row was removed.
    ///
    /// # Errors
    ///
    /// As for [`commit`](Self::commit).
    async fn delete(&self, id: &Self::Id, loaded: u64) -> Result<bool, Self::Error>;

    /// Stores a new task under a name that its client chose. Returns whether it was stored:
    /// `Some(false)` if the name is taken. `None` (the default): the store names its tasks itself.
    ///
    /// # Errors
    ///
    /// Whatever keeps the task from being stored, other than that the name is taken.
    async fn create_as(
        &self,
        id: &Self::Id,
        task: &Task<Self::Payload>,
    ) -> Result<Option<bool>, Self::Error> {
        let _ = (id, task);
        Ok(None)
    }

    /// Returns another handle on the same tasks, as another process has it. `None` (the default):
    /// the clients share one.
    async fn another(&self) -> Option<Self> {
        None
    }

    /// Returns the store as it is found after a crash. The default does nothing.
    #[must_use]
    async fn reopen(self) -> Self {
        NOT_REOPENED.set(true);
        self
    }
}

/// What a store promises.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[non_exhaustive]
pub enum Law {
    /// What was stored is loaded whole: status, revision, run, payload and previous state.
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
    /// Nothing else is an error either, panics, or does not end.
    NoError,
    /// Of two commits or deletes from one revision, one is refused.
    OneWins,
    /// What is seen of a task was committed: no half of it, and nothing that was refused.
    SeenWhole,
    /// No client is shown less than it was answered.
    NeverOlder,
    /// A new task under a name that is taken is refused.
    TakenIsRefused,
}

/// The shortest story that was found in which a store breaks a law.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Violation {
    /// The law.
    pub law: Law,
    /// What happened and what was answered, a line an event.
    pub story: Vec<String>,
    /// What the machine says.
    pub expected: String,
    /// What the store did.
    pub seen: String,
    /// What plays exactly this again: as the environment variable `TASK_LIFECYCLE_REPLAY`, or
    /// pasted into a call of [`replay`] or [`replay_blocking`].
    pub replay: String,
    /// What drew it, for the environment variable `PROPTEST_RNG_SEED`. `None` for a replay.
    pub seed: Option<u64>,
    /// Whether every client looked at every task after each event, and not only in the end.
    watched: bool,
    /// Whether the store never waits.
    blocking: bool,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            law,
            story,
            expected,
            seen,
            replay,
            ..
        } = self;
        writeln!(f, "the store breaks the law {law:?}:")?;
        for (number, line) in story.iter().enumerate() {
            writeln!(f, "{:>3}. {line}", number + 1)?;
        }
        let when = if self.watched {
            "after each event"
        } else {
            "in the end"
        };
        writeln!(f, "     ({when}, each client loads every task)")?;
        writeln!(f, "expected: {expected}")?;
        writeln!(f, "seen:     {seen}")?;
        writeln!(f, "to play it again: {REPLAY}='{replay}'")?;
        write!(f, "or in a test:     ")?;
        if self.blocking {
            write!(f, "conformance::replay_blocking(open, \"{replay}\")")?;
        } else {
            write!(f, "conformance::replay(open, \"{replay}\").await")?;
        }
        if let Some(seed) = self.seed {
            write!(f, "\ndrawn by:         PROPTEST_RNG_SEED={seed}")?;
        }
        Ok(())
    }
}

impl core::error::Error for Violation {}

/// What the histories came across: a suite that reached nothing would prove nothing.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
#[non_exhaustive]
pub struct Report {
    /// Histories that were played.
    pub histories: u32,
    /// Commits that were accepted.
    pub commits: u32,
    /// Commits and deletes that were refused.
    pub stale: u32,
    /// Commits that brought a previous state back.
    pub reverts: u32,
    /// Deletes that were accepted.
    pub deletes: u32,
    /// Crashes; 0 if [`Store::reopen`] does nothing.
    pub reopened: u32,
    /// Handles that a store had: 1, or 2 if [`Store::another`] makes one.
    pub handles: u32,
    /// Pairs of calls that were in flight at once, and commits of threads that lost a race; 0 for
    /// a store that never waits and has one handle.
    pub overlapped: u32,
    /// Calls that were given up in the middle.
    pub given_up: u32,
}

/// Drives stores made by `open`, each empty or at least free of the suite's tasks, and panics with
/// the story of the first [`Violation`].
///
/// Call it from whatever runtime the store needs; it needs none itself. The [module](self) tells
/// what it does and what that costs.
///
/// # Panics
///
/// If the store breaks a law, or if `open` panics.
#[track_caller]
pub fn check<S: Store>(open: impl AsyncFnMut() -> S) -> impl Future<Output = ()> {
    let caller = Location::caller();
    async move {
        if let Err(violation) = find_violation(open).await {
            panic!("{violation}\nchecked at:       {caller}");
        }
    }
}

/// Drives stores as [`check`] does, and returns the violation.
///
/// # Errors
///
/// The [`Violation`] with the shortest story that was found.
///
/// # Panics
///
/// If `open` panics.
pub async fn find_violation<S: Store>(open: impl AsyncFnMut() -> S) -> Result<Report, Violation> {
    search::search(open).await.map_err(|violation| *violation)
}

/// Drives stores made by `open` as [`check`] does, for a store whose methods never wait, and then
/// races two threads that have a [handle](Store::another) each. It needs no runtime, and may be
/// called from within one.
///
/// # Panics
///
/// If the store breaks a law, or if `open` panics. A store that blocks its thread for good ends the
/// process, with the story so far.
#[track_caller]
pub fn check_blocking<S: Store + Send>(open: impl FnMut() -> S) {
    if let Err(violation) = find_violation_blocking(open) {
        panic!("{violation}");
    }
}

/// Drives stores as [`check_blocking`] does, and returns the violation.
///
/// # Errors
///
/// The [`Violation`] with the shortest story that was found.
///
/// # Panics
///
/// If `open` panics.
pub fn find_violation_blocking<S: Store + Send>(
    open: impl FnMut() -> S,
) -> Result<Report, Violation> {
    search::search_blocking(open, None).map_err(|violation| Violation {
        blocking: true,
        ..*violation
    })
}

/// Plays again what a [`Violation`] tells to play, and panics with the story if the store still
/// breaks a law.
///
/// # Panics
///
/// If the store breaks a law, if `open` panics, or if another version of the suite wrote `story`.
#[track_caller]
pub fn replay<S: Store>(open: impl AsyncFnMut() -> S, story: &str) -> impl Future<Output = ()> {
    let caller = Location::caller();
    async move {
        if let Err(violation) = search::replay(open, story).await {
            panic!("{violation}\nchecked at:       {caller}");
        }
    }
}

/// Plays again as [`replay`] does, for a store whose methods never wait.
///
/// # Panics
///
/// As [`replay`].
#[track_caller]
pub fn replay_blocking<S: Store + Send>(open: impl FnMut() -> S, story: &str) {
    if let Err(mut violation) = search::search_blocking(open, Some(story)) {
        violation.blocking = true;
        panic!("{violation}");
    }
}
