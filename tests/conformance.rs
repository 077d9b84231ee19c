//! The suite for stores passes right ones, and catches each of many that are broken on purpose.

#[path = "conformance/blocking.rs"]
mod blocking;
#[path = "conformance/calm.rs"]
mod calm;
#[path = "conformance/right.rs"]
mod right;
#[path = "conformance/waiting.rs"]
mod waiting;

use std::fmt::Debug;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};

use blocking::Blocking;
use calm::Memory;
use right::{Actor, BlockingActor, Keep, Kept, Locked, Lossy, Mutexed, Optimistic};
use task_lifecycle::Task;
use task_lifecycle::conformance::{
    Law, Report, Store, Violation, check, check_blocking, find_violation, find_violation_blocking,
    replay, replay_blocking,
};
use waiting::Waiting;

/// How often each store is tried: `TASK_LIFECYCLE_RUNS=20` shows that it does not depend on luck.
fn runs() -> usize {
    std::env::var("TASK_LIFECYCLE_RUNS").map_or(1, |runs| runs.parse().unwrap())
}

/// What a runtime does at the least.
fn block_on<T>(future: impl Future<Output = T>) -> T {
    struct Unpark(Thread);

    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }

    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(output) => return output,
            Poll::Pending => thread::park(),
        }
    }
}

fn passes(find: impl Fn() -> Result<Report, Violation>) -> Report {
    let found = (0..runs()).map(|_| find().unwrap_or_else(|violation| panic!("{violation}")));
    found.last().expect("one run")
}

fn waits_and_passes<K: Keep>() -> Report {
    passes(|| block_on(find_violation(async || Kept(K::default()))))
}

fn blocks_and_passes<K: Keep + Send>() -> Report {
    passes(|| find_violation_blocking(|| Kept(K::default())))
}

/// Each fault is caught by its law, in a short story, whatever is drawn; and stands in the table of
/// `tests/README.md`.
fn are_caught<F: Copy + Debug>(
    laws: &[(F, Law)],
    when: &str,
    find: impl Fn(F) -> Result<Report, Violation>,
) {
    let mut wrong = Vec::new();
    for _ in 0..runs() {
        for &(fault, law) in laws {
            match find(fault) {
                Err(violation) if violation.law == law && violation.story.len() <= 8 => {}
                Err(violation) => wrong.push(format!("{fault:?}, not {law:?}: {violation}")),
                Ok(report) => wrong.push(format!("{fault:?} passed: {report:?}")),
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
    for (fault, law) in laws {
        let row = format!("| `{fault:?}` | {when} | `{law:?}` |\n");
        assert!(include_str!("README.md").contains(&row), "{row}");
    }
}

#[test]
fn a_right_store_passes_and_the_histories_reach_what_they_are_about() {
    check_blocking(|| Memory::new(None));
    let report = passes(|| find_violation_blocking(|| Memory::new(None)));
    let cases = proptest::test_runner::Config::default().cases;
    assert_eq!((report.histories, report.handles), (3 * cases, 2));
    let floors = [
        (report.commits, 1),
        (report.stale, 8),
        (report.reverts, 8),
        (report.deletes, 16),
        (report.reopened, 8),
    ];
    for (count, one_in) in floors {
        assert!(count > report.histories / one_in, "{report:?}");
    }
    // How often threads meet is up to the machine.
    assert!(report.overlapped > 0, "{report:?}");
    assert_eq!(report.given_up, 0);
}

#[test]
fn right_stores_that_wait_pass() {
    block_on(check(async || Waiting::new(None)));
    for report in [
        waits_and_passes::<Locked>(),
        waits_and_passes::<Optimistic>(),
        waits_and_passes::<Lossy>(),
    ] {
        assert!(report.overlapped > report.histories / 8, "{report:?}");
        assert!(report.given_up > report.histories / 16, "{report:?}");
        assert_eq!(report.reopened, 0, "it cannot be");
    }
    // Whether an answer of another thread is waited for depends on how quick it is.
    waits_and_passes::<Actor>();
    assert_eq!(waits_and_passes::<Mutexed>().overlapped, 0);
}

#[test]
fn right_stores_that_block_pass() {
    for report in [
        passes(|| find_violation_blocking(|| Blocking::new(None))),
        blocks_and_passes::<Mutexed>(),
        blocks_and_passes::<BlockingActor>(),
    ] {
        assert!(report.overlapped > 0, "{report:?}");
    }
}

#[test]
fn stores_that_are_wrong_by_themselves_are_caught() {
    are_caught(calm::LAWS, "always", |fault| {
        find_violation_blocking(|| Memory::new(Some(fault)))
    });
}

#[test]
fn stores_that_are_wrong_while_they_wait_are_caught() {
    are_caught(waiting::LAWS, "calls overlap", |fault| {
        block_on(find_violation(async || Waiting::new(Some(fault))))
    });
}

#[test]
fn stores_that_are_wrong_among_threads_are_caught() {
    are_caught(blocking::LAWS, "threads race", |fault| {
        find_violation_blocking(|| Blocking::new(Some(fault)))
    });
}

/// A store with one handle, and without a way to reopen it.
struct Plain(Memory);

impl Store for Plain {
    type Id = u32;
    type Payload = String;
    type Error = String;

    fn payload(text: &str) -> String {
        text.to_owned()
    }
    async fn create(&self, task: &Task<String>) -> Result<u32, String> {
        self.0.create(task).await
    }
    async fn load(&self, id: &u32) -> Result<Option<Task<String>>, String> {
        self.0.load(id).await
    }
    async fn commit(&self, id: &u32, loaded: u64, task: &Task<String>) -> Result<bool, String> {
        self.0.commit(id, loaded, task).await
    }
    async fn delete(&self, id: &u32, loaded: u64) -> Result<bool, String> {
        self.0.delete(id, loaded).await
    }
}

#[test]
fn another_handle_and_reopening_are_optional() {
    let report = passes(|| find_violation_blocking(|| Plain(Memory::new(None))));
    assert_eq!(
        (report.handles, report.reopened, report.overlapped),
        (1, 0, 0)
    );
    let faulty = || Plain(Memory::new(Some(calm::Fault::UnconditionalWrite)));
    let violation = find_violation_blocking(faulty).unwrap_err();
    assert_eq!(violation.law, Law::StaleIsRefused);
}

fn broken(fault: calm::Fault) -> Memory {
    Memory::new(Some(fault))
}

#[test]
fn a_violation_is_told_as_a_story() {
    let violation = find_violation_blocking(|| broken(calm::Fault::MaskedNotFound)).unwrap_err();
    assert_eq!(violation.law, Law::AbsenceIsNoError);
    let told = violation.to_string();
    let lines: Vec<&str> = told.lines().collect();
    assert_eq!(lines[0], "the store breaks the law AbsenceIsNoError:");
    let last = violation.story.last().unwrap();
    assert!(
        last.starts_with("client ") && last.ends_with(": error \"outage\""),
        "{told}"
    );
    for (number, event) in violation.story.iter().enumerate() {
        assert_eq!(lines[number + 1], format!("{:>3}. {event}", number + 1));
    }
    assert!(told.contains("\nseen:     error \"outage\"\n"), "{told}");
    let again = format!("TASK_LIFECYCLE_REPLAY='{}'", violation.replay);
    assert!(told.contains(&again), "{told}");
    let pasted = format!(
        "conformance::replay_blocking(open, \"{}\")",
        violation.replay
    );
    assert!(told.contains(&pasted), "{told}");
    assert!(told.contains("PROPTEST_RNG_SEED="), "{told}");
}

#[test]
fn a_story_has_the_answers_and_what_overlapped() {
    let found = find_violation(async || Waiting::new(Some(waiting::Fault::CheckThenWrite)));
    let violation = block_on(found).unwrap_err();
    let [first, .., one, two] = &violation.story[..] else {
        panic!("{violation}")
    };
    let created =
        "client 1 creates task 1: Starting, revision 0, run 0, payload \"plain 1\": named 0";
    assert_eq!(first, created);
    assert!(one.starts_with("client 1 commits "), "{violation}");
    assert!(
        one.ends_with(", held after wait 1: accepted"),
        "{violation}"
    );
    assert!(
        two.starts_with("meanwhile client 2 commits "),
        "{violation}"
    );
    assert!(two.ends_with(": accepted"), "{violation}");
    assert!(violation.story.len() <= 5, "{violation}");
}

#[test]
fn what_differs_is_named_and_shown_from_where_it_differs() {
    let differences = [
        (
            calm::Fault::PreviousPayloadDropped,
            "task 1: previous.payload \"plain 1\"",
            "\"\"",
        ),
        (
            calm::Fault::PayloadCutAtLimit,
            "task 1: payload …xxxxxxxxxxxxxxxxxxxxxxxxxx",
            "\" (",
        ),
        (
            calm::Fault::RevisionNotStored,
            "task 1: revision 1",
            "revision 0",
        ),
    ];
    for (fault, expected, seen) in differences {
        let violation = find_violation_blocking(|| broken(fault)).unwrap_err();
        assert!(violation.expected.starts_with(expected), "{violation}");
        assert!(violation.seen.contains(seen), "{violation}");
        assert!(
            violation.expected.len() < 160 && violation.seen.len() < 160,
            "{violation}"
        );
    }
}

#[test]
fn a_violation_is_played_again_exactly() {
    for &(fault, law) in calm::LAWS {
        let violation = find_violation_blocking(|| broken(fault)).unwrap_err();
        let again = thread::spawn(move || {
            replay_blocking(|| broken(fault), &violation.replay);
        });
        let panicked = again.join().expect_err("it is still broken");
        let text = panicked.downcast_ref::<String>().unwrap();
        assert!(
            text.contains(&format!("breaks the law {law:?}:")),
            "{fault:?}: {text}"
        );
        assert!(
            !text.contains("PROPTEST_RNG_SEED"),
            "nothing was drawn: {text}"
        );
    }
    let fault = waiting::Fault::CheckThenWrite;
    let violation = block_on(find_violation(async || Waiting::new(Some(fault)))).unwrap_err();
    block_on(replay(async || Waiting::new(None), &violation.replay));
}

/// What an ignored test of this file says, with a variable set: to set one here takes `unsafe`.
fn in_a_process(test: &str, name: &str, value: &str) -> String {
    let mut run = std::process::Command::new(std::env::current_exe().unwrap());
    run.args([test, "--exact", "--nocapture", "--ignored"]);
    let output = run.env(name, value).output().unwrap();
    String::from_utf8(output.stderr).unwrap()
}

#[test]
fn the_same_seed_draws_the_same() {
    let run = |name: &str, value: &str| in_a_process("a_right_store_that_is_played", name, value);
    let reports = [0, 1].map(|_| run("PROPTEST_RNG_SEED", "7"));
    assert!(reports[0].contains("Report {"), "{}", reports[0]);
    assert_eq!(reports[0], reports[1]);
    let played = run(
        "TASK_LIFECYCLE_REPLAY",
        "watched 0.0.create.0 0.0.commit.0.0",
    );
    assert!(played.contains("histories: 1, commits: 1,"), "{played}");
    let played = run("TASK_LIFECYCLE_REPLAY", "unheard of");
    assert!(
        played.contains("not a history of this version of the suite: unheard of"),
        "{played}"
    );
    let played = run("PROPTEST_CASES", "4");
    assert!(played.contains("histories: 20,"), "{played}");
}

/// For `the_same_seed_draws_the_same`.
#[test]
#[ignore = "it is run by another test"]
fn a_right_store_that_is_played() {
    let report = block_on(find_violation(async || Waiting::new(None))).unwrap();
    eprintln!("{report:?}");
}

#[test]
#[should_panic(expected = "the store breaks the law StaleIsRefused:")]
fn check_blocking_panics_with_the_story() {
    check_blocking(|| broken(calm::Fault::UnconditionalWrite));
}

#[test]
#[should_panic(expected = "checked at:       tests/conformance.rs:")]
fn check_panics_with_the_story_and_the_place() {
    block_on(check(async || broken(calm::Fault::UnconditionalWrite)));
}

#[test]
fn a_panic_of_the_store_is_told() {
    let violation = find_violation_blocking(|| broken(calm::Fault::Panics)).unwrap_err();
    assert!(
        violation.seen.contains("called `unwrap` on a row"),
        "{violation}"
    );
    assert!(
        violation.seen.contains("tests/conformance/calm.rs:"),
        "{violation}"
    );
}

#[test]
#[should_panic(expected = "connection refused")]
fn a_store_that_cannot_be_opened_is_no_violation() {
    let mut opened = 0;
    check_blocking(|| -> Memory {
        opened += 1;
        assert_eq!(opened, 1, "it is not tried again");
        panic!("connection refused")
    });
}

/// A store whose counters end somewhere, and that says so.
#[test]
fn counters_that_a_store_does_not_keep_are_not_asked_for() {
    struct Small(Memory);

    impl Store for Small {
        type Id = u32;
        type Payload = String;
        type Error = String;

        const LARGEST_COUNTER: u64 = u32::MAX as u64;

        fn payload(text: &str) -> String {
            text.to_owned()
        }
        async fn create(&self, task: &Task<String>) -> Result<u32, String> {
            self.0.create(task).await
        }
        async fn load(&self, id: &u32) -> Result<Option<Task<String>>, String> {
            self.0.load(id).await
        }
        async fn commit(&self, id: &u32, loaded: u64, task: &Task<String>) -> Result<bool, String> {
            self.0.commit(id, loaded, task).await
        }
        async fn delete(&self, id: &u32, loaded: u64) -> Result<bool, String> {
            self.0.delete(id, loaded).await
        }
    }

    passes(|| find_violation_blocking(|| Small(broken(calm::Fault::RunIn32Bits))));
}

#[test]
fn a_thread_that_hangs_is_told_too() {
    let told = in_a_process("a_store_that_blocks_for_good", "PROPTEST_CASES", "4");
    assert!(
        told.contains("the store hangs, and its thread with it:"),
        "{told}"
    );
    assert!(told.trim_end().ends_with(": no answer"), "{told}");
}

/// For `a_thread_that_hangs_is_told_too`.
#[test]
#[ignore = "it is run by another test"]
fn a_store_that_blocks_for_good() {
    check_blocking(|| Blocking::new(Some(blocking::Fault::LockIsNeverGivenBack)));
}
