//! [`Revision`] and [`Run`]: two numbers that answer two questions, so neither passes for the other.

use core::fmt;
use core::num::ParseIntError;
use core::str::FromStr;

macro_rules! counter {
    ($(#[$attribute:meta])* $Counter:ident) => {
        $(#[$attribute])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
        #[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(transparent))]
        pub struct $Counter(u64);

        impl $Counter {
            /// Makes the counter from its number.
            #[must_use]
            #[inline]
            pub const fn new(number: u64) -> Self {
                Self(number)
            }

            /// Returns the number.
            #[must_use]
            #[inline]
            pub const fn get(self) -> u64 {
                self.0
            }

            /// Returns how many steps lead from `earlier` to this one, across the wrap.
            #[must_use]
            #[inline]
            pub const fn since(self, earlier: Self) -> u64 {
                self.0.wrapping_sub(earlier.0)
            }

            /// Returns whether this one is later than `other`: by 1 to 2⁶³ − 1 steps, across the
            /// wrap.
            #[must_use]
            #[inline]
            pub const fn is_after(self, other: Self) -> bool {
                matches!(self.since(other), 1..=0x7fff_ffff_ffff_ffff)
            }

            /// Returns the number for a signed 64-bit column, bit for bit: from 2⁶³ on it is
            /// negative. A column of floating point is exact only up to 2⁵³.
            #[must_use]
            #[inline]
            pub const fn to_i64(self) -> i64 {
                i64::from_ne_bytes(self.0.to_ne_bytes())
            }

            /// Reads the number of a signed 64-bit column, bit for bit.
            #[must_use]
            #[inline]
            pub const fn from_i64(column: i64) -> Self {
                Self(u64::from_ne_bytes(column.to_ne_bytes()))
            }

            /// At the end it wraps: a counter that stayed there would protect nothing.
            #[inline]
            pub(crate) const fn next(self) -> Self {
                // law: counted
                Self(self.0.wrapping_add(1))
            }
        }

        /// The number.
        impl fmt::Display for $Counter {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }

        /// Reads the number as `u64` does, a plus sign and leading zeros included.
        impl FromStr for $Counter {
            type Err = ParseIntError;

            fn from_str(text: &str) -> Result<Self, ParseIntError> {
                text.parse().map(Self)
            }
        }

        impl From<u64> for $Counter {
            fn from(number: u64) -> Self {
                Self(number)
            }
        }

        impl From<$Counter> for u64 {
            fn from(counter: $Counter) -> Self {
                counter.0
            }
        }
    };
}

counter! {
    /// Counts the changes that a task has accepted, operations and edits: what a commit compares
    /// and swaps, and what `ETag` and `If-Match` carry.
    ///
    /// 0 for a new task. A revert does not bring an old number back, so no two moments of a task
    /// share one (within 2⁶⁴ changes, after which it wraps; for that reason there is no order).
    /// With serde it is the number.
    ///
    /// ```
    /// use task_lifecycle::{Revision, Task};
    ///
    /// let mut task = Task::new("payload");
    /// let seen = task.revision();
    /// task.edit(|payload| *payload = "changed");
    /// assert!(task.revision().is_after(seen) && !seen.is_after(task.revision()));
    ///
    /// let last = Revision::new(u64::MAX);
    /// assert_eq!(Revision::new(1).since(last), 2);
    /// assert_eq!((last.to_i64(), Revision::from_i64(-1)), (-1, last));
    /// assert!("-1".parse::<Revision>().is_err());
    /// ```
    #[doc(alias("version", "etag", "compare-and-swap"))]
    Revision
}

counter! {
    /// Counts how often a task was queued again: what a message carries and a worker holds, from
    /// the message to the result. It is the fencing token of the queue.
    ///
    /// 0 for a new task; [`update`](crate::Task::update) and [`retry`](crate::Task::retry) add
    /// one, nothing else touches it. A revert does not bring an old number back. It wraps after
    /// 2⁶⁴, and for that reason there is no order. With serde it is the number.
    ///
    /// A revision does not pass for a run:
    ///
    /// ```compile_fail,E0308
    /// # let task = task_lifecycle::Task::new("payload");
    /// let _ = task.check_run(task.revision());
    /// ```
    ///
    /// ```
    /// use task_lifecycle::{Run, Task};
    ///
    /// let mut task = Task::new("payload");
    /// let message = task.run();
    /// task.start()?;
    /// task.retry()?;
    /// assert_eq!((task.run(), task.run().since(message)), (Run::new(1), 1));
    /// assert!(task.check_run(message).is_err(), "another run has taken its place");
    /// # Ok::<(), task_lifecycle::TransitionError>(())
    /// ```
    #[doc(alias("fencing token", "token", "attempt", "generation"))]
    Run
}
