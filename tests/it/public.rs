//! The public types: their traits, sizes, words and messages, and what the compiler keeps.

use core::error::Error;
use core::fmt::{Debug, Display};
use core::hash::Hash;
use core::mem::size_of;
use core::panic::{RefUnwindSafe, UnwindSafe};
use core::str::FromStr;
use std::collections::BTreeSet;
use std::process::Command;

use expect_test::expect_file;
use task_lifecycle::{
    DeleteError, Draft, Event, Operation, Outcome, Previous, Released, Revision, Run, Snapshot,
    SnapshotError, StaleRevision, StaleRun, State, Status, Task, Transition, TransitionError,
    UnknownOperation, UnknownStatus,
};

use crate::common::{counted, task_in_each_state};

#[test]
fn traits() {
    fn value<T: Copy + Eq + Hash + Debug + Send + Sync + Unpin + UnwindSafe + 'static>() {}
    fn error<T: Error + Send + Sync + 'static>() {}
    fn word<T: Ord + Display + FromStr<Err = E>, E: Error>() {}
    fn counter<T: Default + Display + FromStr + From<u64> + Into<u64>>() {}
    struct Opaque;

    macro_rules! are { ($check:ident: $($Type:ty),*) => { $($check::<$Type>();)* } }
    are!(value: Status, Operation, State, Outcome, Revision, Run);
    are!(value: TransitionError, SnapshotError, StaleRevision, StaleRun, UnknownStatus, UnknownOperation);
    are!(error: TransitionError, SnapshotError, StaleRevision, StaleRun, UnknownStatus, UnknownOperation);
    are!(error: DeleteError<Opaque>);
    are!(counter: Revision, Run);
    word::<Status, UnknownStatus>();
    word::<Operation, UnknownOperation>();
}

/// What holds payloads is covariant, and has the traits that the payload has. It is enough that
/// this compiles.
macro_rules! are_as_the_payload {
    ($($Holder:ident)*) => { $(
        #[allow(dead_code)]
        const _: () = {
            fn derived<T: Clone + Debug + Eq + Hash>(it: $Holder<T>) -> impl Clone + Debug + Eq + Hash { it }
            fn covariant<'a>(it: $Holder<&'static str>) -> $Holder<&'a str> { it }
            fn send<T: Send>(it: $Holder<T>) -> impl Send { it }
            fn sync<T: Sync>(it: $Holder<T>) -> impl Sync { it }
            fn unpin<T: Unpin>(it: $Holder<T>) -> impl Unpin { it }
            fn unwind_safe<T: UnwindSafe>(it: $Holder<T>) -> impl UnwindSafe { it }
            fn ref_unwind_safe<T: RefUnwindSafe>(it: $Holder<T>) -> impl RefUnwindSafe { it }
        };
    )* };
}
are_as_the_payload!(Task Draft Transition Released Event Previous Snapshot);

/// Does not compile if one of these is not `const` or has lost its `must_use`.
#[test]
#[deny(unfulfilled_lint_expectations)]
fn is_const_and_must_be_used() {
    macro_rules! in_const {
        ($($call:expr;)*) => { $( const _: () = { #[expect(unused_must_use)] { $call; } }; )* };
    }
    macro_rules! at_run_time {
        ($($call:expr;)*) => { $( #[expect(unused_must_use)] { $call; } )* };
    }
    const STATE: State = State::NEW;
    const TASK: Task<&str> = Task::new("payload");
    const DRAFT: Draft<&str> = Draft::new(TASK);
    const REVISION: Revision = Revision::new(1);
    const RUN: Run = Run::new(1);
    const REFUSED: TransitionError = match STATE.apply(Operation::Succeed) {
        Err(refused) => refused,
        Ok(_) => panic!(),
    };
    in_const! {
        Status::Starting.as_str(); Status::Starting.is_active(); Status::Starting.is_completed();
        Status::Starting.is_finished(); Status::Starting.accepts(Operation::Start);
        Operation::Start.as_str(); Operation::Start.accepted_in();
        STATE.status(); STATE.previous(); STATE.is_update(); STATE.apply(Operation::Start);
        State::from_parts(Status::Starting, None);
        Revision::new(1); Revision::from_i64(1); REVISION.get(); REVISION.to_i64();
        REVISION.since(REVISION); REVISION.is_after(REVISION);
        Task::new(1); TASK.state(); TASK.status(); TASK.revision(); TASK.run(); TASK.payload();
        TASK.is_update(); TASK.check(Operation::Start); TASK.check_revision(REVISION);
        TASK.check_run(RUN);
        Draft::new(Task::new(1)); DRAFT.loaded(); DRAFT.loaded_run(); DRAFT.before();
        DRAFT.queued(); DRAFT.taken();
        Event::Update(1).operation();
        REFUSED.operation(); REFUSED.status(); REFUSED.state(); REFUSED.is_repeat();
        StaleRevision { expected: REVISION, actual: REVISION }.is_ahead();
        StaleRun { expected: RUN, actual: RUN, status: Status::Starting }.is_ahead();
    }
    let mut task = TASK;
    let done = task.cancel().unwrap();
    let kept = TASK.delete().unwrap_err();
    at_run_time! {
        task.previous(); DRAFT.outcome(None); DRAFT.into_task(); Event::new(Operation::Start, 1);
        done.reverted(); done.released.into_payload(); kept.reason(); kept.into_task();
    }
}

const _: () = {
    assert!(size_of::<State>() == 1 && size_of::<Option<State>>() == 1);
    assert!(size_of::<Status>() == 1 && size_of::<TransitionError>() == 2);
    assert!(size_of::<Task<()>>() <= 24 && size_of::<Task<Box<[u8; 500]>>>() <= 40);
    assert!(size_of::<Task<[u64; 8]>>() <= 160);
    assert!(size_of::<DeleteError<[u64; 8]>>() <= size_of::<Task<[u64; 8]>>() + 128);
};

#[test]
fn the_normal_dependencies_are_derives() {
    let arguments = "tree --edges=normal,no-proc-macro --prefix=none --format={p} --offline";
    let mut command = Command::new(env!("CARGO"));
    command.args(arguments.split(' ')).current_dir(env!("CARGO_MANIFEST_DIR"));
    let text = String::from_utf8(command.output().expect("cargo").stdout).unwrap();
    let names: BTreeSet<&str> = text.lines().filter_map(|line| line.split(' ').next()).collect();
    let expected = ["serde", "serde_core", "strum", "task-lifecycle", "thiserror"];
    assert!(names.iter().eq(&expected), "{names:?}");
}

/// A new status or operation does not compile before it is in the list here, which is then
/// compared with `ALL`; `relation.rs` does the same for states.
#[test]
fn all_are_listed_in_order() {
    macro_rules! compare {
        ($Type:ident: $($Variant:ident $word:literal)*) => {
            let listed = |it| match it { $($Type::$Variant => $word),* };
            assert_eq!($Type::ALL, [$($Type::$Variant),*], "a new word belongs in ALL");
            assert!($Type::ALL.is_sorted());
            for &it in $Type::ALL {
                let word = listed(it);
                assert_eq!((it.as_str(), it.to_string(), word.parse()), (word, word.to_owned(), Ok(it)));
                for other in [
                    word.to_uppercase(), format!("{word}\0"), format!(" {word}"), format!("{word} "),
                    word[1..].to_owned(), format!("{word}{word}"), String::new(),
                ] {
                    assert!(other.parse::<$Type>().is_err(), "{other:?}");
                }
                assert_eq!(format!("[{it:>10}]"), format!("[{word:>10}]"));
            }
        };
    }
    compare!(Status: Starting "Starting" Processing "Processing" Succeeded "Succeeded" Failed "Failed"
        Cancelled "Cancelled");
    compare!(Operation: Start "start" Retry "retry" Succeed "succeed" Fail "fail" Cancel "cancel"
        Update "update" Delete "delete");
    let states: Vec<String> = State::ALL.iter().map(State::to_string).collect();
    let updates = ["Starting", "Processing"].map(|status| {
        ["Succeeded", "Failed"].map(|previous| format!("{status} (an update, was {previous})"))
    });
    let expected = Status::ALL.iter().map(Status::to_string).chain(updates.into_iter().flatten());
    assert_eq!(states, expected.collect::<Vec<_>>());
    assert_eq!(State::NEW, State::ALL[0]);
}

#[test]
fn counters_wrap_and_fit_a_signed_column() {
    for number in [0, 1, (1 << 53) + 1, (1 << 63) - 1, 1 << 63, u64::MAX] {
        let (revision, run) = (Revision::new(number), Run::from(number));
        assert_eq!((revision.get(), u64::from(run)), (number, number));
        assert_eq!(revision.to_string().parse(), Ok(revision));
        assert_eq!(run.to_string().parse(), Ok(run));
        assert_eq!(Revision::from_i64(revision.to_i64()), revision);
        assert_eq!(run.to_i64(), number.cast_signed());
        let later = Revision::new(number.wrapping_add(3));
        assert_eq!((later.since(revision), revision.since(later)), (3, u64::MAX - 2));
        assert!(later.is_after(revision) && !revision.is_after(later) && !run.is_after(run));
    }
    assert_eq!((Revision::default().get(), Run::default().get()), (0, 0));
    for text in ["", "-1", "1.0", " 1", "18446744073709551616"] {
        assert!(text.parse::<Run>().is_err(), "{text}");
    }
}

#[test]
fn map_changes_the_previous_payload_first_and_counts_nothing() {
    for task in task_in_each_state(|number| number).map(|task| counted(task, 7, 3)) {
        let expected = if task.is_update() { vec![0, 1] } else { vec![0] };
        let mut mapped = Vec::new();
        task.clone().map(|number| mapped.push(number));
        assert_eq!(mapped, expected);
        for fault in 0..3 {
            let mut order = Vec::new();
            let parsed = task.clone().map(|number| number.to_string()).try_map(|text| {
                let number = text.parse().unwrap();
                order.push(number);
                if number == fault { Err("fault") } else { Ok(number) }
            });
            let until = expected.iter().position(|&number| number == fault);
            assert_eq!(order, expected[..until.map_or(expected.len(), |at| at + 1)]);
            assert_eq!(parsed, if until.is_some() { Err("fault") } else { Ok(task.clone()) });
        }
    }
}

/// Every message, and what `Debug` shows. None shows a payload but that of the task itself.
#[test]
fn messages() {
    let mut lines = Vec::new();
    for status in Status::ALL {
        let asked = [status.is_active(), status.is_completed(), status.is_finished()];
        lines.push(format!("{status}: active, completed, finished {asked:?}"));
    }
    for &operation in Operation::ALL {
        for &status in Status::ALL {
            if let Err(refused) = State::from_parts(status, None).unwrap().apply(operation) {
                let repeat = if refused.is_repeat() { ", a repeat" } else { "" };
                lines.push(format!("{refused}{repeat}"));
            }
        }
    }
    for task in task_in_each_state(|number| number) {
        lines.push(format!("{task:?}"));
        let stale = counted(task.clone(), 4, 1).check_run(Run::new(2)).unwrap_err();
        lines.push(stale.to_string());
        if let Err(kept) = task.map(|_| "secret").delete() {
            assert_eq!(TransitionError::from(kept.clone()), kept.reason());
            assert!(kept.source().is_none());
            lines.push(format!("{kept}; {kept:?}"));
        }
    }
    lines.push(Task::new(()).check_revision(Revision::new(4)).unwrap_err().to_string());
    lines.push(SnapshotError::UnexpectedPrevious { status: Status::Failed }.to_string());
    lines.push(SnapshotError::PreviousNotFinished { status: Status::Cancelled }.to_string());
    lines.push("?".parse::<Status>().unwrap_err().to_string());
    lines.push("?".parse::<Operation>().unwrap_err().to_string());
    assert!(lines.iter().all(|line| !line.contains("secret")));
    expect_file!["messages.txt"].assert_eq(&(lines.join("\n") + "\n"));
}
