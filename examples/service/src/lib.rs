//! An API server and its workers, on a database, built on `task-lifecycle`.
//!
//! | file | subject |
//! |---|---|
//! | `routes.rs` | what a client can ask for: `cancel` is the function to read first |
//! | `request.rs` | what it sends, and who it is |
//! | `answer.rs` | what it is told |
//! | `document.rs` | the payload, and the work |
//! | `store.rs` | the statements: tasks, the queue and the log, in SQLite or PostgreSQL |
//! | `worker.rs` | a run |
//! | `record.rs`, `database.rs` | what is stored; connections and rows |
//! | `server.rs`, `run.rs`, `observe.rs` | connections; the program; its log and numbers |
//!
//! Each change is the same four steps: load, decide, commit by the revision that was loaded,
//! answer.

pub mod answer;
mod database;
pub mod document;
pub mod observe;
mod openapi;
mod record;
pub mod request;
pub mod routes;
pub mod run;
pub mod server;
pub mod store;
pub mod worker;
