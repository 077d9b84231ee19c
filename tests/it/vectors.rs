//! The vectors for other languages, written from the machine and compared with it.

use expect_test::expect_file;
use serde_json::{Value, json, to_string};
use task_lifecycle::Status::{Processing, Starting};
use task_lifecycle::{Draft, Event, Operation, Revision, Run, Snapshot, Status, Task};

use crate::common::{counted, task_in_each_state};

/// Where an implementation that counts in doubles, or does not wrap, is seen.
const LARGE: u64 = 1 << 53;
const LAST: u64 = u64::MAX;

fn compare(name: &str, entries: impl IntoIterator<Item = Value>) {
    let lines: Vec<String> = entries.into_iter().map(|entry| entry.to_string()).collect();
    let text = format!("[\n{}\n]\n", lines.join(",\n"));
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/vectors/").to_owned() + name;
    if std::env::var_os("UPDATE_EXPECT").is_none() {
        // One line is shown, for the difference of large texts takes minutes.
        let written = std::fs::read_to_string(&file).unwrap();
        for (line, expected) in written.lines().zip(text.lines()) {
            assert_eq!(line, expected, "UPDATE_EXPECT=1 cargo test --test it mends {name}");
        }
    }
    expect_file![file].assert_eq(&text);
}

/// As text: as JSON numbers the counters would lose digits on the way into some languages.
fn stored(task: &Task<String>) -> Value {
    json!(to_string(task).unwrap())
}

fn tasks(counter: u64) -> impl Iterator<Item = Task<String>> {
    let tasks = task_in_each_state(|number| if number == 0 { "old" } else { "new" }.to_owned());
    tasks.map(move |task| counted(task, counter, counter))
}

/// Does what a step says, `None` to be an edit, and describes the step and the answer.
fn take(task: &mut Task<String>, operation: Option<Operation>) -> (Value, Value) {
    let Some(operation) = operation else {
        task.edit(|payload| "edited".clone_into(payload));
        return (json!({ "edit": "edited" }), json!({ "stored": stored(task) }));
    };
    let event = Event::new(operation, "updated".to_owned());
    let step = event.as_ref().map_or(json!("delete"), |event| json!(event));
    let refused = match event.map(|event| task.apply(event)) {
        Some(Ok(done)) => {
            let (reverted, released) = (done.reverted(), done.released.into_payload());
            let answer =
                json!({ "reverted": reverted, "released": released, "stored": stored(task) });
            return (step, answer);
        }
        Some(Err(refused)) => refused,
        None => match task.clone().delete() {
            Ok(payload) => return (step, json!({ "gone": payload })),
            Err(kept) => kept.reason(),
        },
    };
    (step, json!({ "error": refused.to_string(), "is_repeat": refused.is_repeat() }))
}

fn steps() -> impl Iterator<Item = Option<Operation>> {
    Operation::ALL.iter().copied().map(Some).chain([None])
}

#[test]
fn single_steps() {
    let mut entries = Vec::new();
    for task in tasks(LARGE).chain(tasks(LAST)) {
        let mut add = |(step, answer)| {
            entries.push(json!({ "stored": stored(&task), "step": step, "answer": answer }));
        };
        steps().for_each(|operation| add(take(&mut task.clone(), operation)));
        let stale = |error: String, ahead| json!({ "error": error, "is_ahead": ahead });
        for distance in [0, 1, i64::MAX as u64, 1 << 63, LAST] {
            let number = task.run().get().wrapping_add(distance);
            let answer = task.check_revision(Revision::new(number)).err();
            let answer = answer.map(|it| stale(it.to_string(), it.is_ahead()));
            add((json!({ "check_revision": number.to_string() }), json!(answer)));
            let answer = task.check_run(Run::new(number)).err();
            let answer = answer.map(|it| stale(it.to_string(), it.is_ahead()));
            add((json!({ "check_run": number.to_string() }), json!(answer)));
        }
    }
    compare("steps.json", entries);
}

/// Up to two accepted steps on a draft of every task, and the outcome for what may be found then.
#[test]
fn drafts() {
    let pairs = steps().flat_map(|first| steps().map(move |second| vec![first, second]));
    let single = [vec![]].into_iter().chain(steps().map(|step| vec![step]));
    let histories: Vec<_> = single.chain(pairs).collect();
    let mut entries = Vec::new();
    for (task, history) in
        tasks(LAST).flat_map(|it| histories.iter().map(move |history| (it.clone(), history)))
    {
        let mut draft = Draft::new(task.clone());
        let taken = history.iter().map(|step| take(&mut draft, *step));
        let (named, answers): (Vec<_>, Vec<_>) = taken.unzip();
        if answers.iter().any(|answer| answer["stored"].is_null()) {
            continue; // refused, or gone
        }
        let made = draft.clone().into_task();
        let changes: [fn(&mut Snapshot<String>); 6] = [
            |_| (),
            |it| it.status = if it.status == Starting { Processing } else { it.status },
            |it| it.revision = Revision::new(it.revision.get().wrapping_add(1)),
            |it| it.run = Run::new(7),
            |it| it.payload.push('!'),
            |it| it.previous.iter_mut().for_each(|old| old.payload.push('!')),
        ];
        let unequal = changes.map(|change| {
            let mut snapshot = Snapshot::from(made.clone());
            change(&mut snapshot);
            Task::try_from(snapshot).unwrap()
        });
        let around =
            (0..5).map(|more| counted(task.clone(), LAST.wrapping_add(more).wrapping_sub(1), 7));
        let found = [None].into_iter().chain(unequal.into_iter().chain(around).map(Some));
        let outcomes = found.map(|found| {
            json!([found.as_ref().map(stored), format!("{:?}", draft.outcome(found.as_ref()))])
        });
        let text = |run: Option<Run>| run.map(|run| run.to_string());
        entries.push(json!({
            "stored": stored(&task),
            "steps": named,
            "loaded": draft.loaded().to_string(),
            "loaded_run": draft.loaded_run().to_string(),
            "before": [json!(draft.before().status()), json!(draft.before().previous())],
            "queued": text(draft.queued()),
            "taken": text(draft.taken()),
            "outcomes": outcomes.collect::<Vec<_>>(),
        }));
    }
    compare("drafts.json", entries);
}

#[test]
fn stored_forms() {
    let mut texts = vec![format!(
        r#" {{"payload":null, "run":{LAST}, "status":"Failed", "revision":{}}}"#,
        LARGE + 1
    )];
    for status in Status::ALL {
        let first = format!(r#"{{"status":"{status}","revision":3,"run":1,"payload":"new""#);
        texts.extend(["}", r#","previous":null}"#].map(|rest| format!("{first}{rest}")));
        texts.extend(Status::ALL.iter().map(|previous| {
            format!(r#"{first},"previous":{{"status":"{previous}","payload":"old"}}}}"#)
        }));
    }
    let broken = String::from_utf8_lossy(include_bytes!("../../examples/broken.jsonl"));
    texts.extend(broken.lines().filter(|line| !line.contains('\u{fffd}')).map(str::to_owned));
    let entries = texts.iter().map(|text| match serde_json::from_str::<Task<Value>>(text) {
        Ok(task) => json!({ "text": text, "task": to_string(&task).unwrap() }),
        Err(fault) => {
            // The words of a fault in the state are the machine's; the others are a library's.
            let words = Some(fault.to_string()).filter(|_| fault.is_data() && fault.column() == 0);
            json!({ "text": text, "error": words })
        }
    });
    compare("stored.json", entries);
}
