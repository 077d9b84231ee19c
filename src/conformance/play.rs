use core::fmt;
use std::boxed::Box;
use std::format;
use std::string::{String, ToString};
use std::vec::Vec;

use proptest::sample::Index;

use super::history::{Act, TEXTS};
use super::{Law, Report, Store, Violation};
use crate::strategy::EVENTS;
use crate::{Event, Task};

/// A task by its name, and what the machine says it is.
struct Row<S: Store> {
    id: S::Id,
    task: Option<Task<S::Payload>>,
}

/// A commit, or without a task a delete.
struct Sent<S: Store> {
    index: usize,
    loaded: u64,
    task: Option<Task<S::Payload>>,
    what: String,
}

/// What happened last, for telling which law a difference breaks.
#[derive(Clone, Copy)]
enum Last {
    Accepted { index: usize, client: usize },
    Refused,
    Reopened,
}

/// One client: the copies that it holds, by task, and what it sent last.
struct Client<S: Store> {
    copies: Vec<Option<Task<S::Payload>>>,
    sent: Option<Sent<S>>,
}

/// A history, played on a store and on the machine.
pub(super) struct Play<S: Store> {
    /// One handle, or one for each client.
    handles: Vec<S>,
    clients: [Client<S>; 2],
    rows: Vec<Row<S>>,
    texts: usize,
    last: Last,
    story: Vec<String>,
    watched: bool,
    pub(super) report: Report,
}

pub(super) type Outcome<T = ()> = Result<T, Box<Violation>>;

impl<S: Store> Play<S> {
    pub(super) fn new(store: S, report: Report, watched: bool) -> Self {
        let client = || Client {
            copies: Vec::new(),
            sent: None,
        };
        Self {
            handles: Self::handles(store),
            clients: [client(), client()],
            rows: Vec::new(),
            texts: 0,
            last: Last::Reopened,
            story: Vec::new(),
            watched,
            report,
        }
    }

    fn handles(mut store: S) -> Vec<S> {
        let another = store.another();
        [store].into_iter().chain(another).collect()
    }

    fn handle(&mut self, client: usize) -> &mut S {
        let client = client % self.handles.len();
        &mut self.handles[client]
    }

    pub(super) fn all(&mut self, acts: &[Act]) -> Outcome {
        self.report.histories += 1;
        for act in acts {
            self.act(act)?;
            if self.watched {
                self.look()?;
            }
        }
        self.look()
    }

    pub(super) fn breaks<T>(
        &self,
        law: Law,
        expected: impl Into<String>,
        seen: impl Into<String>,
    ) -> Outcome<T> {
        let (story, expected, seen) = (self.story.clone(), expected.into(), seen.into());
        Err(Violation {
            law,
            story,
            expected,
            seen,
        }
        .into())
    }

    fn act(&mut self, act: &Act) -> Outcome {
        let tasks = self.rows.len();
        match *act {
            Act::Create { client, text } => self.create(client, text),
            Act::Reopen => {
                self.story.push("the store is reopened".into());
                self.report.reopened += 1;
                self.last = Last::Reopened;
                // The other handle goes first, as with the process that had it.
                self.handles.truncate(1);
                if let Some(store) = self.handles.pop() {
                    self.handles = Self::handles(store.reopen());
                }
                self.look()
            }
            Act::Repeat { client } => match self.clients[client].sent.take() {
                None => Ok(()),
                Some(sent) => self.send(client, sent, " again"),
            },
            Act::Read { .. } | Act::Change { .. } | Act::Delete { .. } if tasks == 0 => Ok(()),
            Act::Read { client, task } => {
                let index = task.index(tasks);
                self.story
                    .push(format!("client {} loads task {}", client + 1, index + 1));
                self.read(client, index)
            }
            Act::Change {
                client,
                task,
                ref changes,
            } => {
                let index = task.index(tasks);
                self.hold(client, index)?;
                let Some(copy) = self.clients[client].copies[index].clone() else {
                    return Ok(());
                };
                let loaded = copy.revision();
                let mut task = copy;
                let mut what = Vec::new();
                for &(change, text) in changes {
                    let payload = self.payload(text);
                    let (name, reverted) = make_change(&mut task, change, payload);
                    what.push(name);
                    self.report.reverts += u32::from(reverted);
                }
                let what = what.join(" and ");
                self.send(
                    client,
                    Sent {
                        index,
                        loaded,
                        task: Some(task),
                        what,
                    },
                    "",
                )
            }
            Act::Delete { client, task } => {
                let index = task.index(tasks);
                self.hold(client, index)?;
                let Some(copy) = self.clients[client].copies[index].take() else {
                    return Ok(());
                };
                let loaded = copy.revision();
                if copy.delete().is_err() {
                    return Ok(()); // the machine refuses, so nothing is sent
                }
                let what = "delete".into();
                self.send(
                    client,
                    Sent {
                        index,
                        loaded,
                        task: None,
                        what,
                    },
                    "",
                )
            }
        }
    }

    fn payload(&mut self, text: usize) -> S::Payload {
        self.texts += 1;
        match text {
            0 => S::payload(&format!("{} {}", TEXTS[0], self.texts)),
            _ => S::payload(TEXTS[text]),
        }
    }

    fn create(&mut self, client: usize, text: usize) -> Outcome {
        let task = Task::new(self.payload(text));
        let index = self.rows.len();
        let shown = show(Some(&task));
        self.story.push(format!(
            "client {} creates task {}: {shown}",
            client + 1,
            index + 1
        ));
        match self.handle(client).create(&task) {
            Ok(id) => {
                self.rows.push(Row {
                    id,
                    task: Some(task),
                });
                for client in &mut self.clients {
                    client.copies.push(None);
                }
                self.last = Last::Accepted { index, client };
                Ok(())
            }
            Err(error) => self.breaks(Law::NoError, "the task is stored", format!("{error:?}")),
        }
    }

    /// The client has a copy of the task, loaded now if it had none.
    fn hold(&mut self, client: usize, index: usize) -> Outcome {
        match self.clients[client].copies[index] {
            Some(_) => Ok(()),
            None => self.read(client, index),
        }
    }

    fn read(&mut self, client: usize, index: usize) -> Outcome {
        self.clients[client].copies[index] = self.see(client, index)?;
        Ok(())
    }

    fn send(&mut self, client: usize, sent: Sent<S>, again: &str) -> Outcome {
        let Sent {
            index,
            loaded,
            ref task,
            ref what,
        } = sent;
        let id = self.rows[index].id.clone();
        let shown = task
            .as_ref()
            .map(|task| format!(" -> {}", show(Some(task))));
        self.story.push(format!(
            "client {} commits {what} of task {} at revision {loaded}{again}{}",
            client + 1,
            index + 1,
            shown.unwrap_or_default()
        ));
        let handle = self.handle(client);
        let answer = match task {
            Some(task) => handle.commit(&id, loaded, task),
            None => handle.delete(&id, loaded),
        };
        let row = self.rows[index].task.as_ref();
        let current = row.is_some_and(|row| row.revision() == loaded);
        match answer {
            Ok(changed) if changed == current => {}
            Ok(true) => {
                let law = match task {
                    Some(_) => Law::StaleIsRefused,
                    None => Law::StaleDeleteIsRefused,
                };
                return self.breaks(
                    law,
                    format!("no row is changed, for it is: {}", show(row)),
                    "one is",
                );
            }
            Ok(false) => return self.breaks(Law::CurrentIsAccepted, "a row is changed", "none is"),
            Err(error) => {
                let law = if row.is_none() {
                    Law::AbsenceIsNoError
                } else {
                    Law::NoError
                };
                let expected = if current {
                    "a row is changed"
                } else {
                    "no row is changed"
                };
                return self.breaks(law, expected, format!("{error:?}"));
            }
        }
        let copy = &mut self.clients[client].copies[index];
        if current {
            self.report.commits += u32::from(task.is_some());
            self.report.deletes += u32::from(task.is_none());
            self.last = Last::Accepted { index, client };
            copy.clone_from(task);
            self.rows[index].task.clone_from(task);
        } else {
            self.report.stale += 1;
            self.last = Last::Refused;
            *copy = None; // load again, decide again
        }
        self.clients[client].sent = Some(sent);
        Ok(())
    }

    /// Every client looks at every task, the one who acted first.
    fn look(&mut self) -> Outcome {
        let first = match self.last {
            Last::Accepted { client, .. } => client,
            Last::Refused | Last::Reopened => 0,
        };
        for client in if first == 0 { [0, 1] } else { [1, 0] } {
            for index in 0..self.rows.len() {
                self.see(client, index)?;
            }
        }
        Ok(())
    }

    /// Loads a task, which must be as the machine has it.
    fn see(&mut self, viewer: usize, index: usize) -> Outcome<Option<Task<S::Payload>>> {
        let id = self.rows[index].id.clone();
        let loaded = self.handle(viewer).load(&id);
        let row = self.rows[index].task.as_ref();
        let seen = match loaded {
            Ok(seen) if seen.as_ref() == row => return Ok(seen),
            seen => seen,
        };
        let expected = format!("task {}: {}", index + 1, show(row));
        let seen = match seen {
            Ok(seen) => seen,
            Err(error) => {
                let law = if row.is_none() {
                    Law::AbsenceIsNoError
                } else {
                    Law::NoError
                };
                return self.breaks(law, expected, format!("{error:?}"));
            }
        };
        let law = match self.last {
            Last::Reopened => Law::SurvivesCrash,
            Last::Refused => Law::RefusalWritesNothing,
            Last::Accepted { .. } if row.is_none() => Law::DeletedIsGone,
            Last::Accepted { index: changed, .. } if changed != index && self.watched => {
                Law::OthersAreUntouched
            }
            Last::Accepted { client, .. } if client != viewer => Law::SeenByAll,
            Last::Accepted { .. } => Law::StoredWhole,
        };
        let seen = format!("task {}: {}", index + 1, show(seen.as_ref()));
        self.breaks(law, expected, seen)
    }
}

/// Makes one of the changes that the task accepts. Returns its name, and whether it reverted.
fn make_change<T>(task: &mut Task<T>, change: Index, payload: T) -> (String, bool) {
    let accepted = EVENTS.iter().copied();
    let accepted = accepted.filter(|&operation| task.check(operation).is_ok());
    let accepted = accepted.collect::<Vec<_>>();
    // One more for an edit.
    match accepted.get(change.index(accepted.len() + 1)) {
        None => {
            task.edit(|current| *current = payload);
            ("edit".into(), false)
        }
        Some(&operation) => {
            let done = Event::new(operation, payload).map(|event| task.apply(event));
            let reverted = done.is_some_and(|done| done.is_ok_and(|done| done.reverted()));
            (operation.to_string(), reverted)
        }
    }
}

/// A task in a line.
fn show<T: fmt::Debug>(task: Option<&Task<T>>) -> String {
    let Some(task) = task else {
        return "none".into();
    };
    let previous = task.previous().map(|previous| {
        format!(
            ", previous {} with {}",
            previous.status,
            short(previous.payload)
        )
    });
    format!(
        "{}, revision {}, run {}, payload {}{}",
        task.status(),
        task.revision(),
        task.run(),
        short(task.payload()),
        previous.unwrap_or_default()
    )
}

/// A payload, cut where it is long.
fn short(payload: &impl fmt::Debug) -> String {
    let text = format!("{payload:?}");
    match text.char_indices().nth(60) {
        None => text,
        Some((at, _)) => format!("{}… ({} bytes)", &text[..at], text.len()),
    }
}
