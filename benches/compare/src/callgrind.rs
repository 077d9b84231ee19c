//! Instructions, counted by callgrind.
//!
//! The report starts itself again under callgrind, with `SUBJECT` in the environment. That run
//! makes every measured call once; callgrind counts inside functions named `measured_*` and writes
//! a profile after each. Both runs go through the same list of calls, so the profiles
//! are matched by order. (Not by name: the compiler folds equal functions into one.)

use std::hint::black_box;
use std::path::Path;
use std::process::Command;
use std::{env, fs, mem};

/// One measured call.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Count {
    /// Instructions of this program. What the C library does for an allocation, a release or a
    /// copy counts as the one call.
    pub own: u64,
    /// All instructions.
    pub total: u64,
    /// Calls of the allocator. Where there is one, callgrind adds those that the same function made
    /// before the measured call.
    pub allocations: u64,
}

/// The same calls of the crate and of what it is compared with.
#[derive(Debug)]
pub struct Pair {
    pub what: String,
    pub ours: Vec<Count>,
    pub other: Vec<Count>,
}

/// Gives the next count; in the run under callgrind, makes it.
pub struct Counter(Option<std::vec::IntoIter<Count>>);

impl Counter {
    /// The call goes through a pointer that the compiler does not know, as does what it gives: it
    /// can neither be left out nor be fitted to its argument.
    pub fn call<A, R>(&mut self, measured: fn(A) -> R, argument: A) -> Count {
        let Some(counts) = &mut self.0 else {
            black_box(black_box(measured)(black_box(argument)));
            end_of_profile();
            return Count::default();
        };
        counts.next().expect("a profile for each call")
    }
}

/// Callgrind writes a profile before it enters this.
#[inline(never)]
fn end_of_profile() {
    black_box(());
}

/// Counts what `all` calls, with a scratch directory; `None` in the run under callgrind.
pub fn count<C>(scratch: &Path, all: impl Fn(&mut Counter) -> C) -> Option<C> {
    if env::var_os("SUBJECT").is_some() {
        all(&mut Counter(None));
        return None;
    }
    let _ = fs::remove_dir_all(scratch); // it may not be there
    fs::create_dir_all(scratch).expect("a scratch directory");
    let status = Command::new("valgrind")
        .args(["--quiet", "--tool=callgrind", "--compress-strings=no"])
        .args(["--collect-atstart=no", "--toggle-collect=*measured_*"])
        // Not `--dump-after=*measured_*`: of two options for one function, the first counts.
        .arg("--dump-before=*end_of_profile*")
        .arg(format!("--callgrind-out-file={}/profile", scratch.display()))
        .arg(env::current_exe().expect("this program"))
        .env("SUBJECT", "1")
        .status()
        .expect("valgrind is installed");
    assert!(status.success(), "callgrind failed");

    let profiles =
        (1..).map_while(|part| fs::read_to_string(scratch.join(format!("profile.{part}"))).ok());
    let counts: Vec<Count> = profiles.map(|profile| parse(&profile)).collect();
    let mut counter = Counter(Some(counts.into_iter()));
    let counts = all(&mut counter);
    assert_eq!(counter.0.map(Iterator::count), Some(0), "more profiles than calls");
    Some(counts)
}

/// Sums the cost lines of a profile. A line after `calls=` repeats what the callee did.
fn parse(profile: &str) -> Count {
    const ALLOCATORS: [&str; 4] = ["malloc", "calloc", "realloc", "posix_memalign"];
    let mut count = Count::default();
    let (mut own, mut called, mut inclusive) = (true, "", false);
    for line in profile.lines() {
        if let Some(object) = line.strip_prefix("ob=") {
            own = !object.contains(".so");
        } else if let Some(name) = line.strip_prefix("cfn=") {
            called = name;
        } else if let Some(calls) = line.strip_prefix("calls=") {
            inclusive = true;
            let allocates = own && ALLOCATORS.contains(&called.trim_start_matches('_'));
            count.allocations += if allocates { number(calls, 0) } else { 0 };
        } else if line.starts_with(|first: char| "+-*0123456789".contains(first))
            && !mem::take(&mut inclusive)
        {
            count.total += number(line, 1);
            count.own += if own { number(line, 1) } else { 0 };
        }
    }
    count
}

fn number(line: &str, word: usize) -> u64 {
    line.split(' ').nth(word).map_or(0, |word| word.parse().expect("a number in the profile"))
}
