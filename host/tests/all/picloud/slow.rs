//! A subscriber that stops reading, beside one that reads: the original stood still for all of them.

use std::time::Duration;

use serde_json::json;
use weir::config::{DeliveryRule, Overflow, Picloud};

use super::{open, subscribed};
use crate::harness::{Heard, Router, Setup, Socket};

/// Messages behind the one with which the slow one has fallen behind.
const AFTER: usize = 300;

async fn router(delivery: Option<Overflow>) -> Router {
    let setup = Setup::new().config(|config| {
        config.picloud = Some(Picloud { api_key: "k".into(), ..Picloud::default() });
        config.limits.queue_bytes = 256 * 1024;
        // A socket that takes nothing at all is another matter.
        config.limits.write = Duration::from_secs(600);
        let topics = vec!["events/#".into()];
        config.delivery = delivery.map(|overflow| DeliveryRule { topics, overflow }).into_iter().collect();
    });
    setup.start().await
}

fn event(number: usize) -> String {
    json!({"event": "e", "data": format!("{number} {}", "x".repeat(16 * 1024))}).to_string()
}

fn number(heard: &Heard) -> Option<usize> {
    let Heard::Text(text) = heard else { return None };
    let came: serde_json::Value = serde_json::from_str(text).unwrap();
    assert_eq!((&came["action"], &came["event"]), (&json!("publish"), &json!("e")), "nothing but events");
    let data = came["data"].as_str().unwrap();
    data.split(' ').next().unwrap().parse().ok()
}

/// Publishes, and the fast one hears it at once, until the slow one has fallen behind and a good while longer. How many
/// there were.
async fn publish_until(router: &Router, fast: &mut Socket, fallen_behind: impl AsyncFn() -> bool) -> usize {
    let mut publisher = open(router, "/publish?clientName=p").await;
    let (mut published, mut end) = (0, None);
    while end.is_none_or(|end| published < end) {
        assert!(published < 20_000, "a reader that never reads never fell behind");
        publisher.say(event(published)).await;
        assert_eq!(number(&fast.hear().await), Some(published), "the fast one gets all, in order");
        published += 1;
        if end.is_none() && published % 20 == 0 && fallen_behind().await {
            end = Some(published + AFTER);
        }
    }
    assert!(fast.settle().await.is_empty() && publisher.settle().await.is_empty());
    published
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_is_cut_off_and_the_other_gets_everything_in_order() {
    let router = router(None).await;
    let mut slow = subscribed(&router, "slow", &["e"]).await;
    let mut fast = subscribed(&router, "fast", &["e"]).await;
    let published = publish_until(&router, &mut fast, async || {
        router.metric("weir_slow_reader_disconnects_total").await > 0.5
    });
    let published = published.await;
    // Once it reads again: what was on its way, without a gap, and then why.
    let mut expected = 0;
    loop {
        match slow.hear().await {
            Heard::Closed(code, _) => break assert_eq!(code, 1008),
            heard => assert_eq!(number(&heard), Some(expected)),
        }
        expected += 1;
    }
    assert!(expected < published);
    router.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_the_operator_says_so_it_loses_the_oldest_and_goes_on() {
    let router = router(Some(Overflow::DropOldest)).await;
    let mut slow = subscribed(&router, "slow", &["e"]).await;
    let mut fast = subscribed(&router, "fast", &["e"]).await;
    let lost = async || {
        router.sample("weir_lost_messages_total", &[("gateway", "picloud"), ("policy", "drop-oldest")]).await
    };
    let published = publish_until(&router, &mut fast, async || lost().await > 0.5).await;
    // The protocol has no word for what is missing.
    let mut heard = Vec::new();
    while heard.last() != Some(&(published - 1)) {
        heard.push(number(&slow.hear().await).expect("an event"));
    }
    assert!(heard.is_sorted_by(|one, next| one < next), "{heard:?}");
    assert_eq!(published - heard.len(), lost().await as usize, "all that is missing is counted");
    assert!(slow.settle().await.is_empty(), "it stays");
    router.stop().await;
}
