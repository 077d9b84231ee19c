//! The laws about whole histories, and the list of all laws.

use std::fs;
use std::path::Path;
use std::process::Command;

use task_lifecycle::{Draft, Event, Operation, Outcome, Released, State, Status, Task};

use crate::client::Watched;
use crate::common::{PATHS, counted, task_in, task_in_each_state};

/// In the order of the crate's promises. Each is a test `prop_…` here, and a tag `// law: …` in the
/// source where it is kept.
#[rustfmt::skip]
const LAWS: [&str; 14] = [
    "relation", "starting_only", "identity", "unchanged_on_refusal", "nothing_lost", "counted", "dry_run",
    "one_table", "stored_form", "no_panic", "parametric", "fenced", "drafted", "seed",
];

#[test]
fn each_law_has_a_test_and_its_place_in_the_source() {
    let names = |folder: &str, before: &str, after: char| -> Vec<String> {
        let files = fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(folder)).unwrap();
        let texts = files.map(|file| fs::read_to_string(file.unwrap().path()).unwrap_or_default());
        let text = texts.collect::<String>();
        let lines = text.lines().filter_map(|line| line.trim().strip_prefix(before));
        let mut names: Vec<_> =
            lines.map(|rest| rest.split(after).next().unwrap().to_owned()).collect();
        names.sort_unstable();
        names
    };
    let mut laws = LAWS;
    laws.sort_unstable();
    assert_eq!(names("tests/it", "fn prop_", '('), laws);
    assert_eq!(names("src", "// law: ", ' '), laws);
}

/// Each end of every update of a finished task is a revert, with retries and edits in between.
#[test]
fn prop_identity() {
    use Event::{Cancel, Fail, Start};
    for from in State::ALL.iter().filter(|state| state.status().is_finished()) {
        for (rounds, edits) in (0..4).flat_map(|rounds| (0..3).map(move |edits| (rounds, edits))) {
            for end in [&[Cancel][..], &[Fail], &[Start, Fail]] {
                let mut task = task_in(*from, |number| number);
                task.update(10).unwrap();
                for _ in 0..rounds {
                    task.start().unwrap();
                    (0..edits).for_each(|_| task.edit(|payload| *payload += 1));
                    task.retry().unwrap();
                }
                let last =
                    end.iter().map(|event| task.apply(event.clone()).unwrap()).last().unwrap();
                assert_eq!((task.state(), task.payload(), task.previous()), (*from, &0, None));
                assert_eq!((last.to, last.reverted()), (*from, true));
                assert_eq!(last.released, Released::Update(10 + rounds * edits));
            }
        }
    }
}

/// Tries every operation and an edit, and goes on from what the task becomes. Counts sequences.
fn walk(watched: &Watched, left: u32) -> u64 {
    if left == 0 {
        return 0;
    }
    let operations = Operation::ALL.iter().copied().map(Some).chain([None]);
    operations.fold(0, |sequences, operation| {
        let mut next = watched.clone();
        sequences + 1 + if next.step(operation) { walk(&next, left - 1) } else { 0 }
    })
}

/// Every sequence up to a length: 6, or `TASK_LIFECYCLE_LENGTH`.
#[test]
fn all_sequences_show_what_a_client_expects() {
    let length = std::env::var("TASK_LIFECYCLE_LENGTH");
    let length = length.map_or(6, |length| length.parse().expect("a length"));
    let sequences = walk(&Watched::new(), length);
    println!("{sequences} sequences up to length {length}");
    if length == 6 {
        assert_eq!(sequences, 242_672, "other sequences are tried than before");
    }
}

/// Plays every sequence of four on a draft, from each state.
#[test]
fn prop_drafted() {
    for path in PATHS {
        let mut watched = Watched::new();
        for &operation in path {
            assert!(watched.step(Some(operation)));
        }
        watched.load();
        assert!(walk(&watched, 4) > 2000);
    }
}

/// Equal: made. Else by the revision that was found, counted from the loaded one.
#[test]
fn outcome_is_by_equality_and_then_by_revision() {
    use Outcome::{Lost, Made, Open, Unknown};
    #[rustfmt::skip]
    let table = [
        // changes in the draft; found at the loaded revision and … more
        //     -1       0     1        2        3
        (0_u64, [Unknown, Open, Unknown, Unknown, Unknown]),
        (1,     [Unknown, Open, Lost,    Unknown, Unknown]),
        (2,     [Unknown, Open, Lost,    Lost,    Unknown]),
    ];
    for (loaded, (changes, row)) in
        [0, u64::MAX - 1, u64::MAX].iter().flat_map(|at| table.map(|row| (at, row)))
    {
        let mut draft = Draft::new(counted(Task::new(0), *loaded, 3));
        (0..changes).for_each(|_| draft.edit(|payload| *payload += 1));
        assert_eq!((draft.outcome(Some(&*draft)), draft.outcome(None)), (Made, Unknown));
        for found in task_in_each_state(|number| number + 99) {
            for (more, expected) in (0..).zip(row) {
                let revision = loaded.wrapping_add(more).wrapping_sub(1);
                let found = counted(found.clone(), revision, 3);
                assert_eq!(draft.outcome(Some(&found)), expected, "{found:?} for {draft:?}");
            }
        }
    }
}

/// With any of the three rules of the Cancel Task page broken, `src/state.rs` does not compile. Nor
/// does it if one of the lists `ALL`, of which its neighbours are made here, is incomplete.
#[test]
fn prop_seed() {
    let statuses = format!("{:?}", Status::ALL).replace(['[', ']'], "");
    let operations = format!("{:?}", Operation::ALL).replace(['[', ']'], "");
    let neighbours = format!(
        "mod state;
        pub use state::State;
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
        pub enum Status {{ {statuses} }}
        impl std::fmt::Display for Status {{
            fn fmt(&self, _: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {{ Ok(()) }}
        }}
        #[derive(Clone, Copy)]
        pub enum Operation {{ {operations} }}
        pub enum SnapshotError {{ UnexpectedPrevious {{ status: Status }}, PreviousNotFinished {{ status: Status }} }}
        pub struct TransitionError;
        impl TransitionError {{ const fn new(_: Operation, _: State) -> Self {{ Self }} }}",
    );
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
    fs::write(folder.join("lib.rs"), neighbours).unwrap();
    let compile = |state: &str| {
        fs::write(folder.join("state.rs"), state).unwrap();
        let mut command = Command::new(Path::new(env!("CARGO")).with_file_name("rustc"));
        command.args(["--edition=2024", "--crate-type=lib", "--emit=metadata", "lib.rs"]);
        let output = command.current_dir(folder).output().expect("rustc beside cargo");
        String::from_utf8(output.stderr).unwrap()
    };

    let state = include_str!("../../src/state.rs");
    let whole = compile(state);
    assert!(!whole.contains("error"), "{whole}");
    #[rustfmt::skip]
    let faults = [
        ("pick(Repr::Cancelled,  Repr::Succeeded", "pick(Repr::Failed, Repr::Succeeded", "a new task becomes Cancelled"),
        ("pick(Repr::Cancelled,  Repr::Succeeded", "pick(Repr::Cancelled, Repr::Failed", "an updating task reverts to its previous state"),
        ("(Cancel,  Starting)", "(Cancel, Starting | Processing)", "a task can be cancelled only in status Starting"),
    ];
    for (cell, broken, rule) in faults {
        assert!(state.contains(cell), "{cell} is not in src/state.rs");
        let said = compile(&state.replace(cell, broken));
        assert!(said.contains(rule), "{rule}: {said}");
    }
}
