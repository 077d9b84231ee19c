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

pub use answers::{COMPARED, MADE};
pub use history::{EXPIRED, GIVEN_UP, RENEWED, REVERTS, STOPPED, TAKEN_AWAY};

use std::collections::BTreeMap;
use std::fmt::{self, Display, Formatter, Write as _};

use task_lifecycle::{Operation, Revision, Run, State, Status};

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
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Moment {
    pub revision: Revision,
    pub run: Run,
    pub state: State,
    pub payload: Payload,
    pub previous: Option<Payload>,
    /// Absent where a store keeps tasks alone.
    pub beside: Option<Beside>,
}

/// The part of a task's row that does not revert.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Beside {
    /// The run that a client queued last; those since are repeats of it.
    pub queued_run: Run,
    /// The leases of the current update that have expired.
    pub attempts: u64,
    /// The run of which somebody asked to stop.
    pub stop: Option<Run>,
    pub lease: Option<Time>,
}

/// The author of a change.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Actor {
    /// Someone who is owed an answer; and the name of the request, where a store notes it.
    Client(Option<String>),
    /// Someone who acts for a run: the one that it holds.
    Worker(String, Run),
    /// Someone who ends runs that have no living worker.
    Sweeper,
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
    Edit,
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

/// Everything that is known of one task.
#[derive(Clone, Default, Debug)]
pub struct Case {
    pub history: Vec<Change>,
    pub answers: Vec<Answer>,
}

/// The expectations of an audit of all tasks.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    /// The number of expired leases that ends an update.
    pub attempts: u64,
    /// Set if there was time enough to end every run.
    pub is_calm: bool,
}

macro_rules! laws {
    ($($Law:ident $text:literal)*) => {
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
        pub enum Law { $(#[doc = $text] $Law),* }

        impl Display for Law {
            fn fmt(&self, f: &mut Formatter) -> fmt::Result {
                f.write_str(match self { $(Self::$Law => $text),* })
            }
        }
    };
}

laws! {
    Chain "a change is decided on what it replaces"
    Step "a change is a step of the machine, or an edit"
    Counted "a change counts the revision, and an operation that queues counts the run"
    Kept "a payload changes only by an edit or an update"
    Reverted "a revert brings back exactly what there was"
    Gone "what was deleted stays gone"
    Fenced "a worker acts only for the run that it holds"
    Owned "only who took a run ends it, unless its lease is over"
    Leased "a run has a lease from its start to its end"
    Attempts "exactly the expired leases are counted, up to the limit"
    Stopped "a stop request is obeyed, and touches no other update"
    Settled "nothing stays active when all is calm"
    Wanted "a client's change was asked for, and nobody who asked was told no"
    Once "a change is made once, and belongs to one client"
    Yes "what was acknowledged was made"
    No "what a refusal says was so while the client waited"
    Seen "what was shown was so, and is not older than what was known"
}

/// A law that was broken, and what led to it.
#[derive(Clone, Debug)]
pub struct Violation {
    pub law: Law,
    pub story: String,
}

/// The findings of an audit.
#[derive(Default, Debug)]
pub struct Report {
    /// Those of a task's history before those of what its clients were told.
    pub violations: Vec<Violation>,
    pub figures: BTreeMap<&'static str, u64>,
}

impl Report {
    pub fn count(&mut self, figure: &'static str, count: usize) {
        *self.figures.entry(figure).or_default() += count as u64;
    }
}

/// Judges all tasks, by their ids.
pub fn audit(rules: Rules, cases: &BTreeMap<String, Case>) -> Report {
    let mut report = Report::default();
    for (id, case) in cases {
        let mut judge = Judge { rules, id, case, report: &mut report };
        judge.judge_history();
        judge.judge_answers();
        judge.report.count("tasks", 1);
    }
    report
}

/// The judge of one task.
struct Judge<'a> {
    rules: Rules,
    id: &'a str,
    case: &'a Case,
    report: &'a mut Report,
}

impl Judge<'_> {
    /// Tells of a violation at the change of this number, unless it `is_so` as the law wants it.
    fn require(&mut self, at: usize, law: Law, is_so: bool, what: impl Display) {
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
        let mut text = String::new();
        for (time, line) in lines {
            let millis = (time - begin.max(0)) / 1000;
            _ = write!(text, "\n{millis:>6} ms {line}");
        }
        if let Some(Change { before, after, .. }) = history.get(at) {
            _ = write!(text, "\nbefore: {before:?}\nafter:  {after:?}");
        }
        text
    }
}

impl Change {
    /// The request that it brought in, if it brought one.
    fn mark(&self) -> Option<&str> {
        let mark = &self.after.as_ref()?.payload.mark;
        let before = self.before.iter();
        let held = before.flat_map(|it| [Some(&it.payload), it.previous.as_ref()]);
        held.flatten().all(|held| held.mark != *mark).then_some(mark)
    }
}

impl Display for Change {
    fn fmt(&self, f: &mut Formatter) -> fmt::Result {
        let steps = self.operations.iter().map(|it| it.as_str()).collect::<Vec<_>>().join(", ");
        let steps = match (steps.as_str(), &self.before) {
            ("", None) => "create",
            ("", Some(_)) => "edit",
            (steps, _) => steps,
        };
        let loaded = self.loaded.map_or("nothing".to_owned(), |loaded| loaded.to_string());
        write!(f, "{steps} of {loaded} by {:?}: ", self.by)?;
        match &self.after {
            Some(Moment { revision, run, state, payload, beside, .. }) => {
                write!(f, "{revision}, run {run}, {state}, {:?}", payload.mark)?;
                beside.as_ref().map_or(Ok(()), |beside| write!(f, ", {beside:?}"))
            }
            None => f.write_str("gone"),
        }
    }
}

impl Display for Answer {
    fn fmt(&self, f: &mut Formatter) -> fmt::Result {
        let Self { client, request, asked, named, told, sent, received } = self;
        write!(f, "{client} asked {asked:?} in {request:?}")?;
        named.iter().try_for_each(|named| write!(f, " of {named}"))?;
        let told: String = format!("{told:?}").chars().take(80).collect();
        write!(f, ", and was told {told} after {} ms", (received - sent) / 1000)
    }
}
