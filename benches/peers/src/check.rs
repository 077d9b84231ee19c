//! The check that an implementation does what the contract says, before it is measured.

use std::cell::Cell;

use crate::payload::{Configuration, Document, Payload};
use crate::{Family, Machine, Status, Step};

const LENGTH: usize = 7;

const STEPS: [Step; 5] = [
    Step::Start,
    Step::Succeed,
    Step::Fail,
    Step::Update,
    Step::Cancel,
];

/// The contract, in the plainest encoding. The crate is one of the checked, so it is not used here.
#[derive(Clone, Copy)]
struct Contract {
    status: Status,
    payload: u64,
    previous: Option<(Status, u64)>,
}

impl Contract {
    /// Whether `step` is accepted; an update brings the payload `number`.
    fn take(&mut self, step: Step, number: u64) -> bool {
        match (step, self.status) {
            (Step::Start, Status::Starting) => self.status = Status::Processing,
            (Step::Succeed, Status::Processing) => {
                self.status = Status::Succeeded;
                self.previous = None;
            }
            (Step::Fail, Status::Processing) => self.give_up(Status::Failed),
            (Step::Cancel, Status::Starting) => self.give_up(Status::Cancelled),
            (Step::Update, Status::Succeeded | Status::Failed) => {
                self.previous = Some((self.status, self.payload));
                self.status = Status::Starting;
                self.payload = number;
            }
            _ => return false,
        }
        true
    }

    fn give_up(&mut self, end: Status) {
        match self.previous.take() {
            None => self.status = end,
            Some((status, payload)) => (self.status, self.payload) = (status, payload),
        }
    }
}

/// A payload that counts how many of it there are: one that is let go must be dropped at once.
#[derive(PartialEq)]
struct Counted(u64);

thread_local! {
    static ALIVE: Cell<usize> = const { Cell::new(0) };
}

impl Payload for Counted {
    const NAME: &'static str = "a counted payload";
    fn make(number: u64) -> Self {
        ALIVE.set(ALIVE.get() + 1);
        Self(number)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        ALIVE.set(ALIVE.get() - 1);
    }
}

/// All sequences of up to seven operations give the contract's answers, status and payload, and no
/// payload is kept for longer.
///
/// A `fail` in `Starting` is left out: the peers do not implement it.
///
/// # Errors
///
/// The implementation, the sequence and what it did.
pub fn check<F: Family>() -> Result<(), String> {
    check_payload::<F, Counted>()?;
    check_payload::<F, ()>()?;
    check_payload::<F, Document>()?;
    check_payload::<F, Configuration>()
}

fn check_payload<F: Family, T: Payload>() -> Result<(), String> {
    let contract = Contract {
        status: Status::Starting,
        payload: 0,
        previous: None,
    };
    extend::<F, T>(&mut Vec::with_capacity(LENGTH), contract)
}

/// Checks every sequence that begins with `steps`, which lead to `expected`.
fn extend<F: Family, T: Payload>(steps: &mut Vec<Step>, expected: Contract) -> Result<(), String> {
    if steps.len() == LENGTH {
        return Ok(());
    }
    for step in STEPS {
        if matches!((step, expected.status), (Step::Fail, Status::Starting)) {
            continue;
        }
        steps.push(step);
        let mut next = expected;
        let accepted = next.take(step, steps.len() as u64);
        let (did_accept, machine) = run::<F, T>(steps);
        let alive = ALIVE.get();
        if T::NAME == Counted::NAME && alive != 1 + usize::from(next.previous.is_some()) {
            return Err(format!(
                "{}: {steps:?}: {alive} payloads are alive",
                F::NAME
            ));
        }
        if did_accept != accepted
            || machine.status() != next.status
            || *machine.payload() != T::make(next.payload)
        {
            return Err(format!(
                "{} with {}: {steps:?}: accepted {did_accept}, not {accepted}; status {}, not {}; payload {}",
                F::NAME,
                T::NAME,
                machine.status(),
                next.status,
                if *machine.payload() == T::make(next.payload) {
                    "right"
                } else {
                    "wrong"
                },
            ));
        }
        drop(machine);
        extend::<F, T>(steps, next)?;
        steps.pop();
    }
    Ok(())
}

/// A new machine after `steps`, and whether it accepted the last one.
pub(crate) fn run<F: Family, T: Payload>(steps: &[Step]) -> (bool, F::Machine<T>) {
    let mut machine = F::Machine::<T>::new(T::make(0));
    let mut accepted = false;
    for (number, step) in (1..).zip(steps) {
        accepted = match step {
            Step::Start => machine.start(),
            Step::Succeed => machine.succeed(),
            Step::Fail => machine.fail(),
            Step::Update => machine.update(T::make(number)),
            Step::Cancel => machine.cancel().is_ok(),
        };
    }
    (accepted, machine)
}

#[cfg(test)]
mod tests {
    use super::check;

    #[test]
    fn every_implementation_gives_the_contracts_answers() {
        let answers = crate::for_every_implementation!(check());
        let wrong: Vec<_> = answers.into_iter().filter_map(Result::err).collect();
        assert!(wrong.is_empty(), "{wrong:#?}");
    }
}
