//! `cargo bench`: the crate alone. Compare rows of one run, not seconds of two machines.

use divan::{Bencher, black_box};
use task_lifecycle::{Operation, State, Task};

fn main() {
    divan::main();
}

/// The decision alone, over every state.
#[divan::bench]
fn decide() -> usize {
    let accepted = |state: &&State| black_box(**state).apply(Operation::Cancel).is_ok();
    State::ALL.iter().filter(accepted).count()
}

#[divan::bench]
fn cancel_new(bencher: Bencher) {
    bencher
        .with_inputs(|| Task::new(Box::new([0_u8; 500])))
        .bench_refs(Task::cancel);
}

#[divan::bench]
fn cancel_updating(bencher: Bencher) {
    let updating = || {
        let mut task = Task::new(Box::new([0_u8; 500]));
        task.fail()
            .and_then(|_| task.update(Box::new([1; 500])))
            .map(|_| task)
    };
    bencher
        .with_inputs(updating)
        .bench_values(|task| task.and_then(|mut task| task.cancel()));
}

#[divan::bench]
fn lifecycle() -> Option<Task<u64>> {
    let mut task = Task::new(black_box(1));
    task.start().ok()?;
    task.succeed().ok()?;
    task.update(black_box(2)).ok()?;
    task.cancel().ok()?;
    Some(task)
}
