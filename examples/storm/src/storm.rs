//! The common part of all storms: a time, figures, and players who ask and note their answers.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::ops::Range;
use std::rc::Rc;
use std::time::{Duration, Instant, UNIX_EPOCH};

use anyhow::Result;
use rand::seq::IndexedRandom;
use rand::{random_bool, random_range, rng};
use task_lifecycle::{Operation, Revision, Status};
use tokio::time::{sleep, timeout};

use crate::audit::{Answer, Asked, Time, Told};

pub const LOST: &str = "commits lost, or their answers";
pub const KILLED: &str = "processes killed in the middle of a change";
pub const STOPS: &str = "stop requests accepted";

/// The tasks that the players of a pool have at a time: few, so that they meet.
const TASKS: usize = 10;

/// The answers after which a storm may end.
const ANSWERS: usize = 1500;

#[derive(Default)]
pub struct Storm {
    pub time: Duration,
    pub begin: Cell<Option<Instant>>,
    pub requests: Cell<u64>,
    /// The number of changes that are asked for and not yet answered.
    pub unanswered: Cell<u64>,
    /// With their tasks; those of creates without an answer have none.
    pub answers: RefCell<Vec<(String, Answer)>>,
    /// None may be zero at the end: it would be a part of the storm that did not happen.
    pub figures: RefCell<BTreeMap<&'static str, u64>>,
}

impl Storm {
    /// Its time begins, for all engines have started. It must reach these figures.
    pub fn begin(&self, figures: &[&'static str]) {
        self.begin.set(Some(Instant::now()));
        self.figures.borrow_mut().extend(figures.iter().map(|figure| (*figure, 0)));
    }

    pub fn passed(&self) -> Duration {
        self.begin.get().map_or(Duration::ZERO, |begin| begin.elapsed())
    }

    /// Tests if its time has passed and it has met everything. A busy machine may need three times
    /// as long.
    pub fn is_over(&self) -> bool {
        let has_met = self.answers.borrow().len() >= ANSWERS
            && self.figures.borrow().values().all(|count| *count > 0);
        self.passed() > self.time * if has_met { 1 } else { 3 }
    }

    pub fn count(&self, figure: &'static str, count: impl Into<u64>) {
        *self.figures.borrow_mut().entry(figure).or_default() += count.into();
    }

    /// A name that nobody else has.
    pub fn request(&self) -> String {
        format!("r{}", self.requests.replace(self.requests.get() + 1))
    }
}

/// An engine, as its clients see it.
pub trait Target {
    /// The wish that is no step of the machine.
    const OTHER: Asked;

    /// Returns what the answer tells; an error tells nothing. A create names its task.
    async fn ask(
        &self,
        task: &mut String,
        request: &str,
        asked: Asked,
        named: Option<Revision>,
    ) -> Result<Told>;
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
            let shown = self.ask(&task, Asked::Show, None).await;
            let Told::Shown(revision, status, _) = shown else { continue };
            let named = random_bool(0.2).then_some(revision);
            let steps = [Operation::Cancel, Operation::Update, Operation::Delete].map(Asked::Step);
            let asked = match (status, random_range(0..10)) {
                (_, 0) => steps[random_range(0..3)], // mostly refused
                (Status::Starting | Status::Processing, 1) => T::OTHER,
                (Status::Starting | Status::Processing, _) => steps[0],
                (Status::Succeeded | Status::Failed, 2..) => steps[1],
                _ => steps[2],
            };
            tokio::join!(self.ask(&task, asked, named), async {
                if random_bool(0.2) {
                    self.ask(&task, steps[0], None).await;
                }
            });
            self.ask(&task, Asked::Show, None).await;
        }
    }

    pub async fn ask(&self, task: &str, asked: Asked, named: Option<Revision>) -> Told {
        let (storm, is_change, mut task) = (&self.storm, asked != Asked::Show, task.to_owned());
        let (sent, request, client) = (now(), storm.request(), self.name.clone());
        let is_killed = is_change && random_bool(0.1);
        let patience = if is_killed { random_range(1..80) } else { 4000 };
        storm.unanswered.update(|it| it + u64::from(is_change));
        let asking = self.target.ask(&mut task, &request, asked, named);
        let told = timeout(Duration::from_millis(patience), asking).await;
        storm.unanswered.update(|it| it - u64::from(is_change));
        storm.count("clients killed in the middle of a change", is_killed && told.is_err());
        let told = told.ok().and_then(Result::ok).unwrap_or(Told::Unknown);
        let mut tasks = self.tasks.borrow_mut();
        match told {
            Told::Made(_) if asked == Asked::Create => tasks.push(task.clone()),
            Told::Absent => tasks.retain(|it| *it != task),
            Told::Noted => storm.count(STOPS, true),
            _ => {}
        }
        let (received, told_too) = (now(), told.clone());
        let answer = Answer { client, request, asked, named, sent, received, told };
        storm.answers.borrow_mut().push((task, answer));
        told_too
    }
}

pub fn now() -> Time {
    let since = UNIX_EPOCH.elapsed().expect("a clock after 1970");
    since.as_micros().try_into().expect("a clock before the year 290,000")
}

/// Waits until all tasks are completed; not for ever, for one may have been lost.
pub async fn calm(mut is_calm: impl AsyncFnMut() -> bool) {
    let end = Instant::now() + Duration::from_mins(2);
    while !is_calm().await && Instant::now() < end {
        nap(50..100).await;
    }
}

pub async fn nap(millis: Range<u64>) {
    sleep(Duration::from_millis(random_range(millis))).await;
}
