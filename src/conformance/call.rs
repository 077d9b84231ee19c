//! What is asked of a store, and what it answers.

use std::format;
use std::string::{String, ToString};
use std::vec::Vec;

use super::Store;
use super::flight::Fault;
use super::history::EDGES;
use super::model::{Told, Write};
use super::show::show;
use crate::strategy::EVENTS;
use crate::{Event, Snapshot, Task};

/// A call that a client is about to make.
pub(super) struct Call<S: Store> {
    pub(super) client: usize,
    /// The number of the task; of one that is created, the number that it will have.
    pub(super) index: usize,
    pub(super) request: Request<S>,
    /// What it does, in words.
    pub(super) words: String,
    pub(super) reverts: bool,
}

pub(super) enum Request<S: Store> {
    Load(S::Id),
    Create(Task<S::Payload>),
    CreateAs(S::Id, Task<S::Payload>),
    Write(S::Id, Write<S::Payload>),
}

pub(super) enum Answer<S: Store> {
    Loaded(Option<Task<S::Payload>>),
    Created(S::Id),
    /// `None`: the store names its tasks itself.
    CreatedAs(Option<bool>),
    Written(bool),
    Error(String),
    None(Fault),
}

pub(super) async fn ask<S: Store>(store: &S, request: &Request<S>) -> Answer<S> {
    let answer = match request {
        Request::Load(id) => store.load(id).await.map(Answer::Loaded),
        Request::Create(task) => store.create(task).await.map(Answer::Created),
        Request::CreateAs(id, task) => store.create_as(id, task).await.map(Answer::CreatedAs),
        Request::Write(
            id,
            Write {
                loaded,
                task: Some(task),
            },
        ) => store.commit(id, *loaded, task).await.map(Answer::Written),
        Request::Write(id, Write { loaded, task: None }) => {
            store.delete(id, *loaded).await.map(Answer::Written)
        }
    };
    answer.unwrap_or_else(|error| Answer::Error(format!("{error:?}")))
}

impl<S: Store> Request<S> {
    pub(super) fn commit(id: S::Id, loaded: u64, task: Task<S::Payload>) -> Self {
        let task = Some(task);
        Self::Write(id, Write { loaded, task })
    }

    pub(super) fn delete(id: S::Id, loaded: u64) -> Self {
        Self::Write(id, Write { loaded, task: None })
    }
}

impl<S: Store> Call<S> {
    pub(super) fn new(client: usize, index: usize, request: Request<S>) -> Self {
        let deletes = matches!(request, Request::Write(_, Write { task: None, .. }));
        let words = String::from(if deletes { "delete" } else { "" });
        Self {
            client,
            index,
            request,
            words,
            reverts: false,
        }
    }

    /// The line of the story, without the answer.
    pub(super) fn line(&self) -> String {
        let (client, task) = (self.client + 1, self.index + 1);
        let words = &self.words;
        match &self.request {
            Request::Load(_) => format!("client {client} loads task {task}"),
            Request::Create(new) => {
                format!("client {client} creates task {task}: {}", show(Some(new)))
            }
            Request::CreateAs(_, new) => format!(
                "client {client} creates a task under the name of task {task}: {}",
                show(Some(new))
            ),
            Request::Write(
                _,
                Write {
                    loaded,
                    task: Some(changed),
                },
            ) => format!(
                "client {client} commits {words} of task {task} at revision {loaded} -> {}",
                show(Some(changed))
            ),
            Request::Write(_, Write { loaded, task: None }) => {
                format!("client {client} commits {words} of task {task} at revision {loaded}")
            }
        }
    }

    pub(super) const fn write(&self) -> Option<&Write<S::Payload>> {
        match &self.request {
            Request::Write(_, write) => Some(write),
            Request::Load(_) | Request::Create(_) | Request::CreateAs(..) => None,
        }
    }

    /// Whether the store may lose its answers and did, and nothing follows from it.
    pub(super) const fn is_lost(&self, answer: &Answer<S>) -> bool {
        S::LOSES_ANSWERS && matches!(answer, Answer::Error(_)) && self.write().is_none()
    }

    /// What the answer tells about the task; `None` if it is no answer to this.
    pub(super) fn told<'a>(&'a self, answer: &'a Answer<S>) -> Option<Told<'a, S::Payload>> {
        match (&self.request, answer) {
            (Request::Load(_), Answer::Loaded(task)) => Some(Told::Seen(task.as_ref())),
            (Request::Write(_, write), Answer::Written(changed)) => {
                Some(Told::Written(write, Some(*changed)))
            }
            (Request::Write(_, write), Answer::Error(_)) if S::LOSES_ANSWERS => {
                Some(Told::Written(write, None))
            }
            _ => None,
        }
    }
}

impl<S: Store> Answer<S> {
    pub(super) const fn is_silent(&self) -> bool {
        matches!(self, Self::None(Fault::Silent))
    }

    /// The end of the line of the story.
    pub(super) fn words(&self) -> String {
        match self {
            Self::Loaded(task) => show(task.as_ref()),
            Self::Created(id) => format!("named {id:?}"),
            Self::CreatedAs(None) => "not supported".into(),
            Self::CreatedAs(Some(true)) | Self::Written(true) => "accepted".into(),
            Self::CreatedAs(Some(false)) | Self::Written(false) => "refused".into(),
            Self::Error(error) => format!("error {error}"),
            Self::None(Fault::Panicked(text)) => text.clone(),
            Self::None(Fault::Silent) => "no answer".into(),
        }
    }
}

/// Makes changes that the task accepts. Returns their names, and whether one of them reverted.
pub(super) fn change<T>(
    task: &mut Task<T>,
    changes: &[(u8, u8)],
    mut payload: impl FnMut(u8, &T) -> T,
) -> (String, bool) {
    let mut names = Vec::new();
    let mut reverted = false;
    for &(which, text) in changes {
        let payload = payload(text, task.payload());
        // The next that is accepted, so that what is left out in shrinking does not change what
        // follows; an edit always is.
        let mut next = EVENTS.iter().skip(usize::from(which));
        match next.find(|&&operation| task.check(operation).is_ok()) {
            None => {
                task.edit(|current| *current = payload);
                names.push("edit".to_string());
            }
            Some(&operation) => {
                let done = Event::new(operation, payload).map(|event| task.apply(event));
                reverted |= done.is_some_and(|done| done.is_ok_and(|done| done.reverted()));
                names.push(operation.to_string());
            }
        }
    }
    (names.join(" and "), reverted)
}

/// More than a history counts after it has come to an edge.
const ROOM: u64 = 1_000;

/// Brings the counters to an edge, as many changes in one commit do. `None` if they are beyond it,
/// or if the store does not keep such.
pub(super) fn leap<S: Store>(task: Task<S::Payload>, edge: u8) -> Option<Task<S::Payload>> {
    let counter = EDGES[usize::from(edge) % EDGES.len()];
    let end = counter.saturating_add(ROOM);
    if task.revision() >= counter || task.run() >= counter || end > S::LARGEST_COUNTER {
        return None;
    }
    let Snapshot {
        status,
        payload,
        previous,
        ..
    } = Snapshot::from(task);
    let (revision, run) = (counter, counter);
    Task::try_from(Snapshot {
        status,
        revision,
        run,
        payload,
        previous,
    })
    .ok()
}
