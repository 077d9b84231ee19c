//! The code of `src/documentation/integration.md`, a file for each section.

pub mod diesel;
pub mod http;
pub mod migrate;
pub mod queue;
pub mod rusqlite;
pub mod schema;
pub mod sqlx;
pub mod tracing;
