//! Plays a history on a store: two clients, each with copies of its own, and the ledger that their
//! answers are held against.

use core::array;
use core::mem::{Discriminant, discriminant};
use std::collections::HashMap;
use std::sync::Arc;

use task_lifecycle::{Draft, Snapshot, Task};

use crate::call::{self, Answer, AnswerOf, CallOf, Heard, HeardOf, Request, RequestOf};
use crate::history::{
    AGAIN, AS_HELD, Ask, CHANGE, CLIENT, Event, FREE_NAME, Fate, History, MORE, PART, TASK, TEXT,
    WAITS, ask, fate,
};
use crate::hostile::{COUNTERS, TEXTS};
use crate::ledger::{Breach, Ledger, VAGUE};
use crate::polling::{
    Clock, Fault, Flight, NO_ANSWER, alone, hold, lock, overlap, pause, step_aside,
};
use crate::{Law, Report, Store};

/// Ticks until a call counts as one that does not end.
pub(crate) const PATIENCE: u64 = 3_000;

/// The times that a store which loses answers is asked again, where that can do no harm.
const TRIES: u32 = 32;

/// No history has more tasks, and none tries to create twice as many, so that the last name of a
/// store that has had three times as many is free in every other.
const MOST_TASKS: usize = 20;

type Kind<S> = Discriminant<RequestOf<S>>;

/// A broken law, and the story of it.
pub(crate) struct Found {
    pub(crate) breach: Breach,
    pub(crate) story: Vec<String>,
}

type Outcome<T = ()> = Result<T, Found>;
type Maybe<T> = Outcome<Option<T>>;
type MaybeTask<S> = Maybe<Task<<S as Store>::Payload>>;

/// Knowledge of the kind of store, kept from one history to the next.
pub(crate) struct Known<S: Store> {
    pub(crate) clock: Arc<Clock>,
    pub(crate) report: Report,
    /// Ticks until a call counts as one that does not end.
    pub(crate) patience: u64,
    /// The name of a task in another store.
    free_name: Option<S::Id>,
    /// Whether, as far as is known, clients may choose names.
    takes_names: bool,
    /// The waits of a call of each kind.
    waits: HashMap<Kind<S>, u32>,
    /// Ticks that a slow call takes.
    slow: u64,
}

impl<S: Store> Known<S> {
    /// Asks a store for a name that is free in another, and so in all.
    pub(crate) async fn new(open: &mut impl AsyncFnMut() -> S) -> Self {
        let store = open().await;
        let mut known = Self {
            clock: Clock::new(),
            report: Report::default(),
            patience: PATIENCE,
            free_name: None,
            takes_names: true,
            waits: HashMap::new(),
            slow: 0,
        };
        for _ in 0..3 * MOST_TASKS {
            let request = Request::Create(strange_task::<S>());
            let call = call::ask(&store, &request);
            match alone(&known.clock, call, known.patience).await.answer() {
                Ok(Answer::Created(id)) => known.free_name = Some(id),
                Ok(Answer::Error(_)) if S::LOSES_ANSWERS => {}
                // It will be told as a story.
                _ => return Self { free_name: None, ..known },
            }
        }
        // What is opened may be the same every time.
        drop(store);
        let (another, Some(id)) = (open().await, known.free_name.clone()) else { return known };
        let load = alone(&known.clock, another.load(&id), known.patience).await.answer();
        Self { free_name: known.free_name.filter(|_| !matches!(load, Ok(Ok(Some(_))))), ..known }
    }

    /// Ticks after which a call is stuck behind another.
    fn moment(&self) -> u64 {
        (2 + 3 * self.slow).min(100)
    }

    /// From here on a call that does not end is no news.
    pub(crate) fn hurry(&mut self) {
        self.patience = (50 * self.slow).clamp(200, PATIENCE);
    }

    /// Learns from a call that was made alone.
    fn learn(&mut self, kind: Kind<S>, ticks: u64, waits: u32) {
        self.slow = ticks.max(self.slow - self.slow.div_ceil(16));
        if waits > 0 {
            let most = self.waits.entry(kind).or_default();
            *most = waits.max(most.saturating_sub(1));
        }
    }

    /// Resolves after how many waits an event's call is held.
    fn waits(&self, event: &mut Event, request: &RequestOf<S>) -> u32 {
        if event[WAITS] >= PART {
            let most = self.waits.get(&discriminant(request)).copied().unwrap_or(0);
            let part = u32::from(event[WAITS] - PART) * most / u32::from(PART);
            event[WAITS] = u8::try_from(part).unwrap_or(0).min(PART - 1);
        }
        u32::from(event[WAITS]) + 1
    }
}

fn strange_task<S: Store>() -> Task<S::Payload> {
    Task::new(S::payload(TEXTS[0]))
}

/// Plays a history. What of it depends on the store is written into the history.
pub(crate) async fn play<S: Store>(store: S, all: &mut History, known: &mut Known<S>) -> Outcome {
    known.clock.forget(0);
    known.report.histories += 1;
    let mut play = Play {
        known,
        handles: vec![store],
        copies: array::from_fn(|_| Vec::new()),
        ledger: Ledger::new(S::LOSES_ANSWERS),
        free_row: None,
        texts: 0,
        creates: 0,
        actor: 0,
        is_watched: all.watch == 0,
    };
    play.ask_for_another().await?;
    let is_call = |event: &Event| ask(event) != Ask::Reopen;
    let mut at = 0;
    while let Some((event, rest)) = all.events[at..].split_first_mut() {
        let overlaps = !matches!(fate(event), Fate::Alone | Fate::GivenUp) && is_call(event);
        let meanwhile = rest.first_mut().filter(|next| overlaps && is_call(next));
        at += 1 + usize::from(meanwhile.is_some());
        play.often(event, meanwhile).await?;
    }
    play.end().await
}

struct Play<'a, S: Store> {
    known: &'a mut Known<S>,
    /// One handle, or one for each client.
    handles: Vec<S>,
    /// The copies that each client holds, by task.
    copies: [Vec<Option<Task<S::Payload>>>; 2],
    ledger: Ledger<S::Id, S::Payload>,
    /// The task under a name that was free.
    free_row: Option<usize>,
    texts: u32,
    /// The creates that were begun.
    creates: usize,
    /// The client that acted last, and looks first.
    actor: usize,
    is_watched: bool,
}

impl<S: Store> Play<'_, S> {
    fn handle(&self, client: usize) -> &S {
        &self.handles[client % self.handles.len()]
    }

    /// Lets an event happen as often as it says, of which the story tells the first time and the
    /// last.
    async fn often(&mut self, event: &mut Event, mut meanwhile: Option<&mut Event>) -> Outcome {
        let mut told = 0;
        for time in 0..=event[AGAIN] {
            if time > 1 {
                self.known.clock.forget(told);
                self.known.clock.tell(format!("… and so on, {time} times, and then:"));
            }
            step_aside().await;
            if !self.event(event, meanwhile.as_deref_mut()).await? {
                break;
            }
            self.look_if_watched().await?;
            if time == 0 {
                told = lock(&self.known.clock.story).len();
            }
        }
        Ok(())
    }

    /// Lets an event happen; false if there was nothing to do.
    async fn event(&mut self, event: &mut Event, meanwhile: Option<&mut Event>) -> Outcome<bool> {
        let client = usize::from(event[CLIENT] % 2);
        if ask(event) == Ask::Reopen {
            return self.reopen().await.map(|()| true);
        }
        let Some(row) = self.row(event) else { return Ok(false) };
        let Some(next) = meanwhile else {
            let Some(call) = self.prepare(event, (client, row)).await? else { return Ok(false) };
            if fate(event) != Fate::GivenUp {
                return self.send(call).await.map(|()| true);
            }
            let waits = self.known.waits(event, &call.request);
            return self.give_up(call, waits).await.map(|()| true);
        };
        let other = (row + usize::from(next[TASK] % FREE_NAME)) % self.ledger.rows.len().max(1);
        // A delete may need a commit before it, so it is prepared first.
        let early = match ask(next) {
            Ask::Delete => Some(self.prepare(next, (1 - client, other)).await?),
            _ => None,
        };
        let one = self.prepare(event, (client, row)).await?;
        let two = match early {
            Some(two) => two,
            None => self.prepare(next, (1 - client, other)).await?,
        };
        match (one, two) {
            (None, None) => return Ok(false),
            (Some(call), None) | (None, Some(call)) => self.send(call).await?,
            (Some(one), Some(two)) => {
                let is_held = fate(event) != Fate::Together;
                let waits = if is_held { self.known.waits(event, &one.request) } else { 1 };
                self.overlap([one, two], fate(event), waits).await?;
            }
        }
        Ok(true)
    }

    /// The number of the task that an event is about. `None` if there is none.
    fn row(&mut self, event: &Event) -> Option<usize> {
        if ask(event) == Ask::Create {
            return Some(self.ledger.rows.len());
        }
        if event[TASK] >= FREE_NAME {
            if let (None, Some(id)) = (self.free_row, self.known.free_name.clone()) {
                let row = self.ledger.push(id, None, 0);
                self.free_row = Some(row);
                let line = format!("task {}: never created, named by another store", row + 1);
                self.known.clock.tell(line);
            }
            return self.free_row;
        }
        let rows = self.ledger.rows.len();
        (rows > 0).then(|| usize::from(event[TASK]) % rows)
    }

    fn copy(&mut self, client: usize, row: usize) -> &mut Option<Task<S::Payload>> {
        let copies = &mut self.copies[client];
        copies.resize(self.ledger.rows.len().max(row + 1), None);
        &mut copies[row]
    }

    /// Prepares a client's next call; `None` if there is no task for it.
    async fn prepare(&mut self, event: &Event, (client, row): (usize, usize)) -> Maybe<CallOf<S>> {
        let rows = self.ledger.rows.len();
        if ask(event) == Ask::Create {
            self.creates += 1;
            let create = Request::Create(Task::new(self.payload(event[TEXT])));
            let has_room = rows + 1 < MOST_TASKS && self.creates < 2 * MOST_TASKS;
            return Ok(has_room.then(|| CallOf::<S>::new(client, rows, create)));
        }
        let Some(known) = self.ledger.rows.get(row) else { return Ok(None) };
        let (id, is_free) = (known.id.clone(), known.is_free());
        let request = match ask(event) {
            Ask::Load => Request::Load(id),
            Ask::CreateAs => {
                // Nobody may take the name of a task that is gone; few stores know it.
                let is_there = known.is_certain() && known.task().is_some();
                if !self.known.takes_names || !is_free && !is_there {
                    return Ok(None);
                }
                Request::CreateAs(id, Task::new(self.payload(event[TEXT])))
            }
            _ => return self.change(event, (client, row)).await,
        };
        Ok(Some(CallOf::<S>::new(client, row, request)))
    }

    /// Prepares a change of a client's copy of a task.
    async fn change(&mut self, event: &Event, (client, row): (usize, usize)) -> Maybe<CallOf<S>> {
        let as_held = event[AS_HELD] > 0 || self.ledger.rows[row].is_free();
        let Some(mut task) = self.held(client, row, as_held).await? else { return Ok(None) };
        let known = &self.ledger.rows[row];
        let (id, is_stale) = (known.id.clone(), !known.is_at(Some(task.revision())));
        if ask(event) == Ask::Delete {
            if task.status().is_active() && !(as_held && is_stale) {
                let mut draft = Draft::new(task);
                let _ = draft.fail();
                self.send(CallOf::<S>::commit(client, row, (id.clone(), draft), "fail")).await?;
                self.look_if_watched().await?;
                // The copy that the commit left, if it was accepted.
                let left = self.copy(client, row).clone();
                match left.filter(|task| !task.status().is_active()) {
                    Some(left) => task = left,
                    None => return Ok(None),
                }
            }
            let request = Request::Delete(id, task.revision());
            return Ok(Some(CallOf::<S>::new(client, row, request)));
        }
        let mut draft = Draft::new(task);
        let mut words = Vec::new();
        if ask(event) == Ask::Leap {
            let Some(task) = leap::<S>(&draft, event[TEXT]) else { return Ok(None) };
            *draft = task;
            words.push("many changes".to_string());
        } else {
            let more = MORE.iter().filter_map(|&more| event[more].checked_sub(1));
            for change in [event[CHANGE]].into_iter().chain(more) {
                let payload = self.payload(event[TEXT]);
                words.push(call::decide(&mut draft, usize::from(change), payload));
            }
        }
        Ok(Some(CallOf::<S>::commit(client, row, (id, draft), &words.join(" and "))))
    }

    fn payload(&mut self, text: u8) -> S::Payload {
        self.texts += 1;
        match usize::from(text) % TEXTS.len() {
            0 => S::payload(&format!("{} {}", TEXTS[0], self.texts)),
            text => S::payload(TEXTS[text]),
        }
    }

    /// The client's copy of a task, loaded now if it has none or wants what is there now. Under a
    /// name that is free, one that it made up.
    async fn held(&mut self, client: usize, row: usize, as_held: bool) -> MaybeTask<S> {
        let copy = self.copy(client, row).clone();
        let known = &self.ledger.rows[row];
        let is_current = known.is_certain() && copy.as_ref() == known.task();
        if known.is_free() {
            return Ok(Some(strange_task::<S>()));
        }
        if copy.is_some() && (as_held || is_current) {
            return Ok(copy);
        }
        let load = Request::Load(known.id.clone());
        let line = CallOf::<S>::new(client, row, load).line();
        let line = self.known.clock.tell(line);
        let seen = self.see(client, row, Some(line)).await?;
        self.known.clock.add(line, &format!(": {}", call::show(seen.as_ref())));
        self.copy(client, row).clone_from(&seen);
        Ok(seen)
    }

    /// Makes a call while no other is in flight.
    async fn make(&mut self, client: usize, request: &RequestOf<S>) -> AnswerOf<S> {
        let is_read = matches!(request, Request::Create(_) | Request::Load(_));
        let mut last = String::new();
        for _ in 0..TRIES {
            let (clock, patience) = (&self.known.clock, self.known.patience);
            let began = clock.now();
            let flight = alone(clock, call::ask(self.handle(client), request), patience).await;
            let (ticks, waits) = (clock.now() - began, flight.waits);
            let answer = flight.answer().unwrap_or_else(Answer::None);
            if !matches!(answer, Answer::None(_)) {
                self.known.learn(discriminant(request), ticks, waits);
            }
            match answer {
                Answer::Error(error) if S::LOSES_ANSWERS && is_read => last = error,
                answer => return answer,
            }
        }
        Answer::None(Fault::Panicked(format!("{TRIES} times an error: {last}")))
    }

    async fn send(&mut self, mut call: CallOf<S>) -> Outcome {
        if let Request::Create(_) = call.request {
            call.row = self.ledger.rows.len();
        }
        let line = self.known.clock.tell(call.line());
        let answer = self.make(call.client, &call.request).await;
        self.known.clock.add(line, &format!(": {}", answer.words()));
        self.settle(Heard { call, answer })
    }

    /// Takes the answer to a call that was made alone.
    fn settle(&mut self, heard: HeardOf<S>) -> Outcome {
        if let Err(breach) = self.ledger.settle(&heard) {
            return Err(self.found(breach));
        }
        self.note(heard);
        Ok(())
    }

    /// Notes what an answer means for the client.
    fn note(&mut self, Heard { call, answer }: HeardOf<S>) {
        let (client, row) = (call.client, call.row);
        let report = &mut self.known.report;
        match (&answer, &call.request) {
            (Answer::Written(true), Request::Delete(..)) => report.deletes += 1,
            (Answer::Written(true), Request::Commit(..)) => report.commits += 1,
            (Answer::Written(false), _) => report.refused += 1,
            (Answer::NotSupported, _) => self.known.takes_names = false,
            _ => {}
        }
        *self.copy(client, row) = match (&answer, &call.request) {
            (Answer::Loaded(task), _) => task.clone(),
            (Answer::Created(_), Request::Create(task)) => Some(task.clone()),
            (Answer::Written(true), request) => request.write().and_then(|write| write.to),
            // Load again, decide again.
            _ => None,
        };
        if !matches!(call.request, Request::Load(_)) {
            self.actor = client;
        }
    }

    /// Makes two calls that overlap.
    async fn overlap(&mut self, [one, mut two]: [CallOf<S>; 2], fate: Fate, waits: u32) -> Outcome {
        let (clock, patience) = (&self.known.clock, self.known.patience);
        let line = clock.tell(one.line());
        let mut first = Flight::new(call::ask(self.handle(one.client), &one.request));
        hold(clock, &mut first, waits, patience).await;
        if first.has_ended() {
            let answer = first.answer().unwrap_or_else(Answer::None);
            clock.add(line, &format!(": {}", answer.words()));
            self.settle(Heard { call: one, answer })?;
            self.look_if_watched().await?;
            return self.send(two).await;
        }
        if one.row == two.row && matches!(one.request, Request::Create(_)) {
            two.row += 1;
        }
        let meanwhile = clock.tell(format!("meanwhile {}", two.line()));
        let other = if fate == Fate::HeldOnOneHandle { one.client } else { two.client };
        let mut second = Flight::new(call::ask(self.handle(other), &two.request));
        let moment = if fate == Fate::Together { 0 } else { self.known.moment() };
        overlap(clock, [&mut first, &mut second], moment, patience).await;
        let [a, b] = [first, second].map(|flight| flight.answer().unwrap_or_else(Answer::None));
        clock.add(line, &format!(", held after wait {waits}: {}", a.words()));
        clock.add(meanwhile, &format!(": {}", b.words()));
        self.known.report.overlapped += 2;
        let mut both = [Heard { call: one, answer: a }, Heard { call: two, answer: b }];
        if let Err(breach) = self.ledger.settle_both(&mut both) {
            return Err(self.found(breach));
        }
        for heard in both {
            self.note(heard);
        }
        Ok(())
    }

    /// A client goes away while its call is under way.
    async fn give_up(&mut self, call: CallOf<S>, waits: u32) -> Outcome {
        let clock = &self.known.clock;
        let line = clock.tell(call.line());
        let mut flight = Flight::new(call::ask(self.handle(call.client), &call.request));
        hold(clock, &mut flight, waits, self.known.patience).await;
        let is_stuck = flight.waits < waits;
        let ended = flight.give_up().or_else(|| is_stuck.then_some(Err(Fault::Silent)));
        if let Some(ended) = ended {
            let answer = ended.unwrap_or_else(Answer::None);
            clock.add(line, &format!(": {}", answer.words()));
            return self.settle(Heard { call, answer });
        }
        clock.add(line, &format!(": given up after wait {waits}"));
        self.known.report.given_up += 1;
        self.ledger.give_up(&call);
        if call.row < self.ledger.rows.len() {
            *self.copy(call.client, call.row) = None;
        }
        Ok(())
    }

    async fn look_if_watched(&mut self) -> Outcome {
        if self.is_watched { self.look().await } else { Ok(()) }
    }

    /// Both clients look at all tasks, the one who acted last first.
    async fn look(&mut self) -> Outcome {
        for client in [self.actor, 1 - self.actor] {
            for row in 0..self.ledger.rows.len() {
                let seen = self.see(client, row, None).await?;
                let copy = self.copy(client, row);
                if copy.is_none() {
                    *copy = seen;
                }
            }
        }
        self.ledger.seen_right();
        Ok(())
    }

    /// Loads a task, which must be as the ledger has it. The line of the story is told already, or
    /// only if something is wrong.
    async fn see(&mut self, viewer: usize, row: usize, line: Option<usize>) -> MaybeTask<S> {
        let call = CallOf::<S>::new(viewer, row, Request::Load(self.ledger.rows[row].id.clone()));
        let answer = self.make(viewer, &call.request).await;
        let heard = Heard { call, answer };
        let Err(mut breach) = self.ledger.settle(&heard) else {
            let Answer::Loaded(seen) = heard.answer else { return Ok(None) };
            return Ok(seen);
        };
        let Heard { call, answer } = heard;
        let line = line.unwrap_or_else(|| self.known.clock.tell(call.line()));
        self.known.clock.add(line, &format!(": {}", answer.words()));
        if let (Law::StoredWhole, Answer::Loaded(seen)) = (breach.law, &answer) {
            let (known, writer) = (&self.ledger.rows[row], self.ledger.rows[row].writer);
            let was = known.was(seen.as_ref());
            if viewer != writer && self.sees_right(writer, row).await {
                breach.law = Law::SeenByAll;
            } else if was {
                pause(&self.known.clock, 30).await;
                // Then it was stored, and the answer came before.
                let is_late = self.sees_right(viewer, row).await;
                breach.law = if is_late { Law::NeverOlder } else { breach.law };
            }
        }
        Err(self.found(breach))
    }

    async fn sees_right(&mut self, viewer: usize, row: usize) -> bool {
        let request = Request::Load(self.ledger.rows[row].id.clone());
        let answer = self.make(viewer, &request).await;
        matches!(answer, Answer::Loaded(seen) if seen.as_ref() == self.ledger.rows[row].task())
    }

    async fn ask_for_another(&mut self) -> Outcome {
        let another = self.handles[0].another();
        let another = self.opened("another handle is made", another).await?;
        self.known.report.handles = 1 + u32::from(another.is_some());
        self.handles.extend(another);
        Ok(())
    }

    async fn reopen(&mut self) -> Outcome {
        // The other handle goes first, as with the process that had it.
        self.handles.truncate(1);
        let Some(store) = self.handles.pop() else { return Ok(()) };
        let store = self.opened("the store is reopened", store.reopen()).await?;
        self.handles.push(store);
        self.ask_for_another().await?;
        self.known.clock.tell("the store is reopened".into());
        self.known.report.reopened += 1;
        self.ledger.reopened();
        self.look().await
    }

    /// Waits for a handle.
    async fn opened<T>(&self, what: &str, opening: impl Future<Output = T>) -> Outcome<T> {
        let (clock, patience) = (&self.known.clock, 4 * self.known.patience);
        let fault = match alone(clock, opening, patience).await.answer() {
            Ok(opened) => return Ok(opened),
            Err(fault) => fault.words(),
        };
        clock.tell(format!("{what}: {fault}"));
        Err(self.found(self.ledger.found(Law::NoError, "a handle".into(), fault)))
    }

    fn found(&self, breach: Breach) -> Found {
        Found { breach, story: lock(&self.known.clock.story).clone() }
    }

    /// Both clients look at everything. And where a commit was refused because a call that was
    /// given up may have been under way, one must be accepted now, or after a while.
    async fn end(&mut self) -> Outcome {
        self.look().await?;
        for row in 0..self.ledger.rows.len() {
            let began = self.known.clock.now();
            let mut line = None;
            while self.ledger.rows[row].needs_a_commit() {
                let Some(task) = self.held(0, row, false).await? else { break };
                let mut draft = Draft::new(task);
                draft.edit(|payload| *payload = S::payload("in the end"));
                let id = self.ledger.rows[row].id.clone();
                let call = CallOf::<S>::commit(0, row, (id, draft), "edit");
                let told = line.unwrap_or_else(|| lock(&self.known.clock.story).len());
                self.known.clock.forget(told);
                line = Some(told);
                self.send(call).await?;
                if self.known.clock.now() - began > self.known.patience {
                    let (law, rank) = (Law::CurrentIsAccepted, VAGUE);
                    let expected = "accepted, once what was given up is over".into();
                    let seen = format!("{NO_ANSWER} but refusals");
                    let breach = Breach { law, expected, seen, rank };
                    return Err(self.found(breach));
                }
                pause(&self.known.clock, 1).await;
            }
        }
        Ok(())
    }
}

/// Brings the counters to the end of a column, as many changes in one commit do. `None` if they are
/// beyond it, or if the store does not keep such.
fn leap<S: Store>(task: &Task<S::Payload>, counter: u8) -> Option<Task<S::Payload>> {
    let counter = COUNTERS[usize::from(counter) % COUNTERS.len()];
    let is_beyond = task.revision().get() >= counter || task.run().get() >= counter;
    // A history counts on from there.
    if is_beyond || counter.saturating_add(1_000) > S::LARGEST_COUNTER {
        return None;
    }
    let snapshot = Snapshot::from(task.clone());
    Task::try_from(Snapshot { revision: counter.into(), run: counter.into(), ..snapshot }).ok()
}
