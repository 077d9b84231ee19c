//! What the tests and the storm share: processes, a client, a database, figures.

#![allow(dead_code, reason = "each of them uses its part")]

pub mod client;
pub mod postgres;
pub mod process;
pub mod report;
