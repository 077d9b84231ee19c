use crate::Status;
use crate::error::UnknownOperation;

/// A step of the lifecycle. Each is a method of [`Task`](crate::Task) of the same name.
///
/// The names in [`Display`](core::fmt::Display), in [`FromStr`](core::str::FromStr) and in serde
/// are those of the methods: `start`, `retry` and so on. The enum is closed.
///
/// ```
/// use task_lifecycle::{Operation, Status};
///
/// assert_eq!("cancel".parse(), Ok(Operation::Cancel));
/// assert_eq!(Operation::Cancel.accepted_in(), [Status::Starting]);
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, strum::Display, strum::EnumString)]
#[strum(serialize_all = "lowercase")]
#[strum(parse_err_ty = UnknownOperation, parse_err_fn = UnknownOperation::new)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "lowercase"))]
pub enum Operation {
    /// A worker takes the task.
    Start,
    /// The run is given up, and the task waits for another.
    Retry,
    /// The run did the work.
    Succeed,
    /// The work is given up: by the worker, by a server that could not queue the task, or by a
    /// sweeper. An update reverts.
    Fail,
    /// A client takes the request back before it was started. An update reverts.
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

    /// The statuses in which the operation is accepted: what a SQL `WHERE status IN (…)` or a
    /// greyed-out button needs.
    ///
    /// It is [`Status::accepts`] read the other way round.
    #[must_use]
    #[inline]
    pub const fn accepted_in(self) -> &'static [Status] {
        match self {
            Self::Start | Self::Cancel => &[Status::Starting],
            Self::Retry | Self::Succeed => &[Status::Processing],
            Self::Fail => &[Status::Starting, Status::Processing],
            Self::Update => &[Status::Succeeded, Status::Failed],
            Self::Delete => &[Status::Succeeded, Status::Failed, Status::Cancelled],
        }
    }
}

/// A step of the lifecycle with what it needs: what [`Task::apply`](crate::Task::apply) takes,
/// and what a log of events keeps.
///
/// There is no delete among them: it takes the task away, so it is
/// [`Task::delete`](crate::Task::delete) alone.
///
/// With serde an event is its operation's name, or `{"update": payload}`:
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
    /// The operation that the event asks for.
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
