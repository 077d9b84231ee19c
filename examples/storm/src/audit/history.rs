//! The laws of histories: those of the machine, and of how it is embedded.

use std::collections::{HashMap, HashSet};

use task_lifecycle::{Event, Operation, Run, State, Status};

use super::{ATTEMPTS, Actor, Beside, Change, HUNG, Judge, Moment, Payload, Time, law};

impl Judge<'_> {
    pub(super) fn judge_history(&mut self) {
        let (mut owners, mut requests) = (HashMap::new(), HashSet::new());
        let mut last: Option<&Moment> = None;
        for (at, change) in self.case.history.iter().enumerate() {
            let (before, after) = (change.before.as_ref(), change.after.as_ref());
            let is_next = before.map(|it| &it.task) == last.map(|it| &it.task);
            let is_current = before.map(|it| it.task.revision()) == change.loaded;
            self.require(at, law::CHAIN, is_next && is_current && (at == 0 || last.is_some()), "");
            let is_once = change.request().is_none_or(|request| requests.insert(request));
            self.require(at, law::ONCE, is_once, "");
            last = after;
            let Some(before) = before else {
                let begin = after.map(|it| (it.task.revision().get(), it.task.state()));
                self.require(at, law::STEP, begin == Some((0, State::NEW)), "");
                continue;
            };
            let owner = owners.get(&before.task.run()).copied();
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
        }
        let is_settled = |it: &Moment| it.beside.is_none() || it.task.status().is_completed();
        let end = self.case.history.len();
        self.require(end.saturating_sub(1), law::SETTLED, last.is_none_or(is_settled), "");
        self.report.count("changes", end as u64);
    }

    /// Asks the machine what the operations make of the task. A payload is `None` where only the
    /// program knows it, for it edited or updated.
    fn judge_step(&mut self, step: &Step) {
        let Step { at, change, before, after, .. } = *step;
        let mut task = before.task.clone().map(Some);
        let steps = after.map_or(1, |after| after.task.revision().since(task.revision()));
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
        let Some(Moment { task: after, .. }) = after else {
            let is_deleted = change.has(Operation::Delete) && task.check(Operation::Delete).is_ok();
            return self.require(at, law::STEP, is_deleted, "");
        };
        let is_counted = steps >= operations.max(1) && steps < u64::MAX / 2;
        let is_step = is_counted && task.state() == after.state() && task.run() == after.run();
        self.require(at, law::STEP, is_step, "");
        let is = |it: &Option<Payload>, found| it.as_ref().is_none_or(|it| it == found);
        let previous = task.previous().zip(after.previous());
        let is_kept = is(task.payload(), after.payload())
            && previous.is_none_or(|(it, found)| is(it.payload, found.payload));
        self.require(at, if reverted { law::REVERTED } else { law::KEPT }, is_kept, "");
    }

    /// A worker has the message of a run that it takes, and has taken what it ends, unless the lease
    /// of who had is over.
    fn judge_run(&mut self, step: &Step, beside: &Beside) {
        let Step { at, change, before, owner, .. } = *step;
        if let Actor::Worker(_) = change.by {
            let is_delivered = beside.lease.is_some() || beside.deliveries > 0;
            let is_right = is_delivered && before.task.status().is_active();
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
            task.beside.as_ref().is_none_or(|beside| match task.task.status() {
                Status::Starting => beside.has_message && beside.lease.is_none(),
                Status::Processing => beside.lease.is_some(),
                _ => beside.lease.is_none(),
            })
        };
        let is_right = is_held(step.before) && step.after.is_none_or(is_held);
        let renewed = step.owner.filter(|owner| before.lease > owner.1).map(|owner| owner.0);
        let is_own = renewed.is_none_or(|name| name != HUNG);
        self.require(step.at, law::HELD, is_right && is_own, "");
        let is_hung = step.ends_run() && step.owner.is_some_and(|it| it.0 == HUNG);
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
        let is_due = lapses == 1 && after.attempts >= ATTEMPTS;
        let is_right = is_right && (is_given_up == is_due || step.before.is_to_stop());
        let queued = if is_update { task.task.run() } else { before.queued_run };
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
        let is_new = after.stop == Some(was.task.run())
            && was.task.status().is_active()
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
        at_work(self.after?).filter(|run| at_work(self.before) != Some(*run))
    }

    /// Tests if a worker's run is over with this change.
    fn ends_run(&self) -> bool {
        at_work(self.before).is_some_and(|run| self.after.and_then(at_work) != Some(run))
    }

    fn is_by_owner(&self) -> bool {
        matches!(&self.change.by, Actor::Worker(name) if self.owner.is_some_and(|it| it.0 == name))
    }
}

/// The run that somebody works on.
fn at_work(moment: &Moment) -> Option<Run> {
    (moment.task.status() == Status::Processing).then(|| moment.task.run())
}
