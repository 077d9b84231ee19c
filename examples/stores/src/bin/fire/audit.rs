//! Whether what etcd remembers is a history of the machine, and explains what clients were told.

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

use task_lifecycle::{Event, Operation, Status};
use task_stores::{Document, Task};
use uuid::Uuid;

use crate::client::{Call, Change, Outcome, Record};
use crate::cluster::Entry;

/// What the audit came to.
#[derive(Default)]
pub struct Findings {
    pub violations: Vec<String>,
    pub figures: BTreeMap<Figure, usize>,
}

/// In the order of the table.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Figure {
    Tasks,
    Reads,
    Acknowledged,
    Lost,
    Silent,
    FoundDone,
    CommittedAgain,
    FoundLost,
    Happened,
    NeverHappened,
    Reverts,
    Shared,
    Pause,
    Kills,
    Stops,
}

impl Findings {
    pub fn count(&mut self, figure: Figure, count: usize) {
        *self.figures.entry(figure).or_default() += count;
    }
}

/// A change that a client wanted.
struct Wish<'a> {
    record: &'a Record,
    change: Change,
    loaded: Option<&'a Task>,
    wanted: Option<&'a Task>,
    outcome: Outcome,
    silent: u32,
}

/// What there is to know about one task.
struct Case<'a> {
    id: Uuid,
    entries: &'a [Entry],
    wishes: Vec<Wish<'a>>,
    /// What was shown to whom.
    reads: Vec<(&'a Record, Option<&'a Task>)>,
    findings: &'a mut Findings,
}

pub fn audit(history: &HashMap<Uuid, Vec<Entry>>, records: &[Record]) -> Findings {
    let mut findings = Findings::default();
    let mut by_task = history.keys().map(|id| (*id, vec![])).collect::<BTreeMap<_, _>>();
    for record in records {
        by_task.entry(record.task).or_default().push(record);
    }
    for (id, records) in by_task {
        let entries = history.get(&id).map_or(&[][..], Vec::as_slice);
        let (mut wishes, mut reads) = (vec![], vec![]);
        for record in records {
            match &record.call {
                Call::Read(found) => reads.push((record, found.as_ref())),
                Call::Write { change, loaded, wanted, outcome, silent } => wishes.push(Wish {
                    record,
                    change: *change,
                    loaded: loaded.as_ref(),
                    wanted: wanted.as_ref(),
                    outcome: *outcome,
                    silent: *silent,
                }),
            }
        }
        let mut case = Case { id, entries, wishes, reads, findings: &mut findings };
        case.history();
        case.answers();
        case.order();
    }
    findings.count(Figure::Pause, pause(records));
    findings
}

/// The longest time in which no change was acknowledged, in milliseconds.
fn pause(records: &[Record]) -> usize {
    let is_won = |record: &&Record| {
        matches!(record.call, Call::Write { outcome: Outcome::Acknowledged, .. })
    };
    let mut told: Vec<_> = records.iter().filter(is_won).map(|record| record.told).collect();
    told.sort();
    let pauses = told.windows(2).map(|pair| pair[1] - pair[0]);
    pauses.max().unwrap_or(Duration::ZERO).as_millis() as usize
}

impl Case<'_> {
    fn before(&self, at: usize) -> Option<&Task> {
        self.entries[at.checked_sub(1)?].task.as_ref()
    }

    /// Where in the history a task is as wanted, by the change that was wanted.
    fn place(&self, wish: &Wish) -> Option<usize> {
        (0..self.entries.len()).find(|at| {
            self.entries[*at].task.as_ref() == wish.wanted && self.before(*at) == wish.loaded
        })
    }

    /// Each state follows from the one before by a change that somebody wanted, made once, and a
    /// revert brings back what there was.
    fn history(&mut self) {
        let mut previous: Option<(Status, Document)> = None;
        self.findings.count(Figure::Tasks, usize::from(!self.entries.is_empty()));
        for at in 0..self.entries.len() {
            let (before, after) = (self.before(at), self.entries[at].task.as_ref());
            let authors: Vec<_> =
                self.wishes.iter().filter(|it| self.place(it) == Some(at)).collect();
            let Some(author) = authors.first() else {
                self.violation(at, "nobody wanted this of the state before it");
                continue;
            };
            let (change, state) = (author.change, before.map(Task::state));
            let is_update = state.is_some_and(|state| state.is_update());
            let is_revert =
                is_update && matches!(change, Change::Step(Operation::Cancel | Operation::Fail));
            let told = authors.iter().filter(|it| it.outcome.is_done()).count();
            let acknowledged =
                authors.iter().filter(|it| it.outcome == Outcome::Acknowledged).count();
            let is_lawful = is_lawful(change, before, after);
            let was = after.map(|task| (task.status(), task.payload().clone()));
            let is_exact = !is_revert || was == previous;
            if change == Change::Step(Operation::Update) {
                previous = before.map(|task| (task.status(), task.payload().clone()));
            }

            if !is_exact {
                self.violation(at, "the revert did not bring back what there was");
            } else if !is_lawful {
                self.violation(at, &format!("{change:?} does not lead here"));
            }
            let leaves_no_mark = is_revert || change == Change::Step(Operation::Delete);
            if acknowledged > 1 || (told > 1 && !leaves_no_mark) {
                self.violation(at, &format!("{told} clients were told that this was theirs"));
            }
            self.findings.count(Figure::Reverts, is_revert.into());
            self.findings.count(Figure::Shared, told.saturating_sub(1));
        }
    }

    /// What a client was told of a change is what became of it.
    fn answers(&mut self) {
        for at in 0..self.wishes.len() {
            let wish = &self.wishes[at];
            let (place, silent) = (self.place(wish), wish.silent as usize);
            let who = format!("client {} was told of {:?}", wish.record.client, wish.change);
            // Another that wants the same may have made it.
            let is_mine = |place: usize| {
                let done =
                    |it: &&Wish| self.place(it) == Some(place) && it.outcome != Outcome::Lost;
                self.wishes.iter().find(done).is_none()
            };
            let loaded = self.entries.iter().position(|it| it.task.as_ref() == wish.loaded);
            let next = loaded.map_or(0, |loaded| loaded + 1);
            let is_overtaken = self.wishes.iter().any(|it| {
                next < self.entries.len()
                    && self.place(it) == Some(next)
                    && it.record.sent < wish.record.told
            });
            let (figure, wrong) = match (wish.outcome, place) {
                (Outcome::Acknowledged | Outcome::FoundDone, None) => {
                    (Figure::Acknowledged, Some((next, "that it was made, and it was not")))
                }
                (Outcome::Lost, Some(place)) if is_mine(place) => {
                    (Figure::Lost, Some((place, "that it was not made, and it was")))
                }
                (Outcome::Lost, _) if !is_overtaken => {
                    (Figure::Lost, Some((next, "that others were faster, and nobody was")))
                }
                (Outcome::Acknowledged, _) if silent > 0 => (Figure::CommittedAgain, None),
                (Outcome::Acknowledged, _) => (Figure::Acknowledged, None),
                (Outcome::FoundDone, _) => (Figure::FoundDone, None),
                (Outcome::Lost, _) if silent > 0 => (Figure::FoundLost, None),
                (Outcome::Lost, _) => (Figure::Lost, None),
                (Outcome::Unknown, Some(_)) => (Figure::Happened, None),
                (Outcome::Unknown, None) => (Figure::NeverHappened, None),
            };
            if let Some((at, wrong)) = wrong {
                self.violation(at, &format!("{who} {wrong}"));
            }
            self.findings.count(figure, 1);
            self.findings.count(Figure::Silent, silent);
        }
    }

    /// What a client was shown is in the history, and no older than what anybody had been told
    /// before it asked.
    fn order(&mut self) {
        let position =
            |task: Option<&Task>| self.entries.iter().position(|it| it.task.as_ref() == task);
        let done = self.wishes.iter().filter(|it| it.outcome.is_done());
        let done = done.filter_map(|it| Some((it.record.told, self.place(it)?)));
        let shown = self.reads.iter().filter_map(|(it, found)| Some((it.told, position(*found)?)));
        let mut known: Vec<(Instant, usize)> = done.chain(shown).collect();
        known.sort();
        let mut newest = 0;
        for (_, position) in &mut known {
            newest = newest.max(*position);
            *position = newest;
        }
        let mut wrong = Vec::new();
        for (read, found) in &self.reads {
            let count = known.partition_point(|(told, _)| *told < read.sent);
            let floor = count.checked_sub(1).map_or(0, |last| known[last].1);
            let client = read.client;
            match position(*found) {
                None => wrong
                    .push((floor, format!("client {client} was shown what never was: {found:?}"))),
                Some(at) if at < floor => {
                    wrong.push((
                        at,
                        format!("client {client} was shown this when a later state was known"),
                    ));
                }
                Some(_) => {}
            }
        }
        self.findings.count(Figure::Reads, self.reads.len());
        for (at, wrong) in wrong {
            self.violation(at, &wrong);
        }
    }

    /// Tells what is wrong with the entry at `at`, and what came before and after it.
    fn violation(&mut self, at: usize, what: &str) {
        let mut story = format!("task {}: {what}", self.id);
        for (nth, entry) in self.entries.iter().enumerate() {
            if nth.abs_diff(at) > 2 {
                continue;
            }
            let mark = if nth == at { '>' } else { ' ' };
            let state = match &entry.task {
                Some(task) => format!(
                    "revision {}, run {}: {}, by {:?}",
                    task.revision(),
                    task.run(),
                    task.state(),
                    task.payload().message
                ),
                None => "deleted".to_owned(),
            };
            story += &format!("\n{mark} etcd's {:6}: {state}", entry.at);
            for wish in self.wishes.iter().filter(|it| self.place(it) == Some(nth)) {
                let client = wish.record.client;
                story += &format!(" ({:?} by client {client}: {:?})", wish.change, wish.outcome);
            }
        }
        self.findings.violations.push(story);
    }
}

impl Outcome {
    fn is_done(self) -> bool {
        matches!(self, Self::Acknowledged | Self::FoundDone)
    }
}

/// Whether the machine, asked for `change`, makes `after` of `before`: with the mark that the
/// client left in the payload, which a revert takes away.
fn is_lawful(change: Change, before: Option<&Task>, after: Option<&Task>) -> bool {
    let Some(before) = before else {
        let is_new = |task: &Task| *task == Task::new(task.payload().clone());
        return change == Change::Create && after.is_some_and(is_new);
    };
    let Some(after) = after else {
        return change == Change::Step(Operation::Delete) && before.clone().delete().is_ok();
    };
    let (mut task, payload) = (before.clone(), after.payload().clone());
    match change {
        Change::Create => return false,
        Change::Edit => task.edit(|it| *it = payload),
        Change::Step(operation) => {
            let is_revert =
                before.is_update() && [Operation::Cancel, Operation::Fail].contains(&operation);
            if !is_revert && operation != Operation::Update {
                task.edit(|it| it.clone_from(&payload));
            }
            let event = Event::new(operation, payload);
            if event.is_none_or(|event| task.apply(event).is_err()) {
                return false;
            }
        }
    }
    task == *after
}
