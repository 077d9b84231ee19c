//! The page `STORIES.md`: what happened, and the shortest ways to a broken law.

use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;

use crate::change::Change;
use crate::laws::{Fault, Law};
use crate::{LARGE, SMALL, count, visit};

table! {
    /// The fate of a change.
    Fate: &'static str {
        Accepted: "accepted",
        Conflict: "changed no row",
        Refused: "refused by the task",
        OtherRevision: "refused, for the task is not at the revision that was named",
        NoTask: "no task was there",
        RunIsOver: "the run was over",
        Ahead: "the run was ahead of a current load",
        LoadedBehind: "the load was behind, and it showed",
        LeftToOthers: "left to whom it belongs",
        Unanswered: "committed without an answer",
        Late: "accepted after its maker had looked, or was gone",
        Made: "`Outcome::Made`",
        Open: "`Outcome::Open`",
        Lost: "`Outcome::Lost`",
        Unknown: "`Outcome::Unknown`",
        OwnMark: "`Outcome::Unknown`, and the worker's mark was there",
        MakerDied: "its maker died over it",
    }
}

/// One bit a change, for each fate, and for each change that overtook it: no law holds because
/// nothing happens.
static HAPPENED: [[AtomicU32; Change::ALL.len()]; 2] =
    [const { [const { AtomicU32::new(0) }; Change::ALL.len()] }; 2];

pub fn note(fate: Fate, change: Change) {
    HAPPENED[0][fate as usize].fetch_or(1 << change as u32, Ordering::Relaxed);
}

/// Both had loaded the same revision.
pub fn note_race(won: Change, lost: Change) {
    HAPPENED[1][won as usize].fetch_or(1 << lost as u32, Ordering::Relaxed);
}

fn happened() -> String {
    let fates = Fate::ALL.iter().map(|fate| fate.row().to_owned());
    let races = Change::ALL.iter().map(|won| format!("*{won:?}* was accepted first"));
    let rows = fates.chain(races).zip(HAPPENED.as_flattened()).map(|(title, bits)| {
        let bits = bits.load(Ordering::Relaxed);
        let noted = Change::ALL.iter().filter(|&&change| bits & (1 << change as u32) != 0);
        let noted: Vec<String> = noted.map(|change| format!("{change:?}")).collect();
        format!("| {title} | {} |\n", noted.join(", "))
    });
    rows.collect()
}

/// Visits, and writes the page.
pub fn page() -> String {
    let is_broken = |law: &Law| Fault::ALL.iter().any(|fault| fault.row().0 == *law);
    assert!(Law::ALL.iter().all(is_broken), "a law that no fault breaks");
    let small = SMALL.map(|budget| (budget, count(budget), "`cargo test`"));
    assert!(small.iter().map(|it| it.1).sum::<usize>() >= 1_000_000, "{small:?}");
    let happened = happened();
    let story = |fault: &Fault| {
        let (_, budget, title) = fault.row();
        let story = visit(budget, Some(*fault)).expect_err(title);
        format!("\n### {fault:?}\n\n{title}\n\n{story}")
    };
    let (first, second) = Fault::ALL.split_at(Fault::ALL.len() / 2);
    let faults = thread::scope(|scope| {
        let first = scope.spawn(|| first.iter().map(story).collect::<String>());
        let second: String = second.iter().map(story).collect();
        first.join().expect("stories") + &second
    });
    let large = LARGE.into_iter().map(|(budget, states)| (budget, states, "`--large`"));
    let budgets = small.into_iter().chain(large).map(|([changes, losses, behind], states, by)| {
        format!("- {changes}, {losses}, {behind}: {states} states, by {by}\n")
    });
    let laws = Law::ALL.iter().map(|law| format!("- **{law:?}**: {}.\n", law.row()));
    let changes = Change::ALL.iter().map(|change| format!("- *{change:?}*: {}\n", change.row().0));
    include_str!("stories.md")
        .replace("{budgets}", &budgets.collect::<String>())
        .replace("{laws}", &laws.collect::<String>())
        .replace("{changes}", &changes.collect::<String>())
        .replace("{happened}", &happened)
        .replace("{faults}\n", &faults)
}
