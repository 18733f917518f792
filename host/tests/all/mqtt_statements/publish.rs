//! PUBLISH of a client, and what it is answered.

use std::num::NonZeroU16;

use weir::config::Mqtt;

use super::peer::{Peer, connect, publish};
use super::{VERSIONS, start};
use crate::harness::Setup;
use crate::harness::mqtt::{packet, text};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_publish_that_is_malformed_ends_the_connection() {
    let (router, address) = start().await;
    let mut tolerated = Vec::new();
    for five in VERSIONS {
        let body = |topic: &str, rest: &[u8]| [&text(topic)[..], rest].concat();
        let mut cases = vec![
            ("QoS 3", publish(five, 6, b"a", Some(1), "")),
            ("DUP at QoS 0", publish(five, 8, b"a", None, "")),
            ("identifier 0", publish(five, 2, b"a", Some(0), "")),
            ("no identifier", packet(0x32, &text("a"))),
            ("a wildcard", publish(five, 0, b"a/+", None, "")),
            ("another wildcard", publish(five, 0, b"#", None, "")),
            ("no topic", publish(five, 0, b"", None, "")),
            ("NUL", publish(five, 0, b"a\0", None, "")),
            ("no UTF-8", publish(five, 0, b"\xff", None, "")),
            ("a surrogate", publish(five, 0, b"\xed\xa0\x80", None, "")),
            ("a topic that is cut", packet(0x30, &[0, 9, b'a'])),
        ];
        if five {
            cases.extend([
                ("alias 0", packet(0x30, &body("a", &[3, 0x23, 0, 0]))),
                ("an alias above the maximum", packet(0x30, &body("a", &[3, 0x23, 0xff, 0xff]))),
                ("an alias that is not known", packet(0x30, &body("", &[3, 0x23, 0, 1]))),
                ("a subscription identifier", packet(0x30, &body("a", &[2, 0x0b, 1]))),
                ("a response topic with a wildcard", packet(0x30, &body("a", &[4, 0x08, 0, 1, b'#']))),
                ("a content type that is no UTF-8", packet(0x30, &body("a", &[4, 0x03, 0, 1, 0xff]))),
                (
                    "a user property that is no UTF-8",
                    packet(0x30, &body("a", &[7, 0x26, 0, 1, b'a', 0, 1, 0xff])),
                ),
                ("a property twice", packet(0x30, &body("a", &[4, 1, 0, 1, 0]))),
                ("properties that are cut", packet(0x30, &body("a", &[9, 1]))),
            ]);
        }
        for (what, bytes) in cases {
            if !Peer::new(address, five).await.breaks_with(&bytes).await {
                tolerated.push((five, what));
            }
        }
    }
    assert_eq!(tolerated, []);
    router.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_larger_than_connack_says_ends_the_connection() {
    let setup = Setup::open().config(|config| {
        config.limits.message_bytes = 1_000;
        let listen = "127.0.0.1:0".parse().unwrap();
        config.mqtt = Some(Mqtt { listen, ..Mqtt::default() });
    });
    let router = setup.start().await;
    let address = router.reach.gateways["mqtt"];
    let peer = Peer::new(address, true).await;
    let at = peer.connack.body.iter().position(|byte| *byte == 0x27).expect("a maximum packet size");
    let most = u32::from_be_bytes(peer.connack.body[at + 1..at + 5].try_into().unwrap());
    for five in VERSIONS {
        let mut peer = Peer::new(address, five).await;
        let heard = peer.ask(&publish(five, 2, b"a", Some(1), &"x".repeat(1_001))).await;
        // Too large for a message, and not for a packet: that alone is refused.
        assert_eq!((heard.first, heard.body.get(2)), (0x40, five.then_some(&0x97)));
        let over = publish(five, 0, b"a", None, &"x".repeat(most as usize));
        peer.send(&over[..1_000]).await;
        peer.ends(0x95).await;
    }
    router.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_publish_is_acknowledged_by_its_qos_in_order() {
    let (router, address) = start().await;
    for five in VERSIONS {
        let mut peer = Peer::new(address, five).await;
        peer.publish(0, "a", 0, "").await;
        for id in [7, 3, 65_535, 1] {
            peer.send(&publish(five, 2, b"a", Some(id), "")).await;
        }
        for id in [7, 3, 65_535, 1] {
            peer.hears(0x40, id).await;
        }
        for id in [7, 3, 65_535, 1] {
            peer.send(&publish(five, 4, b"a", Some(id), "")).await;
        }
        for id in [7, 3, 65_535, 1] {
            peer.hears(0x50, id).await;
        }
        for id in [3, 7, 1, 65_535] {
            peer.say(0x62, id).await;
            peer.hears(0x70, id).await;
        }
        // What is not known is nevertheless answered.
        peer.say(0x62, 99).await;
        match five {
            true => assert_eq!(peer.next().await.body[..3], [0, 99, 0x92]),
            false => peer.hears(0x70, 99).await,
        }
    }
    router.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_identifier_is_new_once_it_is_acknowledged_and_not_before() {
    let (router, address) = start().await;
    for five in VERSIONS {
        let mut watcher = Peer::new(address, five).await;
        watcher.subscribe("seen/#", 0).await;
        let mut peer = Peer::new(address, five).await;
        // At QoS 1 whatever DUP says.
        for payload in ["1", "2"] {
            peer.send(&publish(five, 0x0a, b"seen/a", Some(1), payload)).await;
            peer.hears(0x40, 1).await;
        }
        // At QoS 2 once it is released.
        for _ in 0..3 {
            peer.send(&publish(five, 0x0c, b"seen/a", Some(1), "3")).await;
            peer.hears(0x50, 1).await;
        }
        peer.say(0x62, 1).await;
        peer.hears(0x70, 1).await;
        peer.publish(2, "seen/a", 1, "4").await;
        for payload in ["1", "2", "3", "4"] {
            let came = watcher.message().await;
            assert_eq!((&*came.payload, came.dup), (payload, false), "DUP is not handed on");
        }
        // What is refused is not taken: the next one is new. Version 3.1.1 has no words for it.
        let heard = peer.ask(&publish(five, 4, b"$denied", Some(2), "")).await;
        assert_eq!((heard.first, heard.body.get(2)), (0x50, five.then_some(&0x87)));
        if five {
            peer.publish(2, "seen/a", 2, "5").await;
            assert_eq!(watcher.message().await.payload, "5");
        }
    }
    router.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_than_the_receive_maximum_ends_the_connection() {
    let setup = Setup::open().config(|config| {
        let (listen, receive_maximum) = ("127.0.0.1:0".parse().unwrap(), NonZeroU16::new(2).unwrap());
        config.mqtt = Some(Mqtt { listen, receive_maximum, ..Mqtt::default() });
    });
    let router = setup.start().await;
    let address = router.reach.gateways["mqtt"];
    let mut peer = Peer::new(address, true).await;
    for id in [1, 2] {
        peer.send(&publish(true, 4, b"a", Some(id), "")).await;
        peer.hears(0x50, id).await;
    }
    // The same once more is not one more.
    peer.send(&publish(true, 0x0c, b"a", Some(2), "")).await;
    peer.hears(0x50, 2).await;
    peer.send(&publish(true, 4, b"a", Some(3), "")).await;
    peer.ends(0x93).await;
    router.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn aliases_are_a_connection_s_own() {
    let (router, address) = start().await;
    let aliased = |topic: &str, alias: u8, payload: &str| {
        packet(0x30, &[&text(topic)[..], &[3, 0x23, 0, alias], payload.as_bytes()].concat())
    };
    let mut watcher = Peer::new(address, true).await;
    watcher.subscribe("alias/#", 0).await;
    let mut peer = Peer::new(address, true).await;
    for (topic, alias, meant) in [
        ("alias/a", 1, "a"),
        ("", 1, "a"),
        ("alias/b", 64, "b"),
        ("", 64, "b"),
        ("alias/c", 1, "c"),
        ("", 1, "c"),
    ] {
        peer.send(&aliased(topic, alias, "x")).await;
        let came = watcher.message().await;
        assert_eq!(came.topic, format!("alias/{meant}"));
        // The watcher takes none.
        assert!(came.properties.is_empty());
    }
    let named = super::peer::Connect { client: "named", ..connect(true) };
    named.open(address).await.send(&aliased("alias/a", 2, "")).await;
    let mut again = named.open(address).await;
    again.send(&aliased("", 2, "")).await;
    again.ends(0x94).await;
    router.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_publish_says_of_itself_is_handed_on_as_it_was() {
    let (router, address) = start().await;
    // Content type, user properties, response topic, correlation, format; a byte order mark is a character.
    let properties =
        b"\x03\x00\x01t\x26\x00\x01b\x00\x00\x26\x00\x01a\x00\x011\x08\x00\x01r\x09\x00\x02\x00\xff\x01\x01";
    let topic = "said/\u{feff}x";
    let mut body = text(topic);
    body.extend(super::peer::properties(true, properties));
    let mut watcher = Peer::new(address, true).await;
    watcher.subscribe("said/#", 0).await;
    let mut peer = Peer::new(address, true).await;
    peer.send(&packet(0x30, &[&body[..], b"payload"].concat())).await;
    let came = watcher.message().await;
    assert_eq!((&*came.topic, &came.properties[..], &*came.payload), (topic, &properties[..], "payload"));
    // What is left of its time: that which it has waited is gone.
    let mut body = text("said/expires");
    body.extend(super::peer::properties(true, &[0x02, 0, 0, 0, 100]));
    peer.send(&packet(0x30, &body)).await;
    let came = watcher.message().await;
    assert!(came.properties[0] == 0x02 && (1..=100).contains(&came.properties[4]), "{came:?}");
    router.stop().await;
}
