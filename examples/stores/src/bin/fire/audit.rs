//! Whether what etcd remembers is a history of the machine, and explains what clients were told.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write;

use task_lifecycle::{Event, Operation};
use task_stores::Task;
use uuid::Uuid;

use crate::client::{Change, Outcome, Record};
use crate::cluster::Entry;

/// What the audit came to.
#[derive(Default)]
pub struct Findings {
    /// Each with the revision of etcd at which it shows.
    pub violations: Vec<(i64, String)>,
    pub figures: BTreeMap<&'static str, usize>,
}

impl Findings {
    pub fn count(&mut self, figure: &'static str, count: usize) {
        *self.figures.entry(figure).or_default() += count;
    }
}

pub const KILLS: &str = "the leader was killed and restarted";
pub const STOPS: &str = "a follower was paused and resumed";
pub const PAUSE: &str = "longest time without an acknowledged change, in ms";
pub const TASKS: &str = "tasks";
pub const LOADS: &str = "loads";
pub const ACKNOWLEDGED: &str = "changes acknowledged at once";
pub const LOST: &str = "lost races, told at once";
pub const SILENT: &str = "calls without an answer; of their changes:";
pub const FOUND: &str = "… found to be made";
pub const AGAIN: &str = "… committed again, and acknowledged";
pub const FOUND_LOST: &str = "… found to have lost";
pub const HAPPENED: &str = "… unknown to the client; made";
pub const NEVER: &str = "… unknown to the client; not made";
pub const REVERTS: &str = "reverts, each exact";
pub const SHARED: &str = "reverts and deletes that two clients were told were theirs";

/// In the order of the table.
#[rustfmt::skip]
pub const FIGURES: [&str; 15] = [
    KILLS, STOPS, PAUSE, TASKS, LOADS, ACKNOWLEDGED, LOST, SILENT, FOUND, AGAIN, FOUND_LOST, HAPPENED,
    NEVER, REVERTS, SHARED,
];

pub fn audit(history: &HashMap<Uuid, Vec<Entry>>, records: &[Record]) -> Findings {
    let mut findings = Findings::default();
    let mut by_task: BTreeMap<_, Vec<_>> = history.keys().map(|id| (*id, vec![])).collect();
    for record in records {
        by_task.entry(record.id).or_default().push(record);
    }
    for (id, records) in by_task {
        let entries = history.get(&id).map_or(&[][..], Vec::as_slice);
        let records = records.into_iter().map(|record| (record, place(record, entries))).collect();
        let mut case = Case { id, entries, records, findings: &mut findings };
        case.history();
        case.answers();
    }
    let is_won = |it: &&Record| it.outcome == Outcome::Acknowledged;
    let mut won: Vec<_> = records.iter().filter(is_won).map(|it| it.told).collect();
    won.sort();
    let pauses = won.windows(2).map(|pair| (pair[1] - pair[0]).as_millis());
    findings.count(PAUSE, pauses.max().map_or(0, |most| most.try_into().expect("a short run")));
    findings.violations.sort();
    findings
}

/// Where the task is as the client was shown it; or where it became what the client wanted, from
/// what it had loaded. Who finds a task gone cannot know from where: its delete counts.
fn place(record: &Record, entries: &[Entry]) -> Option<usize> {
    let was_seen = record.outcome == Outcome::Shown
        || record.outcome == Outcome::Found && record.task.is_none();
    entries.iter().enumerate().position(|(at, entry)| {
        entry.task == record.task && (was_seen || before(entries, at) == record.loaded.as_ref())
    })
}

/// What the entry at `at` follows.
fn before(entries: &[Entry], at: usize) -> Option<&Task> {
    entries[at.checked_sub(1)?].task.as_ref()
}

/// What there is to know about one task.
struct Case<'a> {
    id: Uuid,
    entries: &'a [Entry],
    /// Each with its place in the history.
    records: Vec<(&'a Record, Option<usize>)>,
    findings: &'a mut Findings,
}

impl<'a> Case<'a> {
    /// Those who wanted the change that led to the entry at `at`.
    fn authors(&self, at: usize) -> impl Iterator<Item = &'a Record> {
        let records = self.records.iter().filter(move |(_, place)| *place == Some(at));
        records.map(|(record, _)| *record).filter(|it| it.outcome != Outcome::Shown)
    }

    /// Each state follows from the one before by a change that one client wanted, and a revert
    /// brings back what there was.
    fn history(&mut self) {
        let mut previous = None;
        self.findings.count(TASKS, usize::from(!self.entries.is_empty()));
        for (at, entry) in self.entries.iter().enumerate() {
            let (before, after) = (before(self.entries, at), entry.task.as_ref());
            let Some(author) = self.authors(at).find(|it| it.loaded.as_ref() == before) else {
                self.violation(at, "nobody wanted this of the state before it");
                continue;
            };
            let change = author.change;
            let is_revert = before.is_some_and(|before| change.reverts(before));
            if change == Change::Step(Operation::Update) {
                previous = before.map(|task| (task.status(), task.payload()));
            }
            if is_revert && after.map(|task| (task.status(), task.payload())) != previous {
                self.violation(at, "the revert did not bring back what there was");
            } else if !is_lawful(change, before, after) || (change == Change::Create) != (at == 0) {
                self.violation(at, &format!("{change} does not lead here"));
            }
            let done: Vec<_> = self.authors(at).filter(|it| it.is_done()).collect();
            let acknowledged = done.iter().filter(|it| it.outcome == Outcome::Acknowledged);
            if acknowledged.count() > 1 || done.len() > 1 && !is_revert && after.is_some() {
                self.violation(at, &format!("{} clients were told that it is theirs", done.len()));
            }
            self.findings.count(REVERTS, is_revert.into());
            self.findings.count(SHARED, done.len().saturating_sub(1));
        }
    }

    /// What a client was told is what became of its change; what it was shown is in the history,
    /// and no older than what anybody had been told before it asked.
    fn answers(&mut self) {
        for (record, place) in self.records.clone() {
            let follows = |at: &usize| before(self.entries, *at) == record.loaded.as_ref();
            let next = (0..=self.entries.len()).find(follows).unwrap_or_default();
            let is_known = |it: &&Record| it.is_known() && it.told < record.sent;
            let known = self.records.iter().filter(|(it, _)| is_known(it));
            let newest = known.filter_map(|(_, place)| *place).max();
            let is_lost = |it: &Record| it.outcome == Outcome::Lost;
            let wrong = match (record.outcome, place) {
                (Outcome::Shown, None) => "it was shown what never was",
                (Outcome::Shown, _) if place < newest => {
                    "it was shown this when a later state was known"
                }
                (Outcome::Acknowledged | Outcome::Found, None) => {
                    "it was told yes, and the history has no such change"
                }
                (Outcome::Lost, Some(at)) if self.authors(at).all(is_lost) => {
                    "it was told no, and the history has the change"
                }
                (Outcome::Lost, _) if !self.authors(next).any(|it| it.sent < record.told) => {
                    "it was told no, and nobody was faster"
                }
                _ => "",
            };
            if !wrong.is_empty() {
                let (client, change) = (record.client, record.change);
                let what = format!("client {client} asked for {change}: {wrong}");
                self.violation(place.unwrap_or(next), &what);
            }
            let figure = match (record.outcome, record.silent, place) {
                (Outcome::Shown, ..) => LOADS,
                (Outcome::Acknowledged, 0, _) => ACKNOWLEDGED,
                (Outcome::Acknowledged, ..) => AGAIN,
                (Outcome::Found, ..) => FOUND,
                (Outcome::Lost, 0, _) => LOST,
                (Outcome::Lost, ..) => FOUND_LOST,
                (Outcome::Unknown, _, Some(_)) => HAPPENED,
                (Outcome::Unknown, _, None) => NEVER,
            };
            self.findings.count(figure, 1);
            self.findings.count(SILENT, record.silent);
        }
    }

    /// Tells what is wrong with the entry at `at`, and what came before and after it.
    fn violation(&mut self, at: usize, what: &str) {
        let mut story = format!("task {}: {what}", self.id);
        for (nth, entry) in self.entries.iter().enumerate() {
            if nth.abs_diff(at) <= 2 {
                let mark = if nth == at { '>' } else { ' ' };
                let task = entry.task.as_ref().map_or("deleted".to_owned(), |task| {
                    let (revision, message) = (task.revision(), &task.payload().message);
                    format!("revision {revision}, {}, {message:?}", task.state())
                });
                _ = write!(story, "\n{mark} etcd's {:6}: {task}", entry.at);
                for Record { client, change, outcome, .. } in self.authors(nth) {
                    _ = write!(story, "; client {client} asked for {change}: {outcome:?}");
                }
            }
        }
        let time = self.entries.get(at).map_or(i64::MAX, |entry| entry.at);
        self.findings.violations.push((time, story));
    }
}

/// Whether the machine, asked for `change`, makes `after` of `before`: with the mark that the
/// client left in the payload, which a revert takes away.
fn is_lawful(change: Change, before: Option<&Task>, after: Option<&Task>) -> bool {
    let (Some(before), Some(after)) = (before, after) else {
        let is_new = |task: &Task| *task == Task::new(task.payload().clone());
        return match change {
            Change::Create => before.is_none() && after.is_some_and(is_new),
            Change::Step(Operation::Delete) => before.is_some_and(|it| it.clone().delete().is_ok()),
            _ => false,
        };
    };
    let (mut task, payload) = (before.clone(), after.payload().clone());
    if !change.reverts(before) && change != Change::Step(Operation::Update) {
        task.edit(|it| it.clone_from(&payload));
    }
    let is_done = match change {
        Change::Load | Change::Create => false,
        Change::Edit => true,
        Change::Step(operation) => {
            Event::new(operation, payload).is_some_and(|event| task.apply(event).is_ok())
        }
    };
    is_done && task == *after
}

#[cfg(test)]
mod tests;
