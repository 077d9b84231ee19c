//! What the steps do, from a request or a message to a decision.

use std::array;

use crate::actions::{Action, Deed};
use crate::change::{Change, Document};
use crate::page::Fate;
use crate::protocol::{No, Protocol};
use crate::world::{Actor, Intent, Lease, Message, NAMES, SERVERS, WORKERS, World, told};
use crate::{Fault, Law};

/// One step, while it is taken.
pub struct Step<'a> {
    pub protocol: &'a Protocol,
    pub world: World,
    pub who: usize,
    /// The sentences of the story, if one is told.
    pub said: Option<Vec<String>>,
}

impl Protocol {
    pub fn step(&self, world: &World, action: Action, said: Option<Vec<String>>) -> Step<'_> {
        let mut step = Step { protocol: self, world: world.clone(), who: action.who, said };
        step.take(action);
        step.forget();
        step
    }
}

impl Step<'_> {
    pub fn has(&self, fault: Fault) -> bool {
        self.protocol.has(fault)
    }

    pub fn note(&self, fate: Fate, change: Change) {
        self.protocol.happened.note(fate, change);
    }

    pub fn becomes(&mut self, actor: Actor) {
        self.world.actors[self.who] = actor;
    }

    fn take(&mut self, Action { who, deed, cost }: Action) {
        let (name, left) = (NAMES[who], self.world.left);
        self.world.left = array::from_fn(|limit| left[limit] - cost[limit]);
        match (deed, self.world.actors[who].clone()) {
            (Deed::Begin(change, token, behind), _) => {
                if let Some(message) = token.filter(|_| change.gets_the_run()) {
                    say!(self, "{name} gets the message of run {}.", message.run);
                    if self.has(Fault::MessageAcknowledgedOnReceipt) {
                        say!(self, "It acknowledges the message.");
                        self.world.acknowledge(message);
                    }
                }
                self.load(self.intent(change, token), behind);
                match &self.world.actors[who] {
                    Actor::Commits(_) => self.world.versions += u8::from(change.queues()),
                    Actor::Loads(_) => {}
                    // It came to nothing, so it takes nothing from the budget.
                    _ => self.world.left = left,
                }
            }
            (Deed::BeginNamed, _) => {
                let revision = self.world.row.as_ref().map(|row| row.task.revision());
                let named = revision.unwrap_or_default();
                say!(self, "A client of {name} sees revision {named} and asks to `cancel` it.");
                let intent = self.intent(Change::Cancel, None);
                self.becomes(Actor::Loads(Intent { named: revision, ..intent }));
            }
            (Deed::Load, Actor::Loads(intent)) => self.load(intent, false),
            (Deed::LoadBehind, Actor::Loads(intent)) => self.load(intent, true),
            (Deed::Load, Actor::Unsure(decision)) => self.finds_out(decision),
            (Deed::Commit, Actor::Commits(it)) => self.commits(it),
            (Deed::CommitUnanswered, Actor::Commits(it)) => self.commits_unanswered(it),
            (Deed::Arrive(flight), actor) => {
                say!(self, "{name}'s commit arrives.");
                let decision = self.world.flights.remove(flight);
                let has_looked = !matches!(actor, Actor::Unsure(it) if !it.again);
                if self.commit(&decision) && has_looked {
                    self.note(Fate::Late, decision.change);
                }
            }
            (Deed::Push, Actor::Pushes(message)) => self.pushes(message, true, true),
            (Deed::PushUnanswered, Actor::Pushes(message)) => self.pushes(message, false, true),
            (Deed::PushLost, Actor::Pushes(message)) => self.pushes(message, false, false),
            (Deed::GiveUp, Actor::Unsure(decision)) => self.gives_up(&decision),
            (Deed::Renew, Actor::Working(token)) => self.renews(token),
            (Deed::LeaseRunsOut, _) => {
                say!(self, "The lease runs out.");
                let lease = self.world.row.as_mut().and_then(|row| row.lease.as_mut());
                lease.expect("it is there").over = true;
            }
            (Deed::Die, actor) => {
                say!(self, "{name} dies.");
                if let Some(intent) = actor.intent() {
                    self.note(Fate::MakerDied, intent.change);
                }
                self.becomes(Actor::Idle);
            }
            (deed, actor) => unreachable!("{deed:?} of {actor:?}"),
        }
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
        let seen = document.version;
        Intent { who, change, mark, token, named: None, queued_run: None, seen }
    }

    fn load(&mut self, intent: Intent, behind: bool) {
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
        let fate = match (is_ahead, behind) {
            (true, true) => Fate::LoadedBehind,
            (true, false) if intent.token.is_some() => Fate::Ahead,
            _ => fate,
        };
        self.note(fate, intent.change);
        self.becomes(Actor::Idle);
        let has_pushed = SERVERS.contains(&self.who) && intent.token.is_some();
        if is_ahead && (behind || has_pushed) {
            // What it knows of is not on the replica, or its commit may be under way.
            self.becomes(Actor::Loads(intent));
        } else if intent.token.is_none() {
            let current = self.protocol.decide(self.world.row.as_ref(), intent);
            self.world.onlooker.must(Law::RefusalIsTrue, current.is_err());
            self.refuses();
        } else if is_ahead {
            say!(self, "The message goes back to the queue.");
        } else if WORKERS.contains(&self.who) {
            self.drops_the_run(&intent);
        }
    }

    /// `UPDATE … SET lease … WHERE id = ? AND run = ? AND status = 'Processing'`
    fn renews(&mut self, token: Message) {
        let (name, run) = (NAMES[self.who], token.run);
        match &mut self.world.row {
            Some(row) if row.is_processing() && row.task.run() == run => {
                row.lease = Some(Lease { run, over: false });
                say!(self, "{name} renews its lease.");
            }
            _ => {
                say!(self, "{name} renews its lease: no row changed.");
                self.becomes(Actor::Idle);
                self.drops_the_run(&self.intent(Change::Progress, Some(token)));
            }
        }
    }

    /// The change will not be made: the answer is no.
    pub fn refuses(&mut self) {
        let (who, revision) = (self.who, self.world.row.as_ref().map(|row| row.task.revision()));
        if SERVERS.contains(&who) {
            say!(self, "{} answers no.", NAMES[who]);
        }
        let may_arrive = self.world.flights.iter().any(|flight| {
            flight.intent.who == who && flight.awaited && revision == Some(flight.draft.loaded())
        });
        let was_made = self.world.onlooker.made[who];
        self.world.onlooker.must(Law::AnswersAreTrue, !was_made && !may_arrive);
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
    fn forget(&mut self) {
        let World { flights, row, actors, behind, left, onlooker, .. } = &mut self.world;
        let is_busy = |who: usize| actors[who].intent().is_some();
        flights.iter_mut().for_each(|flight| flight.awaited &= is_busy(flight.intent.who));
        onlooker.made.iter_mut().enumerate().for_each(|(who, made)| *made &= is_busy(who));
        if self.protocol.fault.is_none() {
            let revision = row.as_ref().map(|row| row.task.revision());
            flights.retain(|flight| revision == Some(flight.draft.loaded()));
        }
        if left[2] == 0 {
            *behind = None;
        }
    }
}
