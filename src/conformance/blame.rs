//! Which law an answer breaks that cannot be.

use std::boxed::Box;
use std::format;
use std::string::String;

use super::call::{Answer, Call, Request};
use super::flight::pause;
use super::found::{Found, Outcome, VAGUE};
use super::model::{Row, Since, Write};
use super::play::Play;
use super::show::{difference, show};
use super::suite::Suite;
use super::{Law, Store};

impl<S: Store> Play<'_, S> {
    /// An answer that cannot be, to anything but a load.
    pub(super) async fn wrong(&mut self, call: &Call<S>, answer: &Answer<S>) -> Outcome {
        let misses = matches!(answer, Answer::Error(_)) && self.misses(call).await;
        let row = self.rows.get(call.index);
        let may = |write: &Write<S::Payload>| row.is_some_and(|row| row.is_at(write.loaded));
        let due = if call.write().is_none_or(may) {
            "accepted"
        } else {
            "refused"
        };
        let deletes = call.write().is_some_and(|write| write.task.is_none());
        let law = match answer {
            Answer::CreatedAs(_) => Law::TakenIsRefused,
            Answer::Written(true) if row.is_some_and(|row| row.disturbed) => Law::OneWins,
            Answer::Written(true) if deletes => Law::StaleDeleteIsRefused,
            Answer::Written(true) => Law::StaleIsRefused,
            Answer::Written(false) => Law::CurrentIsAccepted,
            Answer::Error(_) if misses => Law::AbsenceIsNoError,
            Answer::Loaded(_) | Answer::Created(_) | Answer::Error(_) | Answer::None(_) => {
                Law::NoError
            }
        };
        let is = show(row.and_then(Row::task));
        let expected = format!("{due}, for task {} is: {is}", call.index + 1);
        let mut outcome = self.breaks(law, expected, answer);
        if let (true, Err(found)) = (self.disturbed, &mut outcome) {
            // What went wrong may have gone wrong before, and unseen.
            found.rank = VAGUE;
        }
        outcome
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
        let (loaded, task) = (*loaded, Some(Suite::<S>::strange_task()));
        let request = Request::Write(id.clone(), Write { loaded, task });
        matches!(self.make(call.client, &request).await, Answer::Error(_))
    }

    /// An answer that cannot be, to a call that overlapped another.
    pub(super) async fn wrong_meanwhile(&mut self, call: &Call<S>, answer: &Answer<S>) -> Outcome {
        let Answer::Loaded(seen) = answer else {
            return self.wrong(call, answer).await;
        };
        let row = &self.rows[call.index];
        let law = if row.was(seen.as_ref()) {
            Law::NeverOlder
        } else {
            Law::SeenWhole
        };
        let is = show(row.task());
        let expected = format!(
            "task {} as it is, or as it was committed: {is}",
            call.index + 1
        );
        self.breaks(law, expected, answer)
    }

    /// Answers about one task to calls that overlapped, which cannot be in either order.
    pub(super) async fn wrong_pair(&mut self, pair: [(&Call<S>, &Answer<S>); 2]) -> Outcome {
        let [(one, a), (two, b)] = pair;
        match (a, b) {
            (Answer::Written(true), Answer::Written(true)) => {
                let expected = "one of the two is refused, for both come from one revision";
                self.found(
                    Law::OneWins,
                    expected.into(),
                    "both are accepted".into(),
                    false,
                )
            }
            (Answer::Written(false), Answer::Written(false)) => {
                let expected = "one of the two is accepted".into();
                self.found(
                    Law::CurrentIsAccepted,
                    expected,
                    "both are refused".into(),
                    false,
                )
            }
            (Answer::Written(false), _) | (_, Answer::Loaded(_)) => {
                self.wrong_meanwhile(two, b).await
            }
            _ => self.wrong_meanwhile(one, a).await,
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
        let task = format!("task {}: ", index + 1);
        let Answer::Loaded(seen) = answer else {
            let is_missed = matches!(answer, Answer::Error(_)) && row.is_gone();
            let law = if is_missed {
                Law::AbsenceIsNoError
            } else {
                Law::NoError
            };
            return self.breaks(law, task + &show(row.task()), answer);
        };
        let (since, was) = (row.since, row.was(seen.as_ref()));
        let law = if row.disturbed {
            let is_others = |row: &Row<_, _>| seen.is_some() && row.was(seen.as_ref());
            if was && !row.inferred {
                Law::NeverOlder
            } else if !was && self.rows.iter().any(is_others) {
                Law::OthersAreUntouched
            } else {
                Law::SeenWhole
            }
        } else if since == Since::Reopened {
            Law::SurvivesCrash
        } else if since == Since::Refused {
            Law::RefusalWritesNothing
        } else if self.stranger == Some(index) {
            Law::SeenWhole
        } else if row.is_gone() {
            Law::DeletedIsGone
        } else if since == Since::OthersChanged {
            Law::OthersAreUntouched
        } else if viewer != row.writer && self.sees_right(row.writer, index).await {
            Law::SeenByAll
        } else if was && self.comes_late(viewer, index).await {
            Law::NeverOlder
        } else {
            Law::StoredWhole
        };
        let (expected, seen) = difference(self.rows[index].task(), seen.as_ref());
        self.found(law, task.clone() + &expected, task + &seen, false)
    }

    async fn sees_right(&mut self, viewer: usize, index: usize) -> bool {
        let request = Request::Load(self.rows[index].id.clone());
        let answer = self.make(viewer, &request).await;
        matches!(answer, Answer::Loaded(seen) if seen.as_ref() == self.rows[index].task())
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
        let mut found = Found::new(&self.suite.clock, law, expected, seen, self.disturbed);
        found.violation.watched = self.watched;
        found.silent = silent;
        Err(Box::new(found))
    }
}
