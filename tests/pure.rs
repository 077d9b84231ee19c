//! No allocation, and no more dependencies than the manifest says.

use std::collections::BTreeSet;
use std::env;
use std::process::Command;

use task_lifecycle::{Event, Operation, State, Task};

/// Counts the allocations of one call.
fn allocations(work: impl FnOnce()) -> u64 {
    allocation_counter::measure(work).count_total
}

#[test]
fn no_operation_allocates() {
    // Every operation in every state, accepted or refused; all payloads are made before.
    for &state in State::ALL {
        for &operation in Operation::ALL {
            let make = || "a payload on the heap".to_owned();
            let mut task = in_state(state, make);
            let (update, edited) = (make(), make());
            let counted = allocations(|| {
                let _ = (
                    task.check(operation),
                    task.check_revision(1),
                    task.check_run(1),
                    task.previous(),
                );
                task.edit(|payload| *payload = edited);
                match Event::new(operation, update) {
                    Some(event) => drop(task.apply(event)),
                    None => drop(task.delete()),
                }
            });
            assert_eq!(counted, 0, "{operation} in {state:?}");
        }
    }
    // The counter counts.
    assert_eq!(allocations(|| drop(Box::new(1))), 1);
}

/// A task in `state`, by operations.
fn in_state<T>(state: State, make: impl Fn() -> T) -> Task<T> {
    use Event::{Cancel, Fail, Start, Succeed, Update};

    let paths = [
        vec![],
        vec![Start],
        vec![Start, Succeed],
        vec![Fail],
        vec![Cancel],
        vec![Start, Succeed, Update(make())],
        vec![Fail, Update(make())],
        vec![Start, Succeed, Update(make()), Start],
        vec![Fail, Update(make()), Start],
    ];
    let tasks = paths.into_iter().map(|path| {
        let mut task = Task::new(make());
        for event in path {
            task.apply(event).unwrap();
        }
        task
    });
    tasks.into_iter().find(|task| task.state() == state).unwrap()
}

#[test]
#[cfg(feature = "serde")]
fn reading_and_writing_allocate_as_a_plain_derive_does() {
    use serde::{Deserialize, Serialize};
    use task_lifecycle::Status;

    #[derive(Serialize, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Plain {
        status: Status,
        revision: u64,
        run: u64,
        payload: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        previous: Option<PlainPrevious>,
    }
    #[derive(Serialize, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct PlainPrevious {
        status: Status,
        payload: String,
    }

    for &state in State::ALL {
        let task = in_state(state, || "a payload".to_owned());
        let text = serde_json::to_string(&task).unwrap();
        let plain: Plain = serde_json::from_str(&text).unwrap();
        assert_eq!(
            allocations(|| drop(serde_json::from_str::<Task<String>>(&text).unwrap())),
            allocations(|| drop(serde_json::from_str::<Plain>(&text).unwrap())),
            "{text}"
        );
        assert_eq!(
            allocations(|| drop(serde_json::to_string(&task).unwrap())),
            allocations(|| drop(serde_json::to_string(&plain).unwrap())),
            "{text}"
        );
    }
}

#[test]
fn the_normal_dependencies_are_derives() {
    let tree = |features: &[&str]| -> BTreeSet<String> {
        let cargo = env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
        let output = Command::new(cargo)
            .args(["tree", "--edges=normal", "--prefix=none", "--format={p}", "--offline"])
            .args(["--manifest-path", concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml")])
            .args(features)
            .output()
            .expect("cargo");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let names = String::from_utf8(output.stdout).unwrap();
        names.lines().filter_map(|line| line.split(' ').next()).map(str::to_owned).collect()
    };
    let at_compile_time =
        ["heck", "proc-macro2", "quote", "strum_macros", "syn", "thiserror-impl", "unicode-ident"];
    let mut expected: BTreeSet<String> =
        ["strum", "thiserror", "task-lifecycle"].map(str::to_owned).into();
    expected.extend(at_compile_time.map(str::to_owned));
    assert_eq!(tree(&["--no-default-features"]), expected);
    expected.extend(["serde", "serde_core", "serde_derive"].map(str::to_owned));
    assert_eq!(tree(&[]), expected);
}
