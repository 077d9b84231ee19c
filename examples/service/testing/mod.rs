//! What the tests, the storm and the figures share.

#![allow(dead_code, reason = "each of them uses its part")]

use std::io::{Write as _, stderr};

pub mod client;
pub mod postgres;
pub mod process;
#[path = "../../stores/src/report.rs"]
pub mod report;

/// Says what is skipped where a person sees it: the test runner hides what a passing test prints.
pub fn skipped(what: &str) {
    _ = writeln!(stderr(), "SKIPPED: {what}");
}
