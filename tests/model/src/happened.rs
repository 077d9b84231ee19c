//! What was seen to happen at least once, so that no law holds because nothing happens.

use std::sync::atomic::{AtomicU32, Ordering};

use crate::change::Change;

/// What became of a change.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fate {
    Accepted,
    Conflict,
    Refused,
    OtherRevision,
    NoTask,
    RunIsOver,
    Ahead,
    LoadedBehind,
    LeftToOthers,
    Unanswered,
    Late,
    Made,
    Open,
    Lost,
    Unknown,
    OwnMark,
    MakerDied,
}

impl Fate {
    #[rustfmt::skip]
    pub const ALL: [(Self, &'static str); 17] = [
        (Self::Accepted, "accepted"),
        (Self::Conflict, "changed no row"),
        (Self::Refused, "refused by the task"),
        (Self::OtherRevision, "refused, for the task is not at the revision that was named"),
        (Self::NoTask, "no task was there"),
        (Self::RunIsOver, "the run was over"),
        (Self::Ahead, "the run was ahead of a current load"),
        (Self::LoadedBehind, "the load was behind, and it showed"),
        (Self::LeftToOthers, "left to whom it belongs"),
        (Self::Unanswered, "committed without an answer"),
        (Self::Late, "accepted after its maker had asked, or gone"),
        (Self::Made, "`Outcome::Made`"),
        (Self::Open, "`Outcome::Open`"),
        (Self::Lost, "`Outcome::Lost`"),
        (Self::Unknown, "`Outcome::Unknown`"),
        (Self::OwnMark, "`Outcome::Unknown`, and the worker's mark was there"),
        (Self::MakerDied, "its maker died over it"),
    ];
}

/// One bit a change, for each fate, and for each change that overtook it.
#[derive(Default)]
pub struct Happened {
    fates: [AtomicU32; Fate::ALL.len()],
    races: [AtomicU32; Change::ALL.len()],
}

fn set(bits: &AtomicU32, change: Change) {
    let bit = 1 << change as u32;
    if bits.load(Ordering::Relaxed) & bit == 0 {
        bits.fetch_or(bit, Ordering::Relaxed);
    }
}

impl Happened {
    pub fn note(&self, fate: Fate, change: Change) {
        set(&self.fates[fate as usize], change);
    }

    /// Both had loaded the same revision.
    pub fn race(&self, won: Change, lost: Change) {
        set(&self.races[won as usize], lost);
    }

    /// Adds what happened elsewhere.
    pub fn add(&self, other: &Self) {
        let all = self.fates.iter().chain(&self.races).zip(other.fates.iter().chain(&other.races));
        for (mine, others) in all {
            mine.fetch_or(others.load(Ordering::Relaxed), Ordering::Relaxed);
        }
    }

    /// As two tables of Markdown.
    pub fn tables(&self) -> String {
        let name = |change: Change| format!("{change:?}");
        let list = |bits: &AtomicU32| {
            let bits = bits.load(Ordering::Relaxed);
            let named =
                Change::ALL.into_iter().filter(|&(change, _)| bits & (1 << change as u32) != 0);
            named.map(|(change, _)| name(change)).collect::<Vec<_>>().join(", ")
        };
        let mut text = "| what became of a change | changes |\n|---|---|\n".to_owned();
        for ((_, title), bits) in Fate::ALL.into_iter().zip(&self.fates) {
            text += &format!("| {title} | {} |\n", list(bits));
        }
        text += "\n| accepted first | while these were about to be committed |\n|---|---|\n";
        for ((change, _), bits) in Change::ALL.into_iter().zip(&self.races) {
            text += &format!("| {} | {} |\n", name(change), list(bits));
        }
        text
    }
}
