//! A history, played on a store and on the machine.

use std::format;
use std::vec::Vec;

use super::call::{Answer, Call, Request, ask};
use super::flight::{Fault, alone};
use super::found::Outcome;
use super::history::{Ask, Event, History};
use super::model::{Row, Since, Told};
use super::suite::Suite;
use super::{Law, Store};
use crate::Task;

/// How often a store that loses answers is asked again.
const TRIES: u32 = 32;

/// No history has more tasks, so that the last name of another store is nobody's.
pub(super) const MOST_TASKS: usize = 20;

/// One client: the copies that it holds, by task, and what it sent last.
pub(super) struct Client<S: Store> {
    pub(super) copies: Vec<Option<Task<S::Payload>>>,
    pub(super) sent: Option<Call<S>>,
}

pub(super) struct Play<'a, S: Store> {
    pub(super) suite: &'a mut Suite<S>,
    /// One handle, or one for each client.
    pub(super) handles: Vec<S>,
    pub(super) clients: [Client<S>; 2],
    pub(super) rows: Vec<Row<S::Id, S::Payload>>,
    /// The number of the task that never existed.
    pub(super) stranger: Option<usize>,
    pub(super) texts: u32,
    /// Who acted last, and looks first.
    pub(super) actor: usize,
    pub(super) watched: bool,
    /// Whether calls overlapped, or one was given up.
    pub(super) disturbed: bool,
}

impl<'a, S: Store> Play<'a, S> {
    pub(super) fn new(store: S, suite: &'a mut Suite<S>, watched: bool) -> Self {
        let client = || Client {
            copies: Vec::new(),
            sent: None,
        };
        suite.clock.begin();
        suite.report.histories += 1;
        Self {
            suite,
            handles: [store].into(),
            clients: [client(), client()],
            rows: Vec::new(),
            stranger: None,
            texts: 0,
            actor: 0,
            watched,
            disturbed: false,
        }
    }

    pub(super) async fn all(&mut self, history: &History) -> Outcome {
        self.ask_for_another().await?;
        for event in &history.events {
            self.event(event).await?;
            self.look_if_watched().await?;
        }
        self.look().await
    }

    async fn event(&mut self, event: &Event) -> Outcome {
        match event {
            Event::Act(act) => {
                if let Some(call) = self.prepare(act, false).await? {
                    self.send(call).await?;
                }
            }
            Event::Repeat(client) => {
                if let Some(mut call) = self.clients[usize::from(*client)].sent.take() {
                    call.words.push_str(" again");
                    self.send(call).await?;
                }
            }
            Event::Crowd(count) => {
                let (first, last) = (self.rows.len() + 1, self.rows.len() + usize::from(*count));
                let line = format!("client 1 creates tasks {first} to {last}");
                let line = self.suite.clock.tell(line);
                for _ in 0..*count {
                    let call = self.create(0, 0);
                    let answer = self.make(call.client, &call.request).await;
                    self.settle(&call, &answer).await?;
                }
                self.suite.clock.add(line, ": accepted");
            }
            Event::Stranger(act) => self.ask_about_stranger(act).await?,
            Event::Reopen => self.reopen().await?,
            Event::Race {
                acts: [one, two],
                waits,
                one_handle,
            } => {
                // A delete may need a commit before it, so it is prepared first.
                let swapped = two.ask == Ask::Delete;
                let (early, late) = if swapped { (two, one) } else { (one, two) };
                if let Some(early) = self.prepare(early, true).await? {
                    if let Some(late) = self.prepare(late, true).await? {
                        let calls = if swapped {
                            [late, early]
                        } else {
                            [early, late]
                        };
                        self.race(calls, *waits, *one_handle).await?;
                    }
                }
            }
            Event::GiveUp { act, waits } => {
                if let Some(call) = self.prepare(act, false).await? {
                    self.give_up(call, *waits).await?;
                }
            }
        }
        Ok(())
    }

    pub(super) fn push(&mut self, row: Row<S::Id, S::Payload>) -> usize {
        for client in &mut self.clients {
            client.copies.push(None);
        }
        self.rows.push(row);
        self.rows.len() - 1
    }

    /// Makes a call while no other is in flight. A store that loses answers is asked again, where
    /// that can do no harm.
    pub(super) async fn make(&mut self, client: usize, request: &Request<S>) -> Answer<S> {
        let may_repeat = S::LOSES_ANSWERS && !matches!(request, Request::Write(..));
        for attempt in 1.. {
            let (clock, patience) = (&self.suite.clock, self.suite.patience);
            let began = clock.now();
            let flight = alone(clock, ask(self.handle(client), request), patience).await;
            let (ticks, waits) = (clock.now() - began, flight.waits);
            let answer = flight.answer().unwrap_or_else(Answer::None);
            if !answer.is_silent() {
                self.suite.measure(ticks);
                let loads = matches!(request, Request::Load(_));
                self.suite.waits.learn(loads, waits);
            }
            if !(may_repeat && matches!(answer, Answer::Error(_)) && attempt < TRIES) {
                return answer;
            }
        }
        Answer::None(Fault::Silent)
    }

    pub(super) async fn send(&mut self, mut call: Call<S>) -> Outcome {
        let Call { client, .. } = call;
        if let Request::Create(_) = call.request {
            call.index = self.rows.len();
        }
        for attempt in 1.. {
            let line = self.suite.clock.tell(call.line());
            let answer = self.make(client, &call.request).await;
            self.suite.clock.add(line, &format!(": {}", answer.words()));
            let lost = S::LOSES_ANSWERS && matches!(answer, Answer::Error(_));
            self.settle(&call, &answer).await?;
            let Some(write) = call.write().filter(|_| lost && self.watched) else {
                break;
            };
            // The outcome is unknown: load, and if it did not happen, commit again.
            self.see(client, call.index, None).await?;
            if !self.rows[call.index].is_at(write.loaded) {
                break;
            }
            if attempt == TRIES {
                return self.breaks(
                    Law::NoError,
                    "now and then another answer than an error",
                    &answer,
                );
            }
        }
        self.remember(call);
        Ok(())
    }

    pub(super) async fn look_if_watched(&mut self) -> Outcome {
        if self.watched {
            self.look().await
        } else {
            Ok(())
        }
    }

    /// What a client may send again: a create would make another task.
    pub(super) fn remember(&mut self, call: Call<S>) {
        if call.write().is_some() {
            let client = call.client;
            self.clients[client].sent = Some(call);
        }
    }

    /// Every client looks at every task, the one who acted last first.
    pub(super) async fn look(&mut self) -> Outcome {
        for client in if self.actor == 0 { [0, 1] } else { [1, 0] } {
            for index in 0..self.rows.len() {
                let seen = self.see(client, index, None).await?;
                let copy = &mut self.clients[client].copies[index];
                if copy.is_none() {
                    *copy = seen;
                }
            }
        }
        for row in &mut self.rows {
            row.since = Since::Changed;
            row.disturbed = !row.is_certain(); // what was given up may still come
        }
        Ok(())
    }

    /// Loads a task, which must be as the machine has it. The line of the story is told already, or
    /// only if something is wrong.
    pub(super) async fn see(
        &mut self,
        viewer: usize,
        index: usize,
        line: Option<usize>,
    ) -> Outcome<Option<Task<S::Payload>>> {
        let request = Request::Load(self.rows[index].id.clone());
        let answer = self.make(viewer, &request).await;
        let call = Call::new(viewer, index, request);
        if let Answer::Loaded(seen) = &answer {
            if self.rows[index].told(&Told::Seen(seen.as_ref()), false) {
                return Ok(seen.clone());
            }
        }
        let line = line.unwrap_or_else(|| self.suite.clock.tell(call.line()));
        self.suite.clock.add(line, &format!(": {}", answer.words()));
        self.differs(viewer, index, &answer).await
    }
}
