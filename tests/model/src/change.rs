//! The changes that one commit makes to a task.

use task_lifecycle::{Draft, Operation, Run, TransitionError};

/// The payload.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Document {
    /// The configuration; each update has its own.
    pub version: u8,
    /// Set by the editor.
    pub label: u8,
    /// Set by the worker: its progress, then its result.
    pub written: u8,
    /// The worker that started, and its run.
    pub owner: Option<(u8, Run)>,
}

impl Document {
    pub const fn new(version: u8) -> Self {
        Self { version, label: 0, written: 0, owner: None }
    }
}

const RESULT: u8 = 100;

texts! {
    Change {
        Start: "`start`",
        TakeOver: "take the run over (`retry`, `start`)",
        GoOn: "go on in the same run (`edit`)",
        Progress: "note progress (`edit`)",
        Succeed: "`succeed`",
        Fail: "`fail`",
        Retry: "`retry`",
        Halt: "end it, as a stop is requested (`cancel`; in `Processing` after a `retry`)",
        Cancel: "`cancel`",
        Update: "`update`",
        UpdateAndPush: "`update`, and push the message after it",
        FailUnpushed: "`fail` what was not pushed",
        Replace: "replace the update (`cancel`, `update`)",
        Delete: "`delete`",
        Stop: "request a stop (`edit`)",
        Edit: "set a label (`edit`)",
        Prioritize: "set a priority beside the task (`edit`)",
    }
}

impl Change {
    pub const fn text(self) -> &'static str {
        Self::ALL[self as usize].1
    }

    /// Decides it on a draft. `mark` is what it writes: who starts, a configuration, a label.
    pub fn apply(self, draft: &mut Draft<Document>, mark: u8) -> Result<(), TransitionError> {
        match self {
            Self::Start => {
                draft.start()?;
                sign(draft, mark);
            }
            Self::TakeOver => {
                draft.retry()?;
                draft.start()?;
                sign(draft, mark);
            }
            Self::GoOn => sign(draft, mark),
            Self::Progress => draft.edit(|document| document.written = mark),
            Self::Succeed => {
                draft.edit(|document| document.written = RESULT);
                draft.succeed()?;
            }
            Self::Fail | Self::FailUnpushed => return draft.fail().map(drop),
            Self::Retry => return draft.retry().map(drop),
            Self::Halt => {
                if draft.check(Operation::Retry).is_ok() {
                    draft.retry()?;
                }
                draft.cancel()?;
            }
            Self::Cancel => return draft.cancel().map(drop),
            Self::Update | Self::UpdateAndPush => {
                return draft.update(Document::new(mark)).map(drop);
            }
            Self::Replace => {
                draft.cancel()?;
                draft.update(Document::new(mark))?;
            }
            // A draft of a task that will be gone: its loaded revision is what counts.
            Self::Delete => return draft.check(Operation::Delete).map(drop),
            Self::Stop | Self::Prioritize => draft.edit(|_| ()),
            Self::Edit => draft.edit(|document| document.label = mark),
        }
        Ok(())
    }

    /// Returns whether a worker that does it gets the run, rather than has it.
    pub const fn gets_the_run(self) -> bool {
        matches!(self, Self::Start | Self::TakeOver | Self::GoOn)
    }

    pub const fn queues(self) -> bool {
        matches!(self, Self::Update | Self::UpdateAndPush | Self::Replace)
    }
}

fn sign(draft: &mut Draft<Document>, mark: u8) {
    let run = draft.run();
    draft.edit(|document| document.owner = Some((mark, run)));
}
