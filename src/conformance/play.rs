//! A history, played on a store and on the machine.

use std::boxed::Box;
use std::format;
use std::string::{String, ToString};
use std::vec::Vec;

use super::call::{Answer, Call, Request, ask, change, leap};
use super::flight::{Fault, alone};
use super::history::{Act, Ask, Event, History, TEXTS};
use super::model::{Row, Since, Write};
use super::show::show;
use super::suite::Suite;
use super::{Law, NOT_REOPENED, Store, Violation};
use crate::Task;

/// A broken law, and what it is worth as evidence.
pub(super) struct Found {
    pub(super) violation: Violation,
    /// The lower, the more it says: 0 was found without any overlap, and the last may be another
    /// law's doing.
    pub(super) rank: u8,
    /// Whether a call did not end.
    pub(super) silent: bool,
}

pub(super) type Outcome<T = ()> = Result<T, Box<Found>>;
type Payload<S> = <S as Store>::Payload;

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
    handles: Vec<S>,
    pub(super) clients: [Client<S>; 2],
    pub(super) rows: Vec<Row<S::Id, S::Payload>>,
    /// The number of the task that never existed.
    pub(super) stranger: Option<usize>,
    texts: u32,
    /// Who acted last, and looks first.
    pub(super) actor: usize,
    pub(super) watched: bool,
    /// Whether calls overlapped, or one was given up.
    pub(super) disturbed: bool,
}

impl<'a, S: Store> Play<'a, S> {
    pub(super) async fn new(store: S, suite: &'a mut Suite<S>, watched: bool) -> Self {
        let client = || Client {
            copies: Vec::new(),
            sent: None,
        };
        suite.clock.begin();
        suite.report.histories += 1;
        let mut play = Self {
            suite,
            handles: Vec::new(),
            clients: [client(), client()],
            rows: Vec::new(),
            stranger: None,
            texts: 0,
            actor: 0,
            watched,
            disturbed: false,
        };
        play.hand_out(store).await;
        play
    }

    async fn hand_out(&mut self, store: S) {
        let another = store.another().await;
        self.handles = [store].into_iter().chain(another).collect();
        let handles = u32::try_from(self.handles.len()).unwrap_or(0);
        self.suite.report.handles = self.suite.report.handles.max(handles);
    }

    pub(super) async fn all(&mut self, history: &History) -> Outcome {
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
                for _ in 0..*count {
                    let call = self.create(0, 0);
                    self.send(call).await?;
                }
            }
            Event::Stranger(act) => self.stranger(act).await?,
            Event::Reopen => self.reopen().await?,
            Event::Race {
                acts: [one, two],
                waits,
                one_handle,
            } => {
                // A delete may need a commit before it, so it is prepared first.
                let (early, late) = if two.ask == Ask::Delete {
                    (two, one)
                } else {
                    (one, two)
                };
                let Some(early) = self.prepare(early, true).await? else {
                    return Ok(());
                };
                let Some(late) = self.prepare(late, true).await? else {
                    return Ok(());
                };
                let (one, two) = if two.ask == Ask::Delete {
                    (late, early)
                } else {
                    (early, late)
                };
                self.race(one, two, *waits, *one_handle).await?;
            }
            Event::GiveUp { act, waits } => {
                if let Some(call) = self.prepare(act, false).await? {
                    self.give_up(call, *waits).await?;
                }
            }
        }
        Ok(())
    }

    async fn reopen(&mut self) -> Outcome {
        // The other handle goes first, as with the process that had it.
        self.handles.truncate(1);
        let Some(store) = self.handles.pop() else {
            return Ok(());
        };
        NOT_REOPENED.set(false);
        let store = store.reopen().await;
        self.hand_out(store).await;
        if NOT_REOPENED.get() {
            return Ok(());
        }
        self.suite.clock.tell("the store is reopened".into());
        self.suite.report.reopened += 1;
        for row in &mut self.rows {
            row.since.reopened = true;
        }
        self.look().await
    }

    /// Asks about a task of another store, which never existed in this one.
    async fn stranger(&mut self, act: &Act) -> Outcome {
        let Some(id) = self.suite.stranger.clone() else {
            return Ok(());
        };
        let client = usize::from(act.client);
        let index = match self.stranger {
            Some(index) => index,
            None => {
                let there = self.make(client, &Request::Load(id.clone())).await;
                if matches!(there, Answer::Loaded(Some(task)) if task == Suite::<S>::strange_task())
                {
                    self.suite.stranger = None; // what `open` opens is the same every time
                    return Ok(());
                }
                let index = self.push(Row::new(id.clone(), None, client));
                self.stranger = Some(index);
                index
            }
        };
        let (request, words) = match act.ask {
            Ask::Load => (Request::Load(id), ""),
            Ask::Delete => (
                Request::Write(
                    id,
                    Write {
                        loaded: 1,
                        task: None,
                    },
                ),
                "delete",
            ),
            _ => {
                let mut task = Suite::<S>::strange_task();
                let _ = task.start();
                (
                    Request::Write(
                        id,
                        Write {
                            loaded: 0,
                            task: Some(task),
                        },
                    ),
                    "start",
                )
            }
        };
        self.send(Call {
            client,
            index,
            request,
            words: words.into(),
            reverts: false,
        })
        .await
    }

    /// What a client is about to do; `None` if there is nothing to do it to. `fresh`: with the
    /// task as it is now.
    async fn prepare(&mut self, act: &Act, fresh: bool) -> Outcome<Option<Call<S>>> {
        let client = usize::from(act.client);
        if let Ask::Create(text) = act.ask {
            let room = self.rows.len() + 1 < MOST_TASKS;
            return Ok(room.then(|| self.create(client, text)));
        }
        if self.rows.is_empty() {
            return Ok(None);
        }
        let index = usize::from(act.task) % self.rows.len();
        if self.stranger == Some(index) && act.ask != Ask::Load {
            return Ok(None); // there is nothing to change
        }
        let id = self.rows[index].id.clone();
        let (request, words, reverts) = match &act.ask {
            Ask::Load | Ask::Create(_) => (Request::Load(id), String::new(), false),
            Ask::CreateAs(text) => {
                if !self.suite.creates_as || self.rows[index].is_gone() {
                    return Ok(None);
                }
                let task = Task::new(self.payload(*text, None));
                (Request::CreateAs(id, task), String::new(), false)
            }
            Ask::Commit(changes) => {
                let Some(mut task) = self.hold(client, index, fresh).await? else {
                    return Ok(None);
                };
                let loaded = task.revision();
                let (words, reverts) = change(&mut task, changes, |text, current| {
                    self.payload(text, Some(current))
                });
                (
                    Request::Write(
                        id,
                        Write {
                            loaded,
                            task: Some(task),
                        },
                    ),
                    words,
                    reverts,
                )
            }
            Ask::Leap(edge) => {
                let Some(task) = self.hold(client, index, fresh).await? else {
                    return Ok(None);
                };
                let loaded = task.revision();
                let Some(task) = leap::<S>(task, *edge) else {
                    return Ok(None);
                };
                let words = "many changes".to_string();
                (
                    Request::Write(
                        id,
                        Write {
                            loaded,
                            task: Some(task),
                        },
                    ),
                    words,
                    false,
                )
            }
            Ask::Delete => {
                let Some(mut task) = self.hold(client, index, fresh).await? else {
                    return Ok(None);
                };
                if task.status().is_active() {
                    let loaded = task.revision();
                    let reverts = task.fail().is_ok_and(|done| done.reverted());
                    let write = Write {
                        loaded,
                        task: Some(task),
                    };
                    let request = Request::Write(id.clone(), write);
                    let words = "fail".to_string();
                    self.send(Call {
                        client,
                        index,
                        request,
                        words,
                        reverts,
                    })
                    .await?;
                    self.look_if_watched().await?;
                }
                // The copy that the commit left, if it was accepted.
                let Some(task) = self.clients[client].copies[index].as_ref() else {
                    return Ok(None);
                };
                let write = Write {
                    loaded: task.revision(),
                    task: None,
                };
                (Request::Write(id, write), "delete".to_string(), false)
            }
        };
        Ok(Some(Call {
            client,
            index,
            request,
            words,
            reverts,
        }))
    }

    fn create(&mut self, client: usize, text: u8) -> Call<S> {
        let request = Request::Create(Task::new(self.payload(text, None)));
        Call {
            client,
            index: self.rows.len(),
            request,
            words: String::new(),
            reverts: false,
        }
    }

    fn payload(&mut self, text: u8, current: Option<&Payload<S>>) -> Payload<S> {
        self.texts += 1;
        let text = usize::from(text) % TEXTS.len();
        let payload = S::payload(TEXTS[text]);
        // A change that changes nothing would hide that it was lost.
        if text == 0 || current.is_some_and(|current| *current == payload) {
            return S::payload(&format!("{} {}", TEXTS[0], self.texts));
        }
        payload
    }

    /// The client's copy of the task, loaded now if it has none.
    async fn hold(
        &mut self,
        client: usize,
        index: usize,
        fresh: bool,
    ) -> Outcome<Option<Task<Payload<S>>>> {
        let copy = &self.clients[client].copies[index];
        let good = copy.is_some() && !(fresh && copy.as_ref() != self.rows[index].certain());
        if !good {
            let line = format!("client {} loads task {}", client + 1, index + 1);
            let line = self.suite.clock.tell(line);
            let seen = self.see(client, index, Some(line)).await?;
            self.suite
                .clock
                .add(line, &format!(": {}", show(seen.as_ref())));
            self.clients[client].copies[index] = seen;
        }
        Ok(self.clients[client].copies[index].clone())
    }

    pub(super) fn push(&mut self, row: Row<S::Id, Payload<S>>) -> usize {
        for client in &mut self.clients {
            client.copies.push(None);
        }
        self.rows.push(row);
        self.rows.len() - 1
    }

    pub(super) fn handle(&self, client: usize) -> &S {
        &self.handles[client % self.handles.len()]
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
                self.suite.measure(ticks, waits);
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
        self.clients[client].sent = Some(call);
        Ok(())
    }

    pub(super) async fn look_if_watched(&mut self) -> Outcome {
        if self.watched {
            self.look().await
        } else {
            Ok(())
        }
    }

    /// Every client looks at every task, the one who acted last first.
    async fn look(&mut self) -> Outcome {
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
            row.since = Since::default();
        }
        Ok(())
    }

    /// Loads a task, which must be as the machine has it. The line of the story is told already, or
    /// only if something is wrong.
    async fn see(
        &mut self,
        viewer: usize,
        index: usize,
        line: Option<usize>,
    ) -> Outcome<Option<Task<Payload<S>>>> {
        let request = Request::Load(self.rows[index].id.clone());
        let answer = self.make(viewer, &request).await;
        let call = Call {
            client: viewer,
            index,
            request,
            words: String::new(),
            reverts: false,
        };
        let told = call.told(&answer);
        match (
            told.is_some_and(|told| self.rows[index].told(&told, false)),
            answer,
        ) {
            (true, Answer::Loaded(task)) => Ok(task),
            (_, answer) => {
                let line = line.unwrap_or_else(|| self.suite.clock.tell(call.line()));
                self.suite.clock.add(line, &format!(": {}", answer.words()));
                self.differs(viewer, index, &answer).await
            }
        }
    }
}
