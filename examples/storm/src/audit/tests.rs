//! A history that an honest program makes passes, and each way to break one is found by its law.

use proptest::collection::vec;
use proptest::prelude::*;
use task_lifecycle::strategy::{self, Aim};
use task_lifecycle::{Draft, Event, Task};

use super::Operation::{Cancel, Delete, Fail, Retry, Start, Succeed, Update};
use super::*;

const RULES: Rules = Rules { attempts: 2, is_calm: true };
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
        let beside = Beside { queued_run: Run::new(0), attempts: 0, stop: None, lease: None };
        let (owner, case) = (String::new(), Case::default());
        let mut play = Self { task: None, beside, owner, now: 0, case };
        let (payload, revision) = (play.payload(), Some(Revision::new(0)));
        play.commit(Actor::Client(None), None, &[], Some(Task::new(payload)), play.beside.clone());
        play.tell(Asked::Create, 0, Told::Made(revision));
        play
    }

    fn draft(&self) -> Draft<Payload> {
        Draft::new(self.task.clone().expect("a task"))
    }

    /// That of the next request.
    fn payload(&self) -> Payload {
        payload(&format!("request {}", self.case.history.len()))
    }

    fn moment(&self) -> Option<Moment> {
        let (task, beside) = (self.task.as_ref()?, Some(self.beside.clone()));
        let (payload, previous) = (task.payload().clone(), task.previous());
        let previous = previous.map(|it| it.payload.clone());
        let (revision, run, state) = (task.revision(), task.run(), task.state());
        Some(Moment { revision, run, state, payload, previous, beside })
    }

    fn commit(
        &mut self,
        by: Actor,
        loaded: Option<Revision>,
        operations: &[Operation],
        task: Option<Task<Payload>>,
        beside: Beside,
    ) {
        let before = self.moment();
        (self.task, self.beside) = (task, beside);
        let (at, operations, after) = (self.now, operations.to_vec(), self.moment());
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
        let (mut draft, mut beside, payload) = (self.draft(), self.beside.clone(), self.payload());
        if !edit.is_empty() || operations.is_empty() {
            draft.edit(|it| it.digest.push_str(edit));
        }
        for event in operations.iter().filter_map(|it| Event::new(*it, payload.clone())) {
            draft.apply(event).expect("it is accepted");
        }
        match (operations, &by) {
            ([], Actor::Client(_)) => beside.stop = Some(draft.run()),
            ([Update], _) => {
                beside = Beside { queued_run: draft.run(), attempts: 0, stop: None, lease: None };
            }
            (_, Actor::Sweeper) => beside.attempts += 1,
            ([Start], Actor::Worker(name, _)) => self.owner.clone_from(name),
            _ => {}
        }
        beside.lease = (draft.status() == Status::Processing).then_some(self.now + LEASE);
        let loaded = Some(draft.loaded());
        let task = Some(draft.into_task()).filter(|_| operations != [Delete]);
        self.commit(by, loaded, operations, task, beside);
    }

    /// Asks, and is told or not.
    fn client(&mut self, asked: Asked, is_told: bool) {
        let (number, status) = (self.case.history.len(), self.draft().status());
        let operations = match &asked {
            Asked::Step(operation) => std::slice::from_ref(operation),
            _ => &[],
        };
        let mut told = Told::Refused(status);
        if operations.iter().all(|operation| status.accepts(*operation)) {
            let noted = (asked == Asked::Stop).then(|| format!("request {number}"));
            self.act(Actor::Client(noted), "", operations);
            told = Told::Made(self.task.as_ref().map(Task::revision));
        }
        self.tell(asked, number, if is_told { told } else { Told::Unknown });
    }

    fn worker(&mut self, edit: &str, operations: &[Operation]) {
        let name = match self.draft().status() {
            Status::Processing => self.owner.clone(),
            _ => format!("worker {}", self.case.history.len() % 3),
        };
        self.act(Actor::Worker(name, self.draft().run()), edit, operations);
    }

    fn sweep(&mut self) {
        self.now += 2 * LEASE;
        let is_last = self.beside.attempts + 1 == RULES.attempts;
        self.act(Actor::Sweeper, "", &[if is_last { Fail } else { Retry }]);
    }

    /// Does what somebody wants next, if an honest program can do it.
    fn step(&mut self, operation: Operation, luck: u8) {
        let (status, beside) = (self.draft().status(), &self.beside);
        let is_to_stop = beside.stop.is_some_and(|it| !beside.queued_run.is_after(it));
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
        let left = play.draft().status();
        if left == Status::Starting {
            play.client(Asked::Step(Cancel), true);
        }
        let rules = Rules { is_calm: left != Status::Processing, ..RULES };
        let report = audit(rules, &BTreeMap::from([(String::new(), play.case)]));
        prop_assert!(report.violations.is_empty(), "{}", report.violations[0].story);
    }
}

#[test]
fn script_passes_and_reaches_everything() {
    let report = judge(Play::script());
    assert!(report.violations.is_empty(), "{}", report.violations[0].story);
    for (figure, count) in [
        (history::REVERTS, 3),
        (history::EXPIRED, 1),
        (history::STOPPED, 1),
        (answers::UNKNOWN, 1),
        (answers::MADE, 1),
        (answers::COMPARED, 2),
    ] {
        assert_eq!(report.figures.get(figure), Some(&count), "{figure}");
    }
}

fn after(case: &mut Case, change: usize) -> &mut Moment {
    case.history[change].after.as_mut().expect("a task")
}

/// Changes a moment, which is the end of one change and the beginning of the next.
fn moment(case: &mut Case, change: usize, fault: impl Fn(&mut Moment)) {
    fault(after(case, change));
    fault(case.history[change + 1].before.as_mut().expect("a task"));
}

fn beside(case: &mut Case, change: usize, fault: impl Fn(&mut Beside)) {
    moment(case, change, |it| fault(it.beside.as_mut().expect("what is beside it")));
}

fn other(case: &mut Case, answer: usize, told: Told) {
    let answer = Answer { client: "another".to_owned(), told, ..case.answers[answer].clone() };
    case.answers.push(answer);
}

fn payload(mark: &str) -> Payload {
    Payload { mark: mark.to_owned(), digest: mark.to_owned() }
}

/// A fault, the law that it breaks first, and how it is made.
type Break = (&'static str, Law, fn(&mut Case));

#[rustfmt::skip]
const BREAKS: &[Break] = &[
    ("a commit whatever the revision is",    Law::Chain,    |it| it.history[5].loaded = Some(Revision::new(0))),
    ("two commits of one revision",          Law::Chain,    |it| { let twin = it.history[12].clone(); it.history.insert(12, twin); it.history[13].before = it.history[12].after.clone(); }),
    ("a change that is not in the history",  Law::Counted,  |it| { it.history.remove(13); }),
    ("a change by hand, uncounted",          Law::Counted,  |it| it.history[13].before.as_mut().unwrap().payload = payload("hand")),
    ("a start of what is Processing",        Law::Step,     |it| it.history[13].operations = vec![Start]),
    ("a cancel of a running task",           Law::Step,     |it| it.history[8].operations = vec![Cancel]),
    ("an update that ends as Cancelled",     Law::Step,     |it| moment(it, 10, |it| it.state = State::from_parts(Status::Cancelled, None).unwrap())),
    ("a task that begins as finished",       Law::Step,     |it| moment(it, 0, |it| it.state = State::from_parts(Status::Failed, None).unwrap())),
    ("a delete of an active task",           Law::Step,     |it| { it.history.truncate(5); it.answers.truncate(5); it.history[4] = Change { operations: vec![Delete], after: None, by: Actor::Client(None), ..it.history[4].clone() }; }),
    ("a revert that restores the revision",  Law::Counted,  |it| moment(it, 10, |it| it.revision = Revision::new(7))),
    ("a retry that keeps the run",           Law::Counted,  |it| moment(it, 5, |it| it.run = Run::new(1))),
    ("a start that changes the payload",     Law::Kept,     |it| moment(it, 1, |it| it.payload.digest.push('!'))),
    ("an edit of the previous payload",      Law::Kept,     |it| moment(it, 13, |it| it.previous = Some(payload("other")))),
    ("a revert that keeps the new payload",  Law::Reverted, |it| { let kept = after(it, 9).payload.clone(); moment(it, 10, move |it| it.payload = kept.clone()); }),
    ("a revert that clients see as another", Law::Reverted, |it| it.answers[9].told = Told::Shown(Revision::new(12), Status::Succeeded, "cut".to_owned())),
    ("a deleted task comes back",            Law::Gone,     |it| { let mut back = it.history[0].clone(); back.at = 9000; it.history.push(back); }),
    ("a start by a message of another run",  Law::Fenced,   |it| it.history[6].by = Actor::Worker("worker 0".to_owned(), Run::new(1))),
    ("an edit in the name of a run over",    Law::Fenced,   |it| it.history[13].by = Actor::Worker("worker 2".to_owned(), Run::new(2))),
    ("a result of another worker's run",     Law::Owned,    |it| it.history[2].by = Actor::Worker("worker 0".to_owned(), Run::new(0))),
    ("a living run is swept",                Law::Owned,    |it| it.history[5].at -= 2 * LEASE),
    ("a client ends a run",                  Law::Owned,    |it| it.history[14].by = Actor::Client(None)),
    ("a start without a lease",              Law::Leased,   |it| beside(it, 4, |it| it.lease = None)),
    ("an expired lease is not counted",      Law::Attempts, |it| beside(it, 5, |it| it.attempts = 0)),
    ("an update inherits the attempts",      Law::Attempts, |it| beside(it, 9, |it| it.attempts = 1)),
    ("a try beyond the limit",               Law::Attempts, |it| for at in 3..5 { beside(it, at, |it| it.attempts = 1) }),
    ("a stop request that nobody obeys",     Law::Stopped,  |it| { it.history.truncate(9); it.answers.truncate(6); it.history[8].operations = vec![Retry]; let was = after(it, 5).clone(); let task = after(it, 8); (task.state, task.payload, task.previous) = (was.state, was.payload, was.previous); }),
    ("a stop that nobody asked for",         Law::Stopped,  |it| beside(it, 7, |it| it.stop = None)),
    ("a stop request hits the next update",  Law::Stopped,  |it| beside(it, 9, |it| it.stop = Some(Run::new(4)))),
    ("a run that is never ended",            Law::Settled,  |it| { it.history.truncate(14); it.answers.truncate(11); }),
    ("a cancel that nobody asked for",       Law::Wanted,   |it| { it.answers.remove(8); }),
    ("a time-out counted as no",             Law::Wanted,   |it| it.answers[8].told = Told::Refused(Status::Succeeded)),
    ("an update made twice",                 Law::Once,     |it| { let first = after(it, 3).payload.clone(); for at in 9..10 { let first = first.clone(); moment(it, at, move |it| it.payload = first.clone()); } it.answers[7].request = "request 3".to_owned(); }),
    ("an update that two hold for theirs",   Law::Once,     |it| { it.answers.push(it.answers[7].clone()); }),
    ("a yes without a change",               Law::Yes,      |it| other(it, 8, Told::Made(Some(Revision::new(4))))),
    ("a yes before its change",              Law::Yes,      |it| { it.answers.swap(0, 7); (it.answers[0].sent, it.answers[0].received) = (60, 61); }),
    ("a stop request that is lost",          Law::Yes,      |it| { other(it, 5, Told::Made(Some(Revision::new(99)))); let it = it.answers.last_mut().unwrap(); (it.sent, it.received) = (60, 61); }),
    ("a time-out counted as yes",            Law::Yes,      |it| other(it, 8, Told::Made(Some(Revision::new(99))))),
    ("a yes of what was long known",         Law::Yes,      |it| { it.answers[11].told = Told::Made(Some(Revision::new(3))); it.answers[11].asked = Asked::Step(Update); it.answers[11].request = "request 3".to_owned(); it.answers[4].told = Told::Unknown; }),
    ("a no in a status that accepts",        Law::No,       |it| it.answers[2].told = Told::Refused(Status::Starting)),
    ("a no that was true long ago",          Law::No,       |it| { it.answers[2].sent = 8000; it.answers[2].received = 8010; }),
    ("a no that was true only later",        Law::No,       |it| { it.answers[2].sent = -20; it.answers[2].received = -10; }),
    ("stale, but it is as it was named",     Law::No,       |it| { other(it, 3, Told::Stale); let it = it.answers.last_mut().unwrap(); (it.sent, it.received, it.named) = (it.received + 1, it.received + 2, Some(Revision::new(3))); }),
    ("gone, but it is there",                Law::No,       |it| it.answers[3].told = Told::Absent),
    ("a state that never was",               Law::Seen,     |it| it.answers[3].told = Told::Shown(Revision::new(2), Status::Failed, String::new())),
    ("a read of an old copy",                Law::Seen,     |it| { let old = it.answers[1].told.clone(); it.answers[6].told = old; }),
    ("shown when it was known to be gone",   Law::Seen,     |it| { let old = it.answers[9].told.clone(); it.answers[12].told = old; }),
    ("two sights of one revision",           Law::Seen,     |it| other(it, 3, Told::Shown(Revision::new(3), Status::Succeeded, "other".to_owned()))),
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
