//! Counts and times for `report.py`, which writes `benches/README.md`.

mod by_hand;
mod check;
mod counts;
mod machine;
mod payload;
mod peers;
mod times;

use std::{env, sync::Arc};

use task_lifecycle::Task;

use by_hand::Obvious;
use payload::Document;
use peers::{ByByte, Finny, Fsmentry, RustFsm, Smlang, Statig};

/// Calls a function for each payload; of `$Task` too, if one is named.
macro_rules! payloads {
    ($of:ident :: $call:ident $(<$Task:ident>)? ($($name:expr)?)) => {
        $of::$call::<$($Task<()>,)? ()>($($name,)? "`()`");
        $of::$call::<$($Task<u64>,)? u64>($($name,)? "`u64`");
        $of::$call::<$($Task<Document>,)? Document>($($name,)? "struct");
        $of::$call::<$($Task<Box<[u8; 500]>>,)? Box<[u8; 500]>>($($name,)? "`Box`");
        $of::$call::<$($Task<Arc<[u8; 500]>>,)? Arc<[u8; 500]>>($($name,)? "`Arc`");
    };
}

macro_rules! implementations {
    ($($name:literal $Task:ident)*) => {
        fn counts() {
            $(payloads!(counts::shapes<$Task>($name));)*
            payloads!(counts::drafts());
            counts::decisions();
            counts::stored();
        }

        fn times() {
            $(payloads!(times::bulk<$Task>($name));)*
            payloads!(times::growth());
            times::columns();
        }

        #[cfg_attr(test, test)]
        fn all_do_the_same_work() {
            check::all(&[$(check::play::<$Task<_>>),*]);
        }
    };
}

implementations! {
    "task-lifecycle" Task
    "by hand, a byte" ByByte
    "by hand, obvious" Obvious
    "finny" Finny
    "fsmentry" Fsmentry
    "rust-fsm" RustFsm
    "smlang" Smlang
    "statig" Statig
}

fn main() {
    match env::args().nth(1).as_deref() {
        Some("counts") => counts(),
        Some("times") => times(),
        _ => all_do_the_same_work(),
    }
}
