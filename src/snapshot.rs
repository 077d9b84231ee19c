#[cfg(feature = "serde")]
use crate::Task;
use crate::{Revision, Run, Status};
#[cfg(feature = "serde")]
use serde::{
    Deserialize, Deserializer, Serialize, Serializer, de::Error as _, ser::SerializeStruct as _,
};

/// The status and payload that an updating task reverts to.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
#[cfg_attr(
    feature = "serde",
    derive(Serialize, Deserialize),
    serde(deny_unknown_fields, expecting = "a previous state"),
    serde(bound(deserialize = "T: Deserialize<'de>"))
)]
pub struct Previous<T> {
    /// `Succeeded` or `Failed`.
    pub status: Status,
    /// The whole payload that the task had in that status.
    #[cfg_attr(feature = "serde", serde(deserialize_with = "Deserialize::deserialize"))]
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
/// let text = r#"{"status":"Starting","revision":4,"run":1,"payload":"new","previous":{"status":"Succeeded","payload":"old"}}"#;
/// let mut task: Task<String> = serde_json::from_str(text).unwrap();
/// task.cancel().unwrap();
/// assert_eq!(
///     serde_json::to_string(&task).unwrap(),
///     r#"{"status":"Succeeded","revision":5,"run":1,"payload":"old"}"#,
/// );
///
/// let text = r#"{"status":"Cancelled","revision":4,"run":1,"payload":"new","previous":{"status":"Succeeded","payload":"old"}}"#;
/// let fault = serde_json::from_str::<Task<String>>(text).unwrap_err();
/// assert_eq!(fault.to_string(), "a task in status Cancelled cannot have a previous state");
/// # }
/// ```
///
/// Both refuse what is not a valid task, and the error names the fault. The page
/// [`stored_form`](crate::_documentation::stored_form) has the rules, the formats, and how the form
/// may change over time. In SQL, store the fields in columns and decide by
/// [`State::from_parts`](crate::State::from_parts).
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
#[cfg_attr(
    feature = "serde",
    derive(Deserialize),
    serde(deny_unknown_fields, expecting = "a stored task"),
    serde(bound(deserialize = "T: Deserialize<'de>"))
)]
pub struct Snapshot<T> {
    /// The status that a client sees.
    pub status: Status,
    /// The number of changes that the task has accepted.
    pub revision: Revision,
    /// The number of times that the task was queued again.
    pub run: Run,
    /// The current payload.
    // `deserialize_with` is what makes a field required for every `T`: without it serde reads an
    // absent `Option` as `None`.
    #[cfg_attr(feature = "serde", serde(deserialize_with = "Deserialize::deserialize"))]
    pub payload: T,
    /// The state that the task would revert to: `Some` exactly while it is updating.
    #[cfg_attr(feature = "serde", serde(default))]
    pub previous: Option<Previous<T>>,
}

/// By hand, since a derive cannot ask what the format is like.
#[cfg(feature = "serde")]
impl<T: Serialize> Serialize for Snapshot<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let has_previous = self.previous.is_some() || !serializer.is_human_readable();
        let fields = if has_previous { 5 } else { 4 };
        let mut form = serializer.serialize_struct("Snapshot", fields)?;
        form.serialize_field("status", &self.status)?;
        form.serialize_field("revision", &self.revision)?;
        form.serialize_field("run", &self.run)?;
        form.serialize_field("payload", &self.payload)?;
        if has_previous {
            form.serialize_field("previous", &self.previous)?;
        } else {
            form.skip_field("previous")?;
        }
        form.end()
    }
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
        Snapshot::deserialize(deserializer)?.try_into().map_err(D::Error::custom)
    }
}
