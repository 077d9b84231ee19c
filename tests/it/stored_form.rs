//! The stored form, to the letter and in every kind of format; and what the example `cancel` says of
//! the tasks that come with it, and of lines that are none.

use std::collections::BTreeMap;
use std::fmt::{Debug, Display};
use std::str::FromStr;

use expect_test::expect_file;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Value as Tree, from_slice, from_str, to_string};
use task_lifecycle::{Draft, Event, Operation, Snapshot, State, Status, Task};

use crate::common::{counted, task_in_each_state};
use crate::fuzzed;

#[path = "../../examples/cancel.rs"]
#[allow(dead_code, reason = "its `main` is not run here")]
mod cancel;

trait Value: Serialize + DeserializeOwned + PartialEq + Debug + Clone {}
impl<T: Serialize + DeserializeOwned + PartialEq + Debug + Clone> Value for T {}

/// There and back, in each format.
fn comes_back<T: Value>(value: &T) {
    let bytes = postcard::to_allocvec(value).unwrap();
    let (postcard, rest) = postcard::take_from_bytes::<T>(&bytes).unwrap();
    assert!(rest.is_empty(), "postcard: {rest:?} is left");
    for (format, read) in [
        ("JSON", from_str(&to_string(value).unwrap()).unwrap()),
        ("a JSON value", serde_json::from_value(serde_json::to_value(value).unwrap()).unwrap()),
        ("postcard", postcard),
        ("CBOR", ciborium::from_reader(&cbor(value)[..]).unwrap()),
        ("fields counted", rmp_serde::from_slice(&rmp_serde::to_vec(value).unwrap()).unwrap()),
        ("fields named", rmp_serde::from_slice(&rmp_serde::to_vec_named(value).unwrap()).unwrap()),
    ] {
        assert_eq!(&read, value, "{format}");
    }
}

fn cbor<T: Serialize>(value: &T) -> Vec<u8> {
    let mut bytes = Vec::new();
    ciborium::into_writer(value, &mut bytes).unwrap();
    bytes
}

/// Alone, in a list, and in the middle of a row, where a field too few would shift what follows.
fn in_a_row<T: Clone>(value: &T) -> (T, Vec<T>, u8, T, bool) {
    (value.clone(), vec![value.clone(), value.clone()], 1, value.clone(), true)
}

/// A task in each state, its counters beyond one byte and at the end of their range.
fn tasks<T: Clone>(payload: &T, previous: &T) -> Vec<Task<T>> {
    let payloads = |number| if number == 0 { previous.clone() } else { payload.clone() };
    task_in_each_state(payloads).map(|task| counted(task, u64::MAX, 300)).collect()
}

#[test]
fn prop_stored_form() {
    #[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
    enum Nested {
        Unit,
        One(Option<u8>),
        Two(String, i64),
        Named { list: Vec<Nested>, unit: () },
    }
    fn payload<T: Value>(payload: &T, previous: &T) {
        for task in tasks(payload, previous) {
            assert_eq!(Task::try_from(Snapshot::from(task.clone())).as_ref(), Ok(&task));
            let borrowed = Task::try_from(Snapshot::from(&task)).unwrap().map(T::clone);
            assert_eq!(borrowed, task);
            let drafted = Draft::new(task.clone());
            assert_eq!(Snapshot::from(&drafted), Snapshot::from(&task));
            comes_back(&in_a_row(&task));
            comes_back(&Snapshot::from(task));
        }
        let event = |operation: &Operation| Event::new(*operation, payload.clone());
        Operation::ALL.iter().filter_map(event).for_each(|event| comes_back(&in_a_row(&event)));
    }

    payload(&(), &());
    payload(&None::<u8>, &Some(1));
    payload(&Some(2_u64), &None);
    payload(&String::new(), &"Größe\0\"'; DROP TABLE tasks; --🦀\u{202e}".repeat(99));
    payload(&vec![0_u8, 255], &vec![]);
    payload(&f64::MIN_POSITIVE, &-0.1);
    payload(&'🦀', &'\0');
    payload(&BTreeMap::from([("a".to_owned(), 1)]), &BTreeMap::new());
    payload(&Nested::Unit, &Nested::Two(String::new(), i64::MIN));
    let list = vec![Nested::Unit, Nested::One(None), Nested::One(Some(0))];
    payload(&Nested::Named { list, unit: () }, &Nested::One(None));
    payload(&tasks(&1_u8, &2), &vec![]);
}

/// A stored task of each state.
const STORED: [&str; 9] = [
    r#"{"status":"Starting","revision":0,"run":0,"payload":"p"}"#,
    r#"{"status":"Processing","revision":1,"run":0,"payload":"p"}"#,
    r#"{"status":"Succeeded","revision":2,"run":0,"payload":"p"}"#,
    r#"{"status":"Failed","revision":2,"run":0,"payload":"p"}"#,
    r#"{"status":"Cancelled","revision":1,"run":0,"payload":"p"}"#,
    r#"{"status":"Starting","revision":3,"run":1,"payload":"n","previous":{"status":"Succeeded","payload":"p"}}"#,
    r#"{"status":"Starting","revision":3,"run":1,"payload":"n","previous":{"status":"Failed","payload":"p"}}"#,
    r#"{"status":"Processing","revision":4,"run":1,"payload":"n","previous":{"status":"Succeeded","payload":"p"}}"#,
    r#"{"status":"Processing","revision":18446744073709551615,"run":18446744073709551615,"payload":"n","previous":{"status":"Failed","payload":"p"}}"#,
];

#[test]
fn every_state_is_read_and_written_to_the_letter() {
    assert_eq!(STORED.len(), State::ALL.len(), "a new state needs a text");
    for (text, &state) in STORED.iter().zip(State::ALL) {
        let (task, snapshot) = (from_str::<Task<&str>>(text), from_str::<Snapshot<&str>>(text));
        let (task, snapshot) = (task.unwrap(), snapshot.unwrap());
        assert_eq!((&to_string(&task).unwrap(), task.state()), (&(*text).to_owned(), state));
        assert_eq!((&*to_string(&snapshot).unwrap(), Snapshot::from(task)), (*text, snapshot));
    }
}

#[test]
fn other_texts_of_the_same_task() {
    for text in [
        r#"{"status":"Starting","revision":0,"run":0,"payload":"p","previous":null}"#,
        r#"{"payload":"p","previous":null,"run":0,"status":"Starting","revision":0}"#,
        r#"["Starting",0,0,"p"]"#,
        "\n{\"status\" : \"\\u0053tarting\", \"revision\":0, \"run\":0, \"payload\":\"p\"}\t",
    ] {
        assert_eq!(from_str::<Task<String>>(text).unwrap(), Task::new("p".to_owned()), "{text}");
    }
    let update: Task<String> = from_str(r#"["Starting",3,1,"n",["Failed","p"]]"#).unwrap();
    assert_eq!(to_string(&update).unwrap(), STORED[6]);
}

/// Binary formats know fields and events by their position alone.
#[test]
fn positions_are_pinned() {
    let task = Task::new("p");
    assert_eq!(postcard::to_allocvec(&task).unwrap(), b"\x08Starting\x00\x00\x01p\x00");
    let update = b"\x08Starting\x03\x01\x01n\x01\x06Failed\x01p";
    let stored: Task<&str> = from_str(STORED[6]).unwrap();
    assert_eq!(postcard::to_allocvec(&stored).unwrap(), update);
    let expected: [&[u8]; 6] = [&[0], &[1], &[2], &[3], &[4], &[5, 7]];
    let events = Operation::ALL.iter().filter_map(|&operation| Event::new(operation, 7_u8));
    let events: Vec<_> = events.collect();
    let bytes = events.iter().map(|event| postcard::to_allocvec(event).unwrap());
    assert_eq!(bytes.collect::<Vec<_>>(), expected);
    let text = r#"["start","retry","succeed","fail","cancel",{"update":7}]"#;
    assert_eq!(to_string(&events).unwrap(), text);
    // A format that counts fields always has five.
    assert_eq!(rmp_serde::to_vec(&task).unwrap()[0], 0x95);
    assert_eq!(rmp_serde::to_vec_named(&task).unwrap()[0], 0x85);
    assert_eq!(cbor(&task)[0], 0xa5);
    for text in [r#""update""#, r#""delete""#, r#""Start""#, r#"{"start":1}"#, "0"] {
        assert!(from_str::<Event<u8>>(text).is_err(), "{text}");
    }
}

#[test]
fn words_are_read_from_nothing_else() {
    fn is_word<T: Value + Ord + FromStr<Err: Display>>(word: &T, text: &str) {
        let unknown = "".parse::<T>().err().unwrap().to_string();
        let listed = unknown.split_once(": ").unwrap().1;
        comes_back(&in_a_row(word));
        comes_back(&BTreeMap::from([(word.clone(), 1_u8)]));
        assert_eq!(to_string(word).unwrap(), format!("{text:?}"));
        assert_eq!(postcard::to_allocvec(word), postcard::to_allocvec(text));
        let hostile = format!("\"{}\"", r"\u0000\u202e".repeat(1000));
        let others =
            [r#""W\u0000""#, r#"" W""#, r#"{"W":null}"#, r#"["W"]"#, "\"\"", "0", "null", &hostile];
        for other in others.map(|other| other.replace('W', text)) {
            let fault = from_str::<T>(&other).unwrap_err().to_string();
            assert!(fault.contains(listed), "{other}: {fault}");
            let is_plain = !fault.contains(|c: char| c.is_control() || c == '\u{202e}');
            assert!(fault.len() < 400 && is_plain, "{fault:?}");
        }
        // Not from a position, and not from bytes that spell it.
        assert!(rmp_serde::from_slice::<T>(&[0]).is_err());
        assert!(postcard::from_bytes::<T>(&[1]).is_err());
        let bytes = [&[0xc4, u8::try_from(text.len()).unwrap()], text.as_bytes()].concat();
        assert!(rmp_serde::from_slice::<T>(&bytes).is_err());
    }
    for status in Status::ALL {
        is_word(status, status.as_str());
    }
    for operation in Operation::ALL {
        is_word(operation, operation.as_str());
    }
}

fn printed(text: &[u8]) -> (String, usize) {
    let mut out = Vec::new();
    let broken = cancel::cancel_all(text, &mut out).unwrap();
    (String::from_utf8(out).unwrap(), broken)
}

fn lines(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    text.strip_suffix(b"\n").unwrap().split(|&byte| byte == b'\n')
}

#[test]
fn a_line_for_each_task() {
    let tasks = include_bytes!("../../examples/tasks.jsonl");
    expect_file!["tasks.txt"].assert_eq(&printed(tasks).0);
    let states = lines(tasks).map(|line| from_slice::<Task<Tree>>(line).unwrap().state());
    assert!(states.eq(State::ALL.iter().copied()), "a new state needs a line in tasks.jsonl");
}

/// All but the last are broken, for whatever payload: `Option` is null, and not absent.
#[test]
fn broken_lines_are_named() {
    let text = include_bytes!("../../examples/broken.jsonl");
    let (said, broken) = printed(text);
    expect_file!["broken.txt"].assert_eq(&said);
    assert_eq!(broken, said.lines().count() - 1);
    for (number, line) in lines(text).enumerate() {
        fuzzed::json(line);
        assert_eq!(from_slice::<Task<Tree>>(line).is_ok(), number == broken);
        assert_eq!(from_slice::<Task<Option<Tree>>>(line).is_ok(), number == broken);
    }
}
