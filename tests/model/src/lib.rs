//! The races around one task, for a model checker.
//!
//! Two servers, two workers, a sweeper and an editor share a row, which is a [`Task`] of the crate
//! itself and what lies beside it, and a queue that delivers a message again until it is
//! acknowledged. Everybody loads the row, decides on a [`Draft`] and commits it. Each load and each
//! commit is a step, so anything can come between. Workers die, leases run out, a load can be one
//! commit behind, and a commit without an answer arrives when it likes, or never.
//!
//! - `change`: what one commit does to a task
//! - `world`: who takes part, and everything there is at one moment
//! - `actions`: which steps can come next
//! - `protocol`: how everybody goes about it
//! - `laws`: what must hold, and `onlooker`, who knows what was committed
//! - `happened`: what was seen to happen at least once
//! - `faults`: the protocol without one of its precautions
//! - `stories`: the shortest way in which that breaks a law, and the page `STORIES.md`
//!
//! [`Task`]: task_lifecycle::Task
//! [`Draft`]: task_lifecycle::Draft

mod actions;
mod change;
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

const fn budget(changes: u8, losses: u8, behind: u8) -> Budget {
    Budget { changes, losses, behind }
}

/// What every run of the tests visits.
pub const SMALL: [Budget; 3] = [budget(2, 1, 1), budget(1, 2, 1), budget(3, 0, 0)];
/// What `--large` visits, and how many states there are.
pub const LARGE: [(Budget, usize); 2] = [(budget(3, 1, 0), 0), (budget(2, 2, 0), 0)];

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
        vec![Property::always("every law holds", |protocol, world| {
            Law::ALL.into_iter().all(|(law, _)| law.holds(protocol, world))
        })]
    }
}

/// What the checker found.
pub struct Verdict {
    pub budget: Budget,
    pub states: usize,
    /// A story that breaks a law.
    pub broken: Option<Story>,
}

/// Visits every state that the budget allows; stops when a law is broken.
#[must_use]
pub fn check(budget: Budget, happened: &Happened) -> Verdict {
    let options = Protocol::new(budget, None).checker().threads(2);
    let checker = options.finish_when(HasDiscoveries::Any).spawn_bfs().join();
    happened.add(&checker.model().happened);
    let broken = checker.discoveries().into_values().next();
    let broken = broken.map(|path| stories::tell(checker.model(), &path.into_actions()));
    Verdict { budget, states: checker.unique_state_count(), broken }
}
