//! What is written in a serde format is read back the same: alone, in a list, and in the middle of
//! a row, where a field too few would shift what follows.

#![cfg(feature = "serde")]

use std::collections::BTreeMap;
use std::fmt::Debug;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use task_lifecycle::{Event, Operation, Snapshot, State, Status, Task};

/// There and back, in each format. Formats that are asked for their bytes must use all of them.
fn comes_back<T: Serialize + DeserializeOwned + PartialEq + Debug>(value: &T) {
    let text = serde_json::to_string(value).unwrap();
    let read: T = serde_json::from_str(&text).unwrap();
    assert_eq!(&read, value, "JSON: {text}");

    let tree = serde_json::to_value(value).unwrap();
    let read: T = serde_json::from_value(tree.clone()).unwrap();
    assert_eq!(&read, value, "a JSON value: {tree}");

    in_binary(value);
}

fn in_binary<T: Serialize + DeserializeOwned + PartialEq + Debug>(value: &T) {
    let counted = rmp_serde::to_vec(value).unwrap();
    let read: T = rmp_serde::from_slice(&counted).unwrap();
    assert_eq!(&read, value, "MessagePack, fields counted: {counted:?}");

    let named = rmp_serde::to_vec_named(value).unwrap();
    let read: T = rmp_serde::from_slice(&named).unwrap();
    assert_eq!(&read, value, "MessagePack, fields named: {named:?}");

    // Counts fields, and says that it is for people to read.
    let mut readable = Vec::new();
    let mut writer = rmp_serde::Serializer::new(&mut readable).with_human_readable();
    value.serialize(&mut writer).unwrap();
    let mut reader = rmp_serde::Deserializer::from_read_ref(&readable).with_human_readable();
    let read = T::deserialize(&mut reader).unwrap();
    assert_eq!(&read, value, "MessagePack, readable: {readable:?}");

    let mut cbor = Vec::new();
    ciborium::into_writer(value, &mut cbor).unwrap();
    let read: T = ciborium::from_reader(&cbor[..]).unwrap();
    assert_eq!(&read, value, "CBOR: {cbor:?}");

    let bytes = postcard::to_allocvec(value).unwrap();
    let (read, rest) = postcard::take_from_bytes::<T>(&bytes).unwrap();
    assert_eq!((&read, rest), (value, &[][..]), "postcard: {bytes:?}");
}

/// Alone, in a list of two, and between fields of one byte.
fn everywhere<T>(value: T, comes_back: fn(&Row<T>))
where
    T: Serialize + DeserializeOwned + PartialEq + Debug + Clone,
{
    comes_back(&Row {
        before: 1,
        list: vec![value.clone(), value.clone()],
        value,
        after: 2,
        last: true,
    });
}

#[derive(Serialize, Deserialize, PartialEq, Debug)]
struct Row<T> {
    before: u8,
    list: Vec<T>,
    value: T,
    after: u8,
    last: bool,
}

/// A task in each state, its counters beyond one byte.
fn tasks<T: Clone>(payload: &T, previous: &T) -> Vec<Task<T>> {
    let tasks = State::ALL.iter().map(|state| {
        let snapshot = Snapshot {
            status: state.status(),
            revision: u64::MAX,
            run: 300,
            payload: payload.clone(),
            previous: state
                .previous()
                .map(|status| task_lifecycle::Previous { status, payload: previous.clone() }),
        };
        Task::try_from(snapshot).unwrap()
    });
    tasks.collect()
}

fn payload<T>(payload: &T, previous: &T)
where
    T: Serialize + DeserializeOwned + PartialEq + Debug + Clone,
{
    for task in tasks(payload, previous) {
        comes_back(&task);
        everywhere(task, comes_back);
    }
    for &operation in Operation::ALL {
        if let Some(event) = Event::new(operation, payload.clone()) {
            comes_back(&event);
            everywhere(event, comes_back);
        }
    }
}

#[test]
fn every_state_with_payloads_that_hurt() {
    #[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
    enum Nested {
        Unit,
        One(Option<u8>),
        Two(String, i64),
        Named { list: Vec<Nested>, unit: () },
    }

    payload(&(), &());
    payload(&None::<u8>, &Some(1));
    payload(&Some(2_u64), &None);
    payload(&String::new(), &"Größe\0\"".to_owned());
    payload(&vec![0_u8, 255], &vec![]);
    payload(&f64::MIN_POSITIVE, &-0.1);
    payload(&'🦀', &'\0');
    payload(&[0_u8; 0], &[]);
    payload(&BTreeMap::from([("a".to_owned(), 1)]), &BTreeMap::new());
    payload(&Nested::Unit, &Nested::Two(String::new(), i64::MIN));
    let list = vec![Nested::Unit, Nested::One(None), Nested::One(Some(0))];
    payload(&Nested::Named { list, unit: () }, &Nested::One(None));
}

/// A task as a payload is a payload like others.
#[test]
fn a_task_of_tasks() {
    let inner = tasks(&1_u8, &2);
    payload(&inner, &vec![]);
}

/// A JSON value has no numbers of 128 bits; the other formats are tried.
#[test]
fn numbers_of_128_bits() {
    for task in tasks(&i128::MIN, &i128::MAX) {
        let text = serde_json::to_string(&task).unwrap();
        assert_eq!(serde_json::from_str::<Task<i128>>(&text).unwrap(), task);
        everywhere(task, in_binary);
    }
}

#[test]
fn status_and_operation_are_their_words() {
    fn is_word<T>(word: &T, text: &str)
    where
        T: Serialize + DeserializeOwned + PartialEq + Debug + Clone + Ord,
    {
        comes_back(word);
        everywhere(word.clone(), comes_back);
        comes_back(&BTreeMap::from([(word.clone(), 1_u8)]));

        assert_eq!(serde_json::to_string(word).unwrap(), format!("{text:?}"));
        let text = text.to_owned();
        assert_eq!(postcard::to_allocvec(word), postcard::to_allocvec(&text));
        let bytes = rmp_serde::to_vec(&text).unwrap();
        assert_eq!(rmp_serde::to_vec(word).unwrap(), bytes);
        let faults = [
            format!("{:?}", text.to_uppercase()),
            format!("{{{text:?}:null}}"),
            format!("[{text:?}]"),
            "0".to_owned(),
            "null".to_owned(),
        ];
        for fault in faults {
            assert!(serde_json::from_str::<T>(&fault).is_err(), "{fault}");
        }
        assert!(rmp_serde::from_slice::<T>(&[0]).is_err());
        // Nor from bytes that spell it.
        let mut bytes = vec![0xc4, u8::try_from(text.len()).unwrap()];
        bytes.extend(text.as_bytes());
        assert!(rmp_serde::from_slice::<T>(&bytes).is_err());
    }

    for status in Status::ALL {
        is_word(status, status.as_str());
    }
    for operation in Operation::ALL {
        is_word(operation, operation.as_str());
    }
}

#[test]
fn json_leaves_the_absent_previous_state_out_and_binary_formats_do_not() {
    let task = Task::new("p".to_owned());
    let text = r#"{"status":"Starting","revision":0,"run":0,"payload":"p"}"#;
    assert_eq!(serde_json::to_string(&task).unwrap(), text);
    assert_eq!(serde_json::to_value(&task).unwrap().to_string().len(), text.len());

    // A map or a list of five, not of four.
    assert_eq!(rmp_serde::to_vec(&task).unwrap()[0], 0x95);
    assert_eq!(rmp_serde::to_vec_named(&task).unwrap()[0], 0x85);
    let mut cbor = Vec::new();
    ciborium::into_writer(&task, &mut cbor).unwrap();
    assert_eq!(cbor[0], 0xa5);
    assert_eq!(postcard::to_allocvec(&task).unwrap(), b"\x08Starting\x00\x00\x01p\x00");
}

#[test]
fn a_writer_that_is_full_is_an_error() {
    for task in tasks(&1_u8, &2) {
        let text = serde_json::to_string(&task).unwrap();
        for room in 0..text.len() {
            let mut buffer = vec![0; room];
            let written = serde_json::to_writer(&mut buffer[..], &task);
            assert!(written.is_err(), "{room} bytes for {text}");
        }
    }
}
