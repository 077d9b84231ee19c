//! A lost answer is settled right, whatever happened in the meantime.

use std::cell::RefCell;

use task_stores::settle::{Settled, settle};
use task_stores::{Document, Task};

/// When an attempt to commit reaches the store.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Arrives {
    AtOnce,
    /// So many calls later.
    Late(usize),
    Never,
}

/// What others do.
#[derive(Clone, Copy, Debug)]
enum Others {
    Nothing,
    Edit(usize),
    Delete,
}

const TIMES: [Arrives; 5] =
    [Arrives::AtOnce, Arrives::Late(1), Arrives::Late(2), Arrives::Late(3), Arrives::Never];
const OTHERS: [Others; 5] =
    [Others::Nothing, Others::Edit(1), Others::Edit(2), Others::Edit(3), Others::Delete];

/// A store that loses the first two answers to commits, and takes them in when the story says so.
struct Story {
    task: Option<Task>,
    wanted: Option<Task>,
    loaded: u64,
    calls: usize,
    commits: usize,
    arrives: [Arrives; 2],
    /// The calls at which what was sent arrives.
    due: Vec<usize>,
    /// The call at which others act.
    others: (usize, Others),
    was_stored: bool,
}

impl Story {
    fn take_in(&mut self) -> bool {
        let won = self.task.as_ref().is_some_and(|task| task.revision() == self.loaded);
        if won {
            self.task.clone_from(&self.wanted);
            self.was_stored = true;
        }
        won
    }

    /// What happens between two calls.
    fn time_passes(&mut self) {
        self.calls += 1;
        if self.others.0 == self.calls {
            match (self.others.1, &mut self.task) {
                (Others::Edit(times), Some(task)) => {
                    for _ in 0..times {
                        task.edit(|it| it.message.push_str(" by others"));
                    }
                }
                (Others::Delete, task) => *task = None,
                (Others::Nothing | Others::Edit(_), _) => {}
            }
        }
        if self.due.contains(&self.calls) {
            self.take_in();
        }
    }

    fn commit(&mut self) -> Result<bool, ()> {
        self.time_passes();
        self.commits += 1;
        let Some(arrives) = self.arrives.get(self.commits - 1) else { return Ok(self.take_in()) };
        match arrives {
            Arrives::AtOnce => _ = self.take_in(),
            Arrives::Late(calls) => self.due.push(self.calls + calls),
            Arrives::Never => {}
        }
        Err(())
    }

    fn load(&mut self) -> Result<Option<Task>, ()> {
        self.time_passes();
        if self.calls.is_multiple_of(3) { Err(()) } else { Ok(self.task.clone()) }
    }
}

fn document(message: &str) -> Document {
    Document { message: message.to_owned(), ..Document::default() }
}

/// One change, two, or a delete, close to where the revision wraps.
fn wanted(loaded: &Task) -> [Option<Task>; 3] {
    let mut one = loaded.clone();
    one.edit(|it| it.message.push_str(" by me"));
    let mut two = one.clone();
    two.edit(|it| it.message.push_str(" again"));
    [Some(one), Some(two), None]
}

#[tokio::test(start_paused = true)]
async fn a_lost_answer_is_settled() {
    let mut seen = [0; 3];
    let mut old = Task::new(document("text"));
    let snapshot = task_lifecycle::Snapshot { revision: u64::MAX - 1, ..old.into() };
    old = snapshot.try_into().unwrap();
    for wanted in wanted(&old) {
        for first in TIMES {
            for second in TIMES {
                for others in OTHERS {
                    for when in 1..8 {
                        let story = RefCell::new(Story {
                            task: Some(old.clone()),
                            wanted: wanted.clone(),
                            loaded: old.revision(),
                            calls: 0,
                            commits: 0,
                            arrives: [first, second],
                            due: Vec::new(),
                            others: (when, others),
                            was_stored: false,
                        });
                        let commit = async || story.borrow_mut().commit();
                        let load = async || story.borrow_mut().load();
                        let settled = settle(old.revision(), wanted.as_ref(), commit, load).await;
                        let mut story = story.into_inner();
                        let told = (first, second, others, when);
                        let early = story.was_stored;
                        for _ in 0..8 {
                            story.time_passes(); // what is late arrives
                        }
                        let is_gone = wanted.is_none() && story.task.is_none();
                        match settled {
                            Settled::Won => assert!(early || is_gone, "{told:?}"),
                            Settled::Lost => assert!(!story.was_stored, "{told:?}"),
                            Settled::Unknown => assert!(
                                matches!(others, Others::Edit(_) | Others::Delete)
                                    && wanted.is_some(),
                                "{told:?}"
                            ),
                        }
                        seen[settled as usize] += 1;
                    }
                }
            }
        }
    }
    assert!(seen.iter().all(|&count| count > 50), "{seen:?}");
}

/// Two workers have the same message, and the answer to the first is lost.
#[tokio::test]
async fn equal_commits_are_told_apart_by_a_mark() {
    for marks in [false, true] {
        let old = Task::new(document("text"));
        let [mine, others] = ["me", "somebody else"].map(|name| {
            let mut task = old.clone();
            task.start().unwrap();
            if marks {
                task.edit(|it| it.others.insert("worker".to_owned(), name.into()));
            }
            task
        });
        // Mine does not arrive; the other worker is answered that it won.
        let settled =
            settle(0, Some(&mine), async || Err(()), async || Ok(Some(others.clone()))).await;
        assert_eq!(settled, if marks { Settled::Lost } else { Settled::Won });
    }
}
