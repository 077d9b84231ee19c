//! A change whose answers are lost is settled right, whatever happens in the meantime.

use std::cell::RefCell;

use task_lifecycle::{Snapshot, Status};
use task_stores::settle::{Settled, settle};
use task_stores::{Draft, Task};

use crate::harness::document;

/// After how many calls a commit without an answer arrives: the last never does.
const ARRIVES: [usize; 5] = [0, 1, 2, 3, 1000];

/// The acts of others, between two calls.
const OTHERS: [fn(&mut Option<Task>); 5] = [
    |_| {},
    |task| task.as_mut().unwrap().edit(|it| it.output = None),
    |task| (0..2).for_each(|_| task.as_mut().unwrap().edit(|it| it.output = None)),
    |task| _ = task.as_mut().unwrap().start(),
    |task| *task = None,
];

/// A store that loses its first answers to commits.
struct Story {
    task: Option<Task>,
    calls: usize,
    arrives: Vec<usize>,
    late: Vec<(usize, Draft)>,
    others: (usize, fn(&mut Option<Task>)),
    made: usize,
}

impl Story {
    fn next_call(&mut self) -> &mut Self {
        for (_, draft) in self.late.extract_if(.., |it| it.0 == self.calls).collect::<Vec<_>>() {
            self.take_in(draft);
        }
        self.calls += 1;
        if self.others.0 == self.calls && self.task.is_some() {
            self.others.1(&mut self.task);
        }
        self
    }

    fn take_in(&mut self, draft: Draft) -> bool {
        let is_current = self.task.as_ref().is_some_and(|it| it.revision() == draft.loaded());
        if is_current {
            self.task = Some(draft.into_task());
            self.made += 1;
        }
        is_current
    }

    fn load(&self) -> Result<Option<Task>, ()> {
        if self.calls.is_multiple_of(4) { Err(()) } else { Ok(self.task.clone()) }
    }

    fn commit(&mut self, draft: Draft) -> Result<bool, ()> {
        let Some(delay) = self.arrives.pop() else { return Ok(self.take_in(draft)) };
        self.late.push((self.calls + delay, draft));
        Err(())
    }
}

#[tokio::test(start_paused = true)]
async fn a_lost_answer_is_settled() {
    let last = Snapshot { revision: u64::MAX.into(), ..Task::new(document("text")).into() };
    let (task, mut seen) = (Task::try_from(last).unwrap(), [0; 4]);
    for case in 0..5 * 5 * 5 * 9 {
        let arrives = vec![ARRIVES[case % 5], ARRIVES[case / 5 % 5]];
        let others = (case / 125, OTHERS[case / 25 % 5]);
        let told = format!("second, first {arrives:?}; others {} at {}", case / 25 % 5, others.0);
        let (task, late) = (Some(task.clone()), Vec::new());
        let story = RefCell::new(Story { task, calls: 0, arrives, late, others, made: 0 });
        let mut decisions = 0;
        let cancel = |draft: &mut Draft| {
            decisions += 1;
            draft.edit(|it| it.message = format!("decision {decisions}"));
            draft.cancel().map(drop)
        };
        let load = async || story.borrow_mut().next_call().load();
        let commit = async |draft| story.borrow_mut().next_call().commit(draft);
        let settled = settle(load, cancel, commit).await;
        let mut story = story.into_inner();
        let made = story.made;
        (0..5).for_each(|_| _ = story.next_call()); // what is late arrives
        let (kind, is_right) = match settled {
            Settled::Made(task) => (0, made == 1 && task.status() == Status::Cancelled),
            Settled::Refused(_) => (1, story.made == 0),
            Settled::Gone => (2, story.made == 0),
            Settled::Unknown => (3, case / 25 % 5 > 0),
        };
        assert!(is_right && story.made <= 1, "{told}: {kind}, made {made}, {:?}", story.task);
        seen[kind] += 1;
    }
    assert!(seen.iter().all(|&count| count >= 20), "{seen:?}");
}
