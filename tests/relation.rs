//! The relation, written a second time as a grid, and every message of a refusal.

use task_lifecycle::{Operation, State, Status, Task, TransitionError};

use Operation::{Cancel, Delete, Fail, Retry, Start, Succeed, Update};

/// A state is the first two letters of its status, then `<` and those of what it would revert to.
/// `.` is a refusal, `gone` the end of the task.
const COLUMNS: [&str; 9] = [
    "St", "Pr", "Su", "Fa", "Ca", "St<Su", "St<Fa", "Pr<Su", "Pr<Fa",
];

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
        Ok(Some(next)) => COLUMNS
            .iter()
            .find(|column| state(column) == next)
            .expect("a state of the grid"),
    }
}

#[test]
fn the_grid_has_every_state_and_operation_in_order() {
    assert_eq!(COLUMNS.map(state), State::ALL);
    assert_eq!(GRID.map(|(operation, _)| operation), Operation::ALL);
}

#[test]
fn every_state_answers_as_the_grid_says() {
    for (operation, row) in GRID {
        for (column, expected) in COLUMNS.into_iter().zip(row) {
            let from = state(column);
            let answer = from.apply(operation);
            assert_eq!(cell(answer), expected, "{operation} in {column}");
            if let Err(refused) = answer {
                let named = (refused.operation(), refused.status());
                assert_eq!(named, (operation, from.status()), "{operation} in {column}");
            }
        }
    }
}

#[test]
fn status_and_operation_agree_with_the_grid() {
    for (operation, row) in GRID {
        let accepted_in: Vec<Status> = (0..5)
            .filter(|&column| row[column] != ".")
            .map(|column| status(COLUMNS[column]))
            .collect();
        assert_eq!(operation.accepted_in(), accepted_in, "{operation}");
        for (column, expected) in COLUMNS.into_iter().zip(row) {
            let accepts = state(column).status().accepts(operation);
            assert_eq!(accepts, expected != ".", "{operation} in {column}");
        }
    }
}

/// Drives a task into each state by its operations alone, then tries each operation.
#[test]
fn every_task_answers_as_the_grid_says() {
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
    for (column, path) in paths.into_iter().enumerate() {
        for (operation, row) in GRID {
            let case = format!("{operation} in {}", COLUMNS[column]);
            let mut task = Task::new(0);
            for &step in path {
                take(&mut task, step).expect(&case);
            }
            assert_eq!(task.state(), state(COLUMNS[column]), "{case}");

            let before = task.clone();
            let expected = row[column];
            assert_eq!(
                task.check(operation),
                task.state()
                    .apply(operation)
                    .map(|next| next.map(State::status)),
                "{case}"
            );
            if operation == Delete {
                match task.delete() {
                    Ok(payload) => {
                        assert_eq!((expected, payload), ("gone", *before.payload()), "{case}");
                    }
                    Err(refused) => {
                        assert_eq!(expected, ".", "{case}");
                        assert_eq!(refused.into_task(), before, "{case}");
                    }
                }
                continue;
            }
            match take(&mut task, operation) {
                Ok(()) => assert_eq!(cell(Ok(Some(task.state()))), expected, "{case}"),
                Err(_) => assert_eq!((expected, &task), (".", &before), "{case}"),
            }
        }
    }
}

fn take(task: &mut Task<u32>, operation: Operation) -> Result<(), TransitionError> {
    let done = match operation {
        Start => task.start(),
        Retry => task.retry(),
        Succeed => task.succeed(),
        Fail => task.fail(),
        Cancel => task.cancel(),
        Update => task.update(1),
        Delete => panic!("delete takes the task"),
    }?;
    assert_eq!(done.operation, operation);
    assert_eq!(done.to, task.state());
    Ok(())
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
        for previous in [None]
            .into_iter()
            .chain(Status::ALL.iter().copied().map(Some))
        {
            let case = format!("{status} after {previous:?}");
            match State::from_parts(status, previous) {
                Ok(state) => {
                    assert_eq!(
                        (state.status(), state.previous()),
                        (status, previous),
                        "{case}"
                    );
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
