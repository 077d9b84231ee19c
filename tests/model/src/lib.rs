//! The races around one task, for a model checker.
//!
//! `STORIES.md` tells what it is about.
//!
//! - `change`: what one commit does to a task
//! - `world`: who takes part, and everything there is at one moment
//! - `actions`: which steps can come next
//! - `protocol`: how everybody comes to a decision, and `commit`: what becomes of it
//! - `laws`: what must hold, and `onlooker`: who knows what was committed
//! - `happened`: what was seen to happen at least once
//! - `faults`: the protocol without one of its precautions
//! - `stories`: the shortest way in which that breaks a law, and the page `STORIES.md`

/// An enum, each of its variants with a text.
macro_rules! texts {
    ($(#[$doc:meta])* $Name:ident { $($Variant:ident: $text:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
        pub enum $Name { $($Variant),* }

        impl $Name {
            pub const ALL: &[(Self, &'static str)] = &[$((Self::$Variant, $text)),*];
        }
    };
}

/// Adds a sentence to the story, if one is told.
macro_rules! say {
    ($step:expr, $($text:tt)*) => {
        if $step.tells {
            let text = format!($($text)*);
            $step.said.push(text);
        }
    };
}

mod actions;
mod change;
mod commit;
mod faults;
mod happened;
mod laws;
mod onlooker;
mod protocol;
mod stories;
mod world;

use stateright::{Checker, HasDiscoveries, Model, Property};

pub use faults::Fault;
pub use happened::Happened;
pub use laws::Law;
pub use protocol::Protocol;
pub use stories::{Story, page, shortest_story};
pub use world::Budget;

use actions::Action;
use world::World;

/// The budgets that every run of the tests visits.
pub const SMALL: [Budget; 3] = [[2, 1, 1], [1, 2, 1], [3, 0, 0]];
/// The budgets that `--large` visits, and the number of states in each.
pub const LARGE: [(Budget, usize); 2] = [([2, 2, 0], 3_555_454), ([3, 0, 1], 4_097_005)];

impl Model for Protocol {
    type State = World;
    type Action = Action;

    fn init_states(&self) -> Vec<World> {
        vec![World::new(self.budget)]
    }

    fn actions(&self, world: &World, actions: &mut Vec<Action>) {
        self.possible(world, actions);
    }

    fn next_state(&self, world: &World, action: Action) -> Option<World> {
        Some(self.step(world, action, false).0)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![Property::always("every law holds", |protocol, world| {
            Law::ALL.iter().all(|(law, _)| law.holds(protocol, world))
        })]
    }
}

/// Visits every state that the budget allows, and counts them; stops when a law is broken.
///
/// # Errors
///
/// A story that breaks a law.
pub fn check(budget: Budget, happened: &Happened) -> Result<usize, Story> {
    let options = Protocol::new(budget, None).checker().threads(2);
    let checker = options.finish_when(HasDiscoveries::Any).spawn_bfs().join();
    happened.add(&checker.model().happened);
    match checker.discoveries().into_values().next() {
        Some(path) => Err(stories::tell(checker.model(), &path.into_actions())),
        None => Ok(checker.unique_state_count()),
    }
}
