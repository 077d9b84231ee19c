//! Each violation is seen in a history that has it, and in none that has not.

use std::time::{Duration, Instant};

use task_lifecycle::{Snapshot, Status};
use task_stores::Document;

use super::*;

/// A history that is right, told by its clients.
struct Play {
    begin: Instant,
    entries: Vec<Entry>,
    records: Vec<Record>,
}

const CREATE: Change = Change::Create;
const START: Change = Change::Step(Operation::Start);
const SUCCEED: Change = Change::Step(Operation::Succeed);
const UPDATE: Change = Change::Step(Operation::Update);
const CANCEL: Change = Change::Step(Operation::Cancel);
const DELETE: Change = Change::Step(Operation::Delete);

impl Play {
    /// Client 1 makes each change and looks; the cancel is a revert.
    fn new() -> Self {
        let mut play = Self { begin: Instant::now(), entries: vec![], records: vec![] };
        let changes = [CREATE, START, SUCCEED, UPDATE, CANCEL, Change::Edit, DELETE];
        for (at, change) in (10..).zip(changes) {
            let record = play.record(1, change);
            play.entries.push(Entry { at, task: record.task.clone() });
            play.records.push(record);
            let shown = play.record(1, Change::Load);
            play.records.push(shown);
        }
        play
    }

    /// What a client asks for when all that is known is over, and is told that it has.
    fn record(&self, client: usize, change: Change) -> Record {
        let before = self.entries.last().and_then(|entry| entry.task.clone());
        let message = format!("mark {}", self.records.len());
        let mark = Document { message, ..Document::default() };
        let (loaded, task, outcome) = match (change, before) {
            (Change::Load, before) => (None, before, Outcome::Shown),
            (Change::Create, _) => (None, Some(Task::new(mark)), Outcome::Acknowledged),
            (change, before) => {
                let mut task = before.clone().expect("a task");
                if !change.reverts(&task) && change != UPDATE {
                    task.edit(|it| it.clone_from(&mark));
                }
                if let Change::Step(operation) = change
                    && let Some(event) = Event::new(operation, mark)
                {
                    task.apply(event).expect("it is accepted");
                }
                (before, Some(task).filter(|_| change != DELETE), Outcome::Acknowledged)
            }
        };
        let time = |count: usize| self.begin + Duration::from_millis(count as u64);
        let (sent, told) = (time(2 * self.records.len()), time(2 * self.records.len() + 1));
        Record { client, id: Uuid::nil(), change, loaded, task, outcome, silent: 0, sent, told }
    }

    /// The record of the change that led to an entry.
    fn of(&mut self, entry: usize) -> &mut Record {
        &mut self.records[2 * entry]
    }

    /// Client 2 asked for the same.
    fn again(&mut self, entry: usize, outcome: Outcome) {
        let record = Record { client: 2, outcome, ..self.of(entry).clone() };
        self.records.push(record);
    }

    /// Client 2 asked for an edit of the state before an entry, with a mark of its own.
    fn other(&mut self, entry: usize, outcome: Outcome) {
        let mut record =
            Record { client: 2, outcome, change: Change::Edit, ..self.of(entry).clone() };
        let mut task = record.loaded.clone().expect("a task");
        task.edit(|it| it.message = "other".to_owned());
        record.task = Some(task);
        self.records.push(record);
    }

    /// Client 2 was shown this, after all.
    fn shown(&mut self, task: Option<Task>) {
        let record = self.record(2, Change::Load);
        self.records.push(Record { task, ..record });
    }

    /// The last entry is taken away, and what is known of it.
    fn pop(&mut self) {
        self.entries.pop();
        self.records.truncate(2 * self.entries.len());
    }

    /// Changes an entry, and what its client wanted.
    fn rewrite(&mut self, entry: usize, change: impl Fn(&mut Snapshot<Document>)) {
        let mut snapshot = Snapshot::from(self.entries[entry].task.clone().expect("a task"));
        change(&mut snapshot);
        let task = Some(Task::try_from(snapshot).expect("a task"));
        self.of(entry).task.clone_from(&task);
        self.of(entry + 1).loaded.clone_from(&task);
        self.entries[entry].task = task;
    }

    fn audit(&self) -> Findings {
        audit(&HashMap::from([(Uuid::nil(), self.entries.clone())]), &self.records)
    }
}

type Damage = fn(&mut Play);

#[rustfmt::skip]
const WRONG: &[(&str, Damage)] = &[
    ("it was told no, and the history has the change", |it| it.of(1).outcome = Outcome::Lost),
    ("it was told no, and the history has the change", |it| it.of(4).outcome = Outcome::Lost),
    ("it was told no, and nobody was faster", |it| { it.pop(); it.other(5, Outcome::Lost); it.entries.pop(); }),
    ("it was told no, and nobody was faster", |it| { it.other(4, Outcome::Lost); it.records[14].told = it.begin }),
    ("it was told yes, and the history has no such change", |it| it.other(4, Outcome::Acknowledged)),
    ("it was told yes, and the history has no such change", |it| it.other(4, Outcome::Found)),
    ("it was told yes, and the history has no such change", |it| { it.entries.remove(5); }),
    ("2 clients were told that it is theirs", |it| it.again(4, Outcome::Acknowledged)),
    ("2 clients were told that it is theirs", |it| it.again(6, Outcome::Acknowledged)),
    ("2 clients were told that it is theirs", |it| it.again(5, Outcome::Found)),
    ("the revert did not bring back what there was", |it| it.rewrite(4, |task| task.payload.message.push('.'))),
    ("the revert did not bring back what there was", |it| it.rewrite(4, |task| task.status = Status::Failed)),
    ("succeed does not lead here", |it| it.rewrite(2, |task| task.status = Status::Failed)),
    ("update does not lead here", |it| it.rewrite(3, |task| task.run = 0)),
    ("cancel does not lead here", |it| it.rewrite(4, |task| task.revision = 9)),
    ("nobody wanted this", |it| { it.records.remove(10); }),
    ("nobody wanted this", |it| { it.other(5, Outcome::Acknowledged); let task = it.records[14].task.clone(); it.entries.insert(6, Entry { at: 15, task }); }),
    ("it was told yes, and the history has no such change", |it| { it.of(6).outcome = Outcome::Unknown; it.again(6, Outcome::Acknowledged); it.records[14].loaded = it.of(3).task.clone() }),
    ("nobody wanted this", |it| { it.of(6).outcome = Outcome::Found; it.of(6).loaded = it.of(3).task.clone() }),
    ("create does not lead here", |it| it.rewrite(0, |task| task.run = 1)),
    ("delete does not lead here", |it| it.rewrite(5, |task| task.status = Status::Starting)),
    ("nobody wanted this", |it| { let task = it.of(0).task.clone(); it.entries.push(Entry { at: 20, task }); }),
    ("create does not lead here", |it| { let create = it.record(2, CREATE); it.entries.push(Entry { at: 20, task: create.task.clone() }); it.records.push(create); }),
    ("it was shown this when a later state was known", |it| it.shown(it.entries[4].task.clone())),
    ("it was shown this when a later state was known", |it| { it.pop(); it.shown(it.entries[4].task.clone()) }),
    ("it was shown what never was", |it| { it.pop(); it.shown(None) }),
    ("it was shown what never was", |it| { it.other(5, Outcome::Unknown); it.shown(it.records[14].task.clone()) }),
];

#[rustfmt::skip]
const RIGHT: &[(&str, Damage)] = &[
    (ACKNOWLEDGED, |_| {}),
    (HAPPENED, |it| it.of(1).outcome = Outcome::Unknown),
    (HAPPENED, |it| { let begin = it.begin; *it.of(5) = Record { outcome: Outcome::Unknown, sent: begin, told: begin, ..it.of(5).clone() } }),
    (NEVER, |it| it.other(4, Outcome::Unknown)),
    (LOST, |it| it.other(4, Outcome::Lost)),
    (LOST, |it| it.again(4, Outcome::Lost)),
    (SHARED, |it| it.again(4, Outcome::Found)),
    (SHARED, |it| { it.again(6, Outcome::Found); it.records[14].loaded = it.of(3).task.clone() }),
];

#[test]
fn what_is_wrong_is_found() {
    for (nth, (violation, damage)) in WRONG.iter().enumerate() {
        let mut play = Play::new();
        damage(&mut play);
        let violations = play.audit().violations;
        let is_found = violations.iter().any(|(_, story)| story.contains(violation));
        assert!(is_found, "{nth}, {violation}: {violations:#?}");
    }
}

#[test]
fn what_is_right_is_left_alone() {
    for (figure, change) in RIGHT {
        let mut play = Play::new();
        change(&mut play);
        let findings = play.audit();
        assert!(findings.violations.is_empty(), "{figure}: {:#?}", findings.violations);
        assert!(findings.figures[figure] > 0, "{figure}: {:?}", findings.figures);
        assert_eq!(findings.figures[REVERTS], 1);
    }
}
