//! Nanoseconds. All implementations take turns, so that a slow moment of the machine hits them
//! alike, and the median of the passes counts.

use std::hint::black_box;
use std::time::Instant;

use peers::machines::ours::Ours;
use peers::machines::table::Byte;
use peers::payload::Payload;
use peers::{
    Family, Kind, Machine, PROCESSING, STARTING, STARTING_AFTER_SUCCEEDED, STATES,
    for_every_implementation, in_state,
};
use task_lifecycle::{Operation, State};

pub const SIZES: [usize; 4] = [1_000, 10_000, 100_000, 1_000_000];
/// The bare decisions.
pub const STATE: &str = "`State::apply`";
pub const BYTE: &str = "hand-written byte table";
const PASSES: [usize; 4] = [1_001, 301, 41, 9];

/// One implementation in one series.
#[derive(Clone, Debug)]
pub struct Row {
    pub name: &'static str,
    pub kind: Kind,
    /// Nanoseconds per task, one for each size or case.
    pub ns: Vec<f64>,
}

/// The times of one payload.
#[derive(Debug)]
pub struct Times {
    pub payload: &'static str,
    pub rows: Vec<Row>,
}

/// Takes the states of the tasks to make, and gives nanoseconds per task.
struct Runner {
    name: &'static str,
    kind: Kind,
    run: fn(&[u8]) -> f64,
}

/// Cancels of 1000 tasks each: new, updating, refused; and as many lifecycles.
pub fn cases<T: Payload>() -> Times {
    let runners = for_every_implementation!(sweep_of::<_, T>());
    let mut cases = rows(&runners);
    for state in [STARTING, STARTING_AFTER_SUCCEEDED, PROCESSING] {
        add(&mut cases, medians(&runners, 301, |_| vec![state; 1_000]));
    }
    let runners = for_every_implementation!(lifecycle_of::<_, T>());
    add(
        &mut cases,
        medians(&runners, 301, |_| vec![STARTING; 1_000]),
    );
    Times {
        payload: T::NAME,
        rows: cases,
    }
}

/// Cancels of mixed lots, per size; last the bare decisions, for the payload `()`.
pub fn bulk<T: Payload>() -> Times {
    let mut runners = Vec::from(for_every_implementation!(sweep_of::<_, T>()));
    runners.insert(
        1,
        Runner {
            name: "— its record used",
            kind: Kind::Ours,
            run: sweep_recorded::<T>,
        },
    );
    if size_of::<T>() == 0 {
        runners.push(Runner {
            name: STATE,
            kind: Kind::Ours,
            run: sweep_states,
        });
        runners.push(Runner {
            name: BYTE,
            kind: Kind::Hand,
            run: sweep_bytes,
        });
    }
    let mut bulk = rows(&runners);
    for (size, passes) in SIZES.into_iter().zip(PASSES) {
        let mut states: Vec<u8> = (0..STATES).cycle().take(size).collect();
        let medians = medians(&runners, passes, |random| {
            random.shuffle(&mut states);
            states.clone()
        });
        add(&mut bulk, medians);
    }
    Times {
        payload: T::NAME,
        rows: bulk,
    }
}

fn rows(runners: &[Runner]) -> Vec<Row> {
    let row = |runner: &Runner| Row {
        name: runner.name,
        kind: runner.kind,
        ns: Vec::new(),
    };
    runners.iter().map(row).collect()
}

fn add(rows: &mut [Row], medians: Vec<f64>) {
    for (row, median) in rows.iter_mut().zip(medians) {
        row.ns.push(median);
    }
}

/// The median of each runner over passes, in each of which all of them get the same states.
fn medians(
    runners: &[Runner],
    passes: usize,
    mut states: impl FnMut(&mut Random) -> Vec<u8>,
) -> Vec<f64> {
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let mut samples = vec![Vec::with_capacity(passes); runners.len()];
    for _ in 0..passes {
        let states = states(&mut random);
        for (runner, samples) in runners.iter().zip(&mut samples) {
            samples.push((runner.run)(&states));
        }
    }
    samples.into_iter().map(median).collect()
}

fn median(mut samples: Vec<f64>) -> f64 {
    samples.sort_by(f64::total_cmp);
    samples[samples.len() / 2]
}

fn sweep_of<F: Family, T: Payload>() -> Runner {
    Runner {
        name: F::NAME,
        kind: F::KIND,
        run: sweep::<F, T>,
    }
}

fn sweep<F: Family, T: Payload>(states: &[u8]) -> f64 {
    let mut tasks: Vec<_> = states
        .iter()
        .map(|state| in_state::<F, T>(*state))
        .collect();
    per_task(tasks.len(), || {
        let mut accepted = 0;
        for task in black_box(&mut tasks[..]) {
            accepted += usize::from(task.cancel().is_ok());
        }
        accepted
    })
}

fn sweep_recorded<T: Payload>(states: &[u8]) -> f64 {
    let mut tasks: Vec<_> = states
        .iter()
        .map(|state| in_state::<Ours, T>(*state))
        .collect();
    per_task(tasks.len(), || {
        let mut accepted = 0;
        for task in black_box(&mut tasks[..]) {
            accepted += usize::from(black_box(task.cancel()).is_ok());
        }
        accepted
    })
}

fn sweep_states(states: &[u8]) -> f64 {
    let mut states: Vec<_> = states
        .iter()
        .map(|state| State::ALL[usize::from(*state)])
        .collect();
    per_task(states.len(), || {
        let mut accepted = 0;
        for state in black_box(&mut states[..]) {
            let answer = state.apply(Operation::Cancel);
            accepted += usize::from(answer.is_ok());
            *state = match answer {
                Ok(Some(next)) => next,
                _ => *state,
            };
        }
        accepted
    })
}

fn sweep_bytes(states: &[u8]) -> f64 {
    let mut bytes: Vec<_> = states
        .iter()
        .map(|state| Byte::ALL[usize::from(*state)])
        .collect();
    per_task(bytes.len(), || {
        let mut accepted = 0;
        for byte in black_box(&mut bytes[..]) {
            accepted += usize::from(byte.cancel());
        }
        accepted
    })
}

fn lifecycle_of<F: Family, T: Payload>() -> Runner {
    Runner {
        name: F::NAME,
        kind: F::KIND,
        run: lifecycles::<F, T>,
    }
}

/// Create, start, succeed, update, cancel; the payloads are made before. As in a server, nothing
/// is known of the task from one operation to the next.
fn lifecycles<F: Family, T: Payload>(states: &[u8]) -> f64 {
    let payloads: Vec<_> = states.iter().map(|_| (T::make(1), T::make(2))).collect();
    let mut tasks = Vec::with_capacity(payloads.len());
    per_task(payloads.len(), || {
        for (first, second) in payloads {
            let mut task = F::Machine::<T>::new(first);
            black_box(&mut task).start();
            black_box(&mut task).succeed();
            black_box(&mut task).update(second);
            let _ = black_box(&mut task).cancel();
            tasks.push(task);
        }
        tasks.len()
    })
}

/// The time of `work`, less that of reading the clock.
fn per_task(tasks: usize, work: impl FnOnce() -> usize) -> f64 {
    let start = Instant::now();
    let read = start.elapsed();
    let start = Instant::now();
    black_box(work());
    let elapsed = start.elapsed().saturating_sub(read);
    elapsed.as_nanos() as f64 / tasks as f64
}

/// The generator `SplitMix64`.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn shuffle(&mut self, items: &mut [u8]) {
        for at in (1..items.len()).rev() {
            let other = self.next() % (at as u64 + 1);
            items.swap(at, usize::try_from(other).expect("an index"));
        }
    }
}
