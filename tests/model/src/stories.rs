//! The shortest way to a broken law, and the page that tells it.

use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};

use crate::actions::Action;
use crate::change::Change;
use crate::world::World;
use crate::{Budget, Fault, Happened, LARGE, Law, Protocol, Verdict, budget};

/// The laws that are broken at the end of it, and its steps.
#[derive(Debug)]
pub struct Story {
    pub broken: Vec<Law>,
    pub steps: Vec<String>,
}

/// Budgets for the faults, from the least that goes on.
const BUDGETS: [Budget; 0] = [];

/// Returns the way in which the fault breaks the law with the least going on, and of those the
/// shortest, told step by step.
#[must_use]
pub fn shortest_story(fault: Fault, law: Law) -> Option<Story> {
    let total = |&Budget { changes, losses, behind }: &Budget| (changes + losses + behind, losses, behind);
    let all = (0..=5).flat_map(|c| (0..=2).flat_map(move |l| (0..=1).map(move |b| budget(c, l, b))));
    let mut budgets: Vec<Budget> = all.collect();
    budgets.sort_by_key(total);
    budgets.into_iter().find_map(|budget| {
        let protocol = Protocol::new(budget, Some(fault));
        Some(tell(&protocol, &shortest_path(&protocol, law)?))
    })
}

/// Breadth first, by hand: the checker reports some violation, not the shortest.
fn shortest_path(protocol: &Protocol, law: Law) -> Option<Vec<Action>> {
    let (hasher, mut seen) = (RandomState::new(), HashSet::new());
    let mut level = vec![(World::new(protocol.budget), Vec::new())];
    while !level.is_empty() {
        let mut next = Vec::new();
        for (world, path) in level {
            let mut actions = Vec::new();
            protocol.possible(&world, &mut actions);
            for action in actions {
                let after = protocol.step(&world, action, &mut |_| ());
                let path = || [&path[..], &[action]].concat();
                if !law.holds(protocol, &after) {
                    return Some(path());
                }
                if seen.insert(hasher.hash_one(&after)) {
                    next.push((after, path()));
                }
            }
        }
        level = next;
    }
    None
}

pub fn tell(protocol: &Protocol, path: &[Action]) -> Story {
    let mut world = World::new(protocol.budget);
    let steps = path.iter().map(|&action| {
        let mut said = Vec::new();
        world = protocol.step(&world, action, &mut |line| said.push(line.to_string()));
        said.join(" ")
    });
    let steps = steps.collect();
    let laws = Law::ALL.into_iter().map(|(law, _)| law);
    Story { broken: laws.filter(|law| !law.holds(protocol, &world)).collect(), steps }
}

/// The page `STORIES.md`.
#[must_use]
pub fn page(verdicts: &[Verdict], happened: &Happened, stories: &[Story]) -> String {
    String::new()
}
