//! The command line, and what the README says of it.

use std::process::{Command, Output};

use crate::PROGRAM;

fn run(arguments: &[&str]) -> Output {
    Command::new(PROGRAM).args(arguments).output().unwrap()
}

#[test]
fn help_names_every_option() {
    let help = String::from_utf8(run(&["--help"]).stdout).unwrap();
    for option in [
        "--listen",
        "--database",
        "--workers",
        "--no-server",
        "--api-key",
        "--api-keys-file",
        "--work-millis",
        "--lease-seconds",
        "--attempts",
        "--longest-run-seconds",
        "--keep-events-days",
    ] {
        assert!(help.contains(option), "{option}");
    }
}

#[test]
fn what_makes_no_sense_is_refused() {
    for (arguments, fault) in [
        (&["--api-key", "no-user"][..], "KEY=USER"),
        (&["--api-key", "=user"], "KEY=USER"),
        (&["--database", "sqlite::memory:", "--api-keys-file", "/dev/null/x"], "/dev/null/x"),
        (&["--lease-seconds", "0"], "0 is not in 1..=86400"),
        (&["--attempts", "0"], "0 is not in 1.."),
        (&["--workers", "-1"], "unexpected argument '-1'"),
        (&["--listen", "nowhere"], "invalid socket address"),
        (&["--no-server", "--workers", "0"], "no work"),
        (&["--database", "mysql://localhost/x"], "no driver found for URL scheme \"mysql\""),
        (&["--database", "sqlite:///no/such/folder/tasks.db"], "unable to open database file"),
        (&["--database", "sqlite::memory:", "--listen", "0.0.0.0:0"], "choose an --api-key"),
    ] {
        let output = run(arguments);
        let text = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success() && text.contains(fault), "{arguments:?}: {text}");
    }
}

const README: &str = include_str!("../../README.md");

#[test]
fn the_readme_quotes_the_route() {
    let quoted = README.split("```rust\n").nth(1).unwrap().split("```").next().unwrap();
    assert!(include_str!("../../src/routes.rs").contains(quoted));
}

#[test]
fn the_readme_names_every_hazard() {
    let hazards = include_str!("hazards.rs");
    let tests = hazards
        .split("#[tokio::test]\nasync fn ")
        .skip(1)
        .map(|test| test.split('(').next().unwrap());
    for test in tests {
        assert!(README.contains(&format!("| `{test}` |")), "{test}");
    }
}
