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
fn ratio(key: &str, pairs: usize, sizes: [usize; 2], [first, second]: [Pass; 2]) {
    let mut random = fastrand::Rng::with_seed(1);
    let mut states: Vec<usize> = (0..9).cycle().take(sizes[0].max(sizes[1])).collect();
    let mut pair = || {
        random.shuffle(&mut states);
        second(&states[..sizes[1]]) / first(&states[..sizes[0]])
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
    ratio(&format!("bulk\t{name}\t{payload}"), 201, [10_000; 2], passes);
}

/// The time of each of many tasks against each of a thousand: cancelled, and merely touched.
pub fn growth<T: Payload>(payload: &str) {
    let touch: Pass = |states| pass(states, in_state::<Task<T>, T>, |task| task.edit(|_| ()));
    for (size, pairs) in [(10_000, 101), (100_000, 21), (1_000_000, 5)] {
        for (what, pass) in [("cancel", cancel::<Task<T>, T> as Pass), ("touch", touch)] {
            ratio(&format!("{what}\t{payload}\t{size}"), pairs, [1_000, size], [pass, pass]);
        }
    }
}

/// A column of a million states, or of bytes, against touching each byte.
pub fn columns() {
    let touch: Pass = |states| pass(states, |it| it as u8, |byte| *byte = byte.wrapping_add(1));
    let always: Pass = |states| {
        pass(
            states,
            |it| State::ALL[it],
            |state| {
                *state = state.apply(Operation::Cancel).ok().flatten().unwrap_or(*state);
            },
        )
    };
    let branch: Pass = |states| {
        pass(
            states,
            |it| State::ALL[it],
            |state| {
                if let Ok(Some(next)) = state.apply(Operation::Cancel) {
                    *state = next;
                }
            },
        )
    };
    let table: Pass = |states| {
        let next = black_box(next());
        pass(states, |it| it as u8, |byte| *byte = next[usize::from(*byte)])
    };
    for (key, column) in [("always", always), ("branch", branch), ("table", table)] {
        ratio(&format!("column\t{key}"), 51, [1_000_000; 2], [touch, column]);
    }
}
