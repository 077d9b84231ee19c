//! Looks for a history in which a store breaks a law, and makes it short.

use core::time::Duration;
use std::env;
use std::hash::{BuildHasher as _, RandomState};
use std::str::FromStr;
use std::time::Instant;

use crate::drawn_histories::{MARATHONS, ROUNDS, draw};
use crate::history::History;
use crate::player::{Found, Known, PATIENCE, play};
use crate::polling::block_on;
use crate::threads::{BlockOn, race};
use crate::{Law, Report, Store, Violation};

/// The environment variables.
const REPLAY: &str = "TASK_LIFECYCLE_REPLAY";
const SEED: &str = "TASK_LIFECYCLE_SEED";
const SECONDS: &str = "TASK_LIFECYCLE_SECONDS";

/// For how many seconds histories are played, if nothing else is asked for.
const TIME: u64 = 30;

/// How long a violation is made shorter.
const SHRINKING: Duration = Duration::from_secs(20);

/// How many histories more are played, and for how long, after a violation that may be another
/// law's doing.
const MORE: (u32, Duration) = (60, Duration::from_secs(5));

/// How many calls without an answer are taken for a busy machine's, if they cannot be repeated.
const SILENT: u32 = 2;

/// A violation with the history that showed it.
type Shown = (Box<Found>, History);

/// Plays histories, as many as there are or as there is time for.
pub(crate) async fn search<S: Store>(
    mut open: impl AsyncFnMut() -> S,
) -> Result<Report, Box<Violation>> {
    if let Ok(text) = env::var(REPLAY) {
        return replay(open, &text).await;
    }
    let seed = number(SEED).unwrap_or_else(|| RandomState::new().hash_one(0));
    let time = Duration::from_secs(number(SECONDS).unwrap_or(TIME));
    let mut known = Known::new(open().await).await;
    let began = Instant::now();
    let mut best: Option<(Shown, u32, Instant)> = None;
    let mut silent = 0;
    let mut round = 0;
    while round < ROUNDS {
        if began.elapsed() > time {
            if round > MARATHONS {
                break;
            }
            round = MARATHONS;
        }
        let mut history = draw(seed, round);
        round += 1;
        if let Err(mut found) = play(open().await, &mut history, &mut known).await {
            if found.is_silent && silent < SILENT {
                match play(open().await, &mut history, &mut known).await {
                    Ok(()) => {
                        silent += 1;
                        continue;
                    }
                    Err(again) => found = again,
                }
            }
            let is_better =
                |((best, _), ..): &(Shown, u32, Instant)| found.breach.rank < best.breach.rank;
            if best.as_ref().is_none_or(is_better) {
                let (until, time) =
                    best.map_or((round + MORE.0, Instant::now()), |(_, until, time)| (until, time));
                best = Some(((found, history), until, time));
            }
        }
        if let Some(((found, _), until, since)) = &best {
            let tells_all = found.is_silent || found.breach.rank == 0;
            if tells_all || round >= *until || since.elapsed() > MORE.1 {
                break;
            }
        }
    }
    let Some((shown, ..)) = best else {
        return Ok(known.report);
    };
    let shown = shorten(&mut open, &mut known, shown).await;
    Err(told(&mut open, &mut known, shown, seed).await)
}

/// Says that nothing overlapped, if so.
pub(crate) fn overlapped(report: Report, seen: &str) -> Result<Report, Box<Violation>> {
    // A replay is one history, in which none need to.
    if report.overlapped > 0 || env::var(REPLAY).is_ok() {
        return Ok(report);
    }
    Err(Box::new(Violation {
        law: Law::CallsOverlap,
        story: Vec::new(),
        expected: "calls that overlap".into(),
        seen: seen.into(),
        replay: None,
        seed: None,
    }))
}

/// Plays histories on a store that never waits, and then races threads.
pub(crate) fn search_blocking<S: Store + Send>(
    mut open: impl FnMut() -> S,
) -> Result<Report, Box<Violation>> {
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
) -> Result<u32, Box<Violation>> {
    let Some(raced) = race(open(), block_on) else {
        let seen = "`Store::another` returned none, so there is no handle for a second thread";
        return overlapped(Report::default(), seen).map(|report| report.overlapped);
    };
    let Some((breach, story)) = raced.found else {
        return Ok(raced.overlapped);
    };
    let (law, expected, seen) = (breach.law, breach.expected, breach.seen);
    Err(Box::new(Violation { law, story, expected, seen, replay: None, seed: None }))
}

/// Plays the history that a violation told.
async fn replay<S: Store>(
    mut open: impl AsyncFnMut() -> S,
    text: &str,
) -> Result<Report, Box<Violation>> {
    let mut history = History::from_str(text).unwrap_or_else(|_| {
        panic!("{REPLAY} is not a history of this version of the suite: {text}");
    });
    let mut known = Known::new(open().await).await;
    match play(open().await, &mut history, &mut known).await {
        Ok(()) => Ok(known.report),
        Err(found) => Err(violation(*found, Some(text.to_string()), None)),
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
) -> Box<Violation> {
    let mut replay = Some(history.to_string());
    for _ in 0..if found.is_silent { 1 } else { 2 } {
        match play(open().await, &mut history.clone(), known).await {
            Err(again) if again.breach.law == found.breach.law => found = again,
            _ => replay = None,
        }
    }
    violation(*found, replay, Some(seed))
}

fn violation(found: Found, replay: Option<String>, seed: Option<u64>) -> Box<Violation> {
    let Found { breach, story, .. } = found;
    let (law, expected, seen) = (breach.law, breach.expected, breach.seen);
    Box::new(Violation { law, story, expected, seen, replay, seed })
}

/// The number in an environment variable.
fn number(name: &str) -> Option<u64> {
    let text = env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name} is not a number: {text}")))
}
