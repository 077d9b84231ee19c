//! All implementations do the same work: they play all sequences of so many operations, and what
//! is seen of each is what the crate does, which has tests of its own.

use std::fmt::Write as _;
use std::rc::Rc;

use task_lifecycle::{Event, Operation};

use crate::machine::Machine;

const LENGTH: u32 = 5;
/// All but `delete`.
const OPERATIONS: usize = Operation::ALL.len() - 1;

/// All that is seen of each operation on a new task: the answer, and which payloads the task still
/// holds after it.
pub fn play<M: Machine<Rc<u64>>>(operations: &[Operation]) -> String {
    let made: Vec<_> = (0..=operations.len() as u64).map(Rc::new).collect();
    let mut task = M::new(made[0].clone());
    let mut seen = String::new();
    for (operation, payload) in operations.iter().zip(&made[1..]) {
        let event = Event::new(*operation, payload.clone()).expect("no delete");
        let answer = task.apply(|| event).map(Into::into);
        let seen_now = format!("{answer:?}");
        drop(answer);
        let held: Vec<_> = made.iter().map(Rc::strong_count).collect();
        let _ = writeln!(seen, "{seen_now}, {held:?}");
    }
    // Each names its types and states in its own way.
    let seen = seen.replace("TransitionError", "Refused").replace(", Some(", "After");
    seen.replace(", None", "").replace("State(", "").replace(['(', ')'], "")
}

/// Panics with the first sequence on which one differs from the first.
pub fn all(players: &[fn(&[Operation]) -> String]) {
    for sequence in 0..OPERATIONS.pow(LENGTH) {
        let at = |at| Operation::ALL[sequence / OPERATIONS.pow(at) % OPERATIONS];
        let operations: Vec<_> = (0..LENGTH).map(at).collect();
        let expected = players[0](&operations);
        for player in players {
            assert_eq!(player(&operations), expected, "{operations:?}");
        }
    }
}
