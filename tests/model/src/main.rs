//! The races around one task, for a model checker. Prints the page that `tests/STORIES.md` keeps; with
//! `--large` it visits more, and counts.

/// An enum, each of its variants with a row of a table.
macro_rules! table {
    ($(#[$doc:meta])* $Name:ident: $Row:ty { $($Variant:ident: $row:expr,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
        pub enum $Name { $($Variant),* }

        impl $Name {
            pub const ALL: &[Self] = &[$(Self::$Variant),*];

            pub const fn row(self) -> $Row {
                match self { $(Self::$Variant => $row),* }
            }
        }
    };
}

/// Adds a sentence to the story, if one is told.
macro_rules! say {
    ($step:expr, $($text:tt)*) => {
        if let Some(said) = &mut $step.said {
            said.push(format!($($text)*));
        }
    };
}

mod actions;
mod change;
mod commit;
mod laws;
mod page;
mod protocol;
mod step;
mod world;

use stateright::{Checker, HasDiscoveries, Model};

use laws::Fault;
use protocol::Protocol;
use world::Budget;

/// The budgets that every run of the tests visits.
const SMALL: [Budget; 3] = [[2, 1, 1], [1, 2, 1], [3, 0, 0]];
/// The budgets that `--large` visits, and the number of states in each.
const LARGE: [(Budget, usize); 2] = [([2, 2, 0], 3_112_037), ([3, 0, 1], 3_277_485)];

fn main() {
    if !std::env::args().any(|arg| arg == "--large") {
        return print!("{}", page::page());
    }
    for (budget, expected) in LARGE {
        let states = count(budget);
        println!("{budget:?}: {states} states");
        assert_eq!(states, expected, "main.rs and STORIES.md say otherwise");
    }
}

/// Counts the states that the budget allows. In each every law must hold.
fn count(budget: Budget) -> usize {
    visit(budget, None).unwrap_or_else(|story| panic!("a law is broken:\n{story}"))
}

/// Visits every state that the budget allows, and counts them; or tells the steps to one in which a
/// law is broken. Of a fault it is the shortest story, and of its own law.
fn visit(budget: Budget, fault: Option<Fault>) -> Result<usize, String> {
    // One thread visits breadth first.
    let threads = if fault.is_some() { 1 } else { 2 };
    let options = Protocol { budget, fault }.checker().threads(threads);
    let checker = options.finish_when(HasDiscoveries::Any).spawn_bfs().join();
    let Some(path) = checker.discoveries().into_values().next() else {
        return Ok(checker.unique_state_count());
    };
    let (model, states) = (checker.model(), path.into_states());
    let steps = states.windows(2).zip(1..).map(|(pair, number)| {
        let step = model.steps(&pair[0], true).into_iter().find(|step| step.world == pair[1]);
        let said = step.and_then(|step| step.said).unwrap_or_default();
        let law =
            model.broken(&pair[1]).map_or(String::new(), |law| format!(" **{law:?}** breaks."));
        format!("{number}. {}{law}\n", said.join(" "))
    });
    Err(steps.collect())
}

#[test]
fn every_order_of_events_keeps_the_laws_and_every_fault_breaks_one() {
    expect_test::expect_file!["../../STORIES.md"].assert_eq(&page::page());
}

#[test]
fn its_tags_name_laws_of_the_crate() {
    let lines = include_str!("laws.rs").lines();
    let tags: Vec<_> = lines.filter_map(|line| line.trim().strip_prefix("// law: ")).collect();
    let is_law = |tag| include_str!("../../README.md").contains(&format!("\n- `{tag}`: "));
    assert!(tags.len() >= 3 && tags.iter().all(is_law), "{tags:?}");
}
