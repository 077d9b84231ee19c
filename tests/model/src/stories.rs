//! The shortest way to a broken law.

use std::cmp::Reverse;
use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};

use crate::actions::Action;
use crate::world::World;
use crate::{Budget, Fault, LAWS, Law, Protocol};

pub struct Violation {
    pub law: Law,
    pub text: &'static str,
    pub story: Vec<String>,
}

/// Returns the shortest way in which the fault breaks a law, told step by step; among several, one
/// in which the least goes on.
#[must_use]
pub fn shortest_violation(fault: Fault) -> Option<Violation> {
    let budget = Budget { changes: 4, losses: 1 };
    let protocol = Protocol::new(budget, Some(fault));
    // Breadth first, by hand: the checker reports some violation, not the shortest.
    let (hasher, mut seen) = (RandomState::new(), HashSet::new());
    let mut level = vec![(World::new(budget), Vec::new())];
    while !level.is_empty() {
        let violations = level.iter().filter_map(|(world, path)| {
            let (law, text, _) = LAWS.into_iter().find(|(.., holds)| !holds(&protocol, world))?;
            Some((world.left, law, text, path))
        });
        let least = violations.min_by_key(|(left, ..)| Reverse((left.losses, left.changes)));
        if let Some((_, law, text, path)) = least {
            return Some(Violation { law, text, story: tell(&protocol, path) });
        }
        let mut next = Vec::new();
        for (world, path) in level {
            let mut actions = Vec::new();
            protocol.possible(&world, &mut actions);
            for action in actions {
                let after = protocol.step(&world, action, &mut |_| ());
                if seen.insert(hasher.hash_one(&after)) {
                    next.push((after, [&path[..], &[action]].concat()));
                }
            }
        }
        level = next;
    }
    None
}

fn tell(protocol: &Protocol, path: &[Action]) -> Vec<String> {
    let mut world = World::new(protocol.budget);
    let steps = path.iter().map(|&action| {
        let mut said = Vec::new();
        world = protocol.step(&world, action, &mut |line| said.push(line.to_string()));
        said.join(" ")
    });
    steps.collect()
}
