//! Who takes part, and what they can do to a task.

use std::collections::BTreeSet;
use std::fmt;
use std::ops::Range;

use task_lifecycle::{Task, TransitionError};

use crate::laws::Onlooker;

pub const SERVERS: Range<usize> = 0..2;
pub const WORKERS: Range<usize> = 2..4;
/// Fails or retries what has been active for too long.
pub const SWEEPER: Range<usize> = 4..5;
/// Somebody else, who edits in any status.
pub const EDITOR: Range<usize> = 5..6;

pub const NAMES: [&str; 6] =
    ["Server A", "Server B", "Worker 1", "Worker 2", "The sweeper", "The editor"];

/// The payload.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Document {
    /// The configuration; each update has its own.
    pub version: usize,
    /// Edits by the editor.
    pub label: u8,
    /// Edits by workers, the result among them.
    pub written: u8,
    /// The worker that has the run.
    pub owner: Option<usize>,
}

impl Document {
    pub const fn new(version: usize) -> Self {
        Self { version, label: 0, written: 0, owner: None }
    }

    const fn write(&mut self) {
        self.written += 1;
    }
}

/// What one commit does to the task.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Change {
    Start,
    TakeOver,
    /// The fault's way of taking a run over.
    TakeOverInTheSameRun,
    /// An edit in the run's name.
    Progress,
    Succeed,
    Fail,
    Retry,
    /// The owner of the run was asked to cancel it.
    CancelOwn,
    Cancel,
    Update,
    Edit,
    Delete,
}

impl Change {
    /// Applies the change to a copy; `None`: the task is gone. What a start and an update write is
    /// `mark`: the worker's number, or the configuration.
    pub fn apply(
        self,
        mut task: Task<Document>,
        mark: usize,
    ) -> Result<Option<Task<Document>>, TransitionError> {
        match self {
            Self::Start => {
                task.start()?;
                task.edit(|document| document.owner = Some(mark));
            }
            Self::TakeOver => {
                task.retry()?;
                task.start()?;
                task.edit(|document| document.owner = Some(mark));
            }
            Self::TakeOverInTheSameRun => task.edit(|document| document.owner = Some(mark)),
            Self::Progress => task.edit(Document::write),
            Self::Succeed => {
                task.edit(Document::write);
                task.edit(|document| document.owner = None);
                task.succeed()?;
            }
            Self::Fail => {
                task.edit(|document| document.owner = None);
                task.fail()?;
            }
            Self::Retry => {
                task.edit(|document| document.owner = None);
                task.retry()?;
            }
            Self::CancelOwn => {
                task.edit(|document| document.owner = None);
                task.retry()?;
                task.cancel()?;
            }
            Self::Cancel => {
                task.cancel()?;
            }
            Self::Update => {
                task.update(Document::new(mark))?;
            }
            Self::Edit => task.edit(|document| document.label += 1),
            Self::Delete => return Ok(task.delete().map(|_| None)?),
        }
        Ok(Some(task))
    }

    /// Whether a worker that does it gets the run, rather than has it.
    #[must_use]
    pub const fn gets_the_run(self) -> bool {
        matches!(self, Self::Start | Self::TakeOver | Self::TakeOverInTheSameRun)
    }
}

/// The operations that are called.
impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Start => "`start`",
            Self::TakeOver => "`retry` and `start`",
            Self::TakeOverInTheSameRun | Self::Progress | Self::Edit => "`edit`",
            Self::Succeed => "`succeed`",
            Self::Fail => "`fail`",
            Self::Retry => "`retry`",
            Self::CancelOwn => "`retry` and `cancel`",
            Self::Cancel => "`cancel`",
            Self::Update => "`update`",
            Self::Delete => "`delete`",
        })
    }
}

/// What asks a worker for a run, and what the worker holds until the run ends.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Message {
    pub run: u64,
    /// What only the onlooker reads: the run that it was really sent for,
    pub sent_for: u64,
    /// and the configuration of that run.
    pub version: usize,
}

/// What somebody is about to do.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Intent {
    pub change: Change,
    pub mark: usize,
    /// A worker's: in whose run's name.
    pub message: Option<Message>,
    /// Its maker cannot know whether an earlier commit of it was accepted.
    pub unsure: bool,
    /// What only the onlooker knows: a commit of it was accepted.
    pub happened: bool,
}

impl Intent {
    pub const fn new(change: Change, mark: usize, message: Option<Message>) -> Self {
        Self { change, mark, message, unsure: false, happened: false }
    }

    /// The run that its maker has, as far as it knows.
    pub fn held(&self) -> Option<Message> {
        self.message.filter(|_| !self.change.gets_the_run())
    }
}

/// What was decided on a copy, to be committed.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Draft {
    pub intent: Intent,
    /// The revision of the copy.
    pub loaded: u64,
    pub after: Option<Task<Document>>,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Actor {
    Idle,
    /// A worker that has a run.
    Working(Message),
    /// Is to load again: its commit changed no row.
    LoadsAgain(Intent),
    Commits(Draft),
    /// Is to load, to find out: the answer to its commit was lost.
    Unsure(Draft),
}

impl Actor {
    pub const fn intent(&self) -> Option<&Intent> {
        match self {
            Self::Idle | Self::Working(_) => None,
            Self::LoadsAgain(intent) => Some(intent),
            Self::Commits(draft) | Self::Unsure(draft) => Some(&draft.intent),
        }
    }

    /// The run that a worker has.
    pub fn held(&self) -> Option<Message> {
        match self {
            Self::Working(message) => Some(*message),
            _ => self.intent().and_then(Intent::held),
        }
    }
}

/// How much may go on, beside runs that start and end.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Budget {
    /// Requests, sweeps, edits, take-overs, and retries and cancels by the owner of a run.
    pub changes: u8,
    /// Deaths and lost answers.
    pub losses: u8,
}

/// Everything at one moment.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct World {
    pub row: Option<Task<Document>>,
    pub queue: BTreeSet<Message>,
    pub actors: [Actor; NAMES.len()],
    pub left: Budget,
    pub versions: usize,
    pub onlooker: Onlooker,
}

impl World {
    pub fn new(budget: Budget) -> Self {
        let task = Task::new(Document::new(0));
        Self {
            queue: BTreeSet::from([Message { run: task.run(), sent_for: task.run(), version: 0 }]),
            actors: [const { Actor::Idle }; NAMES.len()],
            left: budget,
            versions: 1,
            onlooker: Onlooker::new(task.clone()),
            row: Some(task),
        }
    }
}
