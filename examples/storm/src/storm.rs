//! The common part of all storms: a time, a fault perhaps, players who ask and note their answers.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, HashMap};
use std::ops::Range;
use std::rc::Rc;
use std::time::{Duration, Instant, UNIX_EPOCH};

use anyhow::Result;
use clap::ValueEnum;
use rand::seq::IndexedRandom;
use rand::{random_bool, random_range, rng};
use task_lifecycle::{Operation, Revision, Status};
use tokio::time::{sleep, timeout};

use crate::audit::{Answer, Asked, Change, Time, Told};

pub const LOST: &str = "commits lost, or their answers";
pub const LATE: &str = "commits that came late";
pub const DATABASES: &str = "databases killed";
pub const KILLED: &str = "processes killed in the middle of a change";
pub const STOPS: &str = "stop requests accepted";
pub const CLIENTS: &str = "clients killed in the middle of a change";

/// The tasks that the players of a pool have at a time: few, so that they meet.
const TASKS: usize = 10;

/// A fault that can be built in, and must be found.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, ValueEnum)]
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
    /// Service: SQL cancels updates, and keeps their payloads
    BulkCancelKeepsPayload,
    /// Service: SQL cancels updates as if they were new tasks
    BulkCancelEndsUpdates,
    /// Service: without its trigger, payloads are changed by hand and nothing is counted
    TriggerDropped,
    /// Service: runs are taken away whose workers live, as if nobody renewed their leases
    NoRenewal,
    /// Service: a sweeper counts no expired leases
    AttemptsNotCounted,
    /// Service: a run that is to stop is given to another worker
    StopIgnored,
    /// Service: a request to stop is noted for the next update
    StopOutlivesItsRun,
    /// Service: deleted tasks are put back
    DeletedComesBack,
    /// Service: messages are lost
    MessageLost,
}

impl Fault {
    pub const OF_ETCD: [Self; 3] =
        [Self::UnconditionalWrite, Self::CheckThenWrite, Self::StaleRead];
}

pub struct Storm {
    pub fault: Option<Fault>,
    time: Duration,
    wanted: Vec<&'static str>,
    begin: Cell<Option<Instant>>,
    marks: Cell<u64>,
    /// The number of changes that are asked for and not yet answered.
    pub unanswered: Cell<usize>,
    pub answers: RefCell<BTreeMap<String, Vec<Answer>>>,
    pub figures: RefCell<BTreeMap<&'static str, u64>>,
}

impl Storm {
    pub fn new(time: Duration, fault: Option<Fault>, wanted: Vec<&'static str>) -> Self {
        let (begin, marks, unanswered) = Default::default();
        let (answers, figures) = Default::default();
        Self { fault, time, wanted, begin, marks, unanswered, answers, figures }
    }

    pub fn is(&self, fault: Fault) -> bool {
        self.fault == Some(fault)
    }

    /// Its time begins, for all engines have started.
    pub fn begin(&self) {
        self.begin.set(Some(Instant::now()));
    }

    pub fn passed(&self) -> Duration {
        self.begin.get().map_or(Duration::ZERO, |begin| begin.elapsed())
    }

    /// Tests if its time has passed and everything was met that it wants to meet. A busy machine
    /// may need three times as long.
    pub fn is_over(&self) -> bool {
        let figures = self.figures.borrow();
        let is_met = self.wanted.iter().all(|it| figures.get(it).is_some_and(|count| *count > 0));
        self.passed() > self.time * if is_met { 1 } else { 3 }
    }

    pub fn count(&self, figure: &'static str, count: usize) {
        *self.figures.borrow_mut().entry(figure).or_default() += count as u64;
    }

    /// A name that nobody else has.
    pub fn request(&self) -> String {
        let mark = self.marks.replace(self.marks.get() + 1);
        format!("r{mark}")
    }

    /// Gives creates without an answer to the tasks that came of them.
    pub fn name_tasks(&self, history: &HashMap<String, Vec<Change>>) {
        let mut answers = self.answers.borrow_mut();
        let mut lost = answers.remove("").unwrap_or_default();
        for (task, changes) in history {
            let mark = changes.first().and_then(|it| Some(&it.after.as_ref()?.payload.mark));
            let own = lost.extract_if(.., |it| Some(&it.request) == mark);
            answers.entry(task.clone()).or_default().extend(own);
        }
    }
}

/// An engine, as its clients see it.
pub trait Target {
    const STOPS: bool;

    /// Returns what the answer tells; an error tells nothing. A create names its task.
    async fn ask(&self, task: &mut String, ask: &Ask) -> Result<Told>;
}

/// A request, but for its task.
pub struct Ask {
    pub request: String,
    pub asked: Asked,
    pub named: Option<Revision>,
}

/// Somebody who asks for one thing after the other.
#[derive(Clone)]
pub struct Player<T> {
    pub storm: Rc<Storm>,
    pub target: T,
    pub name: String,
    pub tasks: Rc<RefCell<Vec<String>>>,
}

impl<T: Target> Player<T> {
    pub async fn play(self) {
        while !self.storm.is_over() {
            nap(0..30).await;
            let task = self.tasks.borrow().choose(&mut rng()).cloned();
            let Some(task) = task.filter(|_| self.tasks.borrow().len() >= TASKS) else {
                self.ask("", Asked::Create, None).await;
                continue;
            };
            let Some((revision, status)) = self.show(&task).await else { continue };
            let named = random_bool(0.2).then_some(revision);
            let asked = match (status, random_range(0..10)) {
                (Status::Processing, 0..2) | (Status::Starting, 0) if T::STOPS => Asked::Stop,
                (_, 0) if !T::STOPS => Asked::Edit,
                (Status::Processing | Status::Starting, _) => Asked::Step(Operation::Cancel),
                (Status::Succeeded | Status::Failed, 1..) => Asked::Step(Operation::Update),
                (Status::Succeeded | Status::Failed | Status::Cancelled, _) => {
                    Asked::Step(Operation::Delete)
                }
            };
            let other = random_bool(0.2).then_some(Asked::Step(Operation::Cancel));
            tokio::join!(self.ask(&task, asked, named), async {
                if let Some(other) = other {
                    self.ask(&task, other, None).await;
                }
            });
            self.show(&task).await;
        }
    }

    pub async fn show(&self, task: &str) -> Option<(Revision, Status)> {
        match self.ask(task, Asked::Show, None).await {
            Told::Shown(revision, status, _) => Some((revision, status)),
            _ => None,
        }
    }

    pub async fn ask(&self, task: &str, asked: Asked, named: Option<Revision>) -> Told {
        let (is_change, storm) = (asked != Asked::Show, &self.storm);
        let ask = Ask { request: storm.request(), asked, named };
        let (sent, mut task) = (now(), task.to_owned());
        let is_killed = is_change && random_bool(0.08);
        let patience = if is_killed { random_range(1..80) } else { 4000 };
        storm.unanswered.set(storm.unanswered.get() + usize::from(is_change));
        let asking = self.target.ask(&mut task, &ask);
        let told = timeout(Duration::from_millis(patience), asking).await;
        storm.unanswered.set(storm.unanswered.get() - usize::from(is_change));
        storm.count(CLIENTS, usize::from(is_killed && told.is_err()));
        let is_stop = asked == Asked::Stop && matches!(told, Ok(Ok(Told::Made(_))));
        storm.count(STOPS, is_stop.into());
        let told = match told {
            Ok(Ok(told)) => told,
            _ if is_change && storm.is(Fault::TimeoutCountedAsNo) => Told::NotDone,
            _ if is_change && storm.is(Fault::TimeoutCountedAsYes) => Told::Made(named),
            _ => Told::Unknown,
        };
        let mut tasks = self.tasks.borrow_mut();
        match told {
            Told::Made(_) if asked == Asked::Create && T::STOPS => tasks.push(task.clone()),
            Told::Absent => tasks.retain(|it| *it != task),
            _ => {}
        }
        let (client, request, received) = (self.name.clone(), ask.request, now());
        let answer = Answer { client, request, asked, named, sent, received, told: told.clone() };
        storm.answers.borrow_mut().entry(task).or_default().push(answer);
        told
    }
}

pub fn now() -> Time {
    let since = UNIX_EPOCH.elapsed().expect("a clock after 1970");
    since.as_micros().try_into().expect("a clock before the year 290,000")
}

/// Until when the runs that are left may take to end.
pub fn calm() -> Instant {
    Instant::now() + Duration::from_mins(1)
}

pub async fn nap(millis: Range<u64>) {
    sleep(Duration::from_millis(random_range(millis))).await;
}
