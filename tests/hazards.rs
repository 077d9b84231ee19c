//! What went wrong in real task services, and why it cannot here. One test per failure, named for
//! it.

use task_lifecycle::{
    Event, Operation, Previous, Snapshot, SnapshotError, State, Status, Task, TransitionError,
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
    assert_eq!((refused.operation(), refused.status()), (Operation::Start, Status::Cancelled));
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
    let paths: [&[Event<Document>]; 3] =
        [&[Event::Fail], &[Event::Start, Event::Fail], &[Event::Start, Event::Retry, Event::Fail]];
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
    assert!(failed.reverted());
    let failed = failed.released.into_payload().unwrap();
    assert_eq!(failed.message, "out of memory");
}

#[test]
fn billed_on_revert() {
    let reverted = updating().cancel().unwrap();
    let mut task = updating();
    task.start().unwrap();
    let succeeded = task.succeed().unwrap();
    // Both came to be `Succeeded`; only one did the work.
    assert_eq!(
        (reverted.to.status(), succeeded.to.status()),
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
        assert_eq!(task.retry().unwrap().to.status(), Status::Starting);
        assert!(!task.status().is_completed());
    }
}

#[test]
fn guard_always_true() {
    let deletable: Vec<Status> =
        Status::ALL.iter().copied().filter(|status| status.accepts(Operation::Delete)).collect();
    assert_eq!(deletable, [Status::Succeeded, Status::Failed, Status::Cancelled]);
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
        assert_eq!((late.operation(), late.status()), (Operation::Succeed, status));
        assert_eq!(task.status(), status);
    }
}

#[test]
fn stale_message_ran_the_next_update() {
    let mut task = updating();
    let message = task.run();
    task.cancel().unwrap();
    task.update(queued(3)).unwrap();
    // The status alone would let the first update's message start the second's run.
    assert!(task.check(Operation::Start).is_ok());
    let stale = task.check_run(message).unwrap_err();
    assert_eq!((stale.expected, stale.actual), (message, message + 1));
}

#[test]
fn zombie_finished_the_retry() {
    let mut task = Task::new(queued(1));
    let zombie = task.run();
    task.start().unwrap();
    task.retry().unwrap();
    task.start().unwrap();
    assert!(task.check(Operation::Succeed).is_ok());
    assert!(task.check_run(zombie).is_err());
}

#[test]
fn aba_after_exact_revert() {
    let mut task = succeeded();
    let (revision, run) = (task.revision(), task.run());
    for round in 1..=3 {
        task.update(queued(2)).unwrap();
        let message = task.run();
        task.cancel().unwrap();
        assert_eq!(task.state(), succeeded().state());
        assert_eq!(task.payload(), succeeded().payload());
        assert!(task.check_revision(revision).is_err());
        assert_eq!(task.revision(), revision + 2 * round);
        // Nor does a run come back: what was queued and cancelled is over.
        assert_eq!(message, run + round);
        assert!(task.check_run(message).is_err());
    }
}

#[test]
fn stringly_errors() {
    let refused: TransitionError = Task::new(queued(1)).succeed().unwrap_err();
    assert_eq!((refused.operation(), refused.status()), (Operation::Succeed, Status::Starting));
}

#[test]
fn wrong_reason_for_refusal() {
    // A refusal of the machine is always about a status that refuses; there is no other kind.
    for &state in State::ALL {
        for &operation in Operation::ALL {
            if let Err(refused) = state.apply(operation) {
                assert_eq!(refused.status(), state.status(), "{operation} in {state:?}");
                assert!(!refused.status().accepts(operation), "{operation} in {state:?}");
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
        let text = r#"{"status":"Queued","revision":2,"run":0,"payload":null}"#;
        let fault = serde_json::from_str::<Task<()>>(text).unwrap_err();
        let expected = "unknown status: expected Starting, Processing, Succeeded, Failed or \
                        Cancelled, not `Queued` at line 1 column 18";
        assert_eq!(fault.to_string(), expected);
    }
}

#[test]
fn stored_form_with_no_run() {
    let previous = Some(Previous { status: Status::Succeeded, payload: queued(1) });
    for status in [Status::Succeeded, Status::Failed, Status::Cancelled] {
        let stored = Snapshot {
            status,
            revision: 3,
            run: 1,
            payload: queued(2),
            previous: previous.clone(),
        };
        assert_eq!(Task::try_from(stored), Err(SnapshotError::UnexpectedPrevious { status }));
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
        assert!(task.cancel().unwrap().reverted(), "{message}");
    }
}

#[test]
fn positional_options() {
    // One method per operation, and a payload that is changed by name: what is set can be cleared.
    let mut task = succeeded();
    task.edit(|document| document.finished_at = None);
    assert_eq!((task.payload().started_at, task.payload().finished_at), (Some(10), None));
}

/// The one who edits and the ones who wait for the task are different people: an edit takes
/// nothing from them.
fn edited_by_somebody_else(task: &mut Task<Document>) {
    let (revision, run) = (task.revision(), task.run());
    task.edit(|document| document.message = "third in line");
    // A commit that was decided before sees it…
    assert!(task.check_revision(revision).is_err());
    // …and nothing else does.
    assert_eq!(task.run(), run);
}

#[test]
fn edit_lost_the_message() {
    for mut task in [Task::new(queued(1)), updating()] {
        let message = task.run();
        edited_by_somebody_else(&mut task);
        assert_eq!(task.check_run(message), Ok(()));
        task.start().unwrap();
    }
}

#[test]
fn edit_lost_the_result() {
    for mut task in [Task::new(queued(1)), updating()] {
        let message = task.run();
        task.start().unwrap();
        edited_by_somebody_else(&mut task);
        // The worker is done, loads again, and its run still counts.
        assert_eq!(task.check_run(message), Ok(()));
        task.edit(|document| document.output = Some("s3://2"));
        task.succeed().unwrap();
        assert_eq!(task.payload().output, Some("s3://2"));
        assert_eq!(task.payload().message, "third in line");
    }
}

#[test]
fn redelivered_for_nobody() {
    let mut task = Task::new(queued(1));
    let message = task.run();
    task.start().unwrap();
    // The engine delivers the same message again, while the run is under way or its worker dead:
    // it is current, so its handler may take the run over, under a new number.
    assert_eq!(task.check_run(message), Ok(()));
    task.retry().unwrap();
    task.start().unwrap();
    assert!(task.check_run(message).is_err(), "the first worker's");
    assert_eq!(task.check_run(task.run()), Ok(()));
    // After the end it is for nobody.
    task.succeed().unwrap();
    assert!(task.check_run(task.run()).is_err());
}

#[test]
fn poison_task() {
    // Its attempts are the runs since it was queued; a revert does not forget those before.
    let mut task = updating();
    let queued_at = task.run();
    for attempt in 1..=3 {
        task.start().unwrap();
        task.retry().unwrap();
        assert_eq!(task.run() - queued_at, attempt);
    }
    let before = task.run();
    assert!(task.fail().unwrap().reverted());
    assert_eq!(task.run(), before);
}

#[test]
fn bulk_cancel_broke_updates() {
    // `accepted_in` names the rows; what each becomes is `State::apply`'s to say.
    assert_eq!(Operation::Cancel.accepted_in(), [Status::Starting]);
    for &state in State::ALL {
        let Ok(next) = state.apply(Operation::Cancel) else {
            continue;
        };
        let became = next.map(State::status);
        assert_eq!(became, Some(state.previous().unwrap_or(Status::Cancelled)));
        // The row that a plain `SET status = 'Cancelled'` leaves behind is not read as a task.
        let broken = State::from_parts(Status::Cancelled, state.previous());
        assert_eq!(broken.is_err(), state.is_update());
    }
}

#[test]
fn stale_click_cancelled_the_next() {
    let mut task = updating();
    let tab = task.revision();
    task.cancel().unwrap();
    task.update(queued(3)).unwrap();
    // The old tab's cancel would be accepted; the revision that it saw stops it.
    assert!(task.check(Operation::Cancel).is_ok());
    assert!(task.check_revision(tab).is_err());
}

#[test]
#[cfg(feature = "serde")]
fn older_binary_dropped_fields() {
    /// What an older program knows of a payload, and keeps of the rest.
    #[derive(serde::Serialize, serde::Deserialize)]
    struct Keeps {
        configuration: u32,
        #[serde(flatten)]
        rest: serde_json::Map<String, serde_json::Value>,
    }
    #[derive(serde::Serialize, serde::Deserialize)]
    struct Forgets {
        configuration: u32,
    }
    fn cancelled<T: serde::Serialize + serde::de::DeserializeOwned>(text: &str) -> String {
        let mut task: Task<T> = serde_json::from_str(text).unwrap();
        task.cancel().unwrap();
        serde_json::to_string(&task).unwrap()
    }

    let stored = r#"{"status":"Starting","revision":3,"run":1,"payload":{"configuration":2,"pages":7},"previous":{"status":"Failed","payload":{"configuration":1,"pages":9}}}"#;
    let exact =
        r#"{"status":"Failed","revision":4,"run":1,"payload":{"configuration":1,"pages":9}}"#;
    assert_eq!(cancelled::<Keeps>(stored), exact);
    assert_eq!(cancelled::<serde_json::Value>(stored), exact);
    assert_eq!(cancelled::<Forgets>(stored), exact.replace(r#","pages":9"#, ""));
}

/// [`Task`] is comparable, so after an unknown outcome a load tells what happened.
#[test]
fn timeout_counted_as_no() {
    let loaded = updating();
    let mut decided = loaded.clone();
    decided.cancel().unwrap();
    // What is loaded then is the one or the other, and they differ.
    assert_ne!(loaded, decided);
    // Somebody else's cancel of the same update is the same task: it counts as well as one's own.
    let mut other = loaded;
    other.cancel().unwrap();
    assert_eq!(other, decided);
}

#[test]
#[cfg(feature = "serde")]
fn status_by_position() {
    for bytes in [&[0_u8][..], &[1], &[4]] {
        assert!(postcard::from_bytes::<Status>(bytes).is_err(), "{bytes:?}");
    }
    assert_eq!(postcard::to_allocvec(&Status::Failed).unwrap(), b"\x06Failed");
    for text in ["0", r#"{"Failed":null}"#, r#"["Failed"]"#, "null"] {
        assert!(serde_json::from_str::<Status>(text).is_err(), "{text}");
    }
}

#[test]
#[cfg(feature = "serde")]
fn skipped_field_shifted_the_rest() {
    // A task without a previous state in the middle of a row, in a format that counts fields.
    let row = (7_u8, Task::new("p".to_owned()), 9_u8);
    let bytes = postcard::to_allocvec(&row).unwrap();
    assert_eq!(postcard::from_bytes(&bytes), Ok(row.clone()));
    let bytes = rmp_serde::to_vec(&row).unwrap();
    assert_eq!(rmp_serde::from_slice::<(u8, Task<String>, u8)>(&bytes).unwrap(), row);
}
