//! Calls of a store, their answers, and both in words.

use core::fmt::{self, Write as _};

use task_lifecycle::{Draft, Revision, Task};

use crate::Store;

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
    /// Whether it was accepted: a commit, a delete, a new task under a name.
    Written(bool),
    /// The store names its tasks itself.
    NotSupported,
    Error(String),
    Panicked(String),
    /// It did not end.
    Silent,
}

/// What changes a task: from the revision at which it must be, to what it becomes. `None`: there
/// is no task.
#[derive(Clone)]
pub(crate) struct Write<T> {
    pub(crate) from: Option<Revision>,
    pub(crate) to: Option<Task<T>>,
}

pub(crate) async fn ask<S: Store>(
    store: &S,
    request: &Request<S::Id, S::Payload>,
) -> Answer<S::Id, S::Payload> {
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
            Self::Commit(_, draft) => {
                Write { from: Some(draft.loaded()), to: Some((**draft).clone()) }
            }
            Self::Delete(_, loaded) => Write { from: Some(*loaded), to: None },
            Self::CreateAs(_, task) => Write { from: None, to: Some(task.clone()) },
            Self::Create(_) | Self::Load(_) => return None,
        })
    }
}

impl<I, T> Request<I, T> {
    /// The number of the kind of call: see [`KINDS`].
    pub(crate) const fn kind(&self) -> usize {
        match self {
            Self::Create(_) => 0,
            Self::CreateAs(..) => 1,
            Self::Load(_) => 2,
            Self::Commit(..) => 3,
            Self::Delete(..) => 4,
        }
    }
}

/// How many kinds of calls there are.
pub(crate) const KINDS: usize = 5;

/// A call that a client makes.
#[derive(Clone)]
pub(crate) struct Call<I, T> {
    pub(crate) client: usize,
    /// The number of the task; of one that is created, the number that it will have.
    pub(crate) row: usize,
    pub(crate) request: Request<I, T>,
    /// What was decided, in words.
    pub(crate) words: String,
    pub(crate) reverts: bool,
}

impl<I, T: fmt::Debug> Call<I, T> {
    pub(crate) const fn new(client: usize, row: usize, request: Request<I, T>) -> Self {
        Self { client, row, request, words: String::new(), reverts: false }
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
            Self::Panicked(text) => text.clone(),
            Self::Silent => "no answer".into(),
        }
    }
}

/// A task in a line.
pub(crate) fn show<T: fmt::Debug>(task: Option<&Task<T>>) -> String {
    let Some(task) = task else {
        return "none".into();
    };
    let (status, revision, run) = (task.status(), task.revision(), task.run());
    let payload = short(task.payload(), 60);
    let mut line = format!("{status}, revision {revision}, run {run}, payload {payload}");
    if let Some(previous) = task.previous() {
        let payload = short(previous.payload, 60);
        let _ = write!(line, ", previous {} with {payload}", previous.status);
    }
    line
}

/// What is expected and what was seen, as far as they differ.
pub(crate) fn difference<T: fmt::Debug + PartialEq>(
    expected: Option<&Task<T>>,
    seen: Option<&Task<T>>,
) -> (String, String) {
    let (Some(left), Some(right)) = (expected, seen) else {
        return (show(expected), show(seen));
    };
    let parts = |task: &Task<T>| {
        let (payload, previous) = (format!("{:?}", task.payload()), task.previous());
        let text = |text: Option<String>| text.unwrap_or_else(|| "none".into());
        [
            ("status", task.status().to_string()),
            ("revision", task.revision().to_string()),
            ("run", task.run().to_string()),
            ("payload", payload),
            ("previous.status", text(previous.as_ref().map(|it| it.status.to_string()))),
            ("previous.payload", text(previous.as_ref().map(|it| format!("{:?}", it.payload)))),
        ]
    };
    let mut told = [const { Vec::new() }; 2];
    for ((name, left), (_, right)) in parts(left).iter().zip(parts(right)) {
        if *left != right {
            for (told, text) in told.iter_mut().zip(around_first_difference(left, &right)) {
                told.push(format!("{name} {text}"));
            }
        }
    }
    if told[0].is_empty() {
        let unseen = "the same as text, and not by `==`".to_string();
        return (show(expected), format!("{} ({unseen})", show(seen)));
    }
    told.map(|parts| parts.join(", ")).into()
}

/// Both texts from shortly before where they part to shortly after.
fn around_first_difference(left: &str, right: &str) -> [String; 2] {
    const BEFORE: usize = 24;
    const AFTER: usize = 48;
    let pairs = left.chars().zip(right.chars());
    let same = pairs.take_while(|(left, right)| left == right).count();
    let from = if same > BEFORE + 8 { same - BEFORE } else { 0 };
    [left, right].map(|text| {
        let letters = text.chars().count();
        let shown: String = text.chars().skip(from).take(same - from + AFTER).collect();
        let start = if from > 0 { "…" } else { "" };
        let end = if letters > same + AFTER { "…" } else { "" };
        if start.is_empty() && end.is_empty() {
            return shown;
        }
        format!("{start}{shown}{end} (letter {same} of {letters})")
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
