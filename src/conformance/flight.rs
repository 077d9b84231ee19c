//! Calls in flight. They are polled by hand, so that one can be held while another goes on.

use core::cell::{Cell, RefCell};
use core::future::{Future, poll_fn};
use core::pin::Pin;
use core::task::{Context, Poll, Waker};
use std::boxed::Box;
use std::panic::{self, AssertUnwindSafe};
use std::string::{String, ToString};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, Once, PoisonError};
use std::task::Wake;

use super::clock::Clock;

/// Why a call has no answer.
#[derive(Clone, Debug)]
pub(super) enum Fault {
    Panicked(String),
    /// It did not end.
    Silent,
}

/// A call that was begun.
pub(super) struct Flight<'a, T> {
    call: Option<Pin<Box<dyn Future<Output = T> + 'a>>>,
    bell: Arc<Bell>,
    /// How often it has waited.
    pub(super) waits: u32,
    ended: Option<Result<T, Fault>>,
}

impl<'a, T> Flight<'a, T> {
    pub(super) fn new(call: impl Future<Output = T> + 'a) -> Self {
        Self {
            call: Some(Box::pin(call)),
            bell: Arc::default(),
            waits: 0,
            ended: None,
        }
    }

    pub(super) const fn has_ended(&self) -> bool {
        self.ended.is_some()
    }

    /// Polls the call if it was woken. Only so is the number of its waits the same every time.
    fn poll(&mut self, context: &Context<'_>) {
        let Some(call) = &mut self.call else { return };
        self.bell.rings_at(context.waker());
        if self.bell.quiet.swap(true, Ordering::AcqRel) {
            return;
        }
        let waker = Waker::from(Arc::clone(&self.bell));
        match quietly(|| call.as_mut().poll(&mut Context::from_waker(&waker))) {
            Ok(Poll::Pending) => self.waits += 1,
            Ok(Poll::Ready(answer)) => self.end(Ok(answer)),
            Err(text) => self.end(Err(Fault::Panicked(text))),
        }
    }

    fn end(&mut self, ended: Result<T, Fault>) {
        self.ended = Some(ended);
        if let Err(text) = self.drop_call() {
            self.ended = Some(Err(Fault::Panicked(text)));
        }
    }

    fn drop_call(&mut self) -> Result<(), String> {
        let call = self.call.take();
        quietly(|| drop(call))
    }

    /// The answer, of a call that was driven to its end.
    pub(super) fn answer(self) -> Result<T, Fault> {
        self.give_up().unwrap_or(Err(Fault::Silent))
    }

    /// Gives the call up, as a client does that goes away. `Some` if it had ended.
    pub(super) fn give_up(mut self) -> Option<Result<T, Fault>> {
        if let Err(text) = self.drop_call() {
            return Some(Err(Fault::Panicked(text)));
        }
        self.ended
    }
}

/// Drives a call to its end.
pub(super) async fn alone<'a, T>(
    clock: &Clock,
    call: impl Future<Output = T> + 'a,
    patience: u64,
) -> Flight<'a, T> {
    let mut flight = Flight::new(call);
    drive(clock, &mut [&mut flight], patience, |calls| {
        calls[0].has_ended()
    })
    .await;
    flight
}

/// Drives a call until it has waited `waits` times, or ended.
pub(super) async fn hold<T>(clock: &Clock, flight: &mut Flight<'_, T>, waits: u8, patience: u64) {
    drive(clock, &mut [flight], patience, |calls| {
        calls[0].has_ended() || calls[0].waits >= u32::from(waits)
    })
    .await;
}

/// While the first call is held, drives the second to its end, or for a `moment` if it is stuck
/// behind the first; and then both.
pub(super) async fn overlap<T>(
    clock: &Clock,
    [first, second]: [&mut Flight<'_, T>; 2],
    moment: u64,
    patience: u64,
) {
    drive(clock, &mut [second], moment, |calls| calls[0].has_ended()).await;
    let ended = |calls: &[&mut Flight<'_, T>]| calls.iter().all(|call| call.has_ended());
    drive(clock, &mut [first, second], patience, ended).await;
}

/// Polls calls, those in front first, until it is enough or the clock has ticked so often.
async fn drive<T>(
    clock: &Clock,
    calls: &mut [&mut Flight<'_, T>],
    patience: u64,
    enough: impl Fn(&[&mut Flight<'_, T>]) -> bool,
) {
    // Ticks that were seen and not time that passed: a machine that stands still answers nobody.
    let mut ticks = 0;
    let mut last = clock.now();
    poll_fn(|context| {
        clock.wake_at_tick(context.waker());
        let now = clock.now();
        ticks += u64::from(now != last);
        last = now;
        for call in &mut *calls {
            clock.watched(|| call.poll(context));
        }
        if enough(calls) || ticks >= patience {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    })
    .await;
}

/// Lets time pass.
pub(super) async fn pause(clock: &Clock, ticks: u64) {
    drive::<()>(clock, &mut [], ticks, |_| false).await;
}

/// Wakes the task that polls a call, and remembers that it was this call.
struct Bell {
    /// Whether it has not rung since the last poll.
    quiet: AtomicBool,
    at: Mutex<Option<Waker>>,
}

impl Default for Bell {
    fn default() -> Self {
        Self {
            quiet: AtomicBool::new(false),
            at: Mutex::new(None),
        }
    }
}

impl Bell {
    fn rings_at(&self, waker: &Waker) {
        let mut at = self.at.lock().unwrap_or_else(PoisonError::into_inner);
        if !at.as_ref().is_some_and(|at| at.will_wake(waker)) {
            *at = Some(waker.clone());
        }
    }
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.quiet.store(false, Ordering::Release);
        let at = self
            .at
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        if let Some(waker) = at {
            waker.wake();
        }
    }
}

std::thread_local! {
    /// Whether a panic of this thread is an answer of the store's.
    static QUIET: Cell<bool> = const { Cell::new(false) };
    static LAST: RefCell<String> = const { RefCell::new(String::new()) };
}

/// Calls what may panic. The text of the panic and its place are returned and not printed.
pub(super) fn quietly<R>(call: impl FnOnce() -> R) -> Result<R, String> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let others = panic::take_hook();
        panic::set_hook(Box::new(move |panicked| {
            if QUIET.get() {
                LAST.replace(panicked.to_string().replace('\n', " "));
            } else {
                others(panicked);
            }
        }));
    });
    let before = QUIET.replace(true);
    let outcome = panic::catch_unwind(AssertUnwindSafe(call));
    QUIET.set(before);
    outcome.map_err(|_| LAST.take())
}

/// Drives a future on this thread: there is no runtime.
pub(super) fn block_on<T>(future: impl Future<Output = T>) -> T {
    struct Unpark(std::thread::Thread);

    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }

    let mut future = core::pin::pin!(future);
    // Most do not wait at all.
    if let Poll::Ready(output) = future
        .as_mut()
        .poll(&mut Context::from_waker(Waker::noop()))
    {
        return output;
    }
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(output) => return output,
            Poll::Pending => std::thread::park(),
        }
    }
}
