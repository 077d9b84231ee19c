//! The page `STORIES.md`: what happened, and the shortest ways to a broken law.

use std::fmt::Write;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::change::Change;
use crate::{Fault, LARGE, Law, SMALL, Story};

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
#[derive(Default)]
pub struct Happened([[AtomicU32; Change::ALL.len()]; 2]);

impl Happened {
    pub fn note(&self, fate: Fate, change: Change) {
        self.0[0][fate as usize].fetch_or(1 << change as u32, Ordering::Relaxed);
    }

    /// Both had loaded the same revision.
    pub fn race(&self, won: Change, lost: Change) {
        self.0[1][won as usize].fetch_or(1 << lost as u32, Ordering::Relaxed);
    }

    fn rows(&self) -> String {
        let fates = Fate::ALL.iter().map(|fate| fate.row().to_owned());
        let races = Change::ALL.iter().map(|won| format!("*{won:?}* was accepted first"));
        let mut text = String::new();
        for (title, bits) in fates.chain(races).zip(self.0.as_flattened()) {
            let bits = bits.load(Ordering::Relaxed);
            let noted = Change::ALL.iter().filter(|&&change| bits & (1 << change as u32) != 0);
            let noted: Vec<String> = noted.map(|change| format!("{change:?}")).collect();
            let _ = writeln!(text, "| {title} | {} |", noted.join(", "));
        }
        text
    }
}

/// Writes the page.
#[must_use]
pub fn page(states: [usize; SMALL.len()], happened: &Happened, stories: &[Story]) -> String {
    let small = SMALL.into_iter().zip(states).map(|row| (row, "`cargo test`"));
    let large = LARGE.into_iter().map(|row| (row, "`--large`"));
    let budgets = small.chain(large).map(|(([changes, losses, behind], states), by)| {
        format!("- {changes}, {losses}, {behind}: {states} states, by {by}\n")
    });
    let laws = Law::ALL.iter().map(|law| format!("- **{law:?}**: {}.\n", law.row()));
    let changes = Change::ALL.iter().map(|change| format!("- *{change:?}*: {}\n", change.row().0));
    let mut faults = String::new();
    for (fault, story) in Fault::ALL.iter().zip(stories) {
        let title = fault.row().2;
        let _ = writeln!(faults, "\n### {fault:?}\n\n{title}\n");
        for (number, step) in (1..).zip(story) {
            let _ = writeln!(faults, "{number}. {step}");
        }
    }
    include_str!("stories.md")
        .replace("{budgets}", &budgets.collect::<String>())
        .replace("{laws}", &laws.collect::<String>())
        .replace("{changes}", &changes.collect::<String>())
        .replace("{happened}", &happened.rows())
        .replace("{faults}\n", &faults)
}
