//! Failures of real task services, under their names: one row for each that the machine, the draft
//! or the stored form rules out. `tests/README.md` says where the others are.

use task_lifecycle::{Draft, Event, Operation, Revision, Run, Status, Task};

use crate::pages;

/// Steps on a new task with the payload `first`, and the answer to the last. Besides operations:
///
/// - `edit:TEXT` sets the payload; `remember` keeps the revision and the run, which `check_revision`
///   and `check_run` then name;
/// - `store` writes the task and reads it again; `read:TEXT` reads another; `row` writes it in the
///   middle of a row, without field names; `word:JSON` reads a status;
/// - `arrives`: the draft's commit is made, and the answer is lost; `others:OPERATION` is somebody
///   else's commit; `reload` loads what is stored; `outcome`, `loaded`, `queued` and `taken` ask the
///   draft.
#[rustfmt::skip]
const ROWS: &[(&str, &str, &str)] = &[
    ("cancelled_task_was_started",        "cancel start", "start refused in Cancelled"),
    ("update_cancel_left_cancelled",      "start succeed update cancel", "cancel: Succeeded, first; reverted from second"),
    ("previous_state_lived_in_the_queue", "start succeed update store cancel", "cancel: Succeeded, first; reverted from second"),
    ("partial_revert",                    "start edit:done succeed update edit:half cancel", "cancel: Succeeded, done; reverted from half"),
    ("forgotten_revert",                  "start succeed update fail", "fail: Succeeded, first; reverted from second"),
    ("forgotten_revert",                  "fail update start retry start fail", "fail: Failed, first; reverted from second"),
    ("silent_update_failure",             "fail update start edit:OutOfMemory fail", "fail: Failed, first; reverted from OutOfMemory"),
    ("billed_on_revert",                  "start succeed update cancel", "cancel: Succeeded, first; reverted from second"),
    ("billed_on_revert",                  "start succeed update start succeed", "succeed: Succeeded, second; replaced first"),
    ("completed_while_retrying",          "start retry", "retry: Starting, first"),
    ("guard_always_true",                 "start succeed delete", "gone: first"),
    ("guard_always_true",                 "start delete", "delete refused in Processing"),
    ("cancelled_never_deletable",         "cancel delete", "gone: first"),
    ("terminal_overwritten",              "cancel succeed", "succeed refused in Cancelled"),
    ("stale_message_ran_the_next_update", "fail update remember cancel update check_run", "stale run: expected 1, but the task is Starting in run 2"),
    ("zombie_finished_the_retry",         "remember start retry start check_run", "stale run: expected 0, but the task is Processing in run 1"),
    ("aba_after_exact_revert",            "fail remember update cancel check_revision", "stale revision: expected 1, but the task is at 3"),
    ("stringly_errors",                   "succeed", "succeed refused in Starting"),
    ("wrong_reason_for_refusal",          "start succeed update start cancel", "cancel refused in Processing (an update, was Succeeded)"),
    ("double_cancel_undecided",           "cancel cancel", "cancel refused in Cancelled, a repeat"),
    ("double_cancel_undecided",           "fail update remember cancel check_revision", "stale revision: expected 2, but the task is at 3"),
    ("poisoned_after_error",              "start cancel succeed", "succeed: Succeeded, first"),
    ("unknown_status_became_new",         r#"read:{"status":"Queued","revision":2,"run":0,"payload":"p"}"#, "unknown status"),
    ("stored_form_with_no_run",           r#"read:{"status":"Failed","revision":3,"run":1,"payload":"p","previous":{"status":"Failed","payload":"p"}}"#, "a task in status Failed cannot have a previous state"),
    ("state_in_a_message",                "edit:Cancelled start", "start: Processing, Cancelled"),
    ("positional_options",                "start edit:finished edit: succeed", "succeed: Succeeded, "),
    ("edit_lost_the_message",             "remember edit:ThirdInLine check_run", "current"),
    ("edit_lost_the_result",              "remember start edit:label check_run", "current"),
    ("stale_click_cancelled_the_next",    "fail update remember cancel update check_revision", "stale revision: expected 2, but the task is at 4"),
    ("bulk_cancel_broke_updates",         r#"read:{"status":"Cancelled","revision":4,"run":1,"payload":"p","previous":{"status":"Failed","payload":"p"}}"#, "a task in status Cancelled cannot have a previous state"),
    ("skipped_field_shifted_the_rest",    "row", "7, Starting, first, 9"),
    ("status_by_position",                "word:1", "invalid type: integer `1`"),
    ("timeout_counted_as_no",             "start arrives others:succeed outcome", "Unknown"),
    ("redelivered_for_nobody",            "remember start check_run", "current"),
    ("late_commit_decided_again",         "cancel outcome", "Open"),
    ("early_message",                     "fail update remember reload check_run", "stale run: expected 1, but the task is Starting in run 0, ahead"),
    ("echo_taken_for_refusal",            "cancel arrives outcome", "Made"),
    ("push_failed_and_failed_the_next",   "fail update remember cancel update check_run", "stale run: expected 1, but the task is Starting in run 2"),
    ("crashed_before_the_first_renewal",  "start taken", "Some(Run(0))"),
    ("half_a_previous_state",             r#"read:{"status":"Starting","revision":3,"run":1,"payload":"p","previous":{"status":"Failed"}}"#, "missing field `payload` at line 1 column 86"),
    ("draft_misread",                     "fail update cancel loaded", "Revision(0)"),
    ("draft_misread",                     "start retry start queued", "None"),
];

/// The others, by what rules them out.
#[rustfmt::skip]
const ELSEWHERE: &[(&str, &str)] = &[
    ("`Run` and `Revision` are two types, and a test of the docs shows it", "two_numbers_of_one_type"),
    ("A fault of the model, with its [stories]", "lost_race_answered_200 unconditional_write check_then_write edit_made_twice started_run_was_orphaned stop_request_outlived_its_run"),
    ("A test of the [service]", "wrote_before_queue masked_not_found cross_user_read sql_by_format update_answered_the_old_task lifo_queue no_renewal_at_work poison_task result_cannot_be_stored older_binary_dropped_fields one_row_hid_the_list one_row_stopped_the_queue head_cancelled serialization_failure_was_an_outage clocks_disagreed deploys_used_up_the_attempts migration_failed_the_queue clock_set_back"),
    ("The SQL of the page [Embedding], which is run on two databases", "hand_written_update trigger_refused_the_lease"),
    ("A sentence of that page", "deadline_reverted retry_all_failed_repeated_a_cancel settings_edited_at_work replay_without_edits files_of_lost_runs restore_made_old_etags_fit nested_one_deeper"),
    ("A store of the suite's [bank]", "green_that_raced_nothing no_threads_for_async unit_payload slow_and_right_was_killed busy_machine_was_silence story_that_does_not_replay seed_that_draws_something_else only_fresh_copies_race waits_of_another_call free_names_are_never_created equal_payloads creates_do_not_race short_histories"),
];

fn shown(task: &Task<String>) -> String {
    format!("{}, {}", task.state(), task.payload())
}

fn operate(task: &mut Task<String>, operation: Operation, payload: &str) -> String {
    let refused = match Event::new(operation, payload.to_owned()).map(|event| task.apply(event)) {
        Some(Ok(done)) => {
            let how = if done.reverted() { "reverted from" } else { "replaced" };
            let released = done.released.into_payload().map(|payload| format!("; {how} {payload}"));
            return format!("{operation}: {}{}", shown(task), released.unwrap_or_default());
        }
        None => match task.clone().delete() {
            Ok(payload) => return format!("gone: {payload}"),
            Err(kept) => kept.reason(),
        },
        Some(Err(refused)) => refused,
    };
    let repeat = if refused.is_repeat() { ", a repeat" } else { "" };
    format!("{} refused in {}{repeat}", refused.operation(), refused.state())
}

/// Without the list of what was expected.
fn fault<T: std::fmt::Debug>(read: serde_json::Result<T>) -> String {
    let text = read.unwrap_err().to_string();
    text.split(" expected ").next().unwrap().trim_end_matches([':', ',']).to_owned()
}

fn play(steps: &str) -> String {
    let mut stored = Task::new("first".to_owned());
    let mut draft = Draft::new(stored.clone());
    let (mut seen, mut message) = (Revision::new(0), Run::new(0));
    let mut payloads = ["second", "third"].into_iter();
    let mut answer = String::new();
    for step in steps.split(' ') {
        let (word, text) = step.split_once(':').unwrap_or((step, ""));
        match word {
            "edit" => draft.edit(|payload| text.clone_into(payload)),
            "remember" => (seen, message) = (draft.revision(), draft.run()),
            "store" => {
                let text = serde_json::to_string(&*draft).unwrap();
                draft = Draft::new(serde_json::from_str(&text).unwrap());
            }
            "arrives" => stored = draft.clone().into_task(),
            "others" => drop(operate(&mut stored, text.parse().unwrap(), "")),
            "reload" => draft = Draft::new(stored.clone()),
            _ => {
                answer = match word {
                    "check_run" => draft.check_run(message).map_or_else(
                        |stale| format!("{stale}{}", if stale.is_ahead() { ", ahead" } else { "" }),
                        |()| "current".to_owned(),
                    ),
                    "check_revision" => draft.check_revision(seen).unwrap_err().to_string(),
                    "read" => fault(serde_json::from_str::<Task<String>>(text)),
                    "word" => fault(serde_json::from_str::<Status>(text)),
                    "row" => {
                        let bytes = postcard::to_allocvec(&(7_u8, &*draft, 9_u8)).unwrap();
                        let (before, task, after): (u8, _, u8) =
                            postcard::from_bytes(&bytes).unwrap();
                        format!("{before}, {}, {after}", shown(&task))
                    }
                    "outcome" => format!("{:?}", draft.outcome(Some(&stored))),
                    "loaded" => format!("{:?}", draft.loaded()),
                    "queued" => format!("{:?}", draft.queued()),
                    "taken" => format!("{:?}", draft.taken()),
                    "update" => operate(&mut draft, Operation::Update, payloads.next().unwrap()),
                    operation => operate(&mut draft, operation.parse().unwrap(), ""),
                }
            }
        }
    }
    answer
}

#[test]
fn each_failure_is_ruled_out() {
    for (id, steps, expected) in ROWS {
        assert_eq!(play(steps), *expected, "{id}: {steps}");
    }
}

#[test]
fn the_page_says_where_the_others_are() {
    let lines = ELSEWHERE.iter().map(|(place, ids)| {
        assert!(ids.split(' ').all(|id| ROWS.iter().all(|row| row.0 != id)), "in two places");
        format!("- {place}: `{}`.\n", ids.replace(' ', "`, `"))
    });
    pages::compare("tests/README.md", &[("elsewhere", lines.collect())]);
}
