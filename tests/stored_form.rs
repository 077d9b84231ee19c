//! The stored form: literal JSON in and out, and a corpus of what is refused.

#![cfg(feature = "serde")]

use serde_json::{Value, from_str, to_string};
use task_lifecycle::{Event, Previous, Snapshot, State, Status, Task};

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
    let states = STORED.map(|text| {
        let task: Task<String> = from_str(text).expect(text);
        assert_eq!(to_string(&task).unwrap(), text);
        let snapshot: Snapshot<String> = from_str(text).expect(text);
        assert_eq!(to_string(&snapshot).unwrap(), text);
        assert_eq!(Snapshot::from(task.clone()), snapshot);
        task.state()
    });
    assert_eq!(states, State::ALL);
}

#[test]
fn a_previous_of_null_is_none() {
    let text = r#"{"status":"Failed","revision":7,"run":0,"payload":1,"previous":null}"#;
    let task: Task<u8> = from_str(text).unwrap();
    assert_eq!(
        to_string(&task).unwrap(),
        r#"{"status":"Failed","revision":7,"run":0,"payload":1}"#
    );
}

#[test]
fn fields_may_come_in_any_order() {
    let text = r#"{"previous":{"payload":1,"status":"Failed"},"payload":2,"revision":3,"run":0,"status":"Starting"}"#;
    let task: Task<u8> = from_str(text).unwrap();
    assert_eq!(task.previous(), Some(Previous { status: Status::Failed, payload: &1 }));
    assert_eq!((task.payload(), task.revision()), (&2, 3));
}

#[test]
fn what_is_no_task_is_refused_and_the_fault_is_named() {
    #[rustfmt::skip]
    let corpus = [
        // The state.
        (r#"{"status":"Succeeded","revision":1,"run":0,"payload":1,"previous":{"status":"Failed","payload":1}}"#, "a task in status Succeeded cannot have a previous state"),
        (r#"{"status":"Failed","revision":1,"run":0,"payload":1,"previous":{"status":"Failed","payload":1}}"#, "a task in status Failed cannot have a previous state"),
        (r#"{"status":"Cancelled","revision":1,"run":0,"payload":1,"previous":{"status":"Starting","payload":1}}"#, "a task in status Cancelled cannot have a previous state"),
        (r#"{"status":"Starting","revision":1,"run":0,"payload":1,"previous":{"status":"Starting","payload":1}}"#, "a previous state must be Succeeded or Failed, not Starting"),
        (r#"{"status":"Processing","revision":1,"run":0,"payload":1,"previous":{"status":"Processing","payload":1}}"#, "a previous state must be Succeeded or Failed, not Processing"),
        (r#"{"status":"Starting","revision":1,"run":0,"payload":1,"previous":{"status":"Cancelled","payload":1}}"#, "a previous state must be Succeeded or Failed, not Cancelled"),
        // The words.
        (r#"{"status":"starting","revision":1,"run":0,"payload":1}"#, "Failed or Cancelled, not `starting`"),
        (r#"{"status":"STARTING","revision":1,"run":0,"payload":1}"#, "Failed or Cancelled, not `STARTING`"),
        (r#"{"status":"Canceled","revision":1,"run":0,"payload":1}"#, "Failed or Cancelled, not `Canceled`"),
        (r#"{"status":" Starting","revision":1,"run":0,"payload":1}"#, "Failed or Cancelled, not ` Starting`"),
        (r#"{"status":"","revision":1,"run":0,"payload":1}"#, "Failed or Cancelled, not ``"),
        (r#"{"status":null,"revision":1,"run":0,"payload":1}"#, "invalid type: null, expected the word of a status"),
        (r#"{"status":0,"revision":1,"run":0,"payload":1}"#, "invalid type: integer `0`, expected the word of a status"),
        (r#"{"status":{"Starting":null},"revision":1,"run":0,"payload":1}"#, "invalid type: map, expected the word of a status"),
        (r#"{"status":["Starting"],"revision":1,"run":0,"payload":1}"#, "invalid type: sequence, expected the word of a status"),
        (r#"{"status":"Starting","revision":1,"run":0,"payload":1,"previous":{"status":"succeeded","payload":1}}"#, "Failed or Cancelled, not `succeeded`"),
        // A field that is missing.
        ("{}", "missing field `status`"),
        (r#"{"revision":1,"run":0,"payload":1}"#, "missing field `status`"),
        (r#"{"status":"Starting","run":0,"payload":1}"#, "missing field `revision`"),
        (r#"{"status":"Starting","revision":1,"payload":1}"#, "missing field `run`"),
        (r#"{"status":"Starting","revision":1,"run":0}"#, "missing field `payload`"),
        (r#"{"status":"Starting","revision":1,"run":0,"payload":1,"previous":{}}"#, "missing field `status`"),
        (r#"{"status":"Starting","revision":1,"run":0,"payload":1,"previous":{"payload":1}}"#, "missing field `status`"),
        (r#"{"status":"Starting","revision":1,"run":0,"payload":1,"previous":{"status":"Failed"}}"#, "missing field `payload`"),
        // A field that is not known.
        (r#"{"status":"Starting","revision":1,"run":0,"payload":1,"prevoius":null}"#, "unknown field `prevoius`"),
        (r#"{"status":"Starting","revision":1,"run":0,"payload":1,"Payload":1}"#, "unknown field `Payload`"),
        (r#"{"status":"Starting","revision":1,"run":0,"payload":1,"previous":{"status":"Failed","payload":1,"revision":0}}"#, "unknown field `revision`"),
        (r#"{"status":"Starting","revision":1,"run":0,"payload":1,"previous":{"status":"Failed","payload":1,"previous":null}}"#, "unknown field `previous`"),
        // A field that is repeated.
        (r#"{"status":"Starting","status":"Starting","revision":1,"run":0,"payload":1}"#, "duplicate field `status`"),
        (r#"{"status":"Starting","revision":1,"revision":1,"run":0,"payload":1}"#, "duplicate field `revision`"),
        (r#"{"status":"Starting","revision":1,"run":0,"run":0,"payload":1}"#, "duplicate field `run`"),
        (r#"{"status":"Starting","revision":1,"run":0,"payload":1,"payload":1}"#, "duplicate field `payload`"),
        (r#"{"status":"Starting","revision":1,"run":0,"payload":1,"previous":null,"previous":null}"#, "duplicate field `previous`"),
        (r#"{"status":"Starting","revision":1,"run":0,"payload":1,"previous":{"status":"Failed","status":"Failed","payload":1}}"#, "duplicate field `status`"),
        (r#"{"status":"Starting","revision":1,"run":0,"payload":1,"previous":{"status":"Failed","payload":1,"payload":1}}"#, "duplicate field `payload`"),
        // A field of the wrong kind.
        (r#"{"status":"Starting","revision":-1,"run":0,"payload":1}"#, "invalid value: integer `-1`"),
        (r#"{"status":"Starting","revision":1.0,"run":0,"payload":1}"#, "invalid type: floating point `1.0`"),
        (r#"{"status":"Starting","revision":"1","run":0,"payload":1}"#, "invalid type: string \"1\""),
        (r#"{"status":"Starting","revision":null,"run":0,"payload":1}"#, "invalid type: null"),
        (r#"{"status":"Starting","revision":18446744073709551616,"run":0,"payload":1}"#, "invalid type: floating point"),
        (r#"{"status":"Starting","revision":1,"run":-1,"payload":1}"#, "invalid value: integer `-1`"),
        (r#"{"status":"Starting","revision":1,"run":"0","payload":1}"#, "invalid type: string \"0\""),
        (r#"{"status":"Starting","revision":1,"run":0,"payload":1,"previous":true}"#, "invalid type: boolean `true`, expected a previous state"),
        (r#"{"status":"Starting","revision":1,"run":0,"payload":1,"previous":"Failed"}"#, "expected a previous state"),
        // No object, or not only one.
        ("null", "invalid type: null, expected a stored task"),
        (r#""Starting""#, "expected a stored task"),
        ("", "EOF"),
        (r#"{"status":"Starting","revision":1,"run":0,"payload":1"#, "EOF"),
        (r#"{"status":"Starting","revision":1,"run":0,"payload":1}}"#, "trailing characters"),
    ];
    for (text, fault) in corpus {
        for message in [
            from_str::<Task<u8>>(text).expect_err(text).to_string(),
            // `Option` must not make a missing payload `None`.
            from_str::<Task<Option<u8>>>(text).expect_err(text).to_string(),
            from_str::<Task<Value>>(text).expect_err(text).to_string(),
        ] {
            assert!(message.contains(fault), "{text}\n  says: {message}\n  not:  {fault}");
        }
    }
}

#[test]
fn an_optional_payload_is_null_but_not_absent() {
    let text = r#"{"status":"Starting","revision":1,"run":0,"payload":null,"previous":{"status":"Failed","payload":null}}"#;
    let task: Task<Option<u8>> = from_str(text).unwrap();
    assert_eq!(task.payload(), &None);
    assert_eq!(to_string(&task).unwrap(), text);
    let snapshot =
        from_str::<Snapshot<Option<u8>>>(r#"{"status":"Starting","revision":1,"run":0}"#);
    assert!(snapshot.unwrap_err().to_string().contains("missing field `payload`"));
}

#[test]
fn hostile_payloads_come_back_as_they_were() {
    for payload in ["", "'; DROP TABLE tasks; --", "\"\\\u{0}\u{7f}\n", "Größe 寸法 🦀\u{202e}"]
    {
        let mut task = Task::new(payload.to_owned());
        task.start().unwrap();
        task.succeed().unwrap();
        task.update(payload.repeat(1000)).unwrap();
        let mut read: Task<String> = from_str(&to_string(&task).unwrap()).unwrap();
        assert_eq!(read, task);
        read.cancel().unwrap();
        assert_eq!(read.payload(), payload);
    }
}

/// Found by fuzzing: without `float_roundtrip` `serde_json` itself reads the payload back as another
/// number. The stored form hands on what the payload's own form says, to the digit.
#[test]
fn a_float_that_is_hard_to_read_is_the_payloads_own_matter() {
    let text = r#"{"status":"Starting","revision":0,"run":0,"payload":50000000000000000000000000000000000000000000000000000000000000000000000000000000000.000000000000000000012}"#;
    let task: Task<Box<serde_json::value::RawValue>> = from_str(text).unwrap();
    assert_eq!(to_string(&task).unwrap(), text);
    let task: Task<f64> = from_str(text).unwrap();
    assert_eq!(from_str::<Task<f64>>(&to_string(&task).unwrap()).unwrap(), task);
}

#[test]
fn writing_needs_no_clone_and_reading_may_borrow() {
    #[derive(serde::Serialize)]
    struct NotClone(&'static str);
    let task = Task::new(NotClone("p"));
    assert_eq!(to_string(&task).unwrap(), STORED[0]);

    let task: Task<&str> = from_str(STORED[5]).unwrap();
    assert_eq!(task.payload(), &"n");
}

#[test]
fn an_event_is_its_operation_and_an_update_brings_its_payload() {
    let events = [
        Event::Start,
        Event::Retry,
        Event::Succeed,
        Event::Fail,
        Event::Cancel,
        Event::Update("p".to_owned()),
    ];
    let text = r#"["start","retry","succeed","fail","cancel",{"update":"p"}]"#;
    assert_eq!(to_string(&events).unwrap(), text);
    assert_eq!(from_str::<Vec<Event<String>>>(text).unwrap(), events);
    for event in events {
        let name = event.operation().to_string();
        assert!(to_string(&event).unwrap().contains(&name), "{name}");
    }
    for text in [r#""update""#, r#""delete""#, r#""Start""#, r#"{"start":1}"#] {
        assert!(from_str::<Event<String>>(text).is_err(), "{text}");
    }
}

/// What the docs of [`Snapshot`] say of `flatten`.
#[test]
fn flatten_takes_the_refusals_away() {
    #[derive(serde::Deserialize, Debug)]
    struct Flat {
        id: u32,
        #[serde(flatten)]
        task: Task<String>,
    }
    #[derive(serde::Deserialize, Debug)]
    struct FlatOption {
        #[serde(flatten)]
        task: Option<Task<String>>,
    }
    #[derive(serde::Deserialize, Debug)]
    struct Nested {
        task: Option<Task<String>>,
    }

    // An unknown field is passed over: here a previous state that was misspelt.
    let text = r#"{"id":7,"status":"Starting","revision":1,"run":0,"payload":"p","prevoius":null}"#;
    let Flat { id, task } = from_str(text).unwrap();
    assert_eq!((id, task.state()), (7, State::NEW));

    // A broken task is shown as none.
    let broken = r#"{"status":"Paused","revision":1,"run":0,"payload":"p"}"#;
    assert!(from_str::<FlatOption>(broken).unwrap().task.is_none());
    // Nested, both are refused, with the fields of a document store beside them.
    for task in [broken, &text.replace(r#""id":7,"#, "")] {
        let row = format!(r#"{{"_id":"1","pk":"user","task":{task}}}"#);
        assert!(from_str::<Nested>(&row).unwrap_err().to_string().contains("expected"));
    }
    let row = format!(r#"{{"_id":"1","pk":"user","task":{}}}"#, STORED[5]);
    assert!(from_str::<Nested>(&row).unwrap().task.is_some_and(|task| task.is_update()));
}

/// An older reader refuses what it does not know, so readers are deployed before writers.
#[test]
fn an_older_reader_refuses_a_newer_field() {
    for newer in [
        r#"{"status":"Starting","revision":1,"run":0,"owner":"w","payload":"p"}"#,
        r#"{"status":"Starting","revision":1,"run":0,"payload":"p","previous":{"status":"Failed","payload":"p","run":0}}"#,
    ] {
        let fault = from_str::<Task<String>>(newer).unwrap_err().to_string();
        assert!(fault.starts_with("unknown field"), "{fault}");
    }
}

/// A task may be read from a list of its fields, as formats without names have it.
#[test]
fn a_list_of_the_fields_is_read() {
    let new: Task<String> = from_str(r#"["Starting",0,0,"p"]"#).unwrap();
    assert_eq!(to_string(&new).unwrap(), STORED[0]);
    let update: Task<String> = from_str(r#"["Starting",3,1,"n",["Failed","p"]]"#).unwrap();
    assert_eq!(to_string(&update).unwrap(), STORED[6]);
    for list in [r#"["Starting",0,0]"#, r#"["Starting",0,0,"p",null,1]"#, r#"[0,0,0,"p"]"#] {
        assert!(from_str::<Task<String>>(list).is_err(), "{list}");
    }
}
