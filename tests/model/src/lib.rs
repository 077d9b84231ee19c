//! The races around one task, for a model checker.
//!
//! Two servers, two workers and a sweeper share a row, which is a [`Task`] of the crate itself, and
//! a queue that delivers every message as often and as late as it likes. Servers and the sweeper
//! read, decide and commit in two steps, so that anything can come between; a worker commits the
//! start and the end of its run, and can die at any point.
//!
//! An [`Onlooker`], who takes no part, knows what was acknowledged and says when a [`Law`] breaks.
//! A [`Fault`] built into the protocol shows what each of its precautions is for.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Mutex;

use stateright::{Checker, Model, Property};
use task_lifecycle::{Event, Operation, Previous, Snapshot, Status, Task};

/// The payload: which configuration, and how often it was edited.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Document {
    pub version: u8,
    pub edits: u8,
}

/// A precaution that the protocol leaves out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fault {
    CommitWithoutRevision,
    RevisionRestoredOnRevert,
    ZeroRowsIgnored,
    StartWithoutCheck,
    FinishWithoutCheck,
    EditNotCounted,
    PreviousInTheMessage,
}

impl Fault {
    pub const ALL: [Self; 7] = [
        Self::CommitWithoutRevision,
        Self::RevisionRestoredOnRevert,
        Self::ZeroRowsIgnored,
        Self::StartWithoutCheck,
        Self::FinishWithoutCheck,
        Self::EditNotCounted,
        Self::PreviousInTheMessage,
    ];
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::CommitWithoutRevision => "Commit without the revision",
            Self::RevisionRestoredOnRevert => "Restore the revision on a revert",
            Self::ZeroRowsIgnored => "Ignore that zero rows changed",
            Self::StartWithoutCheck => "Start without `check_revision`",
            Self::FinishWithoutCheck => "Finish without `check_revision`",
            Self::EditNotCounted => "Edit without counting a revision",
            Self::PreviousInTheMessage => "Keep the previous state in the message",
        })
    }
}

/// What must hold whatever the order of events.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Law {
    CancelHolds,
    CompletedIsOver,
    NothingLost,
    RevertIsExact,
    ResultWasAskedFor,
}

impl Law {
    pub const ALL: [Self; 5] = [
        Self::CancelHolds,
        Self::CompletedIsOver,
        Self::NothingLost,
        Self::RevertIsExact,
        Self::ResultWasAskedFor,
    ];

    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::CancelHolds => {
                "after an acknowledged cancel no start and no result of that payload is accepted"
            }
            Self::CompletedIsOver => {
                "a task never shows a completed status while a run of it is still going to be accepted"
            }
            Self::NothingLost => "no acknowledged operation is lost",
            Self::RevertIsExact => "a revert shows exactly what the client saw before the update",
            Self::ResultWasAskedFor => {
                "an accepted start or result was asked for by the message that its worker holds"
            }
        }
    }
}

/// How much may happen.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Budget {
    /// Requests to the two servers together.
    pub requests: u8,
    pub sweeps: u8,
    pub retries: u8,
    pub edits: u8,
    pub deaths: u8,
}

impl Budget {
    /// For the normal run.
    pub const SMALL: Self = Self {
        requests: 2,
        sweeps: 1,
        retries: 1,
        edits: 1,
        deaths: 1,
    };
    /// For the slow run: with a third request every race is won by each side.
    pub const LARGE: Self = Self {
        requests: 3,
        ..Self::SMALL
    };
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Message {
    pub revision: u64,
    /// The configuration that it was sent for. Only the onlooker reads it.
    pub version: u8,
}

/// What somebody did to the task, or is about to.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Deed {
    Do(Step),
    Edit,
    Delete,
}

/// An event that a copy can be made of, an update with the version of its payload.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Step {
    Start,
    Retry,
    Succeed,
    Fail,
    Cancel,
    Update(u8),
}

impl Step {
    const fn event(self) -> Event<Document> {
        match self {
            Self::Start => Event::Start,
            Self::Retry => Event::Retry,
            Self::Succeed => Event::Succeed,
            Self::Fail => Event::Fail,
            Self::Cancel => Event::Cancel,
            Self::Update(version) => Event::Update(Document { version, edits: 0 }),
        }
    }
}

impl Deed {
    /// Its name: an operation or `edit`.
    #[must_use]
    pub fn name(self) -> String {
        match self {
            Self::Do(step) => step.event().operation().to_string(),
            Self::Edit => "edit".to_owned(),
            Self::Delete => Operation::Delete.to_string(),
        }
    }
}

/// A change that was decided on a copy and is not yet committed.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Decided {
    deed: Deed,
    loaded: u64,
    /// The task as it will be; `None`: deleted.
    after: Option<Task<Document>>,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Worker {
    Idle,
    /// The start is decided and not committed.
    Starting {
        message: Message,
        decided: Decided,
    },
    /// At work on what was committed.
    Running {
        message: Message,
        task: Task<Document>,
    },
}

/// Everything at one moment.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct World {
    row: Option<Task<Document>>,
    queue: BTreeSet<Message>,
    servers: [Option<Decided>; 2],
    workers: [Worker; 2],
    sweeper: Option<Decided>,
    left: Budget,
    versions: u8,
    onlooker: Onlooker,
}

/// Knows what was acknowledged, and nothing of how.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Onlooker {
    /// The task after all acknowledged deeds, in their order.
    truth: Option<Task<Document>>,
    last: Deed,
    /// One bit a version: its cancel was acknowledged.
    cancelled: u8,
    /// One bit a version: a completed status was shown since it was queued.
    over: u8,
    /// What the client saw before the update, and its revision.
    before: Option<(Status, Document, u64)>,
    /// The run that counts: the worker, and the revision of its message.
    run: Option<(usize, u64)>,
    broken: Option<Law>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Action {
    Request(usize, Deed),
    Commit(usize),
    Receive(usize, Message),
    CommitStart(usize),
    Finish(usize, Deed),
    Die(usize),
    Sweep(Deed),
    CommitSweep,
}

/// What was seen to happen at least once.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Happened {
    Accepted(String),
    Refused(String),
    StaleMessage,
    /// Both had read the same revision.
    Race {
        won: String,
        lost: String,
    },
}

pub struct Protocol {
    pub budget: Budget,
    pub fault: Option<Fault>,
    happened: Mutex<BTreeSet<Happened>>,
}

const SERVERS: [&str; 2] = ["Server A", "Server B"];
const WORKERS: [&str; 2] = ["Worker 1", "Worker 2"];

type Tell<'a> = &'a mut dyn FnMut(fmt::Arguments<'_>);

impl Protocol {
    #[must_use]
    pub fn new(budget: Budget, fault: Option<Fault>) -> Self {
        Self {
            budget,
            fault,
            happened: Mutex::default(),
        }
    }

    fn note(&self, what: Happened) {
        if let Ok(mut happened) = self.happened.lock() {
            happened.insert(what);
        }
    }

    fn has(&self, fault: Fault) -> bool {
        self.fault == Some(fault)
    }

    /// Reads the row and decides on a copy.
    fn decide(&self, world: &World, who: &str, deed: Deed, tell: Tell<'_>) -> Option<Decided> {
        let Some(row) = &world.row else {
            tell(format_args!(
                "{who} is to {} the task and finds none.",
                deed.name()
            ));
            return None;
        };
        let mut task = row.clone();
        let loaded = task.revision();
        let answer = match deed {
            Deed::Do(step) => task.apply(step.event()).map(|_| Some(task)),
            Deed::Edit => {
                task.edit(|document| document.edits += 1);
                Ok(Some(task))
            }
            Deed::Delete => task.delete().map(|_| None).map_err(Into::into),
        };
        match answer {
            Ok(after) => {
                let (deed_name, status) = (deed.name(), row.status());
                tell(format_args!(
                    "{who} reads the task ({status}, revision {loaded}) and decides to {deed_name}."
                ));
                Some(Decided {
                    deed,
                    loaded,
                    after,
                })
            }
            Err(refused) => {
                self.note(Happened::Refused(refused.to_string()));
                tell(format_args!("{who} refuses: {refused}."));
                None
            }
        }
    }

    /// `UPDATE … WHERE id = ? AND revision = ?`: whether a row was changed.
    fn commit(&self, world: &mut World, who: &str, decided: &Decided, tell: Tell<'_>) -> bool {
        let Some(row) = &world.row else {
            let (won, lost) = (Operation::Delete.to_string(), decided.deed.name());
            tell(format_args!(
                "{who} commits its {lost}: zero rows, for the task is gone."
            ));
            self.note(Happened::Race { won, lost });
            return false;
        };
        if row.revision() != decided.loaded && !self.has(Fault::CommitWithoutRevision) {
            let (won, lost) = (world.onlooker.last.name(), decided.deed.name());
            tell(format_args!(
                "{who} commits its {lost}: zero rows, for the revision is {}.",
                row.revision()
            ));
            self.note(Happened::Race { won, lost });
            return false;
        }
        world.row.clone_from(&decided.after);
        self.spoil(world, decided.deed);
        match &world.row {
            Some(row) => tell(format_args!(
                "{who} commits its {}: {}, configuration {}, revision {}.",
                decided.deed.name(),
                row.status(),
                row.payload().version,
                row.revision()
            )),
            None => tell(format_args!("{who} commits its delete.")),
        }
        true
    }

    /// The faults of what is stored.
    fn spoil(&self, world: &mut World, deed: Deed) {
        let Some(row) = world.row.take() else { return };
        let was_update = world.onlooker.truth.as_ref().is_some_and(Task::is_update);
        let mut stored: Snapshot<Document> = row.into();
        let reverts = matches!(deed, Deed::Do(Step::Cancel | Step::Fail)) && was_update;
        if let (true, Some((_, _, revision))) = (reverts, world.onlooker.before)
            && self.has(Fault::RevisionRestoredOnRevert)
        {
            stored.revision = revision;
        }
        if self.has(Fault::EditNotCounted) && deed == Deed::Edit {
            stored.revision -= 1;
        }
        if self.has(Fault::PreviousInTheMessage) {
            stored.previous = None::<Previous<Document>>;
        }
        world.row = Task::try_from(stored).ok();
    }

    /// A change was acknowledged.
    fn acknowledge(&self, world: &mut World, decided: &Decided, run: Option<(usize, Message)>) {
        let World {
            onlooker,
            row,
            queue,
            ..
        } = world;
        self.note(Happened::Accepted(decided.deed.name()));
        if let Some((worker, message)) = run {
            onlooker.judge_run(decided, worker, message);
        }
        onlooker.judge(decided, row.as_ref());

        // In one transaction with the row: what is queued needs a message.
        let queued = matches!(decided.deed, Deed::Do(Step::Update(_) | Step::Retry));
        if let (true, Some(row)) = (queued, row) {
            queue.insert(Message {
                revision: row.revision(),
                version: row.payload().version,
            });
        }
    }

    fn take(&self, world: &World, action: Action, tell: Tell<'_>) -> World {
        let mut next = world.clone();
        match action {
            Action::Request(server, deed) => {
                next.left.requests -= 1;
                if let Deed::Do(Step::Update(_)) = deed {
                    next.versions += 1;
                }
                next.servers[server] = self.decide(world, SERVERS[server], deed, tell);
            }
            Action::Commit(server) => {
                let Some(decided) = next.servers[server].take() else {
                    return next;
                };
                if self.commit(&mut next, SERVERS[server], &decided, tell)
                    || self.has(Fault::ZeroRowsIgnored)
                {
                    tell(format_args!("{} answers 200.", SERVERS[server]));
                    self.acknowledge(&mut next, &decided, None);
                } else {
                    // Load again, decide again.
                    next.servers[server] = self.decide(&next, SERVERS[server], decided.deed, tell);
                }
            }
            Action::Receive(worker, message) => {
                let who = WORKERS[worker];
                tell(format_args!(
                    "{who} gets the message of revision {}.",
                    message.revision
                ));
                let Some(row) = &world.row else { return next };
                let fresh = row.check_revision(message.revision);
                if let (Err(stale), false) = (fresh, self.has(Fault::StartWithoutCheck)) {
                    self.note(Happened::StaleMessage);
                    tell(format_args!("{who} drops it: {stale}."));
                    return next;
                }
                if let Some(decided) = self.decide(world, who, Deed::Do(Step::Start), tell) {
                    next.workers[worker] = Worker::Starting { message, decided };
                }
            }
            Action::CommitStart(worker) => {
                let before = std::mem::replace(&mut next.workers[worker], Worker::Idle);
                let Worker::Starting { message, decided } = before else {
                    return next;
                };
                if self.commit(&mut next, WORKERS[worker], &decided, tell) {
                    self.acknowledge(&mut next, &decided, Some((worker, message)));
                    if let Some(task) = next.row.clone() {
                        next.workers[worker] = Worker::Running { message, task };
                    }
                }
            }
            Action::Finish(worker, deed) => self.finish(&mut next, worker, deed, tell),
            Action::Die(worker) => {
                tell(format_args!("{} dies.", WORKERS[worker]));
                next.left.deaths -= 1;
                next.workers[worker] = Worker::Idle;
            }
            Action::Sweep(deed) => {
                next.left.sweeps -= 1;
                next.sweeper = self.decide(world, "The sweeper", deed, tell);
            }
            Action::CommitSweep => {
                let Some(decided) = next.sweeper.take() else {
                    return next;
                };
                if self.commit(&mut next, "The sweeper", &decided, tell) {
                    self.acknowledge(&mut next, &decided, None);
                }
            }
        }
        next
    }

    /// A worker ends its run, or edits what it works on.
    fn finish(&self, next: &mut World, worker: usize, deed: Deed, tell: Tell<'_>) {
        match deed {
            Deed::Edit => next.left.edits -= 1,
            Deed::Do(Step::Retry) => next.left.retries -= 1,
            Deed::Do(_) | Deed::Delete => {}
        }
        let before = std::mem::replace(&mut next.workers[worker], Worker::Idle);
        let Worker::Running { message, task } = before else {
            return;
        };
        // It works on its own copy, and so with the revision that it committed. A careless one
        // reads the task again and takes the revision that it finds.
        let own = World {
            row: Some(task),
            ..next.clone()
        };
        let seen = if self.has(Fault::FinishWithoutCheck) {
            &*next
        } else {
            &own
        };
        let Some(decided) = self.decide(seen, WORKERS[worker], deed, &mut |_| ()) else {
            return;
        };
        if self.commit(next, WORKERS[worker], &decided, tell) {
            self.acknowledge(next, &decided, Some((worker, message)));
            if let (Deed::Edit, Some(task)) = (deed, next.row.clone()) {
                next.workers[worker] = Worker::Running { message, task };
            }
        }
    }

    /// The steps that lead to the first broken law, told; and the law.
    ///
    #[must_use]
    pub fn story(&self, actions: &[Action]) -> (Vec<String>, Option<Law>) {
        let mut world = self.start();
        let mut told = Vec::new();
        for &action in actions {
            let mut lines = Vec::new();
            world = self.take(&world, action, &mut |line| lines.push(line.to_string()));
            told.push(lines.join(" "));
        }
        (told, world.onlooker.broken)
    }

    fn start(&self) -> World {
        let document = Document {
            version: 0,
            edits: 0,
        };
        let row = Task::new(document);
        World {
            queue: BTreeSet::from([Message {
                revision: row.revision(),
                version: 0,
            }]),
            servers: [None, None],
            workers: [Worker::Idle, Worker::Idle],
            sweeper: None,
            left: self.budget,
            versions: 1,
            onlooker: Onlooker {
                truth: Some(row.clone()),
                last: Deed::Edit,
                cancelled: 0,
                over: 0,
                before: None,
                run: None,
                broken: None,
            },
            row: Some(row),
        }
    }
}

impl Onlooker {
    fn breaks(&mut self, law: Law) {
        self.broken.get_or_insert(law);
    }

    /// A worker's commit was accepted.
    fn judge_run(&mut self, decided: &Decided, worker: usize, message: Message) {
        let Some(truth) = &self.truth else { return };
        let starts = decided.deed == Deed::Do(Step::Start);
        // What the worker is at: the payload of its copy, or for an end the one it started with.
        let working_on = decided.after.as_ref().map_or(message.version, |task| {
            if starts {
                task.payload().version
            } else {
                message.version
            }
        });
        let asked = if starts {
            message.version == working_on && working_on == truth.payload().version
        } else {
            self.run == Some((worker, message.revision))
        };
        if self.cancelled & (1 << working_on) != 0 {
            self.breaks(Law::CancelHolds);
        } else if self.over & (1 << working_on) != 0 {
            self.breaks(Law::CompletedIsOver);
        } else if !asked {
            self.breaks(Law::ResultWasAskedFor);
        }
        self.run = match decided.deed {
            Deed::Do(Step::Start) => Some((worker, message.revision)),
            Deed::Edit => self.run,
            Deed::Do(_) | Deed::Delete => None,
        };
    }

    /// A deed was acknowledged, and the row is now `row`.
    fn judge(&mut self, decided: &Decided, row: Option<&Task<Document>>) {
        self.last = decided.deed;
        let Some(mut truth) = self.truth.take() else {
            self.breaks(Law::NothingLost);
            return;
        };
        let before = (truth.status(), *truth.payload(), truth.revision());
        let version = truth.payload().version;
        let done = match decided.deed {
            Deed::Do(step) => truth.apply(step.event()).map(Some),
            Deed::Edit => {
                truth.edit(|document| document.edits += 1);
                Ok(None)
            }
            Deed::Delete => match truth.delete() {
                Ok(_) => {
                    if row.is_some() {
                        self.breaks(Law::NothingLost);
                    }
                    return;
                }
                Err(refused) => {
                    truth = refused.into_task();
                    self.breaks(Law::NothingLost);
                    Ok(None)
                }
            },
        };
        let Ok(done) = done else {
            // It was acknowledged from a state that somebody else had already changed.
            self.breaks(Law::NothingLost);
            self.truth = Some(truth);
            return;
        };
        if let Some(done) = done {
            if done.operation == Operation::Update {
                self.before = Some(before);
            }
            if done.operation == Operation::Cancel {
                self.cancelled |= 1 << version;
            }
            if !done.to.is_active() {
                self.over |= 1 << version;
            }
            if done.operation != Operation::Start {
                self.run = None;
            }
            let shown = row.map(|row| (row.status(), *row.payload()));
            let saw = self.before.map(|(status, document, _)| (status, document));
            if done.reverted && shown != saw {
                self.breaks(Law::RevertIsExact);
            }
        }
        let same = row
            .is_some_and(|row| (row.status(), row.payload()) == (truth.status(), truth.payload()));
        if !same {
            self.breaks(Law::NothingLost);
        }
        self.truth = Some(truth);
    }
}

impl Model for Protocol {
    type State = World;
    type Action = Action;

    fn init_states(&self) -> Vec<World> {
        vec![self.start()]
    }

    fn actions(&self, world: &World, actions: &mut Vec<Action>) {
        if world.onlooker.broken.is_some() {
            return;
        }
        let left = world.left;
        for server in 0..2 {
            match &world.servers[server] {
                None if left.requests > 0 => actions.extend([
                    Action::Request(server, Deed::Do(Step::Cancel)),
                    Action::Request(server, Deed::Do(Step::Update(world.versions))),
                    Action::Request(server, Deed::Delete),
                ]),
                None => {}
                Some(_) => actions.push(Action::Commit(server)),
            }
        }
        for worker in 0..2 {
            match &world.workers[worker] {
                Worker::Idle => {
                    let receive = |&message| Action::Receive(worker, message);
                    actions.extend(world.queue.iter().map(receive));
                }
                Worker::Starting { .. } => actions.push(Action::CommitStart(worker)),
                Worker::Running { .. } => {
                    actions.push(Action::Finish(worker, Deed::Do(Step::Succeed)));
                    actions.push(Action::Finish(worker, Deed::Do(Step::Fail)));
                    if left.retries > 0 {
                        actions.push(Action::Finish(worker, Deed::Do(Step::Retry)));
                    }
                    if left.edits > 0 {
                        actions.push(Action::Finish(worker, Deed::Edit));
                    }
                }
            }
            if left.deaths > 0 && world.workers[worker] != Worker::Idle {
                actions.push(Action::Die(worker));
            }
        }
        match &world.sweeper {
            None if left.sweeps > 0 => actions.extend([
                Action::Sweep(Deed::Do(Step::Fail)),
                Action::Sweep(Deed::Do(Step::Retry)),
            ]),
            None => {}
            Some(_) => actions.push(Action::CommitSweep),
        }
    }

    fn next_state(&self, world: &World, action: Action) -> Option<World> {
        Some(self.take(world, action, &mut |_| ()))
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always(Law::CancelHolds.as_str(), |_, world: &World| {
                world.onlooker.broken != Some(Law::CancelHolds)
            }),
            Property::always(Law::CompletedIsOver.as_str(), |_, world: &World| {
                world.onlooker.broken != Some(Law::CompletedIsOver)
            }),
            Property::always(Law::NothingLost.as_str(), |_, world: &World| {
                world.onlooker.broken != Some(Law::NothingLost)
            }),
            Property::always(Law::RevertIsExact.as_str(), |_, world: &World| {
                world.onlooker.broken != Some(Law::RevertIsExact)
            }),
            Property::always(Law::ResultWasAskedFor.as_str(), |_, world: &World| {
                world.onlooker.broken != Some(Law::ResultWasAskedFor)
            }),
        ]
    }
}

/// What a checked protocol came to.
pub struct Verdict {
    pub states: usize,
    pub broken: Vec<&'static str>,
    pub happened: BTreeSet<Happened>,
}

/// Visits every state that the budget allows.
#[must_use]
pub fn check(budget: Budget) -> Verdict {
    let checker = Protocol::new(budget, None)
        .checker()
        .threads(2)
        .spawn_bfs()
        .join();
    let model = checker.model();
    let happened = model
        .happened
        .lock()
        .map(|seen| seen.clone())
        .unwrap_or_default();
    let broken = checker.discoveries().into_keys().collect();
    Verdict {
        states: checker.unique_state_count(),
        broken,
        happened,
    }
}

/// The shortest way in which the fault breaks a law, told step by step.
#[must_use]
pub fn shortest_violation(fault: Fault) -> Option<(Law, Vec<String>)> {
    let edits = u8::from(fault == Fault::EditNotCounted);
    let budget = Budget {
        edits,
        ..Budget::LARGE
    };
    // Deeper and deeper, so that what is found first is the shortest.
    (1..20).find_map(|depth| {
        let protocol = Protocol::new(budget, Some(fault));
        let checker = protocol
            .checker()
            .target_max_depth(depth)
            .spawn_bfs()
            .join();
        let violations = checker.discoveries().into_values().map(|path| {
            let (story, broken) = checker.model().story(&path.into_actions());
            broken.map(|law| (law, story))
        });
        violations
            .flatten()
            .min_by_key(|(law, story)| (story.len(), law.as_str()))
    })
}
