//! What the pages show of the code, written by the code. `UPDATE_EXPECT=1 cargo test --test it`
//! mends every page and file that is compared.

use std::collections::BTreeSet;
use std::path::Path;

use expect_test::expect_file;
use task_lifecycle::{Operation, State, Status};

/// Compares a page with itself as a whole, with what stands between `<!-- name -->` and
/// `<!-- /name -->` generated.
pub(crate) fn compare(page: &str, regions: &[(&str, String)]) {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(page);
    let mut text = std::fs::read_to_string(&file).unwrap();
    for (name, generated) in regions {
        let (open, close) = (format!("<!-- {name} -->"), format!("<!-- /{name} -->"));
        let marks = text.find(&open).zip(text.find(&close));
        let (start, end) = marks.unwrap_or_else(|| panic!("{page} has no region {name}"));
        text.replace_range(start + open.len()..end, &format!("\n\n{}\n\n", generated.trim_end()));
    }
    expect_file![file].assert_eq(&text);
}

/// What an operation makes of a task in `status`: one answer for all of its states that are updates,
/// or that are not. Empty if it is refused.
fn becomes(operation: Operation, status: Status, update: bool) -> String {
    let states =
        State::ALL.iter().filter(|state| (state.status(), state.is_update()) == (status, update));
    let answers: Vec<_> =
        states.filter_map(|state| Some((state, state.apply(operation).ok()?))).collect();
    let reverts = |(state, next): &(&State, Option<State>)| {
        update
            && next.is_some_and(|next| state.previous() == Some(next.status()) && !next.is_update())
    };
    let words: BTreeSet<String> = match answers[..] {
        [_, ..] if answers.iter().all(reverts) => ["reverts".to_owned()].into(),
        _ => answers
            .iter()
            .map(|(_, next)| match next {
                None => "gone".to_owned(),
                Some(next) if next.is_update() && !update => {
                    format!("{}, an update", next.status())
                }
                Some(next) => next.status().to_string(),
            })
            .collect(),
    };
    Vec::from_iter(words).join(" or ")
}

fn table() -> String {
    let mut text =
        "| operation | accepted in | a new task becomes | an update becomes |\n|---|---|---|---|\n"
            .to_owned();
    for &operation in Operation::ALL {
        let accepted_in = operation.accepted_in();
        let column = |update| {
            let answers = accepted_in.iter().map(|&status| becomes(operation, status, update));
            let answers: BTreeSet<String> = answers.filter(|answer| !answer.is_empty()).collect();
            Vec::from_iter(answers).join(" or ")
        };
        let names: Vec<&str> = accepted_in.iter().map(|status| status.as_str()).collect();
        let (new, update) = (column(false), column(true));
        text += &format!("| `{operation}` | {} | {new} | {update} |\n", names.join(", "));
    }
    text.replace("|  |", "| |")
}

/// For each status its arrows, and where the arrow of an update leads elsewhere.
fn diagram() -> String {
    let mut text = "```text\n".to_owned();
    for &status in Status::ALL {
        text += &format!("{status}\n");
        let accepted: Vec<_> =
            Operation::ALL.iter().filter(|&&operation| status.accepts(operation)).collect();
        for (index, &&operation) in accepted.iter().enumerate() {
            let branch = if index + 1 == accepted.len() { '└' } else { '├' };
            let line = "─".repeat(8 - operation.as_str().len());
            let (new, update) =
                (becomes(operation, status, false), becomes(operation, status, true));
            let update = match update {
                other if other.is_empty() || other == new => String::new(),
                other => format!("an update {other}"),
            };
            text += format!(" {branch}─ {operation} {line}▶ {new:20}{update}").trim_end();
            text += "\n";
        }
    }
    text + "```"
}

#[test]
fn the_readme_shows_the_relation() {
    compare("README.md", &[("table", table()), ("diagram", diagram())]);
    let readme = include_str!("../../README.md");
    assert!(readme.contains(&format!("Rust {}", env!("CARGO_PKG_RUST_VERSION"))));
}
