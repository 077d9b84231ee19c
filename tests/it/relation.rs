//! The laws about a single step, enumerated over all states, and the relation written a second time
//! as a grid. A history is such steps one after the other, so nothing here is sampled.

use std::cell::RefCell;

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

fn cell(answer: Result<Option<State>, TransitionError>) -> String {
    match answer {
        Err(_) => ".".to_owned(),
        Ok(None) => "gone".to_owned(),
        Ok(Some(next)) => name(next),
    }
}

/// Does an operation by the method of its name: the task afterwards, `None` if it is gone.
fn after<T>(
    mut task: Task<T>,
    operation: Operation,
    payload: T,
) -> Result<Option<Task<T>>, TransitionError> {
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
    for (index, &from) in State::ALL.iter().enumerate() {
        for (operation, row) in GRID {
            let case = format!("{operation} in {from}");
            let answer = from.apply(operation);
            assert_eq!(cell(answer), row[index], "{case}");
            if let Err(refused) = answer {
                assert_eq!((refused.operation(), refused.state()), (operation, from), "{case}");
            }
            let did = after(task_in(from, &payload), operation, payload(2));
            assert_eq!(did.map(|task| task.map(|it| it.state())), answer, "{case}");
            if let Some(event) = Event::new(operation, payload(2)) {
                assert_eq!(event.operation(), operation);
                let did = task_in(from, &payload).apply(event);
                assert_eq!(did.map(|done| Some(done.to)), answer, "{case}");
            } else {
                assert_eq!(operation, Delete);
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
        match after(task, Cancel, 2) {
            Ok(task) => {
                assert_eq!(status, Starting);
                let became = task.expect("a task that was cancelled").state();
                let expected = previous.unwrap_or(Cancelled);
                assert_eq!((became.status(), became.previous()), (expected, None));
            }
            Err(_) => assert_ne!(status, Starting),
        }
    }
}

#[test]
fn prop_dry_run() {
    for task in task_in_each_state(|number| number) {
        for &operation in Operation::ALL {
            let did = after(task.clone(), operation, 2);
            let became = did.map(|task| task.map(|it| it.state()));
            assert_eq!(task.check(operation), became, "{operation} of {task:?}");
        }
    }
}

#[test]
fn prop_one_table() {
    for (index, &state) in State::ALL.iter().enumerate() {
        let (status, task) = (state.status(), task_in(state, |number| number));
        assert_eq!((task.state(), task.status()), (state, status));
        assert_eq!(task.is_update(), state.is_update());
        assert_eq!(task.previous().map(|old| old.status), state.previous());
        for (operation, row) in GRID {
            let case = format!("{operation} in {state}");
            let accepted = row[index] != ".";
            assert_eq!(status.accepts(operation), accepted, "{case}");
            assert_eq!(operation.accepted_in().contains(&status), accepted, "{case}");
        }
    }
    for operation in Operation::ALL {
        assert!(operation.accepted_in().is_sorted_by(|one, next| one < next), "{operation}");
    }
}

#[test]
fn prop_unchanged_on_refusal() {
    for task in task_in_each_state(|number| number) {
        for &operation in Operation::ALL {
            let mut tried = task.clone();
            if let Some(event) = Event::new(operation, 2) {
                if tried.apply(event).is_err() {
                    assert_eq!(tried, task, "{operation}");
                }
            } else if let Err(refused) = tried.delete() {
                assert_eq!(refused.into_task(), task);
            }
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
    let previous = |status, payload| Some(Previous { status, payload });
    let revision = Revision::new(5);
    let whole = Snapshot {
        status: Starting,
        revision,
        run: Run::new(2),
        payload: 'n',
        previous: previous(Succeeded, 'p'),
    };
    let other = |change: fn(&mut Snapshot<char>)| {
        let mut snapshot = whole.clone();
        change(&mut snapshot);
        snapshot
    };
    let snapshots = [
        whole.clone(),
        other(|it| it.status = Processing),
        other(|it| it.revision = Revision::new(6)),
        other(|it| it.run = Run::new(3)),
        other(|it| it.payload = 'm'),
        other(|it| it.previous = Some(Previous { status: Failed, payload: 'p' })),
        other(|it| it.previous = Some(Previous { status: Succeeded, payload: 'q' })),
        other(|it| it.previous = None),
    ];
    all_differ(&snapshots);
    let tasks = snapshots.map(|snapshot| Task::try_from(snapshot).unwrap());
    all_differ(&tasks);
    all_differ(&tasks.map(Draft::new));

    // Equal tasks, reached from another revision, another run, another state.
    let working =
        |revision, run| Draft::new(counted(task_in(State::ALL[1], |_| 'p'), revision, run));
    let mut drafts = [working(4, 0), working(4, 1), working(5, 1), working(5, 1)];
    drafts[0].retry().unwrap();
    drafts[0].start().unwrap();
    drafts[1].edit(|_| ());
    drafts[1].edit(|_| ());
    drafts[2].edit(|_| ());
    drafts[3] = Draft::new(counted(Task::new('p'), 5, 1));
    drafts[3].start().unwrap();
    assert!(drafts.iter().all(|draft| **draft == *drafts[0]));
    all_differ(&drafts);

    let done = Task::new('p').cancel().unwrap();
    let mut others = vec![done; 7];
    others[1].operation = Fail;
    others[2].from = State::ALL[1];
    others[3].to = State::NEW;
    others[4].revision = Revision::new(2);
    others[5].run = Run::new(1);
    others[6].released = Released::Update('p');
    all_differ(&others);
    let kinds = [Released::Nothing, Released::Previous('p'), Released::Update('p')];
    all_differ(&kinds);
    all_differ(&[Event::Start, Event::Retry, Event::Update('p'), Event::Update('q')]);
    let states = State::ALL.iter().copied();
    let refused: Vec<_> = states.filter_map(|state| state.apply(Cancel).err()).collect();
    all_differ(&refused);
}

/// Every payload is in the task, handed out or, if it was offered to a refused update, dropped; and
/// it is so exactly once.
#[test]
fn prop_nothing_lost() {
    struct Counted<'a>(u32, &'a RefCell<Vec<u32>>);
    impl Drop for Counted<'_> {
        fn drop(&mut self) {
            self.1.borrow_mut().push(self.0);
        }
    }
    for &state in State::ALL {
        for &operation in Operation::ALL {
            let dropped = RefCell::new(Vec::new());
            let mut task = task_in(state, |number| Counted(number, &dropped));
            // What was offered in vain on the way: the second payload of a new task, for one.
            dropped.borrow_mut().clear();
            let held = if state.is_update() { 2 } else { 1 };
            let mut handed_out = Vec::new();
            if operation == Delete {
                match task.delete() {
                    Ok(payload) => handed_out.push(payload),
                    Err(kept) => {
                        let Snapshot { payload, previous, .. } = kept.into_task().into();
                        handed_out.push(payload);
                        handed_out.extend(previous.map(|old| old.payload));
                    }
                }
                assert_eq!((handed_out.len(), dropped.borrow().len()), (held, 0), "{state}");
                continue;
            }
            let event = Event::new(operation, Counted(2, &dropped)).expect("no delete");
            let is_update = operation == Update;
            let accepted =
                task.apply(event).map(|done| handed_out.extend(done.released.into_payload()));
            let refused_update = is_update && accepted.is_err();
            let lost = if !is_update || refused_update { vec![2] } else { vec![] };
            assert_eq!(*dropped.borrow(), lost, "{operation} in {state}");
            let Snapshot { payload, previous, .. } = task.into();
            handed_out.push(payload);
            handed_out.extend(previous.map(|old| old.payload));
            let mut kept: Vec<u32> = handed_out.iter().map(|payload| payload.0).collect();
            kept.sort_unstable();
            let mut expected: Vec<u32> = if state.is_update() { vec![0, 1] } else { vec![0] };
            expected.extend((is_update && !refused_update).then_some(2));
            assert_eq!(kept, expected, "{operation} in {state}");
        }
    }
}

#[test]
fn prop_counted() {
    for task in task_in_each_state(|number| number) {
        for (revision, run) in [(0, 0), (7, 3), (u64::MAX, 3), (7, u64::MAX), (u64::MAX, u64::MAX)]
        {
            let task = counted(task.clone(), revision, run);
            let now = |task: &Task<u32>| (task.revision().get(), task.run().get());
            for &operation in Operation::ALL {
                let Some(event) = Event::new(operation, 2) else { continue };
                let mut after = task.clone();
                let expected = match after.apply(event) {
                    Ok(done) => {
                        assert_eq!((done.revision.get(), done.run.get()), now(&after));
                        let queued = matches!(operation, Retry | Update);
                        (revision.wrapping_add(1), run.wrapping_add(u64::from(queued)))
                    }
                    Err(_) => (revision, run),
                };
                assert_eq!(now(&after), expected, "{operation} of {task:?}");
                let is_seen = after.check_revision(task.revision()).is_err();
                assert_eq!(is_seen, expected.0 != revision, "{operation} of {task:?}");
            }
            let mut edited = task.clone();
            assert_eq!(edited.edit(|payload| std::mem::replace(payload, 9)), *task.payload());
            assert_eq!(now(&edited), (revision.wrapping_add(1), run));
            assert_eq!((edited.payload(), edited.previous()), (&9, task.previous()));
        }
    }
}

/// A run is current while the task is active and in it. That one which is over never comes back
/// follows from `prop_counted`, and is seen in `sequences.rs`.
#[test]
fn prop_fenced() {
    for task in task_in_each_state(|number| number) {
        for run in [0, 1 << 53, 1 << 63, u64::MAX] {
            let mut task = counted(task.clone(), 4, run);
            let status = task.status();
            for distance in [0, 1, 2, (1 << 63) - 1, 1 << 63, u64::MAX] {
                let expected = Run::new(run.wrapping_add(distance));
                let answer = task.check_run(expected);
                if distance == 0 && status.is_active() {
                    assert_eq!(answer, Ok(()), "{task:?}");
                    continue;
                }
                let stale = StaleRun { expected, actual: task.run(), status };
                assert_eq!(answer, Err(stale), "{task:?}");
                let ahead = (1..1 << 63).contains(&distance);
                assert_eq!(stale.is_ahead(), ahead, "{expected:?} of {task:?}");
            }
            let before = task.check_run(task.run());
            task.edit(|payload| *payload += 1);
            assert_eq!(task.check_run(task.run()), before);
        }
    }
}

/// No method panics, whatever the state and the counters. `panic-free` proves it of every path.
#[test]
fn prop_no_panic() {
    for task in task_in_each_state(|number| number) {
        let mut task = counted(task, u64::MAX, u64::MAX);
        let _ = format!("{task:?} {} {:?}", task.state(), Draft::new(task.clone()));
        for &operation in Operation::ALL {
            let text = task.check(operation).map_err(|refused| refused.to_string());
            assert_eq!(text.is_err(), task.check(operation).is_err());
            if let Some(event) = Event::new(operation, 2) {
                let _ = task.clone().apply(event);
            }
        }
        task.edit(|payload| *payload += 1);
        assert_eq!(task.revision(), Revision::new(0));
        let _ = task.delete().map_err(|kept| format!("{kept} {kept:?}"));
    }
    // A panic inside an edit is the caller's: it is counted, and leaves a valid task.
    let mut task = Task::new(String::from("before"));
    let edit = || task.edit(|payload| payload.push_str(Option::None.expect("the caller's")));
    assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(edit)).is_err());
    assert_eq!((task.status(), task.revision()), (Starting, Revision::new(1)));
    assert!(task.cancel().is_ok());
}

#[test]
fn from_parts_knows_the_nine_states_and_names_the_fault_of_every_other_pair() {
    let pairs = Status::ALL.iter().flat_map(|&status| {
        let previous = Status::ALL.iter().copied().map(Some);
        std::iter::once(None).chain(previous).map(move |previous| (status, previous))
    });
    let mut states = Vec::new();
    for (status, previous) in pairs {
        let expected = match (status, previous) {
            (Succeeded | Failed | Cancelled, Some(_)) => {
                SnapshotError::UnexpectedPrevious { status }
            }
            (Starting | Processing, Some(status @ (Starting | Processing | Cancelled))) => {
                SnapshotError::PreviousNotFinished { status }
            }
            _ => {
                let state = State::from_parts(status, previous).unwrap();
                assert_eq!((state.status(), state.previous()), (status, previous));
                assert_eq!(state.is_update(), previous.is_some());
                states.push(state);
                continue;
            }
        };
        assert_eq!(State::from_parts(status, previous), Err(expected), "{status} {previous:?}");
    }
    assert_eq!(states.len(), State::ALL.len());
    assert!(states.iter().all(|state| State::ALL.contains(state)), "a new state belongs in ALL");
}
