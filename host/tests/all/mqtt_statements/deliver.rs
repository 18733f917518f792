//! Messages on their way to a client.

use super::peer::{Connect, Peer, connect, publish, subscribe};
use super::{VERSIONS, serving, start};
use crate::harness::Setup;
use crate::harness::mqtt::{packet, text};

/// A client whose session stays.
fn stays(five: bool) -> Connect<'static> {
    let properties: &[u8] = if five { &[0x11, 0, 0, 0xff, 0xff] } else { &[] };
    Connect { client: "stays", clean: false, properties, ..connect(five) }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_more_is_under_way_than_the_client_takes() {
    let (router, address) = start().await;
    let with = |properties| Connect { properties, ..connect(true) };
    let mut writer = Peer::new(address, true).await;
    let mut reader = with(&[0x21, 0, 2]).open(address).await;
    reader.subscribe("flow/#", 2).await;
    for number in 0..6 {
        writer.publish(1 + number % 2, "flow/a", 1, &number.to_string()).await;
    }
    let (first, second) = (reader.message().await, reader.message().await);
    assert_ne!(first.id, second.id);
    assert!(first.id > 0 && second.id > 0);
    // Others are not held back: pings, and answers.
    assert_eq!(reader.ask(&[0xc0, 0]).await.first, 0xd0);
    reader.subscribe("other", 0).await;
    reader.say(0x40, first.id).await;
    let third = reader.message().await;
    assert_eq!((&*third.payload, third.qos), ("2", 1));
    // PUBREC alone makes no room; that with an error does, and needs no PUBREL.
    reader.send(&packet(0x50, &[&second.id.to_be_bytes()[..], &[0x80, 0]].concat())).await;
    let fourth = reader.message().await;
    assert_eq!((&*fourth.payload, fourth.qos), ("3", 2));
    reader.say(0x50, fourth.id).await;
    reader.hears(0x62, fourth.id).await;
    assert_eq!(reader.ask(&[0xc0, 0]).await.first, 0xd0, "nothing comes before PUBCOMP");
    reader.say(0x70, fourth.id).await;
    assert_eq!(reader.message().await.payload, "4");
    router.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_comes_back_and_takes_less_gets_no_more_than_that() {
    let (router, address) = start().await;
    let mut reader = stays(true).open(address).await;
    reader.subscribe("less/#", 2).await;
    let mut writer = Peer::new(address, true).await;
    for number in 0..5 {
        writer.publish(2, "less/a", 1, &number.to_string()).await;
    }
    let mut first = Vec::new();
    for _ in 0..5 {
        first.push(reader.message().await);
    }
    // One of them is released half, and all others wait.
    reader.say(0x50, first[0].id).await;
    reader.hears(0x62, first[0].id).await;
    drop(reader);
    let properties = [&[0x21, 0, 1][..], stays(true).properties].concat();
    let mut reader = Connect { properties: &properties, ..stays(true) }.open(address).await;
    assert!(reader.present());
    reader.hears(0x62, first[0].id).await;
    assert_eq!(reader.ask(&[0xc0, 0]).await.first, 0xd0, "one is under way");
    reader.say(0x70, first[0].id).await;
    for sent in &first[1..] {
        let came = reader.message().await;
        assert_eq!((came.dup, came.id, &came.payload), (true, sent.id, &sent.payload));
        reader.say(0x50, came.id).await;
        reader.hears(0x62, came.id).await;
        reader.say(0x70, came.id).await;
    }
    writer.publish(1, "less/a", 1, "new").await;
    assert_eq!(reader.message().await.payload, "new");
    router.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_sent_at_qos_2_does_not_expire_any_more() {
    let (router, address) = start().await;
    let mut reader = stays(true).open(address).await;
    reader.subscribe("expires", 2).await;
    let expiring = |id: u16, payload: &str| {
        let properties = [5, 0x02, 0, 0, 0, 1];
        packet(0x34, &[&text("expires")[..], &id.to_be_bytes(), &properties, payload.as_bytes()].concat())
    };
    let mut writer = Peer::new(address, true).await;
    writer.send(&expiring(1, "begun")).await;
    writer.hears(0x50, 1).await;
    let first = reader.message().await;
    assert_eq!(first.payload, "begun");
    drop(reader);
    writer.send(&expiring(2, "never")).await;
    writer.hears(0x50, 2).await;
    // Both times are over.
    tokio::time::sleep(std::time::Duration::from_millis(1_100)).await;
    let mut reader = stays(true).open(address).await;
    let again = reader.message().await;
    assert_eq!((again.dup, again.id, &*again.payload), (true, first.id, "begun"));
    reader.say(0x50, again.id).await;
    reader.hears(0x62, again.id).await;
    reader.say(0x70, again.id).await;
    writer.publish(1, "expires", 3, "marker").await;
    assert_eq!(reader.message().await.payload, "marker", "what was not begun has expired");
    // The receiver's side goes on as well.
    for id in [1, 2] {
        writer.say(0x62, id).await;
        writer.hears(0x70, id).await;
    }
    router.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_unsubscribes_gets_the_end_of_what_was_begun_and_nothing_new() {
    let (router, address) = start().await;
    for five in VERSIONS {
        let mut reader = Peer::new(address, five).await;
        reader.subscribe("ends/#", 2).await;
        let mut writer = Peer::new(address, five).await;
        writer.publish(2, "ends/a", 1, "begun").await;
        let came = reader.message().await;
        reader.say(0x50, came.id).await;
        reader.hears(0x62, came.id).await;
        reader.subscribe("marker", 0).await;
        assert_eq!(reader.ask(&subscribe(five, 0xa2, 1, &[("ends/#", None)])).await.first, 0xb0);
        writer.publish(2, "ends/a", 1, "never").await;
        writer.publish(0, "marker", 0, "").await;
        assert_eq!(reader.message().await.topic, "marker");
        reader.say(0x70, came.id).await;
        assert_eq!(reader.ask(&[0xc0, 0]).await.first, 0xd0);
    }
    router.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_acknowledged_comes_again_with_dup_and_what_is_refused_does_not() {
    let (router, address) = start().await;
    for five in VERSIONS {
        let mut reader = stays(five).open(address).await;
        reader.subscribe("retry/#", 2).await;
        let mut writer = Peer::new(address, five).await;
        writer.publish(1, "retry/a", 1, "one").await;
        writer.publish(2, "retry/a", 1, "two").await;
        let (one, two) = (reader.message().await, reader.message().await);
        assert!(!one.dup && !two.dup);
        if five {
            writer.publish(1, "retry/a", 1, "refused").await;
            let refused = reader.message().await;
            reader.send(&packet(0x40, &[&refused.id.to_be_bytes()[..], &[0x80, 0]].concat())).await;
            // It is heard before the end.
            assert_eq!(reader.ask(&[0xc0, 0]).await.first, 0xd0);
        }
        drop(reader);
        let mut reader = stays(five).open(address).await;
        assert!(reader.present());
        let (first, second) = (reader.message().await, reader.message().await);
        assert!(first.dup && second.dup);
        assert_eq!((&*first.payload, &*second.payload), ("one", "two"), "in order");
        assert_eq!(second.id, two.id);
        reader.say(0x40, first.id).await;
        reader.say(0x50, second.id).await;
        reader.hears(0x62, second.id).await;
        reader.say(0x70, second.id).await;
        writer.publish(1, "retry/a", 1, "marker").await;
        assert_eq!(reader.message().await.payload, "marker");
        let fresh = Connect { clean: true, properties: &[], ..stays(five) };
        fresh.open(address).await.send(&[0xe0, 0]).await;
    }
    router.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_subscription_may_meet_topics_with_and_without_a_log() {
    let setup = Setup::open().config(|config| config.logs[0].topics = vec!["part/kept/#".into()]);
    let router = serving(setup).start().await;
    let address = router.reach.gateways["mqtt"];
    for five in VERSIONS {
        let mut reader = stays(five).open(address).await;
        reader.subscribe("part/#", 2).await;
        let mut writer = Peer::new(address, five).await;
        for topic in ["part/kept/a", "part/other"] {
            writer.publish(2, topic, 1, "live").await;
            let came = reader.message().await;
            assert_eq!((&*came.topic, came.qos), (topic, 2));
            reader.say(0x50, came.id).await;
            reader.hears(0x62, came.id).await;
            reader.say(0x70, came.id).await;
        }
        // An identifier of a message that is in no log is remembered as well.
        for _ in 0..2 {
            writer.send(&publish(five, 4, b"part/other", Some(2), "once")).await;
            writer.hears(0x50, 2).await;
        }
        let came = reader.message().await;
        assert_eq!(came.payload, "once");
        drop(reader);
        for topic in ["part/other", "part/kept/a"] {
            writer.publish(1, topic, 1, "away").await;
        }
        let mut reader = stays(five).open(address).await;
        let came = reader.message().await;
        assert_eq!((&*came.topic, &*came.payload), ("part/kept/a", "away"), "no log has the other");
        let fresh = Connect { clean: true, properties: &[], ..stays(five) };
        fresh.open(address).await.send(&[0xe0, 0]).await;
    }
    router.stop().await;
}
