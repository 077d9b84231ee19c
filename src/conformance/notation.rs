//! A history as a line of text, with which it is played again.

use core::fmt;
use core::str::FromStr;
use std::vec::Vec;

use super::history::{Act, Ask, Event, History};

impl fmt::Display for History {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.watched { "watched" } else { "unwatched" })?;
        self.events
            .iter()
            .try_for_each(|event| write!(f, " {event}"))
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Act(act) => write!(f, "{act}"),
            Self::Repeat(client) => write!(f, "repeat:{client}"),
            Self::Crowd(count) => write!(f, "crowd:{count}"),
            Self::Stranger(act) => write!(f, "stranger:{act}"),
            Self::Reopen => f.write_str("reopen"),
            Self::Race {
                acts: [first, second],
                waits,
                one_handle,
            } => {
                let how = if *one_handle { "race1" } else { "race" };
                write!(f, "{how}:{waits}:{first}:{second}")
            }
            Self::GiveUp { act, waits } => write!(f, "giveup:{waits}:{act}"),
        }
    }
}

impl fmt::Display for Act {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.", self.client, self.task)?;
        match &self.ask {
            Ask::Load => f.write_str("load"),
            Ask::Create(text) => write!(f, "create.{text}"),
            Ask::CreateAs(text) => write!(f, "createas.{text}"),
            Ask::Leap(edge) => write!(f, "leap.{edge}"),
            Ask::Delete => f.write_str("delete"),
            Ask::Commit(changes) => {
                f.write_str("commit")?;
                changes
                    .iter()
                    .try_for_each(|(which, text)| write!(f, ".{which}.{text}"))
            }
        }
    }
}

/// The text is not one that the suite wrote.
#[derive(Debug)]
pub(super) struct NotAHistory;

fn number(text: &str) -> Result<u8, NotAHistory> {
    text.parse().map_err(|_| NotAHistory)
}

impl FromStr for History {
    type Err = NotAHistory;

    fn from_str(text: &str) -> Result<Self, NotAHistory> {
        let mut words = text.split_whitespace();
        let watched = match words.next() {
            Some("watched") => true,
            Some("unwatched") => false,
            _ => return Err(NotAHistory),
        };
        let events = words.map(str::parse).collect::<Result<_, _>>()?;
        Ok(Self { events, watched })
    }
}

impl FromStr for Event {
    type Err = NotAHistory;

    fn from_str(text: &str) -> Result<Self, NotAHistory> {
        Ok(match text.split(':').collect::<Vec<_>>()[..] {
            ["repeat", client] => Self::Repeat(number(client)? % 2),
            ["crowd", count] => Self::Crowd(number(count)?),
            ["stranger", act] => Self::Stranger(act.parse()?),
            ["reopen"] => Self::Reopen,
            [how @ ("race" | "race1"), waits, first, second] => Self::Race {
                acts: [first.parse()?, second.parse()?],
                waits: number(waits)?,
                one_handle: how == "race1",
            },
            ["giveup", waits, act] => Self::GiveUp {
                act: act.parse()?,
                waits: number(waits)?,
            },
            [act] => Self::Act(act.parse()?),
            _ => return Err(NotAHistory),
        })
    }
}

impl FromStr for Act {
    type Err = NotAHistory;

    fn from_str(text: &str) -> Result<Self, NotAHistory> {
        let words: Vec<&str> = text.split('.').collect();
        let [client, task, name, numbers @ ..] = &words[..] else {
            return Err(NotAHistory);
        };
        let numbers = numbers
            .iter()
            .map(|text| number(text))
            .collect::<Result<Vec<_>, _>>()?;
        let ask = match (*name, &numbers[..]) {
            ("load", []) => Ask::Load,
            ("create", &[text]) => Ask::Create(text),
            ("createas", &[text]) => Ask::CreateAs(text),
            ("leap", &[edge]) => Ask::Leap(edge),
            ("delete", []) => Ask::Delete,
            ("commit", pairs) => Ask::Commit(
                pairs
                    .chunks_exact(2)
                    .map(|pair| (pair[0], pair[1]))
                    .collect(),
            ),
            _ => return Err(NotAHistory),
        };
        Ok(Self {
            client: number(client)? % 2,
            task: number(task)?,
            ask,
        })
    }
}
