//! The way of everybody to a decision, step by step.

use std::mem;

use task_lifecycle::Draft;

use crate::actions::{Action, Deed};
use crate::change::{Change, Document};
use crate::happened::{Fate, Happened};
use crate::world::{
    Actor, Decision, Intent, Lease, Message, NAMES, Row, SERVERS, SWEEPER, WORKERS, World,
};
use crate::{Budget, Fault, Law};

pub struct Protocol {
    pub(crate) budget: Budget,
    pub(crate) fault: Option<Fault>,
    pub(crate) happened: Happened,
}

/// One step, while it is taken.
pub(crate) struct Step<'a> {
    pub protocol: &'a Protocol,
    pub world: World,
    pub who: usize,
    pub tells: bool,
    pub said: Vec<String>,
}

/// The reason that nothing was decided.
pub(crate) struct No {
    pub fate: Fate,
    /// The caller knows more than was loaded.
    ahead: bool,
    /// The crate's own words.
    pub why: Option<Error>,
}

type Error = Box<dyn std::error::Error>;

impl No {
    fn because(fate: Fate, ahead: bool, why: Option<Error>) -> Self {
        Self { fate, ahead, why }
    }

    /// Somebody else is to end it.
    fn not_mine() -> Self {
        Self::because(Fate::LeftToOthers, false, None)
    }
}

impl Protocol {
    pub(crate) fn new(budget: Budget, fault: Option<Fault>) -> Self {
        Self { budget, fault, happened: Happened::default() }
    }

    pub(crate) fn step(&self, world: &World, action: Action, tells: bool) -> (World, Vec<String>) {
        let (world, who, said) = (world.clone(), action.who, Vec::new());
        let mut step = Step { protocol: self, world, who, tells, said };
        step.take(action);
        step.forget();
        (step.world, step.said)
    }

    pub(crate) fn decide(
        &self,
        who: usize,
        row: Option<&Row>,
        intent: &mut Intent,
    ) -> Result<Decision, No> {
        let gone = !self.has(Fault::NoTaskTakenForOver);
        let row = row.ok_or_else(|| No::because(Fate::NoTask, gone, None))?;
        if let Some(token) = intent.token.filter(|_| self.checks(intent.change)) {
            self.check(row, intent.change, token).map_err(|stale| {
                let ahead = stale.is_ahead() && !self.has(Fault::AheadTakenForOver);
                No::because(Fate::RunIsOver, ahead, Some(stale.into()))
            })?;
        }
        if let Some(named) = intent.named.filter(|_| !self.has(Fault::NamedRevisionIgnored)) {
            row.task.check_revision(named).map_err(|stale| {
                let ahead = stale.is_ahead() && !self.has(Fault::AheadRevisionRefused);
                No::because(Fate::OtherRevision, ahead, Some(stale.into()))
            })?;
        }
        let change = self.resolve(who, row, intent)?;
        let mut draft = Draft::new(row.task.clone());
        if change == Change::Progress && self.has(Fault::EditAdded) {
            intent.mark = draft.payload().written + 1;
        }
        if change != Change::Stop
            || !self.has(Fault::StopIsAFlag) && !self.has(Fault::StopWithoutEdit)
        {
            let decided = change.apply(&mut draft, intent.mark);
            if !self.has(Fault::HalfADraft) || draft.revision() == draft.loaded() {
                decided.map_err(|no| No::because(Fate::Refused, false, Some(no.into())))?;
            }
        }
        let compares = (who == SWEEPER || intent.change.gets_the_run()) && row.has_lease(true);
        let over = row.lease.filter(|_| compares && !self.has(Fault::LeaseNotCompared));
        Ok(Decision { intent: *intent, change, draft, over, again: false })
    }

    /// Turns the wish into a change, by what was loaded.
    fn resolve(&self, who: usize, row: &Row, intent: &mut Intent) -> Result<Change, No> {
        use Change::{
            Cancel, Fail, FailUnpushed, GoOn, Halt, Retry, Start, Stop, Succeed, TakeOver,
        };
        let (processing, may_end) = (row.is_processing(), self.may_end(who, row));
        let has_it = WORKERS.contains(&who) && !intent.change.gets_the_run();
        let looks = has_it || !self.has(Fault::StopIsBoundToItsRun);
        let to_stop = self.stop_holds(row) && looks && !self.has(Fault::StopNotLookedFor);
        Ok(match intent.change {
            TakeOver if processing && self.has(Fault::TakeOverInTheSameRun) => GoOn,
            // It was delivered before.
            Start if processing => return Err(No::not_mine()),
            TakeOver if processing && !may_end => return Err(No::not_mine()),
            // The push arrived after all.
            FailUnpushed if processing && !self.has(Fault::PushFailedWhileProcessing) => {
                return Err(No::not_mine());
            }
            Start | TakeOver | Fail | Retry | Succeed if to_stop => Halt,
            TakeOver if !processing => Start,
            Stop => {
                let first = *intent.queued_run.get_or_insert(row.queued_run);
                if first != row.queued_run && !self.has(Fault::StopRequestedAgain) {
                    return Err(No::not_mine());
                }
                if processing { Stop } else { Cancel }
            }
            Cancel if processing && self.has(Fault::CancelWhileProcessing) => Halt,
            other => other,
        })
    }

    /// Returns whether somebody else may end the run, or take it over.
    pub(crate) fn may_end(&self, who: usize, row: &Row) -> bool {
        let early = match who {
            SWEEPER => self.has(Fault::SweptAtOnce),
            _ => self.has(Fault::TakeOverAtOnce) || self.has(Fault::TakeOverInTheSameRun),
        };
        row.is_processing() && (row.has_lease(true) || early)
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

    fn take(&mut self, Action { who, deed }: Action) {
        let name = NAMES[who];
        let before = self.world.left;
        self.world.left = Action { who, deed }.pay(&self.world).unwrap_or(before);
        match deed {
            Deed::Begin { change, token, behind } => {
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
                    _ => self.world.left = before,
                }
            }
            Deed::BeginNamed => {
                let named = self.world.row.as_ref().map(|row| row.task.revision());
                let revision = named.unwrap_or_default();
                say!(self, "A client of {name} sees revision {revision} and asks to `cancel` it.");
                self.becomes(Actor::Loads(Intent { named, ..self.intent(Change::Cancel, None) }));
            }
            Deed::Load { behind } => match mem::replace(&mut self.world.actors[who], Actor::Idle) {
                Actor::Loads(intent) => self.load(intent, behind),
                Actor::Unsure(decision) => self.find_out(decision),
                other => self.becomes(other),
            },
            Deed::Commit { answered } => {
                if let Actor::Commits(decision) = self.world.actors[who].clone() {
                    self.send(decision, answered);
                }
            }
            Deed::Arrive { flight } => self.arrive(flight),
            Deed::Push { answered, arrives } => {
                if let Actor::Pushes(message) = self.world.actors[who] {
                    self.push(message, answered, arrives);
                }
            }
            Deed::GiveUp => self.gives_up(),
            Deed::Renew => self.renew(),
            Deed::LeaseRunsOut => {
                say!(self, "The lease runs out.");
                let lease = self.world.row.as_mut().and_then(|row| row.lease.as_mut());
                lease.expect("it is there").over = true;
            }
            Deed::Die => {
                say!(self, "{name} dies.");
                if let Some(intent) = self.world.actors[who].intent() {
                    self.note(Fate::MakerDied, intent.change);
                }
                self.becomes(Actor::Idle);
            }
        }
    }

    fn intent(&self, change: Change, token: Option<Message>) -> Intent {
        let document = self.world.row.as_ref().map_or(Document::new(0), |row| *row.task.payload());
        let mark = match change {
            _ if change.queues() => self.world.versions,
            Change::Progress => document.written + 1,
            Change::Edit => document.label + 1,
            _ if self.has(Fault::StartUnsigned) => 0,
            _ => u8::try_from(self.who).unwrap_or_default(),
        };
        Intent { seen: document.version, ..Intent::new(change, mark, token) }
    }

    fn load(&mut self, intent: Intent, behind: bool) {
        let name = NAMES[self.who];
        let place = if behind { " from a replica" } else { "" };
        let row = if behind { &self.world.behind } else { &self.world.row };
        match row {
            Some(row) => say!(self, "{name} loads{place} ({row})."),
            None => say!(self, "{name} loads{place}: no task."),
        }
        self.go_on(intent, behind);
    }

    /// Decides on what was loaded.
    pub fn go_on(&mut self, mut intent: Intent, behind: bool) {
        let (who, wanted) = (self.who, intent.change);
        let row = if behind { &self.world.behind } else { &self.world.row };
        let no = match self.protocol.decide(who, row.as_ref(), &mut intent) {
            Ok(decision) => {
                let text = match (wanted, decision.change) {
                    (Change::Stop, Change::Cancel) => "`cancel`, as a stop is asked for",
                    (Change::Cancel, Change::Halt) => "`retry` and `cancel`",
                    (_, change) => change.text(),
                };
                say!(self, "It decides to {text}.");
                return self.becomes(Actor::Commits(decision));
            }
            Err(no) => no,
        };
        self.becomes(Actor::Idle);
        if let Some(why) = no.why {
            say!(self, "It is told: {why}.");
        }
        let ahead = no.ahead && (behind || no.fate != Fate::NoTask);
        let fate = match (ahead, behind) {
            (true, true) => Fate::LoadedBehind,
            (true, false) if intent.token.is_some() => Fate::Ahead,
            _ => no.fate,
        };
        self.note(fate, wanted);
        if ahead && behind {
            say!(self, "What was loaded is behind.");
            self.becomes(Actor::Loads(intent));
        } else if intent.token.is_none() {
            let current = self.world.row.as_ref();
            let rightly =
                !behind || self.protocol.decide(who, current, &mut intent.clone()).is_err();
            self.world.onlooker.must(Law::RefusalIsTrue, rightly);
            self.refuse();
        } else if ahead && SERVERS.contains(&who) {
            // The commit that it pushed for may be under way.
            self.becomes(Actor::Loads(intent));
        } else if ahead {
            say!(self, "The message goes back to the queue.");
        } else if WORKERS.contains(&who) {
            self.drop_the_run(&intent);
        }
    }

    /// `UPDATE … SET lease … WHERE id = ? AND run = ? AND status = 'Processing'`
    fn renew(&mut self) {
        let (name, actor) = (NAMES[self.who], self.world.actors[self.who].clone());
        let Some(token) = actor.held() else { return };
        let run = token.run;
        match &mut self.world.row {
            Some(row) if row.is_processing() && row.task.run() == run => {
                row.lease = Some(Lease { run, over: false });
                say!(self, "{name} renews its lease.");
            }
            _ => {
                say!(self, "{name} renews its lease: no row changed.");
                self.becomes(Actor::Idle);
                self.drop_the_run(&Intent::new(Change::Progress, 0, Some(token)));
            }
        }
    }

    /// The change will not be made: the answer is no.
    pub fn refuse(&mut self) {
        let who = self.who;
        if SERVERS.contains(&who) {
            say!(self, "{} answers no.", NAMES[who]);
        }
        let World { flights, row, onlooker, .. } = &mut self.world;
        let revision = row.as_ref().map(|row| row.task.revision());
        let may_arrive = flights.iter().any(|flight| {
            flight.who == who && flight.awaited && revision == Some(flight.decision.draft.loaded())
        });
        onlooker.told_no(who, may_arrive);
    }

    /// The run is over, as far as the worker knows.
    pub fn drop_the_run(&mut self, intent: &Intent) {
        let what = if intent.held().is_some() { "run" } else { "message" };
        say!(self, "{} is done with the {what}.", NAMES[self.who]);
        intent.token.into_iter().for_each(|token| self.world.acknowledge(token));
        self.world.onlooker.dropped(self.who, intent);
    }

    /// Forgets what can make no difference any more.
    fn forget(&mut self) {
        let World { flights, row, actors, behind, left, onlooker, .. } = &mut self.world;
        let busy = [0, 1, 2, 3, 4, 5].map(|who| actors[who].intent().is_some());
        for flight in flights.iter_mut() {
            flight.awaited &= busy[flight.who];
        }
        onlooker.made.iter_mut().zip(busy).for_each(|(made, busy)| *made &= busy);
        let revision = row.as_ref().map(|row| row.task.revision());
        if self.protocol.counts_every_change() {
            flights.retain(|flight| revision == Some(flight.decision.draft.loaded()));
        }
        if left[2] == 0 {
            *behind = None;
        }
    }
}
