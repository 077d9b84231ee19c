//! [`Status`] and [`Operation`] in serde: their word in every format, and nothing else.

use core::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::{Operation, Status};

macro_rules! word {
    ($Word:ident, $expected:literal) => {
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
                        f.write_str($expected)
                    }

                    fn visit_str<E: de::Error>(self, word: &str) -> Result<$Word, E> {
                        word.parse()
                            .map_err(|unknown| E::custom(format_args!("{unknown}, not `{word}`")))
                    }
                }

                deserializer.deserialize_str(Word)
            }
        }
    };
}

word!(Status, "the word of a status");
word!(Operation, "the word of an operation");
