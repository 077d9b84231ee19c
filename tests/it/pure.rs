//! No allocation, and no dependency but derives.

use std::collections::BTreeSet;
use std::process::Command;

use allocation_counter::measure;
use task_lifecycle::{Draft, Event, Operation, State};

use crate::common::task_in;

#[test]
fn no_operation_allocates() {
    for &state in State::ALL {
        for &operation in Operation::ALL {
            // All payloads are made before.
            let make = |_| "a payload on the heap".to_owned();
            let (loaded, update, edited) = (task_in(state, make), make(0), make(0));
            let counted = measure(|| {
                let mut draft = Draft::new(loaded);
                draft.edit(|payload| *payload = edited);
                let _ = (draft.queued(), draft.taken(), draft.previous());
                let _ = (draft.check(operation), draft.outcome(Some(&*draft)));
                match Event::new(operation, update) {
                    Some(event) => drop(draft.apply(event)),
                    None => drop(draft.into_task().delete()),
                }
            });
            assert_eq!(counted.count_total, 0, "{operation} in {state}");
        }
    }
    assert_eq!(measure(|| drop(Box::new(1))).count_total, 1, "the counter counts");
}

#[test]
fn the_normal_dependencies_are_derives() {
    let arguments = "tree --edges=normal,no-proc-macro --prefix=none --format={p} --offline";
    let mut command = Command::new(env!("CARGO"));
    command.args(arguments.split(' ')).current_dir(env!("CARGO_MANIFEST_DIR"));
    let text = String::from_utf8(command.output().expect("cargo").stdout).unwrap();
    let names: BTreeSet<&str> = text.lines().filter_map(|line| line.split(' ').next()).collect();
    let expected = ["serde", "serde_core", "strum", "task-lifecycle", "thiserror"];
    assert!(names.iter().eq(&expected), "{names:?}");
}
