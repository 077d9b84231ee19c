//! Whether every answer is explained by the log, and the log by the machine.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::time::Instant;

use chrono::{DateTime, Utc};
use serde_json::Value;
use task_lifecycle::{Operation, State, Status};
use task_service::store::{Event, SqlStore};

use crate::clients::{Ask, EDITOR, Record, name};

/// What the log and the table say of one task.
#[derive(Default)]
pub struct Kept {
    pub user: String,
    pub events: Vec<Event>,
    /// Status, status of the previous state, revision, run; none if it is gone.
    pub row: Option<(Status, Option<Status>, u64, u64)>,
}

/// Reads what is kept of every task, and the whole log.
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
    let rows = "SELECT task_id, status, previous_status, revision, run FROM tasks";
    for (task, status, previous, revision, run) in
        sqlx::query_as::<_, (String, String, Option<String>, i64, i64)>(rows)
            .fetch_all(&store.pool)
            .await?
    {
        let previous = previous.map(|previous| previous.parse()).transpose()?;
        kept.entry(task).or_default().row =
            Some((status.parse()?, previous, revision.cast_unsigned(), run.cast_unsigned()));
    }
    Ok((kept, log))
}

/// What the storm came to.
#[derive(Default)]
pub struct Findings {
    pub violations: Vec<String>,
    pub tasks: usize,
    pub cancels_won: usize,
    pub cancels_lost: usize,
    pub reverts: usize,
    /// Reverts of which a client had seen the state before the update, and saw the one after.
    pub reverts_compared: usize,
    pub retries: usize,
}

/// One moment of a task, from the log.
struct Moment {
    revision: u64,
    state: State,
    at: DateTime<Utc>,
    /// The `target_length` of the payload; none if no client says what it asked for.
    target: Option<u64>,
}

pub fn audit(
    kept: &HashMap<String, Kept>,
    log: &[(String, Event)],
    records: &[Record],
) -> Findings {
    let mut findings = Findings::default();
    let mut told = HashMap::<&str, Vec<&Record>>::new();
    for record in records {
        match record.ask {
            Ask::List => list(record, kept, &mut findings.violations),
            Ask::Create(_)
            | Ask::Update(_)
            | Ask::Cancel
            | Ask::Delete
            | Ask::Get
            | Ask::Foreign => told.entry(&record.task).or_default().push(record),
        }
    }
    for (task, records) in &told {
        if !kept.contains_key(*task) {
            findings.violations.extend(records.iter().map(|record| {
                format!("nothing is logged of the task of {:?}: {:?}", record.ask, record.answer)
            }));
        }
    }
    for (task, kept) in kept {
        let records = told.remove(task.as_str()).unwrap_or_default();
        let mut audit = Audit { kept, records, findings: &mut findings, faults: Vec::new() };
        audit.run();
        let faults = std::mem::take(&mut audit.faults);
        findings.violations.extend(faults.iter().map(|fault| format!("task {task}: {fault}")));
        findings.tasks += 1;
    }
    in_order(log, &mut findings.violations);
    findings
}

fn list(record: &Record, kept: &HashMap<String, Kept>, violations: &mut Vec<String>) {
    let Some(answer) = record.answer.as_ref().filter(|answer| answer.code == 200) else {
        violations.push(format!("a list was answered with {:?}", record.answer));
        return;
    };
    for task in answer.json()["tasks"].as_array().into_iter().flatten() {
        let id = task["task_id"].as_str().unwrap_or_default();
        if kept.get(id).is_none_or(|kept| kept.user != name(record.user)) {
            violations.push(format!("{} was shown the task {id}", name(record.user)));
        }
    }
}

/// What was queued first is claimed first, but for what a race or a lock explains: most of the
/// time, where more than one waits.
fn in_order(log: &[(String, Event)], violations: &mut Vec<String>) {
    let mut waiting = BTreeSet::new();
    let mut queued = HashMap::new();
    let (mut claims, mut overtaken) = (0, 0);
    for (task, event) in log {
        let place = queued.get(task).map(|at| (*at, task));
        match event.operation.as_str() {
            "create" | "update" => {
                queued.insert(task, event.at);
                waiting.insert((event.at, task));
            }
            "claim" => {
                if waiting.len() > 1 && place.is_some_and(|place| waiting.contains(&place)) {
                    claims += 1;
                    overtaken += usize::from(waiting.first() != place.as_ref());
                }
                place.map(|place| waiting.remove(&place));
            }
            _ => _ = place.map(|place| waiting.remove(&place)),
        }
    }
    if overtaken * 3 > claims && claims > 20 {
        violations.push(format!("not in order: {overtaken} of {claims} claims left an older task"));
    }
}

struct Audit<'a> {
    kept: &'a Kept,
    records: Vec<&'a Record>,
    findings: &'a mut Findings,
    faults: Vec<String>,
}

impl<'a> Audit<'a> {
    /// What was to be cut; none if it is no text.
    fn text(&self) -> Option<&'a str> {
        self.records.iter().find_map(|record| record.text.as_deref())
    }

    fn run(&mut self) {
        let asked = self.match_answers();
        let moments = self.replay(&asked);
        self.explain(&moments);
    }

    /// Each change that a client was told of is one event, and each event of a client is one that
    /// it was told of. Returns what was asked for, by the revision that it led to.
    fn match_answers(&mut self) -> BTreeMap<u64, u64> {
        let mut asked = BTreeMap::new();
        let mut told = HashSet::new();
        for record in self.records.clone() {
            let Some(answer) = &record.answer else {
                self.faults.push(format!("no answer to {:?}", record.ask));
                continue;
            };
            let (operation, revision) = match record.ask {
                Ask::Create(target) | Ask::Update(target) if answer.code == 200 => {
                    let Some(revision) = answer.revision else { continue };
                    asked.insert(revision, target);
                    let is_update = matches!(record.ask, Ask::Update(_));
                    (if is_update { "update" } else { "create" }, Some(revision))
                }
                Ask::Cancel if answer.code == 200 => ("cancel", answer.revision),
                Ask::Delete if answer.code == 200 => ("delete", None),
                _ => continue,
            };
            let is_logged = self.kept.events.iter().any(|event| {
                (event.operation.as_str(), event.revision) == (operation, revision)
                    && event.by == name(record.user)
            });
            if !is_logged || !told.insert((operation, revision)) {
                self.faults.push(format!(
                    "{:?} was answered 200 at {revision:?}, by no event",
                    record.ask
                ));
            }
        }
        for event in &self.kept.events {
            let is_clients = ["create", "update", "cancel", "delete"].contains(&&*event.operation);
            if is_clients && !told.contains(&(&event.operation, event.revision)) {
                self.faults.push(format!("nobody was told of {event:?}"));
            }
        }
        asked
    }

    /// The log is a history of the machine, its writers had the right to write, and it ends in the
    /// row.
    fn replay(&mut self, asked: &BTreeMap<u64, u64>) -> Vec<Moment> {
        let mut moments: Vec<Moment> = Vec::new();
        let mut settled = None;
        // Who was handed the message of a run, and who started it.
        let (mut claims, mut owners) = (HashSet::new(), HashMap::new());
        let mut run = 0;
        let mut gone = false;
        for event in &self.kept.events {
            let Some(last) = moments.last() else {
                let is_first = event.operation == "create" && event.revision == Some(0);
                if !is_first || event.status != Some(Status::Starting) {
                    self.faults.push(format!("begins with {event:?}"));
                }
                let target = asked.get(&0).copied();
                moments.push(Moment { revision: 0, state: State::NEW, at: event.at, target });
                continue;
            };
            if gone || event.loaded != last.revision {
                self.faults.push(format!("{event:?} follows {}", last.revision));
            }
            let (state, mut target) = (last.state, last.target);
            let mut next = Some(state);
            let mut reverted = false;
            if let Ok(operation) = event.operation.parse::<Operation>() {
                match state.apply(operation) {
                    Ok(after) => next = after,
                    Err(refused) => self.faults.push(format!("{refused}, but: {event:?}")),
                }
                match operation {
                    Operation::Update => {
                        settled = target;
                        target = event.revision.and_then(|revision| asked.get(&revision).copied());
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
                        target = settled;
                    }
                    Operation::Start | Operation::Retry => {
                        if !claims.contains(&(&event.by, run)) {
                            self.faults.push(format!("not asked for by a message: {event:?}"));
                        }
                        if operation == Operation::Start {
                            owners.insert(run, &event.by);
                        }
                        self.findings.retries += usize::from(operation == Operation::Retry);
                    }
                    _ => {}
                }
            }
            match event.operation.as_str() {
                "claim" => _ = claims.insert((&event.by, run)),
                "update" | "retry" => run += 1,
                "succeed" | "fail" | "edit"
                    if event.by != EDITOR && owners.get(&run) != Some(&&event.by) =>
                {
                    self.faults.push(format!("by a worker that had lost its run: {event:?}"));
                }
                _ => {}
            }
            if event.run != Some(run).filter(|_| event.operation != "delete") {
                self.faults.push(format!("not of run {run}: {event:?}"));
            }
            let counts = event.operation != "claim";
            let grown = event.revision.is_none_or(|revision| (revision > event.loaded) == counts);
            if event.status != next.map(State::status) || event.reverted != reverted || !grown {
                self.faults.push(format!("not what the machine does: {event:?}"));
            }
            match (next, event.revision) {
                (Some(state), Some(revision)) => {
                    moments.push(Moment { revision, state, at: event.at, target });
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
        moments
    }

    /// Each answer shows a moment of the log, none older than what was known before it was asked.
    fn explain(&mut self, moments: &[Moment]) {
        let mut known: Vec<(Instant, u64)> = Vec::new();
        let deleted = self.kept.events.iter().find(|event| event.operation == "delete");
        let deleted_at = deleted.map(|event| event.at);
        let mut deleted_told = None;
        for record in &self.records {
            let Some(answer) = &record.answer else { continue };
            if let Some(revision) = answer.revision {
                known.push((record.told, revision));
            }
            if record.ask == Ask::Delete && answer.code == 200 {
                deleted_told = Some(record.told);
            }
        }
        // The newest revision known by then.
        known.sort();
        let mut newest = 0;
        for (_, revision) in &mut known {
            newest = newest.max(*revision);
            *revision = newest;
        }
        let known_at = |sent: Instant| match known.partition_point(|(told, _)| *told < sent) {
            0 => 0,
            count => known[count - 1].1,
        };

        let mut bodies = HashMap::<u64, Value>::new();
        let text = self.text();
        for record in self.records.clone() {
            let Some(answer) = &record.answer else { continue };
            let floor = known_at(record.sent);
            let is_own = record.ask != Ask::Foreign;
            let is_gone = deleted_told.is_some_and(|told| told < record.sent);
            let explained = match answer.code {
                200 if !is_own || is_gone => false,
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
                    let shown = moment.is_some_and(|moment| shows(&body, moment, text));
                    let current = answer.revision.is_some_and(|revision| revision >= floor);
                    let same = answer.revision.is_none_or(|revision| {
                        same(bodies.entry(revision).or_insert_with(|| body.clone()), &body)
                    });
                    shown && current && same
                }
                400 if is_own => {
                    if record.ask == Ask::Cancel {
                        self.findings.cancels_lost += 1;
                    }
                    // Some moment between then and the answer refuses, with these words.
                    let operation = match record.ask {
                        Ask::Cancel => Some(Operation::Cancel),
                        Ask::Delete => Some(Operation::Delete),
                        Ask::Update(_) => Some(Operation::Update),
                        Ask::Create(_) | Ask::Get | Ask::Foreign | Ask::List => None,
                    };
                    operation.is_some_and(|operation| {
                        moments.iter().any(|moment| {
                            let refused = moment.state.apply(operation).err();
                            moment.revision >= floor
                                && moment.at <= record.told_at
                                && refused.is_some_and(|refused| refused.to_string() == answer.text)
                        })
                    })
                }
                404 => !is_own || deleted_at.is_some_and(|at| at <= record.told_at),
                _ => false,
            };
            let is_plain = answer.code == 200 || answer.content_type.starts_with("text/plain");
            if !explained || !is_plain {
                let Record { ask, .. } = record;
                self.faults.push(format!(
                    "not explained by the log, at {floor} or later: {ask:?}: {answer:?}"
                ));
            }
        }
        self.compare_reverts(&bodies);
    }

    /// What a client saw before an update it sees again after the revert, to the letter.
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
                if !same(before, after) {
                    self.faults.push(format!("reverted from {before} to {after}"));
                }
            }
        }
    }
}

/// Whether a body shows that moment.
fn shows(body: &Value, moment: &Moment, text: Option<&str>) -> bool {
    let status = moment.state.status();
    let target = &body["configuration"]["chunk_processing"]["target_length"];
    let chunks = body["output"]["chunks"].as_array();
    let is_cut = chunks.is_some_and(|chunks| {
        let lengths = chunks.iter().map(|chunk| chunk["chunk_length"].as_u64().unwrap_or(0));
        let content: Vec<_> =
            chunks.iter().map(|chunk| chunk["content"].as_str().unwrap_or_default()).collect();
        let whole = chunks.len().saturating_sub(1);
        lengths.take(whole).all(|length| Some(length) == moment.target)
            && Some(content.join(" ").as_str()) == text
    });
    body["status"] == status.as_str()
        && body["completed"] == status.is_completed()
        && target.as_u64() == moment.target
        && (if status == Status::Succeeded { is_cut } else { chunks.is_none() })
        && body["started_at"].is_null()
            == (status == Status::Starting || status == Status::Cancelled)
        && body["finished_at"].is_null() != status.is_completed()
}

/// Whether two bodies are the same, but for the server that was asked.
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
