//! From a decision on: the commit, its message, and what its maker learns.

use std::mem;

use task_lifecycle::{Outcome, Run, Task};

use crate::Fault;
use crate::change::Change;
use crate::happened::Fate;
use crate::protocol::Step;
use crate::world::{Actor, Decision, Flight, Intent, Message, NAMES, SERVERS, SWEEPER, WORKERS};

impl Step<'_> {
    pub fn send(&mut self, decision: Decision, answered: bool) {
        let (who, name, change) = (self.who, NAMES[self.who], decision.change);
        if !answered {
            say!(self, "{name} commits, and gets no answer.");
            self.note(Fate::Unanswered, change);
            let awaited = who != SWEEPER;
            self.world.flights.push(Flight { who, decision: decision.clone(), awaited });
            return match self.protocol.fault {
                Some(Fault::UnknownTakenForYes) => self.succeeds(&decision),
                Some(Fault::UnknownTakenForNo) => self.becomes(Actor::Loads(decision.intent)),
                // It sweeps again anyway.
                _ if who == SWEEPER => self.becomes(Actor::Idle),
                _ => self.becomes(Actor::Unsure(decision)),
            };
        }
        say!(self, "{name} commits.");
        let accepted = self.commit(&decision, true);
        let Actor::Commits(decision) = mem::replace(&mut self.world.actors[who], Actor::Idle)
        else {
            return;
        };
        if accepted || self.has(Fault::ConflictIgnored) {
            return self.succeeds(&decision);
        }
        self.note(Fate::Conflict, change);
        let drops = self.has(Fault::ConflictDropsTheResult) || self.has(Fault::FinishWithoutReload);
        if decision.again {
            self.becomes(Actor::Unsure(decision));
        } else if drops && decision.intent.held().is_some() {
            self.drop_the_run(&decision.intent);
        } else if who != SWEEPER {
            self.becomes(Actor::Loads(decision.intent));
        }
    }

    pub fn arrive(&mut self, flight: usize) {
        let flight = self.world.flights.remove(flight);
        self.who = flight.who;
        say!(self, "{}'s commit arrives.", NAMES[flight.who]);
        let has_looked = !matches!(&self.world.actors[flight.who], Actor::Unsure(it) if !it.again);
        if self.commit(&flight.decision, flight.awaited) && has_looked {
            self.note(Fate::Late, flight.decision.change);
        }
    }

    /// `UPDATE … WHERE id = ? AND revision = ?`: whether a row was changed.
    fn commit(&mut self, made: &Decision, awaited: bool) -> bool {
        let (Decision { change, draft, over, .. }, who) = (made, self.who);
        let is_flag = *change == Change::Stop && self.has(Fault::StopIsAFlag);
        let any = is_flag || self.has(Fault::CommitWithoutRevision);
        let fits = self.world.row.take_if(|row| {
            (any || row.task.revision() == draft.loaded()) && (over.is_none() || *over == row.lease)
        });
        let Some(before) = fits else {
            say!(self, "No row changed.");
            return false;
        };
        for (other, actor) in self.world.actors.iter().enumerate() {
            if let Actor::Commits(decision) = actor
                && (other != who && decision.draft.loaded() == draft.loaded())
            {
                self.protocol.happened.race(*change, decision.change);
            }
        }
        self.note(Fate::Accepted, *change);
        if *change != Change::Delete {
            let mut row = before.clone();
            if !is_flag {
                row.task = draft.clone().into_task();
            }
            row.settle(draft, *change);
            self.world.row = Some(row);
            self.protocol.spoil(&mut self.world, &before, *change);
        }
        match &self.world.row {
            Some(row) => say!(self, "The task: {row}."),
            None => say!(self, "The task is gone."),
        }
        let again = awaited && self.world.onlooker.made[who];
        self.world.onlooker.accepted(who, made, again, &before, self.world.row.as_ref());
        self.world.onlooker.made[who] |= awaited;
        self.world.behind = Some(before);
        if !self.has(Fault::MessageAfterTheCommit) {
            self.queue(made);
        }
        true
    }

    /// Sends the message that the commit needs.
    fn queue(&mut self, made: &Decision) {
        if let (Some(row), Some(truth)) = (&self.world.row, &self.world.onlooker.truth)
            && made.draft.queued().is_some()
            && made.change != Change::UpdateAndPush
        {
            let (run, version) = (self.protocol.address(row), row.task.payload().version);
            self.world.send(Message { run, sent_for: truth.run(), version });
        }
    }

    /// Loads after a commit that got no answer.
    pub fn find_out(&mut self, mut decision: Decision) {
        let (name, change, loaded) = (NAMES[self.who], decision.change, decision.draft.loaded());
        let row = self.world.row.as_ref();
        let outcome = match row.map(|row| &row.task) {
            // Gone is gone, whoever did it.
            None if change == Change::Delete => Outcome::Made,
            Some(task) if change == Change::Delete && task.revision() == loaded => Outcome::Open,
            Some(_) if change == Change::Delete => Outcome::Lost,
            found => decision.draft.outcome(found),
        };
        let stops = row.is_some_and(|row| self.protocol.stop_holds(row));
        // Somebody else's empty edit is equal; what lies beside the task is not.
        let is_other = change == Change::Stop && outcome == Outcome::Made && !stops;
        let outcome = match outcome {
            Outcome::Made if is_other && !self.has(Fault::StopTakenForMade) => Outcome::Lost,
            outcome => outcome,
        };
        match row {
            Some(row) => say!(self, "{name} loads, to find out ({row}): `{outcome:?}`."),
            None => say!(self, "{name} loads, to find out: no task: `{outcome:?}`."),
        }
        let fates = [Fate::Made, Fate::Open, Fate::Lost, Fate::Unknown];
        self.note(fates[outcome as usize], change);
        let anew = self.has(Fault::OpenDecidedAgain) || self.has(Fault::OpenMadeTwice);
        match outcome {
            Outcome::Made => self.succeeds(&decision),
            Outcome::Open if !anew => {
                decision.again = true;
                self.becomes(Actor::Commits(decision));
            }
            Outcome::Open | Outcome::Lost => self.go_on(decision.intent, false),
            Outcome::Unknown => self.does_not_know(&decision),
        }
    }

    fn does_not_know(&mut self, decision: &Decision) {
        let (intent, change, run) = (decision.intent, decision.change, decision.draft.run());
        if intent.token.is_some() {
            let is_own = self.world.row.as_ref().is_some_and(|row| {
                let owner = row.task.payload().owner;
                row.is_processing() && row.task.run() == run && owner == Some((intent.mark, run))
            });
            let forgets = self.has(Fault::TakeOverForgotten) && change == Change::TakeOver;
            let looks = change.gets_the_run() && !forgets && !self.has(Fault::OwnMarkNotLookedFor);
            if is_own && looks {
                say!(self, "It finds its own mark, in run {run}.");
                self.note(Fate::OwnMark, change);
                return self.succeeds(decision);
            }
            // Its run tells what it may do again.
            return self.go_on(intent, false);
        }
        if self.has(Fault::UnknownTriedAgain) {
            return self.go_on(intent, false);
        }
        let again = self.protocol.decide(self.who, self.world.row.as_ref(), &mut intent.clone());
        if let Err(no) = again
            && (self.has(Fault::EchoTakenForRefusal) && no.fate == Fate::Refused)
        {
            say!(self, "It is told: {}.", no.why.map_or_else(String::new, |why| why.to_string()));
            return self.refuse();
        }
        self.becomes(Actor::Unsure(decision.clone()));
        self.gives_up();
    }

    /// Does not ask any longer what became of its commit.
    pub fn gives_up(&mut self) {
        say!(self, "{} answers that the outcome is unknown.", NAMES[self.who]);
        let actor = mem::replace(&mut self.world.actors[self.who], Actor::Idle);
        if let Actor::Unsure(Decision { change: Change::UpdateAndPush, intent, draft, .. }) = actor
        {
            // The update may be made, or be under way. A message too many is over when it is handled.
            let (run, version) = (draft.run(), intent.mark);
            self.becomes(Actor::Pushes(Message { run, sent_for: run, version }));
        }
    }

    pub fn push(&mut self, message: Message, answered: bool, arrives: bool) {
        let (name, run) = (NAMES[self.who], message.run);
        self.becomes(Actor::Idle);
        if arrives {
            self.world.send(message);
        }
        if answered {
            say!(self, "{name} pushes the message of run {run} to the queue.");
        } else {
            let fate = if arrives { "arrives" } else { "is lost" };
            say!(self, "{name} pushes the message of run {run} and gets no answer; it {fate}.");
            self.becomes(Actor::Loads(Intent::new(Change::FailUnpushed, 0, Some(message))));
        }
    }

    /// The change was accepted, as far as its maker knows.
    fn succeeds(&mut self, decision: &Decision) {
        let Decision { intent, change, draft, .. } = decision;
        self.becomes(Actor::Idle);
        let stops = self.world.row.as_ref().is_some_and(|row| self.protocol.stop_holds(row));
        self.world.onlooker.told_yes(self.who, decision, stops);
        let was_made = self.world.onlooker.made[self.who];
        if self.has(Fault::MessageAfterTheCommit) {
            self.queue(decision);
        }
        let (run, version) = (draft.run(), draft.payload().version);
        if *change == Change::UpdateAndPush {
            let truth = self.world.onlooker.truth.as_ref().filter(|_| was_made);
            let sent_for = truth.map_or(run, Task::run);
            self.becomes(Actor::Pushes(Message { run, sent_for, version }));
        } else if SERVERS.contains(&self.who) && *change != Change::FailUnpushed {
            say!(self, "{} answers yes.", NAMES[self.who]);
        }
        let Some(token) = intent.token.filter(|_| WORKERS.contains(&self.who)) else { return };
        if *change == Change::Progress {
            return self.becomes(Actor::Working(token));
        }
        if !matches!(change, Change::Start | Change::GoOn) {
            // The run of the message is over.
            self.world.acknowledge(token);
        }
        if change.gets_the_run() {
            let taken_over = u64::from(*change == Change::TakeOver);
            let sent_for = Run::new(token.sent_for.get() + taken_over);
            let token = Message { run, sent_for, version };
            self.becomes(Actor::Working(token));
            if self.has(Fault::FinishWithoutReload) {
                say!(self, "It keeps this copy for the end.");
                self.go_on(Intent::new(Change::Succeed, intent.mark, Some(token)), false);
            }
        }
    }
}
