#![doc = include_str!("../README.md")]

mod call;
mod drawn_histories;
mod history;
mod hostile;
mod ledger;
mod player;
mod polling;
mod search;
mod store;
mod threads;
mod verdict;

use core::pin::Pin;

pub use store::Store;
pub use verdict::{Law, Report, Violation};

/// Drives stores made by `open`, each empty or at least free of the suite's tasks, and panics with
/// the story of a [`Violation`]. It needs no runtime, so the store may use any.
///
/// # Panics
///
/// If the store breaks a law, or if `open` panics. If no call of the store ever waited, so that
/// none overlapped: such a store is for [`check_blocking`].
pub async fn check<S: Store>(open: impl AsyncFnMut() -> S) {
    if let Err(violation) = find_violation(open).await {
        panic!("{violation}");
    }
}

/// Drives stores as [`check`] does, and returns the violation.
///
/// # Errors
///
/// The [`Violation`] with the shortest story that was found.
///
/// # Panics
///
/// If `open` panics.
pub async fn find_violation<S: Store>(open: impl AsyncFnMut() -> S) -> Result<Report, Violation> {
    let seen = "no call of the store ever waited; `check_blocking` races threads instead";
    search::search(open).await.and_then(|report| search::tried(report, seen))
}

/// Drives stores made by `open` as [`check`] does, for a store whose methods never wait, and then
/// races two threads that have a [handle](Store::another) each. It needs no runtime.
///
/// # Panics
///
/// If the store breaks a law, has no [other handle](Store::another), or if `open` panics.
#[track_caller]
pub fn check_blocking<S: Store + Send>(open: impl FnMut() -> S) {
    if let Err(violation) = find_violation_blocking(open) {
        panic!("{violation}");
    }
}

/// Drives stores as [`check_blocking`] does, and returns the violation.
///
/// # Errors
///
/// The [`Violation`] with the shortest story that was found.
///
/// # Panics
///
/// If `open` panics.
pub fn find_violation_blocking<S: Store + Send>(
    open: impl FnMut() -> S,
) -> Result<Report, Violation> {
    search::search_blocking(open)
}

/// Races two threads that have a [handle](Store::another) each, for a store that waits: `block_on`
/// drives a future on the thread that calls it.
///
/// # Panics
///
/// If the store breaks a law, has no [other handle](Store::another), or if `open` panics.
#[track_caller]
pub fn check_threads<S: Store + Send>(
    open: impl FnMut() -> S,
    block_on: impl Fn(Pin<&mut dyn Future<Output = ()>>) + Sync,
) {
    if let Err(violation) = search::search_threads(open, &block_on) {
        panic!("{violation}");
    }
}
