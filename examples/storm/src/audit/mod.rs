//! Judges what a store kept, and what its clients were told: histories and answers in, violations
//! with their stories out. It knows no engine and no transport, and reads no clock.
//!
//! Each commit names the revision that it was decided on, so a history is a chain, and nothing is
//! searched for. [`history`] asks whether the chain is one that the machine and the rules of
//! embedding allow; [`answers`] whether it explains what every client was told.

mod answers;
mod history;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt::{self, Display, Formatter};

use task_lifecycle::{Operation, Revision, Run, Status, Task};

/// Microseconds by a clock that the history and the clients share.
pub type Time = i64;

/// A payload, as far as an audit needs it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Payload {
    /// The request that brought it in: no two requests have the same mark.
    pub mark: String,
    /// Equal exactly if the payloads are.
    pub digest: String,
}

/// A task as it stood between two changes.
#[derive(Clone, PartialEq, Debug)]
pub struct Moment {
    pub task: Task<Payload>,
    /// Absent where a store keeps tasks alone, and no workers.
    pub beside: Option<Beside>,
}

/// The part of a task's row that does not revert. Leases and messages may change between changes.
#[derive(Clone, Default, PartialEq, Debug)]
pub struct Beside {
    /// The run that a client queued last; those since are repeats of it.
    pub queued_run: Run,
    /// The leases of the current update that have expired.
    pub attempts: u64,
    /// The run of which somebody asked to stop.
    pub stop: Option<Run>,
    pub lease: Option<Time>,
    /// Set if somebody will get the message of this run if whoever has it dies.
    pub has_message: bool,
    /// The deliveries of the message of this run.
    pub deliveries: u64,
}

/// The author of a change.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Actor {
    /// Someone who is owed an answer; and the name of the request, where a store notes it.
    Client(Option<String>),
    /// Someone who takes runs and ends them.
    Worker(String),
    /// Someone who edits by hand, and is owed no answer.
    Stranger,
}

/// One commit.
#[derive(Clone, Debug)]
pub struct Change {
    /// Not committed before this.
    pub at: Time,
    pub by: Actor,
    /// The revision that it was decided on; `None` of a create.
    pub loaded: Option<Revision>,
    /// In their order; none of a create and of an edit.
    pub operations: Vec<Operation>,
    /// The task that it replaced; `None` if there was nothing.
    pub before: Option<Moment>,
    /// The task that it left; `None` if it is gone.
    pub after: Option<Moment>,
}

/// The wish of a client.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Asked {
    Show,
    Create,
    /// That the current run end.
    Stop,
    Step(Operation),
}

/// The answer to a client.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Told {
    /// The task. The last is all that the client saw, or a digest of it.
    Shown(Revision, Status, String),
    /// Yes, and the revision that it led to; `None`: the task is gone.
    Made(Option<Revision>),
    /// Yes: the run is asked to stop, by this client or another.
    Noted,
    /// No, for the task is in this status.
    Refused(Status),
    /// No, for the task is not at the revision that the client named.
    Stale,
    /// No, for there is no such task.
    Absent,
    /// No: nothing was done, and never will be.
    NotDone,
    /// Nothing.
    Unknown,
}

/// A request and its answer.
#[derive(Clone, Debug)]
pub struct Answer {
    pub client: String,
    /// Its name: no two requests have the same.
    pub request: String,
    pub asked: Asked,
    /// The revision that the client named.
    pub named: Option<Revision>,
    pub sent: Time,
    pub received: Time,
    pub told: Told,
}

/// Everything that is known of one task, when all is calm.
#[derive(Clone, Default, Debug)]
pub struct Case {
    pub history: Vec<Change>,
    pub answers: Vec<Answer>,
}

/// The number of expired leases that ends an update.
pub const ATTEMPTS: u64 = 3;

/// The worker that takes runs, and does nothing more.
pub const HUNG: &str = "hung";

/// The laws.
#[rustfmt::skip]
mod law {
    pub const CHAIN: &str = "a change is decided on what it replaces, and replaces what the last one left";
    pub const ONCE: &str = "a request is made once";
    pub const STEP: &str = "a change is a step of the machine, and counted";
    pub const KEPT: &str = "a payload changes only by an edit or an update";
    pub const REVERTED: &str = "a revert brings back exactly what there was";
    pub const FENCED: &str = "a worker acts only for a run of which it has the message";
    pub const OWNED: &str = "only who took a run ends it, unless its lease is over";
    pub const HELD: &str = "what waits has a message, and what is worked on a lease that its worker alone renews";
    pub const ATTEMPTS: &str = "exactly the expired leases are counted, up to the limit";
    pub const STOPPED: &str = "a stop request is obeyed, and touches no other update";
    pub const SETTLED: &str = "nothing stays active when all is calm";
    pub const WANTED: &str = "a client's change was asked for, and nobody who asked was told no";
    pub const YES: &str = "what was acknowledged was made";
    pub const NO: &str = "what a refusal says was so while the client waited";
    pub const SEEN: &str = "what was shown was so, and is not older than what was known";
}

/// A law that was broken, and what led to it.
#[derive(Clone, Debug)]
pub struct Violation {
    pub law: &'static str,
    pub story: String,
}

/// The findings of an audit.
#[derive(Default, Debug)]
pub struct Report {
    /// Those of a task's history before those of what its clients were told.
    pub violations: Vec<Violation>,
    /// Counts of what the laws are about. One of zero: the law was not tried.
    pub figures: BTreeMap<&'static str, u64>,
}

impl Report {
    pub fn count(&mut self, figure: &'static str, count: impl Into<u64>) {
        *self.figures.entry(figure).or_default() += count.into();
    }
}

/// Judges all tasks, by their ids.
pub fn audit(report: &mut Report, cases: &BTreeMap<String, Case>) {
    report.count("tasks", cases.len() as u64);
    for (id, case) in cases {
        let mut judge = Judge { id, case, report };
        judge.judge_history();
        judge.judge_answers();
    }
}

/// The judge of one task.
struct Judge<'a> {
    id: &'a str,
    case: &'a Case,
    report: &'a mut Report,
}

impl Judge<'_> {
    /// Tells of a violation at the change of this number, unless it `is_so` as the law wants it.
    fn require(&mut self, at: usize, law: &'static str, is_so: bool, what: impl Display) {
        if !is_so {
            let story = format!("task {}: {law}\n{what}{}", self.id, self.story(at));
            self.report.violations.push(Violation { law, story });
        }
    }

    /// The changes about the one that is wrong, and what the clients were told meanwhile.
    fn story(&self, at: usize) -> String {
        let Case { history, answers } = self.case;
        let about = at.saturating_sub(4)..history.len().min(at + 5);
        let begin = history.get(about.start).map_or(Time::MIN, |it| it.at);
        let end = history.get(about.end).map_or(Time::MAX, |it| it.at);
        let mark = |nth| if nth == at { '>' } else { ' ' };
        let changes = about.map(|nth| (history[nth].at, format!("{} {}", mark(nth), history[nth])));
        let told = answers.iter().filter(|it| (begin..end).contains(&it.received));
        let told = told.map(|answer| (answer.received, format!("    {answer}")));
        let mut lines: Vec<_> = changes.chain(told).collect();
        lines.sort_by_key(|line| line.0);
        let line = |(time, line)| format!("\n{:>6} ms {line}", (time - begin.max(0)) / 1000);
        let moments = history.get(at).map(|it| format!("\n{:?}\n{:?}", it.before, it.after));
        lines.into_iter().map(line).chain(moments).collect()
    }
}

impl Change {
    /// The request whose payload came in: one that was not there before.
    fn mark(&self) -> Option<&str> {
        let mark = &self.after.as_ref()?.task.payload().mark;
        let task = self.before.as_ref().map(|before| &before.task);
        let previous = task.and_then(|task| Some(task.previous()?.payload));
        let mut held = task.map(Task::payload).into_iter().chain(previous);
        held.all(|held| held.mark != *mark).then_some(mark)
    }

    /// The request that it was made for, as far as the store tells.
    fn request(&self) -> Option<&str> {
        match &self.by {
            Actor::Client(Some(request)) => Some(request),
            _ => self.mark(),
        }
    }

    fn has(&self, operation: Operation) -> bool {
        self.operations.contains(&operation)
    }
}

impl Moment {
    /// Tests if the task is to be stopped: a request holds until a client queues the task again.
    fn is_to_stop(&self) -> bool {
        let Some(Beside { stop: Some(stop), queued_run, .. }) = self.beside else { return false };
        self.task.status().is_active() && !queued_run.is_after(stop)
    }
}

impl Display for Change {
    fn fmt(&self, f: &mut Formatter) -> fmt::Result {
        let loaded = self.loaded.map(Revision::get);
        write!(f, "{:?} of {loaded:?} by {:?}: ", self.operations, self.by)?;
        let Some(Moment { task, .. }) = &self.after else { return f.write_str("gone") };
        let (revision, run, state) = (task.revision(), task.run(), task.state());
        write!(f, "{revision}, run {run}, {state}, {:?}", task.payload().mark)
    }
}

impl Display for Answer {
    fn fmt(&self, f: &mut Formatter) -> fmt::Result {
        let Self { client, request, asked, named, told, sent, received } = self;
        let (named, millis) = (named.map(Revision::get), (received - sent) / 1000);
        let told: String = format!("{told:?}").chars().take(80).collect();
        write!(f, "{client} asked {asked:?} of {named:?} in {request:?}: {told} after {millis} ms")
    }
}
