//! What the tests and the storm share: processes, a client, a database, figures.

#![allow(dead_code, reason = "each of them uses its part")]

use std::io::{Write as _, stderr};

pub mod client;
pub mod postgres;
pub mod process;
pub mod report;

/// Says what is left out where a person sees it: what a test prints is shown only if it fails.
pub fn skipped(what: &str) {
    _ = writeln!(stderr(), "SKIPPED: {what}");
}
