//! The events that happened at least once, so that no law holds because nothing happens.

use std::fmt::Write;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::change::Change;

texts! {
    /// The fate of a change.
    Fate {
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

const FATES: usize = Fate::ALL.len();

/// One bit a change, for each fate, and for each change that overtook it.
pub struct Happened([AtomicU32; FATES + Change::ALL.len()]);

impl Default for Happened {
    fn default() -> Self {
        Self([const { AtomicU32::new(0) }; FATES + Change::ALL.len()])
    }
}

impl Happened {
    pub(crate) fn note(&self, fate: Fate, change: Change) {
        self.set(fate as usize, 1 << change as u32);
    }

    /// Both had loaded the same revision.
    pub(crate) fn race(&self, won: Change, lost: Change) {
        self.set(FATES + won as usize, 1 << lost as u32);
    }

    fn set(&self, row: usize, bits: u32) {
        if self.0[row].load(Ordering::Relaxed) & bits != bits {
            self.0[row].fetch_or(bits, Ordering::Relaxed);
        }
    }

    /// Adds what happened elsewhere.
    pub(crate) fn add(&self, other: &Self) {
        other
            .0
            .iter()
            .enumerate()
            .for_each(|(row, bits)| self.set(row, bits.load(Ordering::Relaxed)));
    }

    /// Rows of a table of Markdown.
    pub(crate) fn rows(&self) -> String {
        let overtaken = |(change, _): &(Change, _)| format!("*{change:?}* was accepted first");
        let titles = Fate::ALL.iter().map(|&(_, title)| title.to_owned());
        let mut text = String::new();
        for (title, bits) in titles.chain(Change::ALL.iter().map(overtaken)).zip(&self.0) {
            let bits = bits.load(Ordering::Relaxed);
            let named = Change::ALL.iter().filter(|&&(change, _)| bits & (1 << change as u32) != 0);
            let named: Vec<String> = named.map(|(change, _)| format!("{change:?}")).collect();
            let _ = writeln!(text, "| {title} | {} |", named.join(", "));
        }
        text
    }
}
