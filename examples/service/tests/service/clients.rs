//! The published client libraries, unmodified, each where it can be had.

use std::path::Path;
use std::process::Command;

use crate::Service;
use crate::postgres::skipped;
use crate::program::Process;

/// Where `tests/clients/install` puts them.
const INSTALLED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../target/clients");

async fn works(program: &str, script: &str) {
    if !Path::new(&format!("{INSTALLED}/complete")).exists() {
        return skipped(&format!("{script}: tests/clients/install has not been run"));
    }
    let service = Service::on(None).await;
    let slow = ["--work-millis", "300", "--api-key", "a=alice", "--api-key", "b=bob"];
    let server = Process::start(&service.database, &slow, None);
    let output = Command::new(program.replace("CLIENTS", INSTALLED))
        .arg(format!("{}/tests/clients/{script}", env!("CARGO_MANIFEST_DIR")))
        .args([&server.url, "a", "b"])
        .env("NODE_PATH", format!("{INSTALLED}/node/node_modules"))
        .output()
        .unwrap();
    assert!(output.stdout.ends_with(b"ok\n"), "{}", String::from_utf8_lossy(&output.stderr));
}

#[tokio::test]
async fn python_0_3_7() {
    works("CLIENTS/older/bin/python", "older.py").await;
}

#[tokio::test]
async fn python_0_1_0a15() {
    works("CLIENTS/newer/bin/python", "newer.py").await;
}

#[tokio::test]
async fn typescript_0_1_0_alpha_14() {
    works("node", "newer.mjs").await;
}
