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
mod task;
mod wrapped;

use std::error::Error;
use std::path::Path;
use std::sync::Arc;
use std::{env, fs};

use bulk::Sweep;
use callgrind::{Count, Counter};
use machines::{byte, finny, fsmentry, obvious, rust_fsm, smlang, statig};
use payload::{Document, Payload};
use probe::SHAPES;
use report::Report;
use task::{Family, Kind, Ours};
use wrapped::Wrap;

/// The crate, a peer, or code by hand, with all that is asked of it.
struct Implementation {
    name: &'static str,
    kind: Kind,
    check: fn() -> Result<(), String>,
    payloads: [OfPayload; 5],
}

struct OfPayload {
    name: &'static str,
    shapes: fn(&mut Counter) -> [Vec<Count>; SHAPES.len()],
    sweep: Sweep,
}

/// In the order of the report: the crate first.
fn suite() -> Vec<Implementation> {
    vec![
        of::<Ours>(),
        of::<Wrap<byte::Byte>>(),
        of::<obvious::Obvious>(),
        of::<Wrap<finny::Frontend>>(),
        of::<Wrap<fsmentry::Machine>>(),
        of::<Wrap<rust_fsm::StateMachine>>(),
        of::<Wrap<smlang::Machine>>(),
        of::<Wrap<statig::Machine>>(),
    ]
}

fn of<F: Family>() -> Implementation {
    fn with<F: Family, T: Payload>() -> OfPayload {
        let (shapes, sweep) = (probe::shapes::<F, T>, bulk::sweep::<F, T>);
        OfPayload { name: T::NAME, shapes, sweep }
    }
    let payloads = [
        with::<F, ()>(),
        with::<F, u64>(),
        with::<F, Document>(),
        with::<F, Box<[u8; 500]>>(),
        with::<F, Arc<[u8; 500]>>(),
    ];
    Implementation { name: F::NAME, kind: F::KIND, check: check::check::<F>, payloads }
}

fn main() -> Result<(), Box<dyn Error>> {
    if cfg!(debug_assertions) {
        return Err("a debug build measures nothing: use --release".into());
    }
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    let scratch = package.join("target/scratch");
    let suite = suite();
    let counted = callgrind::count(&scratch.join("profiles"), |counter| {
        let shapes = suite.iter().map(|it| it.payloads.each_ref().map(|it| (it.shapes)(counter)));
        let shapes = shapes.collect();
        let (decisions, stored) = (probe::decisions(counter), stored::count(counter));
        Report { suite: &suite, shapes, decisions, stored, bulk: Vec::new(), cold: [0.0; 2] }
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
        report.bulk.push(bulk::quartiles(&sweeps));
    }
    report.bulk.push(bulk::quartiles(&[bulk::sweep_states, bulk::sweep_bytes]));
    eprintln!("times taken; cold builds follow");
    report.cold = cold::build(&package.join("../.."), &scratch);

    let benches = package.join("..");
    plot::draw(&suite, &report.bulk, &benches.join("growth.svg"))?;
    fs::write(benches.join("README.md"), report.text())?;
    Ok(())
}

#[test]
fn all_do_the_same_work() {
    for implementation in suite() {
        assert_eq!((implementation.check)(), Ok(()));
    }
}
