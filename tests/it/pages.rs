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
        text.replace_range(start + open.len()..end, &format!("\n{}\n", generated.trim_end()));
    }
    expect_file![file].assert_eq(&text);
}

/// What an operation makes of new tasks, or of updates, in one of `statuses`.
fn becomes(operation: Operation, statuses: &[Status], update: bool) -> String {
    let answer = |&from: &State| Some((from, from.apply(operation).ok()?));
    let listed = |it: &&State| statuses.contains(&it.status()) && it.is_update() == update;
    let answers: Vec<_> = State::ALL.iter().filter(listed).filter_map(answer).collect();
    let reverted = |from: State| Some(State::from_parts(from.previous()?, None).unwrap());
    if update && answers.iter().all(|&(from, to)| to == reverted(from)) {
        return if answers.is_empty() { String::new() } else { "reverts".to_owned() };
    }
    let words = answers.iter().map(|(from, to)| match to {
        None => "gone".to_owned(),
        Some(to) if to.is_update() && !from.is_update() => format!("{}, an update", to.status()),
        Some(to) => to.status().to_string(),
    });
    words.collect::<BTreeSet<_>>().into_iter().collect::<Vec<_>>().join(" or ")
}

fn table() -> String {
    let rows = Operation::ALL.iter().map(|&operation| {
        let statuses = operation.accepted_in();
        let names: Vec<&str> = statuses.iter().map(|status| status.as_str()).collect();
        let [new, update] = [false, true].map(|update| becomes(operation, statuses, update));
        format!("\n| `{operation}` | {} | {new} | {update} |", names.join(", "))
    });
    let header =
        "| operation | accepted in | a new task becomes | an update becomes |\n|---|---|---|---|";
    header.to_owned() + &rows.collect::<String>().replace("|  |", "| |")
}

/// For each status its arrows, and where the arrow of an update leads elsewhere.
fn diagram() -> String {
    let mut lines = vec!["```text".to_owned()];
    for &status in Status::ALL {
        lines.push(status.to_string());
        let mut accepted = Operation::ALL.iter().filter(|it| status.accepts(**it)).peekable();
        while let Some(&operation) = accepted.next() {
            let branch = if accepted.peek().is_some() { '├' } else { '└' };
            let line = "─".repeat(8 - operation.as_str().len());
            let [new, update] = [false, true].map(|update| becomes(operation, &[status], update));
            let is_other = !update.is_empty() && update != new;
            let note = if is_other { format!("an update {update}") } else { String::new() };
            let arrow = format!(" {branch}─ {operation} {line}▶ {new:20}{note}");
            lines.push(arrow.trim_end().to_owned());
        }
    }
    lines.join("\n") + "\n```"
}

#[test]
fn the_readme_shows_the_relation() {
    compare("README.md", &[("table", table()), ("diagram", diagram())]);
    let oldest = concat!("Rust ", env!("CARGO_PKG_RUST_VERSION"));
    assert!(include_str!("../../README.md").contains(oldest), "{oldest}");
}
