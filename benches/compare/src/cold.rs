//! What a dependency costs to build: a program of one line, from nothing.

use std::fs;
use std::path::Path;
use std::process::Command;

/// The least of so many builds counts.
const PASSES: usize = 5;

/// The version of a package, from the lock file.
pub fn version(package: &str) -> &'static str {
    let entry = format!("name = \"{package}\"\nversion = \"");
    let rest = include_str!("../Cargo.lock").split(&entry).nth(1);
    rest.and_then(|rest| rest.split('"').next()).expect("a package of the lock file")
}

/// Seconds of CPU for a dependent of the crate, and for one of the three derives, in turns.
pub fn build(root: &Path, scratch: &Path) -> [f64; 2] {
    let derive = ["serde", "strum", "thiserror"].map(|name| {
        let features = if name == "thiserror" { "" } else { ", features = [\"derive\"]" };
        let version = version(name);
        format!("{name} = {{ version = \"{version}\", default-features = false{features} }}\n")
    });
    let crate_itself = format!("task-lifecycle = {{ path = \"{}\" }}\n", root.display());
    let mut least = [f64::INFINITY; 2];
    for _ in 0..PASSES {
        for (least, dependencies) in least.iter_mut().zip([&crate_itself, &derive.concat()]) {
            *least = least.min(build_one(dependencies, &scratch.join("dependent")));
        }
    }
    least
}

fn build_one(dependencies: &str, directory: &Path) -> f64 {
    let _ = fs::remove_dir_all(directory); // it may not be there
    fs::create_dir_all(directory.join("src")).expect("a directory");
    let package = "[package]\nname = \"dependent\"\nversion = \"0.0.0\"\nedition = \"2024\"\n";
    let manifest = format!("{package}\n[workspace]\n\n[dependencies]\n{dependencies}");
    fs::write(directory.join("Cargo.toml"), manifest).expect("a manifest");
    fs::write(directory.join("src/main.rs"), "fn main() {}").expect("a program");
    // The versions that are measured; cargo drops from it what is not needed.
    fs::write(directory.join("Cargo.lock"), include_str!("../Cargo.lock")).expect("a lock file");
    let script = "TIMEFORMAT='%U %S'; time cargo build --quiet --offline";
    let mut build = Command::new("bash");
    build.args(["-c", script]).current_dir(directory).env_remove("CARGO_TARGET_DIR");
    let output = build.output().expect("bash and cargo are installed");
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(directory.join("target/debug/dependent").exists(), "{text}");
    text.split_whitespace().map(|part| part.parse::<f64>().expect("seconds")).sum()
}
