//! The suite for stores passes right ones, and catches each of many that are broken on purpose.

#[path = "conformance/blocking.rs"]
mod blocking;
#[path = "conformance/calm.rs"]
mod calm;
#[path = "conformance/waiting.rs"]
mod waiting;

use std::fmt::Debug;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};

use blocking::Blocking;
use calm::Memory;
use task_lifecycle::conformance::{
    Law, Report, Violation, check_blocking, find_violation, find_violation_blocking,
};
use waiting::Waiting;

fn runs() -> usize {
    std::env::var("TASK_LIFECYCLE_RUNS").map_or(1, |runs| runs.parse().unwrap())
}

/// A runtime.
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

/// Each fault is caught by its law, in a short story, whatever is drawn.
fn caught<F: Copy + Debug>(laws: &[(F, Law)], find: impl Fn(F) -> Result<Report, Violation>) {
    let mut wrong = Vec::new();
    for _ in 0..runs() {
        for &(fault, law) in laws {
            let t = std::time::Instant::now();
            let found = find(fault);
            match &found {
                Err(v) if v.law == law && v.story.len() <= 8 => {}
                Err(v) => {
                    eprintln!("{fault:?}: {v}");
                    wrong.push((fault, v.law))
                }
                Ok(_) => {
                    eprintln!("{fault:?}: not caught");
                    wrong.push((fault, Law::StoredWhole))
                }
            }
            eprintln!("{fault:?} {:?}", t.elapsed());
        }
    }
    assert!(wrong.is_empty(), "{wrong:?}");
}

#[test]
fn right() {
    let t = std::time::Instant::now();
    let report = find_violation_blocking(|| Memory::new(None)).unwrap_or_else(|v| panic!("{v}"));
    eprintln!("{:?} {report:?}", t.elapsed());
    let t = std::time::Instant::now();
    let report =
        block_on(find_violation(async || Waiting::new(None))).unwrap_or_else(|v| panic!("{v}"));
    eprintln!("{:?} {report:?}", t.elapsed());
}

#[test]
fn calm_faults() {
    caught(calm::LAWS, |fault| {
        find_violation_blocking(|| Memory::new(Some(fault)))
    });
}

#[test]
fn blocking_faults() {
    caught(blocking::LAWS, |fault| {
        find_violation_blocking(|| Blocking::new(Some(fault)))
    });
}

#[test]
fn waiting_faults() {
    caught(waiting::LAWS, |fault| {
        block_on(find_violation(async || Waiting::new(Some(fault))))
    });
}
