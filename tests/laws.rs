//! The laws that are about histories and stored tasks, each as a property. A property fails too if
//! its cases did not reach what it is about. The other laws are enumerated, in `relation.rs`.

mod common;

use std::cell::RefCell;
use std::rc::Rc;

use common::{Step, Tally, check, events, history};
use proptest::prelude::*;
use task_lifecycle::strategy::{broken_snapshot, snapshot, state, status, task_in};
use task_lifecycle::{
    Event, Operation, Released, Snapshot, SnapshotError, StaleRun, State, Status, Task, Transition,
    TransitionError,
};

/// Does a step; `None` for an edit.
fn take<T>(task: &mut Task<T>, step: Step<T>) -> Option<Result<Transition<T>, TransitionError>> {
    match step {
        Step::Apply(event) => Some(task.apply(event)),
        Step::Edit(payload) => {
            task.edit(|current| *current = payload);
            None
        }
    }
}

#[test]
fn prop_identity() {
    let ends = prop::sample::select(vec![
        ("cancel", vec![Event::Cancel]),
        ("fail", vec![Event::Fail]),
        ("start, fail", vec![Event::Start, Event::Fail]),
    ]);
    let rounds = prop::collection::vec(prop::collection::vec(3000..4000_u32, 0..3), 0..4);
    let finished = prop::sample::select(vec![Status::Succeeded, Status::Failed])
        .prop_flat_map(|status| task_in(State::from_parts(status, None).unwrap(), 0..2000_u32));
    let floors = [
        ("cancel", 10),
        ("fail", 10),
        ("start, fail", 10),
        ("Succeeded", 15),
        ("Failed", 15),
        ("retried", 40),
        ("edited", 40),
    ];
    check((finished, 2000..3000_u32, rounds, ends), &floors, |case, tally| {
        let (mut task, mut payload, rounds, (end, events)) = case;
        let before = task.clone();
        task.update(payload).unwrap();
        for edits in rounds {
            tally.hit("retried");
            task.start().unwrap();
            for edit in edits {
                tally.hit("edited");
                task.edit(|current| *current = edit);
                payload = edit;
            }
            task.retry().unwrap();
        }
        let last = events.into_iter().map(|event| task.apply(event).unwrap()).last().unwrap();

        prop_assert_eq!(task.status(), before.status());
        prop_assert_eq!(task.payload(), before.payload());
        prop_assert_eq!(task.previous(), None);
        prop_assert_eq!(last.to, before.state());
        prop_assert!(last.reverted());
        prop_assert_eq!(last.released, Released::Update(payload));
        tally.hit(end);
        tally.hit(before.status().as_str());
        Ok(())
    });
}

#[test]
fn prop_unchanged_on_refusal() {
    let floors = [("refused", 100), ("refused delete", 40)];
    check(history(6), &floors, |(mut task, steps), tally| {
        for step in steps {
            take(&mut task, step);
            for event in events(9000) {
                let mut tried = task.clone();
                if tried.apply(event).is_err() {
                    tally.hit("refused");
                    prop_assert_eq!(&tried, &task);
                }
            }
            if let Err(refused) = task.clone().delete() {
                tally.hit("refused delete");
                prop_assert_eq!(refused.into_task(), task.clone());
            }
        }
        Ok(())
    });
}

/// A payload that tells when it is dropped.
struct Counted {
    id: usize,
    dropped: Rc<RefCell<Vec<usize>>>,
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.dropped.borrow_mut().push(self.id);
    }
}

#[test]
fn prop_nothing_lost() {
    let floors = [
        ("reverted", 20),
        ("update succeeded", 5),
        ("refused update", 8),
        ("deleted", 10),
        ("refused delete", 10),
    ];
    check(history(16), &floors, |(start, steps), tally| {
        let dropped = Rc::default();
        let mut made = 0;
        let mut payload = || {
            made += 1;
            Counted { id: made, dropped: Rc::clone(&dropped) }
        };
        let mut task = start.map(|_| payload());

        let mut handed_out = Vec::new();
        let mut refused = Vec::new();
        for step in steps {
            // An edit in place makes no payload and drops none.
            if let Step::Edit(_) = step {
                task.edit(|_| ());
                continue;
            }
            let Step::Apply(event) = step.map(|_| payload()) else {
                continue;
            };
            let offered = if let Event::Update(payload) = &event { Some(payload.id) } else { None };
            match task.apply(event) {
                Ok(done) => {
                    match &done.released {
                        Released::Previous(_) => tally.hit("update succeeded"),
                        Released::Update(_) => tally.hit("reverted"),
                        Released::Nothing => {}
                    }
                    handed_out.extend(done.released.into_payload());
                }
                Err(_) => {
                    if let Some(id) = offered {
                        tally.hit("refused update");
                        refused.push(id);
                    }
                }
            }
            prop_assert_eq!(&*dropped.borrow(), &refused);
        }
        match task.delete() {
            Ok(payload) => {
                tally.hit("deleted");
                handed_out.push(payload);
            }
            Err(kept) => {
                tally.hit("refused delete");
                let Snapshot { payload, previous, .. } = kept.into_task().into();
                handed_out.push(payload);
                handed_out.extend(previous.map(|old| old.payload));
            }
        }
        prop_assert_eq!(&*dropped.borrow(), &refused);
        let mut ids: Vec<_> = handed_out.iter().map(|payload| payload.id).collect();
        ids.extend(&refused);
        ids.sort_unstable();
        prop_assert_eq!(ids, (1..=made).collect::<Vec<_>>());
        Ok(())
    });
}

#[test]
fn prop_counted() {
    let floors = [
        ("accepted", 100),
        ("queued again", 30),
        ("edited", 30),
        ("refused", 25),
        ("reverted", 20),
        ("last revision", 2),
        ("last run", 2),
    ];
    check(history(16), &floors, |(mut task, steps), tally| {
        for step in steps {
            let (revision, run) = (task.revision(), task.run());
            let (changes, runs) = match take(&mut task, step) {
                Some(Ok(done)) => {
                    prop_assert_eq!((done.revision, done.run), (task.revision(), task.run()));
                    let queued = matches!(done.operation, Operation::Update | Operation::Retry);
                    tally.hit(match (queued, done.reverted()) {
                        (true, _) => "queued again",
                        (false, true) => "reverted",
                        (false, false) => "accepted",
                    });
                    (1, u64::from(queued))
                }
                None => {
                    tally.hit("edited");
                    (1, 0)
                }
                Some(Err(_)) => {
                    tally.hit("refused");
                    (0, 0)
                }
            };
            prop_assert_eq!(task.revision(), revision.wrapping_add(changes));
            prop_assert_eq!(task.run(), run.wrapping_add(runs));
            if task.revision() < revision {
                tally.hit("last revision");
            }
            if task.run() < run {
                tally.hit("last run");
            }
            // No reader of the moment before is taken for one of the moment after.
            prop_assert_eq!(task.check_revision(revision).is_ok(), changes == 0);
            prop_assert!(task.check_revision(task.revision()).is_ok());
        }
        Ok(())
    });
}

#[test]
fn prop_stored_form() {
    let stored = prop_oneof![snapshot(0..1000_u32), broken_snapshot(0..1000_u32)];
    let floors = [("valid", 5), ("updating", 5), ("unexpected", 5), ("not finished", 1)];
    check(stored, &floors, |snapshot: Snapshot<u32>, tally| {
        let Snapshot { status, revision, run, payload, .. } = snapshot;
        match Task::try_from(snapshot.clone()) {
            Ok(task) => {
                tally.hit(if task.is_update() { "updating" } else { "valid" });
                prop_assert!(State::ALL.contains(&task.state()));
                prop_assert_eq!((task.revision(), task.run()), (revision, run));
                prop_assert_eq!(task.payload(), &payload);
                let borrowed = Snapshot::from(&task);
                prop_assert_eq!(borrowed.status, snapshot.status);
                prop_assert_eq!((borrowed.revision, borrowed.run), (revision, run));
                prop_assert_eq!(borrowed.payload, &snapshot.payload);
                prop_assert_eq!(
                    borrowed.previous.map(|old| (old.status, *old.payload)),
                    snapshot.previous.clone().map(|old| (old.status, old.payload))
                );
                #[cfg(feature = "serde")]
                {
                    let text = serde_json::to_string(&task).unwrap();
                    prop_assert_eq!(&text, &serde_json::to_string(&snapshot).unwrap());
                    let read: Snapshot<u32> = serde_json::from_str(&text).unwrap();
                    prop_assert_eq!(&read, &snapshot);
                    prop_assert_eq!(&serde_json::from_str::<Task<u32>>(&text).unwrap(), &task);
                }
                prop_assert_eq!(Snapshot::from(task), snapshot);
            }
            Err(SnapshotError::UnexpectedPrevious { status: named }) => {
                tally.hit("unexpected");
                prop_assert_eq!(named, status);
                prop_assert!(!status.is_active() && snapshot.previous.is_some());
            }
            Err(SnapshotError::PreviousNotFinished { status: named }) => {
                tally.hit("not finished");
                prop_assert!(status.is_active() && !named.is_finished());
                prop_assert_eq!(snapshot.previous.map(|old| old.status), Some(named));
            }
        }
        Ok(())
    });
}

#[test]
fn prop_no_panic() {
    let text = prop_oneof![any::<String>(), "[A-Z]?[a-z]{4,9}"];
    let floors = [("end", 5), ("word", 1)];
    let words = prop_oneof![text, status().prop_map(|word| word.to_string())];
    check((history(24), words), &floors, |((mut task, steps), text), tally| {
        if text.parse::<Status>().is_ok() || text.parse::<Operation>().is_ok() {
            tally.hit("word");
        }
        #[cfg(feature = "serde")]
        let _ = serde_json::from_str::<Task<u32>>(&text);
        for step in steps {
            let _ = take(&mut task, step);
            let _ = format!("{task:?} {:?} {}", task.state(), task.state());
            let _ = (task.check_run(task.run()), task.check_run(7));
            for &operation in Operation::ALL {
                if let Err(refused) = task.check(operation) {
                    let _ = (refused.to_string(), refused.is_repeat());
                }
            }
            if task.revision() == u64::MAX || task.run() == u64::MAX {
                tally.hit("end");
            }
        }
        let _ = task.delete().map_err(|kept| format!("{kept} {kept:?}"));
        Ok(())
    });
}

/// A payload with no trait at all.
struct Opaque;

#[test]
fn prop_parametric() {
    fn replay<T>(task: &Task<u32>, steps: &[Step<u32>], payload: impl Fn(u32) -> T) -> Vec<String> {
        let mut task = task.clone().map(&payload);
        let answers = steps.iter().cloned().map(|step| {
            let did = take(&mut task, step.map(&payload)).map(|did| did.map(|done| record(&done)));
            format!("{did:?} {:?} {} {}", task.state(), task.revision(), task.run())
        });
        answers.collect()
    }

    /// What was done, without the payload.
    fn record<T>(done: &Transition<T>) -> String {
        let released = match &done.released {
            Released::Nothing => "nothing",
            Released::Previous(_) => "previous",
            Released::Update(_) => "update",
        };
        let (from, to) = (done.from, done.to);
        format!("{} {from} {to} {} {} {released}", done.operation, done.revision, done.run)
    }

    check(history(16), &[("steps", 50)], |(task, steps), tally| {
        if !steps.is_empty() {
            tally.hit("steps");
        }
        let answers = replay(&task, &steps, |value| value);
        prop_assert_eq!(&replay(&task, &steps, |_| ()), &answers);
        prop_assert_eq!(&replay(&task, &steps, |_| Opaque), &answers);
        prop_assert_eq!(&replay(&task, &steps, |value| vec![value; 3]), &answers);
        prop_assert_eq!(&replay(&task, &steps, |value| Some(Box::new(value))), &answers);
        Ok(())
    });
}

/// A run is current until the task is queued again or completed, whatever edits come between; and
/// what is over stays over.
#[test]
fn prop_fenced() {
    let floors = [
        ("current", 50),
        ("edited", 30),
        ("completed", 30),
        ("queued again", 30),
        ("reverted", 15),
    ];
    check(history(16), &floors, |(mut task, steps), tally| {
        let mut over = Vec::new();
        for step in steps {
            let run = task.run();
            let mut is_current = task.status().is_active();
            if let Some(done) = take(&mut task, step) {
                if let Ok(done) = done {
                    is_current &= done.operation == Operation::Start;
                    if done.reverted() {
                        tally.hit("reverted");
                    }
                }
            } else {
                tally.hit("edited");
            }
            let (actual, status) = (task.run(), task.status());
            let stale = Err(StaleRun { expected: run, actual, status });
            let expected = if is_current { Ok(()) } else { stale };
            prop_assert_eq!(task.check_run(run), expected, "run {} of {:?}", run, &task);
            tally.hit(match (is_current, run == actual) {
                (true, _) => "current",
                (false, true) => "completed",
                (false, false) => "queued again",
            });
            if !is_current {
                over.push(run);
            }
            for &run in &over {
                prop_assert!(task.check_run(run).is_err(), "run {} of {:?}", run, &task);
            }
            prop_assert_eq!(task.check_run(actual).is_ok(), status.is_active());
        }
        Ok(())
    });
}

/// The floors are real: a property that reaches nothing fails.
#[test]
#[should_panic(expected = "nothing: reached 0 times")]
fn a_floor_that_is_not_reached_fails() {
    check(state(), &[("nothing", 1)], |_, _: &Tally| Ok(()));
}

/// A panic inside an edit is the caller's, and leaves a valid task.
#[test]
fn an_edit_that_panics_leaves_a_valid_task_and_counts() {
    let mut task = Task::new(String::from("before"));
    let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        task.edit(|payload| {
            payload.clear();
            panic!("the caller's");
        })
    }));
    assert!(panicked.is_err());
    assert_eq!((task.status(), task.revision()), (Status::Starting, 1));
    assert!(task.cancel().is_ok());
}
