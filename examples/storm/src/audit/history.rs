//! The laws of histories: those of the machine, and of how it is embedded.

use std::collections::{HashMap, HashSet};

use task_lifecycle::{Event, Operation, Previous, Run, Snapshot, State, Status, Task};

use super::{Actor, Beside, Change, Judge, Moment, Payload, Time, law};

impl Judge<'_> {
    pub(super) fn judge_history(&mut self) {
        let (mut owners, mut requests) = (HashMap::new(), HashSet::new());
        let mut last: Option<&Moment> = None;
        for (at, change) in self.case.history.iter().enumerate() {
            let (before, after) = (change.before.as_ref(), change.after.as_ref());
            let task = |moment: &Moment| Moment { beside: None, ..moment.clone() };
            let is_next = (at == 0 || last.is_some()) && before.map(task) == last.map(task);
            let is_current = before.map(|it| it.revision) == change.loaded;
            self.require(at, law::CHAIN, is_next && is_current, "");
            let is_once = change.request().is_none_or(|request| requests.insert(request));
            self.require(at, law::ONCE, is_once, "");
            if let Some(before) = before {
                let owner = owners.get(&before.run).copied();
                let step = Step { at, change, before, after, owner };
                self.judge_step(&step);
                if let Some(beside) = &before.beside {
                    self.judge_run(&step, beside);
                    self.judge_lease(&step, beside);
                    self.judge_attempts(&step, beside);
                    self.judge_stop(&step, beside);
                }
                if let (Some(run), Actor::Worker(name)) = (step.taken(), &change.by) {
                    let lease = after.and_then(|it| it.beside.as_ref()?.lease);
                    owners.insert(run, (name.as_str(), lease));
                }
            } else {
                let begin = after.map(|it| (it.revision.get(), it.run.get(), it.state));
                self.require(at, law::STEP, begin == Some((0, 0, State::NEW)), "");
            }
            last = after;
        }
        let is_settled = last.is_none_or(|it| it.beside.is_none() || it.status().is_completed());
        let end = self.case.history.len();
        self.require(end.saturating_sub(1), law::SETTLED, is_settled, "");
        self.report.count("changes", end as u64);
    }

    /// Asks the machine what the operations make of the task. A payload is `None` where only the
    /// program knows it, for it edited or updated.
    fn judge_step(&mut self, step: &Step) {
        let Step { at, change, before, after, .. } = *step;
        let previous = before.previous.as_ref().zip(before.state.previous());
        let mut task = Task::try_from(Snapshot {
            status: before.status(),
            revision: before.revision,
            run: before.run,
            payload: Some(&before.payload),
            previous: previous.map(|(it, status)| Previous { status, payload: Some(it) }),
        })
        .expect("its state is one of nine");
        let steps = after.map_or(1, |after| after.revision.since(before.revision));
        let operations = change.operations.len() as u64;
        if steps > operations {
            task.edit(|payload| *payload = None);
        }
        let mut reverted = false;
        for event in change.operations.iter().filter_map(|it| Event::new(*it, None)) {
            match task.apply(event) {
                Ok(made) => reverted |= made.reverted(),
                Err(refused) => self.require(at, law::STEP, false, refused),
            }
        }
        self.report.count("reverts, each exact", reverted);
        self.report.count("runs queued again", change.has(Operation::Retry));
        let Some(after) = after else {
            let is_deleted = change.has(Operation::Delete) && task.check(Operation::Delete).is_ok();
            return self.require(at, law::STEP, is_deleted, "");
        };
        let is_counted = steps >= operations.max(1) && steps < u64::MAX / 2;
        let is_step = is_counted && task.state() == after.state && task.run() == after.run;
        self.require(at, law::STEP, is_step, "");
        let is = |payload: Option<&Payload>, found: &Payload| payload.is_none_or(|it| it == found);
        let is_kept = is(*task.payload(), &after.payload)
            && match (task.previous(), &after.previous) {
                (Some(previous), Some(after)) => is(*previous.payload, after),
                (previous, after) => previous.is_none() && after.is_none(),
            };
        self.require(at, if reverted { law::REVERTED } else { law::KEPT }, is_kept, "");
    }

    /// A worker has the message of a run that it takes, and has taken what it ends, unless the lease
    /// of who had is over.
    fn judge_run(&mut self, step: &Step, beside: &Beside) {
        let Step { at, change, before, owner, .. } = *step;
        if let Actor::Worker(_) = change.by {
            let is_delivered = beside.lease.is_some() || beside.deliveries > 0;
            let is_right = is_delivered && before.status().is_active();
            self.require(at, law::FENCED, is_right, "");
        }
        let is_taken_away = step.ends_run() && !step.is_by_owner();
        self.report.count("runs ended by others than their workers", is_taken_away);
        let is_over = matches!(change.by, Actor::Worker(_)) && beside.lease <= Some(change.at);
        let what = format!("the run was {owner:?}'s");
        self.require(at, law::OWNED, is_over || !is_taken_away, what);
    }

    /// A message waits until a lease follows it, and nobody renews another's.
    fn judge_lease(&mut self, step: &Step, before: &Beside) {
        let is_held = |task: &Moment| {
            task.beside.as_ref().is_none_or(|beside| match task.status() {
                Status::Starting => beside.has_message && beside.lease.is_none(),
                Status::Processing => beside.lease.is_some(),
                _ => beside.lease.is_none(),
            })
        };
        let is_right = is_held(step.before) && step.after.is_none_or(is_held);
        let renewed = step.owner.filter(|owner| before.lease > owner.1).map(|owner| owner.0);
        let is_own = renewed.is_none_or(|name| name != self.rules.hung);
        self.require(step.at, law::HELD, is_right && is_own, "");
        let is_hung = step.ends_run() && step.owner.is_some_and(|it| it.0 == self.rules.hung);
        self.report.count("runs whose leases were renewed", step.ends_run() && renewed.is_some());
        self.report.count("runs of a worker that hung", is_hung);
    }

    /// An expired lease is counted, and nothing else. (Whose own lease is over may give the run
    /// back, which is not counted, or sweep it.)
    fn judge_attempts(&mut self, step: &Step, before: &Beside) {
        let Step { at, change, .. } = *step;
        let Some((task, after)) = step.after.and_then(|it| Some((it, it.beside.as_ref()?))) else {
            return;
        };
        let (lapses, is_update) = (after.attempts.wrapping_sub(before.attempts), step.is_update());
        let is_right = match lapses {
            _ if is_update => after.attempts == 0,
            0 => !step.ends_run() || step.is_by_owner(),
            1 => step.ends_run() && before.lease.is_some_and(|lease| lease <= change.at),
            _ => false,
        };
        let is_given_up = lapses == 1 && change.has(Operation::Fail);
        let is_due = lapses == 1 && after.attempts >= self.rules.attempts;
        let is_right = is_right && (is_given_up == is_due || step.before.is_to_stop());
        let queued = if is_update { task.run } else { before.queued_run };
        self.require(at, law::ATTEMPTS, is_right && after.queued_run == queued, "");
        self.report.count("expired leases", lapses == 1);
        self.report.count("updates given up at the limit", is_given_up);
    }

    /// A request that holds is obeyed by the next who does more than edit, and nobody else is
    /// stopped.
    fn judge_stop(&mut self, step: &Step, before: &Beside) {
        let Step { at, change, before: was, after, .. } = *step;
        let (is_asked, stops) = (was.is_to_stop(), change.has(Operation::Cancel));
        let is_stopped = stops && matches!(change.by, Actor::Worker(_));
        let is_obeyed = !is_asked || stops || change.operations.is_empty();
        self.require(at, law::STOPPED, is_obeyed && (is_asked || !is_stopped), "");
        self.report.count("stop requests obeyed", is_stopped);
        let Some(after) = after.and_then(|it| it.beside.as_ref()) else { return };
        let is_new = after.stop == Some(was.run)
            && was.status().is_active()
            && matches!(change.by, Actor::Client(_));
        let is_right = match after.stop {
            None => before.stop.is_none() || step.is_update(),
            Some(_) => is_new || after.stop == before.stop && !step.is_update(),
        };
        self.require(at, law::STOPPED, is_right, "");
    }
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
    fn is_update(&self) -> bool {
        self.change.has(Operation::Update)
    }

    /// The run that has a worker from now on.
    fn taken(&self) -> Option<Run> {
        let after = self.after.filter(|it| it.status() == Status::Processing)?;
        let is_same = self.before.status() == Status::Processing && after.run == self.before.run;
        (!is_same).then_some(after.run)
    }

    /// Tests if a worker's run is over with this change.
    fn ends_run(&self) -> bool {
        let is_on = |it: &Moment| it.status() == Status::Processing && it.run == self.before.run;
        is_on(self.before) && !self.after.is_some_and(is_on)
    }

    fn is_by_owner(&self) -> bool {
        matches!(&self.change.by, Actor::Worker(name) if self.owner.is_some_and(|it| it.0 == name))
    }
}
