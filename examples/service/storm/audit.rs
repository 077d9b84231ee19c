//! Checks every answer against the log, and the log against the state machine.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::Value;
use task_lifecycle::{Operation, State, Status};
use task_service::store::{Event, SqlStore};

use crate::ATTEMPTS;
use crate::clients::{Ask, EDITOR, KILLS, Record, name};
use crate::fault::{AGAIN, HANDED, TAKEN};
use crate::testing::client::Answer;

/// What the log and the tables hold about one task.
#[derive(Default)]
pub struct Kept {
    pub user: String,
    pub events: Vec<Event>,
    /// Status, previous status, revision and run; `None` if the task is deleted.
    pub row: Option<(Status, Option<Status>, u64, u64)>,
    pub expires: Option<DateTime<Utc>>,
    pub has_file: bool,
}

/// Reads all tasks and the whole log.
pub async fn read(
    store: &SqlStore,
) -> anyhow::Result<(HashMap<String, Kept>, Vec<(String, Event)>)> {
    let mut kept = HashMap::<String, Kept>::new();
    let mut log = Vec::new();
    let events = "SELECT task_id, user_id, event FROM events ORDER BY number";
    for (task, user, event) in
        sqlx::query_as::<_, (String, String, String)>(events).fetch_all(&store.pool).await?
    {
        let event: Event = serde_json::from_str(&event)?;
        log.push((task.clone(), event.clone()));
        let task = kept.entry(task).or_default();
        task.user = user;
        task.events.push(event);
    }
    let rows = "SELECT task_id, status, previous_status, revision, run,
                       ended_at + expires_in * 1000000 FROM tasks";
    for (task, status, previous, revision, run, expires) in
        sqlx::query_as::<_, (String, String, Option<String>, i64, i64, Option<i64>)>(rows)
            .fetch_all(&store.pool)
            .await?
    {
        let previous = previous.map(|previous| previous.parse()).transpose()?;
        let task = kept.entry(task).or_default();
        task.row = Some((status.parse()?, previous, revision.cast_unsigned(), run.cast_unsigned()));
        task.expires = expires.and_then(DateTime::from_timestamp_micros);
    }
    let files = sqlx::query_scalar::<_, String>("SELECT task_id FROM files");
    for task in files.fetch_all(&store.pool).await? {
        kept.entry(task).or_default().has_file = true;
    }
    kept.remove(&TAKEN.id.to_string());
    Ok((kept, log))
}

/// The results of a storm.
#[derive(Default)]
pub struct Findings {
    pub violations: Vec<String>,
    pub tasks: usize,
    pub cancels_won: usize,
    pub cancels_lost: usize,
    pub reverts: usize,
    /// Reverts of which some client saw the state before the update and the state after the revert.
    pub reverts_compared: usize,
    pub retries: usize,
    pub given_up: usize,
    pub redelivered: usize,
    /// Requests without an answer, or with a 5xx.
    pub silent: usize,
    /// Changes whose clients got no answer.
    pub untold: usize,
    pub expired: usize,
    /// Runs of undisturbed workers that lasted longer than the lease: finished, and lost.
    pub outlasted: usize,
    pub lost: usize,
}

/// The state of a task after an event of its log.
struct Moment {
    revision: u64,
    state: State,
    /// Not earlier than this.
    since: DateTime<Utc>,
    /// The possible values of `target_length`; only one, if its client got an answer.
    targets: Vec<u64>,
}

pub fn audit(
    kept: &HashMap<String, Kept>,
    log: &[(String, Event)],
    records: &[Record],
    troubles: &[(DateTime<Utc>, DateTime<Utc>)],
) -> Findings {
    let mut findings = Findings::default();
    let mut told = HashMap::<&str, Vec<&Record>>::new();
    // Creates with an unknown outcome.
    let mut unknown = HashMap::<String, usize>::new();
    for record in records {
        if record.answer.as_ref().is_none_or(|answer| answer.code >= 500) {
            findings.silent += 1;
            if !troubles.iter().any(|(from, to)| record.sent <= *to && *from <= record.told) {
                findings.violations.push(format!("an outage without a cause: {record:?}"));
            }
            if matches!(record.ask, Ask::Create(_)) {
                *unknown.entry(name(record.user)).or_default() += usize::from(record.is_unknown());
                continue;
            }
        }
        told.entry(&record.task).or_default().push(record);
    }
    for list in told.remove("").unwrap_or_default() {
        if let Some(answer) = list.answer.as_ref().filter(|answer| answer.code < 500) {
            explain_list(list, answer, kept, &told, &mut findings.violations);
        }
    }
    for (task, records) in &told {
        if !kept.contains_key(*task) {
            findings.violations.extend(records.iter().map(|record| {
                format!("no event of the task in {:?}: {:?}", record.ask, record.answer)
            }));
        }
    }
    for (task, kept) in kept {
        let records = told.remove(task.as_str()).unwrap_or_default();
        let mut faults = Vec::new();
        if records.is_empty() {
            // Its client got no answer.
            match unknown.get_mut(&kept.user).filter(|count| **count > 0) {
                Some(count) => *count -= 1,
                None => faults.push("no client knows of it".to_owned()),
            }
            findings.untold += 1;
        }
        let mut audit = Audit { kept, records, findings: &mut findings, faults };
        audit.run();
        let mut faults = std::mem::take(&mut audit.faults);
        if !faults.is_empty() {
            faults.push(story(kept, &audit.records));
        }
        findings.violations.extend(faults.iter().map(|fault| format!("task {task}: {fault}")));
        findings.tasks += 1;
    }
    in_order(log, &mut findings.violations);
    to_the_end(log, &mut findings);
    findings
}

/// The events of a task, and what its clients asked and were told.
fn story(kept: &Kept, records: &[&Record]) -> String {
    let mut lines = vec![format!("expires {:?}, row {:?}", kept.expires, kept.row)];
    lines.extend(kept.events.iter().map(|event| {
        let Event { at, operation, loaded, revision, by, .. } = event;
        format!("{at} {operation}: {loaded} -> {revision:?}, {by}")
    }));
    lines.extend(records.iter().map(|record| {
        let answer = record.answer.as_ref().map(|answer| (answer.code, answer.revision));
        format!("{} to {}: {:?}: {answer:?}", record.sent, record.told, record.ask)
    }));
    lines.join("\n    ")
}

/// A list shows each task of its user once, and nothing else.
fn explain_list(
    record: &Record,
    answer: &Answer,
    kept: &HashMap<String, Kept>,
    told: &HashMap<&str, Vec<&Record>>,
    violations: &mut Vec<String>,
) {
    let body = answer.json();
    let tasks = body["tasks"].as_array().into_iter().flatten();
    let tasks: Vec<_> = tasks.filter_map(|task| Some((task["task_id"].as_str()?, task))).collect();
    let shown: HashMap<_, _> = tasks.iter().copied().collect();
    let user = name(record.user);
    if answer.code != 200 || shown.len() < tasks.len() {
        violations.push(format!("a list with a task twice, or without an answer: {answer:?}"));
    }
    for (id, kept) in kept {
        let records = told.get(id.as_str()).map_or(&[][..], Vec::as_slice);
        let was_there = records.first().is_some_and(|first| first.told < record.sent);
        let is_there = kept.row.is_some() && kept.expires.is_none_or(|at| at > record.told);
        let shown = shown.get(id.as_str());
        // Until it is committed, an end is not seen, however early it expires.
        let expires = kept.expires.filter(|_| shown.is_some_and(|task| task["completed"] == true));
        let mut gone = expires.into_iter().chain(known_gone(records));
        if shown.is_some() && (kept.user != user || gone.any(|at| at <= record.sent)) {
            violations.push(format!("{user} was shown the task {id}"));
        }
        if shown.is_none() && kept.user == user && was_there && is_there {
            violations.push(format!("{user} was not shown the task {id}"));
        }
    }
}

/// When a client first knew that the task was gone for good.
fn known_gone(records: &[&Record]) -> Option<DateTime<Utc>> {
    let is_gone = |record: &&&Record| {
        let code = record.answer.as_ref().map_or(0, |answer| answer.code);
        record.ask == Ask::Delete && code == 200
            || record.ask != Ask::Foreign && code == 404 && !is_updated(records, record)
    };
    records.iter().filter(is_gone).map(|record| record.told).min()
}

/// Whether the task may have been updated during the request. An update that began before the task
/// expired can still win, and the task is back.
fn is_updated(records: &[&Record], meanwhile: &Record) -> bool {
    records.iter().any(|record| {
        let is_won = record.answer.as_ref().is_some_and(|answer| answer.code == 200);
        matches!(record.ask, Ask::Update(_))
            && (is_won || record.is_unknown())
            && (record.sent <= meanwhile.told && meanwhile.sent <= record.told)
    })
}

/// Tasks are claimed in the order of queueing, apart from races and locks: few tasks are overtaken,
/// even if a paused worker holds one for long.
fn in_order(log: &[(String, Event)], violations: &mut Vec<String>) {
    let mut waiting = BTreeSet::new();
    let mut queued = HashMap::new();
    let (mut claims, mut overtaken) = (0, HashSet::new());
    for (at, (task, event)) in log.iter().enumerate() {
        let place = queued.get(task).map(|at| (*at, task));
        match event.operation.as_str() {
            "create" | "update" => {
                queued.insert(task, at);
                waiting.insert((at, task));
            }
            "edit" | HANDED => {}
            operation => {
                let Some(place) = place.filter(|place| waiting.remove(place)) else { continue };
                if operation == "claim" && !waiting.is_empty() {
                    claims += 1;
                    overtaken.extend(waiting.range(..place).copied());
                }
            }
        }
    }
    let overtaken = overtaken.len();
    // On an overloaded machine, many claims are races.
    if overtaken * 2 > claims && claims > 100 {
        violations.push(format!("out of order: {claims} claims overtook {overtaken} older tasks"));
    }
}

/// A task as its workers see it.
struct Place<'a> {
    status: Option<Status>,
    run: Option<u64>,
    owner: &'a str,
    started: DateTime<Utc>,
}

/// A worker that takes another message has finished with the one before, and undisturbed workers
/// finish their runs, however long these take.
fn to_the_end(log: &[(String, Event)], findings: &mut Findings) {
    let mut places = HashMap::<&str, Place>::new();
    let mut hands = HashMap::<&str, (&str, &Event)>::new();
    let mut unhurt = HashSet::new();
    for (task, event) in log {
        let (task, by) = (task.as_str(), event.by.as_str());
        if event.operation == HANDED {
            findings.redelivered += usize::from(event.message.ends_with(AGAIN));
            if event.message.starts_with("Steady") {
                unhurt.insert(by);
            }
            let Some((before, message)) = hands.insert(by, (task, event)) else { continue };
            let is_left = places.get(before).is_some_and(|place| {
                let was_overdue = message.status == Some(Status::Processing);
                place.run == message.run
                    && match place.status {
                        Some(Status::Starting) => true,
                        Some(Status::Processing) => was_overdue || place.owner == by,
                        _ => false,
                    }
            });
            if is_left && (before, message.run) != (task, event.run) {
                findings.violations.push(format!("task {before}: dropped by {message:?}"));
            }
            continue;
        }
        let place = places.entry(task).or_insert(Place {
            status: None,
            run: None,
            owner: "",
            started: event.at,
        });
        match event.operation.as_str() {
            "claim" => continue,
            "start" => (place.owner, place.started) = (by, event.at),
            "succeed" | "fail" if by == place.owner && unhurt.contains(by) => {
                let is_long = event.at - place.started > TimeDelta::seconds(1);
                findings.outlasted += usize::from(is_long);
            }
            "retry" | "fail" if unhurt.contains(place.owner) => findings.lost += 1,
            _ => {}
        }
        (place.status, place.run) = (event.status, event.run);
    }
    let Findings { outlasted, lost, .. } = *findings;
    // On an overloaded machine, some are not renewed in time.
    if lost > 2 * outlasted + 8 {
        findings.violations.push(format!(
            "undisturbed workers lost {lost} runs, and finished {outlasted} after the lease"
        ));
    }
}

struct Audit<'a> {
    kept: &'a Kept,
    records: Vec<&'a Record>,
    findings: &'a mut Findings,
    faults: Vec<String>,
}

impl<'a> Audit<'a> {
    /// The text of the document; `None` if it is not a text.
    fn text(&self) -> Option<&'a str> {
        self.records.iter().find_map(|record| record.text.as_deref())
    }

    fn run(&mut self) {
        let asked = self.match_answers();
        let moments = self.replay(&asked);
        self.explain(&moments, asked.get(&None).map(|(_, sent)| *sent));
    }

    /// Each change that was answered with 200 is one event, and each event of a client was answered
    /// with 200 or has an unknown outcome. Returns what was requested, and when, by the resulting
    /// revision, which is `None` for a delete.
    fn match_answers(&mut self) -> BTreeMap<Option<u64>, (Vec<u64>, DateTime<Utc>)> {
        let mut asked = BTreeMap::new();
        let mut told = HashSet::new();
        let mut unknown = HashMap::<_, Vec<(u64, DateTime<Utc>)>>::new();
        for record in self.records.clone() {
            let (operation, target) = match record.ask {
                Ask::Create(target) => ("create", target),
                Ask::Update(target) => ("update", target),
                Ask::Cancel => ("cancel", 0),
                Ask::Delete => ("delete", 0),
                Ask::Get | Ask::File | Ask::Foreign | Ask::List => continue,
            };
            if record.is_unknown() {
                unknown.entry(operation).or_default().push((target, record.sent));
            }
            let Some(answer) = record.answer.as_ref().filter(|answer| answer.code == 200) else {
                continue;
            };
            let revision = answer.revision;
            let is_logged = self.kept.events.iter().any(|event| {
                (event.operation.as_str(), event.revision) == (operation, revision)
                    && event.by == name(record.user)
            });
            if !is_logged || !told.insert((operation, revision)) {
                self.faults.push(format!(
                    "{:?} was answered 200 at {revision:?}, without an event",
                    record.ask
                ));
            }
            asked.insert(revision, (vec![target], record.sent));
        }
        for event in &self.kept.events {
            let operation = event.operation.as_str();
            let is_clients = ["update", "cancel", "delete"].contains(&operation);
            if is_clients && !told.contains(&(operation, event.revision)) {
                self.findings.untold += 1;
                let known = told.iter().filter(|(other, _)| *other == operation).count();
                let silent = unknown.get(operation).map_or(&[][..], Vec::as_slice);
                let all = self.kept.events.iter().filter(|it| it.operation == operation).count();
                if known + silent.len() < all {
                    self.faults.push(format!("no client knows of {event:?}"));
                }
                if let Some(since) = silent.iter().map(|(_, sent)| *sent).min() {
                    let targets = silent.iter().map(|(target, _)| *target).collect();
                    asked.insert(event.revision, (targets, since));
                }
            }
        }
        asked
    }

    /// The log is a valid history of the state machine, its writers were entitled to write, and it
    /// ends in the row.
    #[expect(clippy::too_many_lines, reason = "one walk through the log")]
    fn replay(&mut self, asked: &BTreeMap<Option<u64>, (Vec<u64>, DateTime<Utc>)>) -> Vec<Moment> {
        let mut moments: Vec<Moment> = Vec::new();
        let mut settled = Vec::new();
        // Who received the message of a run, and who started the run.
        let (mut handed, mut owners) = (HashSet::new(), HashMap::new());
        // Runs started since a client queued the task.
        let mut attempts = 0;
        let mut run = 0;
        let mut gone = false;
        for event in &self.kept.events {
            if event.operation == HANDED {
                handed.insert((&event.by, event.run));
                continue;
            }
            let Some(last) = moments.last() else {
                let is_first = event.operation == "create" && event.revision == Some(0);
                if !is_first || event.status != Some(Status::Starting) {
                    self.faults.push(format!("begins with {event:?}"));
                }
                let (targets, since) = asked.get(&Some(0)).cloned().unwrap_or_default();
                moments.push(Moment { revision: 0, state: State::NEW, since, targets });
                continue;
            };
            if gone || event.loaded != last.revision {
                self.faults.push(format!("{event:?} follows {}", last.revision));
            }
            let (state, mut targets) = (last.state, last.targets.clone());
            let asked = asked.get(&event.revision);
            let since = asked.map_or(last.since, |(_, sent)| last.since.max(*sent));
            let is_handed = handed.contains(&(&event.by, Some(run)));
            let mut is_given_up = false;
            let mut next = Some(state);
            let mut reverted = false;
            if let Ok(operation) = event.operation.parse::<Operation>() {
                match state.apply(operation) {
                    Ok(after) => next = after,
                    Err(refused) => self.faults.push(format!("{refused}, but: {event:?}")),
                }
                match operation {
                    Operation::Update => {
                        settled = targets;
                        targets = asked.map(|(targets, _)| targets.clone()).unwrap_or_default();
                        attempts = 0;
                    }
                    Operation::Cancel | Operation::Fail if state.is_update() => {
                        reverted = true;
                        self.findings.reverts += 1;
                        let says_why = event.message.starts_with("Tokenizer")
                            || event.message.starts_with("Given up: ")
                            || (self.text().is_none() && event.message.starts_with("The file"));
                        if operation == Operation::Fail && !says_why {
                            self.faults.push(format!("failed in silence: {event:?}"));
                        }
                        targets = settled.clone();
                    }
                    Operation::Start | Operation::Retry => {
                        if !is_handed {
                            self.faults.push(format!("without its message: {event:?}"));
                        }
                        if operation == Operation::Start {
                            owners.insert(run, &event.by);
                            attempts += 1;
                        }
                        self.findings.retries += usize::from(operation == Operation::Retry);
                    }
                    Operation::Succeed
                        if self.text().is_some_and(|text| text.starts_with(KILLS)) =>
                    {
                        self.faults.push(format!("it kills its workers, but: {event:?}"));
                    }
                    _ => {}
                }
                is_given_up = operation == Operation::Fail
                    && event.message.starts_with("Given up: ")
                    && is_handed;
            }
            self.findings.given_up += usize::from(is_given_up);
            if attempts > ATTEMPTS || is_given_up && attempts < ATTEMPTS {
                self.faults.push(format!("attempt {attempts} of {ATTEMPTS}: {event:?}"));
            }
            match event.operation.as_str() {
                "update" | "retry" => run += 1,
                "succeed" | "fail" if !is_given_up && owners.get(&run) != Some(&&event.by) => {
                    self.faults.push(format!("by a worker that lost its run: {event:?}"));
                }
                "edit" if event.by != EDITOR => {
                    self.faults.push(format!("an edit by a stranger: {event:?}"));
                }
                _ => {}
            }
            if event.run != Some(run).filter(|_| event.operation != "delete") {
                self.faults.push(format!("not of run {run}: {event:?}"));
            }
            let counts = event.operation != "claim";
            let grown = event.revision.is_none_or(|revision| (revision > event.loaded) == counts);
            if event.status != next.map(State::status) || event.reverted != reverted || !grown {
                self.faults.push(format!("not what the state machine does: {event:?}"));
            }
            match (next, event.revision) {
                (Some(state), Some(revision)) => {
                    moments.push(Moment { revision, state, since, targets });
                }
                _ => gone = true,
            }
        }
        let last = moments.last().filter(|_| !gone);
        let expected =
            last.map(|last| (last.state.status(), last.state.previous(), last.revision, run));
        if self.kept.row != expected {
            self.faults
                .push(format!("the row is {:?}, the log ends in {expected:?}", self.kept.row));
        }
        if self.kept.row.is_some_and(|(status, ..)| status.is_active()) {
            self.faults.push(format!("stuck: {:?}", self.kept.row));
        }
        if self.kept.has_file != self.kept.row.is_some() {
            self.faults.push("a file without its task, or a task without its file".to_owned());
        }
        moments
    }

    /// Each answer shows a state from the log, none older than what its client already knew, and none
    /// after the task was gone.
    fn explain(&mut self, moments: &[Moment], deleted: Option<DateTime<Utc>>) {
        let revision = |record: &&Record| {
            Some((record.told, record.answer.as_ref().and_then(|answer| answer.revision)?))
        };
        let mut known: Vec<_> = self.records.iter().filter_map(revision).collect();
        // The newest revision known at that time.
        known.sort();
        let mut newest = 0;
        for (_, revision) in &mut known {
            newest = newest.max(*revision);
            *revision = newest;
        }
        let known_at = |sent| match known.partition_point(|(told, _)| *told < sent) {
            0 => 0,
            count => known[count - 1].1,
        };

        let known_gone = known_gone(&self.records);
        let expires = self.kept.expires;
        // The revision from which on it is completed for good. Until that is committed nobody sees
        // it, however early it expires.
        let last = moments.iter().rev().take_while(|moment| moment.state.status().is_completed());
        let ended = last.last().map_or(u64::MAX, |moment| moment.revision);
        self.findings.expired += usize::from(known_gone.is_some() && expires.is_some());
        let mut bodies = HashMap::<u64, Value>::new();
        let text = self.text();
        for record in self.records.clone() {
            let Some(answer) = record.answer.as_ref().filter(|answer| answer.code < 500) else {
                continue;
            };
            let floor = known_at(record.sent);
            let is_own = record.ask != Ask::Foreign;
            let is_gone_at = |revision| {
                known_gone.is_some_and(|told| told < record.sent)
                    || revision >= ended && expires.is_some_and(|at| at <= record.sent)
            };
            let is_gone = is_gone_at(answer.revision.unwrap_or(floor));
            let mut why = String::new();
            let explained = match answer.code {
                200 if !is_own || is_gone => {
                    why = format!("gone: {is_gone}");
                    false
                }
                200 if record.ask == Ask::File => text.is_none_or(|text| text == answer.text),
                200 if answer.text.is_empty() => {
                    if record.ask == Ask::Cancel {
                        self.findings.cancels_won += 1;
                    }
                    answer.revision.is_none_or(|revision| revision > floor)
                }
                200 => {
                    let body = answer.json();
                    let moment = answer.revision.and_then(|revision| {
                        moments.iter().rev().find(|moment| moment.revision == revision)
                    });
                    let shown = moment.is_some_and(|moment| {
                        shows(&body, moment, text) && keeps_time(&body, moment, record)
                    });
                    let current = answer.revision.is_some_and(|revision| revision >= floor);
                    let same = answer.revision.is_none_or(|revision| {
                        same(bodies.entry(revision).or_insert_with(|| body.clone()), &body)
                    });
                    why = format!("as logged: {shown}, new enough: {current}, as before: {same}");
                    shown && current && same
                }
                400 if is_own => {
                    if record.ask == Ask::Cancel {
                        self.findings.cancels_lost += 1;
                    }
                    // Some state between the request and the answer refuses with this text.
                    let operation = match record.ask {
                        Ask::Cancel => Some(Operation::Cancel),
                        Ask::Delete => Some(Operation::Delete),
                        Ask::Update(_) => Some(Operation::Update),
                        Ask::Create(_) | Ask::Get | Ask::File | Ask::Foreign | Ask::List => None,
                    };
                    operation.is_some_and(|operation| {
                        moments.iter().any(|moment| {
                            let refused = moment.state.apply(operation).err();
                            moment.revision >= floor
                                && !is_gone_at(moment.revision)
                                && moment.since <= record.told
                                && refused.is_some_and(|refused| refused.to_string() == answer.text)
                        })
                    })
                }
                404 => {
                    let since = deleted.into_iter().chain(expires).min();
                    !is_own
                        || since.is_some_and(|at| at <= record.told)
                        || is_updated(&self.records, record)
                }
                _ => false,
            };
            let is_plain = answer.code == 200 || answer.content_type.starts_with("text/plain");
            if !explained || !is_plain {
                let Record { ask, sent, told, .. } = record;
                self.faults.push(format!(
                    "not explained by the log, at {floor} or later, from {sent} to {told}: {ask:?}: {answer:?} {why}"
                ));
            }
        }
        self.in_time(&bodies);
        self.compare_reverts(&bodies);
    }

    /// No expired task is changed.
    fn in_time(&mut self, bodies: &HashMap<u64, Value>) {
        for record in &self.records {
            let revision = record.answer.as_ref().and_then(|answer| answer.revision);
            let event = revision.and_then(|revision| {
                let mut events = self.kept.events.iter();
                events.find(|event| event.revision == Some(revision) && event.operation != "claim")
            });
            let is_change = matches!(record.ask, Ask::Update(_) | Ask::Cancel);
            let before = event.filter(|_| is_change).and_then(|event| bodies.get(&event.loaded));
            let expires = before.and_then(|body| moment(&body["expires_at"]));
            if expires.is_some_and(|at| at <= record.sent) {
                self.faults.push(format!("expired at {expires:?}, but: {record:?}"));
            }
        }
    }

    /// After a revert a client sees to the letter what it saw before the update.
    fn compare_reverts(&mut self, bodies: &HashMap<u64, Value>) {
        let mut before = None;
        for event in &self.kept.events {
            if event.operation == "update" {
                before = bodies.get(&event.loaded);
            }
            let after = event.revision.filter(|_| event.reverted);
            let after = after.and_then(|revision| bodies.get(&revision));
            if let (Some(before), Some(after)) = (before, after) {
                self.findings.reverts_compared += 1;
                // The revert counts as its end.
                let (mut before, mut after) = (before.clone(), after.clone());
                (before["expires_at"], after["expires_at"]) = (Value::Null, Value::Null);
                if !same(&before, &after) {
                    self.faults.push(format!("reverted from {before} to {after}"));
                }
            }
        }
    }
}

/// Whether a body shows that state.
fn shows(body: &Value, moment: &Moment, text: Option<&str>) -> bool {
    let status = moment.state.status();
    let target = body["configuration"]["chunk_processing"]["target_length"].as_u64();
    let chunks = body["output"]["chunks"].as_array();
    let is_cut = chunks.is_some_and(|chunks| {
        let lengths = chunks.iter().map(|chunk| chunk["chunk_length"].as_u64().unwrap_or(0));
        let content: Vec<_> =
            chunks.iter().map(|chunk| chunk["content"].as_str().unwrap_or_default()).collect();
        let whole = chunks.len().saturating_sub(1);
        lengths.take(whole).all(|length| Some(length) == target)
            && Some(content.join(" ").as_str()) == text
    });
    body["status"] == status.as_str()
        && body["completed"] == status.is_completed()
        && target.is_some_and(|target| moment.targets.contains(&target))
        && (if status == Status::Succeeded { is_cut } else { chunks.is_none() })
        && body["started_at"].is_null()
            == (status == Status::Starting || status == Status::Cancelled)
        && body["finished_at"].is_null() != status.is_completed()
}

/// Whether the expiry date in a body is right, and had not passed.
fn keeps_time(body: &Value, at: &Moment, record: &Record) -> bool {
    let kept = body["configuration"]["expires_in"].as_i64().filter(|_| body["completed"] == true);
    match (kept.map(TimeDelta::seconds), moment(&body["expires_at"])) {
        (Some(kept), Some(expires)) => {
            // The clock of SQLite has millisecond precision.
            at.since <= expires - kept + TimeDelta::milliseconds(1)
                && expires - kept <= record.told
                && record.sent < expires
        }
        (None, None) => true,
        _ => false,
    }
}

fn moment(text: &Value) -> Option<DateTime<Utc>> {
    text.as_str()?.parse().ok()
}

/// Whether two bodies are the same, apart from the address of the server.
fn same(one: &Value, other: &Value) -> bool {
    let plain = |body: &Value| {
        let mut body = body.clone();
        for address in ["task_url", "input_file_url", "file_info"] {
            body[address] = Value::Null;
        }
        body
    };
    plain(one) == plain(other)
}
