//! What a dependency costs to build: a program of one line, from nothing.

use std::fs;
use std::path::Path;
use std::process::Command;

/// One dependent.
#[derive(Debug)]
pub struct Cold {
    pub name: String,
    /// Of CPU, user and system.
    pub seconds: f64,
    /// How many were compiled for it.
    pub crates: usize,
}

/// The first two; the others are the peers.
pub const OURS: usize = 0;
pub const TRIO: usize = 1;
pub const PEERS: usize = 2;
/// The crate and the derives are compared closely; of the peers the order is enough.
const PASSES: usize = 5;
const PASSES_OF_PEERS: usize = 2;

/// The version of a package, from the lock file.
pub fn version(package: &str) -> &'static str {
    let entry = format!("name = \"{package}\"\nversion = \"");
    let (_, rest) = include_str!("../Cargo.lock")
        .split_once(&entry)
        .unwrap_or_else(|| panic!("{package} is in the lock file"));
    rest.split('"').next().expect("a version")
}

/// Builds a dependent of the crate, of three derives, and of each peer, some times in turns; the
/// least counts.
pub fn build<'a>(root: &Path, scratch: &Path, peers: impl Iterator<Item = &'a str>) -> Vec<Cold> {
    let line =
        |name, features| format!("{name} = {{ version = \"{}\"{features} }}\n", version(name));
    let derive = ", default-features = false, features = [\"derive\"]";
    let three = [("serde", derive), ("strum", derive), ("thiserror", ", default-features = false")];
    let mut dependents = vec![
        ("task-lifecycle", format!("task-lifecycle = {{ path = \"{}\" }}", root.display())),
        (
            "serde derive + thiserror + strum",
            three.map(|(name, features)| line(name, features)).concat(),
        ),
    ];
    dependents.extend(peers.map(|name| (name, line(name, ""))));

    let mut colds: Vec<Cold> = Vec::new();
    for pass in 0..PASSES {
        let all = if pass < PASSES_OF_PEERS { dependents.len() } else { PEERS };
        for (number, (name, dependencies)) in dependents[..all].iter().enumerate() {
            let cold = build_one(name, dependencies, &scratch.join(format!("dependent-{number}")));
            match colds.get_mut(number) {
                Some(before) => before.seconds = before.seconds.min(cold.seconds),
                None => colds.push(cold),
            }
        }
    }
    colds
}

fn build_one(name: &str, dependencies: &str, directory: &Path) -> Cold {
    let _ = fs::remove_dir_all(directory); // it may not be there
    fs::create_dir_all(directory.join("src")).expect("a directory");
    let manifest = format!(
        "[package]\nname = \"dependent\"\nversion = \"0.0.0\"\nedition = \"2024\"\n\n\
         [dependencies]\n{dependencies}\n\n[workspace]\n",
    );
    fs::write(directory.join("Cargo.toml"), manifest).expect("a manifest");
    fs::write(directory.join("src/main.rs"), "fn main() {}").expect("a program");
    // The versions that are measured; cargo drops from it what is not needed.
    fs::write(directory.join("Cargo.lock"), include_str!("../Cargo.lock")).expect("a lock file");

    let output = Command::new("bash")
        .args(["-c", "TIMEFORMAT='%U %S'; time cargo build --offline"])
        .current_dir(directory)
        .env_remove("CARGO_TARGET_DIR")
        .output()
        .expect("bash and cargo are installed");
    let output = String::from_utf8_lossy(&output.stderr);
    let times: Vec<f64> = output
        .lines()
        .last()
        .unwrap_or_default()
        .split(' ')
        .filter_map(|part| part.parse().ok())
        .collect();
    let compiled =
        output.lines().filter(|line| line.trim_start().starts_with("Compiling ")).count();
    assert!(times.len() == 2 && directory.join("target/debug/dependent").exists(), "{output}");
    Cold { name: name.to_owned(), seconds: times.iter().sum(), crates: compiled - 1 }
}
