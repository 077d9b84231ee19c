//! Proof by linking that no public function of the machine can panic, needs `std`, or allocates.
//!
//! The panic handler calls a function that nobody defines. If any path in this program leads to a
//! panic, the handler is kept and the linker misses `a_path_leads_to_a_panic`. A leak of `std` would
//! be a second panic handler; an allocation would miss its allocator. Built with `--release`.

#![no_std]
#![no_main]

use core::hint::black_box;

use task_lifecycle::{Draft, Event, Operation, Revision, Run, Snapshot, State, Status, Task};

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

/// Every method of a task and of a draft, with a payload that the optimizer cannot see.
#[inline(never)]
fn on_a_draft<T: PartialEq>(task: Task<T>, [first, second]: [T; 2], operation: Operation) {
    let mut draft = Draft::new(task);
    seen(draft.edit(|payload| core::mem::replace(payload, first)));
    seen(draft.update(second).is_ok());
    seen((draft.start().is_ok(), draft.retry().is_ok(), draft.succeed().is_ok()));
    seen((draft.fail().is_ok(), draft.cancel().is_ok(), draft.check(operation)));
    seen((draft.state(), draft.status(), draft.revision(), draft.run(), draft.is_update()));
    seen((draft.payload(), draft.previous().map(|previous| previous.status)));
    seen((draft.loaded(), draft.loaded_run(), draft.before(), draft.queued(), draft.taken()));
    seen((draft.outcome(Some(&*draft)), draft.outcome(None), Snapshot::from(&draft).status));
    let (revision, run) = (black_box(Revision::new(7)), black_box(Run::from_i64(-1)));
    seen(draft.check_revision(revision).map_err(|stale| stale.is_ahead()));
    seen(draft.check_run(run).map_err(|stale| stale.is_ahead()));
    seen((revision.since(draft.loaded()), run.is_after(draft.run()), run.to_i64()));
    seen(draft.into_task());
}

#[inline(never)]
fn to_its_end<T>(mut task: Task<T>, event: Event<T>) {
    seen(event.operation());
    match task.apply(event) {
        Ok(done) => {
            seen((done.reverted(), done.from, done.to, done.run));
            seen(done.released.into_payload());
        }
        Err(refused) => seen((refused.is_repeat(), refused.status(), refused.state())),
    }
    match task.map(|payload| (payload, 1_u8)).delete() {
        Ok(payload) => seen(payload),
        Err(refused) => {
            seen(refused.reason());
            seen(Task::try_from(Snapshot::from(refused.into_task())).is_ok());
        }
    }
}

#[inline(never)]
fn of_the_words(state: State, operation: Operation, status: Status, word: &str) {
    seen((state.apply(operation), state.status(), state.previous(), state.is_update()));
    seen((State::from_parts(status, state.previous()), status.accepts(operation)));
    seen((status.as_str(), status.is_active(), status.is_completed(), status.is_finished()));
    seen((operation.as_str(), operation.accepted_in(), Event::new(operation, word)));
    seen((word.parse::<Status>(), word.parse::<Operation>(), word.parse::<Run>()));
}

fn with<T: PartialEq>(payload: impl Fn() -> T, operation: Operation) {
    on_a_draft(black_box(Task::new(payload())), [payload(), payload()], operation);
    to_its_end(black_box(Task::new(payload())), black_box(Event::Update(payload())));
    seen(Task::new(payload()).try_map(|payload| black_box(Ok::<T, T>(payload))).is_ok());
}

#[unsafe(no_mangle)]
extern "C" fn main() -> i32 {
    let operation = black_box(Operation::Cancel);
    of_the_words(black_box(State::NEW), operation, black_box(Status::Failed), black_box("Failed"));
    with(|| (), operation);
    with(|| black_box(7_u8), operation);
    with(|| black_box(Some("text")), operation);
    with(|| black_box([7_u64; 8]), operation);
    #[cfg(feature = "can-panic")]
    seen(task_lifecycle::Operation::ALL[black_box(3_usize)]);
    0
}
