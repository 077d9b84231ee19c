//! What went wrong in real task services, and why it cannot here. One test per failure, named for
//! it.

use task_lifecycle::{
    Event, Operation, Previous, Snapshot, SnapshotError, StaleRevision, State, Status, Task,
    TransitionError,
};

/// All that a server keeps about a task at one moment.
#[derive(Clone, Debug, PartialEq)]
struct Document {
    configuration: u32,
    version: u32,
    message: &'static str,
    started_at: Option<u64>,
    finished_at: Option<u64>,
    output: Option<&'static str>,
}

const fn queued(configuration: u32) -> Document {
    Document {
        configuration,
        version: configuration,
        message: "queued",
        started_at: None,
        finished_at: None,
        output: None,
    }
}

/// A task that succeeded with configuration 1.
fn succeeded() -> Task<Document> {
    let mut task = Task::new(queued(1));
    task.start().unwrap();
    task.edit(|document| {
        document.message = "done";
        document.started_at = Some(10);
        document.finished_at = Some(20);
        document.output = Some("s3://1");
    });
    task.succeed().unwrap();
    task
}

/// The same, queued again with configuration 2.
fn updating() -> Task<Document> {
    let mut task = succeeded();
    task.update(queued(2)).unwrap();
    task
}

#[test]
fn cancelled_task_was_started() {
    let mut task = Task::new(queued(1));
    task.cancel().unwrap();
    let refused = task.start().unwrap_err();
    assert_eq!(
        (refused.operation(), refused.status()),
        (Operation::Start, Status::Cancelled)
    );
    assert_eq!(task.status(), Status::Cancelled);
}

#[test]
fn update_cancel_left_cancelled() {
    let mut task = updating();
    task.cancel().unwrap();
    assert_eq!(task.status(), Status::Succeeded);
    assert_eq!(task.payload().configuration, 1);
}

#[test]
fn previous_state_lived_in_the_queue() {
    // The stored form alone, no message, is enough to revert.
    let mut task = Task::try_from(Snapshot::from(updating())).unwrap();
    task.cancel().unwrap();
    assert_eq!(task.payload(), succeeded().payload());
}

#[test]
fn partial_revert() {
    let mut task = updating();
    task.edit(|document| document.version = 9);
    task.cancel().unwrap();
    assert_eq!(task.status(), Status::Succeeded);
    assert_eq!(task.payload(), succeeded().payload());
}

#[test]
fn forgotten_revert() {
    // An initialisation error, a worker that reports a time-out, a sweeper's time-out.
    let paths: [&[Event<Document>]; 3] = [
        &[Event::Fail],
        &[Event::Start, Event::Fail],
        &[Event::Start, Event::Retry, Event::Fail],
    ];
    for path in paths {
        let mut task = updating();
        for event in path {
            task.apply(event.clone()).unwrap();
        }
        assert_eq!(task.status(), Status::Succeeded, "{path:?}");
        assert_eq!(task.payload(), succeeded().payload(), "{path:?}");
    }
}

#[test]
fn silent_update_failure() {
    let mut task = updating();
    task.start().unwrap();
    task.edit(|document| document.message = "out of memory");
    let failed = task.fail().unwrap();
    assert!(failed.reverted);
    assert_eq!(
        failed.released.map(|document| document.message),
        Some("out of memory")
    );
}

#[test]
fn billed_on_revert() {
    let reverted = updating().cancel().unwrap();
    let mut task = updating();
    task.start().unwrap();
    let succeeded = task.succeed().unwrap();
    // Both came to be `Succeeded`; only one did the work.
    assert_eq!(
        (reverted.to, succeeded.to),
        (Status::Succeeded, Status::Succeeded)
    );
    assert_eq!(reverted.operation, Operation::Cancel);
    assert_eq!(succeeded.operation, Operation::Succeed);
}

#[test]
fn completed_while_retrying() {
    let mut task = Task::new(queued(1));
    for _ in 0..3 {
        task.start().unwrap();
        assert!(!task.status().is_completed());
        assert_eq!(task.retry().unwrap().to, Status::Starting);
        assert!(!task.status().is_completed());
    }
}

#[test]
fn guard_always_true() {
    let deletable: Vec<Status> = Status::ALL
        .iter()
        .copied()
        .filter(|status| status.accepts(Operation::Delete))
        .collect();
    assert_eq!(
        deletable,
        [Status::Succeeded, Status::Failed, Status::Cancelled]
    );
}

#[test]
fn cancelled_never_deletable() {
    let mut task = Task::new(queued(1));
    task.cancel().unwrap();
    assert_eq!(task.delete(), Ok(queued(1)));
}

#[test]
fn terminal_overwritten() {
    for end in [Event::Cancel, Event::Fail] {
        let mut task = Task::new(queued(1));
        task.apply(end).unwrap();
        let status = task.status();
        let late = task.succeed().unwrap_err();
        assert_eq!(
            (late.operation(), late.status()),
            (Operation::Succeed, status)
        );
        assert_eq!(task.status(), status);
    }
}

#[test]
fn stale_message_ran_the_next_update() {
    let mut task = updating();
    let message = task.revision();
    task.cancel().unwrap();
    task.update(queued(3)).unwrap();
    // The status alone would let the first update's message start the second's run.
    assert!(task.check(Operation::Start).is_ok());
    assert_eq!(
        task.check_revision(message),
        Err(StaleRevision {
            expected: message,
            actual: message + 2
        })
    );
}

#[test]
fn zombie_finished_the_retry() {
    let mut task = Task::new(queued(1));
    task.start().unwrap();
    let zombie = task.revision();
    task.retry().unwrap();
    task.start().unwrap();
    assert!(task.check(Operation::Succeed).is_ok());
    assert!(task.check_revision(zombie).is_err());
}

#[test]
fn aba_after_exact_revert() {
    let mut task = succeeded();
    let before = task.revision();
    task.update(queued(2)).unwrap();
    task.cancel().unwrap();
    assert_eq!(
        (task.status(), task.payload()),
        (Status::Succeeded, succeeded().payload())
    );
    assert!(task.check_revision(before).is_err());
    assert_eq!(task.revision(), before + 2);
}

#[test]
fn stringly_errors() {
    let refused: TransitionError = Task::new(queued(1)).succeed().unwrap_err();
    assert_eq!(
        (refused.operation(), refused.status()),
        (Operation::Succeed, Status::Starting)
    );
}

#[test]
fn wrong_reason_for_refusal() {
    // A refusal of the machine is always about a status that refuses; there is no other kind.
    for &state in State::ALL {
        for &operation in Operation::ALL {
            if let Err(refused) = state.apply(operation) {
                assert_eq!(refused.status(), state.status(), "{operation} in {state:?}");
                assert!(
                    !refused.status().accepts(operation),
                    "{operation} in {state:?}"
                );
            }
        }
    }
}

#[test]
fn double_cancel_undecided() {
    let mut task = Task::new(queued(1));
    task.cancel().unwrap();
    assert!(task.cancel().unwrap_err().is_repeat());

    // Of an update: the task is finished, as it was; the revision tells.
    let mut task = updating();
    let seen = task.revision();
    task.cancel().unwrap();
    assert!(!task.cancel().unwrap_err().is_repeat());
    assert!(task.check_revision(seen).is_err());

    // Too late is no repeat.
    let mut task = Task::new(queued(1));
    task.start().unwrap();
    assert!(!task.cancel().unwrap_err().is_repeat());
}

#[test]
fn poisoned_after_error() {
    let mut task = updating();
    task.start().unwrap();
    let before = task.clone();
    task.cancel().unwrap_err();
    task.update(queued(3)).unwrap_err();
    let mut task = task.delete().unwrap_err().into_task();
    assert_eq!(task, before);
    task.succeed().unwrap();
}

#[test]
fn unknown_status_became_new() {
    for word in ["Queued", "starting", "SUCCEEDED", "Starting ", ""] {
        assert!(word.parse::<Status>().is_err(), "{word}");
    }
    #[cfg(feature = "serde")]
    {
        let text = r#"{"status":"Queued","revision":2,"payload":null}"#;
        let fault = serde_json::from_str::<Task<()>>(text)
            .unwrap_err()
            .to_string();
        assert!(
            fault.contains("unknown variant `Queued`, expected one of `Starting`"),
            "{fault}"
        );
    }
}

#[test]
fn stored_form_with_no_run() {
    let previous = Some(Previous {
        status: Status::Succeeded,
        payload: queued(1),
    });
    for status in [Status::Succeeded, Status::Failed, Status::Cancelled] {
        let stored = Snapshot {
            status,
            revision: 3,
            payload: queued(2),
            previous: previous.clone(),
        };
        assert_eq!(
            Task::try_from(stored),
            Err(SnapshotError::UnexpectedPrevious { status })
        );
    }
}

#[test]
fn state_in_a_message() {
    // Whatever the message says, the answers are the same.
    for message in ["timed out", "Task failed", "Cancelled", ""] {
        let mut task = updating();
        let state = task.state();
        task.edit(|document| document.message = message);
        assert_eq!(task.state(), state, "{message}");
        assert!(task.cancel().unwrap().reverted, "{message}");
    }
}

#[test]
fn positional_options() {
    // One method per operation, and a payload that is changed by name: what is set can be cleared.
    let mut task = succeeded();
    task.edit(|document| document.finished_at = None);
    assert_eq!(
        (task.payload().started_at, task.payload().finished_at),
        (Some(10), None)
    );
}
