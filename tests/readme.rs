//! The README says what the code does: table, diagram, laws, versions, features.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use task_lifecycle::{Operation, State, Status};

const README: &str = include_str!("../README.md");
const MANIFEST: &str = include_str!("../Cargo.toml");

/// The lines between `start` and the next line that is `end`.
fn block<'a>(start: &str, end: &str) -> impl Iterator<Item = &'a str> {
    let lines = README.lines().skip_while(move |line| *line != start).skip(1);
    let lines: Vec<_> = lines.take_while(|line| *line != end).collect();
    assert!(!lines.is_empty(), "no block after {start}");
    lines.into_iter()
}

fn words(cell: &str) -> Vec<&str> {
    cell.split('`').skip(1).step_by(2).collect()
}

/// The drawing, with the end of each arrow as the relation has it.
#[test]
fn the_diagram_is_the_relation() {
    let [starting, processing, succeeded, failed, cancelled, updates @ ..] = State::ALL else {
        panic!("nine states")
    };
    let (waiting, working) = updates.split_at(2);
    let mut drawn = Vec::new();
    let mut to = |from: &[State], operation: Operation| {
        let ends = from.iter().map(|&state| {
            drawn.push((state, operation));
            let next = state.apply(operation).expect("an arrow that is drawn");
            match next {
                None => "gone".to_owned(),
                Some(next) if !next.is_update() && operation != Operation::Succeed => {
                    let reverts = state.previous() == Some(next.status());
                    let end = if reverts { "reverts" } else { next.status().as_str() };
                    end.to_owned()
                }
                Some(next) => next.status().to_string(),
            }
        });
        let ends: BTreeSet<String> = ends.collect();
        assert_eq!(ends.len(), 1, "one arrow, two ends: {ends:?}");
        ends.into_iter().collect::<String>()
    };
    let finished = [*succeeded, *failed];
    let new = format!(
        "\
new
 │
 ▼           start                   succeed
{start} ──────────────▶ {work} ─────────▶ {done}
 │ ▲                      │ │
 │ └─────── retry ────────┘ └─ fail ─────────▶ {broken}
 ├─ cancel ────────────▶ {cancelled}
 └─ fail ──────────────▶ {failed}
",
        start = to(&[*processing], Operation::Retry),
        work = to(&[*starting], Operation::Start),
        done = to(&[*processing], Operation::Succeed),
        broken = to(&[*processing], Operation::Fail),
        cancelled = to(&[*starting], Operation::Cancel),
        failed = to(&[*starting], Operation::Fail),
    );
    let update = format!(
        "
{} or {}
 │
 │ update    start                   succeed
 └▶ {start} ───────────▶ {work} ─────────▶ {done}
     │ ▲                   │ │
     │ └───── retry ───────┘ └─ fail ─────────▶ {broken}
     ├─ cancel ────────▶ {cancelled}
     └─ fail ──────────▶ {failed}

{}, {} or {} ─ delete ──────▶ {gone}
",
        succeeded.status(),
        failed.status(),
        succeeded.status(),
        failed.status(),
        cancelled.status(),
        start = to(&finished, Operation::Update),
        work = to(waiting, Operation::Start),
        done = to(working, Operation::Succeed),
        broken = to(working, Operation::Fail),
        cancelled = to(waiting, Operation::Cancel),
        failed = to(waiting, Operation::Fail),
        gone = to(&[*succeeded, *failed, *cancelled], Operation::Delete),
    );
    assert_eq!(to(working, Operation::Retry), to(&[*processing], Operation::Retry));
    let shown: Vec<&str> = block("```text", "```").collect();
    assert_eq!(shown.join("\n") + "\n", new + &update);

    // And no arrow is missing.
    for &state in State::ALL {
        for &operation in Operation::ALL {
            let is_drawn = drawn.contains(&(state, operation));
            assert_eq!(state.apply(operation).is_ok(), is_drawn, "{operation} in {state}");
        }
    }
}

#[test]
fn the_table_is_the_relation() {
    let header = "| operation | accepted in | a new task becomes | an update becomes |";
    let rows: Vec<Vec<&str>> = block(header, "")
        .skip(1)
        .map(|line| line.split('|').skip(1).take(4).map(str::trim).collect())
        .collect();
    assert_eq!(rows.len(), Operation::ALL.len());
    for (row, &operation) in rows.iter().zip(Operation::ALL) {
        let [named, accepted_in, new, update] = row[..] else { panic!("{row:?}") };
        assert_eq!(words(named), [operation.as_str()]);
        let statuses: Vec<&str> =
            operation.accepted_in().iter().map(|status| status.as_str()).collect();
        assert_eq!(accepted_in, statuses.join(", "), "{operation}");

        // What it becomes, over all the states in which it is accepted.
        let becomes = |is_update: bool| -> String {
            let states = State::ALL.iter().filter(|state| state.is_update() == is_update);
            let ends: BTreeSet<String> = states
                .filter_map(|&state| {
                    let next = state.apply(operation).ok()?;
                    Some(match next {
                        None => "gone".to_owned(),
                        Some(next) if next.is_update() && !is_update => {
                            format!("{}, an update", next.status())
                        }
                        Some(next)
                            if is_update
                                && !next.is_update()
                                && operation != Operation::Succeed =>
                        {
                            assert_eq!(Some(next.status()), state.previous());
                            "reverts".to_owned()
                        }
                        Some(next) => next.status().to_string(),
                    })
                })
                .collect();
            ends.into_iter().collect()
        };
        assert_eq!(
            (becomes(false), becomes(true)),
            (new.to_owned(), update.to_owned()),
            "{operation}"
        );
    }
}

/// The names of the laws that `text` has between `before` and `after`, in its order.
fn laws(text: &str, before: &str, after: &str) -> Vec<String> {
    let parts = text.split(before).skip(1);
    let names = parts.filter_map(|part| part.split_once(after));
    names.map(|(name, _)| name.to_owned()).collect()
}

/// Every Rust file of a folder, as one text.
fn source(folder: &str) -> String {
    let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join(folder)];
    let mut text = String::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                text += &fs::read_to_string(path).unwrap();
            }
        }
    }
    text
}

/// Each law stands once as a test, enumerated in `relation.rs` or a property in `laws.rs`, as a tag where the source keeps it, and where
/// the model of the protocol has a counterpart, as a tag there.
#[test]
fn every_law_has_its_test_and_its_place_in_the_source() {
    let tests = concat!(include_str!("relation.rs"), include_str!("laws.rs"));
    let named = laws(tests, "fn prop_", "(");
    assert_eq!(named.len(), 12);

    let sorted = |mut names: Vec<String>| {
        names.sort();
        names
    };
    assert_eq!(sorted(laws(&source("src"), "// law: ", "\n")), sorted(named.clone()));

    let in_the_model = laws(&source("tests/model/src"), "// law: ", "\n");
    let mut distinct = in_the_model.clone();
    distinct.sort();
    distinct.dedup();
    assert!(distinct.len() == in_the_model.len() && distinct.len() >= 3, "{in_the_model:?}");
    assert!(distinct.iter().all(|law| named.contains(law)), "{in_the_model:?}");
}

#[test]
fn versions_and_features_are_the_manifests() {
    let rust = env!("CARGO_PKG_RUST_VERSION");
    assert!(README.contains(&format!("Rust {rust} or later")), "{rust}");

    let listed: Vec<&str> = block("| feature | default | what it adds |", "")
        .skip(1)
        .map(|row| words(row)[0])
        .collect();
    let features = MANIFEST.split("[features]").nth(1).unwrap().split("\n[").next().unwrap();
    let declared: Vec<&str> = features
        .lines()
        .filter_map(|line| line.split_once(" = ["))
        .map(|(name, _)| name)
        .filter(|name| *name != "default")
        .collect();
    assert_eq!(listed, declared);
}

#[test]
fn every_status_and_operation_is_named() {
    for word in Status::ALL.iter().map(Status::to_string) {
        assert!(README.contains(&format!("`{word}`")), "{word}");
    }
}

/// The figures of the README are those that the commands wrote into the pages that it names.
#[test]
fn figures_are_those_of_the_pages() {
    let states = README.split(" states in a [model checker]").next();
    let states = states.and_then(|text| text.split_whitespace().last());
    let states = states.unwrap_or_default().replace(',', "");
    assert!(include_str!("README.md").contains(&format!("| {states} |")), "{states}");

    let costs = README.split("## Alternatives").nth(1).unwrap_or_default();
    let rows: Vec<&str> = costs.lines().filter(|line| line.starts_with('|')).collect();
    assert!(rows.len() > 3, "a table with figures");
    for row in rows {
        let page = include_str!("../benches/README.md");
        assert!(page.lines().any(|line| line == row), "{row}");
    }
}
