//! The protocol holds its laws in every order of events, and each precaution is needed.

use std::collections::BTreeSet;

use model::{Budget, Fault, Happened, Law, check, shortest_violation};
use task_lifecycle::{Operation, State};

#[test]
fn no_order_of_events_breaks_a_law() {
    let verdict = check(Budget::SMALL);
    assert_eq!(verdict.broken, [""; 0]);
    // Fewer would mean that something no longer happens.
    assert_eq!(verdict.states, 813_224);
    everything_happened(&verdict.happened);
}

#[test]
#[ignore = "the slow run"]
fn no_order_of_events_breaks_a_law_with_a_third_request() {
    let verdict = check(Budget::LARGE);
    assert_eq!(verdict.broken, [""; 0]);
    assert_eq!(verdict.states, 10_794_512);
    everything_happened(&verdict.happened);

    let names = [
        "start", "retry", "succeed", "fail", "cancel", "update", "delete", "edit",
    ];
    for won in names {
        // There is one edit, so it has no other to race with.
        for lost in names
            .into_iter()
            .filter(|lost| (won, *lost) != ("edit", "edit"))
        {
            let race = Happened::Race {
                won: won.to_owned(),
                lost: lost.to_owned(),
            };
            assert!(verdict.happened.contains(&race), "{race:?} never happened");
        }
    }
}

/// Every operation and an edit were accepted, every refusal that a request or a sweep can get was
/// given, a stale message was dropped, and the races between a cancel and a worker went both ways.
fn everything_happened(happened: &BTreeSet<Happened>) {
    let mut expected = vec![
        Happened::StaleMessage,
        Happened::Accepted("edit".to_owned()),
    ];
    for &operation in Operation::ALL {
        expected.push(Happened::Accepted(operation.to_string()));
        // A worker decides on a start or a success only after its revision was checked, so the
        // machine never has to refuse one.
        if matches!(operation, Operation::Start | Operation::Succeed) {
            continue;
        }
        for state in State::ALL {
            if let Err(refused) = state.apply(operation) {
                expected.push(Happened::Refused(refused.to_string()));
            }
        }
    }
    for (one, other) in [
        ("cancel", "start"),
        ("fail", "succeed"),
        ("retry", "succeed"),
    ] {
        for (won, lost) in [(one, other), (other, one)] {
            expected.push(Happened::Race {
                won: won.to_owned(),
                lost: lost.to_owned(),
            });
        }
    }
    for what in expected {
        assert!(happened.contains(&what), "{what:?} never happened");
    }
}

#[test]
fn each_precaution_is_needed() {
    let expected = [
        (Fault::CommitWithoutRevision, Law::CompletedIsOver, 4),
        (Fault::RevisionRestoredOnRevert, Law::CancelHolds, 10),
        (Fault::ZeroRowsIgnored, Law::NothingLost, 4),
        (Fault::StartWithoutCheck, Law::ResultWasAskedFor, 6),
        (Fault::FinishWithoutCheck, Law::ResultWasAskedFor, 5),
        (Fault::EditNotCounted, Law::NothingLost, 5),
        (Fault::PreviousInTheMessage, Law::RevertIsExact, 6),
    ];
    assert_eq!(expected.map(|(fault, ..)| fault), Fault::ALL);
    let page = include_str!("../../README.md");
    for (fault, law, steps) in expected {
        let (broken, story) = shortest_violation(fault).unwrap_or_else(|| panic!("{fault}: none"));
        assert_eq!((broken, story.len()), (law, steps), "{fault}: {story:#?}");
        assert!(
            page.contains(&format!("### {fault}\n")),
            "{fault} is not told"
        );
        for line in story {
            assert!(page.contains(&line), "{fault} is told otherwise: {line}");
        }
    }
}
