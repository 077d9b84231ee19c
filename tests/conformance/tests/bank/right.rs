//! Right stores of several kinds.

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::marker::PhantomData;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex};
use std::task::{Poll, Waker};
use std::thread;
use std::time::Duration;

use task_lifecycle::{Draft, Revision, Task};
use task_lifecycle_conformance::Store;
use tokio::task::yield_now as wait;

use crate::memory::{Answer, lock};

/// Whatever a store keeps: all tasks, and the next name.
#[derive(Clone)]
pub(crate) struct Tasks<T>(BTreeMap<u32, Task<T>>, u32);

impl<T> Default for Tasks<T> {
    fn default() -> Self {
        Self(BTreeMap::new(), 0)
    }
}

impl<T> Tasks<T> {
    fn swap(&mut self, id: u32, loaded: Revision, task: Option<Task<T>>) -> bool {
        let is_current = self.0.get(&id).is_some_and(|row| row.revision() == loaded);
        if is_current {
            match task {
                Some(task) => self.0.insert(id, task),
                None => self.0.remove(&id),
            };
        }
        is_current
    }
}

/// A payload.
pub(crate) trait Kept: Clone + PartialEq + std::fmt::Debug + Send + Sync + 'static {
    fn of(text: &str) -> Self;
}

impl Kept for String {
    fn of(text: &str) -> Self {
        text.to_owned()
    }
}

/// Nothing at all.
impl Kept for () {
    fn of(_: &str) -> Self {}
}

/// Four letters.
impl Kept for [char; 4] {
    fn of(text: &str) -> Self {
        let mut letters = text.chars();
        [(); 4].map(|()| letters.next().unwrap_or(' '))
    }
}

/// A way to do one thing to all tasks, with nothing in between. `Err`: it is busy, or
/// nobody knows whether it was done.
pub(crate) trait Keep<T: Kept>: Default + Clone + Send {
    const LOSES_ANSWERS: bool = false;
    const LARGEST_COUNTER: u64 = u64::MAX;
    const HAS_ANOTHER: bool = true;

    async fn with<R: Send + 'static>(
        &self,
        job: impl FnMut(&mut Tasks<T>) -> R + Send + 'static,
    ) -> Answer<R>;
}

/// The error of a store that does not wait for a lock.
const BUSY: &str = "could not obtain the lock";

pub(crate) struct By<K, T = String>(K, PhantomData<T>);

impl<K: Keep<T>, T: Kept> Default for By<K, T> {
    fn default() -> Self {
        Self(K::default(), PhantomData)
    }
}

impl<K: Keep<T>, T: Kept> By<K, T> {
    /// Tries again while the store is busy.
    async fn insist<R: Send + 'static>(
        &self,
        job: impl FnMut(&mut Tasks<T>) -> R + Clone + Send + 'static,
    ) -> Answer<R> {
        loop {
            match self.0.with(job.clone()).await {
                Err(error) if error == BUSY => wait().await,
                answer => return answer,
            }
        }
    }

    async fn swap(&self, id: u32, loaded: Revision, task: Option<Task<T>>) -> Answer<bool> {
        match self.0.with(move |tasks| tasks.swap(id, loaded, task.clone())).await {
            Err(error) if error == BUSY => Ok(false),
            answer => answer,
        }
    }
}

impl<K: Keep<T>, T: Kept> Store for By<K, T> {
    type Id = u32;
    type Payload = T;
    type Error = String;

    const LOSES_ANSWERS: bool = K::LOSES_ANSWERS;
    const LARGEST_COUNTER: u64 = K::LARGEST_COUNTER;

    fn payload(text: &str) -> T {
        T::of(text)
    }
    async fn create(&self, task: &Task<T>) -> Answer<u32> {
        let task = task.clone();
        let create = move |tasks: &mut Tasks<T>| {
            tasks.1 += 1;
            tasks.0.insert(tasks.1, task.clone());
            tasks.1
        };
        self.insist(create).await
    }
    async fn load(&self, id: &u32) -> Answer<Option<Task<T>>> {
        let id = *id;
        self.insist(move |tasks| tasks.0.get(&id).cloned()).await
    }
    async fn commit(&self, id: &u32, draft: &Draft<T>) -> Answer<bool> {
        assert!(draft.run().get() <= K::LARGEST_COUNTER, "a counter that it does not keep");
        self.swap(*id, draft.loaded(), Some((**draft).clone())).await
    }
    async fn delete(&self, id: &u32, loaded: Revision) -> Answer<bool> {
        self.swap(*id, loaded, None).await
    }
    async fn another(&self) -> Option<Self> {
        K::HAS_ANOTHER.then(|| Self(self.0.clone(), PhantomData))
    }
}

macro_rules! kinds {
    ($($(#[$doc:meta])* $kind:ident($field:ty); |$store:ident, $job:ident| $with:expr;)*) => {
        $($(#[$doc])*
        #[derive(Clone)]
        pub(crate) struct $kind<T>($field);

        impl<T: Kept> Default for $kind<T> {
            fn default() -> Self {
                Self(Default::default())
            }
        }

        impl<T: Kept> Keep<T> for $kind<T> {
            async fn with<R: Send + 'static>(
                &self,
                mut $job: impl FnMut(&mut Tasks<T>) -> R + Send + 'static,
            ) -> Answer<R> {
                let $store = &self.0;
                $with
            }
        })*
    };
}

type Job<T> = Box<dyn FnOnce(&mut Tasks<T>) + Send>;

/// A thread that owns the tasks.
#[derive(Clone)]
struct Owner<T>(Sender<Job<T>>);

impl<T: Kept> Default for Owner<T> {
    fn default() -> Self {
        let (sender, jobs) = channel::<Job<T>>();
        thread::spawn(move || {
            let mut tasks = Tasks::default();
            for job in jobs {
                job(&mut tasks);
            }
        });
        Self(sender)
    }
}

kinds! {
    /// A mutex, and no wait.
    Mutexed(Arc<Mutex<Tasks<T>>>);
    |store, job| Ok(job(&mut lock(store)));

    /// A fair lock, whose holder naps.
    Napping(Arc<tokio::sync::Mutex<Tasks<T>>>);
    |store, job| {
        static CALLS: AtomicU32 = AtomicU32::new(0);
        let mut tasks = store.lock().await;
        if CALLS.fetch_add(1, Ordering::Relaxed) % 32 == 0 {
            tokio::time::sleep(Duration::from_millis(3)).await;
        }
        Ok(job(&mut tasks))
    };

    /// A lock that is held across waits, of a copy.
    Locked(Arc<tokio::sync::Mutex<Tasks<T>>>);
    |store, job| {
        let mut tasks = store.lock().await;
        wait().await;
        let mut copy = tasks.clone();
        wait().await;
        let result = job(&mut copy);
        wait().await;
        *tasks = copy;
        Ok(result)
    };

    /// A lock that is not waited for, and that is held for a while if the call is given up.
    Abandoned(Arc<tokio::sync::Mutex<Tasks<T>>>);
    |store, job| {
        let mut tasks = store.clone().try_lock_owned().map_err(|_| BUSY)?;
        let (sender, receiver) = tokio::sync::oneshot::channel();
        tokio::spawn(async move {
            tokio::time::sleep(Duration::from_millis(1)).await;
            let result = job(&mut tasks);
            drop(tasks);
            let _ = sender.send(result);
        });
        receiver.await.map_err(|gone| gone.to_string())
    };

    /// Works on a copy, and begins again if somebody else was quicker.
    Optimistic(Arc<Mutex<(u64, Tasks<T>)>>);
    |store, job| loop {
        let (version, mut copy) = lock(store).clone();
        wait().await;
        let result = job(&mut copy);
        wait().await;
        let mut tasks = lock(store);
        if tasks.0 == version {
            *tasks = (version + 1, copy);
            return Ok(result);
        }
    };

    /// A thread that owns the tasks. The answer is waited for, and a client that goes away does not
    /// keep its wish from being done.
    Actor(Owner<T>);
    |store, job| {
        let slot = Arc::new(Mutex::new((None, None::<Waker>)));
        let answer = Arc::clone(&slot);
        let job = move |tasks: &mut Tasks<T>| {
            let mut answer = lock(&answer);
            answer.0 = Some(job(tasks));
            answer.1.take().into_iter().for_each(Waker::wake);
        };
        store.0.send(Box::new(job)).map_err(|gone| gone.to_string())?;
        let answer = poll_fn(|context| {
            let mut slot = lock(&slot);
            slot.1 = Some(context.waker().clone());
            slot.0.take().map_or(Poll::Pending, Poll::Ready)
        });
        Ok(answer.await)
    };

    /// Threads of tokio's, for a backend that blocks.
    Spawned(Arc<Mutex<Tasks<T>>>);
    |store, job| {
        let store = Arc::clone(store);
        let work = tokio::task::spawn_blocking(move || job(&mut lock(&store)));
        work.await.map_err(|gone| gone.to_string())
    };

    /// A log, from which everything is made anew each time: the longer, the slower.
    Log(Arc<Mutex<Vec<Tasks<T>>>>);
    |store, job| {
        wait().await;
        let mut log = lock(store);
        let mut tasks = log.iter().fold(Tasks::default(), |_, entry| entry.clone());
        let result = job(&mut tasks);
        log.push(tasks);
        Ok(result)
    };
}

/// A backend that loses every third answer, half of them with the question.
#[derive(Clone, Default)]
pub(crate) struct Lossy(Arc<(AtomicU32, Mutex<Tasks<String>>)>);

impl Keep<String> for Lossy {
    const LOSES_ANSWERS: bool = true;

    async fn with<R: Send + 'static>(
        &self,
        mut job: impl FnMut(&mut Tasks<String>) -> R + Send + 'static,
    ) -> Answer<R> {
        wait().await;
        let number = self.0.0.fetch_add(1, Ordering::Relaxed);
        if number % 6 == 2 {
            return Err("time-out".to_owned());
        }
        let result = job(&mut lock(&self.0.1));
        wait().await;
        if number % 6 == 5 { Err("time-out".to_owned()) } else { Ok(result) }
    }
}

/// One handle, and counters of 31 bits.
#[derive(Clone, Default)]
pub(crate) struct Alone(Mutexed<String>);

impl Keep<String> for Alone {
    const LARGEST_COUNTER: u64 = i32::MAX as u64;
    const HAS_ANOTHER: bool = false;

    async fn with<R: Send + 'static>(
        &self,
        job: impl FnMut(&mut Tasks<String>) -> R + Send + 'static,
    ) -> Answer<R> {
        self.0.with(job).await
    }
}
