use task_lifecycle::{Status, Task};

/// The words of a status, for schemas.
#[derive(utoipa::ToSchema, schemars::JsonSchema)]
pub enum StatusWord {
    Starting,
    Processing,
    Succeeded,
    Failed,
    Cancelled,
}

#[derive(serde::Serialize, utoipa::ToSchema, schemars::JsonSchema)]
pub struct Answer {
    #[schema(value_type = StatusWord)]
    #[schemars(with = "StatusWord")]
    pub status: Status,
    pub completed: bool,
    pub revision: u64,
}

impl<T> From<&Task<T>> for Answer {
    fn from(task: &Task<T>) -> Self {
        let status = task.status();
        Self { status, completed: status.is_completed(), revision: task.revision().get() }
    }
}
