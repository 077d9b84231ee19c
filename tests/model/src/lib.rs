//! The races around one task, for a model checker.
//!
//! Two servers, two workers, a sweeper and an editor share a row, which is a [`Task`] of the crate
//! itself, and a queue that delivers every message as often and as late as it likes. Everybody
//! loads the row, decides on a copy and commits. Each load and each commit is a step, so anything
//! can come between. Workers die, and the answer to a commit can be lost.
//!
//! - `world`: who takes part, and what they can do to a task
//! - `actions`: which steps can come next
//! - `protocol`: how they go about it, step by step
//! - `laws`: what must hold, and an onlooker that takes no part and knows what was committed
//! - `faults`: the protocol without one of its precautions
//! - `stories`: the shortest way in which that breaks a law
//!
//! [`Task`]: task_lifecycle::Task

mod actions;
mod faults;
mod laws;
mod protocol;
mod stories;
mod world;

use std::collections::HashSet;
use std::sync::PoisonError;

use stateright::{Checker, HasDiscoveries, Model, Property};

pub use faults::Fault;
pub use laws::{LAWS, Law};
pub use protocol::{Happened, Protocol};
pub use stories::{Violation, shortest_violation};
pub use world::{Budget, Change};

use actions::Action;
use world::World;

/// For the normal run of the tests.
pub const SMALL: Budget = Budget { changes: 3, losses: 1 };
/// For the slow run.
pub const LARGE: [Budget; 2] = [Budget { changes: 4, losses: 1 }, Budget { changes: 3, losses: 2 }];

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
        Some(self.step(world, action, &mut |_| ()))
    }

    fn properties(&self) -> Vec<Property<Self>> {
        LAWS.map(|(_, text, holds)| Property::always(text, holds)).into()
    }
}

/// What the checker found.
pub struct Verdict {
    pub states: usize,
    pub broken: Vec<&'static str>,
    pub happened: HashSet<Happened>,
}

/// Visits every state that the budget allows; stops when a law is broken.
#[must_use]
pub fn check(budget: Budget) -> Verdict {
    let protocol = Protocol::new(budget, None);
    let options = protocol.checker().threads(2).finish_when(HasDiscoveries::Any);
    let checker = options.spawn_bfs().join();
    // To list the broken laws the checker takes their steps once more, which are noted again.
    let broken = checker.discoveries().into_keys().collect();
    let happened = checker.model().happened.lock().unwrap_or_else(PoisonError::into_inner);
    Verdict { states: checker.unique_state_count(), broken, happened: happened.clone() }
}
