//! [`Status`] and [`Operation`] in serde: their word in every format, and nothing else.

use core::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::error::AnyOf;
use crate::{Operation, Status};

macro_rules! word {
    ($Word:ident) => {
        impl Serialize for $Word {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_str())
            }
        }

        impl<'de> Deserialize<'de> for $Word {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Word;

                impl de::Visitor<'_> for Word {
                    type Value = $Word;

                    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                        fmt::Display::fmt(&AnyOf($Word::ALL), f)
                    }

                    fn visit_str<E: de::Error>(self, word: &str) -> Result<$Word, E> {
                        word.parse().map_err(|unknown| {
                            E::custom(format_args!("{unknown}, not \"{}\"", Start(word)))
                        })
                    }
                }

                deserializer.deserialize_str(Word)
            }
        }
    };
}

word!(Status);
word!(Operation);

/// The first characters of a text that may be long or hostile, escaped.
struct Start<'a>(&'a str);

impl fmt::Display for Start<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const LENGTH: usize = 24;

        for character in self.0.chars().take(LENGTH) {
            write!(f, "{}", character.escape_debug())?;
        }
        if self.0.chars().nth(LENGTH).is_some() {
            f.write_str("…")?;
        }
        Ok(())
    }
}
