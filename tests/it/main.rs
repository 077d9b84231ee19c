//! The core's tests, one module a subject. `tests/README.md` says what is tested how.

mod client;
mod common;
#[cfg(feature = "serde")]
mod fuzzed;
#[cfg(feature = "serde")]
mod hazards;
mod laws;
mod pages;
mod public;
mod relation;
#[cfg(feature = "serde")]
mod stored_form;
mod strategy;
#[cfg(feature = "serde")]
mod vectors;
