use task_lifecycle::{Draft, Transition};

pub fn changed<T>(id: &str, draft: &Draft<T>, change: &Transition<T>) {
    tracing::info!(
        task = id,
        operation = change.operation.as_str(),
        from = %change.from,
        to = %change.to,
        loaded = draft.loaded().get(),
        revision = change.revision.get(),
        run = change.run.get(),
        reverted = change.reverted(),
    );
}
