//! The laws of answers: a history explains what every client was told.

use std::collections::HashMap;

use task_lifecycle::{Operation, Revision};

use super::{Actor, Answer, Asked, Case, Change, Judge, Moment, Time, Told, law};

impl Judge<'_> {
    pub(super) fn judge_answers(&mut self) {
        let view = View::new(self.case);
        for answer in &self.case.answers {
            self.judge_answer(&view, answer);
        }
        self.judge_authors(&view);
        self.judge_sights(&view);
    }

    /// An answer is true.
    fn judge_answer(&mut self, view: &View, answer: &Answer) {
        let (floor, place) = (view.floor(answer.sent), view.place(answer));
        let was = |held: &dyn Fn(&Moment) -> bool| view.was(answer, &|it| it.is_some_and(held));
        let (law, is_true, figure) = match &answer.told {
            Told::Shown(revision, status, _) => {
                let sight = (*revision, *status);
                let was_so = was(&|it| (it.task.revision(), it.task.status()) == sight);
                (law::SEEN, was_so, "answers that show a task")
            }
            Told::Made(_) => {
                let place = place.filter(|at| *at > floor && view.since[*at] <= answer.received);
                let change = place.and_then(|place| self.case.history.get(place - 1));
                (law::YES, change.is_some_and(|change| is_of(change, answer)), "yes")
            }
            Told::Noted => (law::YES, was(&Moment::is_to_stop), "yes, it is to stop"),
            Told::Refused(status) => {
                let is_refused = match answer.asked {
                    Asked::Step(operation) => !status.accepts(operation),
                    Asked::Stop => status.is_completed(),
                    Asked::Show | Asked::Create => false,
                };
                let was_so = was(&|it| it.task.status() == *status);
                (law::NO, is_refused && was_so, "no, for the status")
            }
            Told::Stale => {
                let was_another = view.was(answer, &|it| revision(it) != answer.named);
                (law::NO, was_another, "no, for the revision")
            }
            Told::Absent => (law::NO, view.was(answer, &|it| it.is_none()), "no, for it is gone"),
            Told::NotDone => (law::NO, true, "no, for want of time"),
            Told::Unknown => (law::NO, true, "without an answer"),
        };
        self.report.count(figure, 1_u64);
        self.require(place.unwrap_or(floor).saturating_sub(1), law, is_true, answer);
    }

    /// Each change of a client belongs to one who was told so, or who does not know.
    fn judge_authors(&mut self, view: &View) {
        self.report.count("⋯ and made", false);
        for (at, change) in self.case.history.iter().enumerate() {
            let answers = || self.case.answers.iter().filter(|it| is_of(change, it));
            let is_noted = |it: &Answer| it.told == Told::Noted && change.operations.is_empty();
            let is_claimed = answers().any(|it| view.place(it) == Some(at + 1) || is_noted(it));
            if is_claimed || !matches!(change.by, Actor::Client(_)) {
                continue;
            }
            // Who asked for it did so when it was not yet known.
            let may_be = |it: &Answer| it.told == Told::Unknown && view.floor(it.sent) <= at;
            self.report.count("⋯ and made", true);
            self.require(at, law::WANTED, answers().any(may_be), "");
        }
    }

    /// All clients see the same at a revision, and after a revert what was before the update.
    fn judge_sights(&mut self, view: &View) {
        let mut seen = HashMap::new();
        for answer in &self.case.answers {
            if let (Told::Shown(_, _, sight), Some(place)) = (&answer.told, view.place(answer)) {
                let is_same = seen.entry(place).or_insert(sight) == &sight;
                self.require(place - 1, law::SEEN, is_same, answer);
            }
        }
        let mut finished = None;
        self.report.count("reverts that clients compared", false);
        for (at, change) in self.case.history.iter().enumerate() {
            let is_update = |it: &Option<Moment>| it.as_ref().is_some_and(|it| it.task.is_update());
            let (was_update, is_update) = (is_update(&change.before), is_update(&change.after));
            if is_update && !was_update {
                finished = seen.get(&at);
            }
            let is_revert = was_update && !is_update && !change.has(Operation::Succeed);
            if let (true, Some(was), Some(is)) = (is_revert, finished, seen.get(&(at + 1))) {
                let what = format!("clients saw {was}\nand then {is}");
                self.require(at, law::REVERTED, was == is, what);
                self.report.count("reverts that clients compared", true);
            }
        }
    }
}

/// A history as its clients see it. A *place* is the number of changes that had been made.
struct View<'a> {
    case: &'a Case,
    /// When each place was reached, at the earliest.
    since: Vec<Time>,
    /// The place of each revision, `None` being that the task is gone.
    places: HashMap<Option<Revision>, usize>,
    /// The places that clients knew of, and when.
    known: Vec<(Time, usize)>,
}

impl<'a> View<'a> {
    fn new(case: &'a Case) -> Self {
        let (mut since, mut places) = (vec![Time::MIN], HashMap::new());
        for change in &case.history {
            places.insert(revision(change.after.as_ref()), since.len());
            since.push(change.at.max(since[since.len() - 1]));
        }
        let mut view = Self { case, since, places, known: Vec::new() };
        let told = case.answers.iter().filter_map(|it| Some((it.received, view.place(it)?)));
        view.known = told.collect();
        view
    }

    /// Finds the place at which the client saw the task, or to which it changed it.
    fn place(&self, answer: &Answer) -> Option<usize> {
        let revision = match &answer.told {
            Told::Shown(revision, ..) => Some(*revision),
            Told::Made(revision) => *revision,
            _ => return None,
        };
        self.places.get(&revision).copied()
    }

    /// The first place that an answer to this request can be about: what somebody knew before.
    fn floor(&self, sent: Time) -> usize {
        let known = self.known.iter().filter(|(told, _)| *told < sent);
        known.map(|(_, place)| *place).max().unwrap_or_default()
    }

    /// Tests if this held of the task at some time between request and answer.
    fn was(&self, answer: &Answer, held: &dyn Fn(Option<&Moment>) -> bool) -> bool {
        let moment = |place: usize| self.case.history[place.checked_sub(1)?].after.as_ref();
        let mut places = self.floor(answer.sent)..self.since.len();
        places.any(|place| self.since[place] <= answer.received && held(moment(place)))
    }
}

fn revision(task: Option<&Moment>) -> Option<Revision> {
    task.map(|it| it.task.revision())
}

/// Tests if the change is what the client asked for. One that leaves no mark in the task may be
/// another's: whoever wanted the same and finds it holds it for theirs.
fn is_of(change: &Change, answer: &Answer) -> bool {
    let is_it = match (answer.asked, change.operations.as_slice()) {
        (Asked::Create, []) => change.before.is_none(),
        (Asked::Stop, []) => change.before.is_some(),
        (Asked::Stop, [Operation::Cancel]) => true,
        (Asked::Step(operation), [made]) => operation == *made,
        _ => false,
    };
    let is_found = matches!(answer.told, Told::Made(_)) && change.mark().is_none();
    is_it
        && matches!(change.by, Actor::Client(_))
        && (is_found || change.request().is_none_or(|request| request == answer.request))
        && answer.named.is_none_or(|named| change.loaded == Some(named))
}
