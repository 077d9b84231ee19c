//! Calls of a store, their answers, and both in words.

use core::fmt::{self, Write as _};

use task_lifecycle::{Draft, Event, Operation, Revision, Task};

use crate::Store;
use crate::polling::Fault;

#[derive(Clone)]
pub(crate) enum Request<I, T> {
    Create(Task<T>),
    CreateAs(I, Task<T>),
    Load(I),
    Commit(I, Draft<T>),
    Delete(I, Revision),
}

pub(crate) enum Answer<I, T> {
    Created(I),
    Loaded(Option<Task<T>>),
    /// A commit, a delete or a new task under a name: true if it was accepted.
    Written(bool),
    /// The store names its tasks itself.
    NotSupported,
    Error(String),
    None(Fault),
}

/// A change of a task: from the revision at which it must be, to what it becomes. `None`: there
/// is no task.
#[derive(Clone)]
pub(crate) struct Write<T> {
    pub(crate) from: Option<Revision>,
    pub(crate) to: Option<Task<T>>,
}

pub(crate) type CallOf<S> = Call<<S as Store>::Id, <S as Store>::Payload>;
pub(crate) type RequestOf<S> = Request<<S as Store>::Id, <S as Store>::Payload>;
pub(crate) type AnswerOf<S> = Answer<<S as Store>::Id, <S as Store>::Payload>;
pub(crate) type HeardOf<S> = Heard<<S as Store>::Id, <S as Store>::Payload>;

pub(crate) async fn ask<S: Store>(store: &S, request: &RequestOf<S>) -> AnswerOf<S> {
    let answer = match request {
        Request::Create(task) => store.create(task).await.map(Answer::Created),
        Request::CreateAs(id, task) => {
            let stored = store.create_as(id, task).await;
            stored.map(|stored| stored.map_or(Answer::NotSupported, Answer::Written))
        }
        Request::Load(id) => store.load(id).await.map(Answer::Loaded),
        Request::Commit(id, draft) => store.commit(id, draft).await.map(Answer::Written),
        Request::Delete(id, loaded) => store.delete(id, *loaded).await.map(Answer::Written),
    };
    answer.unwrap_or_else(|error| Answer::Error(short(&error, 400)))
}

impl<I, T: Clone> Request<I, T> {
    pub(crate) fn write(&self) -> Option<Write<T>> {
        Some(match self {
            Self::Commit(_, it) => Write { from: Some(it.loaded()), to: Some(Task::clone(it)) },
            Self::Delete(_, loaded) => Write { from: Some(*loaded), to: None },
            Self::CreateAs(_, task) => Write { from: None, to: Some(task.clone()) },
            Self::Create(_) | Self::Load(_) => return None,
        })
    }
}

/// A call that a client makes.
#[derive(Clone)]
pub(crate) struct Call<I, T> {
    pub(crate) client: usize,
    /// The number of the task; of one that is created, the number that it will have.
    pub(crate) row: usize,
    pub(crate) request: Request<I, T>,
    /// The decision in words.
    pub(crate) words: String,
}

impl<I, T: fmt::Debug> Call<I, T> {
    pub(crate) const fn new(client: usize, row: usize, request: Request<I, T>) -> Self {
        Self { client, row, request, words: String::new() }
    }

    pub(crate) fn commit(client: usize, row: usize, what: (I, Draft<T>), words: &str) -> Self {
        let request = Request::Commit(what.0, what.1);
        Self { words: words.into(), ..Self::new(client, row, request) }
    }

    /// The line of the story, without the answer.
    pub(crate) fn line(&self) -> String {
        let (client, task, words) = (self.client + 1, self.row + 1, &self.words);
        match &self.request {
            Request::Create(new) => {
                format!("client {client} creates task {task}: {}", show(Some(new)))
            }
            Request::CreateAs(_, new) => {
                format!("client {client} creates task {task} under its name: {}", show(Some(new)))
            }
            Request::Load(_) => format!("client {client} loads task {task}"),
            Request::Commit(_, draft) => format!(
                "client {client} commits {words} of task {task} at revision {} -> {}",
                draft.loaded(),
                show(Some(draft))
            ),
            Request::Delete(_, loaded) => {
                format!("client {client} deletes task {task} at revision {loaded}{words}")
            }
        }
    }
}

/// Makes a change: the next operation that is accepted, so that what is left out of a history does
/// not change what follows; an edit always is. Returns its name.
pub(crate) fn decide<T>(draft: &mut Draft<T>, change: usize, payload: T) -> String {
    let mut next = Operation::ALL.iter().skip(change);
    let next = next.find(|&&next| next != Operation::Delete && draft.check(next).is_ok());
    let Some(&operation) = next else {
        draft.edit(|current| *current = payload);
        return "edit".into();
    };
    let _ = Event::new(operation, payload).map(|event| draft.apply(event));
    operation.to_string()
}

/// A call and its answer.
pub(crate) struct Heard<I, T> {
    pub(crate) call: Call<I, T>,
    pub(crate) answer: Answer<I, T>,
}

impl<I: fmt::Debug, T: fmt::Debug> Heard<I, T> {
    /// The line of the story.
    pub(crate) fn line(&self) -> String {
        format!("{}: {}", self.call.line(), self.answer.words())
    }
}

impl<I: fmt::Debug, T: fmt::Debug> Answer<I, T> {
    /// The end of the line of the story.
    pub(crate) fn words(&self) -> String {
        match self {
            Self::Created(id) => format!("named {}", short(id, 60)),
            Self::Loaded(task) => show(task.as_ref()),
            Self::Written(true) => "accepted".into(),
            Self::Written(false) => "refused".into(),
            Self::NotSupported => "not supported".into(),
            Self::Error(error) => format!("error {error}"),
            Self::None(fault) => fault.words(),
        }
    }
}

/// A task in a line.
pub(crate) fn show<T: fmt::Debug>(task: Option<&Task<T>>) -> String {
    tell(task, 60)
}

fn tell<T: fmt::Debug>(task: Option<&Task<T>>, room: usize) -> String {
    let Some(task) = task else {
        return "none".into();
    };
    let (status, revision, run) = (task.status(), task.revision(), task.run());
    let payload = short(task.payload(), room);
    let mut line = format!("{status}, revision {revision}, run {run}, payload {payload}");
    if let Some(previous) = task.previous() {
        let payload = short(previous.payload, room);
        let _ = write!(line, ", previous {} with {payload}", previous.status);
    }
    line
}

/// Two tasks as text, long ones from shortly before where they part to shortly after.
pub(crate) fn difference<T: fmt::Debug>(
    left: Option<&Task<T>>,
    right: Option<&Task<T>>,
) -> [String; 2] {
    const BEFORE: usize = 90;
    const ALL: usize = 200;
    let texts = [left, right].map(|task| tell(task, usize::MAX));
    let pairs = texts[0].chars().zip(texts[1].chars());
    let same = pairs.take_while(|(left, right)| left == right).count();
    texts.map(|text| {
        let letters = text.chars().count();
        if letters <= ALL {
            return text;
        }
        let from = same.saturating_sub(BEFORE);
        let shown: String = text.chars().skip(from).take(ALL).collect();
        format!("…{shown}… (they part at letter {same} of {letters})")
    })
}

/// The start of a value's text, on one line.
pub(crate) fn short(value: &impl fmt::Debug, room: usize) -> String {
    struct Short(String, usize);

    impl fmt::Write for Short {
        fn write_str(&mut self, text: &str) -> fmt::Result {
            for letter in text.chars() {
                self.1 = self.1.checked_sub(1).ok_or(fmt::Error)?;
                self.0.push(if letter == '\n' { ' ' } else { letter });
            }
            Ok(())
        }
    }

    let mut short = Short(String::new(), room);
    if write!(short, "{value:?}").is_err() {
        short.0.push('…');
    }
    short.0
}
