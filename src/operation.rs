use crate::Status;
use crate::error::UnknownOperation;

/// A step of the lifecycle. Each is a method of [`Task`](crate::Task) of the same name.
///
/// The names in [`Display`](core::fmt::Display), in [`FromStr`](core::str::FromStr) and in every
/// serde format are those of the methods: `start`, `retry` and so on. The order is that of
/// [`ALL`](Self::ALL). The enum is closed.
///
/// ```
/// use task_lifecycle::Operation;
///
/// assert_eq!("cancel".parse(), Ok(Operation::Cancel));
/// assert!("Cancel".parse::<Operation>().is_err());
/// ```
#[derive(
    Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, strum::Display, strum::EnumString,
)]
#[strum(serialize_all = "lowercase")]
#[strum(parse_err_ty = UnknownOperation, parse_err_fn = UnknownOperation::new)]
pub enum Operation {
    /// A worker takes the task.
    Start,
    /// The run is given up, and the task is queued for another.
    Retry,
    /// The run did the work.
    Succeed,
    /// The work is given up: by the worker, by a server that could not queue the task, or by a
    /// sweeper. An update reverts.
    Fail,
    /// A client withdraws the request before a worker starts it. An update reverts.
    Cancel,
    /// A client queues a finished task again, with a new payload.
    Update,
    /// A client removes a completed task.
    Delete,
}

impl Operation {
    /// Every operation, in the order of a task's life.
    pub const ALL: &'static [Self] = &[
        Self::Start,
        Self::Retry,
        Self::Succeed,
        Self::Fail,
        Self::Cancel,
        Self::Update,
        Self::Delete,
    ];

    /// Returns the name: that of the method.
    ///
    /// ```
    /// # use task_lifecycle::Operation;
    /// assert_eq!(Operation::Start.as_str(), "start");
    /// assert_ne!(Operation::Start.as_str(), "Start");
    /// ```
    #[must_use]
    #[inline]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Retry => "retry",
            Self::Succeed => "succeed",
            Self::Fail => "fail",
            Self::Cancel => "cancel",
            Self::Update => "update",
            Self::Delete => "delete",
        }
    }

    /// Returns the statuses in which the operation is accepted, for a SQL `WHERE status IN (…)` or
    /// a greyed-out button. It is [`Status::accepts`] read the other way round.
    ///
    /// It says which rows an operation may touch, not what they become: an updating row reverts,
    /// so a bulk statement needs a `CASE` on the previous status.
    ///
    /// ```
    /// # use task_lifecycle::{Operation, Status};
    /// assert_eq!(Operation::Cancel.accepted_in(), [Status::Starting]);
    /// assert!(!Operation::Cancel.accepted_in().contains(&Status::Processing));
    /// ```
    #[must_use]
    #[inline]
    pub const fn accepted_in(self) -> &'static [Status] {
        // law: one_table
        match self {
            Self::Start | Self::Cancel => &[Status::Starting],
            Self::Retry | Self::Succeed => &[Status::Processing],
            Self::Fail => &[Status::Starting, Status::Processing],
            Self::Update => &[Status::Succeeded, Status::Failed],
            Self::Delete => &[Status::Succeeded, Status::Failed, Status::Cancelled],
        }
    }
}

/// An operation with what it needs: what [`Task::apply`](crate::Task::apply) takes, and what an
/// event log keeps.
///
/// There is no delete among them: it takes the task away, so it is
/// [`Task::delete`](crate::Task::delete) alone.
///
/// With serde an event is its operation's name, or `{"update": payload}`. Formats without names
/// store it by position, so its variants are append-only.
///
/// ```
/// # #[cfg(feature = "serde")] {
/// use task_lifecycle::Event;
///
/// let log = r#"["start","fail",{"update":"v2"},"cancel"]"#;
/// let events: Vec<Event<String>> = serde_json::from_str(log).unwrap();
/// assert_eq!(events[2], Event::Update("v2".to_owned()));
/// # }
/// ```
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "lowercase"))]
pub enum Event<T> {
    /// [`Task::start`](crate::Task::start)
    Start,
    /// [`Task::retry`](crate::Task::retry)
    Retry,
    /// [`Task::succeed`](crate::Task::succeed)
    Succeed,
    /// [`Task::fail`](crate::Task::fail)
    Fail,
    /// [`Task::cancel`](crate::Task::cancel)
    Cancel,
    /// [`Task::update`](crate::Task::update) with this payload
    Update(T),
}

impl<T> Event<T> {
    /// Makes the event of `operation`; `None` for a delete. Only an update takes `payload`; the
    /// others drop it.
    ///
    /// ```
    /// # use task_lifecycle::{Event, Operation};
    /// assert_eq!(Event::new(Operation::Cancel, "unused"), Some(Event::Cancel));
    /// assert_eq!(Event::new(Operation::Update, "v2"), Some(Event::Update("v2")));
    /// assert_eq!(Event::new(Operation::Delete, "unused"), None);
    /// ```
    #[must_use]
    #[inline]
    pub fn new(operation: Operation, payload: T) -> Option<Self> {
        Some(match operation {
            Operation::Start => Self::Start,
            Operation::Retry => Self::Retry,
            Operation::Succeed => Self::Succeed,
            Operation::Fail => Self::Fail,
            Operation::Cancel => Self::Cancel,
            Operation::Update => Self::Update(payload),
            Operation::Delete => return None,
        })
    }

    /// Returns the operation that the event asks for.
    ///
    /// ```
    /// # use task_lifecycle::{Event, Operation};
    /// assert_eq!(Event::Update("v2").operation(), Operation::Update);
    /// assert_eq!(Event::<()>::Fail.operation(), Operation::Fail);
    /// ```
    #[must_use]
    #[inline]
    pub const fn operation(&self) -> Operation {
        match self {
            Self::Start => Operation::Start,
            Self::Retry => Operation::Retry,
            Self::Succeed => Operation::Succeed,
            Self::Fail => Operation::Fail,
            Self::Cancel => Operation::Cancel,
            Self::Update(_) => Operation::Update,
        }
    }
}
