//! The public types: their traits, sizes, orders, words and messages.

use core::error::Error;
use core::fmt::{Debug, Display};
use core::hash::Hash;
use core::mem::size_of;
use core::str::FromStr;

use task_lifecycle::{
    DeleteError, Event, Operation, Previous, Snapshot, SnapshotError, StaleRevision, State, Status,
    Task, Transition, TransitionError, UnknownOperation, UnknownStatus,
};

/// No trait but `Sized`: what a task must not need.
struct Opaque;

#[test]
fn traits() {
    fn value<T: Copy + Eq + Hash + Debug + Send + Sync + Unpin + 'static>() {}
    fn holder<T: Clone + Debug + Eq + Hash + Send + Sync>() {}
    fn word<T: Display + FromStr<Err = E>, E: Error>() {}
    fn error<T: Error + Send + Sync + 'static>() {}

    value::<Status>();
    value::<Operation>();
    value::<State>();
    value::<TransitionError>();
    value::<SnapshotError>();
    value::<StaleRevision>();
    value::<UnknownStatus>();
    value::<UnknownOperation>();

    holder::<Task<String>>();
    holder::<Transition<String>>();
    holder::<Event<String>>();
    holder::<Previous<String>>();
    holder::<Snapshot<String>>();

    word::<Status, UnknownStatus>();
    word::<Operation, UnknownOperation>();

    error::<TransitionError>();
    error::<SnapshotError>();
    error::<StaleRevision>();
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
        assert!(size_of::<Task<()>>() <= 16);
        assert!(size_of::<Task<Box<[u8; 500]>>>() <= 32);
        assert!(size_of::<Task<[u64; 8]>>() <= 152);
        assert!(size_of::<DeleteError<[u64; 8]>>() <= size_of::<Task<[u64; 8]>>() + 128);
    }
}

#[test]
fn orders() {
    let words: Vec<&str> = Status::ALL.iter().map(|status| status.as_str()).collect();
    assert_eq!(
        words,
        ["Starting", "Processing", "Succeeded", "Failed", "Cancelled"]
    );
    let words: Vec<String> = Operation::ALL.iter().map(Operation::to_string).collect();
    assert_eq!(
        words,
        [
            "start", "retry", "succeed", "fail", "cancel", "update", "delete"
        ]
    );
    let words: Vec<_> = State::ALL
        .iter()
        .map(|state| (state.status().as_str(), state.previous()))
        .collect();
    let (succeeded, failed) = (Some(Status::Succeeded), Some(Status::Failed));
    assert_eq!(
        words,
        [
            ("Starting", None),
            ("Processing", None),
            ("Succeeded", None),
            ("Failed", None),
            ("Cancelled", None),
            ("Starting", succeeded),
            ("Starting", failed),
            ("Processing", succeeded),
            ("Processing", failed),
        ]
    );
    assert_eq!(State::NEW, State::ALL[0]);
}

#[test]
fn words() {
    for &status in Status::ALL {
        assert_eq!(status.to_string(), status.as_str());
        assert_eq!(status.as_str().parse(), Ok(status));
        for other in [
            status.as_str().to_lowercase(),
            format!("{status} "),
            String::new(),
        ] {
            let fault = other.parse::<Status>().unwrap_err();
            assert_eq!(
                fault.to_string(),
                "unknown status: expected Starting, Processing, Succeeded, Failed or Cancelled"
            );
        }
    }
    for &operation in Operation::ALL {
        assert_eq!(operation.to_string().parse(), Ok(operation));
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
        let seen = [
            status.is_active(),
            status.is_completed(),
            status.is_finished(),
        ];
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
        let Transition {
            operation,
            from,
            to,
            revision,
            reverted,
            released,
        } = task.apply(event).unwrap();
        let reverted = if reverted { " reverted" } else { "" };
        records.push(format!(
            "{revision} {operation} {from} {to}{reverted} {released:?}"
        ));
    }
    assert_eq!(
        records,
        [
            "1 start Starting Processing None",
            "2 retry Processing Starting None",
            "3 start Starting Processing None",
            "4 succeed Processing Succeeded None",
            "5 update Succeeded Starting None",
            "6 cancel Starting Succeeded reverted Some(\"a\")",
            "7 update Succeeded Starting None",
            "8 start Starting Processing None",
            "9 fail Processing Succeeded reverted Some(\"b\")",
            "10 update Succeeded Starting None",
            "11 start Starting Processing None",
            "12 succeed Processing Succeeded Some(\"p\")",
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
    let previous = Previous {
        status: Status::Succeeded,
        payload: &1,
    };
    assert_eq!((task.payload(), task.previous()), (&11, Some(previous)));
}

#[test]
fn the_last_revision_stays() {
    let stored = Snapshot {
        status: Status::Starting,
        revision: u64::MAX,
        payload: (),
        previous: None,
    };
    let mut task = Task::try_from(stored).unwrap();
    assert_eq!(task.start().unwrap().revision, u64::MAX);
    task.edit(|()| ());
    assert_eq!(task.succeed().unwrap().revision, u64::MAX);
}

#[test]
fn errors_say_what_is_wrong_and_show_no_payload() {
    let stale = Task::new(()).check_revision(4).unwrap_err();
    assert_eq!(
        stale,
        StaleRevision {
            expected: 4,
            actual: 0
        }
    );
    assert_eq!(
        stale.to_string(),
        "stale revision: expected 4, but the task is at 0"
    );

    let refused = Task::new("secret").delete().unwrap_err();
    assert_eq!(
        refused.to_string(),
        "task cannot be deleted: status is Starting"
    );
    assert_eq!(refused.reason().to_string(), refused.to_string());
    assert_eq!(
        format!("{refused:?}"),
        "DeleteError { reason: TransitionError { operation: Delete, status: Starting }, .. }"
    );
    assert_eq!(TransitionError::from(refused.clone()), refused.reason());
    assert!(refused.source().is_none());
    assert_eq!(refused.into_task(), Task::new("secret"));

    let fault = SnapshotError::UnexpectedPrevious {
        status: Status::Failed,
    };
    assert_eq!(
        fault.to_string(),
        "a task in status Failed cannot have a previous state"
    );
    let fault = SnapshotError::PreviousNotFinished {
        status: Status::Cancelled,
    };
    assert_eq!(
        fault.to_string(),
        "a previous state must be Succeeded or Failed, not Cancelled"
    );
}

#[test]
fn debug_shows_the_stored_form() {
    let mut task = Task::new(1);
    assert_eq!(
        format!("{task:?}"),
        "Task { status: Starting, revision: 0, payload: 1, previous: None }"
    );
    task.fail().unwrap();
    task.update(2).unwrap();
    assert_eq!(
        format!("{task:?}"),
        "Task { status: Starting, revision: 2, payload: 2, \
         previous: Some(Previous { status: Failed, payload: 1 }) }"
    );
}

#[test]
fn event_names_its_operation() {
    let events = [
        Event::Start,
        Event::Retry,
        Event::Succeed,
        Event::Fail,
        Event::Cancel,
        Event::Update(()),
    ];
    assert_eq!(events.map(|event| event.operation()), Operation::ALL[..6]);
}
