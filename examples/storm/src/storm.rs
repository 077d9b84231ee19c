//! What every storm has: a time, a fault perhaps, and what its clients were told.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::ops::Range;
use std::time::{Duration, Instant, UNIX_EPOCH};

use clap::ValueEnum;
use rand::random_range;
use task_lifecycle::Revision;
use tokio::time::sleep;

use crate::audit::{Answer, Asked, Time, Told};

/// What can be built in, and must be found.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
#[value(rename_all = "snake_case")]
pub enum Fault {
    /// A client takes a change without an answer for one that was not made
    TimeoutCountedAsNo,
    /// A client takes a change without an answer for one that was made
    TimeoutCountedAsYes,
    /// A worker ends whatever run it finds
    NoCheckRun,
    /// etcd: a commit compares nothing
    UnconditionalWrite,
    /// etcd: a commit reads, compares, and writes whatever has come between
    CheckThenWrite,
    /// etcd: a load asks one node for what it has
    StaleRead,
    /// etcd: a revert keeps the payload of the update
    RevertKeepsPayload,
    /// etcd: nobody marks what is written, so what another wrote passes for one's own
    Unmarked,
    /// Service: SQL cancels updates, and keeps their payloads
    BulkCancelKeepsPayload,
    /// Service: SQL cancels updates as if they were new tasks
    BulkCancelEndsUpdates,
    /// Service: without its trigger, payloads are changed by hand and nothing is counted
    TriggerDropped,
    /// Service: a sweeper takes runs away that are alive, as if nobody renewed their leases
    NoRenewal,
    /// Service: a sweeper counts no expired leases
    AttemptsNotCounted,
    /// Service: a run that is to stop is given to another worker
    StopIgnored,
    /// Service: a request to stop is noted for another run than it was made for
    StopOutlivesItsRun,
    /// Service: deleted tasks are put back
    DeletedComesBack,
    /// Service: messages are lost
    MessageLost,
}

impl Fault {
    /// Whether it can be built into etcd, and into the service.
    pub fn places(self) -> (bool, bool) {
        let number = self as u8;
        (
            number <= Self::Unmarked as u8,
            number <= Self::NoCheckRun as u8 || number > Self::Unmarked as u8,
        )
    }
}

/// A request, apart from its task, its client and its answer.
pub struct Ask {
    pub request: String,
    pub asked: Asked,
    pub named: Option<Revision>,
}

pub struct Storm {
    pub fault: Option<Fault>,
    time: Duration,
    begin: Cell<Option<Instant>>,
    marks: Cell<u64>,
    /// How many changes have been asked for that are not yet answered.
    pub unanswered: Cell<usize>,
    /// The requests of which a server got no answer to a commit.
    pub cut: RefCell<HashSet<String>>,
    pub answers: RefCell<HashMap<String, Vec<Answer>>>,
    pub figures: RefCell<BTreeMap<&'static str, u64>>,
}

impl Storm {
    pub fn new(time: Duration, fault: Option<Fault>) -> Self {
        let (begin, marks, unanswered) = Default::default();
        let (cut, answers, figures) = Default::default();
        Self { fault, time, begin, marks, unanswered, cut, answers, figures }
    }

    /// Its time begins, for all engines have started.
    pub fn begin(&self) {
        self.begin.set(Some(Instant::now()));
    }

    pub fn passed(&self) -> Duration {
        self.begin.get().map_or(Duration::ZERO, |begin| begin.elapsed())
    }

    pub fn is_over(&self) -> bool {
        self.passed() > self.time
    }

    /// Whether the runs that are left had time enough to end.
    pub fn is_past_calm(&self) -> bool {
        self.passed() > self.time + Duration::from_mins(1)
    }

    /// A number that nobody else has.
    pub fn mark(&self) -> u64 {
        self.marks.replace(self.marks.get() + 1)
    }

    pub fn count(&self, figure: &'static str, count: usize) {
        *self.figures.borrow_mut().entry(figure).or_default() += count as u64;
    }

    pub fn told(&self, task: &str, client: &str, sent: Time, ask: Ask, told: Told) {
        let Ask { request, asked, named } = ask;
        let (client, received) = (client.to_owned(), now());
        let answer = Answer { client, request, asked, named, sent, received, told };
        self.answers.borrow_mut().entry(task.to_owned()).or_default().push(answer);
    }

    /// Completes the answers by what only the history and the proxies know: which tasks were made
    /// by creates without an answer, and which servers found what they had wanted.
    pub fn complete(&self, creates: &HashMap<String, String>) {
        let mut answers = self.answers.borrow_mut();
        for answer in answers.remove("").unwrap_or_default() {
            if let Some(task) = creates.get(&answer.request) {
                answers.entry(task.clone()).or_default().push(answer);
            }
        }
        for answer in answers.values_mut().flatten() {
            if let Told::Made(revision) = answer.told
                && self.cut.borrow().contains(&answer.request)
            {
                answer.told = Told::Found(revision);
            }
        }
    }
}

pub fn now() -> Time {
    let since = UNIX_EPOCH.elapsed().expect("a clock after 1970");
    since.as_micros().try_into().expect("a clock before the year 290,000")
}

pub async fn nap(millis: Range<u64>) {
    sleep(Duration::from_millis(random_range(millis))).await;
}

pub const LOST: &str = "commits lost, or their answers";
pub const LATE: &str = "commits that came late";
pub const KILLED: &str = "killed in the middle of a commit";
pub const HUNG_UP: &str = "clients that hung up";
