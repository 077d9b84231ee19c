//! Whether an answer may be, and which law it breaks if not.

use std::boxed::Box;
use std::format;
use std::string::String;

use super::call::{Answer, Call, Request};
use super::flight::pause;
use super::model::{Row, Since, Write};
use super::play::{Found, Outcome, Play};
use super::show::{difference, show};
use super::suite::Suite;
use super::{Law, Store, Violation};

impl<S: Store> Play<'_, S> {
    /// Takes the answer to a call that was made alone.
    pub(super) async fn settle(&mut self, call: &Call<S>, answer: &Answer<S>) -> Outcome {
        match (&call.request, answer) {
            (Request::Create(task), Answer::Created(id)) => {
                self.push(Row::new(id.clone(), Some(task.clone()), call.client));
            }
            (Request::CreateAs(..), Answer::CreatedAs(None)) => self.suite.creates_as = false,
            (Request::CreateAs(..), Answer::CreatedAs(Some(false))) => {}
            (Request::Create(_) | Request::CreateAs(..), _) => {
                return self.wrong(call, answer).await;
            }
            (Request::Load(_) | Request::Write(..), _) => {
                if !self.may_be(call, answer, false) {
                    if let Request::Load(_) = call.request {
                        return self.differs(call.client, call.index, answer).await;
                    }
                    return self.wrong(call, answer).await;
                }
            }
        }
        self.book(call, answer);
        Ok(())
    }

    /// Takes the answers to calls that overlapped.
    pub(super) async fn settle_both(&mut self, mut calls: [(Call<S>, Answer<S>); 2]) -> Outcome {
        self.suite.report.overlapped += 1;
        self.disturbed = true;
        let same = calls[0].0.index == calls[1].0.index;
        for (call, answer) in &mut calls {
            if let (Request::Create(task), Answer::Created(id)) = (&call.request, &*answer) {
                call.index = self.push(Row::new(id.clone(), Some(task.clone()), call.client));
            }
            if let Some(row) = self.rows.get_mut(call.index) {
                row.since.disturbed = true;
            }
        }
        let [(one, a), (two, b)] = &calls;
        if let (true, Some(told), Some(other)) = (same, one.told(a), two.told(b)) {
            if !self.rows[one.index].told_both(&told, &other) {
                return self.wrong_pair([(one, a), (two, b)]).await;
            }
        } else {
            for (call, answer) in &calls {
                let is_new = matches!(answer, Answer::Created(_));
                if !(is_new || call.is_lost(answer) || self.may_be(call, answer, true)) {
                    return self.wrong_pair([(call, answer), (call, answer)]).await;
                }
            }
        }
        for (call, answer) in &calls {
            self.book(call, answer);
        }
        Ok(())
    }

    /// Takes what an answer tells of a task; false if it cannot be.
    fn may_be(&mut self, call: &Call<S>, answer: &Answer<S>, may_conflict: bool) -> bool {
        let row = self.rows.get_mut(call.index).zip(call.told(answer));
        row.is_some_and(|(row, told)| row.told(&told, may_conflict))
    }

    /// An answer that cannot be, to anything but a load.
    async fn wrong(&mut self, call: &Call<S>, answer: &Answer<S>) -> Outcome {
        let misses = matches!(answer, Answer::Error(_)) && self.misses(call).await;
        let row = self.rows.get(call.index);
        let is = || show(row.and_then(Row::task));
        let is_due = call
            .write()
            .is_none_or(|write| row.is_some_and(|row| row.is_at(write.loaded)));
        let due = if is_due { "accepted" } else { "refused" };
        let (law, why) = match answer {
            Answer::CreatedAs(_) => (Law::TakenIsRefused, is()),
            Answer::Written(true) if self.disturbed => (Law::OneWins, is()),
            Answer::Written(true) if call.write().is_some_and(|write| write.task.is_none()) => {
                (Law::StaleDeleteIsRefused, is())
            }
            Answer::Written(true) => (Law::StaleIsRefused, is()),
            Answer::Written(false) => (Law::CurrentIsAccepted, is()),
            Answer::Error(_) if misses => (Law::AbsenceIsNoError, is()),
            _ => (Law::NoError, is()),
        };
        let expected = format!("{due}, for task {} is: {why}", call.index + 1);
        self.breaks(law, expected, answer)
    }

    /// Whether it is that there is no such task what the store fails at.
    async fn misses(&mut self, call: &Call<S>) -> bool {
        let Request::Write(id, Write { loaded, task }) = &call.request else {
            return false;
        };
        if !self.rows[call.index].is_gone() {
            return false;
        }
        if task.is_none() {
            return true;
        }
        // Not at what was to be written: at something plain, too.
        let task = Some(Suite::<S>::strange_task());
        let request = Request::Write(
            id.clone(),
            Write {
                loaded: *loaded,
                task,
            },
        );
        matches!(self.make(call.client, &request).await, Answer::Error(_))
    }

    /// Answers to calls that overlapped, which cannot be in either order.
    async fn wrong_pair(&mut self, pair: [(&Call<S>, &Answer<S>); 2]) -> Outcome {
        for (call, answer) in pair {
            let row = self.rows.get(call.index);
            match answer {
                Answer::Loaded(seen) => {
                    let was = row.is_some_and(|row| row.was(seen.as_ref()));
                    let law = if was { Law::NeverOlder } else { Law::SeenWhole };
                    let before = show(row.and_then(Row::task));
                    let expected = format!("task {} as it is or was: {before}", call.index + 1);
                    return self.breaks(law, expected, answer);
                }
                Answer::Error(_) | Answer::None(_) => return self.wrong(call, answer).await,
                _ => {}
            }
        }
        let [(one, a), (_, b)] = pair;
        match (a, b) {
            (Answer::Written(false), Answer::Written(false)) => {
                self.breaks(Law::CurrentIsAccepted, "one of the two is accepted", a)
            }
            (Answer::Written(true), Answer::Written(true)) => {
                let loaded = one.write().map_or(0, |write| write.loaded);
                let expected =
                    format!("one of the two is refused, for both were at revision {loaded}");
                self.breaks(Law::OneWins, expected, a)
            }
            (Answer::Written(true), _) => self.wrong(one, a).await,
            _ => self.wrong(pair[1].0, b).await,
        }
    }

    /// A client saw a task otherwise than the machine has it: names the law.
    pub(super) async fn differs<T>(
        &mut self,
        viewer: usize,
        index: usize,
        answer: &Answer<S>,
    ) -> Outcome<T> {
        let row = &self.rows[index];
        let Answer::Loaded(seen) = answer else {
            let missed = matches!(answer, Answer::Error(_)) && row.is_gone();
            let law = if missed {
                Law::AbsenceIsNoError
            } else {
                Law::NoError
            };
            let expected = format!("task {}: {}", index + 1, show(row.task()));
            return self.breaks(law, expected, answer);
        };
        let since = row.since;
        let was = row.was(seen.as_ref());
        let law = if since.disturbed {
            let is_others = |row: &Row<S::Id, S::Payload>| seen.is_some() && row.was(seen.as_ref());
            if was {
                Law::NeverOlder
            } else if self.rows.iter().any(is_others) {
                Law::OthersAreUntouched
            } else {
                Law::SeenWhole
            }
        } else if since.reopened {
            Law::SurvivesCrash
        } else if since.refused {
            Law::RefusalWritesNothing
        } else if self.stranger == Some(index) {
            Law::SeenWhole
        } else if row.is_gone() {
            Law::DeletedIsGone
        } else if since.others_changed {
            Law::OthersAreUntouched
        } else if viewer != row.writer && self.sees_right(row.writer, index).await {
            Law::SeenByAll
        } else if was && self.comes_late(viewer, index).await {
            Law::NeverOlder
        } else {
            Law::StoredWhole
        };
        let (expected, seen) = difference(self.rows[index].task(), seen.as_ref());
        let task = format!("task {}: ", index + 1);
        self.found(law, task.clone() + &expected, task + &seen, false)
    }

    async fn sees_right(&mut self, viewer: usize, index: usize) -> bool {
        let request = Request::Load(self.rows[index].id.clone());
        match self.make(viewer, &request).await {
            Answer::Loaded(seen) => seen.as_ref() == self.rows[index].task(),
            _ => false,
        }
    }

    /// Whether it is right after a while: then it was stored, and the answer came before.
    async fn comes_late(&mut self, viewer: usize, index: usize) -> bool {
        if let Some(late) = self.suite.comes_late {
            return late;
        }
        let mut late = false;
        for ticks in [1, 4, 16, 64] {
            pause(&self.suite.clock, ticks).await;
            late |= self.sees_right(viewer, index).await;
        }
        self.suite.comes_late = Some(late);
        late
    }

    pub(super) fn breaks<T>(
        &self,
        law: Law,
        expected: impl Into<String>,
        answer: &Answer<S>,
    ) -> Outcome<T> {
        self.found(law, expected.into(), answer.words(), answer.is_silent())
    }

    fn found<T>(&self, law: Law, expected: String, seen: String, silent: bool) -> Outcome<T> {
        let rank = match law {
            _ if !self.disturbed => 0,
            Law::OneWins => 1,
            Law::SeenWhole => 2,
            Law::NeverOlder => 3,
            _ => 4,
        };
        let violation = Violation {
            law,
            story: self.suite.clock.story(),
            expected,
            seen,
            replay: String::new(),
            seed: None,
            watched: self.watched,
        };
        Err(Box::new(Found {
            violation,
            rank,
            silent,
        }))
    }

    /// Notes what an answer that may be means for the clients and for the laws.
    fn book(&mut self, call: &Call<S>, answer: &Answer<S>) {
        let Call { client, index, .. } = *call;
        let report = &mut self.suite.report;
        let changed = match (answer, call.write()) {
            (Answer::Loaded(task), _) => {
                self.clients[client].copies[index].clone_from(task);
                return;
            }
            (Answer::Created(_), _) => true,
            (Answer::Written(true), Some(write)) => {
                report.commits += u32::from(write.task.is_some());
                report.deletes += u32::from(write.task.is_none());
                report.reverts += u32::from(call.reverts);
                self.clients[client].copies[index].clone_from(&write.task);
                true
            }
            (answer, _) => {
                report.stale += u32::from(matches!(answer, Answer::Written(false)));
                self.clients[client].copies[index] = None; // load again, decide again
                false
            }
        };
        self.actor = client;
        for (number, row) in self.rows.iter_mut().enumerate() {
            if !changed {
                row.since.refused = true;
            } else if number == index {
                let disturbed = row.since.disturbed;
                row.since = Since {
                    disturbed,
                    ..Since::default()
                };
                row.writer = client;
            } else {
                row.since.others_changed = true;
            }
        }
    }
}
