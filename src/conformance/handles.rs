//! The handles that the clients have, before a crash and after.

use std::format;

use super::call::Answer;
use super::flight::{Fault, alone};
use super::found::Outcome;
use super::model::Since;
use super::play::Play;
use super::{Law, NOT_REOPENED, Store};

/// How much longer it may take to make a handle than to answer.
const OPENING: u64 = 4;

impl<S: Store> Play<'_, S> {
    pub(super) fn handle(&self, client: usize) -> &S {
        &self.handles[client % self.handles.len()]
    }

    pub(super) async fn ask_for_another(&mut self) -> Outcome {
        let (clock, patience) = (&self.suite.clock, OPENING * self.suite.patience);
        let flight = alone(clock, self.handles[0].another(), patience).await;
        match flight.answer() {
            Ok(another) => self.handles.extend(another),
            Err(fault) => return self.fails("another handle is made", fault),
        }
        let handles = u32::try_from(self.handles.len()).unwrap_or(0);
        self.suite.report.handles = self.suite.report.handles.max(handles);
        Ok(())
    }

    pub(super) async fn reopen(&mut self) -> Outcome {
        // The other handle goes first, as with the process that had it.
        self.handles.truncate(1);
        let Some(store) = self.handles.pop() else {
            return Ok(());
        };
        NOT_REOPENED.set(false);
        let (clock, patience) = (&self.suite.clock, OPENING * self.suite.patience);
        let flight = alone(clock, store.reopen(), patience).await;
        match flight.answer() {
            Ok(store) => self.handles.push(store),
            Err(fault) => return self.fails("the store is reopened", fault),
        }
        self.ask_for_another().await?;
        if NOT_REOPENED.get() {
            return Ok(());
        }
        self.suite.clock.tell("the store is reopened".into());
        self.suite.report.reopened += 1;
        for row in &mut self.rows {
            row.since = Since::Reopened;
        }
        self.look().await
    }

    fn fails(&self, what: &str, fault: Fault) -> Outcome {
        let answer = Answer::None(fault);
        let line = format!("{what}: {}", answer.words());
        self.suite.clock.tell(line);
        self.breaks(Law::NoError, "a handle", &answer)
    }
}
