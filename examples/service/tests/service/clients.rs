//! The public client libraries, unmodified, each where it can be had.

use std::path::Path;
use std::process::Command;

use crate::Service;
use crate::testing::skipped;

/// Where `tests/clients/install` puts them.
const INSTALLED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../target/clients");

fn works(program: &str, script: &str) {
    let program = program.replace("CLIENTS", INSTALLED);
    if !Path::new(&format!("{INSTALLED}/complete")).exists() {
        skipped(&format!("{script}: tests/clients/install has not been run"));
        return;
    }
    let service = Service::new();
    let server = service.start(&["--work-millis", "300"]);
    let output = Command::new(program)
        .arg(format!("{}/tests/clients/{script}", env!("CARGO_MANIFEST_DIR")))
        .args([&server.url, "a", "b"])
        .env("NODE_PATH", format!("{INSTALLED}/node/node_modules"))
        .output()
        .unwrap();
    assert!(output.stdout.ends_with(b"ok\n"), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn python_0_3_7() {
    works("CLIENTS/older/bin/python", "older.py");
}

#[test]
fn python_0_1_0a15() {
    works("CLIENTS/newer/bin/python", "newer.py");
}

#[test]
fn typescript_0_1_0_alpha_14() {
    works("node", "newer.mjs");
}
