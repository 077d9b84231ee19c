//! Hand-written, as most would write it first: a status, the payload, and the previous of both.

use std::mem;

use task_lifecycle::{Event, Previous, Released, Status};

use crate::task::{Family, Kind, Machine, Parts, Record, Refused};

pub struct Obvious;

impl Family for Obvious {
    type Task<T> = Task<T>;
    const NAME: &'static str = "by hand: obvious";
    const KIND: Kind = Kind::Obvious;
}

pub struct Task<T> {
    status: Status,
    payload: T,
    previous: Option<Previous<T>>,
    revision: u64,
    run: u64,
}

impl Parts for (Status, Option<Status>) {
    fn parts(self) -> Self {
        self
    }
}

impl<T> Task<T> {
    fn state(&self) -> (Status, Option<Status>) {
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

impl<T> Machine<T> for Task<T> {
    type State = (Status, Option<Status>);
    type Record = Record<Self::State, T>;
    type Refused = Refused<Self::State>;

    fn new(payload: T) -> Self {
        Self { status: Status::Starting, payload, previous: None, revision: 0, run: 0 }
    }

    #[inline(always)]
    fn apply(&mut self, event: Event<T>) -> Result<Self::Record, Self::Refused> {
        let operation = event.operation();
        let from = self.state();
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
        Ok(Record { revision, run, released, operation, from, to })
    }

    fn payload(&self) -> &T {
        &self.payload
    }
}
