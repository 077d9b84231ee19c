//! Looks for a history in which a store breaks a law, and makes it short.

use core::time::Duration;
use std::env;
use std::hash::{BuildHasher as _, RandomState};
use std::time::Instant;

use crate::drawn_histories::{MARATHONS, ROUNDS, draw};
use crate::history::History;
use crate::ledger::Breach;
use crate::player::{Found, Known, PATIENCE, play};
use crate::polling::{NO_ANSWER, block_on};
use crate::threads::{BlockOn, race};
use crate::{Law, Report, Store, Violation};

/// The environment variables.
const REPLAY: &str = "TASK_LIFECYCLE_REPLAY";
const SEED: &str = "TASK_LIFECYCLE_SEED";
const SECONDS: &str = "TASK_LIFECYCLE_SECONDS";

/// For how many seconds histories are played, if nothing else is asked for.
const TIME: u64 = 30;

/// The time for making a violation shorter.
const SHRINKING: Duration = Duration::from_secs(20);

/// The histories that are played, and the time, after a violation that may be another
/// law's doing.
const MORE: (u32, Duration) = (60, Duration::from_secs(5));

/// The calls without an answer that are taken for a busy machine's, if they cannot be repeated.
const SILENT: u32 = 2;

/// A violation with the history that showed it.
type Shown = (Found, History);

/// Plays histories, as many as there are or as there is time for.
pub(crate) async fn search<S: Store>(
    mut open: impl AsyncFnMut() -> S,
) -> Result<Report, Violation> {
    let seed = number(SEED).unwrap_or_else(|| RandomState::new().hash_one(0));
    let time = Duration::from_secs(number(SECONDS).unwrap_or(TIME));
    let mut known = Known::new(&mut open).await;
    if let Ok(text) = env::var(REPLAY) {
        let mut history = History::read(&text).unwrap_or_else(|| {
            panic!("{REPLAY} is not a history of this version of the suite: {text}");
        });
        let told = |found: Found| violation((found.breach, found.story), Some(text), None);
        play(open().await, &mut history, &mut known).await.map_err(told)?;
        return Ok(known.report);
    }
    let began = Instant::now();
    let mut best: Option<Shown> = None;
    // Until when more is looked for after that.
    let mut last = (u32::MAX, began + time);
    let (mut silent, mut round) = (0, 0);
    while round < last.0.min(ROUNDS) {
        if Instant::now() > last.1 {
            if round > MARATHONS || best.is_some() {
                break;
            }
            round = round.max(MARATHONS);
        }
        let mut history = draw(seed, round);
        round += 1;
        let Err(mut found) = play(open().await, &mut history, &mut known).await else { continue };
        if is_silent(&found) && silent < SILENT {
            silent += 1;
            found = match play(open().await, &mut history, &mut known).await {
                Ok(()) => continue,
                Err(again) => again,
            };
        }
        let tells_all = is_silent(&found) || found.breach.rank == 0;
        let more = if tells_all { 0 } else { MORE.0 };
        last = (last.0.min(round + more), last.1.min(Instant::now() + MORE.1));
        if best.as_ref().is_none_or(|(best, _)| found.breach.rank < best.breach.rank) {
            best = Some((found, history));
        }
    }
    let Some(shown) = best else { return Ok(known.report) };
    let shown = shorten(&mut open, &mut known, shown).await;
    Err(told(&mut open, &mut known, shown, seed).await)
}

/// Says that nothing overlapped, if so.
pub(crate) fn tried(report: Report, seen: &str) -> Result<Report, Violation> {
    // A replay is one history, in which none need to.
    if report.overlapped > 0 || env::var(REPLAY).is_ok() {
        return Ok(report);
    }
    let (expected, seen) = ("calls that overlap".into(), seen.into());
    let breach = Breach { law: Law::CallsOverlap, expected, seen, rank: 0 };
    Err(violation((breach, Vec::new()), None, None))
}

/// Plays histories on a store that never waits, and then races threads.
pub(crate) fn search_blocking<S: Store + Send>(
    mut open: impl FnMut() -> S,
) -> Result<Report, Violation> {
    let mut report = block_on(search(async || open()))?;
    if env::var(REPLAY).is_err() {
        report.overlapped += search_threads(open, &|future| block_on(future))?;
    }
    Ok(report)
}

/// Races threads. Returns how many calls overlapped.
pub(crate) fn search_threads<S: Store + Send>(
    mut open: impl FnMut() -> S,
    block_on: BlockOn<'_>,
) -> Result<u32, Violation> {
    let seen = "`Store::another` returned none, so there is no handle for a second thread";
    match race(open(), block_on) {
        Some(raced) => raced.map_err(|told| violation(told, None, None)),
        None => tried(Report::default(), seen).map(|report| report.overlapped),
    }
}

/// Leaves out and simplifies what the violation does not need.
async fn shorten<S: Store>(
    open: &mut impl AsyncFnMut() -> S,
    known: &mut Known<S>,
    (found, history): Shown,
) -> Shown {
    known.hurry();
    let until = Instant::now() + SHRINKING;
    let (mut best, mut shortest) = (found, history);
    // What was tried in vain is tried again only when all else was.
    let (mut tried, mut again) = (0, false);
    'simpler: loop {
        for (number, mut candidate) in shortest.clone().simpler().enumerate().skip(tried) {
            if Instant::now() > until {
                break 'simpler;
            }
            let played = play(open().await, &mut candidate, known).await;
            if let Some(found) = played.err().filter(|it| it.breach.rank <= best.breach.rank) {
                (best, shortest) = (found, candidate);
                (tried, again) = (number, true);
                continue 'simpler;
            }
        }
        if !again {
            break;
        }
        (tried, again) = (0, false);
    }
    known.patience = PATIENCE;
    (best, shortest)
}

/// Plays the story twice more, at full patience: what does not happen again is told without a line
/// that plays it.
async fn told<S: Store>(
    open: &mut impl AsyncFnMut() -> S,
    known: &mut Known<S>,
    (mut found, history): Shown,
    seed: u64,
) -> Violation {
    let mut replay = Some(history.to_string());
    for _ in 0..if is_silent(&found) { 1 } else { 2 } {
        match play(open().await, &mut history.clone(), known).await {
            Err(again) if again.breach.law == found.breach.law => found = again,
            Err(_) => {}
            Ok(()) => replay = None,
        }
    }
    violation((found.breach, found.story), replay, Some(seed))
}

fn is_silent(found: &Found) -> bool {
    found.breach.seen.starts_with(NO_ANSWER)
}

fn violation(
    (breach, story): (Breach, Vec<String>),
    replay: Option<String>,
    seed: Option<u64>,
) -> Violation {
    Violation { law: breach.law, story, expected: breach.expected, seen: breach.seen, replay, seed }
}

/// The number in an environment variable.
fn number(name: &str) -> Option<u64> {
    let text = env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name} is not a number: {text}")))
}
