//! A history that an honest program makes passes, and each way to break one is found by its law.

use proptest::collection::vec;
use proptest::prelude::*;
use task_lifecycle::strategy::{self, Aim};
use task_lifecycle::{Draft, Event, Snapshot, State};

use super::Operation::{Cancel, Delete, Fail, Retry, Start, Succeed, Update};
use super::*;

const LEASE: Time = 1000;

/// An honest program with one task, as short as it can be told.
struct Play {
    task: Option<Task<Payload>>,
    beside: Beside,
    now: Time,
    case: Case,
}

impl Play {
    fn new() -> Self {
        let beside = Beside { has_message: true, deliveries: 1, ..Beside::default() };
        let task = Some(Task::new(payload("request 0")));
        let mut play = Self { task, beside, now: 0, case: Case::default() };
        play.log(Actor::Client(None), &[], None);
        play.tell(Asked::Create, 0, Told::Made(Some(Revision::new(0))));
        play
    }

    fn moment(&self) -> Option<Moment> {
        Some(Moment { task: self.task.clone()?, beside: Some(self.beside.clone()) })
    }

    fn log(&mut self, by: Actor, operations: &[Operation], before: Option<Moment>) {
        let (at, operations, after) = (self.now, operations.to_vec(), self.moment());
        let loaded = before.as_ref().map(|it| it.task.revision());
        self.case.history.push(Change { at, by, loaded, operations, before, after });
        self.now += 10;
    }

    fn tell(&mut self, asked: Asked, number: usize, told: Told) {
        let (client, request) = ("client".to_owned(), format!("request {number}"));
        let (sent, received, named) = (self.now - 15, self.now, None);
        self.case.answers.push(Answer { client, request, asked, named, sent, received, told });
        self.now += 20;
    }

    /// Decides and commits, with what lies beside the task. A client's edit is a stop request.
    fn act(&mut self, by: Actor, edit: &str, operations: &[Operation]) {
        let (before, number) = (self.moment(), self.case.history.len());
        let mut draft = Draft::new(self.task.take().expect("a task"));
        if !edit.is_empty() || operations.is_empty() {
            draft.edit(|it| it.digest.push_str(edit));
        }
        for step in operations {
            if let Some(event) = Event::new(*step, payload(&format!("request {number}"))) {
                draft.apply(event).expect("it is accepted");
            }
        }
        let beside = &mut self.beside;
        match (operations, &by) {
            ([], Actor::Client(_)) => beside.stop = Some(draft.run()),
            ([Update], _) => {
                (beside.queued_run, beside.attempts, beside.stop) = (draft.run(), 0, None);
            }
            ([Retry | Fail], Actor::Worker(name)) if name == "sweeper" => beside.attempts += 1,
            _ => {}
        }
        beside.lease = (draft.status() == Status::Processing).then_some(self.now + LEASE);
        self.task = Some(draft.into_task()).filter(|_| operations != [Delete]);
        self.log(by, operations, before);
    }

    /// Does what somebody wants next, if an honest program can do it; else shows the task.
    fn step(&mut self, step: Operation, luck: u8) {
        let number = self.case.history.len();
        let Some(now) = self.moment() else { return self.tell(Asked::Show, 0, Told::Absent) };
        let (task, status) = (&now.task, now.task.status());
        let is_at_work = status == Status::Processing;
        let owner = worker(&task.run().to_string());
        match step {
            Cancel | Update | Delete => {
                let told = if status.accepts(step) {
                    self.act(Actor::Client(None), "", &[step]);
                    Told::Made(self.task.as_ref().map(Task::revision))
                } else {
                    Told::Refused(status)
                };
                self.tell(Asked::Step(step), number, if luck > 3 { told } else { Told::Unknown });
            }
            _ if !status.accepts(step) => {
                let sight = task.payload().digest.clone();
                self.tell(Asked::Show, 0, Told::Shown(task.revision(), status, sight));
            }
            _ if luck == 7 => self.act(Actor::Stranger, "!", &[]),
            _ if is_at_work && luck == 0 => {
                self.act(Actor::Client(Some(format!("request {number}"))), "", &[]);
                self.tell(Asked::Stop, number, Told::Noted);
            }
            _ if is_at_work && now.is_to_stop() => self.act(owner, "", &[Retry, Cancel]),
            Retry if luck > 1 => {
                let is_last = self.beside.attempts + 1 == ATTEMPTS;
                self.now += 2 * LEASE;
                self.act(worker("sweeper"), "", &[if is_last { Fail } else { Retry }]);
            }
            _ => self.act(owner, if step == Start { "" } else { "+" }, &[step]),
        }
    }
}

/// A life with everything in it. Change 0 and answer 0 are its creation.
#[rustfmt::skip]
const SCRIPT: &[(Operation, u8)] = &[
    (Succeed, 1), //               shown: answer 1
    (Start, 1), (Cancel, 9), //    change 1, refused: answer 2
    (Succeed, 1), (Succeed, 1), // change 2, shown: answer 3
    (Update, 9), //                change 3, answer 4
    (Start, 1), (Retry, 2), //     changes 4, 5: swept
    (Start, 1), (Retry, 0), //     changes 6, 7: asked to stop, answer 5
    (Succeed, 1), (Succeed, 1), // change 8: stopped, shown: answer 6
    (Update, 9), //                change 9, answer 7
    (Cancel, 1), (Succeed, 1), //  change 10, not told: answer 8, shown: answer 9
    (Update, 9), //                change 11, answer 10
    (Start, 1), (Succeed, 7), //   changes 12, 13: edited by hand
    (Fail, 1), (Delete, 9), //     changes 14, 15, answer 11
    (Succeed, 1), //               shown: answer 12
];

fn play<'a>(steps: impl IntoIterator<Item = &'a (Operation, u8)>) -> Play {
    let mut play = Play::new();
    steps.into_iter().for_each(|(step, luck)| play.step(*step, *luck));
    play
}

fn judge(case: Case) -> Vec<Violation> {
    let mut report = Report::default();
    audit(&mut report, &BTreeMap::from([("one".to_owned(), case)]));
    report.violations
}

proptest! {
    #[test]
    fn prop_what_an_honest_program_makes_passes(
        events in strategy::history(State::NEW, Aim::Racing, 0..60, 0..1_u8),
        luck in vec(0..8_u8, 60),
    ) {
        let steps: Vec<_> = events.iter().map(Event::operation).zip(luck).collect();
        let mut play = play(&steps);
        play.step(Cancel, 9);
        play.step(Fail, 1); // of what is at work
        let found = judge(play.case);
        prop_assert!(found.is_empty(), "{}", found[0].story);
    }
}

/// Changes a moment, which is the end of one change and the beginning of the next.
fn moment(case: &mut Case, change: usize, fault: impl Fn(&mut Snapshot<Payload>, &mut Beside)) {
    let fault = |it: &mut Option<Moment>| {
        let Moment { task, beside } = it.as_mut().expect("a task");
        let mut stored = Snapshot::from(task.clone());
        fault(&mut stored, beside.as_mut().expect("what lies beside it"));
        *task = stored.try_into().expect("a task");
    };
    fault(&mut case.history[change].after);
    if let Some(next) = case.history.get_mut(change + 1) {
        fault(&mut next.before);
    }
}

/// One more answer, told late.
fn other(case: &mut Case, answer: usize, told: Told) {
    let at = case.answers[answer].received + 1;
    case.answers.push(Answer { told, sent: at, received: at, ..case.answers[answer].clone() });
}

fn payload(mark: &str) -> Payload {
    Payload { mark: mark.to_owned(), digest: mark.to_owned() }
}

fn worker(name: &str) -> Actor {
    Actor::Worker(name.to_owned())
}

/// A fault, the law that it breaks first, and how it is made.
type Break = (&'static str, &'static str, fn(&mut Case));

#[rustfmt::skip]
const BREAKS: &[Break] = &[
    ("a commit whatever the revision is",    law::CHAIN,    |it| it.history[5].loaded = Some(Revision::new(0))),
    ("a change that is not in the history",  law::CHAIN,    |it| { it.history.remove(13); }),
    ("a deleted task comes back",            law::CHAIN,    |it| { let back = it.history[0].clone(); it.history.push(back); }),
    ("an update made twice",                 law::ONCE,     |it| moment(it, 9, |it, _| it.payload = payload("request 3"))),
    ("a start of what is Processing",        law::STEP,     |it| it.history[13].operations = vec![Start]),
    ("a delete of an active task",           law::STEP,     |it| { it.history.truncate(5); (it.history[4].operations, it.history[4].after) = (vec![Delete], None); }),
    ("a revert that restores the revision",  law::STEP,     |it| moment(it, 10, |it, _| it.revision = Revision::new(7))),
    ("two operations that are counted once", law::STEP,     |it| moment(it, 8, |it, _| it.revision = Revision::new(9))),
    ("a retry that keeps the run",           law::STEP,     |it| moment(it, 5, |it, _| it.run = Run::new(1))),
    ("a start that changes the payload",     law::KEPT,     |it| moment(it, 1, |it, _| it.payload.digest.push('!'))),
    ("a revert that keeps the new payload",  law::REVERTED, |it| moment(it, 10, |it, _| it.payload = payload("request 9"))),
    ("a revert that clients see as another", law::REVERTED, |it| it.answers[9].told = Told::Shown(Revision::new(12), Status::Succeeded, "cut".to_owned())),
    ("a start without its message",          law::FENCED,   |it| moment(it, 5, |_, it| it.deliveries = 0)),
    ("a result of another worker's run",     law::OWNED,    |it| it.history[2].by = worker("another")),
    ("a living run is swept",                law::OWNED,    |it| it.history[5].at -= 2 * LEASE),
    ("a message acknowledged too early",     law::HELD,     |it| moment(it, 3, |_, it| it.has_message = false)),
    ("a lease that another renews",          law::HELD,     |it| { it.history[12].by = worker("hung"); moment(it, 13, |_, it| it.lease = Some(9999)); it.history.truncate(15); it.history[14].by = worker("hung"); }),
    ("an expired lease is not counted",      law::ATTEMPTS, |it| moment(it, 5, |_, it| it.attempts = 0)),
    ("an update given up too early",         law::ATTEMPTS, |it| { it.history.truncate(6); it.history[5].operations = vec![Fail]; moment(it, 5, |it, _| { let was = it.previous.take().unwrap(); (it.status, it.payload, it.run) = (was.status, was.payload, Run::new(1)); }); }),
    ("a stop that nobody asked for",         law::STOPPED,  |it| moment(it, 7, |_, it| it.stop = None)),
    ("a stop request hits the next update",  law::STOPPED,  |it| moment(it, 9, |_, it| it.stop = Some(Run::new(4)))),
    ("a stop request that nobody obeys",     law::STOPPED,  |it| { it.history.truncate(9); it.history[8].operations = vec![Retry]; let was = Snapshot::from(it.history[5].after.clone().unwrap().task); moment(it, 8, |it, _| (it.status, it.payload, it.previous) = (was.status, was.payload.clone(), was.previous.clone())); }),
    ("a run that is never ended",            law::SETTLED,  |it| { it.history.truncate(14); it.answers.truncate(11); }),
    ("a cancel that nobody asked for",       law::WANTED,   |it| { it.answers.remove(8); }),
    ("a time-out counted as no",             law::WANTED,   |it| it.answers[8].told = Told::Refused(Status::Succeeded)),
    ("a time-out counted as yes",            law::YES,      |it| other(it, 8, Told::Made(Some(Revision::new(99))))),
    ("a yes of what was long known",         law::YES,      |it| other(it, 4, Told::Made(Some(Revision::new(4))))),
    ("a yes before its change",              law::YES,      |it| { it.answers.swap(0, 7); (it.answers[0].sent, it.answers[0].received) = (60, 61); }),
    ("a stop request that is lost",          law::YES,      |it| { other(it, 3, Told::Noted); }),
    ("a no in a status that accepts",        law::NO,       |it| it.answers[2].told = Told::Refused(Status::Starting)),
    ("a no that was true long ago",          law::NO,       |it| other(it, 9, Told::Refused(Status::Processing))),
    ("stale, but it is as it was named",     law::NO,       |it| { other(it, 3, Told::Stale); it.answers.last_mut().unwrap().named = Some(Revision::new(3)); }),
    ("a read of an old copy",                law::SEEN,     |it| { let old = it.answers[1].told.clone(); it.answers[6].told = old; }),
    ("two sights of one revision",           law::SEEN,     |it| other(it, 3, Told::Shown(Revision::new(3), Status::Succeeded, "other".to_owned()))),
];

#[test]
fn each_break_is_found_by_its_law() {
    assert!(judge(play(SCRIPT).case).is_empty());
    for (name, law, fault) in BREAKS {
        let mut case = play(SCRIPT).case;
        fault(&mut case);
        let found = judge(case);
        let stories = found.iter().map(|it| it.story.as_str()).collect::<String>();
        assert_eq!(found.first().map(|it| it.law), Some(*law), "{name}:\n{stories}");
    }
}
