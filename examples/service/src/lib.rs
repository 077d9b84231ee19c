//! An API server and its workers, on a database, built on `task-lifecycle`.
//!
//! | file | subject |
//! |---|---|
//! | `routes.rs` | what a client can ask for: `cancel` is to be read first |
//! | `commit.rs` | a change, from the load to what became of its commit |
//! | `store.rs` | the statements: tasks, what lies beside them, messages and leases |
//! | `worker.rs` | a run, and the sweeper |
//! | `document.rs` | the payload, the work on it, and its look |
//! | `database.rs` | connections, and the meaning of errors |
//! | `options.rs`, `main.rs` | the program |

pub mod commit;
pub mod database;
pub mod document;
pub mod options;
pub mod routes;
pub mod store;
pub mod worker;
