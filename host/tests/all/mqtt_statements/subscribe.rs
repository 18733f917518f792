//! SUBSCRIBE and UNSUBSCRIBE, and what they match.

use super::peer::{Peer, publish, subscribe};
use super::{VERSIONS, start};
use crate::harness::mqtt::packet;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_subscribe_that_is_malformed_ends_the_connection() {
    let (router, address) = start().await;
    let mut tolerated = Vec::new();
    for five in VERSIONS {
        let one = |first, id, filter, options| subscribe(five, first, id, &[(filter, options)]);
        let none: &[u8] = if five { &[0, 1, 0] } else { &[0, 1] };
        let bare = |first: u8, filter: &[u8], options: &[u8]| {
            packet(first, &[none, &[0, u8::try_from(filter.len()).unwrap()], filter, options].concat())
        };
        let mut cases = vec![
            ("flags of SUBSCRIBE", one(0x80, 1, "a", Some(0))),
            ("flags of UNSUBSCRIBE", one(0xa0, 1, "a", None)),
            ("identifier 0", one(0x82, 0, "a", Some(0))),
            ("identifier 0 of UNSUBSCRIBE", one(0xa2, 0, "a", None)),
            ("no filter", packet(0x82, none)),
            ("no filter of UNSUBSCRIBE", packet(0xa2, none)),
            ("QoS 3", one(0x82, 1, "a", Some(3))),
            ("reserved bits", one(0x82, 1, "a", Some(0xc0))),
            ("no options", one(0x82, 1, "a", None)),
            ("no UTF-8", bare(0x82, b"\xff", &[0])),
            ("no UTF-8 of UNSUBSCRIBE", bare(0xa2, b"\xff", &[])),
            ("NUL", bare(0x82, b"a\0", &[0])),
        ];
        if five {
            cases.extend([
                ("retain handling 3", one(0x82, 1, "a", Some(0x30))),
                ("no local of a group", one(0x82, 1, "$share/g/a", Some(4))),
                ("subscription identifier 0", packet(0x82, &[0, 1, 2, 0x0b, 0, 0, 1, b'a', 0])),
            ]);
        } else {
            cases.push(("a bit that only version 5 knows", one(0x82, 1, "a", Some(4))));
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
async fn each_filter_has_its_answer_in_order() {
    let (router, address) = start().await;
    let bad = ["a#", "#/a", "a/#/b", "a+", "+a/b", ""];
    let no_groups = ["$share/g", "$share//a", "$share/g+/a"];
    for five in VERSIONS {
        let (none, failed) = if five { (&[0][..], 0x8f) } else { (&[][..], 0x80) };
        let mut peer = Peer::new(address, five).await;
        let filters =
            [("a", Some(2)), ("a#", Some(1)), ("+/b/#", Some(1)), ("$share/g/a", Some(1)), ("#", Some(0))];
        let heard = peer.ask(&subscribe(five, 0x82, 513, &filters)).await;
        let codes: Vec<u8> = heard.body[heard.body.len() - 5..].to_vec();
        assert_eq!(
            (heard.first, &heard.body[..2], &codes[..]),
            (0x90, &[2, 1][..], &[2, failed, 1, 1, 0][..])
        );
        for filter in bad {
            let heard = peer.ask(&subscribe(five, 0x82, 1, &[(filter, Some(0))])).await;
            assert_eq!((heard.first, heard.body.last()), (0x90, Some(&failed)), "{filter:?}");
        }
        for filter in no_groups {
            let bytes = subscribe(five, 0x82, 1, &[(filter, Some(0))]);
            match five {
                true => assert!(Peer::new(address, five).await.breaks_with(&bytes).await, "{filter:?}"),
                false => assert_eq!(peer.ask(&bytes).await.body, [0, 1, 0x80], "{filter:?}"),
            }
        }
        let heard = peer
            .ask(&subscribe(five, 0xa2, 514, &[("b", None), ("a", None), ("+/b/#", None), ("a", None)]))
            .await;
        let codes: &[u8] = if five { &[0x11, 0, 0, 0x11] } else { &[] };
        assert_eq!((heard.first, heard.body), (0xb0, [&[2, 2], none, codes].concat()));
    }
    router.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_filter_matches_what_it_says_and_nothing_else() {
    let (router, address) = start().await;
    let mut cases = 0;
    for five in VERSIONS {
        for (filter, topic, matches) in [
            ("a/#", "a", true),
            ("a/+", "a/", true),
            ("a/+", "a", false),
            ("+/+", "/a", true),
            ("/+", "/a", true),
            ("+", "/a", false),
            ("a//b", "a//b", true),
            ("a/b", "A/b", false),
            ("\u{e9}", "e\u{301}", false),
            ("a b", "a b", true),
            ("\u{feff}a", "a", false),
        ] {
            // Its own: what is left of the case before does not meet it.
            cases += 1;
            let (mut peer, end) = (Peer::new(address, five).await, format!("the/end/of/{cases}"));
            peer.subscribe(&end, 0).await;
            peer.subscribe(filter, 0).await;
            peer.publish(0, topic, 0, "x").await;
            peer.publish(0, &end, 0, "").await;
            let came = peer.message().await;
            assert_eq!(came.topic == topic, matches, "{filter:?} {topic:?}");
        }
        // Nobody sends to the router's own topics, and wildcards do not match them.
        let mut peer = Peer::new(address, five).await;
        peer.subscribe("#", 0).await;
        peer.subscribe("+/x", 0).await;
        let heard = peer.ask(&publish(five, 2, b"$own/x", Some(1), "")).await;
        assert_eq!((heard.first, heard.body.get(2)), (0x40, five.then_some(&0x87)));
        peer.publish(0, "marker", 0, "").await;
        assert_eq!(peer.message().await.topic, "marker");
    }
    router.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_filter_again_takes_the_place_of_the_first() {
    let (router, address) = start().await;
    for five in VERSIONS {
        let mut peer = Peer::new(address, five).await;
        peer.send(&publish(five, 3, b"again/a", Some(1), "kept")).await;
        peer.hears(0x40, 1).await;
        for qos in [1, 0, 1] {
            peer.subscribe("again/#", qos).await;
            let came = peer.message().await;
            assert_eq!((came.retain, came.qos, &*came.payload), (true, qos, "kept"));
            if qos == 1 {
                peer.say(0x40, came.id).await;
            }
        }
        // One subscription, and so one message, of the last one's QoS.
        peer.publish(0, "again/a", 0, "live").await;
        peer.publish(0, "again/a", 0, "end").await;
        for payload in ["live", "end"] {
            let came = peer.message().await;
            assert_eq!((came.retain, &*came.payload), (false, payload));
        }
        peer.send(&publish(five, 1, b"again/a", None, "")).await;
        assert_eq!(peer.message().await.payload, "");
        let heard = peer.ask(&subscribe(five, 0xa2, 7, &[("again/#", None)])).await;
        assert_eq!(heard.first, 0xb0);
    }
    router.stop().await;
}
