//! CONNECT, CONNACK, the end.

use weir::config::Mqtt;

use super::peer::{Peer, connect, publish};
use super::{VERSIONS, serving, start};
use crate::harness::Setup;
use crate::harness::mqtt::{Raw, packet, text};

/// What comes until the router ends the connection.
async fn answer(address: std::net::SocketAddr, bytes: &[u8]) -> Vec<(u8, Vec<u8>)> {
    let (mut raw, mut all) = (Raw::dial(address).await, Vec::new());
    raw.write(bytes).await;
    while let Some(heard) = raw.try_next().await {
        all.push(heard);
    }
    all
}

/// Whether a CONNECT is taken.
async fn was_let_in(address: std::net::SocketAddr, bytes: &[u8]) -> bool {
    let mut raw = Raw::dial(address).await;
    raw.write(bytes).await;
    let heard = raw.try_next().await;
    heard.is_some_and(|(first, body)| first != 0x20 || body[1] == 0)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_begins_with_connect_and_has_one() {
    let (router, address) = start().await;
    for five in VERSIONS {
        assert_eq!(answer(address, &publish(five, 0, b"a", None, "x")).await, []);
        let mut peer = Peer::new(address, five).await;
        peer.send(&connect(five).bytes()).await;
        peer.ends(0x82).await;
    }
    router.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connect_that_is_malformed_is_not_answered_with_success() {
    let (router, address) = start().await;
    let mut tolerated = Vec::new();
    let will = |topic: &[u8]| [&[0, u8::try_from(topic.len()).unwrap()][..], topic, &[0, 1, b'x']].concat();
    for five in VERSIONS {
        let with = |flags: u8, rest: &[u8]| {
            let none: &[u8] = if five && flags & 4 != 0 { &[0] } else { &[] };
            let rest = [none, rest].concat();
            super::peer::Connect { flags, rest: &rest, ..connect(five) }.bytes()
        };
        let level = if five { 5 } else { 4 };
        let named = |client: &[u8]| {
            let mut body = [&text("MQTT")[..], &[level, 2, 0, 0]].concat();
            body.extend(super::peer::properties(five, &[]));
            body.extend([0, u8::try_from(client.len()).unwrap()]);
            packet(0x10, &[&body[..], client].concat())
        };
        let mut cases = vec![
            ("the reserved flag", with(1, &[])),
            ("QoS of no will", with(0x08, &[])),
            ("retain of no will", with(0x20, &[])),
            ("a will of QoS 3", with(0x1c, &will(b"t"))),
            ("a will that is not there", with(0x04, &[])),
            ("a will's topic that is no UTF-8", with(0x04, &will(b"\xff"))),
            ("a user that is not there", with(0x80, &[])),
            ("a user that is no UTF-8", with(0x80, &[0, 1, 0xff])),
            ("a password that is not there", with(0xc0, &[0, 1, b'u'])),
            ("something behind the last field", with(0, &[1])),
            ("a client that is no UTF-8", named(b"\xed\xa0\x80")),
            ("a client with NUL", named(b"a\0b")),
            ("no client", packet(0x10, &[&text("MQTT")[..], &[level, 2, 0, 0]].concat())),
            ("another protocol", packet(0x10, &[&text("MQTX")[..], &[level, 2, 0, 0, 0, 0, 0]].concat())),
            ("flags of the first byte", [&[0x11], &connect(five).bytes()[1..]].concat()),
        ];
        if !five {
            cases.push(("a password without a user", with(0x40, &[0, 1, b'p'])));
        }
        for (what, bytes) in cases {
            if was_let_in(address, &bytes).await {
                tolerated.push((five, what));
            }
        }
    }
    assert_eq!(tolerated, []);
    router.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_without_a_name_get_one() {
    let (router, address) = start().await;
    let long = "x".repeat(129);
    for five in VERSIONS {
        let named = |client, clean| super::peer::Connect { client, clean, ..connect(five) };
        let one = named("", true).open(address).await;
        let two = named("", true).open(address).await;
        assert_eq!((one.connack.first, one.connack.body[1]), (0x20, 0));
        let longest = "0123456789abcdefghijklmNOPQRSTUVWXYZ".get(..23).unwrap();
        assert_eq!(named(longest, true).open(address).await.connack.body[1], 0);
        if five {
            // Property 0x12.
            let assigned = |peer: &Peer| {
                let body = &peer.connack.body;
                let at = body.iter().position(|byte| *byte == 0x12).expect("an assigned identifier");
                body[at + 3..at + 3 + usize::from(body[at + 2])].to_vec()
            };
            assert_ne!(assigned(&one), assigned(&two));
            assert_eq!(named("", false).open(address).await.connack.body[1], 0);
        } else {
            let said = answer(address, &named("", false).bytes()).await;
            assert_eq!(said, [(0x20, vec![0, 2])]);
        }
        let said = answer(address, &named(&long, true).bytes()).await;
        assert_eq!((said.len(), said[0].1[1]), (1, if five { 0x85 } else { 2 }));
    }
    router.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_behind_a_connect_that_is_refused_counts() {
    let router = serving(Setup::keyed()).start().await;
    let address = router.reach.gateways["mqtt"];
    let (key, _) = router.key("reader", &["#"], &["#"], "").await;
    let password = [&text("any")[..], &text(&key)].concat();
    for five in VERSIONS {
        let let_in = super::peer::Connect { flags: 0xc0, rest: &password, ..connect(five) };
        let mut watcher = let_in.open(address).await;
        watcher.subscribe("#", 0).await;
        let both = [connect(five).bytes(), publish(five, 0, b"a", None, "forged")].concat();
        let said = answer(address, &both).await;
        assert_eq!(said.len(), 1);
        assert_eq!((said[0].0, &said[0].1[..2]), (0x20, if five { &[0, 0x87][..] } else { &[0, 5] }));
        watcher.publish(0, "marker", 0, "").await;
        assert_eq!(watcher.message().await.topic, "marker");
    }
    router.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_is_there_or_not_as_connack_says() {
    let (router, address) = start().await;
    for five in VERSIONS {
        let keeps = [0x11, 0, 0, 0xff, 0xff];
        let with = |clean| {
            let properties: &[u8] = if five { &keeps } else { &[] };
            super::peer::Connect { client: "s", clean, properties, ..connect(five) }
        };
        // (Clean, there is one, it is said.)
        for (clean, present) in [(true, false), (false, five), (false, true), (true, false), (false, five)] {
            let peer = with(clean).open(address).await;
            assert_eq!((peer.connack.body[1], peer.present()), (0, present), "{five} {clean}");
            assert_eq!(peer.connack.body[0] & 0xfe, 0);
        }
        with(true).open(address).await.send(&[0xe0, 0]).await;
    }
    router.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_session_more_than_there_may_be_is_refused() {
    let setup = Setup::open().config(|config| {
        let listen = "127.0.0.1:0".parse().unwrap();
        config.mqtt = Some(Mqtt { listen, sessions: 1, ..Mqtt::default() });
    });
    let router = setup.start().await;
    let address = router.reach.gateways["mqtt"];
    for five in VERSIONS {
        let properties: &[u8] = if five { &[0x11, 0, 0, 0xff, 0xff] } else { &[] };
        let with = |client| super::peer::Connect { client, clean: false, properties, ..connect(five) };
        let mut first = with("first").open(address).await;
        assert_eq!(first.connack.body[1], 0);
        let said = answer(address, &with("second").bytes()).await;
        assert_eq!((said.len(), said[0].1[1]), (1, if five { 0x97 } else { 3 }));
        // Who needs none comes in, and so does who has one.
        assert_eq!(Peer::new(address, five).await.connack.body[1], 0);
        first.send(&[0xe0, 0]).await;
        assert_eq!(
            super::peer::Connect { client: "first", ..connect(five) }.open(address).await.connack.body[1],
            0
        );
    }
    router.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn version_5_s_wishes_of_connect_are_respected() {
    let (router, address) = start().await;
    let with = |properties| super::peer::Connect { properties, ..connect(true) };
    // An authentication method: there is none.
    let said = answer(address, &with(&[0x15, 0, 1, b'x']).bytes()).await;
    assert_eq!((said.len(), said[0].0, said[0].1[1]), (1, 0x20, 0x8c));
    for (what, properties) in [
        ("a receive maximum of 0", &[0x21, 0, 0][..]),
        ("a maximum packet size of 0", &[0x27, 0, 0, 0, 0]),
        ("a property twice", &[0x21, 0, 1, 0x21, 0, 1]),
        ("a property of another packet", &[0x23, 0, 1]),
        ("request problem information of 2", &[0x17, 2]),
    ] {
        assert!(!was_let_in(address, &with(properties).bytes()).await, "{what}");
    }
    // Reasons are given, unless they are not wanted, or too long for the client.
    let denied = publish(true, 2, b"$denied", Some(1), "");
    let heard = Peer::new(address, true).await.ask(&denied).await;
    assert!(heard.first == 0x40 && heard.body[2] == 0x87 && heard.body.len() > 4, "{heard:?}");
    for properties in [&[0x17, 0][..], &[0x27, 0, 0, 0, 20]] {
        let named = super::peer::Connect { client: "named", ..with(properties) };
        let mut peer = named.open(address).await;
        assert_eq!(peer.connack.body[1], 0, "{:x?}", peer.connack);
        let heard = peer.ask(&denied).await;
        assert_eq!((heard.first, &heard.body[..3]), (0x40, &[0, 1, 0x87][..]));
        assert!(heard.body.len() <= 4, "{heard:?}");
    }
    // No AUTH without a method, and no response information.
    let named = super::peer::Connect { client: "named", ..with(&[0x19, 0]) };
    let mut peer = named.open(address).await;
    assert!(!peer.connack.body.contains(&0x1a));
    peer.send(&[0xf0, 2, 0x18, 0]).await;
    peer.ends(0x82).await;
    router.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_will_is_published_as_it_was_given() {
    let (router, address) = start().await;
    for five in VERSIONS {
        let mut watcher = Peer::new(address, five).await;
        watcher.subscribe("will", 2).await;
        for (qos, retain) in [(0, false), (1, true), (2, false)] {
            // User properties in their order.
            let properties = b"\x26\x00\x01b\x00\x012\x26\x00\x01a\x00\x011\x26\x00\x01b\x00\x013";
            let mut rest = super::peer::properties(five, properties);
            rest.extend([&text("will")[..], &text("gone")].concat());
            let flags = 4 | qos << 3 | if retain { 0x20 } else { 0 };
            let leaves = super::peer::Connect { flags, rest: &rest, ..connect(five) };
            drop(leaves.open(address).await);
            let came = watcher.message().await;
            assert_eq!((came.qos, came.retain, &*came.payload), (qos, false, "gone"));
            if five {
                assert_eq!(came.properties, properties);
            }
            match qos {
                0 => {}
                1 => watcher.say(0x40, came.id).await,
                _ => {
                    watcher.say(0x50, came.id).await;
                    watcher.hears(0x62, came.id).await;
                    watcher.say(0x70, came.id).await;
                }
            }
            let mut late = Peer::new(address, five).await;
            late.subscribe("will", 0).await;
            if retain {
                assert!(late.message().await.retain);
                late.send(&publish(five, 1, b"will", None, "")).await;
                assert_eq!(watcher.message().await.payload, "");
            }
            // A goodbye takes it along.
            leaves.open(address).await.send(&[0xe0, 0]).await;
        }
        watcher.publish(0, "will", 0, "marker").await;
        assert_eq!(watcher.message().await.payload, "marker");
    }
    router.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_will_is_published_when_the_router_stops() {
    let (router, address) = start().await;
    let properties: &[u8] = &[0x11, 0, 0, 0xff, 0xff];
    let stays = super::peer::Connect { client: "watcher", clean: false, properties, ..connect(true) };
    let mut watcher = stays.open(address).await;
    watcher.subscribe("will", 1).await;
    // Whatever its delay: nobody would publish it later.
    let rest = [&[5, 0x18, 0, 0, 0xff, 0xff][..], &text("will"), &text("stopped")].concat();
    let leaves = super::peer::Connect { client: "l", flags: 12, rest: &rest, ..stays.clone() };
    let leaving = leaves.open(address).await;
    let folders = router.stop().await;
    drop((watcher, leaving));
    let router = serving(Setup::over(&folders)).start().await;
    let mut watcher = stays.open(router.reach.gateways["mqtt"]).await;
    assert_eq!(watcher.message().await.payload, "stopped");
    router.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_goodbye_is_heard_and_what_is_no_packet_is_not() {
    let (router, address) = start().await;
    let mut tolerated = Vec::new();
    for five in VERSIONS {
        let mut peer = Peer::new(address, five).await;
        assert_eq!(peer.ask(&[0xc0, 0]).await.first, 0xd0, "PINGRESP");
        peer.send(&[0xe0, 0]).await;
        assert_eq!(peer.rest().await, [], "the router closes, too");
        for (what, bytes) in [
            ("flags of DISCONNECT", &[0xe1, 0][..]),
            ("flags of PINGREQ", &[0xc2, 0]),
            ("flags of PUBACK", &[0x42, 2, 0, 1]),
            ("flags of PUBREC", &[0x52, 2, 0, 1]),
            ("flags of PUBREL", &[0x60, 2, 0, 1]),
            ("flags of PUBCOMP", &[0x72, 2, 0, 1]),
            ("CONNACK", &[0x20, 2, 0, 0]),
            ("SUBACK", &[0x90, 3, 0, 1, 0]),
            ("UNSUBACK", &[0xb0, 2, 0, 1]),
            ("PINGRESP", &[0xd0, 0]),
            ("no type", &[0x00, 0]),
            ("a length of five bytes", &[0x30, 0xff, 0xff, 0xff, 0xff, 1]),
            ("PINGREQ with a body", &[0xc0, 1, 0]),
            ("PUBACK without an identifier", &[0x40, 0]),
        ] {
            if !Peer::new(address, five).await.breaks_with(bytes).await {
                tolerated.push((five, what));
            }
        }
    }
    assert_eq!(tolerated, []);
    router.stop().await;
}
