//! The public types: their traits, sizes, orders, words and messages.

use core::error::Error;
use core::fmt::{Debug, Display};
use core::hash::Hash;
use core::mem::size_of;
use core::str::FromStr;

use task_lifecycle::{
    DeleteError, Event, Operation, Previous, Released, Snapshot, SnapshotError, StaleRevision,
    StaleRun, State, Status, Task, Transition, TransitionError, UnknownOperation, UnknownStatus,
};

/// No trait but `Sized`: what a task must not need.
struct Opaque;

#[test]
fn traits() {
    fn value<T: Copy + Eq + Hash + Debug + Send + Sync + Unpin + 'static>() {}
    fn holder<T: Clone + Debug + Eq + Hash + Send + Sync>() {}
    fn word<T: Display + FromStr<Err = E>, E: Error>() {}
    fn ordered<T: Ord>() {}
    fn shown<T: Display>() {}
    fn error<T: Error + Send + Sync + 'static>() {}

    value::<Status>();
    value::<Operation>();
    value::<State>();
    value::<TransitionError>();
    value::<SnapshotError>();
    value::<StaleRevision>();
    value::<StaleRun>();
    value::<UnknownStatus>();
    value::<UnknownOperation>();

    holder::<Task<String>>();
    holder::<Transition<String>>();
    holder::<Released<String>>();
    holder::<Event<String>>();
    holder::<Previous<String>>();
    holder::<Snapshot<String>>();

    word::<Status, UnknownStatus>();
    word::<Operation, UnknownOperation>();
    ordered::<Status>();
    ordered::<Operation>();
    shown::<State>();

    error::<TransitionError>();
    error::<SnapshotError>();
    error::<StaleRevision>();
    error::<StaleRun>();
    error::<UnknownStatus>();
    error::<UnknownOperation>();
    error::<DeleteError<Opaque>>();
}

#[test]
fn sizes() {
    const {
        assert!(size_of::<State>() == 1);
        assert!(size_of::<Option<State>>() == 1);
        assert!(size_of::<Status>() == 1);
        assert!(size_of::<TransitionError>() == 2);
        assert!(size_of::<Task<()>>() <= 24);
        assert!(size_of::<Task<Box<[u8; 500]>>>() <= 40);
        assert!(size_of::<Task<[u64; 8]>>() <= 160);
        assert!(size_of::<DeleteError<[u64; 8]>>() <= size_of::<Task<[u64; 8]>>() + 128);
    }
}

#[test]
fn orders() {
    let words: Vec<&str> = Status::ALL.iter().map(|status| status.as_str()).collect();
    assert_eq!(words, ["Starting", "Processing", "Succeeded", "Failed", "Cancelled"]);
    let words: Vec<&str> = Operation::ALL.iter().map(|operation| operation.as_str()).collect();
    assert_eq!(words, ["start", "retry", "succeed", "fail", "cancel", "update", "delete"]);
    assert!(Status::ALL.is_sorted() && Operation::ALL.is_sorted());
    let words: Vec<String> = State::ALL.iter().map(State::to_string).collect();
    assert_eq!(
        words,
        [
            "Starting",
            "Processing",
            "Succeeded",
            "Failed",
            "Cancelled",
            "Starting (an update, was Succeeded)",
            "Starting (an update, was Failed)",
            "Processing (an update, was Succeeded)",
            "Processing (an update, was Failed)",
        ]
    );
    assert_eq!(State::NEW, State::ALL[0]);
}

#[test]
fn words() {
    for &status in Status::ALL {
        assert_eq!(status.to_string(), status.as_str());
        assert_eq!(status.as_str().parse(), Ok(status));
        for other in [status.as_str().to_lowercase(), format!("{status} "), String::new()] {
            let fault = other.parse::<Status>().unwrap_err();
            assert_eq!(
                fault.to_string(),
                "unknown status: expected Starting, Processing, Succeeded, Failed or Cancelled"
            );
        }
    }
    for &operation in Operation::ALL {
        assert_eq!(operation.to_string(), operation.as_str());
        assert_eq!(operation.as_str().parse(), Ok(operation));
        let fault = format!("{operation:?}").parse::<Operation>().unwrap_err();
        assert_eq!(
            fault.to_string(),
            "unknown operation: expected start, retry, succeed, fail, cancel, update or delete"
        );
    }
    assert_eq!(format!("[{:>10}]", Status::Failed), "[    Failed]");
}

#[test]
fn predicates() {
    #[rustfmt::skip]
    let expected = [
        //                    active completed finished
        (Status::Starting,   [true,  false,    false]),
        (Status::Processing, [true,  false,    false]),
        (Status::Succeeded,  [false, true,     true ]),
        (Status::Failed,     [false, true,     true ]),
        (Status::Cancelled,  [false, true,     false]),
    ];
    for (status, answers) in expected {
        let seen = [status.is_active(), status.is_completed(), status.is_finished()];
        assert_eq!(seen, answers, "{status}");
    }
}

#[test]
fn the_record_of_each_operation() {
    let mut task = Task::new("p");
    let mut records = Vec::new();
    for event in [
        Event::Start,
        Event::Retry,
        Event::Start,
        Event::Succeed,
        Event::Update("a"),
        Event::Cancel,
        Event::Update("b"),
        Event::Start,
        Event::Fail,
        Event::Update("c"),
        Event::Start,
        Event::Succeed,
    ] {
        let done = task.apply(event).unwrap();
        let (from, to) = (done.from, done.to);
        let reverted = if done.reverted() { ", reverted" } else { "" };
        records.push(format!(
            "{} in run {}, {}: {from} -> {to}{reverted}; {:?}",
            done.revision, done.run, done.operation, done.released
        ));
    }
    assert_eq!(
        records,
        [
            "1 in run 0, start: Starting -> Processing; Nothing",
            "2 in run 1, retry: Processing -> Starting; Nothing",
            "3 in run 1, start: Starting -> Processing; Nothing",
            "4 in run 1, succeed: Processing -> Succeeded; Nothing",
            "5 in run 2, update: Succeeded -> Starting (an update, was Succeeded); Nothing",
            "6 in run 2, cancel: Starting (an update, was Succeeded) -> Succeeded, reverted; Update(\"a\")",
            "7 in run 3, update: Succeeded -> Starting (an update, was Succeeded); Nothing",
            "8 in run 3, start: Starting (an update, was Succeeded) -> Processing (an update, was Succeeded); Nothing",
            "9 in run 3, fail: Processing (an update, was Succeeded) -> Succeeded, reverted; Update(\"b\")",
            "10 in run 4, update: Succeeded -> Starting (an update, was Succeeded); Nothing",
            "11 in run 4, start: Starting (an update, was Succeeded) -> Processing (an update, was Succeeded); Nothing",
            "12 in run 4, succeed: Processing (an update, was Succeeded) -> Succeeded; Previous(\"p\")",
        ]
    );
    assert_eq!((task.payload(), task.previous()), (&"c", None));
}

#[test]
fn edit_changes_the_current_payload_and_returns_what_the_closure_does() {
    let mut task = Task::new(1);
    assert_eq!(task.edit(|payload| std::mem::replace(payload, 2)), 1);
    task.cancel().unwrap();
    task.edit(|payload| *payload += 1);
    assert_eq!((task.payload(), task.revision()), (&3, 3));

    let mut task = Task::new(1);
    task.start().unwrap();
    task.succeed().unwrap();
    task.update(10).unwrap();
    task.edit(|payload| *payload += 1);
    let previous = Previous { status: Status::Succeeded, payload: &1 };
    assert_eq!((task.payload(), task.previous()), (&11, Some(previous)));
}

#[test]
fn the_counters_wrap() {
    let stored = Snapshot {
        status: Status::Processing,
        revision: u64::MAX,
        run: u64::MAX,
        payload: (),
        previous: None,
    };
    let mut task = Task::try_from(stored).unwrap();
    assert_eq!(task.check_run(u64::MAX), Ok(()));
    let done = task.retry().unwrap();
    assert_eq!((done.revision, done.run), (0, 0));
    assert!(task.check_run(u64::MAX).is_err());
    assert!(task.check_revision(u64::MAX).is_err());
    task.edit(|()| ());
    assert_eq!((task.revision(), task.run()), (1, 0));
}

#[test]
fn map_changes_the_previous_payload_first_and_counts_nothing() {
    let mut task = Task::new("first");
    task.fail().unwrap();
    task.update("second").unwrap();
    let mut order = Vec::new();
    let mapped = task.clone().map(|text| {
        order.push(text);
        text.len()
    });
    assert_eq!(order, ["first", "second"]);
    assert_eq!((mapped.payload(), mapped.previous().unwrap().payload), (&6, &5));
    let counters = |revision, run, state| (revision, run, state);
    assert_eq!(
        counters(mapped.revision(), mapped.run(), mapped.state()),
        counters(task.revision(), task.run(), task.state())
    );
}

#[test]
fn an_event_is_made_of_its_operation() {
    for &operation in Operation::ALL {
        let made = Event::new(operation, "payload").map(|event| event.operation());
        let expected = Some(operation).filter(|&operation| operation != Operation::Delete);
        assert_eq!(made, expected);
    }
}

#[test]
fn errors_say_what_is_wrong_and_show_no_payload() {
    let stale = Task::new(()).check_revision(4).unwrap_err();
    assert_eq!(stale, StaleRevision { expected: 4, actual: 0 });
    assert_eq!(stale.to_string(), "stale revision: expected 4, but the task is at 0");

    let mut task = Task::new(());
    task.start().unwrap();
    task.retry().unwrap();
    assert_eq!(
        task.check_run(0).unwrap_err().to_string(),
        "stale run: expected 0, but the task is Starting in run 1"
    );
    task.start().unwrap();
    task.succeed().unwrap();
    assert_eq!(
        task.check_run(1).unwrap_err().to_string(),
        "stale run: expected 1, but the task is Succeeded in run 1"
    );

    let refused = Task::new("secret").delete().unwrap_err();
    assert_eq!(refused.to_string(), "task cannot be deleted: status is Starting");
    assert_eq!(refused.reason().to_string(), refused.to_string());
    assert_eq!(
        format!("{refused:?}"),
        "DeleteError { reason: TransitionError { operation: Delete, state: State(Starting) }, .. }"
    );
    assert_eq!(TransitionError::from(refused.clone()), refused.reason());
    assert!(refused.source().is_none());
    assert_eq!(refused.into_task(), Task::new("secret"));

    let fault = SnapshotError::UnexpectedPrevious { status: Status::Failed };
    assert_eq!(fault.to_string(), "a task in status Failed cannot have a previous state");
    let fault = SnapshotError::PreviousNotFinished { status: Status::Cancelled };
    assert_eq!(fault.to_string(), "a previous state must be Succeeded or Failed, not Cancelled");
}

#[test]
fn debug_shows_the_stored_form() {
    let mut task = Task::new(1);
    assert_eq!(
        format!("{task:?}"),
        "Task { status: Starting, revision: 0, run: 0, payload: 1, previous: None }"
    );
    task.fail().unwrap();
    task.update(2).unwrap();
    assert_eq!(
        format!("{task:?}"),
        "Task { status: Starting, revision: 2, run: 1, payload: 2, \
         previous: Some(Previous { status: Failed, payload: 1 }) }"
    );
}
