//! The core's tests, one module a subject. `tests/README.md` says what is tested how.

mod client;
mod common;
mod laws;
mod pages;
mod public;
mod pure;
mod relation;
mod strategy;

#[cfg(feature = "serde")]
mod example;
#[cfg(feature = "serde")]
mod fuzzed;
#[cfg(feature = "serde")]
mod hazards;
#[cfg(feature = "serde")]
mod stored_form;
#[cfg(feature = "serde")]
mod vectors;
