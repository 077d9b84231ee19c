//! The shortest way to a broken law, and the page that tells it.

use std::collections::HashSet;
use std::fmt::Write;
use std::hash::{BuildHasher, RandomState};
use std::iter;

use crate::actions::Action;
use crate::change::Change;
use crate::world::World;
use crate::{Budget, Fault, Happened, LARGE, Law, Protocol, SMALL};

/// The laws that are broken at the end of it, and its steps.
#[derive(Debug)]
pub struct Story {
    pub broken: Vec<Law>,
    pub steps: Vec<String>,
}

/// Returns the shortest way in which the fault breaks the law, told step by step.
#[must_use]
pub fn shortest_story(fault: Fault, law: Law, budget: Budget) -> Option<Story> {
    let protocol = Protocol::new(budget, Some(fault));
    // Breadth first, by hand: the checker reports some violation, not the shortest.
    let (hasher, mut seen) = (RandomState::new(), HashSet::new());
    let mut steps: Vec<(usize, Action)> = Vec::new();
    let mut level = vec![(World::new(budget), usize::MAX)];
    while !level.is_empty() {
        let mut next = Vec::new();
        for (world, last) in level {
            let mut actions = Vec::new();
            protocol.possible(&world, &mut actions);
            for action in actions {
                let (after, _) = protocol.step(&world, action, false);
                if !seen.insert(hasher.hash_one(&after)) {
                    continue;
                }
                steps.push((last, action));
                if !law.holds(&protocol, &after) {
                    let back = iter::successors(steps.last(), |(last, _)| steps.get(*last));
                    let mut path: Vec<Action> = back.map(|&(_, action)| action).collect();
                    path.reverse();
                    return Some(tell(&protocol, &path));
                }
                next.push((after, steps.len() - 1));
            }
        }
        level = next;
    }
    None
}

pub(crate) fn tell(protocol: &Protocol, path: &[Action]) -> Story {
    let mut world = World::new(protocol.budget);
    let steps = path.iter().map(|&action| {
        let (after, said) = protocol.step(&world, action, true);
        world = after;
        said.join(" ")
    });
    let steps = steps.collect();
    let laws = Law::ALL.iter().map(|&(law, _)| law);
    Story { broken: laws.filter(|law| !law.holds(protocol, &world)).collect(), steps }
}

/// The page `STORIES.md`.
#[must_use]
pub fn page(states: [usize; SMALL.len()], happened: &Happened, stories: &[Story]) -> String {
    let small = SMALL.into_iter().zip(states).map(|row| (row, "`cargo test`"));
    let large = LARGE.into_iter().map(|row| (row, "`--large`"));
    let budgets = small.chain(large).map(|((budget, states), by)| {
        let [changes, losses, behind] = budget;
        format!("| {changes} | {losses} | {behind} | {states} | 0 | {by} |\n")
    });
    let laws = Law::ALL.iter().map(|(law, text)| format!("- **{law:?}**: {text}.\n"));
    let changes = Change::ALL.iter().map(|(change, text)| format!("- *{change:?}*: {text}\n"));
    let mut faults = String::new();
    for ((fault, law, _, title), story) in Fault::ALL.iter().zip(stories) {
        let _ = writeln!(faults, "\n### {fault:?}\n\n{title} **{law:?}** breaks:\n");
        for (number, step) in story.steps.iter().enumerate() {
            let _ = writeln!(faults, "{}. {step}", number + 1);
        }
    }
    include_str!("stories.md")
        .replace("{budgets}", &budgets.collect::<String>())
        .replace("{laws}", &laws.collect::<String>())
        .replace("{changes}", &changes.collect::<String>())
        .replace("{happened}", &happened.rows())
        .replace("{faults}\n", &faults)
}
