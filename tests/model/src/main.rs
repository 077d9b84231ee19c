//! Prints what the checker found, as the section of `tests/README.md`. With `--large`, the budget
//! of the slow run.

use model::{Budget, Fault, Law, check, shortest_violation};

fn main() {
    let large = std::env::args().any(|arg| arg == "--large");
    let budget = if large { Budget::LARGE } else { Budget::SMALL };
    let Budget {
        requests,
        sweeps,
        retries,
        edits,
        deaths,
    } = budget;
    let verdict = check(budget);
    println!(
        "{} distinct states, with {requests} requests, {sweeps} sweep, {retries} retry, {edits} \
         edit and {deaths} death of a worker; {} kinds of events happened, {} laws were broken.\n",
        verdict.states,
        verdict.happened.len(),
        verdict.broken.len(),
    );
    for law in Law::ALL {
        println!("- Always: {}.", law.as_str());
    }
    print!("{}", stories());
}

/// For each fault, the shortest way to a broken law.
fn stories() -> String {
    let mut text = String::new();
    for fault in Fault::ALL {
        text += &format!("\n### {fault}\n\n");
        match shortest_violation(fault) {
            Some((law, story)) => {
                for (number, line) in story.iter().enumerate() {
                    text += &format!("{}. {line}\n", number + 1);
                }
                text += &format!("\nBroken: {}.\n", law.as_str());
            }
            None => text += "No law is broken.\n",
        }
    }
    text
}
