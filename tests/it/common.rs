//! What several subjects need: a task in each state.

use task_lifecycle::{Event, Operation, Revision, Run, Snapshot, State, Task};

use Operation::{Cancel, Fail, Start, Succeed, Update};

/// How a new task comes to be in each state, in the order of `State::ALL`.
pub(crate) const PATHS: [&[Operation]; 9] = [
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

/// A task in `state`, brought there by operations: `payload(0)`, and of an update `payload(1)`.
pub(crate) fn task_in<T>(state: State, payload: impl Fn(u32) -> T) -> Task<T> {
    let index = State::ALL.iter().position(|&listed| listed == state).expect("a state of ALL");
    let path = PATHS.get(index).expect("a new state needs a line in PATHS");
    path.iter().fold(Task::new(payload(0)), |mut task, &operation| {
        let event = Event::new(operation, payload(1)).expect("no path deletes");
        task.apply(event).expect("a path is accepted");
        task
    })
}

pub(crate) fn task_in_each_state<T>(payload: impl Fn(u32) -> T) -> impl Iterator<Item = Task<T>> {
    State::ALL.iter().map(move |&state| task_in(state, &payload))
}

/// The same task with other counters.
pub(crate) fn counted<T>(task: Task<T>, revision: u64, run: u64) -> Task<T> {
    let (revision, run) = (Revision::new(revision), Run::new(run));
    Snapshot { revision, run, ..task.into() }.try_into().expect("any counter goes with any state")
}
