//! Measures everything and writes `benches/README.md` and `benches/growth.svg`.

mod bulk;
mod callgrind;
mod check;
mod cold;
mod machines;
mod payload;
mod plot;
mod probe;
mod report;
mod stored;
mod suite;
mod task;
mod wrapped;

use std::error::Error;
use std::path::Path;
use std::{env, fs};

use bulk::{quartiles, sweep_bytes, sweep_states};
use report::Report;
use task::Kind;

fn main() -> Result<(), Box<dyn Error>> {
    if cfg!(debug_assertions) {
        return Err("a debug build measures nothing: use --release".into());
    }
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    let scratch = package.join("target/scratch");
    let suite = suite::all();
    let counted = callgrind::count(&scratch.join("profiles"), |counter| Report {
        suite: &suite,
        shapes: suite
            .iter()
            .map(|it| it.payloads.each_ref().map(|it| (it.shapes)(counter)))
            .collect(),
        decisions: probe::decisions(counter),
        stored: stored::count(counter),
        bulk: Vec::new(),
        states: Vec::new(),
        colds: Vec::new(),
    });
    let Some(mut report) = counted else {
        return Ok(()); // this is the run that is counted
    };
    if env::args().any(|argument| argument == "instructions") {
        println!("{}", report.instructions());
        return Ok(());
    }
    for implementation in &suite {
        (implementation.check)()?;
    }
    eprintln!("all do the same work, and their instructions are counted; times follow");
    for payload in 0..suite[0].payloads.len() {
        let sweeps: Vec<_> = suite.iter().map(|it| it.payloads[payload].sweep).collect();
        report.bulk.push(quartiles(&sweeps));
    }
    report.states = quartiles(&[sweep_states, sweep_bytes]);
    eprintln!("times taken; cold builds follow");
    let peers = suite.iter().filter(|it| it.kind == Kind::Peer).map(|it| it.name);
    report.colds = cold::build(&package.join("../.."), &scratch, peers);

    let benches = package.join("..");
    plot::draw(&suite, &report.bulk, &report.states, &benches.join("growth.svg"))?;
    fs::write(benches.join("README.md"), report.text())?;
    Ok(())
}
