//! What a dependency costs to build: a program of one line, from nothing.

use std::fs;
use std::path::Path;
use std::process::Command;

use peers::Family;
use peers::machines;

/// One dependent.
#[derive(Debug)]
pub struct Cold {
    pub name: String,
    /// Of CPU, user and system.
    pub seconds: f64,
    pub dependencies: usize,
}

pub const OURS: &str = "task-lifecycle";
pub const TRIO: &str = "serde derive + thiserror + strum";
const PASSES: usize = 3;

struct Dependent {
    name: String,
    dependencies: String,
    code: &'static str,
}

fn dependents(root: &Path) -> Vec<Dependent> {
    let ours = |name: &str, features: &str| Dependent {
        name: name.to_owned(),
        dependencies: format!(
            "task-lifecycle = {{ path = \"{}\"{features} }}",
            root.display()
        ),
        code: "fn main() { task_lifecycle::Task::new(()).cancel().unwrap(); }",
    };
    let peer = |name: &str, code| Dependent {
        name: name.to_owned(),
        dependencies: format!("{name} = \"{}\"", version(name)),
        code,
    };
    vec![
        ours(OURS, ""),
        ours("task-lifecycle, no features", ", default-features = false"),
        Dependent {
            name: TRIO.to_owned(),
            dependencies: ["serde", "thiserror", "strum"]
                .map(|name| {
                    let derive = if name == "thiserror" { "" } else { ", features = [\"derive\"]" };
                    let version = version(name);
                    format!("{name} = {{ version = \"{version}\", default-features = false{derive} }}\n")
                })
                .concat(),
            code: "#[derive(serde::Serialize, serde::Deserialize, strum::Display, strum::EnumString)]
                   enum Status { Starting }
                   #[derive(thiserror::Error, Debug)] #[error(\"refused\")] struct Refused;
                   fn main() { println!(\"{} {}\", Status::Starting, Refused); }",
        },
        peer(
            machines::finny::Finny::NAME,
            "use finny::{FsmFactory, decl::{BuiltFsm, FsmBuilder}, finny_fsm};
             #[derive(Default)] pub struct On; #[derive(Clone)] pub struct Press;
             #[finny_fsm]
             fn lamp(mut fsm: FsmBuilder<Lamp, ()>) -> BuiltFsm {
                 fsm.state::<On>().on_event::<Press>().self_transition();
                 fsm.initial_state::<On>();
                 fsm.build()
             }
             fn main() { Lamp::new(()).unwrap().start().unwrap(); }",
        ),
        peer(
            machines::fsmentry::Fsmentry::NAME,
            "fsmentry::fsmentry! { enum Lamp { On -> Off } }
             fn main() { if let LampEntry::On(to) = Lamp::On.entry() { to.off(); } }",
        ),
        peer(
            machines::rust_fsm::RustFsm::NAME,
            "rust_fsm::state_machine! { lamp(On) On(Press) => Off }
             fn main() { let _ = lamp::StateMachine::new().consume(&lamp::Input::Press); }",
        ),
        peer(
            machines::smlang::Smlang::NAME,
            "smlang::statemachine! { transitions: { *On + Press = Off } }
             struct Nothing; impl StateMachineContext for Nothing {}
             fn main() { let _ = StateMachine::new(Nothing).process_event(Events::Press); }",
        ),
        peer(
            machines::statig::Statig::NAME,
            "use statig::prelude::*;
             struct Lamp; struct Press;
             #[state_machine(initial = \"State::on()\")]
             impl Lamp { #[state] fn on(event: &Press) -> Outcome<State> { let _ = event; Transition(State::on()) } }
             fn main() { Lamp.state_machine().handle(&Press); }",
        ),
        Dependent {
            name: "no dependency".to_owned(),
            dependencies: String::new(),
            code: "fn main() {}",
        },
    ]
}

/// The version of a package, from the lock file.
pub fn version(package: &str) -> &'static str {
    let entry = format!("name = \"{package}\"\nversion = \"");
    let (_, rest) = include_str!("../Cargo.lock")
        .split_once(&entry)
        .unwrap_or_else(|| panic!("{package} is in the lock file"));
    rest.split('"').next().expect("a version")
}

/// Builds all, three times in turns; the least of the three counts.
pub fn build(root: &Path, scratch: &Path) -> Vec<Cold> {
    let dependents = dependents(root);
    let mut colds = Vec::new();
    for pass in 0..PASSES {
        for (number, dependent) in dependents.iter().enumerate() {
            let directory = scratch.join(format!("dependent-{number}"));
            let seconds = build_one(dependent, &directory);
            if pass == 0 {
                colds.push(Cold {
                    name: dependent.name.clone(),
                    seconds,
                    dependencies: count_dependencies(&directory),
                });
            }
            colds[number].seconds = colds[number].seconds.min(seconds);
        }
    }
    colds
}

fn build_one(dependent: &Dependent, directory: &Path) -> f64 {
    let _ = fs::remove_dir_all(directory); // it may not be there
    fs::create_dir_all(directory.join("src")).expect("a directory");
    let manifest = format!(
        "[package]\nname = \"dependent\"\nversion = \"0.0.0\"\nedition = \"2024\"\n\n\
         [dependencies]\n{}\n\n[workspace]\n",
        dependent.dependencies,
    );
    fs::write(directory.join("Cargo.toml"), manifest).expect("a manifest");
    fs::write(directory.join("src/main.rs"), dependent.code).expect("a program");
    // The versions that are measured; cargo drops from it what is not needed.
    fs::write(directory.join("Cargo.lock"), include_str!("../Cargo.lock")).expect("a lock file");

    let output = Command::new("bash")
        .args([
            "-c",
            "TIMEFORMAT='%U %S'; time cargo build --quiet --offline",
        ])
        .current_dir(directory)
        .env_remove("CARGO_TARGET_DIR")
        .output()
        .expect("bash and cargo are installed");
    let output = String::from_utf8_lossy(&output.stderr);
    let seconds: Vec<f64> = output
        .lines()
        .last()
        .unwrap_or_default()
        .split(' ')
        .filter_map(|part| part.parse().ok())
        .collect();
    assert!(
        seconds.len() == 2 && directory.join("target/debug/dependent").exists(),
        "{output}"
    );
    seconds.iter().sum()
}

fn count_dependencies(directory: &Path) -> usize {
    let output = Command::new("cargo")
        .args([
            "tree",
            "--offline",
            "--edges",
            "normal",
            "--prefix",
            "none",
            "--no-dedupe",
        ])
        .current_dir(directory)
        .output()
        .expect("cargo is installed");
    let tree = String::from_utf8_lossy(&output.stdout).into_owned();
    let mut packages: Vec<_> = tree.lines().collect();
    packages.sort_unstable();
    packages.dedup();
    packages.len() - 1
}
