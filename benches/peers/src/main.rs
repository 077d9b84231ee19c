//! Measures everything and writes `benches/README.md` and `benches/growth.svg`.

mod cold;
mod count;
mod goals;
mod plot;
mod report;
mod stored;
mod time;

use std::path::Path;
use std::process::ExitCode;
use std::{env, fs};

use peers::check::check;
use peers::for_every_implementation;
use peers::payload::{Configuration, Document};

fn main() -> ExitCode {
    if count::was_subject() {
        return ExitCode::SUCCESS;
    }
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    let scratch = package.join("target/scratch");
    if cfg!(debug_assertions) {
        eprintln!("a debug build measures nothing: use --release");
        return ExitCode::FAILURE;
    }

    let wrong: Vec<String> = for_every_implementation!(check())
        .into_iter()
        .filter_map(Result::err)
        .collect();
    if !wrong.is_empty() {
        eprintln!("not the contract's answers:\n{}", wrong.join("\n"));
        return ExitCode::FAILURE;
    }
    eprintln!("all implementations give the contract's answers");

    let counts = count::count(&scratch.join("profiles"));
    if env::args().any(|argument| argument == "--instructions-only") {
        println!("{}", report::instructions(&counts));
        return ExitCode::SUCCESS;
    }
    eprintln!("instructions counted; times follow");
    let cases = vec![
        time::cases::<()>(),
        time::cases::<Document>(),
        time::cases::<Configuration>(),
    ];
    let bulk = vec![time::bulk::<()>(), time::bulk::<Document>()];
    eprintln!("times taken; cold builds follow");
    let colds = cold::build(&package.join("../.."), &scratch);

    let benches = package.join("..");
    fs::write(benches.join("growth.svg"), plot::svg(&bulk)).expect("the plot is written");
    let report = report::Report {
        counts,
        cases,
        bulk,
        colds,
    };
    fs::write(benches.join("README.md"), report.text()).expect("the report is written");
    ExitCode::SUCCESS
}
