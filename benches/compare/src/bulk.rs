//! Nanoseconds of a bulk cancel. All implementations take turns, so that a slow moment of the
//! machine hits them alike, and the lower quartile of the passes counts.

use std::hint::black_box;
use std::time::Instant;

use task_lifecycle::{Event, Operation, State};

use crate::machines::byte;
use crate::payload::{Payload, in_state};
use crate::task::{Family, Machine};

pub const SIZES: [usize; 4] = [1_000, 10_000, 100_000, 1_000_000];
const PASSES: [usize; 4] = [501, 301, 31, 9];

/// Takes the states of the tasks to make, and gives nanoseconds per task.
pub type Sweep = fn(&[usize]) -> f64;
pub type Times = [f64; SIZES.len()];

/// The times of each sweep. All nine states in equal shares, in a fresh random order each pass, so
/// that no branch can be learned; the same for all.
pub fn quartiles(sweeps: &[Sweep]) -> Vec<Times> {
    let mut times = vec![Times::default(); sweeps.len()];
    let mut random = fastrand::Rng::with_seed(1);
    for (at, (size, passes)) in SIZES.into_iter().zip(PASSES).enumerate() {
        let mut states: Vec<usize> = (0..State::ALL.len()).cycle().take(size).collect();
        let mut samples = vec![Vec::with_capacity(passes); sweeps.len()];
        for _ in 0..passes {
            random.shuffle(&mut states);
            for (sweep, samples) in sweeps.iter().zip(&mut samples) {
                samples.push(sweep(&states));
            }
        }
        for (times, samples) in times.iter_mut().zip(&mut samples) {
            samples.sort_by(f64::total_cmp);
            times[at] = samples[passes / 4];
        }
    }
    times
}

pub fn sweep<F: Family, T: Payload>(states: &[usize]) -> f64 {
    per_item(states, in_state::<F, T>, |task| task.apply(Event::Cancel).is_ok())
}

/// The bare decision of the crate.
pub fn sweep_states(states: &[usize]) -> f64 {
    let cancel = |state: &mut State| {
        let answer = state.apply(Operation::Cancel);
        // Stored in any case, as the table does: a branch could not be foreseen.
        *state = if let Ok(Some(next)) = answer { next } else { *state };
        answer.is_ok()
    };
    per_item(states, |state| State::ALL[state], cancel)
}

/// The same by a byte and a table.
pub fn sweep_bytes(states: &[usize]) -> f64 {
    per_item(states, |state| byte::ALL[state], byte::Byte::cancel_in_place)
}

/// The time of `cancel` for each of the items, which are made before.
#[inline(always)]
fn per_item<M>(
    states: &[usize],
    make: impl Fn(usize) -> M,
    cancel: impl Fn(&mut M) -> bool,
) -> f64 {
    let mut items: Vec<M> = states.iter().map(|state| make(*state)).collect();
    let start = Instant::now();
    let mut accepted = 0;
    for item in black_box(&mut items[..]) {
        accepted += usize::from(cancel(item));
    }
    black_box(accepted);
    start.elapsed().as_nanos() as f64 / states.len() as f64
}
