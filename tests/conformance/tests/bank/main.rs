//! Right stores pass, and each of many that are broken on purpose is caught.

mod calm;
mod memory;
mod racing;

use memory::{Fault, Right, With, wait};
use task_lifecycle_conformance::{Law, Report, Violation, find_violation, find_violation_blocking};

/// A broken store.
struct Entry {
    name: &'static str,
    law: Law,
    waiting: fn() -> Result<Report, Violation>,
    blocking: fn() -> Result<Report, Violation>,
}

impl Entry {
    fn new<F: Fault + Send>(name: &'static str, law: Law) -> Self {
        Self {
            name,
            law,
            waiting: || on_tokio(find_violation(async || With::<F>::new(true))),
            blocking: || find_violation_blocking(|| With::<F>::new(false)),
        }
    }
}

fn on_tokio<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

/// How often each store is tried: `TASK_LIFECYCLE_RUNS=20` shows that it does not depend on luck.
fn runs() -> usize {
    std::env::var("TASK_LIFECYCLE_RUNS").map_or(1, |runs| runs.parse().unwrap())
}

fn are_caught(entries: &[Entry], how: fn(&Entry) -> fn() -> Result<Report, Violation>) {
    let mut wrong = Vec::new();
    for _ in 0..runs() {
        for entry in entries {
            let began = std::time::Instant::now();
            match how(entry)() {
                Err(found) if found.law == entry.law => {
                    println!(
                        "{} {} {:?} {:?}",
                        entry.name,
                        found.story.len(),
                        found.replay.is_some(),
                        began.elapsed()
                    );
                    if found.story.len() > 6 {
                        println!("{found}");
                    }
                }
                Err(found) => wrong.push(format!("{}, not {:?}: {found}", entry.name, entry.law)),
                Ok(report) => wrong.push(format!("{} passed: {report:?}", entry.name)),
            }
        }
    }
    assert!(wrong.is_empty(), "{} wrong\n{}", wrong.len(), wrong.join("\n\n"));
}

#[test]
fn calm_waiting() {
    are_caught(&calm::calm(), |entry| entry.waiting);
}
#[test]
fn calm_blocking() {
    are_caught(&calm::calm(), |entry| entry.blocking);
}
#[test]
fn racing_waiting() {
    are_caught(&racing::racing(), |entry| entry.waiting);
}
#[test]
fn racing_blocking() {
    are_caught(&racing::racing(), |entry| entry.blocking);
}
#[test]
fn given_up() {
    are_caught(&racing::given_up(), |entry| entry.waiting);
}
#[test]
fn right() {
    for _ in 0..3 {
        let (t, c) = (std::time::Instant::now(), cpu());
        println!("{:?}", find_violation_blocking(|| With::<Right>::new(false)).unwrap());
        println!("{:?} {}", t.elapsed(), cpu() - c);
        let (t, c) = (std::time::Instant::now(), cpu());
        println!("{:?}", on_tokio(find_violation(async || With::<Right>::new(true))).unwrap());
        println!("{:?} {}", t.elapsed(), cpu() - c);
    }
    let c = cpu();
    println!("{:?}", on_tokio(find_violation(async || With::<Right>::new(true))).unwrap());
}

fn cpu() -> f64 {
    let s = std::fs::read_to_string("/proc/self/stat").unwrap();
    let v: Vec<&str> = s.rsplit(')').next().unwrap().split_whitespace().collect();
    (v[11].parse::<f64>().unwrap() + v[12].parse::<f64>().unwrap()) / 100.0
}
