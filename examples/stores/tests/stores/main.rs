//! Stores on engines that run: each is started for its test.

mod beside;
mod conformance;
mod harness;
mod kill;
mod lost;
mod queue;
mod settle;
