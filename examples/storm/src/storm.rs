//! The common part of all storms: a time, figures, and players who ask and note their answers.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::{Duration, Instant, UNIX_EPOCH};

use anyhow::Result;
use rand::seq::{IndexedRandom as _, IteratorRandom as _};
use rand::{random_bool, random_range, rng};
use task_lifecycle::{Operation, Revision};
use tokio::time::{sleep, timeout};

use crate::audit::{Answer, Asked, Report, Time, Told};

pub const LOST: &str = "commits lost, or their answers";
pub const KILLED: &str = "processes killed in the middle of a change";
pub const STOPS: &str = "stop requests accepted";

/// The tasks that the players of a pool have at a time: few, so that they meet.
const TASKS: usize = 10;

/// A storm may end after so many acknowledged changes: fewer could miss anything.
pub const MADE: (&str, u64) = ("yes", 300);

#[derive(Default)]
pub struct Storm {
    pub time: Duration,
    pub begin: Cell<Option<Instant>>,
    /// The number of changes that are asked for and not yet answered.
    pub unanswered: Cell<u64>,
    /// With their tasks; those of creates without an answer have none.
    pub answers: RefCell<Vec<(String, Answer)>>,
    pub report: RefCell<Report>,
}

impl Storm {
    /// Its time begins, for all engines have started. It must reach these figures.
    pub fn begin(&self, figures: &[&'static str]) {
        self.begin.set(Some(Instant::now()));
        self.report.borrow_mut().figures.extend(figures.iter().map(|figure| (*figure, 0)));
    }

    pub fn passed(&self) -> Duration {
        self.begin.get().map_or(Duration::ZERO, |begin| begin.elapsed())
    }

    /// Tests if its time has passed and it has met everything. A busy machine may need three times
    /// as long.
    pub fn is_over(&self) -> bool {
        let figures = &self.report.borrow().figures;
        let has_met = figures.values().all(|it| *it > 0) && figures.get(MADE.0) >= Some(&MADE.1);
        self.passed() > self.time * if has_met { 1 } else { 3 }
    }

    pub fn count(&self, figure: &'static str, count: impl Into<u64>) {
        self.report.borrow_mut().count(figure, count);
    }
}

/// An engine, as its clients see it.
pub trait Target {
    /// The steps that clients take, those that they prefer several times; and a wish that is none.
    const STEPS: &[Operation];
    const OTHER: Asked;

    /// Returns what the answer tells; an error tells nothing. A create names its task.
    async fn ask(&self, task: &mut String, ask: &Answer) -> Result<Told>;
}

/// Somebody who asks for one thing after the other.
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
            let is_wise = random_bool(0.85);
            let steps = T::STEPS.iter().filter(|step| !is_wise || status.accepts(**step));
            let step = steps.choose(&mut rng()).or(T::STEPS.choose(&mut rng())).expect("a step");
            let asked = if random_bool(0.1) { T::OTHER } else { Asked::Step(*step) };
            tokio::join!(self.ask(&task, asked, random_bool(0.2).then_some(revision)), async {
                if random_bool(0.2) {
                    self.ask(&task, Asked::Step(Operation::Cancel), None).await;
                }
            });
            self.ask(&task, Asked::Show, None).await;
        }
    }

    pub async fn ask(&self, task: &str, asked: Asked, named: Option<Revision>) -> Told {
        let (storm, mut task, client) = (&self.storm, task.to_owned(), self.name.clone());
        // A name that nobody else has.
        let request = format!("r{:x}", rand::random::<u64>());
        let (sent, received, told) = (now(), 0, Told::Unknown);
        let mut answer = Answer { client, request, asked, named, sent, received, told };
        let is_change = asked != Asked::Show;
        let is_killed = is_change && random_bool(0.1);
        let millis = if is_killed { random_range(1..80) } else { 4000 };
        storm.unanswered.update(|it| it + u64::from(is_change));
        let asking = self.target.ask(&mut task, &answer);
        let told = timeout(Duration::from_millis(millis), asking).await;
        storm.unanswered.update(|it| it - u64::from(is_change));
        storm.count("clients killed in the middle of a change", is_killed && told.is_err());
        let told = told.ok().and_then(Result::ok).unwrap_or(Told::Unknown);
        storm.count(MADE.0, matches!(told, Told::Made(_)));
        let mut tasks = self.tasks.borrow_mut();
        match told {
            Told::Made(_) | Told::Unknown if asked == Asked::Create && !task.is_empty() => {
                tasks.push(task.clone());
            }
            Told::Absent => tasks.retain(|it| *it != task),
            Told::Noted => storm.count(STOPS, true),
            _ => {}
        }
        (answer.received, answer.told) = (now(), told.clone());
        if is_change || told != Told::Unknown {
            storm.answers.borrow_mut().push((task, answer));
        }
        told
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

pub async fn nap(millis: std::ops::Range<u64>) {
    sleep(Duration::from_millis(random_range(millis))).await;
}
