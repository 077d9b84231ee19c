//! Plays a history on a store: two clients, each with copies of its own, and the ledger that their
//! answers are held against.

use core::array;
use core::ops::Range;

use task_lifecycle::{Draft, Event as Operation, Operation as Kind, Revision, Snapshot, Task};

use crate::call::{self, Answer, Request, Write, short};
use crate::history::{
    AGAIN, AS_HELD, Ask, CHANGE, CLIENT, Event, FREE_NAME, Fate, History, MORE, PART, TASK, TEXT,
    WAITS, Watch, ask, fate,
};
use crate::hostile::{COUNTERS, TEXTS};
use crate::ledger::{Breach, Ledger, VAGUE};
use crate::polling::{Clock, Fault, Flight, alone, hold, overlap, pause, step_aside};
use crate::{Law, Report, Store};

/// Ticks until a call counts as one that does not end.
pub(crate) const PATIENCE: u64 = 3_000;

/// How much longer it may take to make a handle than to answer.
const OPENING: u64 = 4;

/// How often a store that loses answers is asked again.
const TRIES: u32 = 32;

/// No history has more tasks, so that the last name of a store that has had three times as many is
/// free in every other.
const MOST_TASKS: usize = 20;

/// More than a history counts after a counter has come to the end of a column.
const ROOM: u64 = 1_000;

type Call<S> = call::Call<<S as Store>::Id, <S as Store>::Payload>;
type Reply<S> = Answer<<S as Store>::Id, <S as Store>::Payload>;
type Asked<S> = Request<<S as Store>::Id, <S as Store>::Payload>;

/// A broken law, and the story of it.
pub(crate) struct Found {
    pub(crate) breach: Breach,
    pub(crate) story: Vec<String>,
    /// Whether it is that a call did not end.
    pub(crate) is_silent: bool,
}

type Outcome<T = ()> = Result<T, Box<Found>>;

/// What is known of the kind of store, from one history to the next.
pub(crate) struct Known<S: Store> {
    pub(crate) clock: Clock,
    pub(crate) report: Report,
    /// Ticks until a call counts as one that does not end.
    pub(crate) patience: u64,
    /// The name of a task in another store.
    free_name: Option<S::Id>,
    /// Whether, as far as is known, clients may choose names.
    takes_names: bool,
    /// Whether what was committed is seen if one waits; `None` until that was tried.
    comes_late: Option<bool>,
    /// How often a call of each kind waits.
    waits: [u8; call::KINDS],
    /// Ticks that a slow call takes.
    slow: u64,
}

impl<S: Store> Known<S> {
    /// Asks a store for a name that is free in every other.
    pub(crate) async fn new(store: S) -> Self {
        let mut known = Self {
            clock: Clock::new(),
            report: Report::default(),
            patience: PATIENCE,
            free_name: None,
            takes_names: true,
            comes_late: None,
            waits: [0; call::KINDS],
            slow: 0,
        };
        for _ in 0..3 * MOST_TASKS {
            let request = Request::Create(strange_task::<S>());
            let call = call::ask(&store, &request);
            match alone(&known.clock, call, known.patience).await.answer() {
                Ok(Answer::Created(id)) => known.free_name = Some(id),
                Ok(Answer::Error(_)) if S::LOSES_ANSWERS => {}
                // It will be told as a story.
                _ => {
                    known.free_name = None;
                    break;
                }
            }
        }
        known
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
    fn learn(&mut self, kind: usize, ticks: u64, waits: u32) {
        self.slow = ticks.max(self.slow - self.slow.div_ceil(16));
        let waits = u8::try_from(waits).unwrap_or(u8::MAX);
        if waits > 0 {
            self.waits[kind] = waits.max(self.waits[kind].saturating_sub(1));
        }
    }

    /// Resolves after how many waits an event's call is held.
    fn waits(&self, event: &mut Event, kind: usize) -> u32 {
        if event[WAITS] >= PART {
            let part = u32::from(event[WAITS] - PART) * u32::from(self.waits[kind]);
            event[WAITS] = u8::try_from(part / u32::from(PART)).unwrap_or(0);
        }
        u32::from(event[WAITS]) + 1
    }
}

fn strange_task<S: Store>() -> Task<S::Payload> {
    Task::new(S::payload(TEXTS[0]))
}

/// Plays a history. What of it depends on the store is written into the history.
pub(crate) async fn play<S: Store>(
    store: S,
    history: &mut History,
    known: &mut Known<S>,
) -> Outcome {
    known.clock.begin();
    known.report.histories += 1;
    let mut play = Play {
        known,
        handles: vec![store],
        copies: array::from_fn(|_| Vec::new()),
        sent: array::from_fn(|_| None),
        ledger: Ledger::new(S::LOSES_ANSWERS),
        free_row: None,
        texts: 0,
        actor: 0,
        touched: 0..0,
        watch: history.watch(),
    };
    play.ask_for_another().await?;
    let is_call = |event: &Event| !matches!(ask(event), Ask::Repeat | Ask::Reopen);
    let mut at = 0;
    while let Some((event, rest)) = history.events[at..].split_first_mut() {
        let overlaps = !matches!(fate(event), Fate::Alone | Fate::GivenUp) && is_call(event);
        let meanwhile = rest.first_mut().filter(|next| overlaps && is_call(next));
        at += 1 + usize::from(meanwhile.is_some());
        play.again_and_again(event, meanwhile).await?;
    }
    play.end().await
}

struct Play<'a, S: Store> {
    known: &'a mut Known<S>,
    /// One handle, or one for each client.
    handles: Vec<S>,
    /// The copies that each client holds, by task.
    copies: [Vec<Option<Task<S::Payload>>>; 2],
    /// What each client sent last.
    sent: [Option<Call<S>>; 2],
    ledger: Ledger<S::Id, S::Payload>,
    /// The task under a name that was free.
    free_row: Option<usize>,
    texts: u32,
    /// Who acted last, and looks first.
    actor: usize,
    /// The tasks of the last event.
    touched: Range<usize>,
    watch: Watch,
}

impl<S: Store> Play<'_, S> {
    fn handle(&self, client: usize) -> &S {
        &self.handles[client % self.handles.len()]
    }

    /// Lets an event happen as often as it says, of which the story tells the first time and the
    /// last.
    async fn again_and_again(
        &mut self,
        event: &mut Event,
        mut meanwhile: Option<&mut Event>,
    ) -> Outcome {
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
            match self.watch {
                Watch::All => self.look(0..self.ledger.rows.len()).await?,
                Watch::Changed => self.look(self.touched.clone()).await?,
                Watch::End => {}
            }
            if time == 0 {
                told = self.known.clock.story().len();
            }
        }
        Ok(())
    }

    /// Lets an event happen; false if there was nothing to do.
    async fn event(&mut self, event: &mut Event, meanwhile: Option<&mut Event>) -> Outcome<bool> {
        let client = usize::from(event[CLIENT] % 2);
        match ask(event) {
            Ask::Repeat => {
                let Some(mut call) = self.sent[client].clone() else { return Ok(false) };
                if !call.words.ends_with(" again") {
                    call.words.push_str(" again");
                }
                return self.send(call).await.map(|()| true);
            }
            Ask::Reopen => return self.reopen().await.map(|()| true),
            _ => {}
        }
        let Some(row) = self.row(event).await? else { return Ok(false) };
        let Some(next) = meanwhile else {
            let Some(call) = self.prepare(event, client, row).await? else { return Ok(false) };
            if fate(event) == Fate::GivenUp {
                let waits = self.known.waits(event, call.request.kind());
                self.give_up(call, waits).await?;
            } else {
                self.send(call).await?;
            }
            return Ok(true);
        };
        let other = (row + usize::from(next[TASK] % FREE_NAME)) % self.ledger.rows.len().max(1);
        // A delete may need a commit before it, so it is prepared first.
        let (one, two) = if ask(next) == Ask::Delete {
            let two = self.prepare(next, 1 - client, other).await?;
            (self.prepare(event, client, row).await?, two)
        } else {
            let one = self.prepare(event, client, row).await?;
            (one, self.prepare(next, 1 - client, other).await?)
        };
        match (one, two) {
            (None, None) => return Ok(false),
            (Some(call), None) | (None, Some(call)) => self.send(call).await?,
            (Some(one), Some(two)) => {
                let waits = self.known.waits(event, one.request.kind());
                self.overlap([one, two], fate(event), waits).await?;
            }
        }
        Ok(true)
    }

    /// The number of the task that an event is about. `None` if there is none.
    async fn row(&mut self, event: &Event) -> Outcome<Option<usize>> {
        if ask(event) == Ask::Create {
            return Ok(Some(self.ledger.rows.len()));
        }
        if event[TASK] >= FREE_NAME {
            if let (None, Some(id)) = (self.free_row, self.known.free_name.clone()) {
                let found = self.make(0, &Request::Load(id.clone())).await;
                if matches!(found, Answer::Loaded(Some(task)) if task == strange_task::<S>()) {
                    self.known.free_name = None; // what is opened is the same every time
                } else {
                    let row = self.ledger.push(id, None, 0);
                    self.free_row = Some(row);
                    let line = format!("task {}: never created, named by another store", row + 1);
                    self.known.clock.tell(line);
                }
            }
            return Ok(self.free_row);
        }
        let rows = self.ledger.rows.len();
        Ok((rows > 0).then(|| usize::from(event[TASK]) % rows))
    }

    fn copy(&mut self, client: usize, row: usize) -> &mut Option<Task<S::Payload>> {
        let copies = &mut self.copies[client];
        copies.resize(self.ledger.rows.len().max(row + 1), None);
        &mut copies[row]
    }

    /// What a client is about to do; `None` if there is nothing to do it to.
    async fn prepare(
        &mut self,
        event: &Event,
        client: usize,
        row: usize,
    ) -> Outcome<Option<Call<S>>> {
        let rows = self.ledger.rows.len();
        if ask(event) == Ask::Create {
            let task = Task::new(self.payload(event[TEXT]));
            let call = call::Call::new(client, rows, Request::Create(task));
            return Ok((rows + 1 < MOST_TASKS).then_some(call));
        }
        let Some(known) = self.ledger.rows.get(row) else { return Ok(None) };
        let (id, is_free) = (known.id.clone(), known.is_free());
        let as_held = event[AS_HELD] > 0;
        let request = match ask(event) {
            Ask::Load => Request::Load(id),
            // Nobody may take the name of a task that is gone; few stores know it.
            Ask::CreateAs if self.known.takes_names && known.is_certain() => {
                if !is_free && known.task().is_none() {
                    return Ok(None);
                }
                Request::CreateAs(id, Task::new(self.payload(event[TEXT])))
            }
            Ask::Commit if is_free => {
                let mut draft = Draft::new(strange_task::<S>());
                let _ = draft.start();
                Request::Commit(id, draft)
            }
            Ask::Delete if is_free => Request::Delete(id, Revision::new(1)),
            Ask::Commit | Ask::Leap | Ask::Delete => {
                return self.change(event, client, row, as_held).await;
            }
            Ask::CreateAs | Ask::Create | Ask::Repeat | Ask::Reopen => return Ok(None),
        };
        let mut call = call::Call::new(client, row, request);
        if let Request::Commit(..) = call.request {
            call.words = "start".into();
        }
        Ok(Some(call))
    }

    /// What a client makes of its copy of a task.
    async fn change(
        &mut self,
        event: &Event,
        client: usize,
        row: usize,
        as_held: bool,
    ) -> Outcome<Option<Call<S>>> {
        let Some(task) = self.held(client, row, as_held).await? else { return Ok(None) };
        let known = &self.ledger.rows[row];
        let id = known.id.clone();
        if ask(event) == Ask::Delete {
            let is_stale = !known.is_at(Some(task.revision()));
            if task.status().is_active() && !(as_held && is_stale) {
                let mut draft = Draft::new(task);
                let reverts = draft.fail().is_ok_and(|done| done.reverted());
                let call = call::Call::new(client, row, Request::Commit(id.clone(), draft));
                self.send(Call::<S> { words: "fail".into(), reverts, ..call }).await?;
                if self.watch == Watch::All {
                    self.look(0..self.ledger.rows.len()).await?;
                }
                // The copy that the commit left, if it was accepted.
                let left = self.copy(client, row).clone();
                let left = left.filter(|task| !task.status().is_active());
                return Ok(left.map(|task| {
                    call::Call::new(client, row, Request::Delete(id, task.revision()))
                }));
            }
            let request = Request::Delete(id, task.revision());
            return Ok(Some(call::Call::new(client, row, request)));
        }
        let mut draft = Draft::new(task);
        let mut words = Vec::new();
        let mut reverts = false;
        if ask(event) == Ask::Leap {
            let Some(task) = leap::<S>(&draft, event[TEXT]) else { return Ok(None) };
            *draft = task;
            words.push("many changes".to_string());
        } else {
            let more = MORE.iter().filter_map(|&more| event[more].checked_sub(1));
            for change in [event[CHANGE]].into_iter().chain(more) {
                let payload = self.payload(event[TEXT]);
                let (word, reverted) = decide(&mut draft, change, payload);
                words.push(word);
                reverts |= reverted;
            }
        }
        let call = call::Call::new(client, row, Request::Commit(id, draft));
        Ok(Some(Call::<S> { words: words.join(" and "), reverts, ..call }))
    }

    fn payload(&mut self, text: u8) -> S::Payload {
        self.texts += 1;
        match usize::from(text) % TEXTS.len() {
            0 => S::payload(&format!("{} {}", TEXTS[0], self.texts)),
            text => S::payload(TEXTS[text]),
        }
    }

    /// The client's copy of a task, loaded now if it has none or wants what is there now.
    async fn held(
        &mut self,
        client: usize,
        row: usize,
        as_held: bool,
    ) -> Outcome<Option<Task<S::Payload>>> {
        let copy = self.copy(client, row).clone();
        let known = &self.ledger.rows[row];
        let is_current = known.is_certain() && copy.as_ref() == known.task();
        if copy.is_some() && (as_held || is_current) {
            return Ok(copy);
        }
        let request = Request::Load(known.id.clone());
        let line = call::Call::<S::Id, S::Payload>::new(client, row, request).line();
        let line = self.known.clock.tell(line);
        let seen = self.see(client, row, Some(line)).await?;
        let text = format!(": {}", call::show(seen.as_ref()));
        self.known.clock.add(line, &text);
        self.copy(client, row).clone_from(&seen);
        Ok(seen)
    }

    /// Makes a call while no other is in flight. A store that loses answers is asked again, where
    /// that can do no harm.
    async fn make(&mut self, client: usize, request: &Asked<S>) -> Reply<S> {
        let may_repeat = S::LOSES_ANSWERS && matches!(request.kind(), 0 | 2);
        for attempt in 1.. {
            let (clock, patience) = (&self.known.clock, self.known.patience);
            let began = clock.now();
            let flight = alone(clock, call::ask(self.handle(client), request), patience).await;
            let (ticks, waits) = (clock.now() - began, flight.waits);
            let answer = answered::<S>(flight.answer());
            if !matches!(answer, Answer::Silent) {
                self.known.learn(request.kind(), ticks, waits);
            }
            if !(may_repeat && matches!(answer, Answer::Error(_)) && attempt < TRIES) {
                return answer;
            }
        }
        Answer::Silent
    }

    async fn send(&mut self, mut call: Call<S>) -> Outcome {
        if let Request::Create(_) = call.request {
            call.row = self.ledger.rows.len();
        }
        for attempt in 1.. {
            let line = self.known.clock.tell(call.line());
            let answer = self.make(call.client, &call.request).await;
            self.known.clock.add(line, &format!(": {}", answer.words()));
            self.settle(&call, &answer)?;
            let lost = S::LOSES_ANSWERS && matches!(answer, Answer::Error(_));
            let Some(Write { from, .. }) = call.request.write().filter(|_| lost) else { break };
            // The outcome is unknown: look, and if it did not happen, send it again.
            if self.watch != Watch::All {
                break;
            }
            self.see(call.client, call.row, None).await?;
            if !self.ledger.rows[call.row].is_at(from) {
                break;
            }
            if attempt == TRIES {
                let expected = "now and then another answer than an error".into();
                let breach = self.ledger.found(Law::NoError, expected, answer.words());
                return Err(self.found(breach, &answer));
            }
        }
        self.remember(call);
        Ok(())
    }

    /// What a client may send again: a create would make another task.
    fn remember(&mut self, call: Call<S>) {
        if matches!(call.request, Request::Commit(..) | Request::Delete(..)) {
            let client = call.client;
            self.sent[client] = Some(call);
        }
    }

    /// Takes the answer to a call that was made alone.
    fn settle(&mut self, call: &Call<S>, answer: &Reply<S>) -> Outcome {
        self.ledger.settle(call, answer).map_err(|breach| self.found(breach, answer))?;
        self.note(call, answer);
        Ok(())
    }

    /// Notes what an answer means for the client.
    fn note(&mut self, call: &Call<S>, answer: &Reply<S>) {
        let (client, row) = (call.client, call.row);
        let report = &mut self.known.report;
        match answer {
            Answer::Written(true) if matches!(call.request, Request::Delete(..)) => {
                report.deletes += 1;
            }
            Answer::Written(true) => {
                report.commits += u32::from(matches!(call.request, Request::Commit(..)));
                report.reverts += u32::from(call.reverts);
            }
            Answer::Written(false) => report.refused += 1,
            Answer::NotSupported => self.known.takes_names = false,
            _ => {}
        }
        let copy = match answer {
            Answer::Loaded(task) => task.clone(),
            Answer::Written(true) => call.request.write().and_then(|write| write.to),
            // Load again, decide again.
            _ => None,
        };
        *self.copy(client, row) = copy;
        self.touched = row..row + 1;
        if !matches!(answer, Answer::Loaded(_)) {
            self.actor = client;
        }
    }

    /// Makes two calls that overlap.
    async fn overlap(&mut self, [one, mut two]: [Call<S>; 2], fate: Fate, waits: u32) -> Outcome {
        let (clock, patience) = (&self.known.clock, self.known.patience);
        let line = clock.tell(one.line());
        let mut first = Flight::new(call::ask(self.handle(one.client), &one.request));
        let together = fate == Fate::Together;
        hold(clock, &mut first, if together { 1 } else { waits }, patience).await;
        if first.has_ended() {
            let answer = answered::<S>(first.answer());
            clock.add(line, &format!(": {}", answer.words()));
            self.settle_unless_lost(&one, &answer)?;
            if self.watch == Watch::All {
                self.look(0..self.ledger.rows.len()).await?;
            }
            return self.send(two).await;
        }
        if one.row == two.row && matches!(one.request, Request::Create(_)) {
            two.row += 1;
        }
        let meanwhile = clock.tell(format!("meanwhile {}", two.line()));
        let other = if fate == Fate::HeldOnOneHandle { one.client } else { two.client };
        let mut second = Flight::new(call::ask(self.handle(other), &two.request));
        let moment = if together { 0 } else { self.known.moment() };
        overlap(clock, [&mut first, &mut second], moment, patience).await;
        let [a, b] = [first, second].map(|flight| answered::<S>(flight.answer()));
        let how = if together { String::new() } else { format!(", held after wait {waits}") };
        clock.add(line, &format!("{how}: {}", a.words()));
        clock.add(meanwhile, &format!(": {}", b.words()));
        self.known.report.overlapped += 2;
        let mut calls = [(one, a), (two, b)];
        if let Err(breach) = self.ledger.settle_both(&mut calls) {
            let silent = calls.iter().any(|(_, answer)| matches!(answer, Answer::Silent));
            let answer = if silent { &Answer::Silent } else { &calls[0].1 };
            return Err(self.found(breach, answer));
        }
        let rows = calls.each_ref().map(|(call, _)| call.row);
        for (call, answer) in calls {
            self.note(&call, &answer);
            self.remember(call);
        }
        self.touched = rows[0].min(rows[1])..rows[0].max(rows[1]) + 1;
        Ok(())
    }

    /// Takes an answer, unless it is an error that tells nothing.
    fn settle_unless_lost(&mut self, call: &Call<S>, answer: &Reply<S>) -> Outcome {
        let is_lost = S::LOSES_ANSWERS && call.request.write().is_none();
        if is_lost && matches!(answer, Answer::Error(_)) {
            return Ok(());
        }
        self.settle(call, answer)
    }

    /// A client goes away while its call is under way.
    async fn give_up(&mut self, call: Call<S>, waits: u32) -> Outcome {
        let clock = &self.known.clock;
        let line = clock.tell(call.line());
        let mut flight = Flight::new(call::ask(self.handle(call.client), &call.request));
        hold(clock, &mut flight, waits, self.known.patience).await;
        let is_stuck = flight.waits < waits;
        let ended = match flight.give_up() {
            None if is_stuck => Some(Err(Fault::Silent)),
            ended => ended,
        };
        if let Some(ended) = ended {
            let answer = answered::<S>(ended);
            clock.add(line, &format!(": {}", answer.words()));
            self.settle_unless_lost(&call, &answer)?;
            self.remember(call);
            return Ok(());
        }
        clock.add(line, &format!(": given up after wait {waits}"));
        self.known.report.given_up += 1;
        self.ledger.give_up(&call);
        self.actor = call.client;
        if call.row < self.ledger.rows.len() {
            *self.copy(call.client, call.row) = None;
            self.touched = call.row..call.row + 1;
        }
        self.remember(call);
        Ok(())
    }

    /// Both clients look at tasks, the one who acted last first.
    async fn look(&mut self, rows: Range<usize>) -> Outcome {
        let rows = rows.start..rows.end.min(self.ledger.rows.len());
        for client in [self.actor, 1 - self.actor] {
            for row in rows.clone() {
                let seen = self.see(client, row, None).await?;
                let copy = self.copy(client, row);
                if copy.is_none() {
                    *copy = seen;
                }
            }
        }
        rows.for_each(|row| self.ledger.seen_right(row));
        Ok(())
    }

    /// Loads a task, which must be as the ledger has it. The line of the story is told already, or
    /// only if something is wrong.
    async fn see(
        &mut self,
        viewer: usize,
        row: usize,
        line: Option<usize>,
    ) -> Outcome<Option<Task<S::Payload>>> {
        let call = call::Call::new(viewer, row, Request::Load(self.ledger.rows[row].id.clone()));
        let answer = self.make(viewer, &call.request).await;
        let Err(mut breach) = self.ledger.settle(&call, &answer) else {
            let Answer::Loaded(seen) = answer else { return Ok(None) };
            return Ok(seen);
        };
        let line = line.unwrap_or_else(|| self.known.clock.tell(call.line()));
        self.known.clock.add(line, &format!(": {}", answer.words()));
        if let (Law::StoredWhole, Answer::Loaded(seen)) = (breach.law, &answer) {
            let (known, writer) = (&self.ledger.rows[row], self.ledger.rows[row].writer);
            let was = known.was(seen.as_ref());
            if viewer != writer && self.sees_right(writer, row).await {
                breach.law = Law::SeenByAll;
            } else if was && self.comes_late(viewer, row).await {
                breach.law = Law::NeverOlder;
            }
        }
        Err(self.found(breach, &answer))
    }

    async fn sees_right(&mut self, viewer: usize, row: usize) -> bool {
        let request = Request::Load(self.ledger.rows[row].id.clone());
        let answer = self.make(viewer, &request).await;
        matches!(answer, Answer::Loaded(seen) if seen.as_ref() == self.ledger.rows[row].task())
    }

    /// Whether it is right after a while: then it was stored, and the answer came before.
    async fn comes_late(&mut self, viewer: usize, row: usize) -> bool {
        if let Some(late) = self.known.comes_late {
            return late;
        }
        let mut late = false;
        for ticks in [1, 4, 16, 64] {
            pause(&self.known.clock, ticks).await;
            late |= self.sees_right(viewer, row).await;
        }
        self.known.comes_late = Some(late);
        late
    }

    async fn ask_for_another(&mut self) -> Outcome {
        let (clock, patience) = (&self.known.clock, OPENING * self.known.patience);
        let flight = alone(clock, self.handles[0].another(), patience).await;
        match flight.answer() {
            Ok(another) => self.handles.extend(another),
            Err(fault) => return self.fails("another handle is made", fault),
        }
        let handles = u32::try_from(self.handles.len()).unwrap_or(0);
        self.known.report.handles = self.known.report.handles.max(handles);
        Ok(())
    }

    async fn reopen(&mut self) -> Outcome {
        // The other handle goes first, as with the process that had it.
        self.handles.truncate(1);
        let Some(store) = self.handles.pop() else { return Ok(()) };
        let (clock, patience) = (&self.known.clock, OPENING * self.known.patience);
        let flight = alone(clock, store.reopen(), patience).await;
        match flight.answer() {
            Ok(store) => self.handles.push(store),
            Err(fault) => return self.fails("the store is reopened", fault),
        }
        self.ask_for_another().await?;
        self.known.clock.tell("the store is reopened".into());
        self.known.report.reopened += 1;
        self.ledger.reopened();
        self.look(0..self.ledger.rows.len()).await
    }

    fn fails(&self, what: &str, fault: Fault) -> Outcome {
        let answer = answered::<S>(Err(fault));
        self.known.clock.tell(format!("{what}: {}", answer.words()));
        let breach = self.ledger.found(Law::NoError, "a handle".into(), answer.words());
        Err(self.found(breach, &answer))
    }

    fn found(&self, breach: Breach, answer: &Reply<S>) -> Box<Found> {
        let is_silent = matches!(answer, Answer::Silent);
        Box::new(Found { breach, story: self.known.clock.story(), is_silent })
    }

    /// Both clients look at everything. And where a commit was refused because a call that was
    /// given up may have been under way, one must be accepted now, or after a while.
    async fn end(&mut self) -> Outcome {
        self.look(0..self.ledger.rows.len()).await?;
        for row in 0..self.ledger.rows.len() {
            let began = self.known.clock.now();
            let mut line = None;
            while self.ledger.rows[row].needs_a_commit() {
                let Some(task) = self.held(0, row, false).await? else { break };
                let mut draft = Draft::new(task);
                draft.edit(|payload| *payload = S::payload("in the end"));
                let id = self.ledger.rows[row].id.clone();
                let call = call::Call::new(0, row, Request::Commit(id, draft));
                let call = Call::<S> { words: "edit".into(), ..call };
                let told = line.unwrap_or_else(|| self.known.clock.story().len());
                self.known.clock.forget(told);
                line = Some(told);
                self.send(call).await?;
                if self.known.clock.now() - began > self.known.patience {
                    let expected = "accepted, once what was given up is over".into();
                    let mut breach =
                        self.ledger.found(Law::CurrentIsAccepted, expected, "refused".into());
                    breach.rank = VAGUE;
                    return Err(self.found(breach, &Answer::Silent));
                }
                pause(&self.known.clock, 1).await;
            }
        }
        Ok(())
    }
}

fn answered<S: Store>(answer: Result<Reply<S>, Fault>) -> Reply<S> {
    answer.unwrap_or_else(|fault| match fault {
        Fault::Panicked(text) => Answer::Panicked(short_text(&text)),
        Fault::Silent => Answer::Silent,
    })
}

fn short_text(text: &str) -> String {
    short(&format_args!("{text}"), 400)
}

/// Makes a change: the next operation that is accepted, so that what is left out of a history does
/// not change what follows; an edit always is. Returns its name, and whether it reverted.
fn decide<T>(draft: &mut Draft<T>, change: u8, payload: T) -> (String, bool) {
    let mut next = Kind::ALL.iter().filter(|&&kind| kind != Kind::Delete);
    let next = next.by_ref().skip(usize::from(change));
    let next = next.into_iter().find(|&&operation| draft.check(operation).is_ok());
    let Some(&operation) = next else {
        draft.edit(|current| *current = payload);
        return ("edit".into(), false);
    };
    let done = Operation::new(operation, payload).map(|event| draft.apply(event));
    (operation.to_string(), done.is_some_and(|done| done.is_ok_and(|done| done.reverted())))
}

/// Brings the counters to the end of a column, as many changes in one commit do. `None` if they are
/// beyond it, or if the store does not keep such.
fn leap<S: Store>(task: &Task<S::Payload>, counter: u8) -> Option<Task<S::Payload>> {
    let counter = COUNTERS[usize::from(counter) % COUNTERS.len()];
    let is_beyond = task.revision().get() >= counter || task.run().get() >= counter;
    if is_beyond || counter.saturating_add(ROOM) > S::LARGEST_COUNTER {
        return None;
    }
    let snapshot = Snapshot::from(task.clone());
    Task::try_from(Snapshot { revision: counter.into(), run: counter.into(), ..snapshot }).ok()
}
