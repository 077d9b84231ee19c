//! The shortest way to a broken law, and the page that tells it.

use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};
use std::iter;

use crate::actions::Action;
use crate::change::Change;
use crate::world::World;
use crate::{Budget, Fault, Happened, LARGE, Law, Protocol, Verdict};

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
                let after = protocol.step(&world, action, &mut |_| ());
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
    let mut page = INTRODUCTION.to_owned();
    let mut row = |Budget { changes, losses, behind }: Budget, states: usize, run: &str| {
        page += &format!("| {changes} | {losses} | {behind} | {states} | {run} |\n");
    };
    verdicts.iter().for_each(|verdict| row(verdict.budget, verdict.states, "`cargo test`"));
    LARGE.into_iter().for_each(|(budget, states)| row(budget, states, "`--large`"));
    page += LAWS;
    for (law, text) in Law::ALL {
        page += &format!("- **{law:?}**: {text}.\n");
    }
    page += HAPPENED;
    for (change, text) in Change::ALL {
        page += &format!("- **{change:?}**: {text}\n");
    }
    page += &format!("\n{}", happened.tables());
    page += FAULTS;
    for ((fault, law, _, title), story) in Fault::ALL.iter().zip(stories) {
        page += &format!("\n### {fault:?}\n\n{title} **{law:?}** breaks:\n\n");
        for (number, step) in story.steps.iter().enumerate() {
            page += &format!("{}. {step}\n", number + 1);
        }
    }
    page
}

const INTRODUCTION: &str = "\
# The races around a task

One task, and everybody who changes it: two servers, two workers, a sweeper that ends what waits
too long and runs whose lease is over, and an editor who sets a label. They follow the page about
embedding, with the crate's own `Task`, `Draft` and `Outcome`. Each load and each commit is a step,
so that anything can come between; the queue delivers a message again until it is acknowledged;
workers die and come back; leases run out; a replica is one commit behind; a commit without an
answer arrives when it likes, or never; a push to the queue without an answer arrived, or did not.
A model checker visits *every* order of these steps and asks after each whether a law is broken.

Runs start and end freely. What else may go on is limited by a budget: *changes* are requests,
edits, hand-backs, leases that run out and tasks that wait too long; *losses* are deaths of workers,
and commits and pushes without an answer; *behind* are loads from the replica.

Not in the model: how often a run may fail, create without an answer, a restore from a backup, and
a message that is put aside. Nobody dies but workers.

This page is written by the program, and a test compares it as a whole. If it differs:

```console
$ UPDATE_EXPECT=1 cargo test -p model
```

The large budgets take longer, and exit with 1 if a law is broken or the number of states is
another:

```console
$ cargo run --release -p model -- --large
```

| changes | losses | behind | distinct states | visited by |
|---|---|---|---|---|
";

const LAWS: &str = "
No law is broken.

## Laws

";

const HAPPENED: &str = "
## What happened

A law also holds where nothing happens; so here is what did, in the run of `cargo test`. Who owns
the run, starts it or sweeps it looks for a stop request first: a *Start*, *Fail*, *Retry* or
*Succeed* that finds one becomes a *Halt*. In `Starting` a *Stop* is a *Cancel*.

";

const FAULTS: &str = "
## Faults

The protocol without one of its precautions, and the shortest way in which that breaks a law.
";
