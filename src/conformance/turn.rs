//! What one thread does with one task, while another does the same.

use std::vec::Vec;

use super::Store;
use super::call::{Answer, Request, ask};
use super::chain::{Author, GONE, Note};
use super::flight::{Fault, block_on, quietly};
use super::model::Write;
use super::round::Round;
use crate::Task;

/// An answer, and to a write what was asked.
pub(super) enum Heard<S: Store> {
    Loaded(Answer<S>),
    Wrote {
        from: u64,
        deletes: bool,
        again: bool,
        answer: Answer<S>,
    },
}

pub(super) fn answer<S: Store>(store: &S, request: &Request<S>) -> Answer<S> {
    quietly(|| block_on(ask(store, request)))
        .unwrap_or_else(|text| Answer::None(Fault::Panicked(text)))
}

/// Who writes what must be refused.
const NOBODY: usize = 2;

/// Loads and commits, as often as a thread does, and after some that are accepted commits once
/// more from the same copy, which is stale then. Looking closely at what was heard takes time in which nobody races, so that is
/// done afterwards.
pub(super) fn change<S: Store>(store: &S, round: Round, id: &S::Id, me: usize) -> Vec<Heard<S>> {
    let load = Request::Load(id.clone());
    let mut heard = Vec::new();
    for step in 0..round.steps {
        let loaded = answer(store, &load);
        let deletes = round.deletes(me, step);
        let task = if let Answer::Loaded(task) = &loaded {
            task.clone()
        } else {
            None
        };
        heard.push(Heard::Loaded(loaded));
        let Some(task) = task else {
            break;
        };
        let from = task.revision();
        let mut commit = |task, again| {
            let write = Request::Write(id.clone(), Write { loaded: from, task });
            let answer = answer(store, &write);
            let accepted = matches!(answer, Answer::Written(true));
            heard.push(Heard::Wrote {
                from,
                deletes,
                again,
                answer,
            });
            accepted
        };
        let stale = (!deletes).then(|| round.change::<S>(task.clone(), NOBODY));
        let accepted = commit((!deletes).then(|| round.change::<S>(task, me)), false);
        if accepted && step % 3 == 0 {
            commit(stale, true);
        }
    }
    heard
}

/// What was heard, without what cannot leave the thread.
pub(super) fn notes<S: Store>(heard: Vec<Heard<S>>, round: Round) -> Vec<Note> {
    let base = round.base::<S>();
    let note = |heard| match heard {
        Heard::Loaded(Answer::Loaded(task)) => {
            let revision = task.as_ref().map_or(GONE, Task::revision);
            let author = task.map(|task| round.author::<S>(&task, &base));
            let author = author.unwrap_or(Author::Start);
            Note::Saw { revision, author }
        }
        Heard::Loaded(answer) => Note::failed("loads task 1", &answer),
        Heard::Wrote {
            from,
            deletes,
            again,
            answer: Answer::Written(accepted),
        } => {
            let to = if deletes {
                GONE
            } else {
                from.wrapping_add(round.each())
            };
            Note::Wrote {
                from,
                to,
                again,
                accepted,
            }
        }
        Heard::Wrote {
            answer: Answer::Error(_),
            ..
        } if S::LOSES_ANSWERS => Note::Unknown,
        Heard::Wrote {
            deletes: true,
            answer,
            ..
        } => Note::failed("commits a delete of task 1", &answer),
        Heard::Wrote { answer, .. } => Note::failed("commits a change of task 1", &answer),
    };
    heard.into_iter().map(note).collect()
}
