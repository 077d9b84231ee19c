//! Right stores of several kinds.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::future::poll_fn;
use std::rc::Rc;
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex};
use std::task::{Poll, Waker};
use std::thread;

use task_lifecycle::Task;
use task_lifecycle::conformance::Store;

use crate::waiting::{Lock, pause};

/// What every store here keeps.
#[derive(Clone, Default)]
pub(crate) struct Tasks {
    rows: BTreeMap<usize, Task<String>>,
    next: usize,
}

impl Tasks {
    fn create(&mut self, task: Task<String>) -> usize {
        self.next += 1;
        self.rows.insert(self.next, task);
        self.next
    }

    fn swap(&mut self, id: usize, loaded: u64, task: Option<Task<String>>) -> bool {
        let row = self.rows.get(&id);
        let is_current = row.is_some_and(|row| row.revision() == loaded);
        if is_current {
            match task {
                Some(task) => self.rows.insert(id, task),
                None => self.rows.remove(&id),
            };
        }
        is_current
    }
}

/// How a store does one thing to all that it keeps, with nothing in between.
pub(crate) trait Keep: Default {
    async fn with<R: Send + 'static>(
        &self,
        job: impl FnMut(&mut Tasks) -> R + Send + 'static,
    ) -> Result<R, String>;

    fn another(&self) -> Option<Self>;

    const LOSES_ANSWERS: bool = false;
}

pub(crate) struct Kept<K>(pub(crate) K);

impl<K: Keep> Store for Kept<K> {
    type Id = usize;
    type Payload = String;
    type Error = String;

    const LOSES_ANSWERS: bool = K::LOSES_ANSWERS;

    fn payload(text: &str) -> String {
        text.to_owned()
    }

    async fn create(&self, task: &Task<String>) -> Result<usize, String> {
        let task = task.clone();
        self.0.with(move |tasks| tasks.create(task.clone())).await
    }

    async fn load(&self, id: &usize) -> Result<Option<Task<String>>, String> {
        let id = *id;
        self.0.with(move |tasks| tasks.rows.get(&id).cloned()).await
    }

    async fn commit(&self, id: &usize, loaded: u64, task: &Task<String>) -> Result<bool, String> {
        let (id, task) = (*id, task.clone());
        self.0
            .with(move |tasks| tasks.swap(id, loaded, Some(task.clone())))
            .await
    }

    async fn delete(&self, id: &usize, loaded: u64) -> Result<bool, String> {
        let id = *id;
        self.0.with(move |tasks| tasks.swap(id, loaded, None)).await
    }

    async fn another(&self) -> Option<Self> {
        self.0.another().map(Self)
    }
}

/// A mutex, and no wait.
#[derive(Clone, Default)]
pub(crate) struct Mutexed(Arc<Mutex<Tasks>>);

impl Keep for Mutexed {
    async fn with<R: Send + 'static>(
        &self,
        mut job: impl FnMut(&mut Tasks) -> R + Send + 'static,
    ) -> Result<R, String> {
        Ok(job(&mut self.0.lock().unwrap()))
    }

    fn another(&self) -> Option<Self> {
        Some(self.clone())
    }
}

/// A lock that is held across waits.
#[derive(Clone, Default)]
pub(crate) struct Locked(Rc<(Lock, RefCell<Tasks>)>);

impl Keep for Locked {
    async fn with<R: Send + 'static>(
        &self,
        mut job: impl FnMut(&mut Tasks) -> R + Send + 'static,
    ) -> Result<R, String> {
        let _guard = self.0.0.take().await;
        pause().await;
        let mut tasks = self.0.1.borrow().clone();
        pause().await;
        let result = job(&mut tasks);
        pause().await;
        self.0.1.replace(tasks);
        Ok(result)
    }

    fn another(&self) -> Option<Self> {
        Some(self.clone())
    }
}

/// Works on a copy, and begins again if somebody else was quicker.
#[derive(Clone, Default)]
pub(crate) struct Optimistic(Rc<(Cell<u64>, RefCell<Tasks>)>);

impl Keep for Optimistic {
    async fn with<R: Send + 'static>(
        &self,
        mut job: impl FnMut(&mut Tasks) -> R + Send + 'static,
    ) -> Result<R, String> {
        let (version, tasks) = &*self.0;
        loop {
            let before = version.get();
            let mut copy = tasks.borrow().clone();
            pause().await;
            let result = job(&mut copy);
            pause().await;
            if version.get() == before {
                version.set(before + 1);
                tasks.replace(copy);
                return Ok(result);
            }
        }
    }

    fn another(&self) -> Option<Self> {
        Some(self.clone())
    }
}

/// A thread that owns the tasks, asked through a channel. The answer is waited for, and a client
/// that goes away does not keep its wish from being done.
#[derive(Clone)]
pub(crate) struct Actor(Sender<Job>);

type Job = Box<dyn FnOnce(&mut Tasks) + Send>;

impl Default for Actor {
    fn default() -> Self {
        let (sender, jobs) = channel::<Job>();
        thread::spawn(move || {
            let mut tasks = Tasks::default();
            for job in jobs {
                job(&mut tasks);
            }
        });
        Self(sender)
    }
}

impl Keep for Actor {
    async fn with<R: Send + 'static>(
        &self,
        mut job: impl FnMut(&mut Tasks) -> R + Send + 'static,
    ) -> Result<R, String> {
        let slot = Arc::new(Mutex::new((None, None::<Waker>)));
        let answer = Arc::clone(&slot);
        let job = move |tasks: &mut Tasks| {
            let result = job(tasks);
            let mut answer = answer.lock().unwrap();
            answer.0 = Some(result);
            answer.1.take().into_iter().for_each(Waker::wake);
        };
        self.0
            .send(Box::new(job))
            .map_err(|gone| gone.to_string())?;
        let answer = poll_fn(|context| {
            let mut slot = slot.lock().unwrap();
            let answer = slot.0.take();
            if answer.is_none() {
                slot.1 = Some(context.waker().clone());
            }
            answer.map_or(Poll::Pending, Poll::Ready)
        });
        Ok(answer.await)
    }

    fn another(&self) -> Option<Self> {
        Some(self.clone())
    }
}

/// The same, and the client's thread blocks until the answer is there.
#[derive(Clone, Default)]
pub(crate) struct BlockingActor(Actor);

impl Keep for BlockingActor {
    async fn with<R: Send + 'static>(
        &self,
        mut job: impl FnMut(&mut Tasks) -> R + Send + 'static,
    ) -> Result<R, String> {
        let (sender, answer) = channel();
        let job = move |tasks: &mut Tasks| sender.send(job(tasks)).unwrap_or(());
        self.0
            .0
            .send(Box::new(job))
            .map_err(|gone| gone.to_string())?;
        answer.recv().map_err(|gone| gone.to_string())
    }

    fn another(&self) -> Option<Self> {
        Some(self.clone())
    }
}

/// A backend that loses every third answer, half of them with the question.
#[derive(Clone, Default)]
pub(crate) struct Lossy(Rc<(Cell<u32>, RefCell<Tasks>)>);

impl Keep for Lossy {
    async fn with<R: Send + 'static>(
        &self,
        mut job: impl FnMut(&mut Tasks) -> R + Send + 'static,
    ) -> Result<R, String> {
        pause().await;
        let number = self.0.0.get();
        self.0.0.set(number + 1);
        if number % 6 == 2 {
            return Err("time-out".to_owned());
        }
        let result = job(&mut self.0.1.borrow_mut());
        pause().await;
        if number % 6 == 5 {
            return Err("time-out".to_owned());
        }
        Ok(result)
    }

    fn another(&self) -> Option<Self> {
        Some(self.clone())
    }

    const LOSES_ANSWERS: bool = true;
}
