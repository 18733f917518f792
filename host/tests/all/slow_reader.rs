//! A page that stops reading slows nobody down, takes bounded memory, and is cut off.

use serde_json::json;

use crate::harness::{Setup, eventually};

const QUEUE_BYTES: usize = 256 * 1024;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_that_stops_reading_is_cut_off_and_everybody_else_gets_everything() {
    let setup = Setup::open().config(|config| {
        config.limits.queue_bytes = QUEUE_BYTES;
        // A socket that takes nothing at all is another matter.
        config.limits.write = std::time::Duration::from_secs(600);
    });
    let router = setup.start().await;
    let (mut stuck, mut reader) = (router.client("stuck").await, router.client("reader").await);
    stuck.subscribe("#").await;
    reader.subscribe("#").await;
    let mut writer = router.client("writer").await;
    let ballast = "x".repeat(16 * 1024);
    let mut published = 0_u64;
    // What the system's own buffers take is not known: so long until what waited has been thrown away and only
    // the close is left.
    loop {
        assert!(published < 20_000, "a reader that never reads was never cut off");
        for _ in 0..20 {
            let answer = writer.publish("a", json!({"n": published, "ballast": ballast})).await;
            assert_eq!(answer["outcome"], "accepted", "the publisher notices nothing: {answer}");
            assert_eq!(reader.message().await["data"]["n"], published, "nor do other readers");
            published += 1;
        }
        let listed = router.admin("GET", "/v1/connections", "").await.json;
        let connections = listed["connections"].as_array().unwrap();
        let waiting = |name: &str| connections.iter().find(|connection| connection["name"] == name).unwrap();
        let (queued, bytes) =
            (&waiting("stuck")["queued"], waiting("stuck")["queued_bytes"].as_u64().unwrap());
        assert!(bytes <= QUEUE_BYTES as u64, "{bytes} bytes wait");
        if *queued == 1 && bytes == 0 {
            break;
        }
    }
    // Once it reads again, it gets what was on its way, in order and without a gap, and then hears why.
    let mut expected = 0;
    while let Some(message) = stuck.try_next().await {
        assert_eq!(message["data"]["n"], expected, "{}", &message.to_string()[..200]);
        expected += 1;
    }
    assert!(expected < published);
    let (code, reason) = stuck.closed().await;
    assert!(code == 1008 && reason.contains("slow reader"), "{code} {reason}");
    let counted = async || (router.metric("weir_slow_reader_disconnects_total").await > 0.5).then_some(());
    eventually("the disconnect is counted", counted).await;
    assert_eq!(writer.publish("a", json!({"n": "last"})).await["outcome"], "accepted");
    assert_eq!(reader.message().await["data"]["n"], "last");
    router.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_leaves_its_answers_unread_is_no_longer_read_and_loses_nothing() {
    let setup = Setup::open().config(|config| config.limits.queue_messages = 64);
    let router = setup.start().await;
    let mut client = router.client("a").await;
    let frames = (0..5_000).map(|n| json!({"action": "publish", "id": n, "topic": "a", "data": n}));
    // Sent in full while nothing is read: the socket takes what the router does not.
    assert!(client.send_all(frames).await);
    for n in 0..5_000 {
        let answer = client.next().await;
        assert_eq!((&answer["id"], &answer["outcome"]), (&json!(n), &json!("accepted")), "{answer}");
    }
    router.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_socket_that_takes_nothing_loses_its_place() {
    let setup = Setup::open().config(|config| {
        config.limits.queue_bytes = QUEUE_BYTES;
        config.limits.write = std::time::Duration::from_millis(200);
    });
    let router = setup.start().await;
    let (mut stuck, mut writer) = (router.client("stuck").await, router.client("writer").await);
    stuck.subscribe("#").await;
    let ballast = "x".repeat(64 * 1024);
    let mut published = 0;
    loop {
        assert!(published < 20_000, "a reader that never reads was never cut off");
        published += 1;
        assert_eq!(writer.publish("a", json!(ballast)).await["outcome"], "accepted");
        let listed = router.admin("GET", "/v1/connections", "").await.json;
        if !listed["connections"].as_array().unwrap().iter().any(|connection| connection["name"] == "stuck") {
            break;
        }
    }
    let listed = router.admin("GET", "/v1/subscriptions", "").await.json;
    assert!(!listed.to_string().contains("stuck"), "nothing is routed to it any more: {listed}");
    router.stop().await;
}
