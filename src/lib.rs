#![doc = include_str!("../README.md")]
#![no_std]
#![forbid(unsafe_code)]

mod error;
mod operation;
mod snapshot;
mod state;
mod status;
mod task;
mod transition;

pub use error::{
    DeleteError, SnapshotError, StaleRevision, TransitionError, UnknownOperation, UnknownStatus,
};
pub use operation::{Event, Operation};
pub use snapshot::{Previous, Snapshot};
pub use state::State;
pub use status::Status;
pub use task::Task;
pub use transition::Transition;
