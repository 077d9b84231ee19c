//! Whether a history is one that the machine and the rules of embedding allow.

use std::collections::{HashMap, HashSet};

use task_lifecycle::{Event, Operation, Previous, Run, Snapshot, State, Status, Task};

use super::{Actor, Beside, Change, Fault, Law, Moment, Payload, Report, Rules};

pub(super) fn judge(
    rules: Rules,
    history: &[Change],
    faults: &mut Vec<Fault>,
    report: &mut Report,
) {
    let (mut owners, mut marks) = (HashMap::new(), HashSet::new());
    let mut last: Option<&Moment> = None;
    for (at, change) in history.iter().enumerate() {
        let mut found = Found { at, faults, report };
        found.require(at == 0 || last.is_some(), Law::Gone, || "it was deleted".to_owned());
        follows(last, change, &mut found);
        match &change.before {
            None => begins(change, &mut found),
            Some(before) => {
                let step = Step { change, before, after: change.after.as_ref() };
                step.is_legal(&mut found);
                step.is_of_its_run(&owners, &mut found);
                if let Some(beside) = &before.beside {
                    step.counts_attempts(rules, beside, &owners, &mut found);
                    step.obeys_stops(beside, &mut found);
                }
                if let (Some(run), Actor::Worker(name, _)) = (step.taken(), &change.by) {
                    owners.insert(run, name.as_str());
                }
            }
        }
        if let Some(mark) = change.mark() {
            let twice = || format!("{mark:?} is stored for the second time");
            found.require(marks.insert(mark), Law::Once, twice);
        }
        last = change.after.as_ref();
    }
    let stuck = last.filter(|last| rules.is_calm && last.state.status().is_active());
    let mut found = Found { at: history.len().saturating_sub(1), faults, report };
    found.require(stuck.is_none(), Law::Settled, || "its run was never ended".to_owned());
    found.report.count("changes", history.len());
}

/// Where faults go that are found in one change.
struct Found<'a> {
    at: usize,
    faults: &'a mut Vec<Fault>,
    report: &'a mut Report,
}

impl Found<'_> {
    fn require(&mut self, is_so: bool, law: Law, otherwise: impl FnOnce() -> String) {
        if !is_so {
            self.faults.push(Fault { at: self.at, law, what: otherwise() });
        }
    }
}

/// Whether it was decided on what it replaced, and replaced what the change before had left.
fn follows(last: Option<&Moment>, change: &Change, found: &mut Found) {
    let before = change.before.as_ref();
    let task = |moment: &Moment| Moment { beside: None, ..moment.clone() };
    let replaced = before.map(|before| before.revision);
    let loaded = change.loaded;
    found.require(replaced == loaded, Law::Chain, || {
        format!("decided on revision {loaded:?}, it replaced {replaced:?}")
    });
    found.require(before.map(task) == last.map(task), Law::Counted, || {
        format!("it replaced {before:?}, and no change had led there")
    });
}

fn begins(change: &Change, found: &mut Found) {
    let is_new = change.after.as_ref().is_some_and(|after| {
        (after.revision.get(), after.run.get(), after.state) == (0, 0, State::NEW)
    });
    found.require(is_new, Law::Step, || "it does not begin as a new task".to_owned());
}

/// Whether the task is to be stopped: a request holds until a client queues the task again.
fn is_to_stop(task: &Moment) -> bool {
    let is_asked =
        |beside: &Beside| beside.stop.is_some_and(|stop| !beside.queued_run.is_after(stop));
    task.state.status().is_active() && task.beside.as_ref().is_some_and(is_asked)
}

/// A change of a task that there was.
struct Step<'a> {
    change: &'a Change,
    before: &'a Moment,
    after: Option<&'a Moment>,
}

impl Step<'_> {
    fn has(&self, operation: Operation) -> bool {
        self.change.operations.contains(&operation)
    }

    fn was_processing(&self) -> bool {
        self.before.state.status() == Status::Processing
    }

    /// The run that has a worker from now on.
    fn taken(&self) -> Option<Run> {
        let after = self.after.filter(|after| after.state.status() == Status::Processing)?;
        (!self.was_processing() || after.run != self.before.run).then_some(after.run)
    }

    /// Whether a worker's run is over with this change.
    fn ends_run(&self) -> bool {
        let goes_on = |after: &Moment| {
            after.state.status() == Status::Processing && after.run == self.before.run
        };
        self.was_processing() && !self.after.is_some_and(goes_on)
    }

    fn is_by_owner(&self, owners: &HashMap<Run, &str>) -> bool {
        matches!(&self.change.by, Actor::Worker(name, run)
            if owners.get(run) == Some(&name.as_str()) && *run == self.before.run)
    }

    /// Asks the machine what the operations make of the task. What only the program knows, because
    /// it edited or updated, is `None`.
    fn is_legal(&self, found: &mut Found) {
        let Self { change, before, after } = *self;
        let previous = before.previous.as_ref().zip(before.state.previous());
        let snapshot = Snapshot {
            status: before.state.status(),
            revision: before.revision,
            run: before.run,
            payload: Some(&before.payload),
            previous: previous.map(|(it, status)| Previous { status, payload: Some(it) }),
        };
        let Ok(mut task) = Task::try_from(snapshot) else { return };
        let steps = after.map_or(1, |after| after.revision.since(before.revision));
        let operations = change.operations.len() as u64;
        if steps > operations {
            task.edit(|payload| *payload = None);
        }
        let mut reverted = false;
        for operation in &change.operations {
            if let Some(event) = Event::new(*operation, None) {
                match task.apply(event) {
                    Ok(made) => reverted |= made.reverted(),
                    Err(refused) => found.require(false, Law::Step, || refused.to_string()),
                }
            }
        }
        found.report.count(REVERTS, usize::from(reverted));
        let Some(after) = after else {
            let gone = task.check(Operation::Delete).is_ok() && self.has(Operation::Delete);
            return found.require(gone, Law::Step, || "nobody deleted it".to_owned());
        };
        found.require(task.state() == after.state, Law::Step, || {
            format!("the machine says {}, and it is {}", task.state(), after.state)
        });
        let is_counted = steps >= operations.max(1) && steps < u64::MAX / 2;
        found.require(is_counted && task.run() == after.run, Law::Counted, || {
            let (from, to) = ((before.revision, before.run), (after.revision, after.run));
            format!("from {from:?} to {to:?}")
        });
        let is = |payload: Option<&Payload>, found: &Payload| payload.is_none_or(|it| it == found);
        let is_kept = is(*task.payload(), &after.payload)
            && match (task.previous(), &after.previous) {
                (Some(previous), Some(after)) => is(*previous.payload, after),
                (previous, after) => previous.is_none() && after.is_none(),
            };
        let law = if reverted { Law::Reverted } else { Law::Kept };
        found.require(is_kept, law, || format!("{before:?}\nbecame {after:?}"));
    }

    /// Whether a worker held the run that it acted for, and had taken what it ended, unless the
    /// lease of who had was over.
    fn is_of_its_run(&self, owners: &HashMap<Run, &str>, found: &mut Found) {
        let Self { change, before, after } = self;
        if let Actor::Worker(_, held) = &change.by {
            let is_current = before.run == *held && before.state.status().is_active();
            found.require(is_current, Law::Fenced, || {
                format!("it held run {held}, of {} in run {}", before.state, before.run)
            });
        }
        let lease = before.beside.as_ref().map(|beside| beside.lease);
        if self.ends_run() && !self.is_by_owner(owners) {
            found.report.count(SWEPT, 1);
            let is_over = match (&change.by, lease) {
                (Actor::Sweeper, None) => true,
                (Actor::Sweeper | Actor::Worker(..), Some(Some(lease))) => lease <= change.at,
                (Actor::Sweeper | Actor::Worker(..) | Actor::Client(_) | Actor::Stranger, _) => {
                    false
                }
            };
            let owner = owners.get(&before.run);
            found.require(is_over, Law::Owned, || {
                format!("the run was {owner:?}'s, whose lease was {lease:?}")
            });
        }
        if let Some((after, beside)) = after.and_then(|it| Some((it, it.beside.as_ref()?))) {
            let is_leased = beside.lease.is_some() == (after.state.status() == Status::Processing);
            found.require(is_leased, Law::Leased, || format!("its lease is {:?}", beside.lease));
        }
    }

    /// Whether an expired lease was counted, and nothing else. (Whose own lease is over may give the
    /// run back, which is not counted, or be the one that sweeps it.)
    fn counts_attempts(
        &self,
        rules: Rules,
        before: &Beside,
        owners: &HashMap<Run, &str>,
        found: &mut Found,
    ) {
        let Some((task, after)) = self.after.and_then(|it| Some((it, it.beside.as_ref()?))) else {
            return;
        };
        let lapses = after.attempts.wrapping_sub(before.attempts);
        let is_over = before.lease.is_some_and(|lease| lease <= self.change.at);
        let is_counted = if self.has(Operation::Update) {
            after.attempts == 0 && after.queued_run == task.run
        } else if !self.ends_run() {
            lapses == 0 && after.queued_run == before.queued_run
        } else {
            let by_owner = self.is_by_owner(owners);
            let is_right = if lapses == 0 { by_owner } else { lapses == 1 && is_over };
            is_right && after.queued_run == before.queued_run
        };
        found.require(is_counted, Law::Attempts, || {
            format!("{} leases had expired since run {}", before.attempts, before.queued_run)
        });
        if lapses == 1 && !is_to_stop(self.before) {
            let is_given_up = self.has(Operation::Fail);
            found.require(is_given_up == (after.attempts >= rules.attempts), Law::Attempts, || {
                format!("after expired lease {} of {}", after.attempts, rules.attempts)
            });
            found.report.count(GIVEN_UP, usize::from(is_given_up));
        }
        found.report.count(EXPIRED, usize::from(lapses == 1));
    }

    /// Whether a request that holds is obeyed by the next who does more than edit, and no other
    /// task is stopped.
    fn obeys_stops(&self, before: &Beside, found: &mut Found) {
        let is_asked = is_to_stop(self.before);
        let stops = self.has(Operation::Cancel);
        let is_idle = self.change.operations.is_empty();
        found.require(!is_asked || stops || is_idle, Law::Stopped, || {
            "it was asked to stop, and goes on".to_owned()
        });
        let is_stopped =
            stops && (self.was_processing() || !matches!(self.change.by, Actor::Client(_)));
        found.require(!is_stopped || is_asked, Law::Stopped, || "nobody asked for it".to_owned());
        found.report.count(STOPPED, usize::from(is_stopped));
        let Some((task, after)) = self.after.and_then(|it| Some((it, it.beside.as_ref()?))) else {
            return;
        };
        let is_right = if self.has(Operation::Update) {
            after.stop.is_none()
        } else {
            let is_new =
                after.stop == Some(self.before.run) && self.before.state.status().is_active();
            after.stop == before.stop || is_new || task.state.status().is_completed()
        };
        found
            .require(is_right, Law::Stopped, || format!("the request is now for {:?}", after.stop));
    }
}

pub const REVERTS: &str = "reverts, each exact";
pub const GIVEN_UP: &str = "updates given up at the limit";
pub const EXPIRED: &str = "leases that expired";
pub const SWEPT: &str = "runs ended by others than their workers";
pub const STOPPED: &str = "stop requests obeyed";
