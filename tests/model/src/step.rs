//! The steps, from a request or a message to a decision.

use crate::change::{Change, Document};
use crate::laws::{Fault, Law};
use crate::page::{Fate, note};
use crate::protocol::{No, Protocol};
use crate::world::{Actor, Budget, Intent, Lease, Message, NAMES, SERVERS, WORKERS, World, told};

/// One step, while it is taken.
pub struct Step<'a> {
    pub protocol: &'a Protocol,
    pub world: World,
    pub who: usize,
    /// The sentences of the story, if one is told.
    pub said: Option<Vec<String>>,
}

impl Step<'_> {
    pub fn has(&self, fault: Fault) -> bool {
        self.protocol.has(fault)
    }

    pub fn becomes(&mut self, actor: Actor) {
        self.world.actors[self.who] = actor;
    }

    /// Gets a request, a message or a result, loads and decides.
    pub fn begins(&mut self, change: Change, token: Option<Message>, behind: bool, left: Budget) {
        if let Some(message) = token.filter(|_| change.gets_the_run()) {
            say!(self, "{} gets the message of run {}.", NAMES[self.who], message.run);
            if self.has(Fault::MessageAcknowledgedOnReceipt) {
                self.world.acknowledge(message);
            }
        }
        self.load(self.intent(change, token), behind);
        match self.world.actors[self.who] {
            Actor::Commits(_) => self.world.versions += u8::from(change.queues()),
            // It came to nothing, so it takes nothing from the budget.
            Actor::Idle => self.world.left = left,
            _ => {}
        }
    }

    /// Gets a cancel that names the revision which its client sees.
    pub fn begins_named(&mut self) {
        let named = self.world.row.as_ref().map(|row| row.task.revision());
        let (name, revision) = (NAMES[self.who], named.unwrap_or_default());
        say!(self, "A client of {name} sees revision {revision} and asks to `cancel` it.");
        self.becomes(Actor::Loads(Intent { named, ..self.intent(Change::Cancel, None) }));
    }

    pub fn lease_runs_out(&mut self) {
        say!(self, "The lease runs out.");
        if let Some(lease) = self.world.row.as_mut().and_then(|row| row.lease.as_mut()) {
            lease.over = true;
        }
    }

    pub fn dies(&mut self) {
        say!(self, "{} dies.", NAMES[self.who]);
        if let Some(intent) = self.world.actors[self.who].intent() {
            note(Fate::MakerDied, intent.change);
        }
        self.becomes(Actor::Idle);
    }

    pub fn intent(&self, change: Change, token: Option<Message>) -> Intent {
        let (who, row) = (self.who, self.world.row.as_ref());
        let document = row.map_or(Document::default(), |row| *row.task.payload());
        let mark = match change {
            _ if change.queues() => self.world.versions,
            Change::Progress => document.written + 1,
            Change::Edit => document.label + 1,
            _ if self.has(Fault::StartUnsigned) => 0,
            _ => u8::try_from(who).unwrap_or_default(),
        };
        let seen = if change == Change::Stop { document.version } else { 0 };
        Intent { who, change, mark, token, named: None, queued_run: None, seen }
    }

    pub fn load(&mut self, intent: Intent, behind: bool) {
        let World { row, behind: replica, .. } = &self.world;
        let (place, row) = if behind { (" from a replica", replica) } else { ("", row) };
        say!(self, "{} loads{place}: {}.", NAMES[self.who], told(row.as_ref()));
        self.go_on(intent, behind);
    }

    /// Decides on what was loaded.
    pub fn go_on(&mut self, intent: Intent, behind: bool) {
        let row = if behind { &self.world.behind } else { &self.world.row };
        let No(fate, is_ahead, why) = match self.protocol.decide(row.as_ref(), intent) {
            Ok(decision) => {
                say!(self, "It decides to {}.", decision.change.row().0);
                return self.becomes(Actor::Commits(decision));
            }
            Err(no) => no,
        };
        if let Some(why) = why {
            say!(self, "It is told: {why}.");
        }
        let is_ahead = is_ahead && (behind || fate != Fate::NoTask);
        let ahead = if behind { Fate::LoadedBehind } else { Fate::Ahead };
        note(if is_ahead { ahead } else { fate }, intent.change);
        self.becomes(Actor::Idle);
        if is_ahead && (behind || intent.change == Change::FailUnpushed) {
            // What it knows of is not on the replica, or its commit may be under way.
            self.becomes(Actor::Loads(intent));
        } else if intent.token.is_none() {
            if SERVERS.contains(&self.who) {
                say!(self, "{} answers no.", NAMES[self.who]);
            }
            let World { row, flights, onlooker, .. } = &mut self.world;
            let current = self.protocol.decide(row.as_ref(), intent);
            onlooker.must(Law::RefusalIsTrue, current.is_err());
            let may_arrive = flights.iter().any(|it| it.intent.who == self.who && it.awaited);
            onlooker.must(Law::AnswersAreTrue, !onlooker.made[self.who] && !may_arrive);
        } else if is_ahead {
            say!(self, "The message goes back to the queue.");
        } else if WORKERS.contains(&self.who) {
            self.drops_the_run(&intent);
        }
    }

    /// `UPDATE … SET lease … WHERE id = ? AND run = ? AND status = 'Processing'`
    pub fn renews(&mut self, token: Message) {
        let (name, run) = (NAMES[self.who], token.run);
        let row = self.world.row.as_mut().filter(|row| row.is_processing_in(run));
        if let Some(row) = row {
            row.lease = Some(Lease { run, over: false });
            say!(self, "{name} renews its lease.");
        } else {
            say!(self, "{name} renews its lease: no row changed.");
            self.becomes(Actor::Idle);
            self.drops_the_run(&self.intent(Change::Progress, Some(token)));
        }
    }

    /// The run is over, as far as the worker knows.
    pub fn drops_the_run(&mut self, intent: &Intent) {
        let what = if intent.held().is_some() { "run" } else { "message" };
        say!(self, "{} is done with the {what}.", NAMES[self.who]);
        intent.token.into_iter().for_each(|token| self.world.acknowledge(token));
        let onlooker = &mut self.world.onlooker;
        let holds = intent.held().is_some_and(|token| onlooker.is_current(token));
        let started = onlooker.truth.as_ref().is_some_and(|truth| {
            let mark = Some((intent.mark, truth.run()));
            truth.status().is_active() && truth.payload().owner == mark
        });
        let has_it = intent.change.gets_the_run() && onlooker.made[self.who] && started;
        onlooker.must(Law::RunIsKept, !holds && !has_it);
    }

    /// Forgets what can make no difference any more.
    pub fn ends(&mut self) {
        let World { flights, row, actors, behind, left, onlooker, .. } = &mut self.world;
        let is_busy = |who: usize| actors[who].intent().is_some();
        onlooker.made.iter_mut().enumerate().for_each(|(who, made)| *made &= is_busy(who));
        let revision = row.as_ref().map(|row| row.task.revision());
        flights.retain_mut(|flight| {
            flight.awaited &= is_busy(flight.intent.who);
            revision == Some(flight.draft.loaded())
        });
        if left[2] == 0 {
            *behind = None;
        }
    }
}
