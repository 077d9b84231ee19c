//! The changes that one commit makes to a task.

use task_lifecycle::Operation::{self, Cancel, Delete, Fail, Retry, Start, Succeed, Update};
use task_lifecycle::{Draft, Event, Run, TransitionError};

/// The payload.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
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

const RESULT: u8 = 100;

table! {
    Change: (&'static str, &'static [Operation]) {
        Start: ("`start`", &[Start]),
        TakeOver: ("take the run over (`retry`, `start`)", &[Retry, Start]),
        GoOn: ("go on in the same run (`edit`)", &[]),
        Progress: ("note progress (`edit`)", &[]),
        Succeed: ("`succeed`", &[Succeed]),
        Fail: ("`fail`", &[Fail]),
        Retry: ("`retry`", &[Retry]),
        Halt: ("end it (`cancel`; in `Processing` after a `retry`)", &[Retry, Cancel]),
        Cancel: ("`cancel`", &[Cancel]),
        Update: ("`update`", &[Update]),
        UpdateAndPush: ("`update`, and push the message after it", &[Update]),
        FailUnpushed: ("`fail` what was not pushed", &[Fail]),
        Replace: ("replace the update (`cancel`, `update`)", &[Cancel, Update]),
        Delete: ("`delete`", &[Delete]),
        Stop: ("request a stop (`edit`)", &[]),
        Edit: ("set a label (`edit`)", &[]),
        Prioritize: ("set a priority beside the task (`edit`)", &[]),
    }
}

impl Change {
    /// Decides it on a draft. `mark` is what it writes: who starts, a configuration, a label.
    pub fn apply(self, draft: &mut Draft<Document>, mark: u8) -> Result<(), TransitionError> {
        let skipped = (self == Self::Halt && draft.check(Retry).is_err()).then_some(Retry);
        for &operation in self.row().1.iter().filter(|&&operation| Some(operation) != skipped) {
            match Event::new(operation, Document { version: mark, ..Document::default() }) {
                Some(event) => draft.apply(event).map(drop)?,
                // A draft of a task that will be gone: its loaded revision is what counts.
                None => draft.check(operation).map(drop)?,
            }
        }
        let run = draft.run();
        match self {
            Self::Start | Self::TakeOver | Self::GoOn => {
                draft.edit(|document| document.owner = Some((mark, run)));
            }
            Self::Progress => draft.edit(|document| document.written = mark),
            // Without the mark, which nobody reads any more, there are fewer worlds.
            Self::Succeed => draft.edit(|it| (it.written, it.owner) = (RESULT, None)),
            Self::Edit => draft.edit(|document| document.label = mark),
            Self::Stop | Self::Prioritize => draft.edit(|_| ()),
            _ => {}
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
