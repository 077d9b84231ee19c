//! What the crate wants to reach, and whether it does.

use peers::machines::ours::Ours;
use peers::{Family, Kind};

use crate::cold::{OURS, TRIO};
use crate::count::{Cancels, OfPayload};
use crate::report::{Report, ratio, sum, triple};
use crate::stored::DOCUMENTS;
use crate::time::{BYTE, SIZES, STATE, Times};

#[derive(Default)]
pub struct Goal {
    pub what: String,
    /// What would do.
    pub least: String,
    pub measured: String,
    pub hand_written: String,
    pub peer: String,
    pub reached: bool,
}

/// One of the counts of an implementation.
type Figure = fn(&Cancels) -> u64;

pub fn all(report: &Report) -> Vec<Goal> {
    let mut goals = vec![decision(report)];
    goals.extend((1..SIZES.len()).map(|size| bulk_of_states(&report.bulk[0], size)));
    for (payload, goal) in report.counts.payloads.iter().zip([26, 40, 38]) {
        goals.push(cancels(payload, goal, "with the error", |row| {
            sum(&row.cancel)
        }));
        goals.push(cancels(payload, goal, "as a `bool`", |row| {
            sum(&row.cancel_bool)
        }));
    }
    for payload in &report.counts.payloads {
        goals.push(lifecycle(payload, "apart", |row| row.apart.own));
        goals.push(lifecycle(payload, "together", |row| row.together.own));
    }
    goals.extend(report.bulk.iter().map(bulk_of_tasks));
    goals.push(allocations(report));
    goals.extend(stored(report));
    goals.push(cold(report));
    goals
}

fn decision(report: &Report) -> Goal {
    let by_value = &report.counts.decisions[0];
    Goal {
        what: "instructions of `State::apply(Cancel)`".to_owned(),
        least: "6/6/6".to_owned(),
        measured: triple(&by_value.ours),
        hand_written: triple(&by_value.table),
        reached: by_value.ours.iter().all(|count| count.own <= 6),
        ..Goal::default()
    }
}

fn bulk_of_states(unit: &Times, size: usize) -> Goal {
    let (ours, byte) = (ns(unit, STATE, size), ns(unit, BYTE, size));
    let (name, peer) = best_time(unit, Kind::Peer, size);
    Goal {
        what: format!("bulk over {} `State`s, ns per task", SIZES[size]),
        least: "1.1 × the byte table (about 0.1 × the best peer)".to_owned(),
        measured: format!("{ours:.2}: {:.2} × ({:.2} ×)", ours / byte, ours / peer),
        hand_written: format!("{byte:.2}"),
        peer: format!("{peer:.2} ({name})"),
        reached: ours <= 1.1 * byte,
    }
}

fn cancels(payload: &OfPayload, goal: u64, shape: &str, figure: Figure) -> Goal {
    let ours = best_count(payload, figure, Kind::Ours).1;
    let (name, peer) = best_count(payload, figure, Kind::Peer);
    Goal {
        what: format!("instructions of three cancels, {}, {shape}", payload.name),
        least: goal.to_string(),
        measured: ours.to_string(),
        hand_written: best_count(payload, figure, Kind::Hand).1.to_string(),
        peer: format!("{peer} ({name})"),
        reached: ours <= goal,
    }
}

fn lifecycle(payload: &OfPayload, shape: &str, figure: Figure) -> Goal {
    let ours = best_count(payload, figure, Kind::Ours).1;
    let (name, peer) = best_count(payload, figure, Kind::Peer);
    let to_peer = ratio(ours, peer);
    Goal {
        what: format!("instructions of a lifecycle, {}, {shape}", payload.name),
        least: "1.15 × the best peer".to_owned(),
        measured: format!("{ours}: {to_peer:.2} ×"),
        hand_written: best_count(payload, figure, Kind::Hand).1.to_string(),
        peer: format!("{peer} ({name})"),
        reached: to_peer <= 1.15,
    }
}

fn bulk_of_tasks(times: &Times) -> Goal {
    let size = 1;
    let ours = ns(times, Ours::NAME, size);
    let (name, peer) = best_time(times, Kind::Peer, size);
    Goal {
        what: format!(
            "bulk over {} `Task`s, {}, ns per task",
            SIZES[size], times.payload
        ),
        least: "1 × the best peer".to_owned(),
        measured: format!("{ours:.2}: {:.2} ×", ours / peer),
        hand_written: format!("{:.2}", best_time(times, Kind::Hand, size).1),
        peer: format!("{peer:.2} ({name})"),
        reached: ours <= peer,
    }
}

fn allocations(report: &Report) -> Goal {
    let of_payload = |payload: &OfPayload| -> u64 {
        let ours = &payload.rows[0];
        [payload.recorded, ours.cancel, ours.cancel_bool]
            .iter()
            .flatten()
            .chain([&ours.apart, &ours.together])
            .map(|count| count.allocations)
            .sum()
    };
    let allocations: u64 = report.counts.payloads.iter().map(of_payload).sum();
    Goal {
        what: "allocations in all that is counted below".to_owned(),
        least: "0".to_owned(),
        measured: allocations.to_string(),
        reached: allocations == 0,
        ..Goal::default()
    }
}

fn stored(report: &Report) -> impl Iterator<Item = Goal> {
    report.counts.stored.iter().map(|row| {
        let most = if row.what.starts_with("read") {
            1.02
        } else {
            1.0
        };
        let measured = ratio(row.ours.total, row.plain.total);
        Goal {
            what: format!("{}, against a plain derive", row.what),
            least: format!("{most:.2} ×, no more allocations"),
            measured: format!("{measured:.3} ×"),
            // To two digits, like the goal.
            reached: measured < most + 0.005
                && row.ours.allocations / DOCUMENTS <= row.plain.allocations / DOCUMENTS,
            ..Goal::default()
        }
    })
}

fn cold(report: &Report) -> Goal {
    let measured = report.cold_of(OURS) / report.cold_of(TRIO);
    Goal {
        what: format!("cold build, against {TRIO}"),
        least: "1.10 ×".to_owned(),
        measured: format!("{measured:.2} ×"),
        reached: measured <= 1.1,
        ..Goal::default()
    }
}

/// The name of the best of a kind, and its figure.
fn best_count(payload: &OfPayload, figure: fn(&Cancels) -> u64, kind: Kind) -> (&'static str, u64) {
    let rows = payload.rows.iter().filter(|row| row.kind == kind);
    rows.map(|row| (row.name, figure(row)))
        .min_by_key(|row| row.1)
        .expect("one of each kind")
}

/// The same for a time. The bare decision carries no payload, so it does not compete.
pub fn best_time(times: &Times, kind: Kind, size: usize) -> (&'static str, f64) {
    let rows = times.rows.iter().filter(|row| row.kind == kind);
    rows.filter(|row| row.name != BYTE)
        .map(|row| (row.name, row.ns[size]))
        .min_by(|a, b| a.1.total_cmp(&b.1))
        .expect("one of each kind")
}

pub fn ns(times: &Times, name: &str, size: usize) -> f64 {
    let mut rows = times.rows.iter();
    rows.find(|row| row.name == name)
        .expect("it was measured")
        .ns[size]
}
