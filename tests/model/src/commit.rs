//! From a decision on: the commit, its message, and what its maker learns.

use task_lifecycle::{Outcome, Run, Task};

use crate::change::Change;
use crate::laws::{Fault, Law};
use crate::page::{Fate, note, note_race};
use crate::protocol::No;
use crate::step::Step;
use crate::world::{Actor, Decision, Message, NAMES, Row, SERVERS, SWEEPER, World, told};

impl Step<'_> {
    pub fn commits_unanswered(&mut self, decision: Box<Decision>) {
        say!(self, "{} commits, and gets no answer.", NAMES[self.who]);
        note(Fate::Unanswered, decision.change);
        self.world.flights.push(Decision::clone(&decision));
        match self.protocol.fault {
            Some(Fault::UnknownTakenForYes) => self.succeeds(&decision),
            Some(Fault::UnknownTakenForNo) => self.becomes(Actor::Loads(decision.intent)),
            // It sweeps again anyway.
            _ if self.who == SWEEPER => self.becomes(Actor::Idle),
            _ => self.becomes(Actor::Unsure(decision)),
        }
    }

    pub fn commits(&mut self, decision: Box<Decision>) {
        say!(self, "{} commits.", NAMES[self.who]);
        self.becomes(Actor::Idle);
        if self.commit(&decision) || self.has(Fault::ConflictIgnored) {
            return self.succeeds(&decision);
        }
        note(Fate::Conflict, decision.change);
        let drops = self.has(Fault::ConflictDropsTheResult) || self.has(Fault::FinishWithoutReload);
        if decision.again {
            self.becomes(Actor::Unsure(decision));
        } else if drops && decision.intent.held().is_some() {
            self.drops_the_run(&decision.intent);
        } else if self.who != SWEEPER {
            self.becomes(Actor::Loads(decision.intent));
        }
    }

    /// A commit without an answer arrives.
    pub fn arrives(&mut self, flight: usize) {
        say!(self, "{}'s commit arrives.", NAMES[self.who]);
        let decision = self.world.flights.remove(flight);
        let actor = &self.world.actors[self.who];
        let has_looked = !matches!(actor, Actor::Unsure(decision) if !decision.again);
        if self.commit(&decision) && has_looked {
            note(Fate::Late, decision.change);
        }
    }

    /// `UPDATE … WHERE id = ? AND revision = ?`: whether a row was changed.
    fn commit(&mut self, made: &Decision) -> bool {
        let Decision { change, draft, over, .. } = made;
        let is_flag = *change == Change::Stop && self.has(Fault::StopIsAFlag);
        let any = is_flag || self.has(Fault::CommitWithoutRevision);
        let fits = self.world.row.take_if(|row| {
            (any || row.task.revision() == draft.loaded()) && (over.is_none() || *over == row.lease)
        });
        let Some(before) = fits else {
            say!(self, "No row changed.");
            return false;
        };
        for actor in &self.world.actors {
            if let Actor::Commits(other) = actor
                && (other.intent.who != self.who && other.draft.loaded() == draft.loaded())
            {
                note_race(*change, other.change);
            }
        }
        note(Fate::Accepted, *change);
        if *change != Change::Delete {
            let task = if is_flag { before.task.clone() } else { draft.clone().into_task() };
            let row = self.world.row.insert(Row { task, ..before.clone() });
            row.settle(draft, *change);
            self.protocol.spoil(&mut self.world, &before, *change);
        }
        say!(self, "Stored: {}.", told(self.world.row.as_ref()));
        self.world.onlooker.accepted(made, &before, self.world.row.as_ref());
        self.world.behind = Some(before);
        if !self.has(Fault::MessageAfterTheCommit) {
            self.queue(made);
        }
        true
    }

    /// Sends the message that the commit needs.
    fn queue(&mut self, made: &Decision) {
        let World { row, onlooker, .. } = &self.world;
        let is_needed = made.draft.queued().is_some() && made.change != Change::UpdateAndPush;
        if let (true, Some(row), Some(truth)) = (is_needed, row, &onlooker.truth) {
            let (revision, version) = (row.task.revision(), row.task.payload().version);
            let by_revision = self.has(Fault::MessageByRevision);
            let run = if by_revision { Run::new(revision.get()) } else { row.task.run() };
            let sent_for = truth.run();
            self.world.send(Message { run, sent_for, version });
        }
    }

    /// Loads after a commit that got no answer.
    pub fn finds_out(&mut self, mut decision: Box<Decision>) {
        let Decision { intent, change, draft, .. } = &*decision;
        let (intent, change, row) = (*intent, *change, self.world.row.as_ref());
        let stops = self.protocol.stop_holds(row) || self.has(Fault::StopTakenForMade);
        let outcome = match (change, draft.outcome(row.map(|row| &row.task))) {
            // Gone is gone, whoever did it; and a task that is as it was loaded is not gone.
            (Change::Delete, Outcome::Unknown) if row.is_none() => Outcome::Made,
            (Change::Delete, Outcome::Made) => Outcome::Open,
            (Change::Delete, Outcome::Unknown) => Outcome::Lost,
            // Somebody else's empty edit is equal; what lies beside the task is not.
            (Change::Stop, Outcome::Made) if !stops => Outcome::Lost,
            (_, outcome) => outcome,
        };
        say!(self, "{} loads: {}. It is `{outcome:?}`.", NAMES[self.who], told(row));
        let fates = [Fate::Made, Fate::Open, Fate::Lost, Fate::Unknown];
        note(fates[outcome as usize], change);

        let (run, owner) = (draft.run(), draft.payload().owner);
        let is_own = |row: &Row| row.is_processing_in(run) && row.task.payload().owner == owner;
        let forgets = change == Change::TakeOver && self.has(Fault::TakeOverForgotten);
        let looks = change.gets_the_run() && !forgets && !self.has(Fault::OwnMarkNotLookedFor);
        let is_refused = || matches!(self.protocol.decide(row, intent), Err(No(Fate::Refused, ..)));
        // A worker's run tells what it may do again.
        let may_try = intent.token.is_some()
            || self.has(Fault::UnknownTriedAgain)
            || self.has(Fault::EchoTakenForRefusal) && is_refused();
        let anew = self.has(Fault::OpenDecidedAgain) || self.has(Fault::OpenMadeTwice);
        match outcome {
            Outcome::Made => self.succeeds(&decision),
            Outcome::Open if !anew => {
                decision.again = true;
                self.becomes(Actor::Commits(decision));
            }
            Outcome::Unknown if looks && row.is_some_and(is_own) => {
                say!(self, "It finds its own mark, in run {run}.");
                note(Fate::OwnMark, change);
                self.succeeds(&decision);
            }
            Outcome::Unknown if !may_try => self.gives_up(&decision),
            Outcome::Open | Outcome::Lost | Outcome::Unknown => self.go_on(intent, false),
        }
    }

    /// Does not ask any longer what became of its commit.
    pub fn gives_up(&mut self, decision: &Decision) {
        say!(self, "{} answers that the outcome is unknown.", NAMES[self.who]);
        // An update may be made, or be under way. A message too many is over when it is handled.
        self.becomes(decision.to_push().map_or(Actor::Idle, Actor::Pushes));
    }

    /// Sends the message to the queue; without an answer it arrives, or is lost.
    pub fn pushes(&mut self, message: Message, arrives: bool, unanswered: Option<&str>) {
        say!(self, "{} pushes the message of run {}.", NAMES[self.who], message.run);
        self.becomes(Actor::Idle);
        if arrives {
            self.world.send(message);
        }
        if let Some(fate) = unanswered {
            say!(self, "It gets no answer; the message {fate}.");
            self.becomes(Actor::Loads(self.intent(Change::FailUnpushed, Some(message))));
        }
    }

    /// The change was accepted, as far as its maker knows.
    fn succeeds(&mut self, decision: &Decision) {
        let Decision { intent, change, draft, .. } = decision;
        let onlooker = &mut self.world.onlooker;
        let truth = onlooker.truth.as_ref();
        // Somebody else's commit may have done just the same, or its own before it died.
        let is_true = onlooker.made[self.who]
            || match change {
                Change::Delete => truth.is_none(),
                Change::Stop => self.protocol.stop_holds(self.world.row.as_ref()),
                _ if change.gets_the_run() => {
                    truth.is_some_and(|truth| truth.payload().owner == draft.payload().owner)
                }
                _ => truth == Some(&**draft),
            };
        let (run, version) = (draft.run(), draft.payload().version);
        let gets = Message { run, sent_for: truth.map_or(run, Task::run), version };
        onlooker.must(Law::AnswersAreTrue, is_true);
        if self.has(Fault::MessageAfterTheCommit) {
            self.queue(decision);
        }
        self.becomes(decision.to_push().map_or(Actor::Idle, Actor::Pushes));
        match (change, intent.token) {
            (Change::UpdateAndPush | Change::FailUnpushed, _) => {}
            (Change::Progress, Some(token)) => self.becomes(Actor::Working(token)),
            (Change::Start | Change::GoOn | Change::TakeOver, Some(token)) => {
                if *change == Change::TakeOver {
                    self.world.acknowledge(token);
                }
                self.becomes(Actor::Working(gets));
                if self.has(Fault::FinishWithoutReload) {
                    say!(self, "It keeps this copy for the end.");
                    self.go_on(self.intent(Change::Succeed, Some(gets)), false);
                }
            }
            // The run of the message is over.
            (_, Some(token)) => self.world.acknowledge(token),
            (_, None) if SERVERS.contains(&self.who) => {
                say!(self, "{} answers yes.", NAMES[self.who]);
            }
            (_, None) => {}
        }
    }
}
