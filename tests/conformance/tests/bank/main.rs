//! Right stores pass, and each of many that are broken on purpose is caught.

mod calm;
mod memory;
mod racing;
mod right;

use std::env;
use std::panic::{self, AssertUnwindSafe};
use std::process::Command;
use std::sync::Mutex;
use std::thread;

use expect_test::expect_file;
use memory::{Broken, CreatesLate, Fault, Right, With};
use right::{
    Abandoned, Actor, Alone, By, Keep, Kept, Locked, Log, Lossy, Mutexed, Napping, Optimistic,
    Spawned,
};
use task_lifecycle_conformance::{
    Law, Report, Violation, check, check_blocking, check_threads, find_violation,
    find_violation_blocking,
};
use tokio::runtime::{Builder, Runtime};

type Found = Result<Report, Violation>;

fn waiting(fault: &'static dyn Fault) -> Found {
    runtime().block_on(find_violation(async || With::new(fault, true)))
}

fn blocking(fault: &'static dyn Fault) -> Found {
    find_violation_blocking(|| With::new(fault, false))
}

/// Threads on a busy machine may meet too seldom to show anything: then they race again, ten times
/// at most.
fn raced(fault: &'static dyn Fault) -> Found {
    let met = |found: &Found| found.as_ref().map_or(true, |report| report.overlapped >= 1_000);
    (1..10).map(|_| blocking(fault)).find(met).unwrap_or_else(|| blocking(fault))
}

fn runtime() -> Runtime {
    Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap()
}

fn on_threads<S: task_lifecycle_conformance::Store + Send>(open: impl FnMut() -> S) {
    let runtime = runtime();
    check_threads(open, |future| runtime.block_on(future));
}

/// The runs of each store: `TASK_LIFECYCLE_RUNS=20` shows that nothing depends on luck.
fn runs() -> usize {
    env::var("TASK_LIFECYCLE_RUNS").map_or(1, |runs| runs.parse().unwrap())
}

/// The most lines of a story, of which a few are loads that the calls need. What wears out needs
/// more calls.
fn most(store: &Broken) -> usize {
    if matches!(store.name, "PermitLeaks" | "Every64thWriteLost") { 20 } else { 10 }
}

/// Each is caught, by its law, in a short story. Stores that wait are tried four at a time; threads that
/// race have no time to lose.
fn are_caught(stores: &[Broken], at_once: usize, find: fn(&'static dyn Fault) -> Found) {
    let tries = Mutex::new((0..runs()).flat_map(|_| stores));
    let wrong = Mutex::new(Vec::new());
    let next = || tries.lock().unwrap().next();
    let try_all = || {
        while let Some(store) = next() {
            let told = match find(store.fault) {
                Err(found)
                    if store.laws.contains(&found.law) && found.story.len() <= most(store) =>
                {
                    continue;
                }
                Err(found) => format!("{}, not {:?}: {found}", store.name, store.laws),
                Ok(report) => format!("{} passed: {report:?}", store.name),
            };
            wrong.lock().unwrap().push(told);
        }
    };
    thread::scope(|scope| (0..at_once).for_each(|_| drop(scope.spawn(try_all))));
    let wrong = wrong.into_inner().unwrap();
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n\n"));
}

#[test]
fn what_is_wrong_alone_is_caught() {
    are_caught(calm::CALM, 4, waiting);
    are_caught(calm::CALM, 4, blocking);
}

#[test]
fn what_is_wrong_when_calls_overlap_is_caught() {
    are_caught(racing::RACING, 4, waiting);
}

#[test]
fn what_is_wrong_only_if_a_store_waits_is_caught() {
    are_caught(racing::ONLY_WAITING, 4, waiting);
}

#[test]
fn what_is_wrong_when_threads_race_is_caught() {
    are_caught(racing::RACING, 1, raced);
}

#[test]
fn what_is_wrong_on_threads_of_a_store_that_waits_is_caught() {
    for _ in 0..runs() {
        for store in racing::ON_THREADS {
            let told = panics(|| on_threads(|| With::new(store.fault, true)));
            assert!(told.contains("breaks the law OneWins:"), "{}: {told}", store.name);
            assert!(told.contains("it cannot be played again"), "{told}");
        }
    }
}

/// The text of a panic.
fn panics(work: impl FnOnce()) -> String {
    let text = panic::catch_unwind(AssertUnwindSafe(work)).expect_err("it passed");
    text.downcast_ref::<String>().cloned().unwrap_or_default()
}

fn passes(find: impl Fn() -> Found) -> Report {
    let reports = (0..runs()).map(|_| find().unwrap_or_else(|violation| panic!("{violation}")));
    reports.last().unwrap()
}

fn waits_and_passes<K: Keep<T>, T: Kept>() -> Report {
    passes(|| runtime().block_on(find_violation(async || By::<K, T>::default())))
}

fn blocks_and_passes<K: Keep<T>, T: Kept>() -> Report {
    passes(|| find_violation_blocking(By::<K, T>::default))
}

fn passes_on_threads<K: Keep<T>, T: Kept>() {
    (0..runs()).for_each(|_| on_threads(By::<K, T>::default));
}

#[test]
fn right_stores_that_wait_pass() {
    for report in [
        passes(|| waiting(&Right)),
        waits_and_passes::<Locked<String>, String>(),
        waits_and_passes::<Optimistic<String>, String>(),
        waits_and_passes::<Optimistic<()>, ()>(),
        waits_and_passes::<Log<String>, String>(),
        waits_and_passes::<Lossy, String>(),
    ] {
        assert!(report.overlapped > report.histories / 4, "{report:?}");
        assert!(report.given_up > report.histories / 16, "{report:?}");
    }
}

#[test]
fn right_stores_of_which_others_do_the_work_pass() {
    let stores = [
        waits_and_passes::<Actor<String>, String>,
        waits_and_passes::<Spawned<[char; 4]>, [char; 4]>,
        waits_and_passes::<Napping<String>, String>,
        waits_and_passes::<Abandoned<String>, String>,
    ];
    thread::scope(|scope| stores.map(|passes| scope.spawn(passes)).map(drop));
}

#[test]
fn a_right_store_passes_whose_creates_come_late() {
    passes(|| waiting(&CreatesLate));
}

#[test]
fn right_stores_that_block_pass() {
    let report = passes(|| blocking(&Right));
    let Report { histories, commits, refused, deletes, reopened, .. } = report;
    let floors = [(commits, 1), (refused, 2), (deletes, 4), (reopened, 8)];
    assert!(floors.iter().all(|(count, one_in)| count * one_in > histories), "{report:?}");
    for report in [
        blocks_and_passes::<Mutexed<String>, String>(),
        blocks_and_passes::<Mutexed<()>, ()>(),
        blocks_and_passes::<Mutexed<[char; 4]>, [char; 4]>(),
    ] {
        assert_eq!(report.handles, 2, "{report:?}");
        assert!(report.overlapped > 0, "{report:?}");
    }
}

#[test]
fn right_stores_pass_on_threads() {
    passes_on_threads::<Spawned<String>, String>();
    passes_on_threads::<Locked<()>, ()>();
    passes_on_threads::<Napping<[char; 4]>, [char; 4]>();
    passes_on_threads::<Lossy, String>();
}

#[test]
fn what_overlapped_nothing_does_not_pass() {
    let never_waits = async || By::<Mutexed<String>>::default();
    let found = runtime().block_on(find_violation(never_waits)).unwrap_err();
    assert_eq!(found.law, Law::CallsOverlap);
    assert!(found.to_string().contains("`check_blocking`"), "{found}");
    let told = panics(|| runtime().block_on(check(never_waits)));
    assert!(told.contains("`check_blocking`"), "{told}");
    for told in [
        panics(|| check_blocking(By::<Alone>::default)),
        panics(|| on_threads(By::<Alone>::default)),
    ] {
        assert!(told.contains("`Store::another` returned none"), "{told}");
    }
}

#[test]
fn a_story_is_played_again_by_its_digits() {
    let found = waiting(racing::RACING[0].fault).unwrap_err();
    let told = found.to_string();
    let replay = found.replay.clone().expect("it replays");
    assert!(told.contains(&format!("to play it again: TASK_LIFECYCLE_REPLAY={replay}")), "{told}");
    let story: Vec<_> = told.lines().skip(1).take(found.story.len()).map(|it| &it[5..]).collect();
    assert_eq!(story, found.story, "{told}");
    let played = in_a_process("TASK_LIFECYCLE_REPLAY", &replay);
    assert!(played.contains(&found.story.join("|")), "{played}\n{found}");
    let [one, two] = ["7", "7"].map(|seed| in_a_process("TASK_LIFECYCLE_SEED", seed));
    assert_eq!(one, two);
}

/// Returns what the ignored test prints with a variable set: to set one here takes `unsafe`.
fn in_a_process(name: &str, value: &str) -> String {
    let mut run = Command::new(env::current_exe().unwrap());
    run.args(["print_the_first", "--exact", "--ignored", "--nocapture"]);
    let output = String::from_utf8(run.env(name, value).output().unwrap().stdout).unwrap();
    output.lines().filter(|line| line.starts_with('|')).collect::<Vec<_>>().join("\n")
}

#[test]
#[ignore = "it is run by another test"]
fn print_the_first() {
    let found = waiting(racing::RACING[0].fault).unwrap_err();
    println!("\n|{}|{:?}", found.story.join("|"), found.replay);
}

/// Every store of the bank, and the laws that it may be caught by.
#[test]
fn the_bank_is_what_its_page_shows() {
    let stores = [calm::CALM, racing::RACING, racing::ONLY_WAITING, racing::ON_THREADS].concat();
    let rows = stores.iter().map(|store| {
        let laws: Vec<_> = store.laws.iter().map(|law| format!("`{law:?}`")).collect();
        format!("| `{}` | {} |\n", store.name, laws.join(", "))
    });
    expect_file![concat!(env!("CARGO_MANIFEST_DIR"), "/BANK.md")].assert_eq(&format!(
        "# The bank\n\nEach store is broken on purpose. It is caught by a law that it breaks, mostly \
         by the first. Written by `UPDATE_EXPECT=1 cargo test -p task-lifecycle-conformance`.\n\n\
         | store | laws |\n|---|---|\n{}",
        rows.collect::<String>()
    ));
}
