//! A transform may answer the session that published, and nobody else; and it may bring that session into topics.

use serde_json::{Value, json};

use crate::harness::{Reach, Router, Setup};

/// The guest `reroute` sends where the payload says.
fn to(topic: &str) -> Value {
    json!({"to": [topic], "how": "add"})
}

async fn inbox_of(reach: &Reach, name: &str) -> String {
    let listed = reach.admin("GET", "/v1/connections", "").await;
    let all = listed.json["connections"].as_array().expect("a list").clone();
    let own = all.into_iter().find(|connection| connection["name"] == name).expect("it is connected");
    format!("$inbox/{}", own["id"].as_str().expect("an id"))
}

async fn router() -> Router {
    Setup::open().guest("reroute").start().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_goes_to_the_inbox_of_who_has_asked_and_to_no_other() {
    let router = router().await;
    let (mut ada, mut bob) = (router.client("ada").await, router.client("bob").await);
    let (adas, bobs) = (inbox_of(&router, "ada").await, inbox_of(&router, "bob").await);
    ada.subscribe(&adas).await;
    let refused = bob.ask(json!({"action": "subscribe", "topic": adas})).await;
    assert_eq!(refused["ok"], false, "nobody reads another's: {refused}");
    assert_eq!(bob.publish(&adas, json!(1)).await["outcome"], "denied", "nor writes to it");
    assert_eq!(bob.publish("a", to(&adas)).await["outcome"], "denied", "nor has a plugin write to it");
    assert_eq!(ada.publish("a", to(&bobs)).await["outcome"], "denied");
    assert_eq!(ada.publish("a", to("$inbox/")).await["outcome"], "denied");
    let answer = ada.publish("a", to(&adas)).await;
    assert_eq!(answer["outcome"], "accepted", "{answer}");
    assert_eq!(ada.message().await["topic"], adas);
    assert!(bob.drain().await.is_empty() && ada.drain().await.is_empty());
    assert!(ada.history("#").await.iter().all(|message| message["topic"] == "a"), "no log keeps it");
    router.stop().await;
}
