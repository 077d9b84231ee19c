// Where the README's links lead in the docs. The README defines them too; the first definition
// counts, and this one is checked.
//! [Embedding]: _documentation::embedding
//! [Integration]: _documentation::integration
//! [Stored form]: _documentation::stored_form
//! [verification]: _documentation::verification
//! [benchmarks]: _documentation::benchmarks
//!
#![doc = include_str!("../README.md")]
#![no_std]
#![cfg_attr(docsrs, feature(doc_cfg))]
#![forbid(unsafe_code)]
// law: no_panic
#![cfg_attr(
    not(feature = "proptest"),
    deny(
        clippy::arithmetic_side_effects,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::panic,
        clippy::todo,
        clippy::unreachable,
        clippy::unwrap_used
    )
)]

// Only for other programs' tests, which may also panic.
#[cfg(feature = "proptest")]
extern crate std;

#[cfg(any(doc, doctest))]
pub mod _documentation;
mod counter;
mod draft;
mod error;
mod operation;
mod snapshot;
mod state;
mod status;
#[cfg(feature = "proptest")]
pub mod strategy;
mod task;
mod transition;
#[cfg(feature = "serde")]
mod words;

pub use counter::{Revision, Run};
pub use draft::{Draft, Outcome};
pub use error::{
    DeleteError, SnapshotError, StaleRevision, StaleRun, TransitionError, UnknownOperation,
    UnknownStatus,
};
pub use operation::{Event, Operation};
pub use snapshot::{Previous, Snapshot};
pub use state::State;
pub use status::Status;
pub use task::Task;
pub use transition::{Released, Transition};
