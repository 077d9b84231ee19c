//! The laws of histories: those of the machine, and of how it is embedded.

use std::collections::{HashMap, HashSet};

use task_lifecycle::{Event, Operation, Run, State, Status};

use super::{ATTEMPTS, Actor, Change, HUNG, Judge, Moment, Payload, Time, law};

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
            self.judge_step(at, change, before);
            let run = at_work(before);
            self.judge_run(at, change, run.and_then(|run| owners.get(&run).copied()));
            let taken = after.and_then(at_work).filter(|taken| run != Some(*taken));
            if let (Some(run), Actor::Worker(name)) = (taken, &change.by) {
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
    fn judge_step(&mut self, at: usize, change: &Change, before: &Moment) {
        let after = change.after.as_ref();
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

    /// Judges what lies beside the task, and who has its run: the owner took it, with this lease.
    fn judge_run(&mut self, at: usize, change: &Change, owner: Option<(&str, Option<Time>)>) {
        let Change { by, before: Some(before), after, .. } = change else { return };
        let Some(was) = &before.beside else { return };
        let worker = if let Actor::Worker(name) = by { Some(name.as_str()) } else { None };
        let is_over = was.lease.is_some_and(|lease| lease <= change.at);
        let run = at_work(before);
        let ends_run = run.is_some() && after.as_ref().and_then(at_work) != run;
        let is_by_owner = worker.is_some() && owner.map(|it| it.0) == worker;

        // A worker has the message of the run that it takes, and has taken what it ends, unless the
        // lease of who had is over.
        let is_told = was.lease.is_some() || was.deliveries > 0;
        let is_fenced = is_told && before.task.status().is_active();
        self.require(at, law::FENCED, worker.is_none() || is_fenced, "");
        let is_taken_away = ends_run && !is_by_owner;
        let is_owned = !is_taken_away || worker.is_some() && is_over;
        self.require(at, law::OWNED, is_owned, format!("the run was {owner:?}'s"));
        self.report.count("runs ended by others than their workers", is_taken_away);

        // A message waits until a lease follows it, and nobody renews another's.
        let renewed = owner.filter(|it| ends_run && was.lease > it.1).map(|it| it.0);
        let is_held = is_held(before) && after.as_ref().is_none_or(is_held);
        self.require(at, law::HELD, is_held && renewed != Some(HUNG), "");
        self.report.count("runs whose leases were renewed", renewed.is_some());
        let is_hung = ends_run && owner.is_some_and(|it| it.0 == HUNG);
        self.report.count("runs of a worker that hung", is_hung);

        // A request to stop is obeyed by the next who does more than edit, and nobody else is
        // stopped.
        let (is_asked, is_cancel) = (before.is_to_stop(), change.has(Operation::Cancel));
        let is_stopped = is_cancel && worker.is_some();
        let is_obeyed = !is_asked || is_cancel || change.operations.is_empty();
        self.require(at, law::STOPPED, is_obeyed && (is_asked || !is_stopped), "");
        self.report.count("stop requests obeyed", is_stopped);

        let Some(Moment { task, beside: Some(now) }) = after else { return };
        if change.has(Operation::Update) {
            let is_new = now.attempts == 0 && now.queued_run == task.run();
            self.require(at, law::ATTEMPTS, is_new, "");
            return self.require(at, law::STOPPED, now.stop.is_none(), "");
        }
        let is_new = matches!(by, Actor::Client(_)) && before.task.status().is_active();
        let is_asked_now = is_new && now.stop == Some(before.task.run());
        self.require(at, law::STOPPED, is_asked_now || now.stop == was.stop, "");

        // An expired lease is counted, and nothing else. (Whose own lease is over may give the run
        // back, which is not counted, or sweep it.)
        let lapses = now.attempts.wrapping_sub(was.attempts);
        let is_expired = lapses == 1 && ends_run && is_over;
        let is_counted = is_expired || lapses == 0 && !is_taken_away;
        let is_given_up = lapses == 1 && change.has(Operation::Fail);
        let is_due = lapses == 1 && now.attempts >= ATTEMPTS;
        let is_right = is_counted && (is_given_up == is_due || is_asked);
        self.require(at, law::ATTEMPTS, is_right && now.queued_run == was.queued_run, "");
        self.report.count("expired leases", lapses == 1);
        self.report.count("updates given up at the limit", is_given_up);
    }
}

/// The run that somebody works on.
fn at_work(moment: &Moment) -> Option<Run> {
    (moment.task.status() == Status::Processing).then(|| moment.task.run())
}

fn is_held(Moment { task, beside }: &Moment) -> bool {
    let Some(beside) = beside else { return true };
    let has_message = task.status() != Status::Starting || beside.has_message;
    has_message && beside.lease.is_some() == (task.status() == Status::Processing)
}
