//! `cargo bench`: the crate alone, every operation of it. Compare rows of one run, not seconds of
//! two machines.

use divan::{Bencher, black_box};
use task_lifecycle::Operation::{Cancel, Fail, Start, Update};
use task_lifecycle::{Event, Operation, State, Task};

type Payload = Box<[u8; 500]>;

/// Operations that lead to a task that was queued again.
const UPDATING: &[Operation] = &[Fail, Update];

fn main() {
    divan::main();
}

fn payload() -> Payload {
    Box::new([0; 500])
}

/// A task after `operations`.
fn after(operations: &[Operation]) -> Task<Payload> {
    let mut task = Task::new(payload());
    for operation in operations {
        let accepted = Event::new(*operation, payload()).map(|event| task.apply(event));
        assert!(matches!(accepted, Some(Ok(_))), "{operation}");
    }
    task
}

/// The decision alone, over every state.
#[divan::bench]
fn decide() -> usize {
    let accepted = |state: &&State| black_box(**state).apply(Cancel).is_ok();
    State::ALL.iter().filter(accepted).count()
}

/// What is done to a task after some operations.
macro_rules! benches {
    ($($name:ident: $operations:expr => $work:expr;)*) => {$(
        #[divan::bench]
        fn $name(bencher: Bencher<'_, '_>) {
            bencher.with_inputs(|| after($operations)).bench_refs($work);
        }
    )*};
}

benches! {
    start: &[] => Task::start;
    retry: &[Start] => Task::retry;
    succeed_new: &[Start] => Task::succeed;
    succeed_updating: &[Fail, Update, Start] => Task::succeed;
    fail_new: &[] => Task::fail;
    fail_updating: UPDATING => Task::fail;
    cancel_new: &[] => Task::cancel;
    cancel_updating: UPDATING => Task::cancel;
    cancel_refused: &[Start] => Task::cancel;
    edit: UPDATING => |task| task.edit(|payload| payload[0] = 1);
    check: UPDATING => |task| task.check(black_box(Cancel));
    check_revision: UPDATING => |task| task.check_revision(black_box(2));
    check_run: UPDATING => |task| task.check_run(black_box(1));
    apply: UPDATING => |task| task.apply(black_box(Event::Cancel));
}

#[divan::bench]
fn update(bencher: Bencher<'_, '_>) {
    bencher.with_inputs(|| (after(&[Fail]), payload())).bench_values(|(mut task, payload)| {
        let done = task.update(payload);
        (task, done)
    });
}

#[divan::bench]
fn delete(bencher: Bencher<'_, '_>) {
    bencher.with_inputs(|| after(&[Cancel])).bench_values(Task::delete);
}

#[divan::bench]
fn map(bencher: Bencher<'_, '_>) {
    bencher.with_inputs(|| after(UPDATING)).bench_values(|task| task.map(Some));
}

#[cfg(feature = "serde")]
#[divan::bench]
fn read() -> serde_json::Result<Task<String>> {
    let text = r#"{"status":"Starting","revision":2,"run":1,"payload":"new","previous":{"status":"Failed","payload":"old"}}"#;
    serde_json::from_str(black_box(text))
}

#[cfg(feature = "serde")]
#[divan::bench]
fn write(bencher: Bencher<'_, '_>) {
    let mut task = Task::new("old");
    let done = task.fail().is_ok() && task.update("new").is_ok();
    assert!(done, "an update");
    bencher.bench(|| serde_json::to_string(black_box(&task)));
}
