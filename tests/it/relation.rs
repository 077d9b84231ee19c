//! The laws about a single step, enumerated over all states, and the relation written a second time
//! as a grid. A history is such steps one after the other, so nothing here is sampled.

use std::rc::Rc;

use allocation_counter::measure;
use task_lifecycle::{
    Draft, Event, Operation, Previous, Released, Revision, Run, Snapshot, SnapshotError, StaleRun,
    State, Status, Task, TransitionError,
};

use crate::common::{counted, task_in, task_in_each_state};

use Operation::{Cancel, Delete, Fail, Retry, Start, Succeed, Update};
use Status::{Cancelled, Failed, Processing, Starting, Succeeded};

/// A state is the first two letters of its status, then `<` and those of what it would revert to.
/// `.` is a refusal, `gone` the end of the task.
const COLUMNS: [&str; 9] = ["St", "Pr", "Su", "Fa", "Ca", "St<Su", "St<Fa", "Pr<Su", "Pr<Fa"];

#[rustfmt::skip]
const GRID: [(Operation, [&str; 9]); 7] = [
    //          St    Pr    Su       Fa       Ca      St<Su    St<Fa    Pr<Su    Pr<Fa
    (Start,   ["Pr", ".",  ".",     ".",     ".",    "Pr<Su", "Pr<Fa", ".",     "."]),
    (Retry,   [".",  "St", ".",     ".",     ".",    ".",     ".",     "St<Su", "St<Fa"]),
    (Succeed, [".",  "Su", ".",     ".",     ".",    ".",     ".",     "Su",    "Su"]),
    (Fail,    ["Fa", "Fa", ".",     ".",     ".",    "Su",    "Fa",    "Su",    "Fa"]),
    (Cancel,  ["Ca", ".",  ".",     ".",     ".",    "Su",    "Fa",    ".",     "."]),
    (Update,  [".",  ".",  "St<Su", "St<Fa", ".",    ".",     ".",     ".",     "."]),
    (Delete,  [".",  ".",  "gone",  "gone",  "gone", ".",     ".",     ".",     "."]),
];

fn name(state: State) -> String {
    let short = |status: Status| status.as_str()[..2].to_owned();
    let previous = state.previous().map(|previous| format!("<{}", short(previous)));
    short(state.status()) + &previous.unwrap_or_default()
}

type Answer<T> = Result<Option<T>, TransitionError>;

fn cases() -> impl Iterator<Item = (State, Operation)> {
    State::ALL.iter().flat_map(|&state| Operation::ALL.iter().map(move |&it| (state, it)))
}

/// Does an operation by the method of its name: the task afterwards, `None` if it is gone.
fn after<T>(mut task: Task<T>, operation: Operation, payload: T) -> Answer<Task<T>> {
    let from = task.state();
    let done = match operation {
        Start => task.start(),
        Retry => task.retry(),
        Succeed => task.succeed(),
        Fail => task.fail(),
        Cancel => task.cancel(),
        Update => task.update(payload),
        Delete => return Ok(task.delete().map(|_| None)?),
    }?;
    assert_eq!((done.operation, done.from, done.to), (operation, from, task.state()));
    Ok(Some(task))
}

/// The state alone, a task's methods and its dispatcher all answer as the grid does.
fn answers_as_the_grid<T>(payload: impl Fn(u32) -> T) {
    for ((from, operation), index) in cases().zip(0..) {
        let case = format!("{operation} in {from}");
        let answer = from.apply(operation);
        let cell = match answer {
            Err(_) => ".".to_owned(),
            Ok(None) => "gone".to_owned(),
            Ok(Some(next)) => name(next),
        };
        assert_eq!(cell, GRID[index % GRID.len()].1[index / GRID.len()], "{case}");
        if let Err(refused) = answer {
            assert_eq!((refused.operation(), refused.state()), (operation, from), "{case}");
        }
        let did = after(task_in(from, &payload), operation, payload(2));
        assert_eq!(did.map(|task| task.map(|it| it.state())), answer, "{case}");
        match Event::new(operation, payload(2)) {
            None => assert_eq!(operation, Delete),
            Some(event) => {
                assert_eq!(event.operation(), operation);
                let did = task_in(from, &payload).apply(event);
                assert_eq!(did.map(|done| Some(done.to)), answer, "{case}");
            }
        }
    }
}

#[test]
fn prop_relation() {
    let states: Vec<String> = State::ALL.iter().copied().map(name).collect();
    assert_eq!(states, COLUMNS, "a new state needs a column");
    assert_eq!(GRID.map(|row| row.0), Operation::ALL, "a new operation needs a row");
    answers_as_the_grid(|number| number);
}

/// A payload with no trait at all, one of no size and one that is dropped.
#[test]
fn prop_parametric() {
    struct Opaque;
    answers_as_the_grid(|_| Opaque);
    answers_as_the_grid(|_| ());
    answers_as_the_grid(|number| vec![Box::new(number)]);
}

#[test]
fn prop_starting_only() {
    for task in task_in_each_state(|number| number) {
        let (status, previous) = (task.status(), task.state().previous());
        let expected = (status == Starting).then(|| (previous.unwrap_or(Cancelled), None));
        let became = after(task, Cancel, 2).ok().flatten().map(|task| task.state());
        assert_eq!(became.map(|state| (state.status(), state.previous())), expected, "{status}");
    }
}

#[test]
fn prop_dry_run() {
    for (state, operation) in cases() {
        let task = task_in(state, |number| number);
        let did = after(task.clone(), operation, 2).map(|task| task.map(|it| it.state()));
        assert_eq!(task.check(operation), did, "{operation} of {task:?}");
    }
}

#[test]
fn prop_one_table() {
    for (state, operation) in cases() {
        let (status, task) = (state.status(), task_in(state, |number| number));
        assert_eq!((task.state(), task.status()), (state, status));
        assert_eq!(task.is_update(), state.is_update());
        assert_eq!(task.previous().map(|old| old.status), state.previous());
        let accepted = state.apply(operation).is_ok();
        assert_eq!(status.accepts(operation), accepted, "{operation} in {state}");
        let listed = operation.accepted_in();
        assert_eq!(listed.contains(&status), accepted, "{operation} in {state}");
        assert!(listed.is_sorted_by(|one, next| one < next), "{operation}");
    }
}

#[test]
fn prop_unchanged_on_refusal() {
    for (state, operation) in cases() {
        let task = task_in(state, |number| number);
        let mut tried = task.clone();
        if let Some(event) = Event::new(operation, 2) {
            assert!(tried.apply(event).is_ok() || tried == task, "{operation} of {task:?}");
        } else if let Err(refused) = tried.delete() {
            assert_eq!(refused.into_task(), task);
        }
    }
}

/// Equality, by which refusals are judged, sees every part of a task and of what is made of it.
#[test]
fn equality_sees_every_part() {
    fn all_differ<T: PartialEq + std::fmt::Debug>(values: &[T]) {
        for (one, first) in values.iter().enumerate() {
            for (other, second) in values.iter().enumerate() {
                assert_eq!(first == second, one == other, "{first:?} and {second:?}");
            }
        }
    }
    let snapshots = [
        (Starting, 5, 2, 'n', Some((Succeeded, 'p'))),
        (Processing, 5, 2, 'n', Some((Succeeded, 'p'))),
        (Starting, 6, 2, 'n', Some((Succeeded, 'p'))),
        (Starting, 5, 3, 'n', Some((Succeeded, 'p'))),
        (Starting, 5, 2, 'm', Some((Succeeded, 'p'))),
        (Starting, 5, 2, 'n', Some((Failed, 'p'))),
        (Starting, 5, 2, 'n', Some((Succeeded, 'q'))),
        (Starting, 5, 2, 'n', None),
    ]
    .map(|(status, revision, run, payload, previous)| {
        let previous = previous.map(|(status, payload)| Previous { status, payload });
        let (revision, run) = (Revision::new(revision), Run::new(run));
        Snapshot { status, revision, run, payload, previous }
    });
    all_differ(&snapshots);
    let tasks = snapshots.map(|snapshot| Task::try_from(snapshot).unwrap());
    all_differ(&tasks);
    all_differ(&tasks.map(Draft::new));

    // One task, made of four that differ in the run, in the revision, in the state.
    let mut drafts = [(1, 4, 0), (1, 4, 1), (1, 5, 1), (0, 5, 1)].map(|(state, revision, run)| {
        Draft::new(counted(task_in(State::ALL[state], |_| 'p'), revision, run))
    });
    drafts[0].retry().and(drafts[0].start()).unwrap();
    (0..2).for_each(|_| drafts[1].edit(|_| ()));
    drafts[2].edit(|_| ());
    drafts[3].start().unwrap();
    assert!(drafts.iter().all(|draft| **draft == *drafts[0]));
    all_differ(&drafts);

    let mut records = vec![Task::new('p').cancel().unwrap(); 7];
    records[1].operation = Fail;
    records[2].from = State::ALL[1];
    records[3].to = State::NEW;
    records[4].revision = Revision::new(2);
    records[5].run = Run::new(1);
    records[6].released = Released::Update('p');
    all_differ(&records);
    all_differ(&[Released::Nothing, Released::Previous('p'), Released::Update('p')]);
    all_differ(&[Event::Start, Event::Retry, Event::Update('p'), Event::Update('q')]);
    all_differ(&cases().filter_map(|(state, it)| state.apply(it).err()).collect::<Vec<_>>());
}

/// Every payload is in the task, was handed out or, if it was offered in vain, was dropped.
#[test]
fn prop_nothing_lost() {
    fn parts<T>(task: Task<T>) -> impl Iterator<Item = T> {
        let Snapshot { payload, previous, .. } = task.into();
        previous.map(|old| old.payload).into_iter().chain([payload])
    }
    for (state, operation) in cases() {
        let payloads = [0, 1, 2].map(Rc::new);
        let mut task = task_in(state, |number| payloads[number as usize].clone());
        let (is_update, accepted) = (state.is_update(), state.apply(operation).is_ok());
        let kept: Vec<_> = match Event::new(operation, payloads[2].clone()) {
            Some(event) => {
                let released = task.apply(event).ok().and_then(|done| done.released.into_payload());
                parts(task).chain(released).collect()
            }
            None => task
                .delete()
                .map_or_else(|kept| parts(kept.into_task()).collect(), |payload| vec![payload]),
        };
        let expected = [true, is_update, operation == Update && accepted].map(usize::from);
        for (payload, expected) in payloads.iter().zip(expected) {
            let found = kept.iter().filter(|it| Rc::ptr_eq(it, payload)).count();
            let alive = Rc::strong_count(payload) - 1;
            assert_eq!((found, alive), (expected, expected), "{payload}: {operation} in {state}");
        }
    }
}

#[test]
fn prop_counted() {
    let counters = [(0, 0), (7, u64::MAX), (u64::MAX, 3), (u64::MAX, u64::MAX)];
    for ((state, operation), (revision, run)) in
        cases().flat_map(|case| counters.map(|numbers| (case, numbers)))
    {
        let Some(event) = Event::new(operation, 2) else { continue };
        let mut task = counted(task_in(state, |number| number), revision, run);
        let accepted = u64::from(task.apply(event).is_ok());
        let queued = if matches!(operation, Retry | Update) { accepted } else { 0 };
        let now = |task: &Task<u32>| (task.revision().get(), task.run().get());
        let expected = (revision.wrapping_add(accepted), run.wrapping_add(queued));
        assert_eq!(now(&task), expected, "{operation} in {state}");
        let is_seen = task.check_revision(Revision::new(revision)).is_err();
        assert_eq!(is_seen, accepted == 1, "{operation} in {state}");
        let held = *task.payload();
        assert_eq!(task.edit(|payload| std::mem::replace(payload, 9)), held);
        assert_eq!(task.payload(), &9);
        assert_eq!(now(&task), (expected.0.wrapping_add(1), expected.1));
    }
}

/// Now; that a run which is over never comes back is asked of every sequence, in `client.rs`.
#[test]
fn prop_fenced() {
    for task in task_in_each_state(|number| number) {
        for run in [0, 1 << 53, 1 << 63, u64::MAX] {
            let mut task = counted(task.clone(), 4, run);
            task.edit(|payload| *payload += 1);
            let (actual, status) = (task.run(), task.status());
            for distance in [0, 1, 2, (1 << 63) - 1, 1 << 63, u64::MAX] {
                let expected = Run::new(run.wrapping_add(distance));
                let stale = StaleRun { expected, actual, status };
                let is_current = distance == 0 && status.is_active();
                let answer = if is_current { Ok(()) } else { Err(stale) };
                assert_eq!(task.check_run(expected), answer, "{task:?}");
                assert_eq!(stale.is_ahead(), (1..1 << 63).contains(&distance), "{stale}");
            }
        }
    }
}

/// At the end of the counters' range, too. The program `panic-free` proves it of every path.
#[test]
fn prop_no_panic() {
    for (state, operation) in cases() {
        let task = counted(task_in(state, |number| number), u64::MAX, u64::MAX);
        let _ = format!("{:?} {:?}", task.check(operation), Draft::new(task.clone()));
        let _ = after(task, operation, 2).map(|task| task.map(|mut it| it.edit(|_| ())));
    }
    // A panic inside an edit is the caller's: it is counted, and leaves a valid task.
    let mut task = Task::new(1);
    let edit = || task.edit(|_| panic!("the caller's"));
    assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(edit)).is_err());
    assert_eq!((task.status(), task.revision()), (Starting, Revision::new(1)));
    assert!(task.cancel().is_ok());
}

#[test]
fn no_operation_allocates() {
    for (state, operation) in cases() {
        let make = |_| "a payload on the heap".to_owned();
        let (loaded, update, edited) = (task_in(state, make), make(0), make(0));
        let counted = measure(|| {
            let mut draft = Draft::new(loaded);
            draft.edit(|payload| *payload = edited);
            let _ = (draft.queued(), draft.taken(), draft.previous());
            let _ = (draft.check(operation), draft.outcome(Some(&*draft)));
            match Event::new(operation, update) {
                Some(event) => drop(draft.apply(event)),
                None => drop(draft.into_task().delete()),
            }
        });
        assert_eq!(counted.count_total, 0, "{operation} in {state}");
    }
    assert_eq!(measure(|| drop(Box::new(1))).count_total, 1, "the counter counts");
}

#[test]
fn from_parts_makes_the_nine_states_and_names_every_fault() {
    use SnapshotError::{PreviousNotFinished, UnexpectedPrevious};
    let mut states = Vec::new();
    for &status in Status::ALL {
        for previous in [None].into_iter().chain(Status::ALL.iter().copied().map(Some)) {
            let fault = match previous {
                Some(_) if status.is_completed() => Some(UnexpectedPrevious { status }),
                Some(old) if !old.is_finished() => Some(PreviousNotFinished { status: old }),
                _ => None,
            };
            let made = State::from_parts(status, previous);
            assert_eq!(made.err(), fault, "{status} {previous:?}");
            if let Ok(state) = made {
                assert_eq!((state.status(), state.previous()), (status, previous));
                assert_eq!(state.is_update(), previous.is_some());
                states.push(state);
            }
        }
    }
    assert!(states.len() == State::ALL.len(), "a new state belongs in ALL, once");
    assert!(states.iter().all(|state| State::ALL.contains(state)), "a new state belongs in ALL");
}
