//! The vectors for other languages, written from the machine and compared with it.

use expect_test::expect_file;
use serde_json::{Value, json, to_string};
use task_lifecycle::{Draft, Event, Operation, Revision, Run, State, Status, Task};

use crate::common::{counted, task_in, task_in_each_state};

/// Where an implementation that counts in doubles or in signed numbers, or does not wrap, is seen.
const COUNTERS: [(u64, u64); 4] =
    [(5, 2), (1 << 53, (1 << 53) + 2), (i64::MAX as u64, u64::MAX), (u64::MAX, i64::MAX as u64)];

fn compare(name: &str, entries: impl IntoIterator<Item = Value>) {
    let lines: Vec<String> = entries.into_iter().map(|entry| entry.to_string()).collect();
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/vectors/").to_owned() + name;
    expect_file![file].assert_eq(&format!("[\n{}\n]\n", lines.join(",\n")));
}

/// As text, since JSON numbers lose digits on the way into some languages.
fn stored(task: &Task<String>) -> Value {
    json!(to_string(task).unwrap())
}

fn state(state: State) -> Value {
    json!({ "status": state.status(), "previous": state.previous() })
}

fn tasks() -> impl Iterator<Item = Task<String>> {
    let name = |number| ["first", "second"][number as usize].to_owned();
    let tasks = move |(revision, run)| {
        task_in_each_state(name).map(move |task| counted(task, revision, run))
    };
    COUNTERS.into_iter().flat_map(tasks)
}

/// A step other than a delete: what was answered.
fn step(task: &mut Task<String>, operation: Option<Operation>) -> (Value, Value) {
    let Some(operation) = operation else {
        task.edit(|payload| "edited".clone_into(payload));
        return (json!({ "edit": "edited" }), json!({ "stored": stored(task) }));
    };
    let event = Event::new(operation, "new".to_owned()).expect("no delete");
    let named = json!(event);
    let answer = match task.apply(event) {
        Ok(done) => json!({
            "reverted": done.reverted(),
            "released": done.released.into_payload(),
            "stored": stored(task),
        }),
        Err(refused) => json!({ "error": refused.to_string(), "is_repeat": refused.is_repeat() }),
    };
    (named, answer)
}

fn steps() -> impl Iterator<Item = Option<Operation>> {
    let events = Operation::ALL.iter().copied().filter(|&operation| operation != Operation::Delete);
    events.map(Some).chain([None])
}

#[test]
fn relation() {
    let cells = State::ALL.iter().flat_map(|&from| {
        Operation::ALL.iter().map(move |&operation| {
            let answer = match from.apply(operation) {
                Ok(next) => next.map_or(json!("gone"), state),
                Err(refused) => {
                    json!({ "error": refused.to_string(), "is_repeat": refused.is_repeat() })
                }
            };
            json!({ "state": state(from), "operation": operation, "answer": answer })
        })
    });
    compare("relation.json", cells);
}

#[test]
fn single_steps() {
    let mut entries = Vec::new();
    for task in tasks() {
        let mut add = |step, answer| {
            entries.push(json!({ "stored": stored(&task), "step": step, "answer": answer }))
        };
        for operation in steps() {
            let (step, answer) = step(&mut task.clone(), operation);
            add(step, answer);
        }
        add(
            json!("delete"),
            match task.clone().delete() {
                Ok(payload) => json!({ "gone": payload }),
                Err(kept) => {
                    json!({ "error": kept.to_string(), "is_repeat": kept.reason().is_repeat() })
                }
            },
        );
        for distance in [0, 1, (1 << 63) - 1, 1 << 63, u64::MAX] {
            let (revision, run) = (
                task.revision().get().wrapping_add(distance),
                task.run().get().wrapping_add(distance),
            );
            let stale = task.check_revision(Revision::new(revision)).err();
            let stale = stale
                .map(|stale| json!({ "error": stale.to_string(), "is_ahead": stale.is_ahead() }));
            add(json!({ "check_revision": revision.to_string() }), json!(stale));
            let stale = task.check_run(Run::new(run)).err();
            let stale = stale
                .map(|stale| json!({ "error": stale.to_string(), "is_ahead": stale.is_ahead() }));
            add(json!({ "check_run": run.to_string() }), json!(stale));
        }
    }
    compare("steps.json", entries);
}

/// Up to two accepted steps on a draft of every task, and what is then found.
#[test]
fn drafts() {
    let mut entries = Vec::new();
    let firsts = || [vec![]].into_iter().chain(steps().map(|step| vec![step]));
    for task in tasks() {
        for chosen in firsts()
            .flat_map(|first| steps().map(move |step| [&first[..], &[step]].concat()))
            .chain([vec![]])
        {
            let mut draft = Draft::new(task.clone());
            let mut named = Vec::new();
            let mut accepted = true;
            for &operation in &chosen {
                let (step, answer) = step(&mut draft, operation);
                accepted &= answer["error"].is_null();
                named.push(step);
            }
            if !accepted {
                continue;
            }
            let found = |more: u64| {
                let revision = task.revision().get().wrapping_add(more).wrapping_sub(1);
                counted(task_in(State::ALL[1], |_| "other".to_owned()), revision, task.run().get())
            };
            let made = draft.clone().into_task();
            let same_revision =
                counted(made.clone(), made.revision().get(), made.run().get().wrapping_add(1));
            let found = [task.clone(), made, same_revision].into_iter().chain((0..5).map(found));
            let mut outcomes: Vec<Value> = found
                .map(|found| json!([stored(&found), format!("{:?}", draft.outcome(Some(&found)))]))
                .collect();
            outcomes.push(json!([null, format!("{:?}", draft.outcome(None))]));
            let text = |run: Option<Run>| run.map(|run| run.to_string());
            entries.push(json!({
                "stored": stored(&task),
                "steps": named,
                "before": state(draft.before()),
                "loaded": draft.loaded().to_string(),
                "loaded_run": draft.loaded_run().to_string(),
                "queued": text(draft.queued()),
                "taken": text(draft.taken()),
                "outcomes": outcomes,
            }));
        }
    }
    compare("drafts.json", entries);
}

#[test]
fn stored_forms() {
    let mut texts = Vec::new();
    for status in Status::ALL {
        texts.push(format!(r#"{{"status":"{status}","revision":3,"run":1,"payload":"new"}}"#));
        texts.push(format!(
            r#"{{"status":"{status}","revision":3,"run":1,"payload":"new","previous":null}}"#
        ));
        texts.extend(Status::ALL.iter().map(|previous| {
            format!(r#"{{"status":"{status}","revision":3,"run":1,"payload":"new","previous":{{"status":"{previous}","payload":"old"}}}}"#)
        }));
    }
    for (revision, run) in COUNTERS {
        texts.push(format!(
            r#" {{ "payload":null, "run":{run}, "status":"Failed", "revision":{revision} }} "#
        ));
    }
    let broken = String::from_utf8_lossy(include_bytes!("../../examples/broken.jsonl"));
    texts.extend(broken.lines().filter(|line| !line.contains('\u{fffd}')).map(str::to_owned));
    let entries = texts.iter().map(|text| match serde_json::from_str::<Task<Value>>(text) {
        Ok(task) => json!({ "text": text, "task": to_string(&task).unwrap() }),
        Err(fault) => {
            // The words of a fault in the state are the machine's; the others are a library's.
            let fault = fault.to_string();
            let is_ours = fault.starts_with("a ");
            json!({ "text": text, "error": if is_ours { &fault } else { "any" } })
        }
    });
    compare("stored.json", entries);
}
