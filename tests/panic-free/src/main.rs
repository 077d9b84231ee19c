//! Proof by linking that no public function of the machine can panic, needs `std`, or allocates.
//!
//! The panic handler calls a function that nobody defines. If any path in this program leads to a
//! panic, the handler is kept and the linker misses `a_path_leads_to_a_panic`. A leak of `std` would
//! be a second panic handler; an allocation would miss its allocator. Built with `--release`,
//! without LTO.

#![no_std]
#![no_main]

use core::hint::black_box;

use task_lifecycle::{Event, Operation, Snapshot, State, Status, Task};

#[link(name = "c")] // for `memcpy` and the start-up
unsafe extern "C" {
    fn a_path_leads_to_a_panic() -> !;
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo) -> ! {
    // SAFETY: never called; the program would not have been linked.
    unsafe { a_path_leads_to_a_panic() }
}

/// Unwinding tables of `core` may name it, whether or not anything panics. Nothing unwinds here.
#[unsafe(no_mangle)]
extern "C" fn rust_eh_personality() {}

fn seen<T>(value: T) {
    drop(black_box(value));
}

/// Every method of a task, with a payload that the optimizer cannot see.
#[inline(never)]
fn task<T>(task: &mut Task<T>, [first, second]: [T; 2], operation: Operation, revision: u64) {
    seen(task.edit(|payload| core::mem::replace(payload, first)));
    seen(task.update(second).is_ok());
    seen(task.start().is_ok());
    seen(task.retry().is_ok());
    seen(task.succeed().is_ok());
    seen(task.fail().is_ok());
    seen(task.cancel().is_ok());
    seen((
        task.state(),
        task.status(),
        task.revision(),
        task.is_update(),
    ));
    seen((task.check(operation), task.run()));
    seen((task.check_revision(revision), task.check_run(revision)));
    seen((
        task.payload(),
        task.previous().map(|previous| previous.status),
    ));
}

#[inline(never)]
fn end<T>(mut task: Task<T>, event: Event<T>) {
    seen(event.operation());
    match task.apply(event) {
        Ok(done) => {
            seen((done.reverted(), done.from, done.to, done.run));
            seen(done.released.into_payload());
        }
        Err(refused) => seen(refused),
    }
    match task.map(|payload| (payload, 1_u8)).delete() {
        Ok(payload) => seen(payload),
        Err(refused) => {
            seen(refused.reason());
            let snapshot = Snapshot::from(refused.into_task());
            seen(Task::try_from(snapshot).is_ok());
        }
    }
}

#[inline(never)]
fn decide(state: State, operation: Operation, status: Status, word: &str) {
    seen((
        state.apply(operation),
        state.status(),
        state.previous(),
        state.is_update(),
    ));
    seen((
        State::from_parts(status, state.previous()),
        status.accepts(operation),
    ));
    seen((
        status.as_str(),
        status.is_active(),
        status.is_completed(),
        status.is_finished(),
    ));
    seen((operation.as_str(), Event::new(operation, word)));
    seen((
        operation.accepted_in(),
        word.parse::<Status>(),
        word.parse::<Operation>(),
    ));
    if let Err(refused) = state.apply(operation) {
        seen((refused.is_repeat(), refused.operation(), refused.status()));
    }
}

fn with<T>(payload: impl Fn() -> T, operation: Operation) {
    let mut one = black_box(Task::new(payload()));
    task(&mut one, [payload(), payload()], operation, black_box(1));
    end(one, black_box(Event::Update(payload())));
}

#[unsafe(no_mangle)]
extern "C" fn main() -> i32 {
    let operation = black_box(Operation::Cancel);
    decide(
        black_box(State::NEW),
        operation,
        black_box(Status::Failed),
        black_box("Failed"),
    );
    with(|| (), operation);
    with(|| black_box(7_u8), operation);
    with(|| black_box(Some("text")), operation);
    with(|| black_box([7_u64; 8]), operation);
    #[cfg(feature = "can-panic")]
    seen(task_lifecycle::Operation::ALL[black_box(3_usize)]);
    0
}
