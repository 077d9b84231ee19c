//! Calls in flight, polled by hand, so that one can be held while another goes on.

use core::cell::{Cell, RefCell};
use core::future::poll_fn;
use core::pin::Pin;
use core::task::{Context, Poll, Waker};
use core::time::Duration;
use std::io::Write as _;
use std::panic::{self, AssertUnwindSafe};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, Once, PoisonError};
use std::task::Wake;
use std::thread;

/// Ticks until a thread that is stuck in a call is told of.
const STUCK: u64 = 60_000;

/// Ticks on a thread of its own, as there is no runtime to ask, and keeps the story, so that it
/// can be told of a thread that is stuck.
#[derive(Default)]
pub(crate) struct Clock {
    ticks: AtomicU64,
    waker: Mutex<Option<Waker>>,
    /// Calls, or polls of them, that a thread entered and left.
    entered: AtomicU64,
    left: AtomicU64,
    pub(crate) story: Mutex<Vec<String>>,
}

impl Clock {
    pub(crate) fn new() -> Arc<Self> {
        let clock = Arc::<Self>::default();
        let weak = Arc::downgrade(&clock);
        thread::spawn(move || {
            let mut stuck = (0, 0);
            loop {
                thread::sleep(Duration::from_millis(1)); // a tick
                let Some(clock) = weak.upgrade() else { break };
                stuck = clock.tick(stuck);
            }
        });
        clock
    }

    pub(crate) fn now(&self) -> u64 {
        self.ticks.load(Ordering::Acquire)
    }

    /// Notes that a thread enters a call, in which it may be stuck. Returns whether another thread
    /// is in one, too.
    pub(crate) fn enter(&self) -> bool {
        self.entered.fetch_add(1, Ordering::SeqCst) != self.left.load(Ordering::SeqCst)
    }

    pub(crate) fn leave(&self) {
        self.left.fetch_add(1, Ordering::SeqCst);
    }

    /// Tells what happens next. Returns the number of the line.
    pub(crate) fn tell(&self, line: String) -> usize {
        let mut story = lock(&self.story);
        story.push(line);
        story.len() - 1
    }

    /// Adds to what was told.
    pub(crate) fn add(&self, line: usize, text: &str) {
        if let Some(line) = lock(&self.story).get_mut(line) {
            line.push_str(text);
        }
    }

    /// Forgets what was told from this line on.
    pub(crate) fn forget(&self, line: usize) {
        lock(&self.story).truncate(line);
    }

    /// Ticks, and tells once of a call in which a thread is stuck: nothing can take it back.
    fn tick(&self, (last, since): (u64, u64)) -> (u64, u64) {
        let now = self.ticks.fetch_add(1, Ordering::AcqRel) + 1;
        if let Some(waker) = lock(&self.waker).take() {
            waker.wake();
        }
        let left = self.left.load(Ordering::SeqCst);
        if left == self.entered.load(Ordering::SeqCst) || left != last {
            return (left, now);
        }
        if now == since + STUCK {
            let story = lock(&self.story).join("\n");
            let text = format!("the store blocks its thread, for a minute by now:\n{story} …\n");
            let _ = std::io::stderr().write_all(text.as_bytes());
        }
        (last, since)
    }
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The reason for a missing answer.
pub(crate) enum Fault {
    Panicked(String),
    /// It did not end.
    Silent,
}

/// The text for a call that did not end.
pub(crate) const NO_ANSWER: &str = "no answer";

impl Fault {
    pub(crate) fn words(&self) -> String {
        match self {
            Self::Panicked(text) => text.clone(),
            Self::Silent => NO_ANSWER.into(),
        }
    }
}

/// A call that was begun.
pub(crate) struct Flight<'a, T> {
    call: Option<Pin<Box<dyn Future<Output = T> + 'a>>>,
    bell: Arc<Bell>,
    /// The times that it has waited.
    pub(crate) waits: u32,
    ended: Option<Result<T, Fault>>,
}

impl<'a, T> Flight<'a, T> {
    pub(crate) fn new(call: impl Future<Output = T> + 'a) -> Self {
        Self { call: Some(Box::pin(call)), bell: Arc::default(), waits: 0, ended: None }
    }

    pub(crate) const fn has_ended(&self) -> bool {
        self.ended.is_some()
    }

    /// Polls the call if it was woken. Only so is the number of its waits the same every time.
    fn poll(&mut self, clock: &Clock, context: &Context<'_>) {
        let Some(call) = &mut self.call else { return };
        *lock(&self.bell.at) = Some(context.waker().clone());
        if self.bell.quiet.swap(true, Ordering::AcqRel) {
            return;
        }
        let waker = Waker::from(Arc::clone(&self.bell));
        let mut poll = || call.as_mut().poll(&mut Context::from_waker(&waker));
        clock.enter();
        let polled = quietly(&mut poll);
        clock.leave();
        match polled {
            Ok(Poll::Pending) => self.waits += 1,
            Ok(Poll::Ready(answer)) => self.ended = Some(Ok(answer)),
            Err(text) => self.ended = Some(Err(Fault::Panicked(text))),
        }
        if self.has_ended() {
            self.call = None;
        }
    }

    /// The answer, of a call that was driven to its end.
    pub(crate) fn answer(self) -> Result<T, Fault> {
        self.ended.unwrap_or(Err(Fault::Silent))
    }

    /// Gives the call up, as a client does that goes away. `Some` if it had ended.
    pub(crate) fn give_up(self) -> Option<Result<T, Fault>> {
        match quietly(|| drop(self.call)) {
            Ok(()) => self.ended,
            Err(text) => Some(Err(Fault::Panicked(text))),
        }
    }
}

/// Drives a call to its end.
pub(crate) async fn alone<'a, T>(
    clock: &Clock,
    call: impl Future<Output = T> + 'a,
    patience: u64,
) -> Flight<'a, T> {
    let mut flight = Flight::new(call);
    hold(clock, &mut flight, u32::MAX, patience).await;
    flight
}

/// Drives a call until it has waited `waits` times, or ended.
pub(crate) async fn hold<T>(clock: &Clock, flight: &mut Flight<'_, T>, waits: u32, patience: u64) {
    let enough = |calls: &[&mut Flight<'_, T>]| calls[0].has_ended() || calls[0].waits >= waits;
    drive(clock, &mut [flight], patience, enough).await;
}

/// While the first call is held, drives the second to its end, or for a `moment` if it is stuck
/// behind the first; and then both.
pub(crate) async fn overlap<T>(
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
        *lock(&clock.waker) = Some(context.waker().clone());
        let now = clock.now();
        ticks += u64::from(now != last);
        last = now;
        for call in &mut *calls {
            call.poll(clock, context);
        }
        if enough(calls) || ticks >= patience { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
}

/// Lets time pass.
pub(crate) async fn pause(clock: &Clock, ticks: u64) {
    drive::<()>(clock, &mut [], ticks, |_| false).await;
}

/// Lets the runtime do something else, and begin anew to count what it lets a task do at once.
pub(crate) async fn step_aside() {
    let mut is_back = false;
    poll_fn(|context| {
        if core::mem::replace(&mut is_back, true) {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// Wakes the task that polls a call, and remembers that it was this call.
#[derive(Default)]
struct Bell {
    /// True if it has not rung since the last poll.
    quiet: AtomicBool,
    at: Mutex<Option<Waker>>,
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.quiet.store(false, Ordering::Release);
        let at = lock(&self.at).clone();
        at.into_iter().for_each(Waker::wake);
    }
}

std::thread_local! {
    /// True if a panic of this thread is an answer of the store's.
    static QUIET: Cell<bool> = const { Cell::new(false) };
    static LAST: RefCell<String> = const { RefCell::new(String::new()) };
}

/// Calls what may panic. The text of the panic and its place are returned and not printed.
pub(crate) fn quietly<R>(call: impl FnOnce() -> R) -> Result<R, String> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let others = panic::take_hook();
        panic::set_hook(Box::new(move |panicked| {
            if QUIET.get() {
                let text = panicked.to_string().replace('\n', " ");
                LAST.replace(text.chars().take(400).collect());
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
pub(crate) fn block_on<T>(future: impl Future<Output = T>) -> T {
    struct Unpark(thread::Thread);

    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }

    let mut future = core::pin::pin!(future);
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(output) => return output,
            Poll::Pending => thread::park(),
        }
    }
}
