//! An API server and its workers, on a database, built on `task-lifecycle`.
#![allow(missing_docs)]

pub mod options;
