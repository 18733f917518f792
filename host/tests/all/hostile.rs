//! Each hostile fixture has its outcome and no other: what healthy publishers send through healthy plugins meanwhile
//! comes through whole and in order.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::json;

use crate::harness::hostile::FIXTURES;
use crate::harness::{Client, Setup};

/// Publishes one by one until told to stop. Returns how many.
async fn publisher(mut client: Client, number: usize, stop: Arc<AtomicBool>) -> u64 {
    let topic = format!("healthy/{number}");
    let mut next = 0;
    while !stop.load(Ordering::Relaxed) {
        let answer = client.publish(&topic, json!(next)).await;
        assert_eq!(answer["outcome"], "accepted", "{answer}");
        next += 1;
    }
    assert_eq!(client.publish(&topic, json!("end")).await["outcome"], "accepted");
    next
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_hostile_fixture_has_its_outcome_and_healthy_traffic_loses_nothing() {
    let healthy = "topics = [\"healthy/#\"]\n";
    let setup =
        Setup::open().guest("stamp-a").binding("stamp-a", healthy).guest("keep").binding("keep", healthy);
    let router = setup.start().await;
    let stop = Arc::new(AtomicBool::new(false));
    let mut publishers = Vec::new();
    for number in 0..3 {
        let client = router.client(&format!("publisher-{number}")).await;
        publishers.push(tokio::spawn(publisher(client, number, Arc::clone(&stop))));
    }
    let mut reader = router.client("reader").await;
    reader.subscribe("healthy/#").await;
    let reading = tokio::spawn(async move {
        let (mut next, mut ended) = ([None; 3], 0);
        while ended < 3 {
            let message = reader.message().await;
            let number: usize = message["topic"].as_str().unwrap()["healthy/".len()..].parse().unwrap();
            assert_eq!(message["headers"]["stamp"], "a", "it went through its plugins");
            match message["data"].as_u64() {
                Some(found) => {
                    let expected = next[number].unwrap_or(found);
                    assert_eq!(found, expected, "publisher {number}: lost, doubled or out of order");
                    next[number] = Some(found + 1);
                }
                None => ended += 1,
            }
        }
        next
    });
    for fixture in FIXTURES {
        let outcome = fixture.commit(&router, &router.folders).await;
        assert_eq!(outcome, fixture.outcome, "{}", fixture.name);
        fixture.undo(&router, &router.folders).await;
    }
    stop.store(true, Ordering::Relaxed);
    let next = reading.await.unwrap();
    for (number, publisher) in publishers.into_iter().enumerate() {
        assert_eq!(next[number], Some(publisher.await.unwrap()), "publisher {number}: all came");
    }
    router.stop().await;
}
