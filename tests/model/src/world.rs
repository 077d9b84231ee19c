//! Everybody who takes part, and everything there is at one moment.

use std::ops::Range;

use task_lifecycle::{Draft, Revision, Run, Status, Task};

use crate::change::{Change, Document};
use crate::laws::Onlooker;

pub const NAMES: [&str; 6] =
    ["Server A", "Server B", "Worker 1", "Worker 2", "The sweeper", "The editor"];
pub const SERVERS: Range<usize> = 0..2;
pub const WORKERS: Range<usize> = 2..4;
/// Ends what waits too long, and runs whose lease is over.
pub const SWEEPER: usize = 4;
/// Somebody else, who edits in any status.
pub const EDITOR: usize = 5;

/// A worker's right to a run, by the database's clock.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Lease {
    pub run: Run,
    pub over: bool,
}

/// The task and what lies beside it.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Row {
    pub task: Task<Document>,
    pub queued_run: Run,
    pub lease: Option<Lease>,
    pub stop_requested: Option<Run>,
}

impl Row {
    /// Changes what lies beside the task, in the same commit.
    pub fn settle(&mut self, draft: &Draft<Document>, change: Change) {
        let (before, run) = (draft.before().status(), draft.run());
        let kept = self.lease.filter(|_| draft.status() == Status::Processing);
        self.lease = draft.taken().map(|run| Lease { run, over: false }).or(kept);
        if run != draft.loaded_run() && before != Status::Processing {
            (self.queued_run, self.stop_requested) = (run, None);
        }
        if change == Change::Stop {
            self.stop_requested = Some(run);
        }
    }

    pub fn is_processing(&self) -> bool {
        self.task.status() == Status::Processing
    }

    pub fn is_processing_in(&self, run: Run) -> bool {
        self.is_processing() && self.task.run() == run
    }

    /// Returns whether a lease is there that is over, or that is not.
    pub fn has_lease(&self, over: bool) -> bool {
        self.lease.is_some_and(|lease| lease.over == over)
    }
}

/// The words for what a load finds.
pub fn told(row: Option<&Row>) -> String {
    let Some(row) = row else { return "no task".to_owned() };
    let (task, version) = (&row.task, row.task.payload().version);
    let (state, revision, run) = (task.state(), task.revision(), task.run());
    let over = if row.has_lease(true) { ", its lease is over" } else { "" };
    let stop = row.stop_requested.map(|run| format!(", stop requested in run {run}"));
    let stop = stop.unwrap_or_default();
    format!("{state}, configuration {version}, revision {revision}, run {run}{over}{stop}")
}

/// Asks a worker for a run, and is held by the worker until the run ends.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Message {
    pub run: Run,
    /// Read by the onlooker alone: the run that it was really sent for,
    pub sent_for: Run,
    /// and the configuration of that run.
    pub version: u8,
}

/// A wish, before and after it is decided.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Intent {
    pub who: usize,
    pub change: Change,
    pub mark: u8,
    /// In whose run's name.
    pub token: Option<Message>,
    /// The revision that the client named.
    pub named: Option<Revision>,
    /// Of a stop request: the queued run that was loaded first.
    pub queued_run: Option<Run>,
    /// Read by the onlooker alone, of a stop request: the configuration that the client saw.
    pub seen: u8,
}

impl Intent {
    /// The run that its maker has, as far as it knows.
    pub fn held(&self) -> Option<Message> {
        self.token.filter(|_| !self.change.gets_the_run())
    }
}

/// A draft to be committed, with the wish that led to it.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Decision {
    pub intent: Intent,
    /// The change that the intent came to, on this task.
    pub change: Change,
    pub draft: Draft<Document>,
    /// The lease that was seen to be over; the commit compares it.
    pub over: Option<Lease>,
    /// It is sent again, after a commit without an answer.
    pub again: bool,
    /// Read by the onlooker alone: its maker still asks what became of it.
    pub awaited: bool,
}

impl Decision {
    /// The message that is to be pushed after the commit.
    pub fn to_push(&self) -> Option<Message> {
        let (run, version) = (self.draft.run(), self.draft.payload().version);
        let message = Message { run, sent_for: run, version };
        (self.change == Change::UpdateAndPush).then_some(message)
    }
}

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Actor {
    Idle,
    /// A worker that has a run.
    Working(Message),
    /// A server that has committed, and now sends the message.
    Pushes(Message),
    Loads(Intent),
    Commits(Box<Decision>),
    /// Its commit got no answer: it loads, to find out.
    Unsure(Box<Decision>),
}

impl Actor {
    pub const fn intent(&self) -> Option<&Intent> {
        match self {
            Self::Loads(intent) => Some(intent),
            Self::Commits(decision) | Self::Unsure(decision) => Some(&decision.intent),
            Self::Idle | Self::Working(_) | Self::Pushes(_) => None,
        }
    }
}

/// Limits of what goes on, beside runs that start and end. First, changes: requests, edits, hand-backs,
/// leases that run out, and tasks that wait too long; then losses: deaths, and commits and pushes
/// without an answer; last, loads that are one commit behind.
pub type Budget = [u8; 3];

/// Everything at one moment.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct World {
    pub row: Option<Row>,
    /// The row one commit ago, as a replica still shows it.
    pub behind: Option<Row>,
    pub queue: Vec<Message>,
    /// Commits without an answer. Each arrives when it likes, or never.
    pub flights: Vec<Decision>,
    pub actors: [Actor; NAMES.len()],
    pub left: Budget,
    pub versions: u8,
    pub onlooker: Onlooker,
}

impl World {
    pub fn new(left: Budget) -> Self {
        let (task, run) = (Task::new(Document::default()), Run::new(0));
        Self {
            behind: None,
            queue: vec![Message { run, sent_for: run, version: 0 }],
            flights: Vec::new(),
            actors: [const { Actor::Idle }; NAMES.len()],
            left,
            versions: 1,
            onlooker: Onlooker { truth: Some(task.clone()), ..Onlooker::default() },
            row: Some(Row { task, queued_run: run, lease: None, stop_requested: None }),
        }
    }

    pub fn send(&mut self, message: Message) {
        if !self.queue.contains(&message) {
            self.queue.push(message);
            self.queue.sort_by_key(|message| (message.sent_for.get(), message.version));
        }
    }

    pub fn acknowledge(&mut self, message: Message) {
        self.queue.retain(|other| other.sent_for != message.sent_for);
    }
}
