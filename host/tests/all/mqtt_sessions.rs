//! Sessions of MQTT that outlive their connections, over restarts and `kill -9`, byte by byte: a client of 3.1.1 that
//! acknowledges only what it is told to.

use std::collections::BTreeSet;

use weir::config::Mqtt;
use weir::store::{StateValue, Store, StoreOptions};

use crate::harness::mqtt::{Came, Raw, load};
use crate::harness::{Folders, Setup};

fn came(dup: bool, qos: u8, id: u16, payload: &str) -> Came {
    Came { dup, qos, id, payload: payload.into() }
}

fn serving(setup: Setup) -> Setup {
    setup.config(|config| {
        config.mqtt = Some(Mqtt { listen: "127.0.0.1:0".parse().unwrap(), ..Mqtt::default() });
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_goes_on_after_a_restart_where_it_was() {
    let router = serving(Setup::open()).start().await;
    let address = router.reach.gateways["mqtt"];
    let mut writer = Raw::connect(address, "writer", true).await;
    let mut reader = Raw::connect(address, "reader", false).await;
    assert!(!reader.present);
    reader.subscribe("once/#", 1).await;
    reader.subscribe("exactly/#", 2).await;
    writer.publish("once/a", 1, 1, "one").await;
    let first = reader.message().await;
    assert_eq!((first.dup, first.qos, &*first.payload), (false, 1, "one"));
    writer.publish("exactly/a", 2, 2, "two").await;
    let second = reader.message().await;
    assert_eq!((second.dup, second.qos, &*second.payload), (false, 2, "two"));
    writer.publish("exactly/a", 2, 3, "three").await;
    let third = reader.message().await;
    reader.say(0x50, third.id).await;
    reader.hears(0x62, third.id).await;
    drop(reader);
    writer.publish("exactly/a", 2, 4, "four").await;
    drop(writer);
    let folders = router.stop().await;
    let router = serving(Setup::over(&folders)).start().await;
    let address = router.reach.gateways["mqtt"];
    let mut reader = Raw::connect(address, "reader", false).await;
    assert!(reader.present);
    // First what it has not released, then what it has not acknowledged, then what is new.
    reader.hears(0x62, third.id).await;
    reader.say(0x70, third.id).await;
    let mut all = [reader.message().await, reader.message().await, reader.message().await];
    all.sort_by_key(|came| came.payload.clone());
    let (fourth, one, two) = (&all[0], &all[1], &all[2]);
    assert_eq!((&*fourth.payload, fourth.dup, fourth.qos), ("four", false, 2));
    assert_eq!((&*one.payload, one.dup, one.qos), ("one", true, 1));
    assert_eq!(*two, came(true, 2, second.id, "two"), "under the identifier that it had");
    reader.say(0x40, one.id).await;
    for came in [two, fourth] {
        reader.say(0x50, came.id).await;
        reader.hears(0x62, came.id).await;
        reader.say(0x70, came.id).await;
    }
    // Another client of this name has no part in it, once it wants a clean session.
    let clean = Raw::connect(address, "reader", true).await;
    assert!(!clean.present);
    drop(clean);
    let reader = Raw::connect(address, "reader", false).await;
    assert!(!reader.present);
    router.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_session_has_sent_and_not_released_is_not_taken_twice_after_kill_9() {
    let setup = Setup::open();
    setup.write_config("[mqtt]\nlisten = \"127.0.0.1:0\"\n");
    let child = setup.spawn().await;
    let address = child.reach.gateways["mqtt"];
    let mut reader = Raw::connect(address, "reader", false).await;
    reader.subscribe("sent", 1).await;
    let mut writer = Raw::connect(address, "writer", false).await;
    writer.send("sent", 2, 7, false, "once").await;
    writer.hears(0x50, 7).await;
    // One that was released is forgotten: the next one under its identifier is new.
    writer.publish("sent", 2, 8, "released").await;
    child.kill();
    let child = setup.spawn().await;
    let address = child.reach.gateways["mqtt"];
    let mut writer = Raw::connect(address, "writer", false).await;
    assert!(writer.present);
    writer.send("sent", 2, 7, true, "once").await;
    writer.hears(0x50, 7).await;
    writer.release(7).await;
    writer.publish("sent", 2, 8, "new").await;
    writer.publish("sent", 2, 7, "another").await;
    let mut reader = Raw::connect(address, "reader", false).await;
    for payload in ["once", "released", "new", "another"] {
        let came = reader.message().await;
        assert_eq!(came.payload, payload);
        reader.say(0x40, came.id).await;
    }
    child.kill();
}

/// What the router's records say of identifiers that came in, while it does not run.
fn identifiers(folders: &Folders) -> Vec<(Vec<u8>, Vec<u8>)> {
    let store = Store::open(&folders.data(), StoreOptions::default()).unwrap();
    store.load_space("$received").unwrap().into_iter().map(|pair| (pair.key, pair.value)).collect()
}

/// Makes the records what they were before: as a crash leaves them that comes when the log is on the disk and they are
/// not.
fn forget_identifiers(folders: &Folders, before: Vec<(Vec<u8>, Vec<u8>)>) {
    let store = Store::open(&folders.data(), StoreOptions::default()).unwrap();
    store.drop_space("$received").unwrap();
    let (space, (done, wait)) = ("$received".into(), std::sync::mpsc::sync_channel(1));
    store
        .writer()
        .submit(|queue| {
            for (key, value) in before {
                queue.state(&space, key, Some(StateValue { bytes: value.into(), expires_us: None }));
            }
            queue.on_durable(Box::new(move |result| drop(done.send(result))));
        })
        .unwrap();
    wait.recv().unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_identifier_that_only_the_log_knows_is_found_there() {
    let setup = Setup::open();
    setup.write_config("[mqtt]\nlisten = \"127.0.0.1:0\"\n");
    let child = setup.spawn().await;
    let mut reader = Raw::connect(child.reach.gateways["mqtt"], "reader", false).await;
    reader.subscribe("sent", 1).await;
    let mut writer = Raw::connect(child.reach.gateways["mqtt"], "writer", false).await;
    writer.publish("sent", 2, 7, "before").await;
    child.kill();
    let before = identifiers(&setup.folders);
    let child = setup.spawn().await;
    let mut writer = Raw::connect(child.reach.gateways["mqtt"], "writer", false).await;
    writer.send("sent", 2, 7, false, "once").await;
    writer.hears(0x50, 7).await;
    child.kill();
    let after = identifiers(&setup.folders);
    assert_eq!(after.len(), before.len() + 1, "{after:?}");
    forget_identifiers(&setup.folders, before);
    let child = setup.spawn().await;
    let mut writer = Raw::connect(child.reach.gateways["mqtt"], "writer", false).await;
    assert!(writer.present);
    writer.send("sent", 2, 7, true, "once").await;
    writer.hears(0x50, 7).await;
    writer.release(7).await;
    writer.publish("sent", 2, 7, "new").await;
    let mut reader = Raw::connect(child.reach.gateways["mqtt"], "reader", false).await;
    for payload in ["before", "once", "new"] {
        let came = reader.message().await;
        assert_eq!(came.payload, payload);
        reader.say(0x40, came.id).await;
    }
    child.kill();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kill_9_under_load_loses_nothing_acknowledged_and_doubles_nothing_of_qos_2() {
    // Each time after another number of acknowledgements.
    load::storm(4, |round| 60 + 53 * u64::from(round)).await;
}

/// Rounds of `kill -9`.
const ROUNDS: usize = 4;
/// Messages of a round, of each QoS.
const MESSAGES: u16 = 60;

/// What a client of QoS 2 has for good, and what it must remember to have it once.
#[derive(Default)]
struct Memory {
    /// Identifiers of messages that it has taken and that are not released.
    taken: BTreeSet<u16>,
    once: Vec<String>,
    at_least: BTreeSet<String>,
}

/// Takes messages until so many packets have come, or all are there.
async fn take(reader: &mut Raw, memory: &mut Memory, packets: usize, all: usize) {
    for _ in 0..packets {
        if memory.taken.is_empty() && memory.once.len() >= all && memory.at_least.len() >= all {
            return;
        }
        let (first, body) = reader.next().await;
        if first & 0xf0 == 0x60 {
            let id = u16::from_be_bytes([body[0], body[1]]);
            memory.taken.remove(&id);
            reader.say(0x70, id).await;
            continue;
        }
        let topic = usize::from(u16::from_be_bytes([body[0], body[1]]));
        let (id, payload) = body[2 + topic..].split_at(2);
        let (id, payload) = (u16::from_be_bytes([id[0], id[1]]), String::from_utf8_lossy(payload).into());
        if (first >> 1) & 3 == 1 {
            memory.at_least.insert(payload);
            reader.say(0x40, id).await;
        } else {
            if memory.taken.insert(id) {
                memory.once.push(payload);
            }
            reader.say(0x50, id).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kill_9_loses_nothing_of_a_session_and_doubles_nothing_of_qos_2() {
    let setup = Setup::open();
    setup.write_config("[mqtt]\nlisten = \"127.0.0.1:0\"\n");
    let mut memory = Memory::default();
    let mut expected = Vec::new();
    for round in 0..ROUNDS {
        let child = setup.spawn().await;
        let address = child.reach.gateways["mqtt"];
        let mut reader = Raw::connect(address, "reader", false).await;
        assert_eq!(reader.present, round > 0);
        if round == 0 {
            reader.subscribe("once/#", 1).await;
            reader.subscribe("exactly/#", 2).await;
        }
        let mut writer = Raw::connect(address, "writer", true).await;
        for number in 0..MESSAGES {
            let payload = format!("{round}/{number}");
            writer.publish("once/a", 1, 1, &payload).await;
            writer.publish("exactly/a", 2, 2, &payload).await;
            expected.push(payload);
        }
        // Each time somewhere else in the middle of it.
        take(&mut reader, &mut memory, 40 + 31 * round, expected.len()).await;
        child.kill();
    }
    let child = setup.spawn().await;
    let mut reader = Raw::connect(child.reach.gateways["mqtt"], "reader", false).await;
    assert!(reader.present);
    take(&mut reader, &mut memory, usize::MAX, expected.len()).await;
    assert_eq!(memory.at_least, expected.iter().cloned().collect());
    memory.once.sort();
    expected.sort();
    assert_eq!(memory.once, expected, "each of QoS 2 just once");
    child.kill();
}
