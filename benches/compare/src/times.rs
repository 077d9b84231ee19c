//! Times, as ratios: the median over pairs of passes that are made in turns, so that a slow moment
//! of the machine hits both. Every pass has fresh items, in equal shares of all states, in a new
//! random order, so that no branch can be learned.

use std::hint::black_box;
use std::time::Instant;

use task_lifecycle::{Event, Operation, State, Task};

use crate::counts::{in_state, next};
use crate::machine::Machine;
use crate::payload::Payload;

/// Takes the states of the items to make, and gives the seconds for each.
type Pass = fn(&[usize]) -> f64;

/// Prints the second's time in the first's, with so many items.
fn ratio(key: &str, pairs: usize, size: usize, [first, second]: [Pass; 2]) {
    let mut random = fastrand::Rng::with_seed(1);
    let mut states: Vec<usize> = (0..9).cycle().take(size).collect();
    let mut pair = || {
        random.shuffle(&mut states);
        second(&states) / first(&states)
    };
    let mut ratios: Vec<f64> = (0..pairs).map(|_| pair()).collect();
    ratios.sort_by(f64::total_cmp);
    println!("{key}\t{}", ratios[pairs / 2]);
}

/// The items are made before, and dropped after.
#[inline(always)]
fn pass<I>(states: &[usize], make: impl Fn(usize) -> I, work: impl Fn(&mut I)) -> f64 {
    let mut items: Vec<I> = states.iter().map(|state| make(*state)).collect();
    let start = Instant::now();
    for item in black_box(&mut items[..]) {
        work(item);
    }
    let time = start.elapsed();
    black_box(&mut items);
    time.as_secs_f64() / states.len() as f64
}

/// Every item cancelled, or refused.
fn cancel<M: Machine<T>, T: Payload>(states: &[usize]) -> f64 {
    pass(states, in_state::<M, T>, |task| {
        let _ = task.apply(|| Event::Cancel);
    })
}

/// 10,000 tasks, against the crate's.
pub fn bulk<M: Machine<T>, T: Payload>(name: &str, payload: &str) {
    let passes: [Pass; 2] = [cancel::<Task<T>, T>, cancel::<M, T>];
    ratio(&format!("bulk\t{name}\t{payload}"), 201, 10_000, passes);
}

/// The time of each of many tasks, against each of as many in groups of a thousand: as long a time,
/// so that the rest of the machine takes as much of it.
pub fn growth<T: Payload>(payload: &str) {
    let groups: Pass = |states| {
        let times = states.chunks(1_000).map(cancel::<Task<T>, T>);
        times.sum::<f64>() / (states.len() / 1_000) as f64
    };
    for (size, pairs) in [(10_000, 101), (100_000, 21), (1_000_000, 5)] {
        let passes = [groups, cancel::<Task<T>, T>];
        ratio(&format!("growth\t{payload}\t{size}"), pairs, size, passes);
    }
}

#[inline(always)]
fn column(states: &[usize], work: impl Fn(&mut State)) -> f64 {
    pass(states, |it| State::ALL[it], work)
}

/// A column of a million states, or of bytes, against touching each byte.
pub fn columns() {
    let touch: Pass = |states| pass(states, |it| it as u8, |byte| *byte = byte.wrapping_add(1));
    let always: Pass = |states| {
        column(states, |state| {
            *state = state.apply(Operation::Cancel).ok().flatten().unwrap_or(*state);
        })
    };
    let branch: Pass = |states| {
        column(states, |state| {
            if let Ok(Some(next)) = state.apply(Operation::Cancel) {
                *state = next;
            }
        })
    };
    let table: Pass = |states| {
        let next = black_box(next());
        pass(states, |it| it as u8, |byte| *byte = next[usize::from(*byte)])
    };
    for (key, column) in [("always", always), ("branch", branch), ("table", table)] {
        ratio(&format!("column\t{key}"), 51, 1_000_000, [touch, column]);
    }
}
