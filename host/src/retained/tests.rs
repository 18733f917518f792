//! Against what a naive reader of all topics would find, and what is left after the process was killed.

use bytes::Bytes;
use proptest::prelude::*;
use weir_contract::packed::{put, put_u64, tag};

use super::*;
use crate::message::now_us;
use crate::metrics::Metrics;
use crate::store::StoreOptions;

const MOST: Most = Most { messages: 4, bytes: 1_000 };
const HOUR_US: u64 = 3_600_000_000;

fn message(topic: &str, payload: &str, expires_us: Option<u64>) -> Message {
    let mut meta = Vec::new();
    put(&mut meta, tag::RETAIN, &[1]);
    if let Some(at) = expires_us {
        put_u64(&mut meta, tag::EXPIRES_US, at);
    }
    Message { topic: topic.into(), meta: meta.into(), payload: Bytes::copy_from_slice(payload.as_bytes()) }
}

fn store(folder: &std::path::Path) -> Store {
    Store::open(folder, StoreOptions { free_floor_bytes: 0, ..StoreOptions::default() }).unwrap()
}

fn load(store: &Store) -> Arc<Retained> {
    Retained::load(store.clone(), MOST, Metrics::new().retained).unwrap()
}

/// What matches, as a page after the other shows it.
fn shown(retained: &Retained, pattern: &str, page: usize) -> Vec<(String, String)> {
    let (pattern, mut after, mut found) = (Pattern::parse(pattern).unwrap(), None::<Arc<str>>, Vec::new());
    loop {
        let looked = retained.look(&pattern, after.as_deref(), page, |topic, kept| {
            found.push((topic.to_string(), String::from_utf8_lossy(&kept.message.payload).into_owned()));
            ControlFlow::Continue(())
        });
        match looked {
            Looked::UpTo(topic) => after = Some(topic),
            Looked::All => return found,
            Looked::Stopped => panic!("nobody stopped it"),
        }
    }
}

/// Puts a message into the log as the sequencer does. Without `noted`, as a crash leaves it that comes between the
/// flush of the log and that of the state.
fn publish(store: &Store, retained: &Retained, message: &Message, noted: bool) {
    publish_in(store, 0, retained, message, noted);
}

fn publish_in(store: &Store, at: usize, retained: &Retained, message: &Message, noted: bool) {
    let (done, wait) = std::sync::mpsc::sync_channel(1);
    let log = &store.logs()[at];
    let place = store
        .writer()
        .submit(|queue| {
            let (epoch, offset) = (queue.epoch(at), queue.next_offset(at));
            let place = Place { log: Arc::clone(log.name()), epoch, offset };
            queue.record(at, offset, message.clone());
            if noted {
                let draft = draft(message, Some(log.name()));
                retained.submit(queue, &message.topic, message.expires_us(), draft, Some(&place));
                retained.mark(queue, log);
            }
            queue.on_durable(Box::new(move |result| done.send(result).unwrap()));
            place
        })
        .unwrap();
    wait.recv().unwrap().unwrap();
    if noted {
        retained.put(message, Some((at, &place)));
    }
}

fn patterns() -> impl Strategy<Value = String> {
    prop::collection::vec(prop_oneof!["[ab]{0,2}", Just("+".into())], 1..4)
        .prop_flat_map(|levels| {
            let whole = levels.join("/");
            prop_oneof![Just(whole.clone()), Just(format!("{whole}/#")), Just("#".to_owned())]
        })
        .prop_filter("valid", |text| Pattern::parse(text).is_ok())
}

proptest! {
    #[test]
    fn finds_what_a_naive_matcher_finds(
        writes in prop::collection::vec(("[ab]{0,2}(/[ab]{0,2}){0,3}", "[xy]{0,2}", 0u8..4), 0..40),
        pattern in patterns(),
        page in 1usize..4,
    ) {
        let now = now_us();
        let (mut table, mut naive) = (Table::default(), BTreeMap::new());
        for (topic, payload, life) in writes.iter().filter(|(topic, ..)| !topic.is_empty()) {
            let expires = match life { 0 => Some(now - 1), 1 => Some(now + HOUR_US), _ => None };
            let message = message(topic, payload, expires);
            if payload.is_empty() {
                table.remove(topic);
                naive.remove(topic);
            } else {
                table.insert(Kept::new(message.clone(), None));
                naive.insert(topic.clone(), message);
            }
        }
        let bytes: usize = naive.values().map(Message::size).sum();
        prop_assert_eq!(table.usage(), (naive.len(), bytes));
        let parsed = Pattern::parse(&pattern).unwrap();
        let due = |message: &Message| message.expires_us().is_some_and(|at| at <= now);
        let expected: Vec<_> = naive.iter().filter(|(topic, message)| parsed.matches(topic) && !due(message))
            .map(|(topic, _)| topic.clone()).collect();
        let (mut after, mut found) = (None::<Arc<str>>, Vec::new());
        loop {
            let looked = table.look(&parsed, after.as_deref(), page, |topic, _| {
                found.push(topic.to_string());
                ControlFlow::Continue(())
            });
            let Looked::UpTo(topic) = looked else { break };
            after = Some(topic);
        }
        prop_assert_eq!(&found, &expected, "{}", pattern);
        prop_assert!(expected.is_empty() || table.may_match(&parsed));
        let swept: Vec<_> = naive.iter().filter(|(_, message)| due(message)).map(|(topic, _)| topic.clone()).collect();
        let mut expired: Vec<_> = table.expired(now, 100).iter().map(ToString::to_string).collect();
        expired.sort();
        prop_assert_eq!(expired, swept);
    }
}

#[test]
fn what_the_log_knows_and_the_state_does_not_is_made_up_for() {
    let folder = tempfile::tempdir().unwrap();
    let open = store(folder.path());
    let retained = load(&open);
    for topic in ["deleted", "kept", "replaced"] {
        publish(&open, &retained, &message(topic, "old", None), true);
    }
    let all: Vec<_> = ["deleted", "kept", "replaced"].map(|topic| (topic.into(), "old".into())).into();
    assert_eq!(shown(&retained, "#", 2), all);
    for (topic, payload) in [("deleted", ""), ("replaced", "new"), ("added", "new"), ("brief", "new")] {
        let expires = (topic == "brief").then_some(1);
        publish(&open, &retained, &message(topic, payload, expires), false);
    }
    drop((retained, open));
    let expected: Vec<(String, String)> =
        [("added", "new"), ("kept", "old"), ("replaced", "new")].map(|(t, p)| (t.into(), p.into())).into();
    // The second time nothing is left to be made up for.
    for _ in 0..2 {
        let open = store(folder.path());
        let retained = load(&open);
        assert_eq!(shown(&retained, "#", 2), expected);
        let place = retained.get("replaced").unwrap().place.unwrap();
        assert_eq!((&*place.log, place.offset), ("default", 4));
        open.close().unwrap();
    }
}

#[test]
fn what_was_deleted_by_hand_or_imported_stays_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let open = store(folder.path());
    let retained = load(&open);
    publish(&open, &retained, &message("a", "x", None), true);
    assert!(retained.remove("a", Box::new(drop)).unwrap());
    assert!(!retained.remove("a", Box::new(drop)).unwrap());
    open.writer()
        .submit(|queue| {
            queue.record(0, queue.next_offset(0), message("imported", "x", None));
            pass_over(queue, &open.logs()[0]);
        })
        .unwrap();
    drop((retained, open));
    let open = store(folder.path());
    assert_eq!(load(&open).usage(), (0, 0));
}

#[test]
fn a_topic_that_goes_to_another_log_is_not_taken_from_the_one_before() {
    let folder = tempfile::tempdir().unwrap();
    let open = || {
        let logs = ["b", "a"].map(crate::store::LogOptions::new).into();
        Store::open(folder.path(), StoreOptions { logs, free_floor_bytes: 0, ..StoreOptions::default() })
            .unwrap()
    };
    let store = open();
    publish_in(&store, 1, &load(&store), &message("x", "old", None), false);
    publish_in(&store, 1, &load(&store), &message("y", "old", None), false);
    drop(store);
    let store = open();
    let retained = load(&store);
    publish_in(&store, 0, &retained, &message("x", "new", None), true);
    publish_in(&store, 0, &retained, &message("y", "", None), true);
    drop((store, retained));
    assert_eq!(shown(&load(&open()), "#", 9), [("x".to_owned(), "new".to_owned())]);
}

#[test]
fn a_state_that_is_lost_is_made_anew_from_the_log() {
    let folder = tempfile::tempdir().unwrap();
    let open = store(folder.path());
    let retained = load(&open);
    for topic in ["a", "b"] {
        publish(&open, &retained, &message(topic, "x", None), true);
    }
    publish(&open, &retained, &message("a", "", None), true);
    drop((retained, open));
    std::fs::remove_dir_all(folder.path().join("state")).unwrap();
    let open = store(folder.path());
    assert_eq!(shown(&load(&open), "#", 9), [("b".to_owned(), "x".to_owned())]);
}

#[test]
fn there_is_room_for_so_many_and_no_more() {
    let folder = tempfile::tempdir().unwrap();
    let open = store(folder.path());
    let retained = load(&open);
    let refusal = |messages: &[Message]| match retained.reserve(messages) {
        Err(Outcome::Invalid(refusal)) => refusal.reason,
        other => panic!("{other:?}"),
    };
    for topic in ["a", "b", "c"] {
        drop(retained.reserve(&[message(topic, "x", None)]).unwrap().unwrap());
        retained.put(&message(topic, "x", None), None);
    }
    let last = retained.reserve(&[message("d", "x", None)]).unwrap();
    assert!(refusal(&[message("e", "x", None)]).contains("more than 4 retained messages"));
    drop(last);
    assert!(retained.reserve(&[message("e", "x", None)]).unwrap().is_some(), "it was given back");
    assert!(refusal(&[message("d", "x", None), message("e", "x", None)]).contains("retained_messages"));
    assert!(refusal(&[message("a", &"x".repeat(1_000), None)]).contains("more than 1000 bytes"));
    assert!(retained.reserve(&[message("a", "", None)]).unwrap().is_some(), "deleting takes no room");
    let plain = Message { meta: Bytes::from_static(&[1]), ..message("f", "x", None) };
    assert!(retained.reserve(&[plain]).unwrap().is_none());
    assert!(retained.reserve(&[message("$f", "x", None)]).unwrap().is_none());
    assert_eq!(retained.usage().0, 3);
}
