//! Whether an answer may be, and what follows from it.

use super::Store;
use super::call::{Answer, Call, Request};
use super::found::Outcome;
use super::model::{Row, Since};
use super::play::Play;

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
                row.disturbed = true;
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
                    return self.wrong_meanwhile(call, answer).await;
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

    /// Notes what an answer that may be means for the clients and for the laws.
    fn book(&mut self, call: &Call<S>, answer: &Answer<S>) {
        let Call { client, index, .. } = *call;
        let report = &mut self.suite.report;
        let mut is_changed = false;
        match (answer, call.write()) {
            (Answer::Loaded(task), _) => {
                self.clients[client].copies[index].clone_from(task);
                return;
            }
            (Answer::Created(_), _) => is_changed = true,
            (Answer::Written(true), Some(write)) => {
                report.commits += u32::from(write.task.is_some());
                report.deletes += u32::from(write.task.is_none());
                report.reverts += u32::from(call.reverts);
                self.clients[client].copies[index].clone_from(&write.task);
                is_changed = true;
            }
            (Answer::Written(false), _) => {
                report.stale += 1;
                self.clients[client].copies[index] = None; // load again, decide again
            }
            (Answer::Error(_), Some(_)) => {
                // It is unknown whether it happened.
                self.disturbed = true;
                self.rows[index].disturbed = true;
                self.clients[client].copies[index] = None;
            }
            _ => {}
        }
        self.actor = client;
        for (number, row) in self.rows.iter_mut().enumerate() {
            if !is_changed {
                row.since = row.since.max(Since::Refused);
            } else if number == index {
                row.since = Since::Changed;
                row.writer = client;
            } else {
                row.since = row.since.max(Since::OthersChanged);
            }
        }
    }
}
