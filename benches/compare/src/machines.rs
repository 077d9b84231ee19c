//! What the crate is compared with, one a file.

pub mod byte;
pub mod finny;
pub mod fsmentry;
pub mod obvious;
pub mod rust_fsm;
pub mod smlang;
pub mod statig;
