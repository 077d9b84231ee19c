//! Time: what is stuck is told from what is slow, and a story is told even by a thread that hangs.

use core::task::Waker;
use core::time::Duration;
use std::format;
use std::io::{self, Write as _};
use std::process;
use std::string::String;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::vec::Vec;

const TICK: Duration = Duration::from_millis(1);

/// Ticks that a thread may be busy in one poll.
const HANGS: u64 = 10_000;

/// Ticks until a call counts as one that does not end.
pub(super) const PATIENCE: u64 = 5_000;

/// Ticks on a thread of its own, as there is no runtime to ask, and keeps the story.
pub(super) struct Clock(Arc<Shared>);

#[derive(Default)]
struct Shared {
    ticks: AtomicU64,
    waker: Mutex<Option<Waker>>,
    /// The tick at which a poll began, and one more; 0 if none is on.
    busy_since: AtomicU64,
    story: Mutex<Vec<String>>,
}

impl Clock {
    pub(super) fn new() -> Self {
        let shared = Arc::<Shared>::default();
        let weak = Arc::downgrade(&shared);
        thread::spawn(move || {
            loop {
                thread::sleep(TICK);
                let Some(shared) = weak.upgrade() else { break };
                shared.tick();
            }
        });
        Self(shared)
    }

    pub(super) fn now(&self) -> u64 {
        self.0.ticks.load(Ordering::Acquire)
    }

    pub(super) fn wake_at_tick(&self, waker: &Waker) {
        let mut next = lock(&self.0.waker);
        if !next.as_ref().is_some_and(|next| next.will_wake(waker)) {
            *next = Some(waker.clone());
        }
    }

    /// Makes a call that may block the thread for good.
    pub(super) fn watched<R>(&self, call: impl FnOnce() -> R) -> R {
        self.busy();
        let result = call();
        self.0.busy_since.store(0, Ordering::Release);
        result
    }

    /// From now on a thread may hang: unless this is said again, the story ends the process.
    pub(super) fn busy(&self) {
        self.0.busy_since.store(self.now() + 1, Ordering::Release);
    }

    /// Begins a story.
    pub(super) fn begin(&self) {
        lock(&self.0.story).clear();
    }

    /// Tells what happens next. Returns the number of the line.
    pub(super) fn tell(&self, line: String) -> usize {
        let mut story = lock(&self.0.story);
        story.push(line);
        story.len() - 1
    }

    /// Adds to what was told.
    pub(super) fn add(&self, line: usize, text: &str) {
        if let Some(line) = lock(&self.0.story).get_mut(line) {
            line.push_str(text);
        }
    }

    pub(super) fn story(&self) -> Vec<String> {
        lock(&self.0.story).clone()
    }
}

impl Shared {
    fn tick(&self) {
        let now = self.ticks.fetch_add(1, Ordering::AcqRel) + 1;
        if let Some(waker) = lock(&self.waker).take() {
            waker.wake();
        }
        let since = self.busy_since.load(Ordering::Acquire);
        if since != 0 && now.saturating_sub(since) > HANGS {
            // Nothing can take the thread back, so nobody else can tell.
            let story = lock(&self.story).join("\n");
            let text = format!("the store hangs, and its thread with it:\n{story}: no answer\n");
            let _ = io::stderr().write_all(text.as_bytes());
            process::exit(101);
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
