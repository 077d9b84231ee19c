//! `cargo bench`: every operation of the crate, with every payload. Inputs are made before, and
//! dropped after, what is measured. Compare rows of one run, not seconds of two machines.

#[path = "compare/src/payload.rs"]
mod payload;

use std::sync::Arc;

use divan::{Bencher, black_box};
use payload::{Document, Payload};
use task_lifecycle::{Draft, Event, Operation, State, Task};

fn main() {
    divan::main();
}

/// A task after `s`tart, `S`ucceed, `f`ail, `c`ancel, `u`pdate.
fn after<T: Payload>(steps: &str) -> Task<T> {
    steps.chars().fold(Task::new(T::make(1)), |mut task, step| {
        let done = match step {
            's' => task.start(),
            'S' => task.succeed(),
            'f' => task.fail(),
            'c' => task.cancel(),
            _ => task.update(T::make(2)),
        };
        assert!(done.is_ok(), "{steps}");
        task
    })
}

macro_rules! benches {
    ($($name:ident: $input:expr => $work:expr;)*) => {$(
        #[divan::bench(types = [(), u64, Document, Box<[u8; 500]>, Arc<[u8; 500]>])]
        fn $name<T: Payload>(bencher: Bencher<'_, '_>) {
            bencher.with_inputs(|| $input).bench_refs($work);
        }
    )*};
}

benches! {
    start: after::<T>("") => Task::start;
    retry: after::<T>("s") => Task::retry;
    succeed_new: after::<T>("s") => Task::succeed;
    succeed_updating: after::<T>("fus") => Task::succeed;
    fail_new: after::<T>("") => Task::fail;
    fail_updating: after::<T>("fu") => Task::fail;
    cancel_new: after::<T>("") => Task::cancel;
    cancel_updating: after::<T>("fu") => Task::cancel;
    cancel_refused: after::<T>("s") => Task::cancel;
    cancel_a_draft: Draft::new(after::<T>("fu")) => |draft| draft.cancel();
    apply: after::<T>("fu") => |task| task.apply(black_box(Event::Cancel));
    update: (after::<T>("f"), Some(T::make(2))) => |(task, new)| new.take().map(|it| task.update(it));
    delete: Some(after::<T>("c")) => |task| task.take().map(Task::delete);
    edit: after::<T>("fu") => |task| task.edit(|payload| { black_box(payload); });
    check: after::<T>("fu") => |task| task.check(black_box(Operation::Cancel));
}

/// The decision alone, over a column of states.
#[divan::bench]
fn decide(bencher: Bencher<'_, '_>) {
    let column = || State::ALL.repeat(1_000);
    bencher.with_inputs(column).bench_refs(|column| {
        for state in column {
            *state = state.apply(Operation::Cancel).ok().flatten().unwrap_or(*state);
        }
    });
}
