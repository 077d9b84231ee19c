//! How everybody goes about it, step by step.

use std::fmt;
use std::mem;

use task_lifecycle::{Draft, Outcome, Run, StaleRevision, StaleRun, Task, TransitionError};

use crate::Fault;
use crate::actions::Action;
use crate::change::{Change, Document};
use crate::happened::{Fate, Happened};
use crate::world::{
    Actor, Budget, Decision, Flight, Intent, Lease, Message, NAMES, Row, SERVERS, SWEEPER, WORKERS,
    World,
};

pub struct Protocol {
    pub budget: Budget,
    pub fault: Option<Fault>,
    pub(crate) happened: Happened,
}

/// Why nothing was decided.
enum No {
    NoTask,
    Run(StaleRun),
    Revision(StaleRevision),
    Refused(TransitionError),
    /// Somebody else is to end it.
    NotMine,
    /// What a stop was requested of is over.
    StopIsOver,
}

pub type Tell<'a> = &'a mut dyn FnMut(fmt::Arguments<'_>);

impl Protocol {
    #[must_use]
    pub fn new(budget: Budget, fault: Option<Fault>) -> Self {
        Self { budget, fault, happened: Happened::default() }
    }

    pub(crate) fn step(&self, world: &World, action: Action, tell: Tell<'_>) -> World {
        let mut next = world.clone();
        let (world, before) = (&mut next, world);
        world.left = action.pay(world).unwrap_or(world.left);
        match action {
            Action::Begin { who, change, token, behind } => {
                if let (Some(message), true) = (token, change.gets_the_run()) {
                    tell(format_args!("{} gets the message of run {}.", NAMES[who], message.run));
                    if self.has(Fault::MessageAcknowledgedOnReceipt) {
                        tell(format_args!("It acknowledges the message."));
                        world.acknowledge(message);
                    }
                }
                let intent = self.intent(world, who, change, token);
                self.load(world, who, intent, behind, tell);
                match &world.actors[who] {
                    Actor::Commits(_) => world.versions += u8::from(change.queues()),
                    Actor::Loads(_) => {}
                    // It came to nothing, so it takes nothing from the budget.
                    _ => world.left = before.left,
                }
            }
            Action::BeginNamed { who, change } => {
                let named = world.row.as_ref().map(|row| row.task.revision());
                let intent = Intent { named, ..self.intent(world, who, change, None) };
                let revision = named.unwrap_or_default();
                tell(format_args!(
                    "A client of {} sees revision {revision} and asks to {change} it.",
                    NAMES[who]
                ));
                world.actors[who] = Actor::Loads(intent);
            }
            Action::Load { who, behind } => match mem::replace(&mut world.actors[who], Actor::Idle)
            {
                Actor::Loads(intent) => self.load(world, who, intent, behind, tell),
                Actor::Unsure(decision) => self.find_out(world, who, decision, tell),
                Actor::Idle | Actor::Working(_) | Actor::Pushes(_) | Actor::Commits(_) => {}
            },
            Action::Commit { who, answered } => {
                if let Actor::Commits(decision) = mem::replace(&mut world.actors[who], Actor::Idle)
                {
                    self.send(world, who, decision, answered, tell);
                }
            }
            Action::Arrive { flight } => {
                let flight = world.flights.remove(flight);
                tell(format_args!("{}'s commit arrives.", NAMES[flight.who]));
                let accepted =
                    self.commit(world, flight.who, &flight.decision, flight.awaited, tell);
                if accepted && !matches!(&world.actors[flight.who], Actor::Unsure(it) if !it.again)
                {
                    self.happened.note(Fate::Late, flight.decision.change);
                }
                world.onlooker.told_no(accepted && flight.denied);
            }
            Action::Push { who, answered, arrives } => {
                if let Actor::Pushes(message) = mem::replace(&mut world.actors[who], Actor::Idle) {
                    self.push(world, who, message, answered, arrives, tell);
                }
            }
            Action::GiveUp { who } => {
                tell(format_args!(
                    "{} is out of time and answers that the outcome is unknown.",
                    NAMES[who]
                ));
                world.actors[who] = Actor::Idle;
            }
            Action::Renew { who } => self.renew(world, who, tell),
            Action::LeaseRunsOut => {
                tell(format_args!("The lease runs out."));
                let lease = world.row.as_mut().and_then(|row| row.lease.as_mut());
                lease.into_iter().for_each(|lease| lease.over = true);
            }
            Action::Die { who } => {
                tell(format_args!("{} dies.", NAMES[who]));
                if let Some(intent) = world.actors[who].intent() {
                    self.happened.note(Fate::MakerDied, intent.change);
                }
                world.actors[who] = Actor::Idle;
            }
        }
        self.forget(world);
        next
    }

    fn intent(&self, world: &World, who: usize, change: Change, token: Option<Message>) -> Intent {
        let document = world.row.as_ref().map_or(Document::new(0), |row| *row.task.payload());
        let mark = match change {
            _ if change.queues() => world.versions,
            Change::Progress => document.written + 1,
            Change::Edit => document.label + 1,
            _ if self.has(Fault::StartUnsigned) => 0,
            _ => u8::try_from(who).unwrap_or_default(),
        };
        Intent { seen: document.version, ..Intent::new(change, mark, token) }
    }

    /// Drops what can make no difference any more.
    fn forget(&self, world: &mut World) {
        use Fault::{
            CommitWithoutRevision, EditNotCounted, RevisionRestoredOnRevert, StopIsAFlag,
            StopWithoutEdit,
        };
        for flight in &mut world.flights {
            flight.awaited &= world.actors[flight.who].intent().is_some();
        }
        // Where a revision stays the same or comes back, any commit may fit again.
        if !matches!(
            self.fault,
            Some(
                CommitWithoutRevision
                    | RevisionRestoredOnRevert
                    | EditNotCounted
                    | StopIsAFlag
                    | StopWithoutEdit
            )
        ) {
            let World { flights, row, .. } = world;
            flights.retain(|flight| {
                let revision = row.as_ref().map(|row| row.task.revision());
                revision == Some(flight.decision.draft.loaded())
            });
        }
        if world.left.behind == 0 {
            world.behind = None;
        }
    }

    fn load(&self, world: &mut World, who: usize, intent: Intent, behind: bool, tell: Tell<'_>) {
        let (name, row) = (NAMES[who], if behind { &world.behind } else { &world.row });
        if let Some(row) = row {
            let load = if behind { "loads from a replica" } else { "loads" };
            tell(format_args!("{name} {load} ({row})."));
        } else {
            tell(format_args!(
                "{name} finds no task{}.",
                if behind { " on a replica" } else { "" }
            ));
        }
        self.go_on(world, who, intent, behind, tell);
    }

    /// Decides on what was loaded.
    fn go_on(
        &self,
        world: &mut World,
        who: usize,
        mut intent: Intent,
        behind: bool,
        tell: Tell<'_>,
    ) {
        let (wanted, row) = (intent.change, if behind { &world.behind } else { &world.row });
        let no = match self.decide(who, row.as_ref(), &mut intent) {
            Ok(decision) => {
                let reason = match (wanted, decision.change) {
                    (Change::Stop, Change::Cancel) => ", asked to stop the task",
                    (Change::Cancel, Change::Halt) => "",
                    (_, Change::Halt) => ", for a stop is requested",
                    _ => "",
                };
                tell(format_args!("It decides to {}{reason}.", decision.called()));
                world.actors[who] = Actor::Commits(decision);
                return;
            }
            Err(no) => no,
        };
        let is_request = intent.token.is_none();
        let ahead = match &no {
            No::NoTask => behind && !self.has(Fault::NoTaskTakenForOver),
            No::Run(stale) => stale.is_ahead() && !self.has(Fault::AheadTakenForOver),
            No::Revision(stale) => stale.is_ahead() && !self.has(Fault::AheadRevisionRefused),
            No::Refused(_) | No::NotMine | No::StopIsOver => false,
        };
        let fate = match &no {
            _ if ahead && behind => Fate::LoadedBehind,
            _ if ahead && !is_request => Fate::Ahead,
            No::NoTask => Fate::NoTask,
            No::Run(_) => Fate::RunIsOver,
            No::Revision(_) => Fate::OtherRevision,
            No::Refused(_) => Fate::Refused,
            No::NotMine | No::StopIsOver => Fate::LeftToOthers,
        };
        self.happened.note(fate, wanted);
        match no {
            No::Run(stale) => tell(format_args!("{}.", capital(&stale))),
            No::Revision(stale) => tell(format_args!("{}.", capital(&stale))),
            No::Refused(refused) => tell(format_args!("{}.", capital(&refused))),
            No::NoTask | No::NotMine | No::StopIsOver => {}
        }
        if ahead && behind {
            tell(format_args!("What was loaded is behind."));
            world.actors[who] = Actor::Loads(intent);
        } else if is_request {
            let on_current = self.decide(who, world.row.as_ref(), &mut intent.clone());
            world.onlooker.refused(!behind || on_current.is_err());
            self.refuse(world, who, &intent, tell);
        } else if ahead {
            tell(format_args!("The message goes back to the queue."));
        } else if WORKERS.contains(&who) {
            self.give_up_the_run(world, who, &intent, tell);
        }
    }

    fn decide(&self, who: usize, row: Option<&Row>, intent: &mut Intent) -> Result<Decision, No> {
        let row = row.ok_or(No::NoTask)?;
        if let Some(token) = intent.token
            && self.checks(intent.change)
        {
            self.check(row, intent.change, token).map_err(No::Run)?;
        }
        if let Some(named) = intent.named
            && !self.has(Fault::NamedRevisionIgnored)
        {
            row.task.check_revision(named).map_err(No::Revision)?;
        }
        if intent.change == Change::Stop {
            let first = *intent.queued_run.get_or_insert(row.queued_run);
            if first != row.queued_run && !self.has(Fault::StopRequestedAgain) {
                return Err(No::StopIsOver);
            }
        }
        let change = self.resolve(who, row, intent.change)?;
        let mut draft = Draft::new(row.task.clone());
        if change == Change::Progress && self.has(Fault::EditAdded) {
            intent.mark = draft.payload().written + 1;
        }
        let edits = !self.has(Fault::StopIsAFlag) && !self.has(Fault::StopWithoutEdit);
        if change != Change::Stop || edits {
            let decided = change.apply(&mut draft, intent.mark);
            let half = self.has(Fault::HalfADraft) && draft.revision() != draft.loaded();
            if !half {
                decided.map_err(No::Refused)?;
            }
        }
        let over = self.ends_anothers_run(who, intent, row).then_some(row.lease).flatten();
        let over = over.filter(|_| !self.has(Fault::LeaseNotCompared));
        Ok(Decision { intent: *intent, change, draft, over, again: false })
    }

    /// What is wanted, by what was loaded.
    fn resolve(&self, who: usize, row: &Row, wanted: Change) -> Result<Change, No> {
        use Change::{
            Cancel, Fail, FailUnpushed, GoOn, Halt, Retry, Start, Stop, Succeed, TakeOver,
        };
        let processing = row.is_processing();
        let looks = WORKERS.contains(&who) && !matches!(wanted, Start | TakeOver);
        let looks = looks || !self.has(Fault::StopIsBoundToItsRun);
        let to_stop = self.stop_holds(row) && looks && !self.has(Fault::StopNotLookedFor);
        Ok(match wanted {
            TakeOver if processing && self.has(Fault::TakeOverInTheSameRun) => GoOn,
            // It was delivered before.
            Start if processing => return Err(No::NotMine),
            TakeOver if processing && !self.may_end(who, row) => return Err(No::NotMine),
            Fail | Retry if who == SWEEPER && processing && !self.may_end(who, row) => {
                return Err(No::NotMine);
            }
            // The push arrived after all.
            FailUnpushed if processing && !self.has(Fault::PushFailedWhileProcessing) => {
                return Err(No::NotMine);
            }
            Start | TakeOver | Fail | Retry | Succeed if to_stop => Halt,
            TakeOver if !processing => Start,
            Stop if !processing => Cancel,
            Cancel if processing && self.has(Fault::CancelWhileProcessing) => Halt,
            other => other,
        })
    }

    /// Whether somebody else may end the run, or take it over.
    pub(crate) fn may_end(&self, who: usize, row: &Row) -> bool {
        let early = match who {
            SWEEPER => self.has(Fault::SweptAtOnce),
            _ => self.has(Fault::TakeOverAtOnce) || self.has(Fault::TakeOverInTheSameRun),
        };
        row.is_processing() && (row.lease_is_over() || early)
    }

    fn ends_anothers_run(&self, who: usize, intent: &Intent, row: &Row) -> bool {
        let sweeps = who == SWEEPER || intent.change.gets_the_run();
        sweeps && row.is_processing() && row.lease_is_over()
    }

    fn send(
        &self,
        world: &mut World,
        who: usize,
        decision: Decision,
        answered: bool,
        tell: Tell<'_>,
    ) {
        let (name, change) = (NAMES[who], decision.change);
        if !answered {
            tell(format_args!("{name} commits, and gets no answer."));
            self.happened.note(Fate::Unanswered, change);
            let (awaited, denied) = (who != SWEEPER, false);
            world.flights.push(Flight { who, decision: decision.clone(), awaited, denied });
            match self.fault {
                Some(Fault::UnknownTakenForYes) => self.succeeds(world, who, decision, tell),
                Some(Fault::UnknownTakenForNo) => world.actors[who] = Actor::Loads(decision.intent),
                // It sweeps again anyway.
                _ if who == SWEEPER => {}
                _ => world.actors[who] = Actor::Unsure(decision),
            }
            return;
        }
        tell(format_args!("{name} commits."));
        // While it commits, so that what it makes is known of it.
        world.actors[who] = Actor::Commits(decision.clone());
        let accepted = self.commit(world, who, &decision, true, tell);
        let actor = mem::replace(&mut world.actors[who], Actor::Idle);
        let Actor::Commits(decision) = actor else { return };
        if accepted || self.has(Fault::ConflictIgnored) {
            return self.succeeds(world, who, decision, tell);
        }
        self.happened.note(Fate::Conflict, change);
        let drops = self.has(Fault::ConflictDropsTheResult) || self.has(Fault::FinishWithoutReload);
        if decision.again {
            world.actors[who] = Actor::Unsure(decision);
        } else if drops && decision.intent.held().is_some() {
            self.give_up_the_run(world, who, &decision.intent, tell);
        } else if who != SWEEPER {
            world.actors[who] = Actor::Loads(decision.intent);
        }
    }

    /// `UPDATE … WHERE id = ? AND revision = ?`: whether a row was changed.
    fn commit(
        &self,
        world: &mut World,
        who: usize,
        made: &Decision,
        awaited: bool,
        tell: Tell<'_>,
    ) -> bool {
        let Decision { change, draft, over, .. } = made;
        let is_flag = *change == Change::Stop && self.has(Fault::StopIsAFlag);
        let fits = world.row.take_if(|row| {
            let same = row.task.revision() == draft.loaded();
            (same || is_flag || self.has(Fault::CommitWithoutRevision))
                && (over.is_none() || *over == row.lease)
        });
        let Some(before) = fits else {
            tell(format_args!("No row changed."));
            return false;
        };
        for (other, actor) in world.actors.iter().enumerate() {
            if let Actor::Commits(decision) = actor
                && other != who
                && decision.draft.loaded() == draft.loaded()
            {
                self.happened.race(*change, decision.change);
            }
        }
        self.happened.note(Fate::Accepted, *change);
        world.behind = Some(before.clone());
        if *change != Change::Delete {
            let mut row = before.clone();
            if !is_flag {
                row.task = draft.clone().into_task();
            }
            row.settle(draft, *change);
            world.row = Some(row);
            self.spoil(world, &before, *change);
        }
        match &world.row {
            Some(row) => tell(format_args!("The task: {row}.")),
            None => tell(format_args!("The task is gone.")),
        }
        world.onlooker.accepted(who, made, &before, world.row.as_ref());
        if awaited {
            world.actors[who].intent_mut().into_iter().for_each(|intent| intent.made = true);
            let flights = world.flights.iter_mut();
            let its = flights.filter(|flight| flight.who == who && flight.awaited);
            its.for_each(|flight| flight.decision.intent.made = true);
        }
        if !self.has(Fault::MessageAfterTheCommit) {
            self.queue(world, made);
        }
        true
    }

    /// Sends the message that the commit needs.
    fn queue(&self, world: &mut World, made: &Decision) {
        if made.draft.queued().is_some() && made.change != Change::UpdateAndPush {
            self.message(world).into_iter().for_each(|message| world.send(message));
        }
    }

    /// A message of the run that waits.
    fn message(&self, world: &World) -> Option<Message> {
        let (row, truth) = (world.row.as_ref()?, world.onlooker.truth.as_ref()?);
        let version = row.task.payload().version;
        Some(Message { run: self.address(row), sent_for: truth.run(), version })
    }

    fn push(
        &self,
        world: &mut World,
        who: usize,
        message: Message,
        answered: bool,
        arrives: bool,
        tell: Tell<'_>,
    ) {
        let name = NAMES[who];
        if arrives {
            world.send(message);
        }
        if answered {
            tell(format_args!("{name} pushes the message of run {} to the queue.", message.run));
            return;
        }
        let really = if arrives { "the message arrives" } else { "the message is lost" };
        tell(format_args!(
            "{name} pushes the message of run {}: no answer; {really}.",
            message.run
        ));
        world.actors[who] = Actor::Loads(Intent::new(Change::FailUnpushed, 0, Some(message)));
    }

    /// `UPDATE … SET lease … WHERE id = ? AND run = ? AND status = 'Processing'`
    fn renew(&self, world: &mut World, who: usize, tell: Tell<'_>) {
        let Actor::Working(token) = world.actors[who] else { return };
        let run = token.run;
        match &mut world.row {
            Some(row) if row.is_processing() && row.task.run() == run => {
                tell(format_args!("{} renews its lease.", NAMES[who]));
                row.lease = Some(Lease { run, over: false });
            }
            _ => {
                tell(format_args!("{} renews its lease: no row changed.", NAMES[who]));
                world.actors[who] = Actor::Idle;
                let intent = Intent::new(Change::Progress, 0, Some(token));
                self.give_up_the_run(world, who, &intent, tell);
            }
        }
    }

    /// Loads after a commit that got no answer.
    fn find_out(&self, world: &mut World, who: usize, mut decision: Decision, tell: Tell<'_>) {
        let (name, change) = (NAMES[who], decision.change);
        let found = world.row.as_ref().map(|row| &row.task);
        let loaded = decision.draft.loaded();
        let mut outcome = match found {
            // Gone is gone, whoever did it.
            None if change == Change::Delete => Outcome::Made,
            Some(task) if change == Change::Delete && task.revision() == loaded => Outcome::Open,
            Some(_) if change == Change::Delete => Outcome::Lost,
            _ => decision.draft.outcome(found),
        };
        let stops = world.row.as_ref().is_some_and(|row| self.stop_holds(row));
        if change == Change::Stop && outcome == Outcome::Made && !stops {
            // Somebody else's empty edit is equal; what lies beside the task is not.
            if !self.has(Fault::StopTakenForMade) {
                outcome = Outcome::Lost;
            }
        }
        match &world.row {
            Some(row) => tell(format_args!("{name} loads, to find out ({row}): `{outcome:?}`.")),
            None => tell(format_args!("{name} finds no task: `{outcome:?}`.")),
        }
        let fate = match outcome {
            Outcome::Made => Fate::Made,
            Outcome::Open => Fate::Open,
            Outcome::Lost => Fate::Lost,
            Outcome::Unknown => Fate::Unknown,
        };
        self.happened.note(fate, change);
        let anew = self.has(Fault::OpenDecidedAgain) || self.has(Fault::OpenMadeTwice);
        match outcome {
            Outcome::Made => self.succeeds(world, who, decision, tell),
            Outcome::Open if !anew => {
                decision.again = true;
                world.actors[who] = Actor::Commits(decision);
            }
            Outcome::Open | Outcome::Lost => self.go_on(world, who, decision.intent, false, tell),
            Outcome::Unknown => self.does_not_know(world, who, decision, tell),
        }
    }

    fn does_not_know(&self, world: &mut World, who: usize, decision: Decision, tell: Tell<'_>) {
        let (name, intent, change) = (NAMES[who], decision.intent, decision.change);
        if intent.token.is_some() {
            let run = decision.draft.run();
            let is_own = world.row.as_ref().is_some_and(|row| {
                let mark = Some((intent.mark, run));
                row.is_processing()
                    && row.task.check_run(run).is_ok()
                    && row.task.payload().owner == mark
            });
            let forgets = self.has(Fault::TakeOverForgotten) && change == Change::TakeOver;
            if change.gets_the_run() && is_own && !forgets && !self.has(Fault::OwnMarkNotLookedFor)
            {
                tell(format_args!("It finds its own mark, in run {run}."));
                self.happened.note(Fate::OwnMark, change);
                self.succeeds(world, who, decision, tell);
            } else {
                // Its run tells what it may do again.
                self.go_on(world, who, intent, false, tell);
            }
        } else if change == Change::UpdateAndPush {
            // A message too many is over when it is handled.
            let (version, run) = (intent.mark, decision.draft.run());
            world.actors[who] = Actor::Pushes(Message { run, sent_for: run, version });
        } else if self.has(Fault::UnknownTriedAgain) {
            self.go_on(world, who, intent, false, tell);
        } else if self.has(Fault::EchoTakenForRefusal)
            && let Err(No::Refused(refused)) =
                self.decide(who, world.row.as_ref(), &mut intent.clone())
        {
            tell(format_args!("{}.", capital(&refused)));
            self.refuse(world, who, &intent, tell);
        } else {
            tell(format_args!("{name} answers that the outcome is unknown."));
        }
    }

    /// The change was accepted, as far as its maker knows.
    fn succeeds(&self, world: &mut World, who: usize, decision: Decision, tell: Tell<'_>) {
        let (intent, change, draft) = (decision.intent, decision.change, &decision.draft);
        let stops = world.row.as_ref().is_some_and(|row| self.stop_holds(row));
        world.onlooker.told_yes(&decision, stops);
        if self.has(Fault::MessageAfterTheCommit) {
            self.queue(world, &decision);
        }
        let version = draft.payload().version;
        if change == Change::UpdateAndPush {
            let truth = world.onlooker.truth.as_ref().filter(|_| intent.made);
            let (run, sent_for) = (draft.run(), truth.map_or(draft.run(), Task::run));
            world.actors[who] = Actor::Pushes(Message { run, sent_for, version });
        } else if SERVERS.contains(&who) && change != Change::FailUnpushed {
            tell(format_args!("{} answers yes.", NAMES[who]));
        }
        let Some(token) = intent.token.filter(|_| WORKERS.contains(&who)) else { return };
        if change == Change::Progress {
            world.actors[who] = Actor::Working(token);
        } else if change.gets_the_run() {
            let taken_over = u64::from(change == Change::TakeOver);
            if change == Change::TakeOver {
                world.acknowledge(token);
            }
            let sent_for = Run::new(token.sent_for.get() + taken_over);
            let token = Message { run: draft.run(), sent_for, version };
            world.actors[who] = Actor::Working(token);
            if self.has(Fault::FinishWithoutReload) {
                tell(format_args!("It keeps this copy for the end."));
                let end = Intent::new(Change::Succeed, intent.mark, Some(token));
                self.load(world, who, end, false, &mut |_| ());
            }
        } else {
            world.acknowledge(token);
        }
    }

    /// The change will not be made: the answer is no.
    fn refuse(&self, world: &mut World, who: usize, intent: &Intent, tell: Tell<'_>) {
        if SERVERS.contains(&who) {
            tell(format_args!("{} answers no.", NAMES[who]));
        }
        world.onlooker.told_no(intent.made);
        let flights = world.flights.iter_mut().filter(|flight| flight.who == who && flight.awaited);
        flights.for_each(|flight| flight.denied = true);
    }

    /// The run is over, as far as the worker knows.
    fn give_up_the_run(&self, world: &mut World, who: usize, intent: &Intent, tell: Tell<'_>) {
        let held = intent.held().is_some();
        let does = if held { "drops the run" } else { "acknowledges the message" };
        tell(format_args!("{} {does}.", NAMES[who]));
        intent.token.into_iter().for_each(|token| world.acknowledge(token));
        world.onlooker.dropped(who, intent);
    }
}

/// As a sentence of a story.
fn capital(text: &impl fmt::Display) -> String {
    let text = text.to_string();
    text[..1].to_uppercase() + &text[1..]
}
