//! The protocol holds its laws in every order of events, and each precaution is needed.

use std::collections::HashSet;

use model::Change::{
    Cancel, CancelOwn, Delete, Edit, Fail, Progress, Retry, Start, Succeed, TakeOver, Update,
};
use model::{
    Budget, Change, Fault, Happened, LARGE, Law, SMALL, Violation, check, shortest_violation,
};
use task_lifecycle::Status::{Cancelled, Failed, Processing, Starting, Succeeded};
use task_lifecycle::{Operation, State, Status};

#[test]
fn no_order_of_events_breaks_a_law() {
    holds(SMALL, 1_469_178);
}

#[test]
#[ignore = "the slow run"]
fn no_order_of_more_events_breaks_a_law() {
    for (budget, states) in LARGE.into_iter().zip([24_740_012, 3_998_972]) {
        holds(budget, states);
    }
}

fn holds(budget: Budget, states: usize) {
    let verdict = check(budget);
    assert_eq!(verdict.broken, [""; 0]);
    // Fewer would mean that something no longer happens.
    assert_eq!(verdict.states, states);

    let expected = whatever_can_happen();
    let missing: Vec<_> = expected.difference(&verdict.happened).collect();
    assert!(missing.is_empty(), "never happened: {missing:?}");
    let unforeseen: Vec<_> = verdict.happened.difference(&expected).collect();
    assert!(unforeseen.is_empty(), "should not have happened: {unforeseen:?}");
}

/// Who makes the change.
#[derive(Clone, Copy, PartialEq)]
enum By {
    Server,
    Editor,
    /// A worker that has no run.
    Idle,
    /// The worker that has the run.
    Owner,
    /// That worker, or the sweeper.
    OwnerOrSweeper,
}

#[rustfmt::skip]
const CHANGES: [(Change, By, &[Status]); 11] = [
    (Start,     By::Idle,           &[Starting]),
    (TakeOver,  By::Idle,           &[Processing]),
    (Progress,  By::Owner,          &[Processing]),
    (Succeed,   By::Owner,          &[Processing]),
    (CancelOwn, By::Owner,          &[Processing]),
    (Fail,      By::OwnerOrSweeper, &[Starting, Processing]),
    (Retry,     By::OwnerOrSweeper, &[Processing]),
    (Cancel,    By::Server,         &[Starting]),
    (Update,    By::Server,         &[Succeeded, Failed]),
    (Delete,    By::Server,         &[Succeeded, Failed, Cancelled]),
    (Edit,      By::Editor,         &[Starting, Processing, Succeeded, Failed, Cancelled]),
];

/// All of it, and nothing else, must have happened.
fn whatever_can_happen() -> HashSet<Happened> {
    let mut all = HashSet::from([Happened::Died]);
    for (change, by, statuses) in CHANGES {
        all.extend([Happened::Accepted(change), Happened::Gone(change), Happened::Found(change)]);
        all.insert(match by {
            By::Server | By::Editor => Happened::Unknown(change),
            By::Idle | By::Owner | By::OwnerOrSweeper => Happened::Dropped(change),
        });
        for (other, rival, others) in CHANGES {
            // There is one editor, one sweeper, and one owner of a run.
            let same = by == rival && matches!(by, By::Editor | By::Owner);
            if !same && statuses.iter().any(|status| others.contains(status)) {
                all.insert(Happened::Race { won: change, lost: other });
            }
        }
    }
    for &operation in Operation::ALL {
        for state in State::ALL {
            let possible = match operation {
                // A worker's run is checked first.
                Operation::Succeed => false,
                Operation::Start => state.status() == Processing,
                _ => true,
            };
            if let (true, Err(refused)) = (possible, state.apply(operation)) {
                all.insert(Happened::Refused(refused));
            }
        }
    }
    all
}

#[test]
fn each_precaution_is_needed() {
    let expected = [
        (Fault::CommitWithoutRevision, Law::NothingLost, 4),
        (Fault::RevisionRestoredOnRevert, Law::AnswersAreTrue, 9),
        (Fault::EditNotCounted, Law::NothingLost, 4),
        (Fault::ConflictIgnored, Law::OneWorker, 4),
        (Fault::StartWithoutCheck, Law::Fenced, 6),
        (Fault::EditWithoutCheck, Law::CompletedIsOver, 6),
        (Fault::FinishWithoutCheck, Law::Fenced, 6),
        (Fault::RunRestoredOnRevert, Law::Fenced, 10),
        (Fault::RetryInTheSameRun, Law::Fenced, 6),
        (Fault::TakeOverInTheSameRun, Law::OneWorker, 4),
        (Fault::StartUnsigned, Law::OneWorker, 5),
        (Fault::MessageByRevision, Law::StartingIsQueued, 2),
        (Fault::MessageAfterTheCommit, Law::StartingIsQueued, 4),
        (Fault::MessageAcknowledgedOnReceipt, Law::StartingIsQueued, 2),
        (Fault::FinishWithoutReload, Law::ResultIsKept, 5),
        (Fault::ConflictDropsTheResult, Law::ResultIsKept, 6),
        (Fault::UnknownTakenForNo, Law::AnswersAreTrue, 3),
        (Fault::UnknownTakenForYes, Law::AnswersAreTrue, 2),
        (Fault::UnknownTriedAgain, Law::CancelHolds, 10),
        (Fault::PreviousInTheMessage, Law::RevertIsExact, 6),
    ];
    assert_eq!(expected.map(|(fault, ..)| fault), Fault::ALL.map(|(fault, _)| fault));
    let page = include_str!("../../README.md");
    for ((fault, law, steps), (_, title)) in expected.into_iter().zip(Fault::ALL) {
        let found = shortest_violation(fault).unwrap_or_else(|| panic!("{title}: none"));
        let Violation { law: broken, story, .. } = found;
        assert_eq!((broken, story.len()), (law, steps), "{title}: {story:#?}");
        assert!(page.contains(&format!("### {title}\n")), "{title} is not told");
        for line in story {
            assert!(page.contains(&line), "{title} is told otherwise: {line}");
        }
    }
}
