//! The laws of answers: a history explains what every client was told.

use std::collections::HashMap;

use task_lifecycle::{Operation, Revision};

use super::history::is_to_stop;
use super::{Actor, Answer, Asked, Case, Change, Judge, Law, Moment, Time, Told};

pub const UNKNOWN: &str = "without an answer";
pub const MADE: &str = "⋯ and made";
pub const COMPARED: &str = "reverts that clients compared";

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
        let was = |held: &dyn Fn(Option<&Moment>) -> bool| view.was(answer, held);
        let (law, is_true, figure) = match &answer.told {
            Told::Shown(revision, status, _) => {
                let is_it = |it: &Moment| it.revision == *revision && it.state.status() == *status;
                (Law::Seen, was(&|it| it.is_some_and(is_it)), "answers that show a task")
            }
            Told::Made(_) => {
                let in_time = |at: &usize| *at > floor && view.since[*at] <= answer.received;
                let place = place.filter(in_time);
                let change = place.and_then(|place| self.case.history.get(place - 1));
                // Another's request to stop the same run is as good as one's own.
                let is_found = answer.asked == Asked::Stop && was(&|it| it.is_some_and(is_to_stop));
                (Law::Yes, is_found || change.is_some_and(|change| is_of(change, answer)), "yes")
            }
            Told::Refused(status) => {
                let is_refused = match answer.asked {
                    Asked::Step(operation) => !status.accepts(operation),
                    Asked::Stop => status.is_completed(),
                    Asked::Show | Asked::Create | Asked::Edit => false,
                };
                let is_it = |it: &Moment| it.state.status() == *status;
                (Law::No, is_refused && was(&|it| it.is_some_and(is_it)), "no, for the status")
            }
            Told::Stale => {
                let is_another = |it: Option<&Moment>| it.map(|it| it.revision) != answer.named;
                (Law::No, was(&is_another), "no, for the revision")
            }
            Told::Absent => (Law::No, was(&|it| it.is_none()), "no, for it is gone"),
            Told::NotDone => (Law::No, true, "no, for want of time"),
            Told::Unknown => (Law::No, true, UNKNOWN),
        };
        self.report.count(figure, 1);
        self.require(place.unwrap_or(floor).saturating_sub(1), law, is_true, answer);
    }

    /// Each change of a client belongs to one who was told so, or who does not know, and is the only
    /// one of whoever asked for it.
    fn judge_authors(&mut self, view: &View) {
        let mut unclaimed = HashMap::<_, usize>::new();
        for (at, change) in self.case.history.iter().enumerate() {
            let answers = || self.case.answers.iter().filter(|it| is_of(change, it));
            let told: Vec<_> = answers().filter(|it| view.place(it) == Some(at + 1)).collect();
            // Nothing tells a cancel or a delete from another's: whoever finds it holds it for theirs.
            self.require(at, Law::Once, told.len() < 2 || change.mark().is_none(), "");
            if told.is_empty() && matches!(change.by, Actor::Client(_)) {
                let key = (&change.operations, request(change));
                // Each needs a request of its own, sent when it was not yet known.
                let may_be = |it: &&Answer| it.told == Told::Unknown && view.floor(it.sent) <= at;
                let before = unclaimed.entry(key).or_default();
                *before += 1;
                let is_wanted = answers().filter(may_be).count() >= *before;
                self.report.count(MADE, 1);
                self.require(at, Law::Wanted, is_wanted, "");
            }
        }
    }

    /// All clients see the same at a revision, and after a revert what was before the update.
    fn judge_sights(&mut self, view: &View) {
        let mut seen = HashMap::new();
        for answer in &self.case.answers {
            if let (Told::Shown(_, _, sight), Some(place)) = (&answer.told, view.place(answer)) {
                let is_same = seen.entry(place).or_insert(sight) == &sight;
                self.require(place - 1, Law::Seen, is_same, answer);
            }
        }
        let mut finished = None;
        let is_update = |it: &Option<Moment>| it.as_ref().is_some_and(|it| it.state.is_update());
        for (at, change) in self.case.history.iter().enumerate() {
            match (is_update(&change.before), is_update(&change.after)) {
                (false, true) => finished = seen.get(&at),
                (true, false) if !change.operations.contains(&Operation::Succeed) => {
                    if let (Some(was), Some(is)) = (finished, seen.get(&(at + 1))) {
                        self.report.count(COMPARED, 1);
                        let what = format!("clients saw {was}\nand then {is}");
                        self.require(at, Law::Reverted, was == is, what);
                    }
                }
                _ => {}
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
    /// From when on somebody knew of a place, each later than the one before.
    known: Vec<(Time, usize)>,
}

impl<'a> View<'a> {
    fn new(case: &'a Case) -> Self {
        let (mut since, mut places) = (vec![Time::MIN], HashMap::new());
        for change in &case.history {
            places.insert(change.after.as_ref().map(|it| it.revision), since.len());
            since.push(change.at.max(since[since.len() - 1]));
        }
        let mut view = Self { case, since, places, known: Vec::new() };
        let told = case.answers.iter().filter_map(|it| Some((it.received, view.place(it)?)));
        let mut known: Vec<_> = told.collect();
        known.sort_unstable();
        let mut newest = 0;
        known.retain(|(_, place)| {
            *place > newest && {
                newest = *place;
                true
            }
        });
        view.known = known;
        view
    }

    /// Finds the place at which the client saw the task, or to which it changed it.
    fn place(&self, answer: &Answer) -> Option<usize> {
        let revision = match &answer.told {
            Told::Shown(revision, ..) => Some(*revision),
            Told::Made(revision) => *revision,
            _ => return None,
        };
        let place = self.places.get(&revision).copied()?;
        let is_own = || request(&self.case.history[place - 1]) == Some(&answer.request);
        (answer.asked != Asked::Stop || is_own()).then_some(place)
    }

    /// The first place that an answer to this request can be about: what somebody knew before.
    fn floor(&self, sent: Time) -> usize {
        let known = self.known.partition_point(|(told, _)| *told < sent);
        known.checked_sub(1).map_or(0, |last| self.known[last].1)
    }

    /// Tests if this held of the task at some time between request and answer.
    fn was(&self, answer: &Answer, held: &dyn Fn(Option<&Moment>) -> bool) -> bool {
        let moment = |place: usize| self.case.history[place.checked_sub(1)?].after.as_ref();
        let mut places = self.floor(answer.sent)..self.since.len();
        places.any(|place| self.since[place] <= answer.received && held(moment(place)))
    }
}

/// The request that a change was made for, as far as the store tells.
fn request(change: &Change) -> Option<&str> {
    match &change.by {
        Actor::Client(request) => request.as_deref().or(change.mark()),
        Actor::Worker(..) | Actor::Sweeper | Actor::Stranger => None,
    }
}

/// Tests if the change is what the client asked for. One that it may not have made, it has found.
fn is_of(change: &Change, answer: &Answer) -> bool {
    let is_it = match (answer.asked, change.operations.as_slice()) {
        (Asked::Create, []) => change.before.is_none(),
        (Asked::Edit | Asked::Stop, []) => change.before.is_some(),
        (Asked::Stop, [Operation::Cancel]) => true,
        (Asked::Step(operation), [made]) => operation == *made,
        _ => false,
    };
    let is_found = matches!(answer.told, Told::Made(_)) && change.mark().is_none();
    is_it
        && matches!(change.by, Actor::Client(_))
        && (is_found || request(change).is_none_or(|request| request == answer.request))
        && answer.named.is_none_or(|named| change.loaded == Some(named))
}
