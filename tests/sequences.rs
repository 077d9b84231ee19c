//! Every sequence of operations and edits, up to a length, against a client that only polls.
//!
//! The length is 6, and 8 in the slow run: `TASK_LIFECYCLE_LENGTH=8 cargo test --release --test
//! sequences -- --nocapture`.

#[path = "common/client.rs"]
mod client;

use client::Client;
use task_lifecycle::{Event, Operation, Released, Task};

#[derive(Default)]
struct Walk {
    sequences: u64,
    reverts: u64,
    path: Vec<String>,
}

impl Walk {
    /// Tries everything on `task`, and goes on from what it becomes.
    fn walk(&mut self, task: &Task<u64>, client: &mut Client<u64>, left: u32) {
        if left == 0 {
            return;
        }
        let payload = client.revision() + 1;
        for &operation in Operation::ALL {
            self.path.push(operation.to_string());
            self.sequences += 1;
            let expected = client.after(operation, payload);
            let mut after = task.clone();
            let Some(event) = Event::new(operation, payload) else {
                self.delete(after, client, expected.is_some());
                self.path.pop();
                continue;
            };
            match (after.apply(event), expected) {
                (Ok(done), Some(Some(shown))) => {
                    let released = client.released(operation);
                    self.reverts += u64::from(matches!(released, Released::Update(_)));
                    assert_eq!(done.released, released, "{:?}", self.path);
                    assert_eq!((done.from, done.to), (task.state(), after.state()));
                    assert_eq!((done.revision, done.run), (after.revision(), after.run()));
                    client.is_shown(shown);
                    self.compare(&after, client);
                    self.walk(&after, client, left - 1);
                    client.forget_last();
                }
                (Err(refused), None) => {
                    assert_eq!(refused.operation(), operation, "{:?}", self.path);
                    assert_eq!(refused.status(), task.status(), "{:?}", self.path);
                    assert_eq!(&after, task, "{:?}", self.path);
                    self.walk(&after, client, left - 1);
                }
                (did, expected) => panic!("{:?}: {did:?}, not {expected:?}", self.path),
            }
            self.path.pop();
        }
        self.path.push("edit".to_owned());
        self.sequences += 1;
        let mut after = task.clone();
        after.edit(|current| *current = payload);
        client.is_shown((task.status(), payload));
        self.compare(&after, client);
        self.walk(&after, client, left - 1);
        client.forget_last();
        self.path.pop();
    }

    fn delete(&self, task: Task<u64>, client: &Client<u64>, accepted: bool) {
        let before = task.clone();
        match task.delete() {
            Ok(payload) => {
                assert!(accepted, "{:?}", self.path);
                assert_eq!(Some(payload), client.now().map(|now| now.1), "{:?}", self.path);
            }
            Err(refused) => {
                assert!(!accepted, "{:?}", self.path);
                assert_eq!(refused.into_task(), before, "{:?}", self.path);
            }
        }
    }

    fn compare(&self, task: &Task<u64>, client: &Client<u64>) {
        let shown = Some((task.status(), *task.payload()));
        assert_eq!(shown.as_ref(), client.now(), "{:?}", self.path);
        assert_eq!(task.revision(), client.revision(), "{:?}", self.path);
        assert_eq!(task.run(), client.run(), "{:?}", self.path);
        let previous = task.previous().map(|previous| (previous.status, *previous.payload));
        assert_eq!(previous.as_ref(), client.before_update(), "{:?}", self.path);
    }
}

#[test]
fn every_sequence_shows_what_a_client_expects() {
    let length = std::env::var("TASK_LIFECYCLE_LENGTH");
    let length = length.map_or(6, |length| length.parse().expect("a length"));
    let mut walk = Walk::default();
    walk.walk(&Task::new(0), &mut Client::new(0), length);
    let Walk { sequences, reverts, .. } = walk;
    println!("{sequences} sequences up to length {length}, {reverts} of them end in a revert");
    // Pinned: fewer would mean that something is no longer tried.
    match length {
        6 => assert_eq!((sequences, reverts), (156_864, 3_767)),
        8 => assert_eq!((sequences, reverts), (7_686_400, 256_188)),
        _ => assert!(reverts > 0, "too short to see a revert"),
    }
}
