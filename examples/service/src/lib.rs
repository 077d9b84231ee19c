//! An API server and its workers, on a database, built on `task-lifecycle`.
//!
//! | file | subject |
//! |---|---|
//! | `routes.rs` | what a client can ask for: `cancel` and `change` are to be read first |
//! | `commit.rs` | a commit, from its draft to what became of it |
//! | `store.rs` | the statements: tasks, what lies beside them, messages and leases |
//! | `worker.rs` | a run, and the sweeper |
//! | `document.rs` | the payload, and the work |
//! | `request.rs`, `answer.rs` | what a client sends, and what it gets |
//! | `database.rs` | connections, and the meaning of errors |
//! | `options.rs`, `service.rs` | the program |

pub mod answer;
pub mod commit;
pub mod database;
pub mod document;
pub mod options;
pub mod request;
pub mod routes;
pub mod service;
pub mod store;
pub mod worker;
