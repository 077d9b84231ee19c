//! Whether a history explains what every client was told.

use std::collections::HashMap;

use task_lifecycle::{Operation, Revision};

use super::{Actor, Answer, Asked, Case, Change, Fault, Law, Moment, Report, Time, Told};

pub(super) fn judge(case: &Case, faults: &mut Vec<Fault>, report: &mut Report) {
    let mut since = vec![Time::MIN];
    for change in &case.history {
        since.push(change.at.max(since[since.len() - 1]));
    }
    let places = case.history.iter().enumerate();
    let places = places.map(|(at, it)| (it.after.as_ref().map(|it| it.revision), at + 1)).collect();
    let mut view = View { case, since, places, known: Vec::new() };
    view.known = view.known();
    for answer in &case.answers {
        view.explains(answer, faults, report);
    }
    view.belong(faults, report);
    view.look_alike(faults, report);
}

/// A history as its clients see it. A *place* is the number of changes that had been made.
struct View<'a> {
    case: &'a Case,
    /// When each place was reached, at the earliest.
    since: Vec<Time>,
    /// Where the task was at a revision, `None` being that it is gone.
    places: HashMap<Option<Revision>, usize>,
    /// From when on somebody knew of a place, each later than the one before.
    known: Vec<(Time, usize)>,
}

impl View<'_> {
    fn known(&self) -> Vec<(Time, usize)> {
        let told = self.case.answers.iter().filter_map(|it| Some((it.received, self.place(it)?)));
        let mut told: Vec<_> = told.collect();
        told.sort_unstable();
        let mut newest = 0;
        told.retain(|(_, place)| {
            let is_newer = *place > newest;
            newest = newest.max(*place);
            is_newer
        });
        told
    }

    /// Where the task was when the client saw or changed it.
    fn place(&self, answer: &Answer) -> Option<usize> {
        match &answer.told {
            Told::Shown(revision, ..) => self.places.get(&Some(*revision)).copied(),
            Told::Made(revision) | Told::Found(revision) => self.places.get(revision).copied(),
            Told::Refused(_) | Told::Stale | Told::Absent | Told::NotDone | Told::Unknown => None,
        }
    }

    /// The first place that an answer to this request can be about: what somebody knew before.
    fn floor(&self, sent: Time) -> usize {
        let known = self.known.partition_point(|(told, _)| *told < sent);
        known.checked_sub(1).map_or(0, |last| self.known[last].1)
    }

    fn moment(&self, place: usize) -> Option<&Moment> {
        self.case.history[place.checked_sub(1)?].after.as_ref()
    }

    /// Whether this held of the task at some time between request and answer.
    fn was(&self, answer: &Answer, held: impl Fn(Option<&Moment>) -> bool) -> bool {
        let mut places = self.floor(answer.sent)..self.since.len();
        places.any(|at| self.since[at] <= answer.received && held(self.moment(at)))
    }

    /// Whether the answer was true.
    fn explains(&self, answer: &Answer, faults: &mut Vec<Fault>, report: &mut Report) {
        let floor = self.floor(answer.sent);
        let place = self.place(answer);
        let (law, is_true, figure) = match &answer.told {
            Told::Shown(revision, status, _) => {
                let is_it = |it: &Moment| it.revision == *revision && it.state.status() == *status;
                (
                    Law::Seen,
                    self.was(answer, |it| it.is_some_and(is_it)),
                    "answers that show a task",
                )
            }
            Told::Made(_) | Told::Found(_) => {
                let change = place.and_then(|place| self.case.history.get(place - 1));
                let is_made =
                    change.is_some_and(|change| is_of(change, answer)) && place > Some(floor);
                (Law::Yes, is_made, "yes")
            }
            Told::Refused(status) => {
                let refuses = |it: Option<&Moment>| {
                    it.is_some_and(|it| it.state.status() == *status && refuses(it, answer.asked))
                };
                (Law::No, self.was(answer, refuses), "no, for the status")
            }
            Told::Stale => {
                let moved = |it: Option<&Moment>| it.map(|it| it.revision) != answer.named;
                (Law::No, self.was(answer, moved), "no, for the revision")
            }
            Told::Absent => (Law::No, self.was(answer, |it| it.is_none()), "no, for it is gone"),
            Told::NotDone => (Law::No, true, "no, for want of time"),
            Told::Unknown => (Law::No, true, UNKNOWN),
        };
        report.count(figure, 1);
        if !is_true {
            let at = place.unwrap_or(floor).saturating_sub(1);
            let what = format!("at {floor} changes or later: {answer}");
            faults.push(Fault { at, law, what });
        }
    }

    /// Whether each change of a client belongs to one who was told so, or does not know; and is the
    /// only one of whoever asked for it.
    fn belong(&self, faults: &mut Vec<Fault>, report: &mut Report) {
        let mut unclaimed = HashMap::<_, Vec<usize>>::new();
        for (at, change) in self.case.history.iter().enumerate() {
            let asked = self.case.answers.iter().filter(|it| self.place(it) == Some(at + 1));
            let told = asked.filter(|it| is_of(change, it)).collect::<Vec<_>>();
            let alone = told.iter().filter(|it| matches!(it.told, Told::Made(_))).count();
            // Two who find a task gone, or reverted, hold it for theirs: nothing tells them apart.
            if alone > 1 || told.len() > 1 && change.mark().is_some() {
                let what = format!("{} clients were told that it is theirs", told.len());
                faults.push(Fault { at, law: Law::Once, what });
            }
            if told.is_empty() && matches!(change.by, Actor::Client(_)) {
                let key = (change.operations.clone(), request(change));
                unclaimed.entry(key).or_default().push(at);
            }
        }
        for changes in unclaimed.into_values() {
            // Each needs a request of its own without an answer, sent when it was not yet known.
            for (before, at) in changes.into_iter().enumerate() {
                let change = &self.case.history[at];
                let may_be = |it: &&Answer| {
                    it.told == Told::Unknown && is_of(change, it) && self.floor(it.sent) <= at
                };
                report.count(MADE, 1);
                if self.case.answers.iter().filter(may_be).count() <= before {
                    let what = "whoever asked for it was told no, or nobody did".to_owned();
                    faults.push(Fault { at, law: Law::Wanted, what });
                }
            }
        }
    }

    /// Whether all clients saw the same at a revision, and after a revert what was before the update.
    fn look_alike(&self, faults: &mut Vec<Fault>, report: &mut Report) {
        let mut seen = HashMap::new();
        for answer in &self.case.answers {
            let (Told::Shown(_, _, sight), Some(place)) = (&answer.told, self.place(answer)) else {
                continue;
            };
            if *seen.entry(place).or_insert(sight) != sight {
                let what = format!("others saw {}: {answer}", seen[&place]);
                faults.push(Fault { at: place - 1, law: Law::Seen, what });
            }
        }
        let mut finished = None;
        for (at, change) in self.case.history.iter().enumerate() {
            let is_update =
                |it: &Option<Moment>| it.as_ref().is_some_and(|it| it.state.is_update());
            match (is_update(&change.before), is_update(&change.after)) {
                (false, true) => finished = seen.get(&at),
                (true, false) if !change.operations.contains(&Operation::Succeed) => {
                    if let (Some(was), Some(is)) = (finished, seen.get(&(at + 1))) {
                        report.count(COMPARED, 1);
                        if was != is {
                            let what = format!("clients saw {was}, and then {is}");
                            faults.push(Fault { at, law: Law::Reverted, what });
                        }
                    }
                }
                _ => {}
            }
        }
    }
}

/// The request that a change was made for, as far as the store tells.
fn request(change: &Change) -> Option<&str> {
    match &change.by {
        Actor::Client(Some(request)) => Some(request),
        Actor::Client(None) => change.mark(),
        Actor::Worker(..) | Actor::Sweeper | Actor::Stranger => None,
    }
}

/// Whether the change is what the client asked for.
fn is_of(change: &Change, answer: &Answer) -> bool {
    let operations = change.operations.as_slice();
    let is_it = match answer.asked {
        Asked::Show => false,
        Asked::Create => change.before.is_none(),
        Asked::Edit => operations.is_empty() && change.before.is_some(),
        Asked::Stop => matches!(operations, [] | [Operation::Cancel]),
        Asked::Step(operation) => operations == [operation],
    };
    is_it
        && matches!(change.by, Actor::Client(_))
        && (request(change).is_none_or(|request| request == answer.request)
            // Equal to what it wanted, and another's.
            || matches!(answer.told, Told::Found(_)) && change.mark().is_none())
        && answer.named.is_none_or(|named| change.loaded == Some(named))
}

/// Whether a task in this state refuses.
fn refuses(task: &Moment, asked: Asked) -> bool {
    let status = task.state.status();
    match asked {
        Asked::Show | Asked::Edit => false,
        Asked::Create => true,
        Asked::Stop => status.is_completed(),
        Asked::Step(operation) => !status.accepts(operation),
    }
}

pub const UNKNOWN: &str = "without an answer";
pub const MADE: &str = "⋯ and made";
pub const COMPARED: &str = "reverts that clients compared";
