//! What most would write first: a status, the payload, and the previous of both.

use crate::{Family, Kind, Machine, Status};

pub struct Obvious;

impl Family for Obvious {
    type Machine<T> = Task<T>;
    const NAME: &'static str = "hand-written, the obvious layout";
    const KIND: Kind = Kind::Hand;
    const SUPPLIES: &'static str = "everything";
}

pub struct Task<T> {
    status: Status,
    payload: T,
    previous: Option<(Status, T)>,
}

impl<T> Task<T> {
    #[inline]
    fn give_up(&mut self, end: Status) {
        match self.previous.take() {
            None => self.status = end,
            Some((status, payload)) => {
                self.status = status;
                self.payload = payload;
            }
        }
    }
}

impl<T> Machine<T> for Task<T> {
    type Refusal = Status;

    #[inline]
    fn new(payload: T) -> Self {
        Self {
            status: Status::Starting,
            payload,
            previous: None,
        }
    }

    #[inline]
    fn start(&mut self) -> bool {
        match self.status {
            Status::Starting => self.status = Status::Processing,
            _ => return false,
        }
        true
    }

    #[inline]
    fn succeed(&mut self) -> bool {
        match self.status {
            Status::Processing => {
                self.status = Status::Succeeded;
                self.previous = None;
            }
            _ => return false,
        }
        true
    }

    #[inline]
    fn fail(&mut self) -> bool {
        match self.status {
            Status::Processing => self.give_up(Status::Failed),
            _ => return false,
        }
        true
    }

    #[inline]
    fn update(&mut self, payload: T) -> bool {
        match self.status {
            Status::Succeeded | Status::Failed => {
                let settled = std::mem::replace(&mut self.payload, payload);
                self.previous = Some((self.status, settled));
                self.status = Status::Starting;
            }
            _ => return false,
        }
        true
    }

    #[inline]
    fn cancel(&mut self) -> Result<(), Status> {
        match self.status {
            Status::Starting => self.give_up(Status::Cancelled),
            _ => return Err(self.status),
        }
        Ok(())
    }

    #[inline]
    fn status(&self) -> Status {
        self.status
    }

    #[inline]
    fn payload(&self) -> &T {
        &self.payload
    }
}
