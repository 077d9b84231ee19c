use crate::Status;
#[cfg(feature = "serde")]
use crate::Task;
#[cfg(feature = "serde")]
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

/// What an updating task reverts to.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
#[cfg_attr(feature = "serde", derive(Serialize, Deserialize))]
#[cfg_attr(
    feature = "serde",
    serde(deny_unknown_fields, expecting = "a previous state")
)]
#[cfg_attr(feature = "serde", serde(bound(deserialize = "T: Deserialize<'de>")))]
pub struct Previous<T> {
    /// `Succeeded` or `Failed`.
    pub status: Status,
    /// The whole payload that the task had in that status.
    #[cfg_attr(
        feature = "serde",
        serde(deserialize_with = "Deserialize::deserialize")
    )]
    pub payload: T,
}

/// A task as it is stored, its parts public.
///
/// A [`Task`](crate::Task) becomes a snapshot by `From`, whole or borrowed; a snapshot becomes a
/// task by `TryFrom`, which is where it is checked. With serde, `Task` reads and writes this form:
///
/// ```
/// # #[cfg(feature = "serde")] {
/// use task_lifecycle::Task;
///
/// let text = r#"{"status":"Starting","revision":4,"payload":"new","previous":{"status":"Succeeded","payload":"old"}}"#;
/// let mut task: Task<String> = serde_json::from_str(text).unwrap();
/// task.cancel().unwrap();
/// assert_eq!(
///     serde_json::to_string(&task).unwrap(),
///     r#"{"status":"Succeeded","revision":5,"payload":"old"}"#,
/// );
///
/// let text = r#"{"status":"Cancelled","revision":4,"payload":"new","previous":{"status":"Succeeded","payload":"old"}}"#;
/// let fault = serde_json::from_str::<Task<String>>(text).unwrap_err();
/// assert_eq!(fault.to_string(), "a task in status Cancelled cannot have a previous state");
/// # }
/// ```
///
/// `previous` is left out for a task that is not updating, and `null` is read as that. A missing,
/// unknown or repeated field is refused, in the previous state too; so is a missing `payload`
/// even where `T` is an `Option`. The form is meant for self-describing formats; in SQL, store
/// the columns and decide by [`State::from_parts`](crate::State::from_parts).
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
#[cfg_attr(feature = "serde", derive(Serialize, Deserialize))]
#[cfg_attr(
    feature = "serde",
    serde(deny_unknown_fields, expecting = "a stored task")
)]
#[cfg_attr(feature = "serde", serde(bound(deserialize = "T: Deserialize<'de>")))]
pub struct Snapshot<T> {
    /// What a client sees.
    pub status: Status,
    /// How many changes the task has accepted.
    pub revision: u64,
    /// The current payload.
    // `deserialize_with` is what makes a field required for every `T`: without it serde reads an
    // absent `Option` as `None`.
    #[cfg_attr(
        feature = "serde",
        serde(deserialize_with = "Deserialize::deserialize")
    )]
    pub payload: T,
    /// What the task would revert to, exactly while it is updating.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub previous: Option<Previous<T>>,
}

/// The stored form, written from borrowed parts.
#[cfg(feature = "serde")]
impl<T: Serialize> Serialize for Task<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Snapshot::from(self).serialize(serializer)
    }
}

/// The stored form, checked.
#[cfg(feature = "serde")]
impl<'de, T: Deserialize<'de>> Deserialize<'de> for Task<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Snapshot::deserialize(deserializer)?
            .try_into()
            .map_err(D::Error::custom)
    }
}
