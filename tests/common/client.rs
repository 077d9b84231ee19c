//! The reference: a client that polls, and knows the rules only as the Cancel Task page and its
//! neighbours put them. It keeps no state of the task, just the list of what it was shown.

use task_lifecycle::{Operation, Released, Status};

/// What was shown, moment by moment. Empty: the task is gone.
#[derive(Clone, Debug)]
pub(crate) struct Client<T> {
    shown: Vec<(Status, T)>,
}

impl<T: Clone + PartialEq> Client<T> {
    pub(crate) fn new(payload: T) -> Self {
        Self { shown: vec![(Status::Starting, payload)] }
    }

    /// What is shown now.
    pub(crate) fn now(&self) -> Option<&(Status, T)> {
        self.shown.last()
    }

    /// Each moment after the first is a revision.
    pub(crate) fn revision(&self) -> u64 {
        self.shown.len() as u64 - 1
    }

    /// A moment of waiting that follows another status is a new run.
    pub(crate) fn run(&self) -> u64 {
        let waits = |(status, _): &(Status, T)| *status == Status::Starting;
        let pairs = self.shown.windows(2);
        pairs.filter(|pair| !waits(&pair[0]) && waits(&pair[1])).count() as u64
    }

    /// What was shown before the update that is under way. A task that is at work, and was
    /// completed once, is being updated: the last completed moment is what came before.
    pub(crate) fn before_update(&self) -> Option<&(Status, T)> {
        let at_work =
            |(status, _): &(Status, T)| matches!(status.as_str(), "Starting" | "Processing");
        self.now().filter(|now| at_work(now))?;
        self.shown.iter().rev().find(|moment| !at_work(moment))
    }

    /// What an operation shows next, by its sentence; `None` if it is refused.
    ///
    /// The outer `Some` holds `None` where the task is gone.
    #[allow(clippy::option_option, reason = "refused, gone, or shown")]
    pub(crate) fn after(&self, operation: Operation, new: T) -> Option<Option<(Status, T)>> {
        let (status, payload) = self.now()?.clone();
        let starting = status == Status::Starting;
        let processing = status == Status::Processing;
        // "For updating tasks: task will revert to the previous state."
        let back_or = |status| self.before_update().cloned().unwrap_or((status, payload.clone()));
        match operation {
            // "Task must have status `Starting`."
            Operation::Cancel if starting => Some(Some(back_or(Status::Cancelled))),
            Operation::Fail if starting || processing => Some(Some(back_or(Status::Failed))),
            Operation::Start if starting => Some(Some((Status::Processing, payload))),
            Operation::Retry if processing => Some(Some((Status::Starting, payload))),
            Operation::Succeed if processing => Some(Some((Status::Succeeded, payload))),
            // Only what ended by itself is queued again; only what is not at work is deleted.
            Operation::Update if !starting && !processing && status != Status::Cancelled => {
                Some(Some((Status::Starting, new)))
            }
            Operation::Delete if !starting && !processing => Some(None),
            Operation::Cancel
            | Operation::Fail
            | Operation::Start
            | Operation::Retry
            | Operation::Succeed
            | Operation::Update
            | Operation::Delete => None,
        }
    }

    /// What the task no longer holds after an accepted operation: of two payloads, the one that is
    /// not shown any more.
    pub(crate) fn released(&self, operation: Operation) -> Released<T> {
        match (operation, self.before_update(), self.now()) {
            (Operation::Succeed, Some((_, before)), _) => Released::Previous(before.clone()),
            (Operation::Cancel | Operation::Fail, Some(_), Some((_, now))) => {
                Released::Update(now.clone())
            }
            _ => Released::Nothing,
        }
    }

    pub(crate) fn is_shown(&mut self, moment: (Status, T)) {
        self.shown.push(moment);
    }

    /// Takes the last moment back.
    pub(crate) fn forget_last(&mut self) {
        self.shown.pop();
    }
}
