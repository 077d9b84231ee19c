use task_lifecycle::{Run, Status, Task};

#[derive(PartialEq, Debug)]
pub enum Next {
    Start,
    Acknowledge,
    GiveBack,
    SetAside,
}

/// The way of a message of `run`, delivered for the `delivery`th time, after a load that is current.
pub fn next<T>(found: Option<&Task<T>>, run: Run, delivery: u32) -> Next {
    let Some(task) = found else { return Next::Acknowledge };
    match task.check_run(run) {
        Ok(()) if task.status() == Status::Starting => Next::Start,
        Ok(()) => Next::Acknowledge, // delivered before: left to the sweeper
        Err(stale) if !stale.is_ahead() => Next::Acknowledge,
        Err(_) if delivery < 5 => Next::GiveBack,
        Err(_) => Next::SetAside, // with an alarm
    }
}
