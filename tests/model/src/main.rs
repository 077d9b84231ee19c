//! Prints what the checker found, as the section of `tests/README.md`. With `--large`, the budgets
//! of the slow run.

use model::{Budget, Fault, LARGE, LAWS, SMALL, check, shortest_violation};

fn main() {
    let large = std::env::args().any(|arg| arg == "--large");
    let budgets = if large { &LARGE[..] } else { &[SMALL] };
    println!("| changes | losses | distinct states | kinds of events | broken laws |");
    println!("|---|---|---|---|---|");
    for &budget in budgets {
        let Budget { changes, losses } = budget;
        let verdict = check(budget);
        let (states, broken) = (verdict.states, verdict.broken.len());
        let kinds = verdict.happened.len();
        println!("| {changes} | {losses} | {states} | {kinds} | {broken} |");
    }
    println!();
    for (_, law, _) in LAWS {
        println!("- Always: {law}.");
    }
    for (fault, title) in Fault::ALL {
        println!("\n### {title}\n");
        let Some(violation) = shortest_violation(fault) else {
            println!("No law is broken.");
            continue;
        };
        for (number, line) in violation.story.iter().enumerate() {
            println!("{}. {line}", number + 1);
        }
        println!("\nBroken: {}.", violation.text);
    }
}
