//! Tasks as text, for stories.

use core::fmt::{self, Write as _};
use std::format;
use std::string::String;
use std::vec::Vec;

use crate::Task;

/// A task in a line.
pub(super) fn show<T: fmt::Debug>(task: Option<&Task<T>>) -> String {
    let Some(task) = task else {
        return "none".into();
    };
    let mut line = format!(
        "{}, revision {}, run {}, payload {}",
        task.status(),
        task.revision(),
        task.run(),
        short(task.payload())
    );
    if let Some(previous) = task.previous() {
        let payload = short(previous.payload);
        let _ = write!(line, ", previous {} with {payload}", previous.status);
    }
    line
}

/// What is expected and what was seen, as far as they differ.
pub(super) fn difference<T: fmt::Debug + PartialEq>(
    expected: Option<&Task<T>>,
    seen: Option<&Task<T>>,
) -> (String, String) {
    let (Some(left), Some(right)) = (expected, seen) else {
        return (show(expected), show(seen));
    };
    let mut parts = Vec::new();
    let mut part = |name: &str, left: String, right: String, differ: bool| {
        if differ {
            let (left, right) = around_first_difference(&left, &right);
            parts.push((format!("{name} {left}"), format!("{name} {right}")));
        }
    };
    let plain = |name, left: &dyn fmt::Display, right: &dyn fmt::Display| {
        (name, format!("{left}"), format!("{right}"))
    };
    for (name, left, right) in [
        plain("status", &left.status(), &right.status()),
        plain("revision", &left.revision(), &right.revision()),
        plain("run", &left.run(), &right.run()),
    ] {
        let differ = left != right;
        part(name, left, right, differ);
    }
    let text = |payload: &T| format!("{payload:?}");
    let differ = left.payload() != right.payload();
    part(
        "payload",
        text(left.payload()),
        text(right.payload()),
        differ,
    );
    match (left.previous(), right.previous()) {
        (Some(left), Some(right)) => {
            let (old, new) = (left.status, right.status);
            part(
                "previous.status",
                format!("{old}"),
                format!("{new}"),
                old != new,
            );
            let differ = left.payload != right.payload;
            part(
                "previous.payload",
                text(left.payload),
                text(right.payload),
                differ,
            );
        }
        (left, right) => {
            let text = |previous: Option<crate::Previous<&T>>| match previous {
                None => "none".into(),
                Some(previous) => format!("{} with {}", previous.status, short(previous.payload)),
            };
            let differ = left.is_some() != right.is_some();
            part("previous", text(left), text(right), differ);
        }
    }
    let join = |texts: Vec<String>| texts.join(", ");
    let (left, right) = parts.into_iter().unzip();
    (join(left), join(right))
}

/// Both texts from shortly before where they part to shortly after.
fn around_first_difference(left: &str, right: &str) -> (String, String) {
    const BEFORE: usize = 24;
    const AFTER: usize = 48;
    let same = left
        .chars()
        .zip(right.chars())
        .take_while(|(left, right)| left == right)
        .count();
    let cut = |text: &str| {
        let letters = text.chars().count();
        let from = if same > BEFORE + 8 { same - BEFORE } else { 0 };
        let mut shown: String = text.chars().skip(from).take(same - from + AFTER).collect();
        if from > 0 {
            shown.insert(0, '…');
        }
        if letters > same + AFTER {
            shown.push('…');
        }
        if from > 0 || letters > same + AFTER {
            let _ = write!(shown, " (letter {same} of {letters})");
        }
        shown
    };
    if left == right {
        let note = |text: &str| format!("{} (the same as text, and not by `==`)", cut(text));
        return (note(left), note(right));
    }
    (cut(left), cut(right))
}

/// The start of a value's text.
pub(super) fn short(value: &impl fmt::Debug) -> String {
    struct Short {
        text: String,
        room: usize,
    }

    impl fmt::Write for Short {
        fn write_str(&mut self, text: &str) -> fmt::Result {
            for letter in text.chars() {
                self.room = self.room.checked_sub(1).ok_or(fmt::Error)?;
                self.text.push(letter);
            }
            Ok(())
        }
    }

    let mut short = Short {
        text: String::new(),
        room: 60,
    };
    if write!(short, "{value:?}").is_err() {
        short.text.push('…');
    }
    short.text
}
