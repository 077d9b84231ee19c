//! The laws of histories: those of the machine, and of how it is embedded.

use std::collections::{HashMap, HashSet};

use task_lifecycle::{Event, Operation, Previous, Run, Snapshot, State, Status, Task};

use super::{Actor, Beside, Change, Judge, Law, Moment, Payload, Time};

pub const REVERTS: &str = "reverts, each exact";
pub const TAKEN_AWAY: &str = "runs ended by others than their workers";
pub const RENEWED: &str = "runs whose leases were renewed";
pub const EXPIRED: &str = "expired leases";
pub const GIVEN_UP: &str = "updates given up at the limit";
pub const STOPPED: &str = "stop requests obeyed";

impl Judge<'_> {
    pub(super) fn judge_history(&mut self) {
        let (mut owners, mut marks) = (HashMap::new(), HashSet::new());
        let mut last: Option<&Moment> = None;
        for (at, change) in self.case.history.iter().enumerate() {
            let replaced = change.before.as_ref();
            let task = |moment: &Moment| Moment { beside: None, ..moment.clone() };
            self.require(at, Law::Gone, at == 0 || last.is_some(), "");
            self.require(at, Law::Chain, replaced.map(|it| it.revision) == change.loaded, "");
            self.require(at, Law::Counted, replaced.map(task) == last.map(task), "");
            if let Some(before) = replaced {
                let (after, owner) = (change.after.as_ref(), owners.get(&before.run).copied());
                let step = Step { at, change, before, after, owner };
                self.judge_step(&step);
                self.judge_run(&step);
                if let Some(beside) = &before.beside {
                    self.judge_attempts(&step, beside);
                    self.judge_stop(&step, beside);
                }
                if let (Some(run), Actor::Worker(name, _)) = (step.taken(), &change.by) {
                    owners.insert(run, (name.as_str(), lease(after)));
                }
            } else {
                let begin =
                    change.after.as_ref().map(|it| (it.revision.get(), it.run.get(), it.state));
                self.require(at, Law::Step, begin == Some((0, 0, State::NEW)), "");
            }
            let is_once = change.mark().is_none_or(|mark| marks.insert(mark));
            self.require(at, Law::Once, is_once, "");
            last = change.after.as_ref();
        }
        let is_stuck = last.is_some_and(|last| last.state.status().is_active());
        let end = self.case.history.len();
        self.require(end.saturating_sub(1), Law::Settled, !(self.rules.is_calm && is_stuck), "");
        self.report.count("changes", end);
    }

    /// Asks the machine what the operations make of the task. A payload is `None` where only the
    /// program knows it, for it edited or updated.
    fn judge_step(&mut self, step: &Step) {
        let Step { at, change, before, after, .. } = *step;
        let previous = before.previous.as_ref().zip(before.state.previous());
        let Ok(mut task) = Task::try_from(Snapshot {
            status: before.state.status(),
            revision: before.revision,
            run: before.run,
            payload: Some(&before.payload),
            previous: previous.map(|(it, status)| Previous { status, payload: Some(it) }),
        }) else {
            return;
        };
        let steps = after.map_or(1, |after| after.revision.since(before.revision));
        let operations = change.operations.len() as u64;
        if steps > operations {
            task.edit(|payload| *payload = None);
        }
        let mut reverted = false;
        for event in change.operations.iter().filter_map(|it| Event::new(*it, None)) {
            match task.apply(event) {
                Ok(made) => reverted |= made.reverted(),
                Err(refused) => self.require(at, Law::Step, false, refused),
            }
        }
        self.report.count(REVERTS, reverted.into());
        let Some(after) = after else {
            let is_deleted = step.has(Operation::Delete) && task.check(Operation::Delete).is_ok();
            return self.require(at, Law::Step, is_deleted, "");
        };
        self.require(at, Law::Step, task.state() == after.state, "");
        let is_counted = steps >= operations.max(1) && steps < u64::MAX / 2;
        self.require(at, Law::Counted, is_counted && task.run() == after.run, "");
        let is = |payload: Option<&Payload>, found: &Payload| payload.is_none_or(|it| it == found);
        let is_kept = is(*task.payload(), &after.payload)
            && match (task.previous(), &after.previous) {
                (Some(previous), Some(after)) => is(*previous.payload, after),
                (previous, after) => previous.is_none() && after.is_none(),
            };
        self.require(at, if reverted { Law::Reverted } else { Law::Kept }, is_kept, "");
    }

    /// A worker holds the run that it acts for, and has taken what it ends, unless the lease of who
    /// had is over.
    fn judge_run(&mut self, step: &Step) {
        let Step { at, change, before, after, owner } = *step;
        if let Actor::Worker(_, held) = &change.by {
            let is_current = before.run == *held && before.state.status().is_active();
            self.require(at, Law::Fenced, is_current, "");
        }
        if step.ends_run() && !step.is_by_owner() {
            let lease = before.beside.as_ref().map(|beside| beside.lease);
            let is_over = match (&change.by, lease) {
                (Actor::Sweeper, None) => true,
                (Actor::Sweeper | Actor::Worker(..), Some(Some(lease))) => lease <= change.at,
                (Actor::Sweeper | Actor::Worker(..) | Actor::Client(_) | Actor::Stranger, _) => {
                    false
                }
            };
            self.require(at, Law::Owned, is_over, format!("the run was {owner:?}'s"));
            self.report.count(TAKEN_AWAY, 1);
        }
        let is_renewed = owner.is_some_and(|owner| lease(Some(before)) > owner.1);
        self.report.count(RENEWED, usize::from(step.ends_run() && is_renewed));
        if let Some((after, beside)) = after.and_then(|it| Some((it, it.beside.as_ref()?))) {
            let is_at_work = after.state.status() == Status::Processing;
            self.require(at, Law::Leased, beside.lease.is_some() == is_at_work, "");
        }
    }

    /// An expired lease is counted, and nothing else. (Whose own lease is over may give the run
    /// back, which is not counted, or sweep it.)
    fn judge_attempts(&mut self, step: &Step, before: &Beside) {
        let at = step.at;
        let Some((task, after)) = step.after.and_then(|it| Some((it, it.beside.as_ref()?))) else {
            return;
        };
        let lapses = after.attempts.wrapping_sub(before.attempts);
        let is_right = match lapses {
            _ if step.has(Operation::Update) => after.attempts == 0,
            0 => !step.ends_run() || step.is_by_owner(),
            1 => step.ends_run() && before.lease.is_some_and(|lease| lease <= step.change.at),
            _ => false,
        };
        let queued = if step.has(Operation::Update) { task.run } else { before.queued_run };
        self.require(at, Law::Attempts, is_right && after.queued_run == queued, "");
        if lapses == 1 && !is_to_stop(step.before) {
            let is_given_up = step.has(Operation::Fail);
            let is_due = after.attempts >= self.rules.attempts;
            self.require(at, Law::Attempts, is_given_up == is_due, "");
            self.report.count(GIVEN_UP, is_given_up.into());
        }
        self.report.count(EXPIRED, usize::from(lapses == 1));
    }

    /// A request that holds is obeyed by the next who does more than edit, and nobody else is
    /// stopped.
    fn judge_stop(&mut self, step: &Step, before: &Beside) {
        let Step { at, change, before: was, after, .. } = *step;
        let (is_asked, stops) = (is_to_stop(was), step.has(Operation::Cancel));
        let is_by_client = matches!(change.by, Actor::Client(_));
        let is_stopped = stops && (step.was_processing() || !is_by_client);
        let is_obeyed = !is_asked || stops || change.operations.is_empty();
        self.require(at, Law::Stopped, is_obeyed && (is_asked || !is_stopped), "");
        self.report.count(STOPPED, is_stopped.into());
        let Some(after) = after.and_then(|it| it.beside.as_ref()) else { return };
        let is_new = after.stop == Some(was.run) && was.state.status().is_active() && is_by_client;
        let is_right = match after.stop {
            None => before.stop.is_none() || step.has(Operation::Update),
            Some(_) => is_new || after.stop == before.stop && !step.has(Operation::Update),
        };
        self.require(at, Law::Stopped, is_right, "");
    }
}

fn lease(task: Option<&Moment>) -> Option<Time> {
    task?.beside.as_ref()?.lease
}

/// Tests if the task is to be stopped: a request holds until a client queues the task again.
pub(super) fn is_to_stop(task: &Moment) -> bool {
    let Some(Beside { stop: Some(stop), queued_run, .. }) = task.beside else { return false };
    task.state.status().is_active() && !queued_run.is_after(stop)
}

/// A change of a task that there was.
struct Step<'a> {
    at: usize,
    change: &'a Change,
    before: &'a Moment,
    after: Option<&'a Moment>,
    /// The name of the one that took the run, and its lease then.
    owner: Option<(&'a str, Option<Time>)>,
}

impl Step<'_> {
    fn has(&self, operation: Operation) -> bool {
        self.change.operations.contains(&operation)
    }

    fn was_processing(&self) -> bool {
        self.before.state.status() == Status::Processing
    }

    /// The run that somebody works on afterwards.
    fn run_after(&self) -> Option<Run> {
        let after = self.after.filter(|after| after.state.status() == Status::Processing);
        after.map(|after| after.run)
    }

    /// The run that has a worker from now on.
    fn taken(&self) -> Option<Run> {
        self.run_after().filter(|run| !self.was_processing() || *run != self.before.run)
    }

    /// Tests if a worker's run is over with this change.
    fn ends_run(&self) -> bool {
        self.was_processing() && self.run_after() != Some(self.before.run)
    }

    fn is_by_owner(&self) -> bool {
        matches!(&self.change.by, Actor::Worker(name, _) if self.owner.is_some_and(|it| it.0 == name))
    }
}
