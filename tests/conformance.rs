//! The suite for stores passes right ones, and catches each of many that are broken on purpose.

#[path = "conformance/calm.rs"]
mod calm;

use calm::Memory;
use task_lifecycle::conformance::{check_blocking, find_violation_blocking, Violation, Law};

fn runs() -> usize {
    std::env::var("TASK_LIFECYCLE_RUNS").map_or(1, |runs| runs.parse().unwrap())
}

#[test]
fn right() {
    let t = std::time::Instant::now();
    let report = find_violation_blocking(|| Memory::new(None)).unwrap_or_else(|v| panic!("{v}"));
    eprintln!("{:?} {report:?}", t.elapsed());
}

#[test]
fn calm_faults() {
    let mut wrong = Vec::new();
    for _ in 0..runs() {
        for &(fault, law) in calm::LAWS {
            let t = std::time::Instant::now();
            let found = find_violation_blocking(|| Memory::new(Some(fault)));
            match &found {
                Err(v) if v.law == law && v.story.len() <= 8 => {},
                Err(v) => { eprintln!("{fault:?}: {v}"); wrong.push((fault, v.law)) },
                Ok(_) => { eprintln!("{fault:?}: not caught"); wrong.push((fault, Law::StoredWhole)) },
            }
            eprintln!("{fault:?} {:?}", t.elapsed());
        }
    }
    assert!(wrong.is_empty(), "{wrong:?}");
}
