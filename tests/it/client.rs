//! The oracle: a client that polls, and knows the rules only as the Cancel Task page and its
//! neighbours put them. It keeps no state of the task, just the list of what it was shown.

use task_lifecycle::{Draft, Event, Operation, Released, Revision, Run, Status, Task};

type Moment = (Status, u64);

/// Each moment after the first is a revision.
#[derive(Clone, Debug)]
struct Client(Vec<Moment>);

impl Client {
    fn now(&self) -> Moment {
        self.0[self.0.len() - 1]
    }

    /// A moment of waiting that follows another status is a new run.
    fn run_at(&self, moment: usize) -> u64 {
        let waits = |moment: Moment| moment.0 == Status::Starting;
        let pairs = self.0[..=moment].windows(2);
        pairs.filter(|pair| !waits(pair[0]) && waits(pair[1])).count() as u64
    }

    /// What was shown before the update that is under way. A task that is at work, and was
    /// completed once, is being updated: the last completed moment is what came before.
    fn before_update(&self) -> Option<Moment> {
        let at_work = |(status, _): &Moment| matches!(status.as_str(), "Starting" | "Processing");
        let completed = self.0.iter().rfind(|moment| !at_work(moment));
        completed.copied().filter(|_| at_work(&self.now()))
    }

    /// What an operation shows next, by its sentence: `Some(None)` where the task is gone, `None`
    /// if it is refused.
    #[allow(clippy::option_option, reason = "refused, gone, or shown")]
    fn after(&self, operation: Operation, new: u64) -> Option<Option<Moment>> {
        let (status, payload) = self.now();
        let starting = status == Status::Starting;
        let processing = status == Status::Processing;
        // "For updating tasks: task will revert to the previous state."
        let back_or = |status| self.before_update().unwrap_or((status, payload));
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

    /// Of two payloads, the one that is not shown any more after an accepted operation.
    fn released(&self, operation: Operation) -> Released<u64> {
        match (operation, self.before_update()) {
            (Operation::Succeed, Some((_, before))) => Released::Previous(before),
            (Operation::Cancel | Operation::Fail, Some(_)) => Released::Update(self.now().1),
            _ => Released::Nothing,
        }
    }
}

/// A draft, and what a client was shown of its task.
#[derive(Clone, Debug)]
pub(crate) struct Watched {
    draft: Draft<u64>,
    client: Client,
    /// The moment that the draft was made of.
    loaded: usize,
}

impl Watched {
    pub(crate) fn new() -> Self {
        let client = Client(vec![(Status::Starting, 0)]);
        Self { draft: Draft::new(Task::new(0)), client, loaded: 0 }
    }

    /// Begins a draft of the task as it is now.
    pub(crate) fn load(&mut self) {
        self.draft = Draft::new(self.draft.clone().into_task());
        self.loaded = self.client.0.len() - 1;
    }

    /// Does an operation, or an edit for `None`, and compares. Returns false if the task is gone.
    pub(crate) fn step(&mut self, operation: Option<Operation>) -> bool {
        let payload = self.client.0.len() as u64;
        let Some(operation) = operation else {
            self.draft.edit(|current| *current = payload);
            self.client.0.push((self.client.now().0, payload));
            self.compare();
            return true;
        };
        let before = self.draft.clone();
        let expected = self.client.after(operation, payload);
        let Some(event) = Event::new(operation, payload) else {
            let gone = before.into_task().delete().ok();
            assert_eq!(gone.is_some(), expected.is_some(), "{operation} of {self:?}");
            assert!(gone.is_none_or(|last| last == self.client.now().1), "{self:?}");
            return gone.is_none();
        };
        match (self.draft.apply(event), expected) {
            (Ok(done), Some(Some(shown))) => {
                assert_eq!(done.released, self.client.released(operation), "{self:?}");
                assert_eq!((done.revision, done.run), (self.draft.revision(), self.draft.run()));
                self.client.0.push(shown);
                self.compare();
            }
            (Err(_), None) => assert_eq!(self.draft, before),
            (did, expected) => panic!("{operation} of {before:?}: {did:?}, not {expected:?}"),
        }
        true
    }

    fn compare(&self) {
        let Self { draft, client, loaded } = self;
        let (moment, (status, payload)) = (client.0.len() - 1, client.now());
        let (run, loaded_run) = (client.run_at(moment), client.run_at(*loaded));
        assert_eq!((draft.status(), *draft.payload()), (status, payload), "{self:?}");
        assert_eq!((draft.revision().get(), draft.run().get()), (moment as u64, run), "{self:?}");
        let previous = draft.previous().map(|previous| (previous.status, *previous.payload));
        assert_eq!(previous, client.before_update(), "{self:?}");
        let active = status == Status::Starting || status == Status::Processing;
        for other in 0..=run + 1 {
            let is_current = draft.check_run(Run::new(other)).is_ok();
            assert_eq!(is_current, active && other == run, "run {other} of {self:?}");
        }
        let before = client.0[*loaded].0;
        assert_eq!(draft.before().status(), before, "{self:?}");
        assert_eq!(draft.loaded(), Revision::new(*loaded as u64), "{self:?}");
        assert_eq!(draft.loaded_run(), Run::new(loaded_run), "{self:?}");
        let queued = status == Status::Starting && run != loaded_run;
        assert_eq!(draft.queued(), queued.then_some(Run::new(run)), "{self:?}");
        let taken = status == Status::Processing && (before != status || run != loaded_run);
        assert_eq!(draft.taken(), taken.then_some(Run::new(run)), "{self:?}");
    }
}
