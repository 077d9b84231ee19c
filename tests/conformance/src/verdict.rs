use core::fmt;

/// A promise of a store.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[non_exhaustive]
pub enum Law {
    /// A stored task is loaded whole: status, revision, run, payload and previous state.
    StoredWhole,
    /// A commit or delete at the stored revision is accepted, and so is a new task under a free
    /// name.
    CurrentIsAccepted,
    /// A commit at another revision is refused.
    StaleIsRefused,
    /// A delete at another revision is refused.
    StaleDeleteIsRefused,
    /// A refused call changes nothing.
    RefusalWritesNothing,
    /// A deleted task is gone: it is not loaded, not committed to, and nothing takes its name.
    DeletedIsGone,
    /// A change of one task leaves the others as they are.
    OthersAreUntouched,
    /// Every client sees each accepted change at once.
    SeenByAll,
    /// After a crash everything accepted is there.
    SurvivesCrash,
    /// A task that is not there is an answer and no error.
    AbsenceIsNoError,
    /// Nothing else is an error either, panics, or does not end.
    NoError,
    /// Of two commits or deletes from one revision, one is refused.
    OneWins,
    /// A task that is seen was committed: no half of it, and nothing that was refused.
    SeenWhole,
    /// No client is shown less than it was answered.
    NeverOlder,
    /// A new task under a name that is taken is refused.
    TakenIsRefused,
    /// A rule for the check and not for the store: calls overlapped, or the laws above were not
    /// tried where they are broken most.
    CallsOverlap,
}

/// The shortest story that was found in which a store breaks a law.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Violation {
    /// The law.
    pub law: Law,
    /// The events and their answers, a line each.
    pub story: Vec<String>,
    /// The answer that the law asks for.
    pub expected: String,
    /// The answer of the store.
    pub seen: String,
    /// The digits that play the story again, for the environment variable `TASK_LIFECYCLE_REPLAY`.
    /// `None` if it broke no law when it was played again.
    pub replay: Option<String>,
    /// The seed that drew the story, for the environment variable `TASK_LIFECYCLE_SEED`.
    pub seed: Option<u64>,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { law, story, expected, seen, replay, seed } = self;
        if *law == Law::CallsOverlap {
            return write!(f, "the check shows little, for no calls overlapped: {seen}");
        }
        writeln!(f, "the store breaks the law {law:?}:")?;
        for (number, line) in story.iter().enumerate() {
            writeln!(f, "{:>3}. {line}", number + 1)?;
        }
        writeln!(f, "expected: {expected}")?;
        writeln!(f, "seen:     {seen}")?;
        match (replay, seed) {
            (Some(replay), _) => write!(f, "to play it again: TASK_LIFECYCLE_REPLAY={replay}")?,
            (None, Some(_)) => write!(f, "(it did not happen again when it was played again)")?,
            (None, None) => write!(f, "(threads raced, so it cannot be played again)")?,
        }
        if let Some(seed) = seed {
            write!(f, "\ndrawn by:         TASK_LIFECYCLE_SEED={seed}")?;
        }
        Ok(())
    }
}

impl core::error::Error for Violation {}

/// Counts of what the histories came across: a check that reached nothing would prove nothing.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
#[non_exhaustive]
pub struct Report {
    /// Histories that were played.
    pub histories: u32,
    /// Commits that were accepted.
    pub commits: u32,
    /// Commits and deletes that were refused.
    pub refused: u32,
    /// Deletes that were accepted.
    pub deletes: u32,
    /// Times that the store was reopened.
    pub reopened: u32,
    /// Handles that a store had: 1, or 2 if [`Store::another`](crate::Store::another) makes one.
    pub handles: u32,
    /// Calls that were in flight together with another.
    pub overlapped: u32,
    /// Calls that were given up in the middle.
    pub given_up: u32,
}
