//! The laws that are about one operation, enumerated over all states against the relation written a
//! second time as a grid; and every message of a refusal.

use task_lifecycle::{Event, Operation, State, Status, Task, TransitionError};

use Operation::{Cancel, Delete, Fail, Retry, Start, Succeed, Update};

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

fn status(cell: &str) -> Status {
    match cell {
        "St" => Status::Starting,
        "Pr" => Status::Processing,
        "Su" => Status::Succeeded,
        "Fa" => Status::Failed,
        "Ca" => Status::Cancelled,
        _ => panic!("not a status: {cell}"),
    }
}

fn state(cell: &str) -> State {
    let (now, previous) = match cell.split_once('<') {
        Some((now, previous)) => (now, Some(status(previous))),
        None => (cell, None),
    };
    State::from_parts(status(now), previous).expect("a state of the grid")
}

/// The cell for what a state answers.
fn cell(answer: Result<Option<State>, TransitionError>) -> &'static str {
    match answer {
        Err(_) => ".",
        Ok(None) => "gone",
        Ok(Some(next)) => {
            COLUMNS.iter().find(|column| state(column) == next).expect("a state of the grid")
        }
    }
}

#[test]
fn the_grid_has_every_state_and_operation_in_order() {
    assert_eq!(COLUMNS.map(state), State::ALL);
    assert_eq!(GRID.map(|(operation, _)| operation), Operation::ALL);
}

/// A task in each state, in the order of the columns, brought there by operations.
fn tasks() -> [Task<u32>; 9] {
    let paths: [&[Operation]; 9] = [
        &[],
        &[Start],
        &[Start, Succeed],
        &[Start, Fail],
        &[Cancel],
        &[Start, Succeed, Update],
        &[Start, Fail, Update],
        &[Start, Succeed, Update, Start],
        &[Start, Fail, Update, Start],
    ];
    paths.map(|path| {
        let new = Task::new(0);
        path.iter().fold(new, |task, &operation| {
            let answer = after(task, operation).expect("a step of the path");
            answer.expect("no path ends with a delete")
        })
    })
}

/// Does an operation by the method of its name: what the task then is, `None` if it is gone.
fn after(mut task: Task<u32>, operation: Operation) -> Result<Option<Task<u32>>, TransitionError> {
    let from = task.state();
    let done = match operation {
        Start => task.start(),
        Retry => task.retry(),
        Succeed => task.succeed(),
        Fail => task.fail(),
        Cancel => task.cancel(),
        Update => task.update(1),
        Delete => return Ok(task.delete().map(|_| None)?),
    }?;
    let to = task.state();
    assert_eq!((done.operation, done.from, done.to), (operation, from, to));
    Ok(Some(task))
}

/// The state alone, the methods of a task and its dispatcher all answer as the grid does.
#[test]
fn prop_relation() {
    for (index, task) in tasks().into_iter().enumerate() {
        let from = state(COLUMNS[index]);
        assert_eq!(task.state(), from);
        for (operation, row) in GRID {
            let case = format!("{operation} in {from}");
            let answer = from.apply(operation);
            assert_eq!(cell(answer), row[index], "{case}");
            if let Err(refused) = answer {
                let named = (refused.operation(), refused.status());
                assert_eq!(named, (operation, from.status()), "{case}");
            }
            let did = after(task.clone(), operation);
            assert_eq!(did.map(|task| task.map(|it| it.state())), answer, "{case}");
            if let Some(event) = Event::new(operation, 1) {
                let did = task.clone().apply(event);
                assert_eq!(did.map(|done| Some(done.to)), answer, "{case}");
            }
        }
    }
}

#[test]
fn prop_starting_only() {
    for task in tasks() {
        let (status, previous) = (task.status(), task.state().previous());
        match after(task, Cancel) {
            Ok(task) => {
                assert_eq!(status, Status::Starting);
                let became = task.expect("a task that was cancelled").state();
                let expected = previous.unwrap_or(Status::Cancelled);
                assert_eq!((became.status(), became.previous()), (expected, None));
            }
            Err(_) => assert_ne!(status, Status::Starting),
        }
    }
}

#[test]
fn prop_dry_run() {
    for task in tasks() {
        for &operation in Operation::ALL {
            let did = after(task.clone(), operation);
            let became = did.map(|task| task.map(|it| it.status()));
            assert_eq!(task.check(operation), became, "{operation} of {task:?}");
        }
    }
}

#[test]
fn prop_one_table() {
    for (index, task) in tasks().into_iter().enumerate() {
        let (status, state) = (task.status(), task.state());
        assert_eq!((status, task.is_update()), (state.status(), state.is_update()));
        assert_eq!(task.previous().map(|old| old.status), state.previous());
        for (operation, row) in GRID {
            let case = format!("{operation} in {state}");
            let accepted = row[index] != ".";
            assert_eq!(status.accepts(operation), accepted, "{case}");
            assert_eq!(operation.accepted_in().contains(&status), accepted, "{case}");
            assert_eq!(task.check(operation).is_ok(), accepted, "{case}");
        }
    }
    for &operation in Operation::ALL {
        let listed = operation.accepted_in();
        assert!(listed.is_sorted_by(|one, next| one < next), "each once, in order: {listed:?}");
    }
}

#[test]
fn every_refusal_names_the_operation_and_the_status() {
    let expected = [
        "task cannot be started: status is Processing",
        "task cannot be started: status is Succeeded",
        "task cannot be started: status is Failed",
        "task cannot be started: status is Cancelled",
        "task cannot be retried: status is Starting",
        "task cannot be retried: status is Succeeded",
        "task cannot be retried: status is Failed",
        "task cannot be retried: status is Cancelled",
        "task cannot be marked as succeeded: status is Starting",
        "task cannot be marked as succeeded: status is Succeeded",
        "task cannot be marked as succeeded: status is Failed",
        "task cannot be marked as succeeded: status is Cancelled",
        "task cannot be marked as failed: status is Succeeded",
        "task cannot be marked as failed: status is Failed",
        "task cannot be marked as failed: status is Cancelled",
        "task cannot be cancelled: status is Processing",
        "task cannot be cancelled: status is Succeeded",
        "task cannot be cancelled: status is Failed",
        "task cannot be cancelled: status is Cancelled",
        "task cannot be updated: status is Starting",
        "task cannot be updated: status is Processing",
        "task cannot be updated: status is Cancelled",
        "task cannot be deleted: status is Starting",
        "task cannot be deleted: status is Processing",
    ];
    let mut seen = Vec::new();
    for &operation in Operation::ALL {
        for &state in State::ALL {
            if let Err(refused) = state.apply(operation) {
                let message = refused.to_string();
                if !seen.contains(&message) {
                    seen.push(message);
                }
            }
        }
    }
    assert_eq!(seen, expected);
}

#[test]
fn a_repeat_is_the_status_that_the_operation_leads_a_new_task_to() {
    let mut repeats = Vec::new();
    for &operation in Operation::ALL {
        for &state in State::ALL {
            let refused = state.apply(operation).err();
            if let Some(repeat) = refused.filter(|refused| refused.is_repeat()) {
                repeats.push((operation, repeat.status()));
            }
        }
    }
    repeats.dedup();
    let expected = [
        (Start, Status::Processing),
        (Retry, Status::Starting),
        (Succeed, Status::Succeeded),
        (Fail, Status::Failed),
        (Cancel, Status::Cancelled),
    ];
    assert_eq!(repeats, expected);
}

#[test]
fn from_parts_knows_the_nine_states_and_names_the_fault_of_every_other_pair() {
    use task_lifecycle::SnapshotError::{PreviousNotFinished, UnexpectedPrevious};

    let mut states = Vec::new();
    for &status in Status::ALL {
        for previous in [None].into_iter().chain(Status::ALL.iter().copied().map(Some)) {
            let case = format!("{status} after {previous:?}");
            match State::from_parts(status, previous) {
                Ok(state) => {
                    assert_eq!((state.status(), state.previous()), (status, previous), "{case}");
                    assert_eq!(state.is_update(), previous.is_some(), "{case}");
                    states.push(state);
                }
                Err(fault) => {
                    let expected = match (status, previous.expect("a fault needs a previous")) {
                        (Status::Starting | Status::Processing, previous) => {
                            assert!(!previous.is_finished(), "{case}");
                            PreviousNotFinished { status: previous }
                        }
                        (Status::Succeeded | Status::Failed | Status::Cancelled, _) => {
                            UnexpectedPrevious { status }
                        }
                    };
                    assert_eq!(fault, expected, "{case}");
                }
            }
        }
    }
    assert_eq!(states.len(), State::ALL.len());
    assert!(State::ALL.iter().all(|state| states.contains(state)));
}

/// The decision can be made at compile time.
#[test]
fn state_is_const() {
    const AFTER: Status = match State::from_parts(Status::Starting, Some(Status::Failed)) {
        Ok(state) => match state.apply(Cancel) {
            Ok(Some(next)) => next.status(),
            Ok(None) | Err(_) => panic!(),
        },
        Err(_) => panic!(),
    };
    const { assert!(AFTER.is_finished() && Status::Starting.accepts(Cancel)) }
    assert_eq!(AFTER, Status::Failed);
}
