//! Draws histories until one shows a violation, and makes that one short.

use core::ops::AsyncFnMut;
use std::boxed::Box;
use std::env;
use std::hash::{BuildHasher as _, RandomState};
use std::string::ToString;
use std::time::{Duration, Instant};

use proptest::test_runner::{Config, RngSeed};

use super::call::{Answer, Request, ask};
use super::clock::Clock;
use super::draw::{Draw, Phase};
use super::flight::{alone, block_on};
use super::found::{Found, Outcome};
use super::history::History;
use super::play::{MOST_TASKS, Play};
use super::shrink::simpler;
use super::suite::{Suite, Waits};
use super::threads::{self, THREADS};
use super::{REPLAY, Report, Store, Violation};

/// How long a violation is made shorter.
const SHRINKING: Duration = Duration::from_secs(20);

/// For how many tasks threads race, at most, for each case.
const TASKS: u32 = 128;

/// Until when more races are played than were asked for.
const SOON: Duration = Duration::from_secs(5);

/// How many histories more are played after a violation that may be another law's doing.
const MORE: u32 = 100;

pub(super) async fn search<S: Store>(
    mut open: impl AsyncFnMut() -> S,
) -> Result<Report, Box<Violation>> {
    // Before anything is drawn, so that what keeps a store from being opened is not shrunk.
    let other = open().await;
    if let Ok(text) = env::var(REPLAY) {
        drop(other);
        return replay(open, &text).await;
    }
    let mut suite = Suite::new();
    suite.stranger = stranger(&other, &suite).await;
    drop(other);

    let Config {
        cases, rng_seed, ..
    } = Config::default();
    let seed = match rng_seed {
        RngSeed::Fixed(seed) => seed,
        RngSeed::Random => RandomState::new().hash_one(0),
    };
    let mut draw = Draw::new(seed);
    let began = Instant::now();
    for phase in Phase::ALL {
        let mut best: Option<(Box<Found>, History)> = None;
        let mut more = MORE;
        let mut played = 0;
        while played < plays(phase, cases, &suite.waits, began.elapsed()) {
            played += 1;
            let history = draw.history(phase, &suite.waits);
            let outcome = play(open().await, &history, &mut suite).await;
            if let Err(found) = outcome {
                if best.as_ref().is_none_or(|(best, _)| found.rank < best.rank) {
                    best = Some((found, history));
                }
            }
            if let Some((found, _)) = &best {
                more -= 1;
                if found.tells_all() || more == 0 {
                    break;
                }
            }
        }
        if let Some((found, history)) = best {
            suite.hurry();
            let mut violation = shorten(&mut open, &mut suite, found, history).await;
            violation.seed = Some(seed);
            return Err(violation);
        }
    }
    Ok(suite.report)
}

/// How many histories are played: more races, if there is something to hold a call at and it does
/// not take long.
fn plays(phase: Phase, cases: u32, waits: &Waits, time: Duration) -> u32 {
    match phase {
        Phase::Race if !waits.is_empty() && time < SOON => cases.saturating_mul(3),
        Phase::Race | Phase::Short | Phase::Long => cases,
    }
}

/// As `search` and `replay`, for a store that never waits: and then threads race.
pub(super) fn search_blocking<S: Store + Send>(
    mut open: impl FnMut() -> S,
    story: Option<&str>,
) -> Result<Report, Box<Violation>> {
    let asked = story
        .map(ToString::to_string)
        .or_else(|| env::var(REPLAY).ok());
    let mut report = match asked.as_deref() {
        None => block_on(search(async || open()))?,
        Some(THREADS) => Report::default(),
        Some(story) => return block_on(replay(async || open(), story)),
    };
    let handle = open();
    if let Some(another) = block_on(handle.another()) {
        let tasks = TASKS.saturating_mul(Config::default().cases);
        let (lost, found) = threads::race([handle, another], &Clock::new(), tasks);
        report.overlapped += lost;
        if let Some(violation) = found {
            return Err(Box::new(Violation {
                replay: THREADS.to_string(),
                ..violation
            }));
        }
    }
    Ok(report)
}

/// Plays the history that a violation told.
pub(super) async fn replay<S: Store>(
    mut open: impl AsyncFnMut() -> S,
    text: &str,
) -> Result<Report, Box<Violation>> {
    let history = text.parse::<History>().unwrap_or_else(|_| {
        panic!("not a history of this version of the suite: {text}");
    });
    let mut suite = Suite::new();
    suite.stranger = stranger(&open().await, &suite).await;
    let store = open().await;
    match play(store, &history, &mut suite).await {
        Ok(()) => Ok(suite.report),
        Err(found) => {
            let mut violation = found.violation;
            violation.replay = text.to_string();
            Err(Box::new(violation))
        }
    }
}

async fn play<S: Store>(store: S, history: &History, suite: &mut Suite<S>) -> Outcome {
    Play::new(store, suite, history.watched).all(history).await
}

/// The name of a task that is in no other store: others have fewer, and those that are given up.
async fn stranger<S: Store>(store: &S, suite: &Suite<S>) -> Option<S::Id> {
    let mut last = None;
    for _ in 0..3 * MOST_TASKS {
        let request = Request::Create(Suite::<S>::strange_task());
        let call = ask(store, &request);
        match alone(&suite.clock, call, suite.patience).await.answer() {
            Ok(Answer::Created(id)) => last = Some(id),
            _ => return None, // it will be told as a story
        }
    }
    last
}

/// Leaves out and simplifies what the violation does not need.
async fn shorten<S: Store>(
    open: &mut impl AsyncFnMut() -> S,
    suite: &mut Suite<S>,
    mut found: Box<Found>,
    mut history: History,
) -> Box<Violation> {
    let until = Instant::now() + SHRINKING;
    let report = suite.report;
    let mut simple = simpler(&history);
    while let Some(candidate) = simple.pop() {
        if Instant::now() > until {
            break;
        }
        let played = play(open().await, &candidate, suite).await;
        if let Some(again) = played.err().filter(|again| again.rank <= found.rank) {
            (found, history) = (again, candidate);
            simple = simpler(&history);
        }
    }
    suite.report = report;
    found.violation.replay = history.to_string();
    Box::new(found.violation)
}
