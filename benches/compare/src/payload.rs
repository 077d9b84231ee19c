//! The payloads that tasks carry here.

use std::sync::{Arc, LazyLock};

/// A payload that can be made: equal numbers make equal payloads.
pub trait Payload {
    fn make(number: u64) -> Self;
}

impl Payload for () {
    fn make(_: u64) -> Self {}
}

impl Payload for u64 {
    fn make(number: u64) -> Self {
        number
    }
}

/// 56 bytes, and some on the heap.
#[derive(serde::Serialize, serde::Deserialize)]
pub struct Document {
    times: [u64; 3],
    pages: u64,
    message: String,
}

impl Payload for Document {
    fn make(number: u64) -> Self {
        Self { times: [number; 3], pages: number, message: format!("document {number}") }
    }
}

impl Payload for Box<[u8; 500]> {
    fn make(number: u64) -> Self {
        Box::new([number as u8; 500])
    }
}

/// Shared with the rest of the program, so that a drop is a decrement.
impl Payload for Arc<[u8; 500]> {
    fn make(number: u64) -> Self {
        static HELD: LazyLock<[Arc<[u8; 500]>; 16]> =
            LazyLock::new(|| std::array::from_fn(|number| Arc::new([number as u8; 500])));
        HELD[number as usize % HELD.len()].clone()
    }
}
