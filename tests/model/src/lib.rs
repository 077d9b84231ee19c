//! The races around one task, for a model checker. `STORIES.md` tells what it is about.

/// An enum, each of its variants with a row of a table.
macro_rules! table {
    ($(#[$doc:meta])* $Name:ident: $Row:ty { $($Variant:ident: $row:expr,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
        pub enum $Name { $($Variant),* }

        impl $Name {
            pub const ALL: &[Self] = &[$(Self::$Variant),*];

            #[must_use]
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
mod faults;
mod laws;
mod page;
mod protocol;
mod step;
mod world;

use std::sync::Arc;

use stateright::{Checker, HasDiscoveries, Model};

pub use faults::Fault;
pub use laws::Law;
pub use page::{Happened, page};
pub use world::Budget;

use protocol::Protocol;

/// The budgets that every run of the tests visits.
pub const SMALL: [Budget; 3] = [[2, 1, 1], [1, 2, 1], [3, 0, 0]];
/// The budgets that `--large` visits, and the number of states in each.
pub const LARGE: [(Budget, usize); 2] = [([2, 2, 0], 3_555_454), ([3, 0, 1], 4_097_005)];

/// The steps to a state in which a law is broken.
pub type Story = Vec<String>;

/// Visits every state that the budget allows, and counts them; stops when a law is broken.
///
/// # Errors
///
/// A story that breaks a law.
pub fn check(budget: Budget, happened: &Arc<Happened>) -> Result<usize, Story> {
    visit(Protocol { budget, fault: None, happened: happened.clone() }, 2)
}

/// Returns the shortest way in which the fault breaks its law.
#[must_use]
pub fn shortest_story(fault: Fault) -> Option<Story> {
    let (_, budget, _) = fault.row();
    // One thread visits breadth first.
    visit(Protocol { budget, fault: Some(fault), happened: Arc::default() }, 1).err()
}

fn visit(protocol: Protocol, threads: usize) -> Result<usize, Story> {
    let options = protocol.checker().threads(threads).finish_when(HasDiscoveries::Any);
    let checker = options.spawn_bfs().join();
    let Some(path) = checker.discoveries().into_values().next() else {
        return Ok(checker.unique_state_count());
    };
    let states = path.into_states();
    let steps = states.windows(2).map(|pair| {
        let mut steps = checker.model().steps(&pair[0], true).into_iter();
        let step = steps.find(|step| step.world == pair[1]).expect("a step on the way");
        step.said.unwrap_or_default().join(" ")
    });
    Err(steps.collect())
}
