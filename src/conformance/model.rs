//! What the store may hold, by what it answered.

use std::vec::Vec;

use crate::Task;

/// A commit, or without a task a delete.
#[derive(Clone, Debug)]
pub(super) struct Write<T> {
    pub(super) loaded: u64,
    pub(super) task: Option<Task<T>>,
}

/// One of the ways in which things may stand.
#[derive(Clone, PartialEq, Debug)]
struct World<T> {
    task: Option<Task<T>>,
    /// Writes that were given up and may still happen, by number.
    late: Vec<usize>,
}

/// What a client was told.
pub(super) enum Told<'a, T> {
    Seen(Option<&'a Task<T>>),
    /// `None`: that the outcome is unknown.
    Written(&'a Write<T>, Option<bool>),
}

/// What happened since everybody saw the task right, for naming the law that a difference breaks:
/// the last is blamed first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Since {
    /// Nothing, or the task itself was changed.
    Changed,
    OthersChanged,
    Refused,
    Reopened,
}

/// A task by its name, and what it should be.
pub(super) struct Row<I, T> {
    pub(super) id: I,
    /// More than one while an outcome is unknown; never none.
    worlds: Vec<World<T>>,
    given_up: Vec<Write<T>>,
    /// All that the task certainly was, none first.
    versions: Vec<Option<Task<T>>>,
    /// Who changed it last.
    pub(super) writer: usize,
    pub(super) since: Since,
    /// Whether calls about it overlapped since everybody saw it right, or one was given up.
    pub(super) disturbed: bool,
    /// Whether only a refusal tells that what was given up has happened.
    pub(super) inferred: bool,
}

impl<I, T: Clone + PartialEq> Row<I, T> {
    pub(super) fn new(id: I, task: Option<Task<T>>, writer: usize) -> Self {
        let world = World {
            task: task.clone(),
            late: Vec::new(),
        };
        let versions = [None, task].into();
        let (worlds, given_up, since) = ([world].into(), Vec::new(), Since::Changed);
        Self {
            id,
            worlds,
            given_up,
            versions,
            writer,
            since,
            disturbed: false,
            inferred: false,
        }
    }

    /// What the task is, or may be.
    pub(super) fn task(&self) -> Option<&Task<T>> {
        self.worlds.first().and_then(|world| world.task.as_ref())
    }

    /// What the task is, if that is known.
    pub(super) fn certain(&self) -> Option<&Task<T>> {
        self.task().filter(|_| self.is_certain())
    }

    pub(super) fn is_certain(&self) -> bool {
        self.worlds.len() == 1 && self.worlds[0].late.is_empty()
    }

    pub(super) fn is_gone(&self) -> bool {
        self.worlds.iter().all(|world| world.task.is_none())
    }

    /// Whether the task once was this.
    pub(super) fn was(&self, task: Option<&Task<T>>) -> bool {
        self.versions.iter().any(|version| version.as_ref() == task)
    }

    /// Whether a write at this revision may be accepted.
    pub(super) fn is_at(&self, loaded: u64) -> bool {
        self.worlds.iter().any(|world| world.is_at(loaded))
    }

    /// Takes what a client was told. `may_conflict`: a refusal needs no reason, as another call
    /// was in flight. False if it cannot be.
    pub(super) fn told(&mut self, told: &Told<'_, T>, may_conflict: bool) -> bool {
        if let (true, Told::Seen(task)) = (self.is_certain(), told) {
            let is_it = self.worlds[0].task.as_ref() == *task;
            self.inferred &= !is_it;
            return is_it;
        }
        let before = self.task().map(Task::revision);
        let can_be = self.keep(after(&self.worlds, &self.given_up, told, may_conflict));
        let is_refusal = matches!(told, Told::Written(_, Some(false)));
        self.inferred = is_refusal && (self.inferred || before != self.task().map(Task::revision));
        can_be
    }

    /// Takes what two clients were told whose calls overlapped: one of the orders must do.
    ///
    /// Accepted commits name the revision that they come from and so form one chain: there is
    /// nothing to search for.
    pub(super) fn told_both(&mut self, one: &Told<'_, T>, two: &Told<'_, T>) -> bool {
        // A reader may abort a writer. Of two writers one must win.
        let writes = |told: &Told<'_, T>| matches!(told, Told::Written(..));
        let may_conflict = !(writes(one) && writes(two));
        let in_order = |first, second| {
            let worlds = after(&self.worlds, &self.given_up, first, may_conflict);
            after(&worlds, &self.given_up, second, may_conflict)
        };
        let mut worlds = in_order(one, two);
        worlds.extend(in_order(two, one));
        self.keep(worlds)
    }

    /// A write was given up: it happens now, later, or never.
    pub(super) fn given_up(&mut self, write: Write<T>) {
        let number = self.given_up.len();
        self.given_up.push(write);
        for world in &mut self.worlds {
            world.late.push(number);
        }
    }

    fn keep(&mut self, worlds: Vec<World<T>>) -> bool {
        let mut kept: Vec<World<T>> = Vec::new();
        for world in worlds {
            if !kept.contains(&world) {
                kept.push(world);
            }
        }
        if kept.is_empty() {
            return false;
        }
        self.worlds = kept;
        let is_certain = self.worlds.len() == 1;
        if is_certain && self.versions.last() != Some(&self.worlds[0].task) {
            self.versions.push(self.worlds[0].task.clone());
        }
        true
    }
}

impl<T> World<T> {
    fn is_at(&self, revision: u64) -> bool {
        self.task
            .as_ref()
            .is_some_and(|task| task.revision() == revision)
    }
}

/// The worlds in which a client can be told this, as they are afterwards.
fn after<T: Clone + PartialEq>(
    worlds: &[World<T>],
    given_up: &[Write<T>],
    told: &Told<'_, T>,
    may_conflict: bool,
) -> Vec<World<T>> {
    let mut worlds = worlds.to_vec();
    // What was given up may have happened meanwhile.
    let mut at = 0;
    while at < worlds.len() {
        let World { task, late } = worlds[at].clone();
        for &number in &late {
            let Write {
                loaded,
                task: written,
            } = &given_up[number];
            if task.as_ref().is_some_and(|task| task.revision() == *loaded) {
                let late = late
                    .iter()
                    .copied()
                    .filter(|&other| other != number)
                    .collect();
                worlds.push(World {
                    task: written.clone(),
                    late,
                });
            }
        }
        at += 1;
    }
    match told {
        Told::Seen(seen) => worlds.retain(|world| world.task.as_ref() == *seen),
        Told::Written(write, answer) => {
            let mut next = Vec::new();
            for world in worlds {
                let current = world.is_at(write.loaded);
                if current && *answer != Some(false) {
                    let task = write.task.clone();
                    next.push(World {
                        task,
                        late: world.late.clone(),
                    });
                }
                if answer.is_none() || *answer == Some(false) && (!current || may_conflict) {
                    next.push(world);
                }
            }
            worlds = next;
        }
    }
    for world in &mut worlds {
        let revision = world.task.as_ref().map(Task::revision);
        world
            .late
            .retain(|&number| Some(given_up[number].loaded) == revision);
    }
    worlds
}
