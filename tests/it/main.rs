//! The core's tests, one module a subject. `tests/README.md` says what is tested how.

mod client;
mod common;
#[cfg(feature = "serde")]
mod example;
#[cfg(feature = "serde")]
mod fuzzed;
mod laws;
mod pages;
mod public;
mod relation;
#[cfg(feature = "serde")]
mod stored_form;
