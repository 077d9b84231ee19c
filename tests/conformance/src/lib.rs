//! A conformance suite for whatever keeps your tasks.

mod store;

pub use store::Store;
