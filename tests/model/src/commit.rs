//! From a decision on: the commit, its message, and what its maker learns.

use task_lifecycle::{Outcome, Run};

use crate::change::Change;
use crate::page::Fate;
use crate::protocol::No;
use crate::step::Step;
use crate::world::{Actor, Decision, Intent, Message, NAMES, Row, SERVERS, SWEEPER, WORKERS, told};
use crate::{Fault, Law};

impl Step<'_> {
    pub fn commits_unanswered(&mut self, decision: Decision) {
        say!(self, "{} commits, and gets no answer.", NAMES[self.who]);
        self.note(Fate::Unanswered, decision.change);
        // The sweeper sweeps again anyway.
        let awaited = self.who != SWEEPER;
        self.world.flights.push(Decision { awaited, ..decision.clone() });
        match self.protocol.fault {
            Some(Fault::UnknownTakenForYes) => self.succeeds(&decision),
            Some(Fault::UnknownTakenForNo) => self.becomes(Actor::Loads(decision.intent)),
            _ if awaited => self.becomes(Actor::Unsure(decision)),
            _ => self.becomes(Actor::Idle),
        }
    }

    pub fn commits(&mut self, decision: Decision) {
        say!(self, "{} commits.", NAMES[self.who]);
        self.becomes(Actor::Idle);
        if self.commit(&decision) || self.has(Fault::ConflictIgnored) {
            return self.succeeds(&decision);
        }
        self.note(Fate::Conflict, decision.change);
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
            self.note(Fate::Late, decision.change);
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
                self.protocol.happened.race(*change, other.change);
            }
        }
        self.note(Fate::Accepted, *change);
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
        if let (Some(row), Some(truth)) = (&self.world.row, &self.world.onlooker.truth)
            && made.draft.queued().is_some()
            && made.change != Change::UpdateAndPush
        {
            let by_revision = self.has(Fault::MessageByRevision);
            let (task, revision) = (&row.task, Run::new(row.task.revision().get()));
            let run = if by_revision { revision } else { task.run() };
            let version = task.payload().version;
            self.world.send(Message { run, sent_for: truth.run(), version });
        }
    }

    /// Loads after a commit that got no answer.
    pub fn finds_out(&mut self, mut decision: Decision) {
        let (change, draft, row) = (decision.change, &decision.draft, self.world.row.as_ref());
        let looks = !self.has(Fault::StopTakenForMade);
        let stops = self.protocol.stop_holds(row);
        let outcome = match (change, draft.outcome(row.map(|row| &row.task))) {
            // Gone is gone, whoever did it; and a task that is as it was loaded is not gone.
            (Change::Delete, Outcome::Unknown) if row.is_none() => Outcome::Made,
            (Change::Delete, Outcome::Made) => Outcome::Open,
            (Change::Delete, Outcome::Unknown) => Outcome::Lost,
            // Somebody else's empty edit is equal; what lies beside the task is not.
            (Change::Stop, Outcome::Made) if looks && !stops => Outcome::Lost,
            (_, outcome) => outcome,
        };
        say!(self, "{} loads: {}. It is `{outcome:?}`.", NAMES[self.who], told(row));
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
        let row = self.world.row.as_ref();
        let forgets = self.has(Fault::TakeOverForgotten) && change == Change::TakeOver;
        let looks = change.gets_the_run() && !forgets && !self.has(Fault::OwnMarkNotLookedFor);
        let mark = Some((intent.mark, run));
        let is_own = |row: &Row| row.is_processing_in(run) && row.task.payload().owner == mark;
        if looks && row.is_some_and(is_own) {
            say!(self, "It finds its own mark, in run {run}.");
            self.note(Fate::OwnMark, change);
            return self.succeeds(decision);
        }
        // A worker's run tells what it may do again.
        if intent.token.is_some() || self.has(Fault::UnknownTriedAgain) {
            return self.go_on(intent, false);
        }
        if self.has(Fault::EchoTakenForRefusal)
            && let Err(No(Fate::Refused, _, why)) = self.protocol.decide(row, intent)
        {
            say!(self, "It is told: {}.", why.expect("a refusal has a reason"));
            self.becomes(Actor::Idle);
            return self.refuses();
        }
        self.gives_up(decision);
    }

    /// Does not ask any longer what became of its commit.
    pub fn gives_up(&mut self, decision: &Decision) {
        say!(self, "{} answers that the outcome is unknown.", NAMES[self.who]);
        self.becomes(Actor::Idle);
        if decision.change == Change::UpdateAndPush {
            // The update may be made, or be under way. A message too many is over when it is handled.
            let (run, version) = (decision.draft.run(), decision.intent.mark);
            self.becomes(Actor::Pushes(Message { run, sent_for: run, version }));
        }
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
            let intent = self.intent(Change::FailUnpushed, Some(message));
            self.becomes(Actor::Loads(Intent { seen: 0, ..intent }));
        }
    }

    /// The change was accepted, as far as its maker knows.
    fn succeeds(&mut self, decision: &Decision) {
        let (intent, change, draft) = (&decision.intent, decision.change, &decision.draft);
        self.becomes(Actor::Idle);
        let truth = self.world.onlooker.truth.as_ref();
        // Somebody else's commit may have done just the same, or its own before it died.
        let is_true = self.world.onlooker.made[self.who]
            || match change {
                Change::Delete => truth.is_none(),
                Change::Stop => self.protocol.stop_holds(self.world.row.as_ref()),
                _ if change.gets_the_run() => {
                    truth.is_some_and(|truth| truth.payload().owner == draft.payload().owner)
                }
                _ => truth == Some(&**draft),
            };
        self.world.onlooker.must(Law::AnswersAreTrue, is_true);
        if self.has(Fault::MessageAfterTheCommit) {
            self.queue(decision);
        }
        let (run, version) = (draft.run(), draft.payload().version);
        if change == Change::UpdateAndPush {
            self.becomes(Actor::Pushes(Message { run, sent_for: run, version }));
        } else if SERVERS.contains(&self.who) && change != Change::FailUnpushed {
            say!(self, "{} answers yes.", NAMES[self.who]);
        }
        let Some(token) = intent.token.filter(|_| WORKERS.contains(&self.who)) else { return };
        if change == Change::Progress {
            return self.becomes(Actor::Working(token));
        }
        if !matches!(change, Change::Start | Change::GoOn) {
            // The run of the message is over.
            self.world.acknowledge(token);
        }
        if change.gets_the_run() {
            let taken_over = u64::from(change == Change::TakeOver);
            let sent_for = Run::new(token.sent_for.get() + taken_over);
            let token = Message { run, sent_for, version };
            self.becomes(Actor::Working(token));
            if self.has(Fault::FinishWithoutReload) {
                say!(self, "It keeps this copy for the end.");
                self.go_on(self.intent(Change::Succeed, Some(token)), false);
            }
        }
    }
}
