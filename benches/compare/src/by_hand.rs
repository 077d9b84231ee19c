//! The obvious layout by hand, as most would write it first: a status, the payload, and the
//! previous of both. (The fastest that was found is `peers::Byte`.)

use std::mem;

use task_lifecycle::{Event, Previous, Released, Status};

use crate::machine::{Answer, Machine, Record, Refused};

pub struct Obvious<T> {
    status: Status,
    payload: T,
    previous: Option<Previous<T>>,
    revision: u64,
    run: u64,
}

type Statuses = (Status, Option<Status>);

impl<T> Obvious<T> {
    fn state(&self) -> Statuses {
        (self.status, self.previous.as_ref().map(|previous| previous.status))
    }

    /// Back to the previous state; a new task becomes `end`.
    fn give_up(&mut self, end: Status) -> Released<T> {
        let Some(previous) = self.previous.take() else {
            self.status = end;
            return Released::Nothing;
        };
        self.status = previous.status;
        Released::Update(mem::replace(&mut self.payload, previous.payload))
    }
}

impl<T> Machine<T> for Obvious<T> {
    type State = Statuses;
    type Record = Record<Statuses, T>;
    type Refused = Refused<Statuses>;

    fn new(payload: T) -> Self {
        Self { status: Status::Starting, payload, previous: None, revision: 0, run: 0 }
    }

    #[inline(always)]
    fn apply(&mut self, event: impl FnOnce() -> Event<T>) -> Answer<Self, T> {
        let event = event();
        let (operation, from) = (event.operation(), self.state());
        let mut released = Released::Nothing;
        match (event, self.status) {
            (Event::Start, Status::Starting) => self.status = Status::Processing,
            (Event::Retry, Status::Processing) => {
                self.status = Status::Starting;
                self.run = self.run.wrapping_add(1);
            }
            (Event::Succeed, Status::Processing) => {
                self.status = Status::Succeeded;
                if let Some(previous) = self.previous.take() {
                    released = Released::Previous(previous.payload);
                }
            }
            (Event::Fail, Status::Starting | Status::Processing) => {
                released = self.give_up(Status::Failed);
            }
            (Event::Cancel, Status::Starting) => released = self.give_up(Status::Cancelled),
            (Event::Update(payload), status @ (Status::Succeeded | Status::Failed)) => {
                let payload = mem::replace(&mut self.payload, payload);
                self.previous = Some(Previous { status, payload });
                self.status = Status::Starting;
                self.run = self.run.wrapping_add(1);
            }
            _ => return Err(Refused::new(operation, from)),
        }
        self.revision = self.revision.wrapping_add(1);
        let (to, revision, run) = (self.state(), self.revision, self.run);
        Ok(Record { operation, from, to, revision, run, released })
    }
}
