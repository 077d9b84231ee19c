//! The README says what the code does: table, diagram, laws, versions, features.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use task_lifecycle::{Operation, State, Status};

const README: &str = include_str!("../README.md");
const MANIFEST: &str = include_str!("../Cargo.toml");

/// The lines between `start` and the next line that is `end`.
fn block<'a>(start: &str, end: &str) -> impl Iterator<Item = &'a str> {
    let lines = README
        .lines()
        .skip_while(move |line| *line != start)
        .skip(1);
    let lines: Vec<_> = lines.take_while(|line| *line != end).collect();
    assert!(!lines.is_empty(), "no block after {start}");
    lines.into_iter()
}

fn words(cell: &str) -> Vec<&str> {
    cell.split('`').skip(1).step_by(2).collect()
}

/// A state as the diagram names it.
fn name(state: State) -> String {
    match state.previous() {
        None => state.status().to_string(),
        Some(previous) => format!("{}After{previous}", state.status()),
    }
}

#[test]
fn the_diagram_is_the_relation() {
    let mut drawn = BTreeSet::new();
    for line in block("```mermaid", "```").filter(|line| line.contains("-->")) {
        assert!(drawn.insert(line.trim().to_owned()), "drawn twice: {line}");
    }
    let mut expected = BTreeSet::from([format!("[*] --> {}: new", name(State::NEW))]);
    for &state in State::ALL {
        for &operation in Operation::ALL {
            if let Ok(next) = state.apply(operation) {
                let next = next.map_or("[*]".to_owned(), name);
                expected.insert(format!("{} --> {next}: {operation}", name(state)));
            }
        }
    }
    assert_eq!(drawn, expected);
}

#[test]
fn the_diagram_labels_each_update() {
    let labels: Vec<_> = block("```mermaid", "```")
        .filter(|line| line.contains(" as "))
        .collect();
    let updates = State::ALL.iter().filter(|state| state.is_update());
    let expected: Vec<_> = updates
        .map(|&state| {
            let (status, previous) = (state.status(), state.previous().unwrap());
            let name = name(state);
            format!("    state \"{status} (an update, was {previous})\" as {name}")
        })
        .collect();
    assert_eq!(labels, expected);
}

#[test]
fn the_table_is_the_relation() {
    let header = "| operation | accepted in | a new task becomes | an updating task becomes | run | payload released |";
    let rows: Vec<Vec<&str>> = block(header, "")
        .skip(1)
        .map(|line| line.split('|').skip(1).take(6).map(str::trim).collect())
        .collect();
    assert_eq!(rows.len(), Operation::ALL.len());
    for (row, &operation) in rows.iter().zip(Operation::ALL) {
        let [named, accepted_in, new, updating, run, payload] = row[..] else {
            panic!("{row:?}")
        };
        assert_eq!(words(named), [operation.to_string()]);
        let statuses: Vec<&str> = operation
            .accepted_in()
            .iter()
            .map(|status| status.as_str())
            .collect();
        assert_eq!(words(accepted_in), statuses, "{operation}");

        // What it becomes, over all the states in which it is accepted.
        let become_of = |update: bool| -> BTreeSet<String> {
            let states = State::ALL
                .iter()
                .filter(|state| state.is_update() == update);
            states
                .filter_map(|&state| {
                    let next = state.apply(operation).ok()?;
                    Some(match next {
                        None => "gone".to_owned(),
                        Some(next) if update && next.is_update() => {
                            assert_eq!(next.previous(), state.previous());
                            format!("`{}`", next.status())
                        }
                        Some(next) if update && operation != Operation::Succeed => {
                            assert_eq!(Some(next.status()), state.previous());
                            "reverts".to_owned()
                        }
                        Some(next) if next.is_update() => format!("`{}`, updating", next.status()),
                        Some(next) => format!("`{}`", next.status()),
                    })
                })
                .collect()
        };
        let cell = |text: &str| -> BTreeSet<String> {
            let text = text.trim_end_matches(", same previous state");
            [text.to_owned()]
                .into_iter()
                .filter(|text| !text.is_empty())
                .collect()
        };
        assert_eq!(become_of(false), cell(new), "{operation}, new");
        assert_eq!(become_of(true), cell(updating), "{operation}, updating");

        let (counted, released) = match operation {
            Operation::Start => ("same", "none"),
            Operation::Retry | Operation::Update => ("+ 1", "none"),
            Operation::Succeed => ("same", "updating: the previous one"),
            Operation::Fail => ("same", "updating: the failed one"),
            Operation::Cancel => ("same", "updating: the cancelled one"),
            Operation::Delete => ("", "the payload"),
        };
        assert_eq!((run, payload), (counted, released), "{operation}");
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

/// Each law stands once in the README, as a property in `laws.rs`, as a tag where the source keeps
/// it, and where the model of the protocol has a counterpart, as a tag there.
#[test]
fn every_law_has_its_property_and_its_place_in_the_source() {
    let named = laws(README, ". `prop_", "`");
    assert_eq!(named.len(), 12);
    assert_eq!(named, laws(include_str!("laws.rs"), "fn prop_", "("));

    let sorted = |mut names: Vec<String>| {
        names.sort();
        names
    };
    assert_eq!(
        sorted(laws(&source("src"), "// law: ", "\n")),
        sorted(named.clone())
    );

    let in_the_model = laws(&source("tests/model/src"), "// law: ", "\n");
    let mut distinct = in_the_model.clone();
    distinct.sort();
    distinct.dedup();
    assert!(
        distinct.len() == in_the_model.len() && distinct.len() >= 3,
        "{in_the_model:?}"
    );
    assert!(
        distinct.iter().all(|law| named.contains(law)),
        "{in_the_model:?}"
    );
}

#[test]
fn versions_and_features_are_the_manifests() {
    let version = env!("CARGO_PKG_VERSION").rsplit_once('.').unwrap().0;
    assert!(
        README.contains(&format!("task-lifecycle = \"{version}\"")),
        "{version}"
    );
    let rust = env!("CARGO_PKG_RUST_VERSION");
    assert!(README.contains(&format!("Rust {rust} or later")), "{rust}");

    let listed: Vec<&str> = block("| feature | default | what it adds |", "")
        .skip(1)
        .map(|row| words(row)[0])
        .collect();
    let features = MANIFEST
        .split("[features]")
        .nth(1)
        .unwrap()
        .split("\n[")
        .next()
        .unwrap();
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
    let section = |title: &str| {
        let text = README.split(title).nth(1).expect(title);
        text.split("\n## ").next().unwrap_or_default().to_owned()
    };
    let verified = section("## How it is verified").replace(',', "");
    let figures: Vec<&str> = verified
        .split(|letter: char| !letter.is_ascii_digit())
        .filter(|it| it.len() > 3)
        .collect();
    assert_eq!(figures.len(), 2);
    for figure in figures {
        assert!(include_str!("README.md").contains(figure), "{figure}");
    }

    let costs = section("## What it costs");
    let rows: Vec<&str> = costs.lines().filter(|line| line.starts_with('|')).collect();
    assert!(rows.len() > 3, "a table with figures");
    for row in rows {
        let page = include_str!("../benches/README.md");
        assert!(page.lines().any(|line| line == row), "{row}");
    }
}
