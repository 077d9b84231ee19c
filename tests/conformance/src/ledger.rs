//! The tasks that a store may hold, by its answers, and the law that an impossible answer breaks.
//!
//! An accepted commit names the revision that it comes from, so the accepted ones form one chain,
//! and there are no orders to search through.

use core::fmt::Debug;

use task_lifecycle::{Revision, Task};

use crate::Law;
use crate::call::{Answer, Call, Heard, Request, Write, difference, show};

/// A broken law.
#[derive(Clone, Debug)]
pub(crate) struct Breach {
    pub(crate) law: Law,
    pub(crate) expected: String,
    pub(crate) seen: String,
    /// Its worth as evidence: the lower, the more it tells. [`VAGUE`] is what may be another
    /// fault, seen from outside.
    pub(crate) rank: u8,
}

pub(crate) const VAGUE: u8 = 4;

/// One of the ways in which things may stand.
#[derive(Clone, PartialEq)]
struct World<T> {
    task: Option<Task<T>>,
    /// Writes that were given up and may still happen, by number.
    late: Vec<usize>,
}

/// The last event since everybody saw a task right, for naming the law that a difference breaks:
/// the last is blamed first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Since {
    /// Nothing, or the task itself was changed.
    Changed,
    OthersChanged,
    Refused,
    Reopened,
}

/// A task by its name, and what it should be.
pub(crate) struct Row<I, T> {
    pub(crate) id: I,
    /// More than one while an outcome is unknown; never none.
    worlds: Vec<World<T>>,
    given_up: Vec<Write<T>>,
    /// All that the task certainly was, none first.
    versions: Vec<Option<Task<T>>>,
    /// The client that changed it last.
    pub(crate) writer: usize,
    since: Since,
    /// True if calls about it overlapped since everybody saw it right, or one was given up.
    disturbed: bool,
    /// True if a commit was refused that a call in flight may have stopped: see
    /// [`Row::needs_a_commit`].
    excused: bool,
}

impl<I, T: Clone + PartialEq> Row<I, T> {
    fn new(id: I, task: Option<Task<T>>, writer: usize) -> Self {
        let versions = [None, task.clone()].into();
        let worlds = [World { task, late: Vec::new() }].into();
        let (given_up, since) = (Vec::new(), Since::Changed);
        Self { id, worlds, given_up, versions, writer, since, disturbed: false, excused: false }
    }

    /// Returns the task as it is, or may be.
    pub(crate) fn task(&self) -> Option<&Task<T>> {
        self.worlds.first().and_then(|world| world.task.as_ref())
    }

    pub(crate) fn is_certain(&self) -> bool {
        self.worlds.len() == 1 && self.worlds[0].late.is_empty()
    }

    /// True if there never was a task of this name, and may be none now.
    pub(crate) fn is_free(&self) -> bool {
        self.versions.iter().all(Option::is_none) && self.is_certain()
    }

    fn is_gone(&self) -> bool {
        self.worlds.iter().all(|world| world.task.is_none())
    }

    fn is_deleted(&self) -> bool {
        self.is_gone() && !self.is_free()
    }

    pub(crate) fn was(&self, task: Option<&Task<T>>) -> bool {
        self.versions.iter().any(|version| version.as_ref() == task)
    }

    /// True if a write from this revision may be accepted.
    pub(crate) fn is_at(&self, from: Option<Revision>) -> bool {
        self.worlds.iter().any(|world| world.is_at(from))
    }

    /// True if a commit must be seen to be accepted before the end: one was refused, as it may be
    /// while a call that was given up is under way, and that must not go on for ever.
    pub(crate) fn needs_a_commit(&self) -> bool {
        self.excused && !self.is_gone()
    }

    /// Takes what was told of the task; false if it cannot be.
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
        if self.worlds.len() == 1 && self.versions.last() != Some(&self.worlds[0].task) {
            self.versions.push(self.worlds[0].task.clone());
        }
        true
    }

    /// Takes what two clients were told whose calls overlapped: one of the orders must do.
    fn told_both(&mut self, one: &Told<'_, T>, two: &Told<'_, T>, abandoned: bool) -> bool {
        // A reader may abort a writer, and so may a writer that cannot win itself. Of two that can,
        // one must win.
        let can_win = |told: &Told<'_, T>| matches!(told, Told::Wrote(w, _) if self.is_at(w.from));
        let may_conflict = abandoned || !(can_win(one) && can_win(two));
        let in_order = |first, second| {
            let worlds = self.after(&self.worlds, first, may_conflict);
            self.after(&worlds, second, may_conflict)
        };
        let mut worlds = in_order(one, two);
        worlds.extend(in_order(two, one));
        self.keep(worlds)
    }

    /// The worlds in which this can be told, as they are afterwards. `may_conflict`: a refusal
    /// needs no other reason, as a call that may win was in flight.
    fn after(&self, worlds: &[World<T>], told: &Told<'_, T>, may_conflict: bool) -> Vec<World<T>> {
        let mut worlds = worlds.to_vec();
        // What was given up may have happened meanwhile.
        let mut at = 0;
        while at < worlds.len() {
            let World { task, late } = worlds[at].clone();
            for &number in &late {
                let write = &self.given_up[number];
                if task.as_ref().map(Task::revision) == write.from {
                    let late = late.iter().copied().filter(|&other| other != number).collect();
                    worlds.push(World { task: write.to.clone(), late });
                }
            }
            at += 1;
        }
        match told {
            Told::Nothing => {}
            Told::Seen(seen) => worlds.retain(|world| world.task.as_ref() == *seen),
            Told::Wrote(write, answer) => {
                let mut next = Vec::new();
                for world in worlds {
                    let current = world.is_at(write.from);
                    if current && *answer != Some(false) {
                        next.push(World { task: write.to.clone(), late: world.late.clone() });
                    }
                    let is_excused = !current || may_conflict;
                    if answer.is_none() || *answer == Some(false) && is_excused {
                        next.push(world);
                    }
                }
                worlds = next;
            }
        }
        for world in &mut worlds {
            let (revision, late) = (world.task.as_ref().map(Task::revision), &mut world.late);
            // No revision comes again, unless a late create begins anew after a delete.
            let recurs = late.iter().any(|&number| self.given_up[number].from.is_none());
            late.retain(|&number| recurs || self.given_up[number].from == revision);
        }
        worlds
    }
}

impl<T> World<T> {
    fn is_at(&self, from: Option<Revision>) -> bool {
        self.task.as_ref().map(Task::revision) == from
    }
}

/// The news of a task in an answer.
enum Told<'a, T> {
    /// The outcome is unknown, of a call that changes nothing.
    Nothing,
    Seen(Option<&'a Task<T>>),
    /// `None`: the outcome is unknown.
    Wrote(Write<T>, Option<bool>),
}

/// All tasks of a store.
pub(crate) struct Ledger<I, T> {
    pub(crate) rows: Vec<Row<I, T>>,
    /// True if an error of the store may mean that it happened.
    loses_answers: bool,
    /// True if calls overlapped, or one was given up.
    disturbed: bool,
    /// True if a call was given up, and so may still be under way.
    abandoned: bool,
}

impl<I: Clone + Debug, T: Clone + PartialEq + Debug> Ledger<I, T> {
    pub(crate) const fn new(loses_answers: bool) -> Self {
        Self { rows: Vec::new(), loses_answers, disturbed: false, abandoned: false }
    }

    /// Adds a task by its name. Returns its number.
    pub(crate) fn push(&mut self, id: I, task: Option<Task<T>>, client: usize) -> usize {
        self.rows.push(Row::new(id, task, client));
        self.rows.len() - 1
    }

    /// Takes the answer to a call that was made alone.
    pub(crate) fn settle(&mut self, heard: &Heard<I, T>) -> Result<(), Breach> {
        let Heard { call, answer } = heard;
        if self.is_lost(heard) {
            return Ok(());
        }
        if let (Request::Create(task), Answer::Created(id)) = (&call.request, answer) {
            self.push(id.clone(), Some(task.clone()), call.client);
        } else if !self.can_be(heard, self.abandoned) {
            return Err(self.breach(heard));
        }
        self.note(heard);
        Ok(())
    }

    /// Takes the answers to calls that overlapped.
    pub(crate) fn settle_both(&mut self, both: &mut [Heard<I, T>; 2]) -> Result<(), Breach> {
        self.disturbed = true;
        for Heard { call, answer } in &mut *both {
            if let (Request::Create(task), Answer::Created(id)) = (&call.request, &*answer) {
                call.row = self.push(id.clone(), Some(task.clone()), call.client);
            }
            if let Some(row) = self.rows.get_mut(call.row) {
                row.disturbed = true;
            }
        }
        let [one, two] = &*both;
        let (told, is_one) = ([self.told(one), self.told(two)], one.call.row == two.call.row);
        if let (true, [Some(first), Some(second)]) = (is_one, &told) {
            if !self.rows[one.call.row].told_both(first, second, self.abandoned) {
                return Err(self.breach_of_both(one, two));
            }
        } else {
            for heard in [one, two] {
                let is_new = matches!(heard.answer, Answer::Created(_));
                if !is_new && !self.is_lost(heard) && !self.can_be(heard, true) {
                    return Err(self.breach(heard));
                }
            }
        }
        for heard in both {
            self.note(heard);
        }
        Ok(())
    }

    /// True if it is an error that tells nothing.
    fn is_lost(&self, Heard { call, answer }: &Heard<I, T>) -> bool {
        let is_read = matches!(call.request, Request::Create(_) | Request::Load(_));
        self.loses_answers && is_read && matches!(answer, Answer::Error(_))
    }

    /// Notes a call that was given up: it happens now, later, or never.
    pub(crate) fn give_up(&mut self, call: &Call<I, T>) {
        (self.disturbed, self.abandoned) = (true, true);
        if let (Some(row), Some(write)) = (self.rows.get_mut(call.row), call.request.write()) {
            row.disturbed = true;
            for world in &mut row.worlds {
                world.late.push(row.given_up.len());
            }
            row.given_up.push(write);
        }
    }

    /// Notes a crash.
    pub(crate) fn reopened(&mut self) {
        for row in &mut self.rows {
            row.since = Since::Reopened;
        }
    }

    /// Notes that every client saw every task right.
    pub(crate) fn seen_right(&mut self) {
        for row in &mut self.rows {
            row.since = Since::Changed;
            row.disturbed = !row.is_certain(); // what was given up may still come
        }
    }

    fn told<'a>(&self, Heard { call, answer }: &'a Heard<I, T>) -> Option<Told<'a, T>> {
        Some(match (call.request.write(), answer) {
            (None, Answer::Loaded(task)) => Told::Seen(task.as_ref()),
            (Some(write), Answer::Written(accepted)) => Told::Wrote(write, Some(*accepted)),
            (Some(write), Answer::Error(_)) if self.loses_answers => Told::Wrote(write, None),
            (Some(_), Answer::NotSupported) => Told::Nothing,
            _ => return None,
        })
    }

    /// Takes what an answer tells of a task; false if it cannot be.
    fn can_be(&mut self, heard: &Heard<I, T>, may_conflict: bool) -> bool {
        let Some(told) = self.told(heard) else { return false };
        let Some(row) = self.rows.get_mut(heard.call.row) else { return false };
        match &told {
            Told::Seen(task) if row.is_certain() => return row.task() == *task,
            Told::Wrote(_, Some(false)) => row.excused |= self.abandoned,
            Told::Wrote(_, Some(true)) => row.excused = false,
            _ => {}
        }
        row.keep(row.after(&row.worlds, &told, may_conflict))
    }

    /// Notes what an answer means for the naming of laws.
    fn note(&mut self, Heard { call, answer }: &Heard<I, T>) {
        let is_changed = matches!(answer, Answer::Created(_) | Answer::Written(true));
        if let (Answer::Error(_), Some(row)) = (answer, self.rows.get_mut(call.row)) {
            // It is unknown whether it happened.
            (row.disturbed, self.disturbed) = (true, true);
        }
        for (number, row) in self.rows.iter_mut().enumerate() {
            let since = match answer {
                Answer::Loaded(_) => Since::Changed,
                _ if !is_changed => Since::Refused,
                _ if number != call.row => Since::OthersChanged,
                _ => {
                    (row.since, row.writer) = (Since::Changed, call.client);
                    Since::Changed
                }
            };
            row.since = row.since.max(since);
        }
    }

    /// Names the law that an answer breaks to a call that was made alone.
    fn breach(&self, heard: &Heard<I, T>) -> Breach {
        let Heard { call, answer } = heard;
        let Some(row) = self.rows.get(call.row) else {
            let expected = "the task is stored and named".into();
            return self.found(Law::NoError, expected, answer.words());
        };
        let from = call.request.write().map(|write| write.from);
        let law = match (&call.request, answer) {
            (_, Answer::Loaded(seen)) => return self.breach_seen(call.row, seen.as_ref()),
            (Request::CreateAs(..), Answer::Written(true)) => Law::TakenIsRefused,
            (Request::Commit(..), Answer::Written(true)) if row.is_deleted() => Law::DeletedIsGone,
            (_, Answer::Written(true)) if row.disturbed => Law::OneWins,
            (Request::Delete(..), Answer::Written(true)) => Law::StaleDeleteIsRefused,
            (_, Answer::Written(true)) => Law::StaleIsRefused,
            (_, Answer::Written(false)) => Law::CurrentIsAccepted,
            (Request::CreateAs(..), _) => Law::NoError,
            (_, Answer::Error(_)) if row.is_gone() && !row.disturbed => Law::AbsenceIsNoError,
            _ => Law::NoError,
        };
        let due = |from| if row.is_at(from) { "accepted, for " } else { "refused, for " };
        let (due, is) = (from.map_or("", due), show(row.task()));
        let expected = format!("{due}task {} is: {is}", call.row + 1);
        let mut breach = self.found(law, expected, answer.words());
        // What went wrong may have gone wrong before, and unseen.
        let is_vague = self.disturbed && !matches!(answer, Answer::None(_));
        breach.rank = if is_vague { VAGUE } else { breach.rank };
        breach
    }

    /// Names the law that is broken if a task is seen otherwise than it is.
    fn breach_seen(&self, number: usize, seen: Option<&Task<T>>) -> Breach {
        let row = &self.rows[number];
        let is_others = |row: &Row<_, _>| seen.is_some() && row.was(seen);
        let law = match row.since {
            _ if row.disturbed => match (row.was(seen), row.is_deleted()) {
                (true, true) => Law::DeletedIsGone,
                (true, false) => Law::NeverOlder,
                _ if self.rows.iter().any(is_others) => Law::OthersAreUntouched,
                _ => Law::SeenWhole,
            },
            Since::Reopened => Law::SurvivesCrash,
            Since::Refused => Law::RefusalWritesNothing,
            _ if row.is_free() => Law::SeenWhole,
            _ if row.is_deleted() => Law::DeletedIsGone,
            Since::OthersChanged => Law::OthersAreUntouched,
            Since::Changed => Law::StoredWhole,
        };
        let texts = difference(row.task(), seen);
        let [expected, seen] = texts.map(|text| format!("task {}: {text}", number + 1));
        self.found(law, expected, seen)
    }

    /// Names the law that answers break to calls about one task which overlapped.
    fn breach_of_both(&self, one: &Heard<I, T>, two: &Heard<I, T>) -> Breach {
        let from = |it: &Heard<I, T>| it.call.request.write().and_then(|write| write.from);
        let (law, expected, seen) = match (&one.answer, &two.answer) {
            (Answer::Written(false), Answer::Written(false)) => {
                (Law::CurrentIsAccepted, "one of the two is accepted", "both are refused")
            }
            (Answer::Written(true), Answer::Written(true)) if from(one) == from(two) => {
                let takes_name = matches!(one.call.request, Request::CreateAs(..));
                let law = if takes_name { Law::TakenIsRefused } else { Law::OneWins };
                (law, "one is refused, for both come from one revision", "both are accepted")
            }
            (Answer::Written(true), Answer::Written(true)) => {
                let one_is_stale = !self.rows[one.call.row].is_at(from(one));
                let (stale, other) = if one_is_stale { (one, two) } else { (two, one) };
                let law = match (&stale.call.request, &other.call.request) {
                    (Request::Commit(..), Request::Delete(..)) => Law::DeletedIsGone,
                    (Request::Delete(..), _) => Law::StaleDeleteIsRefused,
                    _ => Law::StaleIsRefused,
                };
                (law, "the one from a stale copy is refused", "both are accepted")
            }
            (Answer::Written(false), _) | (_, Answer::Loaded(_)) => {
                return self.breach(two);
            }
            _ => return self.breach(one),
        };
        self.found(law, expected.into(), seen.into())
    }

    pub(crate) fn found(&self, law: Law, expected: String, seen: String) -> Breach {
        // What needs no overlap tells most.
        let rank = if self.disturbed { rank(law) } else { 0 };
        Breach { law, expected, seen, rank }
    }
}

/// The worth of a broken law as evidence once calls overlapped: then an error may be half a row,
/// which cannot be read.
pub(crate) const fn rank(law: Law) -> u8 {
    match law {
        Law::OneWins | Law::TakenIsRefused => 1,
        Law::SeenWhole | Law::DeletedIsGone => 2,
        Law::NeverOlder | Law::OthersAreUntouched => 3,
        _ => VAGUE,
    }
}
