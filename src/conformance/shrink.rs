//! Simpler histories than one that shows a violation.

use std::vec::Vec;

use super::history::{Act, Ask, Event, History};

/// Those that are simpler by one step, the boldest last.
pub(super) fn simpler(history: &History) -> Vec<History> {
    let all = history.events.len();
    let sizes =
        core::iter::successors(Some(all), |size| Some(size / 2)).take_while(|&size| size > 0);
    let shorter = sizes.flat_map(move |size| {
        (0..=all - size).step_by(size).map(move |from| {
            let mut shorter = history.clone();
            shorter.events.drain(from..from + size);
            shorter
        })
    });
    let watched = (!history.watched).then(|| History {
        watched: true,
        ..history.clone()
    });
    let changed = history
        .events
        .iter()
        .enumerate()
        .flat_map(move |(at, event)| {
            simpler_event(event).into_iter().map(move |event| {
                let mut simpler = history.clone();
                simpler.events[at] = event;
                simpler
            })
        });
    let mut simpler: Vec<_> = shorter.chain(watched).chain(changed).collect();
    simpler.reverse();
    simpler
}

fn simpler_event(event: &Event) -> Vec<Event> {
    match event {
        Event::Act(act) => simpler_acts(act).into_iter().map(Event::Act).collect(),
        Event::Stranger(act) => {
            let client = (act.client > 0).then(|| Act {
                client: 0,
                ..act.clone()
            });
            client.into_iter().map(Event::Stranger).collect()
        }
        Event::Repeat(client) => (0..*client).map(Event::Repeat).collect(),
        Event::Crowd(count) => [count / 2, count - 1]
            .into_iter()
            .filter(|fewer| (1..*count).contains(fewer))
            .map(Event::Crowd)
            .collect(),
        Event::Reopen => Vec::new(),
        Event::GiveUp { act, waits } => {
            // To be done with it is simpler than to give it up.
            let whole = Event::Act(act.clone());
            let earlier = (1..*waits).map(|waits| Event::GiveUp {
                act: act.clone(),
                waits,
            });
            let acts = simpler_acts(act).into_iter();
            let acts = acts.map(|act| Event::GiveUp { act, waits: *waits });
            [whole].into_iter().chain(earlier).chain(acts).collect()
        }
        Event::Race {
            acts,
            waits,
            one_handle,
        } => {
            let race = |acts: [Act; 2], waits, one_handle| Event::Race {
                acts,
                waits,
                one_handle,
            };
            let [first, second] = acts;
            // After no wait they are made one after the other.
            let earlier = (0..*waits).map(|waits| race(acts.clone(), waits, *one_handle));
            let alone = acts.iter().cloned().map(Event::Act);
            let handles = one_handle.then(|| race(acts.clone(), *waits, false));
            let clients = (first.client > 0).then(|| {
                let [mut first, mut second] = acts.clone();
                (first.client, second.client) = (0, 1);
                race([first, second], *waits, *one_handle)
            });
            let tasks = (first.task > 0 || second.task > 0).then(|| {
                let [mut first, mut second] = acts.clone();
                let lower = first.task.min(second.task).max(1);
                first.task = first.task.saturating_sub(lower);
                second.task = second.task.saturating_sub(lower);
                race([first, second], *waits, *one_handle)
            });
            let firsts = simpler_asks(&first.ask).into_iter().map(|ask| {
                race(
                    [
                        Act {
                            ask,
                            ..first.clone()
                        },
                        second.clone(),
                    ],
                    *waits,
                    *one_handle,
                )
            });
            let seconds = simpler_asks(&second.ask).into_iter().map(|ask| {
                race(
                    [
                        first.clone(),
                        Act {
                            ask,
                            ..second.clone()
                        },
                    ],
                    *waits,
                    *one_handle,
                )
            });
            let simple = alone
                .chain(earlier)
                .chain(handles)
                .chain(clients)
                .chain(tasks);
            simple.chain(firsts).chain(seconds).collect()
        }
    }
}

fn simpler_acts(act: &Act) -> Vec<Act> {
    let client = (act.client > 0).then(|| Act {
        client: 0,
        ..act.clone()
    });
    let tasks = (0..act.task).map(|task| Act {
        task,
        ..act.clone()
    });
    let asks = simpler_asks(&act.ask)
        .into_iter()
        .map(|ask| Act { ask, ..act.clone() });
    client.into_iter().chain(tasks).chain(asks).collect()
}

fn simpler_asks(ask: &Ask) -> Vec<Ask> {
    match ask {
        Ask::Load | Ask::Delete => Vec::new(),
        Ask::Create(text) => lower(*text).map(Ask::Create).collect(),
        Ask::CreateAs(text) => lower(*text).map(Ask::CreateAs).collect(),
        Ask::Leap(edge) => (0..*edge).map(Ask::Leap).collect(),
        Ask::Commit(changes) => {
            let fewer = (0..changes.len()).filter(|_| changes.len() > 1).map(|at| {
                let mut fewer = changes.clone();
                fewer.remove(at);
                fewer
            });
            let other = changes.iter().enumerate().flat_map(|(at, &(which, text))| {
                let texts = lower(text).map(move |text| (which, text));
                let which = (0..which).map(move |which| (which, text));
                texts.chain(which).map(move |change| {
                    let mut other = changes.clone();
                    other[at] = change;
                    other
                })
            });
            fewer.chain(other).map(Ask::Commit).collect()
        }
    }
}

/// The plain text, for one that is not.
fn lower(text: u8) -> impl Iterator<Item = u8> {
    (text > 0).then_some(0).into_iter()
}
