//! A history that an honest program makes passes, and each way to break one is found by its law.

use proptest::collection::vec;
use proptest::prelude::*;
use task_lifecycle::strategy::{self, Aim};
use task_lifecycle::{Draft, Event, Task};

use super::Operation::{Cancel, Delete, Fail, Retry, Start, Succeed, Update};
use super::*;

const RULES: Rules = Rules { attempts: 2, hung: "hung" };
const LEASE: Time = 1000;

/// An honest program with one task, as short as it can be told.
struct Play {
    task: Option<Task<Payload>>,
    beside: Beside,
    owner: String,
    now: Time,
    case: Case,
}

impl Play {
    fn new() -> Self {
        let (queued_run, attempts, stop, lease) = (Run::new(0), 0, None, None);
        let beside = Beside { queued_run, attempts, stop, lease, has_message: true, deliveries: 1 };
        let (task, owner) = (Some(Task::new(payload("request 0"))), String::new());
        let mut play = Self { task, beside, owner, now: 0, case: Case::default() };
        play.log(Actor::Client(None), &[], None);
        play.tell(Asked::Create, 0, Told::Made(Some(Revision::new(0))));
        play
    }

    fn draft(&self) -> Draft<Payload> {
        Draft::new(self.task.clone().expect("a task"))
    }

    fn moment(&self) -> Option<Moment> {
        let (task, beside) = (self.task.as_ref()?, Some(self.beside.clone()));
        let (payload, previous) = (task.payload().clone(), task.previous());
        let previous = previous.map(|it| it.payload.clone());
        let (revision, run, state) = (task.revision(), task.run(), task.state());
        Some(Moment { revision, run, state, payload, previous, beside })
    }

    fn log(&mut self, by: Actor, operations: &[Operation], before: Option<Moment>) {
        let (at, operations, after) = (self.now, operations.to_vec(), self.moment());
        let loaded = before.as_ref().map(|it| it.revision);
        self.case.history.push(Change { at, by, loaded, operations, before, after });
        self.now += 10;
    }

    fn tell(&mut self, asked: Asked, number: usize, told: Told) {
        let (client, request) = ("client".to_owned(), format!("request {number}"));
        let (sent, received, named) = (self.now - 15, self.now, None);
        self.case.answers.push(Answer { client, request, asked, named, sent, received, told });
        self.now += 20;
    }

    fn show(&mut self) {
        let told = self.task.as_ref().map_or(Told::Absent, |task| {
            Told::Shown(task.revision(), task.status(), task.payload().digest.clone())
        });
        self.tell(Asked::Show, 0, told);
    }

    /// Decides and commits, with what lies beside the task. A client's edit is a stop request.
    fn act(&mut self, by: Actor, edit: &str, operations: &[Operation]) {
        let (mut draft, before) = (self.draft(), self.moment());
        let new = payload(&format!("request {}", self.case.history.len()));
        if !edit.is_empty() || operations.is_empty() {
            draft.edit(|it| it.digest.push_str(edit));
        }
        for event in operations.iter().filter_map(|it| Event::new(*it, new.clone())) {
            draft.apply(event).expect("it is accepted");
        }
        let beside = &mut self.beside;
        match (operations, &by) {
            ([], Actor::Client(_)) => beside.stop = Some(draft.run()),
            ([Update], _) => {
                (beside.queued_run, beside.attempts, beside.stop) = (draft.run(), 0, None);
            }
            ([Retry | Fail], Actor::Worker(name)) if name == "sweeper" => beside.attempts += 1,
            ([Start], Actor::Worker(name)) => self.owner.clone_from(name),
            _ => {}
        }
        beside.lease = (draft.status() == Status::Processing).then_some(self.now + LEASE);
        self.task = Some(draft.into_task()).filter(|_| operations != [Delete]);
        self.log(by, operations, before);
    }

    /// Asks, and is told or not.
    fn client(&mut self, asked: Asked, is_told: bool) {
        let (number, status) = (self.case.history.len(), self.draft().status());
        let operations = if let Asked::Step(it) = &asked { std::slice::from_ref(it) } else { &[] };
        let mut told = Told::Refused(status);
        if operations.iter().all(|operation| status.accepts(*operation)) {
            let noted = (asked == Asked::Stop).then(|| format!("request {number}"));
            self.act(Actor::Client(noted), "", operations);
            told = Told::Made(self.task.as_ref().map(Task::revision));
        }
        let told = if asked == Asked::Stop { Told::Noted } else { told };
        self.tell(asked, number, if is_told { told } else { Told::Unknown });
    }

    fn worker(&mut self, edit: &str, operations: &[Operation]) {
        let name = match self.draft().status() {
            Status::Processing => self.owner.clone(),
            _ => format!("worker {}", self.case.history.len() % 3),
        };
        self.act(Actor::Worker(name), edit, operations);
    }

    fn sweep(&mut self) {
        self.now += 2 * LEASE;
        let is_last = self.beside.attempts + 1 == RULES.attempts;
        self.act(worker("sweeper"), "", &[if is_last { Fail } else { Retry }]);
    }

    /// Does what somebody wants next, if an honest program can do it.
    fn step(&mut self, operation: Operation, luck: u8) {
        let (status, is_to_stop) =
            (self.draft().status(), self.moment().is_some_and(|it| it.is_to_stop()));
        match (operation, status) {
            (Cancel | Update | Delete, _) => self.client(Asked::Step(operation), luck > 3),
            _ if !status.accepts(operation) => self.show(),
            (_, Status::Processing) if luck == 0 => self.client(Asked::Stop, true),
            (_, Status::Processing) if is_to_stop => self.worker("", &[Retry, Cancel]),
            (Retry, _) if luck > 1 => self.sweep(),
            (Fail, Status::Starting) => self.client(Asked::Step(Cancel), true),
            _ => self.worker("+", &[operation]),
        }
    }

    /// A life with everything in it.
    #[rustfmt::skip]
    fn script() -> Case {
        let mut play = Self::new();
        play.show(); //                            answer 1
        play.worker("", &[Start]); //              change 1
        play.client(Asked::Step(Cancel), true); // answer 2, refused
        play.worker("+", &[Succeed]); //           change 2
        play.show(); //                            answer 3
        play.client(Asked::Step(Update), true); // change 3, answer 4
        play.worker("", &[Start]); //              change 4
        play.sweep(); //                           change 5
        play.worker("", &[Start]); //              change 6
        play.client(Asked::Stop, true); //         change 7, answer 5
        play.worker("", &[Retry, Cancel]); //      change 8
        play.show(); //                            answer 6
        play.client(Asked::Step(Update), true); // change 9, answer 7
        play.client(Asked::Step(Cancel), false); // change 10, answer 8
        play.show(); //                            answer 9
        play.client(Asked::Step(Update), true); // change 11, answer 10
        play.worker("", &[Start]); //              change 12
        play.act(Actor::Stranger, "!", &[]); //    change 13
        play.worker("?", &[Fail]); //              change 14
        play.client(Asked::Step(Delete), true); // change 15, answer 11
        play.show(); //                            answer 12
        play.case
    }
}

fn judge(case: Case) -> Report {
    audit(RULES, &BTreeMap::from([("one".to_owned(), case)]))
}

proptest! {
    #[test]
    fn prop_what_an_honest_program_makes_passes(
        events in strategy::history(State::NEW, Aim::Racing, 0..60, 0..1_u8),
        luck in vec(0..8_u8, 60),
    ) {
        let mut play = Play::new();
        for (event, luck) in events.iter().zip(luck) {
            play.step(event.operation(), luck);
        }
        match play.draft().status() {
            Status::Starting => play.client(Asked::Step(Cancel), true),
            Status::Processing => play.step(Fail, 1),
            _ => {}
        }
        let report = judge(play.case);
        prop_assert!(report.violations.is_empty(), "{}", report.violations[0].story);
    }
}

#[test]
fn script_passes_and_reaches_everything() {
    let report = judge(Play::script());
    assert!(report.violations.is_empty(), "{}", report.violations[0].story);
    for (figure, count) in [
        ("reverts, each exact", 3),
        ("expired leases", 1),
        ("stop requests obeyed", 1),
        ("without an answer", 1),
        ("⋯ and made", 1),
        ("reverts that clients compared", 2),
    ] {
        assert_eq!(report.figures.get(figure), Some(&count), "{figure}");
    }
}

/// Changes a moment, which is the end of one change and the beginning of the next.
fn moment(case: &mut Case, change: usize, fault: impl Fn(&mut Moment)) {
    fault(case.history[change].after.as_mut().expect("a task"));
    if let Some(next) = case.history.get_mut(change + 1) {
        fault(next.before.as_mut().expect("a task"));
    }
}

fn beside(case: &mut Case, change: usize, fault: impl Fn(&mut Beside)) {
    moment(case, change, |it| fault(it.beside.as_mut().expect("what is beside it")));
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
    ("an update made twice",                 law::ONCE,     |it| moment(it, 9, |it| it.payload = payload("request 3"))),
    ("a start of what is Processing",        law::STEP,     |it| it.history[13].operations = vec![Start]),
    ("a delete of an active task",           law::STEP,     |it| { it.history.truncate(5); (it.history[4].operations, it.history[4].after) = (vec![Delete], None); }),
    ("a revert that restores the revision",  law::STEP,     |it| moment(it, 10, |it| it.revision = Revision::new(7))),
    ("a retry that keeps the run",           law::STEP,     |it| moment(it, 5, |it| it.run = Run::new(1))),
    ("a start that changes the payload",     law::KEPT,     |it| moment(it, 1, |it| it.payload.digest.push('!'))),
    ("a revert that keeps the new payload",  law::REVERTED, |it| moment(it, 10, |it| it.payload = payload("request 9"))),
    ("a revert that clients see as another", law::REVERTED, |it| it.answers[9].told = Told::Shown(Revision::new(12), Status::Succeeded, "cut".to_owned())),
    ("a start without its message",          law::FENCED,   |it| beside(it, 5, |it| it.deliveries = 0)),
    ("a result of another worker's run",     law::OWNED,    |it| it.history[2].by = worker("worker 0")),
    ("a living run is swept",                law::OWNED,    |it| it.history[5].at -= 2 * LEASE),
    ("a message acknowledged too early",     law::HELD,     |it| beside(it, 3, |it| it.has_message = false)),
    ("a lease that another renews",          law::HELD,     |it| { it.history[12].by = worker("hung"); beside(it, 13, |it| it.lease = Some(9999)); it.history.truncate(15); it.history[14].by = worker("hung"); }),
    ("an expired lease is not counted",      law::ATTEMPTS, |it| beside(it, 5, |it| it.attempts = 0)),
    ("a try beyond the limit",               law::ATTEMPTS, |it| for at in 3..5 { beside(it, at, |it| it.attempts = 1); }),
    ("a stop that nobody asked for",         law::STOPPED,  |it| beside(it, 7, |it| it.stop = None)),
    ("a stop request hits the next update",  law::STOPPED,  |it| beside(it, 9, |it| it.stop = Some(Run::new(4)))),
    ("a stop request that nobody obeys",     law::STOPPED,  |it| { it.history.truncate(9); it.history[8].operations = vec![Retry]; let was = it.history[5].after.clone().unwrap(); moment(it, 8, |it| (it.state, it.payload, it.previous) = (was.state, was.payload.clone(), was.previous.clone())); }),
    ("a run that is never ended",            law::SETTLED,  |it| { it.history.truncate(14); it.answers.truncate(11); }),
    ("a cancel that nobody asked for",       law::WANTED,   |it| { it.answers.remove(8); }),
    ("a time-out counted as no",             law::WANTED,   |it| it.answers[8].told = Told::Refused(Status::Succeeded)),
    ("a time-out counted as yes",            law::YES,      |it| other(it, 8, Told::Made(Some(Revision::new(99))))),
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
    let mut missed = Vec::new();
    for (name, law, fault) in BREAKS {
        let mut case = Play::script();
        fault(&mut case);
        let found = judge(case).violations;
        if found.first().map(|it| it.law) != Some(*law) {
            let stories: Vec<_> = found.iter().map(|it| it.story.as_str()).collect();
            missed.push(format!("{name}: {law}\nbut found:\n{}", stories.join("\n")));
        }
    }
    assert!(missed.is_empty(), "{}", missed.join("\n\n"));
}
