//! The payloads that the tasks carry, and the two places of a task for them.

use std::mem;

/// A payload that the harness can make: equal numbers make equal payloads.
pub trait Payload: PartialEq {
    const NAME: &'static str;
    fn make(number: u64) -> Self;
}

impl Payload for () {
    const NAME: &'static str = "`()`";
    fn make(_: u64) -> Self {}
}

/// 56 bytes, of which some are on the heap.
#[derive(Clone, PartialEq, Debug, serde::Serialize, serde::Deserialize)]
pub struct Document {
    pub created_at: u64,
    pub started_at: u64,
    pub finished_at: u64,
    pub pages: u64,
    pub message: String,
}

const _: () = assert!(size_of::<Document>() == 56);

impl Payload for Document {
    const NAME: &'static str = "56-byte struct";
    fn make(number: u64) -> Self {
        Self {
            created_at: number,
            started_at: number + 1,
            finished_at: number + 2,
            pages: number % 100,
            message: format!("document {number}"),
        }
    }
}

pub type Configuration = Box<[u8; 500]>;

impl Payload for Configuration {
    const NAME: &'static str = "boxed 500 bytes";
    fn make(number: u64) -> Self {
        let mut bytes = Box::new([0; 500]);
        bytes[..8].copy_from_slice(&number.to_le_bytes());
        bytes
    }
}

/// Both payloads of a task, beside a machine that knows whether the task is updating.
///
/// The update is laid beside the settled payload, so that a revert has nothing to move.
pub struct Payloads<T> {
    base: T,
    update: Option<T>,
}

impl<T> Payloads<T> {
    #[inline]
    pub fn new(payload: T) -> Self {
        Self {
            base: payload,
            update: None,
        }
    }

    #[inline]
    pub fn current(&self, updating: bool) -> &T {
        match &self.update {
            Some(update) if updating => update,
            _ => &self.base,
        }
    }

    #[inline]
    pub fn update(&mut self, payload: T) {
        self.update = Some(payload);
    }

    /// The update becomes the settled payload.
    #[inline]
    pub fn settle(&mut self) {
        if let Some(update) = self.update.take() {
            self.base = update;
        }
    }

    /// The update is dropped, as the last thing, so that nothing must be kept across the drop. One
    /// that needs no drop may stay where it is: `current` is told by the machine that it does not
    /// count.
    #[inline]
    pub fn revert(&mut self) {
        if mem::needs_drop::<T>() {
            drop(self.update.take());
        }
    }
}
