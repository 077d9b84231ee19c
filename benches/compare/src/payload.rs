//! The payloads that tasks carry here.

use std::sync::{Arc, LazyLock};

/// A payload that can be made: equal numbers make equal payloads.
pub(crate) trait Payload {
    fn make(number: u8) -> Self;
}

impl Payload for () {
    fn make(_: u8) -> Self {}
}

impl Payload for u64 {
    fn make(number: u8) -> Self {
        number.into()
    }
}

/// 56 bytes, and some on the heap.
#[derive(serde::Serialize, serde::Deserialize)]
pub(crate) struct Document {
    times: [u64; 3],
    pages: u64,
    message: String,
}

impl Payload for Document {
    fn make(number: u8) -> Self {
        let message = format!("document {number}");
        Self { times: [number.into(); 3], pages: number.into(), message }
    }
}

impl Payload for Box<[u8; 500]> {
    fn make(number: u8) -> Self {
        Box::new([number; 500])
    }
}

/// Shared with the rest of the program, so that a drop is a decrement.
impl Payload for Arc<[u8; 500]> {
    fn make(_: u8) -> Self {
        static HELD: LazyLock<Arc<[u8; 500]>> = LazyLock::new(|| Arc::new([0; 500]));
        HELD.clone()
    }
}
