//! The published client libraries, unmodified, where `tests/clients/install` has fetched them.

use super::*;

const INSTALLED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../target/clients");

#[tokio::test]
async fn published_clients_work() {
    if !Path::new(&format!("{INSTALLED}/complete")).exists() {
        return skipped("the clients: tests/clients/install has not been run");
    }
    for (program, script) in [
        (&*format!("{INSTALLED}/older/bin/python"), "older.py"), // chunkr-ai 0.3.7
        (&format!("{INSTALLED}/newer/bin/python"), "newer.py"),  // 0.1.0a15
        ("node", "newer.mjs"),                                   // 0.1.0-alpha.14
    ] {
        let (mut said, mut tries) = (String::new(), 0);
        // The clients have to be faster than the worker: it takes longer each time that they are not.
        while !said.ends_with("ok\n") {
            assert!(tries < 9, "{said}");
            let (service, millis) = (Service::on(None).await, (300 << tries).to_string());
            tries += 1;
            let slow = ["--work-millis", &millis, "--api-key", "a=alice", "--api-key", "b=bob"];
            let server = Process::start(&service.database, &slow, None);
            let mut command = Command::new(program);
            command.arg(format!("{}/tests/clients/{script}", env!("CARGO_MANIFEST_DIR")));
            command.env("NODE_PATH", format!("{INSTALLED}/node/node_modules"));
            let output = command.args([&server.url, "a", "b"]).output().unwrap();
            said = String::from_utf8([output.stderr, output.stdout].concat()).unwrap();
        }
    }
}
