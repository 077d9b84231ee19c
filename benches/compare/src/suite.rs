//! All implementations, with all that is asked of them.

use std::sync::Arc;

use crate::bulk::{self, Sweep};
use crate::callgrind::{Count, Counter};
use crate::check::check;
use crate::machines::{byte, finny, fsmentry, obvious, rust_fsm, smlang, statig, tag, target};
use crate::payload::{Document, Payload};
use crate::probe::{self, SHAPES};
use crate::task::{Family, Kind, Ours};
use crate::wrapped::Wrap;

pub struct Implementation {
    pub name: &'static str,
    pub kind: Kind,
    pub check: fn() -> Result<(), String>,
    pub payloads: [OfPayload; 5],
}

pub struct OfPayload {
    pub name: &'static str,
    /// Of a task.
    pub size: usize,
    pub shapes: fn(&mut Counter) -> [Vec<Count>; SHAPES.len()],
    pub sweep: Sweep,
}

/// In the order of the report: the crate first.
pub fn all() -> Vec<Implementation> {
    vec![
        of::<Ours>(),
        of::<tag::Tag>(),
        of::<Wrap<target::Target>>(),
        of::<Wrap<byte::Byte>>(),
        of::<obvious::Obvious>(),
        of::<Wrap<finny::Frontend>>(),
        of::<Wrap<fsmentry::Machine>>(),
        of::<Wrap<rust_fsm::StateMachine>>(),
        of::<Wrap<smlang::Machine>>(),
        of::<Wrap<statig::Machine>>(),
    ]
}

fn of<F: Family>() -> Implementation {
    Implementation {
        name: F::NAME,
        kind: F::KIND,
        check: check::<F>,
        payloads: [
            with::<F, ()>(),
            with::<F, u64>(),
            with::<F, Document>(),
            with::<F, Box<[u8; 500]>>(),
            with::<F, Arc<[u8; 500]>>(),
        ],
    }
}

fn with<F: Family, T: Payload>() -> OfPayload {
    OfPayload {
        name: T::NAME,
        size: size_of::<F::Task<T>>(),
        shapes: probe::shapes::<F, T>,
        sweep: bulk::sweep::<F, T>,
    }
}

#[test]
fn all_do_the_same_work() {
    for implementation in all() {
        assert_eq!((implementation.check)(), Ok(()));
    }
}
