//! What a fuzzer tries: each function takes any bytes, and panics if a law is broken.

use std::fmt::Debug;

use serde::Deserialize;
use serde_json::Value;
use task_lifecycle::{
    Event, Operation, Previous, Released, Snapshot, SnapshotError, State, Status, Task,
};

use crate::client::Client;

/// Any text is a task that obeys the laws, or an error.
pub(crate) fn json(bytes: &[u8]) {
    /// The stored form without the check.
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Unchecked {
        status: Status,
        revision: u64,
        run: u64,
        #[serde(deserialize_with = "Deserialize::deserialize")]
        payload: Value,
        previous: Option<UncheckedPrevious>,
    }
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct UncheckedPrevious {
        status: Status,
        #[serde(deserialize_with = "Deserialize::deserialize")]
        payload: Value,
    }

    let read = serde_json::from_slice::<Task<Value>>(bytes);
    let Ok(unchecked) = serde_json::from_slice::<Unchecked>(bytes) else {
        assert!(read.is_err(), "read what has not the form");
        return;
    };
    let Unchecked { status, revision, run, payload, previous } = unchecked;
    let previous = previous.map(|UncheckedPrevious { status, payload }| (status, payload));
    match read {
        Ok(task) => {
            let text = serde_json::to_string(&task).expect("a task can be written");
            let again = serde_json::from_str::<Task<Value>>(&text).expect("and read");
            assert_eq!(task, again);
            assert_eq!((task.status(), task.revision(), task.run()), (status, revision, run));
            assert_eq!(task.payload(), &payload);
            obeys(&task, previous.as_ref());
        }
        Err(fault) => {
            let refused = State::from_parts(status, previous.map(|(status, _)| status));
            let said = refused.expect_err("the form is right, and so must be the state");
            assert!(fault.to_string().starts_with(&said.to_string()), "{fault}");
        }
    }
}

/// Any bytes are a history of one task.
pub(crate) fn history(bytes: &[u8]) {
    let mut task = Task::new(0);
    let mut client = Client::new(0);
    for (at, &byte) in bytes.iter().enumerate() {
        let payload = at as u64 + 1;
        let Some(&operation) = Operation::ALL.get(usize::from(byte % 8)) else {
            task.edit(|current| *current = payload);
            client.is_shown((task.status(), payload));
            compare(&task, &client);
            continue;
        };
        let expected = client.after(operation, payload);
        let before = task.clone();
        assert_eq!(task.check(operation).is_ok(), expected.is_some(), "{operation}");
        let did = match Event::new(operation, payload) {
            Some(event) => task.apply(event),
            None => match task.delete() {
                Ok(payload) => {
                    assert_eq!(expected, Some(None));
                    assert_eq!(Some(payload), client.now().map(|now| now.1));
                    return;
                }
                Err(refused) => {
                    let reason = refused.reason();
                    task = refused.into_task();
                    Err(reason)
                }
            },
        };
        match did {
            Ok(done) => {
                let expected = expected.flatten().expect("refused, by the client");
                assert_eq!(done.released, client.released(operation));
                client.is_shown(expected);
                assert_eq!(done.to, task.state());
                assert_eq!((done.revision, done.run), (task.revision(), task.run()));
            }
            Err(refused) => {
                assert_eq!(expected, None, "{refused}");
                assert_eq!(task, before);
            }
        }
        compare(&task, &client);
    }
}

fn compare(task: &Task<u64>, client: &Client<u64>) {
    let shown = (task.status(), *task.payload());
    assert_eq!(client.now(), Some(&shown));
    assert_eq!(client.revision(), task.revision());
    assert_eq!(client.run(), task.run());
    let previous = task.previous().map(|previous| (previous.status, *previous.payload));
    assert_eq!(client.before_update(), previous.as_ref());
}

/// Any parts are a task that obeys the laws, or an error that names the fault.
pub(crate) fn snapshot(bytes: &[u8]) {
    let Some((&[status, previous, at_the_end], rest)) = bytes.split_first_chunk() else {
        return;
    };
    let word = |byte: u8| Status::ALL[usize::from(byte) % Status::ALL.len()];
    let mut number = [0; 8];
    for (to, from) in number.iter_mut().zip(rest) {
        *to = *from;
    }
    let number = u64::from_le_bytes(number);
    let revision = if at_the_end % 2 == 1 { u64::MAX - number % 3 } else { number };
    let payload = rest.to_vec();
    let previous = (previous % 3 > 0)
        .then(|| Previous { status: word(previous / 3), payload: payload.repeat(2) });
    let snapshot = Snapshot {
        status: word(status),
        revision,
        run: revision.reverse_bits(),
        payload,
        previous,
    };

    let previous = snapshot.previous.clone().map(|old| (old.status, old.payload));
    match Task::try_from(snapshot.clone()) {
        Ok(task) => {
            assert_eq!(Snapshot::from(task.clone()), snapshot);
            assert_eq!(Snapshot::from(&task).payload, &snapshot.payload);
            obeys(&task, previous.as_ref());
        }
        Err(SnapshotError::UnexpectedPrevious { status }) => {
            assert_eq!(status, snapshot.status);
            assert!(status.is_completed() && previous.is_some());
        }
        Err(SnapshotError::PreviousNotFinished { status }) => {
            assert!(snapshot.status.is_active() && !status.is_finished());
            assert_eq!(previous.map(|old| old.0), Some(status));
        }
    }
}

/// A task that was read behaves as one that was made.
fn obeys<T: Clone + PartialEq + Debug>(task: &Task<T>, previous: Option<&(Status, T)>) {
    assert!(State::ALL.contains(&task.state()));
    let stored = task.previous().map(|old| (old.status, old.payload.clone()));
    assert_eq!(stored.as_ref(), previous);
    for &operation in Operation::ALL {
        let mut after = task.clone();
        let payload = task.payload().clone();
        let Some(event) = Event::new(operation, payload.clone()) else {
            let gone = after.delete();
            assert_eq!(task.check(operation).is_ok(), gone.is_ok());
            assert!(gone.map_or_else(|kept| kept.into_task() == *task, |last| last == payload));
            continue;
        };
        let did = after.apply(event);
        assert_eq!(
            task.check(operation),
            did.as_ref().map(|done| Some(done.to.status())).map_err(|e| *e)
        );
        match did {
            Ok(done) => {
                assert_eq!(after.revision(), task.revision().wrapping_add(1));
                let queued = matches!(operation, Operation::Retry | Operation::Update);
                assert_eq!(after.run(), task.run().wrapping_add(u64::from(queued)));
                if done.reverted() {
                    let now = (after.status(), after.payload().clone());
                    assert_eq!(Some(&now), previous);
                    assert_eq!(done.released, Released::Update(payload));
                }
            }
            Err(_) => assert_eq!(&after, task),
        }
    }
}
