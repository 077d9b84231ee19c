//! Calls that overlap, and calls that are given up.

use std::format;

use super::Store;
use super::call::{Answer, Call, Request, ask};
use super::flight::{Fault, Flight, hold, overlap};
use super::found::Outcome;
use super::play::Play;

impl<S: Store> Play<'_, S> {
    /// Holds one call after some waits while the other is made.
    pub(super) async fn race(
        &mut self,
        [one, mut two]: [Call<S>; 2],
        waits: u8,
        one_handle: bool,
    ) -> Outcome {
        let takes_name = |call: &Call<S>| matches!(call.request, Request::CreateAs(..));
        if waits == 0 || takes_name(&one) || takes_name(&two) {
            self.send(two).await?;
            self.look_if_watched().await?;
            return self.send(one).await;
        }
        let (clock, patience) = (&self.suite.clock, self.suite.patience);
        let line = clock.tell(one.line());
        let mut first = Flight::new(ask(self.handle(one.client), &one.request));
        hold(clock, &mut first, waits, patience).await;
        if first.has_ended() {
            let answer = first.answer().unwrap_or_else(Answer::None);
            clock.add(line, &format!(": {}", answer.words()));
            self.settle_unless_lost(&one, &answer).await?;
            self.look_if_watched().await?;
            return self.send(two).await;
        }
        if one.index == two.index && matches!(one.request, Request::Create(_)) {
            two.index += 1;
        }
        let meanwhile = clock.tell(format!("meanwhile {}", two.line()));
        let other = if one_handle { one.client } else { two.client };
        let mut second = Flight::new(ask(self.handle(other), &two.request));
        let moment = self.suite.moment();
        overlap(clock, [&mut first, &mut second], moment, patience).await;
        let a = first.answer().unwrap_or_else(Answer::None);
        let b = second.answer().unwrap_or_else(Answer::None);
        clock.add(line, &format!(", held after wait {waits}: {}", a.words()));
        clock.add(meanwhile, &format!(": {}", b.words()));
        self.settle_both([(one, a), (two, b)]).await
    }

    /// Takes an answer, unless it is an error that tells nothing.
    async fn settle_unless_lost(&mut self, call: &Call<S>, answer: &Answer<S>) -> Outcome {
        if call.is_lost(answer) {
            Ok(())
        } else {
            self.settle(call, answer).await
        }
    }

    /// The client goes away while its call is under way.
    pub(super) async fn give_up(&mut self, call: Call<S>, waits: u8) -> Outcome {
        let clock = &self.suite.clock;
        let line = clock.tell(call.line());
        let mut flight = Flight::new(ask(self.handle(call.client), &call.request));
        hold(clock, &mut flight, waits, self.suite.patience).await;
        let is_stuck = flight.waits < u32::from(waits);
        let ended = match flight.give_up() {
            None if is_stuck => Some(Err(Fault::Silent)),
            ended => ended,
        };
        if let Some(ended) = ended {
            let answer = ended.unwrap_or_else(Answer::None);
            self.suite.clock.add(line, &format!(": {}", answer.words()));
            return self.settle_unless_lost(&call, &answer).await;
        }
        self.suite
            .clock
            .add(line, &format!(": given up after wait {waits}"));
        self.suite.report.given_up += 1;
        self.disturbed = true;
        self.actor = call.client;
        if let Some(row) = self.rows.get_mut(call.index) {
            row.disturbed = true;
            self.clients[call.client].copies[call.index] = None;
            if let Some(write) = call.write() {
                row.given_up(write.clone());
            }
        }
        self.remember(call);
        Ok(())
    }
}
