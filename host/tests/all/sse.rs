//! `GET /v1/subscribe`: server-sent events, as a page or curl reads them.

use serde_json::{Value, json};
use weir::config::{DeliveryRule, Overflow};

use crate::harness::{API_KEY, Events, Router, Setup, eventually, parse_event as parse};

async fn connections(router: &Router) -> Vec<Value> {
    let listed = router.admin("GET", "/v1/connections", "").await.json;
    listed["connections"].as_array().unwrap().clone()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_as_they_are_published() {
    let router = Setup::open().start().await;
    let mut events = Events::open(router.http, "?topic=a/%2B&topic=b&topic=b&client_id=page", &[]).await;
    for header in ["content-type: text/event-stream\r\n", "cache-control: no-store\r\n", "chunked\r\n"] {
        assert!(events.head.contains(header), "{header}: {}", events.head);
    }
    let opening = events.event("subscribed").await;
    assert_eq!(
        (opening.retry, &opening.data["ok"], &opening.data["topics"]),
        (Some(1_000), &json!(true), &json!(["a/+", "b"]))
    );
    let mut writer = router.client("writer").await;
    let mut ws = router.client("reader").await;
    ws.subscribe("#").await;
    for (n, topic) in ["a/1", "c", "b", "a/2/3", "a/"].into_iter().enumerate() {
        assert_eq!(writer.publish(topic, json!(n)).await["outcome"], "accepted");
        let delivery = ws.message().await;
        if topic == "c" || topic == "a/2/3" {
            continue;
        }
        let event = events.event("message").await;
        assert_eq!(event.data, delivery, "the same JSON as over WebSocket");
        let (epoch, offset) = (&delivery["epoch"], &delivery["offset"]);
        assert_eq!(event.id, Some(format!("default:{epoch}:{offset}")));
    }
    // White space of a payload goes through, line ends and all.
    let raw = "{\"event\":\n\"close\",\r\n\n\"x\":\"\\n\"}";
    assert_eq!(
        router.http("POST", "/v1/publish?topic=b", &[("content-type", "application/json")], raw).await.status,
        201
    );
    assert_eq!(events.event("message").await.data["data"], json!({"event": "close", "x": "\n"}));
    let listed = connections(&router).await;
    let page = listed.iter().find(|connection| connection["name"] == "page").unwrap();
    assert_eq!((&page["subscriptions"], &page["delivered"]), (&json!(["a/+", "b"]), &json!(4)));
    // A client that goes away leaves nothing behind.
    drop(events);
    let gone = async || (connections(&router).await.len() == 2).then_some(());
    eventually("the session of a client that went away ends", gone).await;
    router.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_subscribed_to_is_refused() {
    let router = Setup::keyed().config(|config| config.limits.subscriptions_per_session = 2).start().await;
    let (key, _) = router.key("page", &[], &["a/#"], "").await;
    for (query, status, outcome, reason) in [
        ("?topic=a/1", 401, "unauthenticated", "no valid API key"),
        (&format!("?topic=b&api_key={key}"), 403, "denied", "subscribe"),
        (&format!("?topic=a/1&topic=b&api_key={key}"), 403, "denied", "subscribe"),
        (&format!("?api_key={key}"), 400, "invalid", "`topic` is missing"),
        (&format!("?topic=a/%23/b&api_key={key}"), 400, "invalid", "topic pattern"),
        (
            &format!("?topics=a&api_key={key}"),
            400,
            "invalid",
            "\"topics\" is not known here: accepted are topic",
        ),
        (
            &format!("?topic=a/1&topic=a/2&topic=a/3&api_key={key}"),
            400,
            "invalid",
            "2 subscriptions are held",
        ),
    ] {
        let answer = router.http("GET", &format!("/v1/subscribe{query}"), &[], "").await;
        assert_eq!(
            (answer.status, &answer.json["outcome"]),
            (status, &json!(outcome)),
            "{query}: {answer:?}"
        );
        assert!(answer.json["reason"].as_str().unwrap().contains(reason), "{query}: {answer:?}");
    }
    let foreign = [("origin", "http://elsewhere.example"), ("x-api-key", &*key)];
    let refused = router.http("GET", "/v1/subscribe?topic=a/1", &foreign, "").await;
    assert_eq!((refused.status, &refused.json["outcome"]), (403, &json!("denied")));
    let none = async || connections(&router).await.is_empty().then_some(());
    eventually("no session is left of what was refused", none).await;
    router.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_ends_with_a_reason() {
    let router = Setup::keyed().start().await;
    let (revoked, id) = router.key("revoked", &[], &["#"], "").await;
    let (stays, _) = router.key("stays", &[], &["#"], "").await;
    let mut first = Events::open(router.http, "?topic=a", &[("x-api-key", &revoked)]).await;
    let mut second =
        Events::open(router.http, "?topic=a", &[("authorization", &format!("Bearer {stays}"))]).await;
    for events in [&mut first, &mut second] {
        events.event("subscribed").await;
    }
    assert_eq!(router.admin("DELETE", &format!("/v1/keys/{id}"), "").await.status, 200);
    let close = first.event("close").await;
    assert_eq!(close.data, json!({"code": 1008, "reason": "key revoked"}));
    assert_eq!(first.try_next().await, None);
    router.begin_stop();
    let close = second.event("close").await;
    assert_eq!(close.data, json!({"code": 1001, "reason": "the router is stopping"}));
    assert_eq!(second.try_next().await, None);
    router.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_right_that_is_withdrawn_ends_the_subscription_and_says_so() {
    let router = Setup::open().start().await;
    let mut events = Events::open(router.http, "?topic=a", &[]).await;
    events.event("subscribed").await;
    // Another auth plugin stands in its place: it does not know who this is.
    router.folders.replace("open.toml", API_KEY.as_bytes());
    router
        .until_plugin("open", |plugin| plugin["plugin"] == "stock:api-key" || plugin["state"] == "active")
        .await;
    let ended = events.next().await;
    assert!(["unsubscribed", "close"].contains(&&*ended.name), "{ended:?}");
    router.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_reader_is_cut_off_or_told_of_the_gap() {
    let setup = Setup::open().config(|config| {
        config.limits.queue_bytes = 256 * 1024;
        config.limits.write = std::time::Duration::from_secs(600);
        config.delivery = vec![DeliveryRule { topics: vec!["lossy".into()], overflow: Overflow::DropOldest }];
    });
    let router = setup.start().await;
    let mut writer = router.client("writer").await;
    let ballast = "x".repeat(16 * 1024);
    let mut stuck = Vec::new();
    for topic in ["lossy", "strict"] {
        let query = format!("?topic={topic}&client_id={topic}");
        stuck.push(Events::open(router.http, &query, &[]).await);
    }
    let listed = async |name: &str| {
        connections(&router).await.into_iter().find(|connection| connection["name"] == name).unwrap()
    };
    let mut published = 0;
    loop {
        assert!(published < 20_000, "readers that never read were never too slow");
        for _ in 0..20 {
            for topic in ["lossy", "strict"] {
                let answer = writer.publish(topic, json!({"n": published, "ballast": ballast})).await;
                assert_eq!(answer["outcome"], "accepted");
            }
            published += 1;
        }
        let (lossy, strict) = (listed("lossy").await, listed("strict").await);
        assert!(lossy["queued_bytes"].as_u64() <= Some(256 * 1024), "{lossy}");
        if lossy["lost"].as_u64() > Some(20) && strict["queued_bytes"] == 0 && strict["queued"] == 1 {
            break;
        }
    }
    let (mut strict, mut lossy) = (stuck.pop().unwrap(), stuck.pop().unwrap());
    strict.event("subscribed").await;
    let mut n = 0;
    let close = loop {
        let event = strict.next().await;
        if event.name == "close" {
            break event;
        }
        assert_eq!(event.data["data"]["n"], n, "in order up to the cut");
        n += 1;
    };
    assert_eq!(close.data["code"], 1008, "{close:?}");
    assert!(close.data["reason"].as_str().unwrap().contains("slow reader"), "{close:?}");
    assert_eq!(strict.try_next().await, None);

    lossy.event("subscribed").await;
    let (mut delivered, mut lost) = (0, 0);
    while delivered + lost < published {
        let event = lossy.next().await;
        match &*event.name {
            "message" => {
                assert_eq!(event.data["data"]["n"], delivered + lost, "in order, apart from gaps");
                delivered += 1;
            }
            "gap" => lost += event.data["lost"].as_u64().unwrap(),
            other => panic!("{other}: {event:?}"),
        }
    }
    assert_eq!(listed("lossy").await["lost"], lost);
    router.stop().await;
}

/// Reads messages, and nothing else, until the payload is `last`; returns payloads and the last id.
async fn read_to(events: &mut Events, last: u64) -> (Vec<u64>, String) {
    let mut seen = Vec::new();
    loop {
        let event = events.next().await;
        if event.name == "caught-up" {
            continue;
        }
        assert_eq!(event.name, "message", "{event:?}");
        seen.push(event.data["data"].as_u64().unwrap());
        if seen.last() == Some(&last) {
            return (seen, event.id.unwrap());
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_that_was_cut_goes_on_where_it_was() {
    let router = Setup::open().start().await;
    let mut writer = router.client("writer").await;
    let reach = router.reach.clone();
    let publishing = tokio::spawn(async move {
        for n in 0..2_000 {
            assert_eq!(writer.publish(["a/1", "a/2"][n % 2], json!(n)).await["outcome"], "accepted");
        }
    });
    let mut id = String::new();
    let mut seen = Vec::new();
    for last in [0, 1, 300, 777, 1_500, 1_999] {
        let mut headers = Vec::new();
        if !id.is_empty() {
            headers.push(("last-event-id", &*id));
        }
        // The header wins, as it does when a page's EventSource comes back with the address that it has.
        let mut events = Events::open(reach.http, "?topic=a/%2B&since=start", &headers).await;
        let opening = events.event("subscribed").await;
        assert_eq!(opening.data["recovered"], true, "{opening:?}");
        let (more, at) = read_to(&mut events, last).await;
        seen.extend(more);
        id = at;
    }
    publishing.await.unwrap();
    assert_eq!(seen, (0..2_000).collect::<Vec<_>>(), "no gap and no double");
    router.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_published_while_nobody_reads_is_not_missed() {
    let router = Setup::open().start().await;
    let mut writer = router.client("writer").await;
    // No message so far: even then there is a place to come back to.
    let mut events = Events::open(router.http, "?topic=a", &[]).await;
    let id = events.event("subscribed").await.id.unwrap();
    assert_eq!(id, "start");
    drop(events);
    for n in 0..3 {
        writer.publish_at("logged", "a", json!(n)).await;
    }
    let mut events = Events::open(router.http, "?topic=a", &[("last-event-id", &id)]).await;
    events.event("subscribed").await;
    assert_eq!(read_to(&mut events, 2).await.0, [0, 1, 2]);
    // Now there is one, and a stream that begins now says it at once.
    let opening = Events::open(router.http, "?topic=a", &[]).await.event("subscribed").await;
    let place = &opening.data["places"]["default"];
    assert_eq!(opening.id.unwrap(), format!("default:{}:{}", place["epoch"], place["offset"]));
    assert_eq!((&place["offset"], opening.data.get("recovered")), (&json!(2), None));
    router.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_several_topics_an_id_passes_nothing() {
    let router = Setup::open().start().await;
    let mut writer = router.client("writer").await;
    for n in 0..20 {
        writer.publish_at("logged", ["a", "b"][n % 2], json!(n)).await;
    }
    let mut events = Events::open(router.http, "?topic=a&topic=b&since=start", &[]).await;
    let begin = events.event("subscribed").await.id;
    let (mut behind, mut seen) = (2, Vec::new());
    while behind > 0 {
        let event = events.next().await;
        if event.name == "caught-up" {
            behind -= 1;
        } else {
            assert_eq!((&*event.name, &event.id), ("message", &begin), "{event:?}");
            seen.push(event.data["data"].as_u64().unwrap());
        }
    }
    seen.sort_unstable();
    assert_eq!(seen, (0..20).collect::<Vec<_>>());
    writer.publish_at("logged", "b", json!(20)).await;
    let (_, id) = read_to(&mut events, 20).await;
    writer.publish_at("logged", "a", json!(21)).await;
    let mut again = Events::open(router.http, "?topic=a&topic=b", &[("last-event-id", &id)]).await;
    again.event("subscribed").await;
    assert_eq!(read_to(&mut again, 21).await.0, [21]);
    router.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_place_that_is_none_is_said() {
    let router = Setup::open().start().await;
    let mut writer = router.client("writer").await;
    writer.publish_at("logged", "a", json!(0)).await;
    for (query, headers) in [
        ("?topic=a&since=yesterday", vec![]),
        ("?topic=a&since=now", vec![("last-event-id", "7")]),
        ("?topic=a", vec![("last-event-id", "nowhere:1:2")]),
    ] {
        let answer = router.http("GET", &format!("/v1/subscribe{query}"), &headers, "").await;
        assert_eq!((answer.status, &answer.json["outcome"]), (400, &json!("invalid")), "{query} {headers:?}");
    }
    let mut events = Events::open(router.http, "?topic=a&since=default:1:99", &[]).await;
    let opening = events.event("subscribed").await;
    assert_eq!(opening.data["recovered"], false, "{opening:?}");
    assert_eq!(opening.data["oldest"]["default"]["offset"], 0, "{opening:?}");
    assert_eq!(read_to(&mut events, 0).await.0, [0]);
    // A place that a crash took may be of a younger life than what is left: it is not where to go on.
    let lost = format!("default:{}:99", u64::MAX >> 1);
    let mut events = Events::open(router.http, "?topic=a", &[("last-event-id", &lost)]).await;
    let opening = events.event("subscribed").await;
    assert_eq!((&opening.data["recovered"], opening.id.as_deref()), (&json!(false), Some("start")));
    let (numbers, id) = read_to(&mut events, 0).await;
    assert_eq!(numbers, [0]);
    let mut events = Events::open(router.http, "?topic=a", &[("last-event-id", &id)]).await;
    assert_eq!(events.event("subscribed").await.data["recovered"], true, "{id}");
    router.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_example_on_the_page_is_true() {
    let page = include_str!("../../../docs/protocol.md");
    let example = page.split("```events\n").nth(1).unwrap().split("```").next().unwrap();
    let expected: Vec<_> = example.split("\n\n").filter_map(parse).collect();
    assert_eq!(expected.len(), 4, "{expected:?}");
    let router = Setup::open().start().await;
    let mut events = Events::open(router.http, "?topic=news/%23", &[]).await;
    let mut writer = router.client("writer").await;
    let keys = |data: &Value| data.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    for wanted in &expected {
        match &*wanted.name {
            "message" => drop(writer.publish("news/a", json!(7)).await),
            "close" => router.begin_stop(),
            // Shown by a_slow_reader_is_cut_off_or_told_of_the_gap.
            "gap" => continue,
            _ => {}
        }
        let event = events.next().await;
        assert_eq!(
            (&event.name, event.retry, event.id.is_some()),
            (&wanted.name, wanted.retry, wanted.id.is_some())
        );
        assert_eq!(keys(&event.data), keys(&wanted.data));
    }
    assert_eq!(events.try_next().await, None);
    router.stop().await;
}
