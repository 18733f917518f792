//! Configurations: kept at once, published behind the answer, acknowledged by the sensor.

use super::*;
use crate::harness::Client;

struct Place<'a> {
    ada: Asker<'a>,
    sensor: String,
    path: String,
}

async fn place(router: &Reach) -> Place<'_> {
    let ada = Asker::new(router, "ada").await;
    let network = ada.network("north").await;
    let sensor = ada.sensor(&network, "s1").await;
    let path = format!("/networks/{network}/sensors/{sensor}/configurations");
    Place { ada, sensor, path }
}

impl Place<'_> {
    async fn configure(&self, value: Value) -> u64 {
        let made = self.ada.post(&self.path, value).await;
        assert_eq!((made.status, keys(&made.json)), (201, vec!["revision"]), "{made:?}");
        made.json["revision"].as_u64().unwrap()
    }

    async fn list(&self, query: &str) -> Vec<Value> {
        let answer = self.ada.get(&format!("{}{query}", self.path)).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.json.as_array().unwrap().clone()
    }

    async fn revisions(&self, query: &str) -> Vec<u64> {
        self.list(query).await.iter().map(|one| one["revision"].as_u64().unwrap()).collect()
    }

    /// Waits until all are published.
    async fn published(&self) -> Vec<Value> {
        let all = async || {
            let all = self.list("").await;
            all.iter().all(|one| !one["publication_timestamp"].is_null()).then_some(all)
        };
        eventually("all configurations are published", all).await
    }
}

/// What a sensor that subscribes now finds.
async fn retained(router: &Reach, sensor: &str) -> (Client, Value) {
    let mut client = router.client("late").await;
    let topic = format!("configurations/{sensor}");
    client.ask(json!({"action": "subscribe", "topic": topic, "retained": true})).await;
    let message = client.message().await;
    assert_eq!(message["retained"], true, "{message}");
    (client, message["data"].clone())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_configuration_gets_the_next_revision_and_is_published_retained() {
    let router = router().await;
    let place = place(&router).await;
    let mut sensor = router.client("s1").await;
    let topic = format!("configurations/{}", place.sensor);
    sensor.ask(json!({"action": "subscribe", "topic": topic})).await;
    let value = json!({"interval": 8.5, "cache": true, "nested": {"list": [1, null]}});
    assert_eq!(place.configure(value.clone()).await, 0);
    assert_eq!(place.configure(json!({})).await, 1);
    assert_eq!(place.ada.ask("POST", &place.path, "").await.json["revision"], 2, "an empty body is {{}}");
    for (revision, value) in [(0, value.clone()), (1, json!({})), (2, json!({}))] {
        let message = sensor.message().await;
        assert_eq!(message["data"], json!({"revision": revision, "configuration": value}), "in order");
    }
    let all = place.published().await;
    assert_eq!(
        keys(&all[0]),
        [
            "acknowledgment_timestamp",
            "creation_timestamp",
            "publication_timestamp",
            "revision",
            "success",
            "value"
        ]
    );
    assert_eq!(all[0]["value"], value);
    for one in &all {
        assert!(one["creation_timestamp"].is_f64() && one["publication_timestamp"].is_f64());
        assert!(one["publication_timestamp"].as_f64() >= one["creation_timestamp"].as_f64());
        assert_eq!((&one["acknowledgment_timestamp"], &one["success"]), (&Value::Null, &Value::Null));
    }
    let (_, found) = retained(&router, &place.sensor).await;
    assert_eq!(found, json!({"revision": 2, "configuration": {}}));
    for bad in ["[]", "1", "null", "\"x\"", "{", "{}{}"] {
        place.ada.refused(400, "Bad Request", &[("POST", &place.path, bad)]).await;
    }
    router.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_first_acknowledgment_of_a_revision_counts() {
    let router = router().await;
    let place = place(&router).await;
    for _ in 0..3 {
        place.configure(json!({})).await;
    }
    let topic = format!("acknowledgments/{}", place.sensor);
    let said = |success: bool, at: f64, revision: u32| json!({"success": success, "timestamp": at, "revision": revision});
    publish(&router, &topic, json!([said(true, 100.5, 0), said(false, 200.0, 1)])).await;
    publish(&router, &topic, json!([said(false, 300.0, 0), said(true, 1.0, 99)])).await;
    let all = place.list("").await;
    let shown = |one: &Value| (one["acknowledgment_timestamp"].clone(), one["success"].clone());
    assert_eq!(shown(&all[0]), (json!(100.5), json!(true)));
    assert_eq!(shown(&all[1]), (json!(200.0), json!(false)));
    assert_eq!(shown(&all[2]), (Value::Null, Value::Null));
    router.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn configurations_come_in_pages_of_64_in_ascending_order() {
    let router = router().await;
    let place = place(&router).await;
    for revision in 0..70 {
        assert_eq!(place.configure(json!({"n": revision})).await, revision);
    }
    let range = |from: u64, to: u64| (from..to).collect::<Vec<_>>();
    for (query, wanted) in [
        ("", range(0, 64)),
        ("?direction=next", range(0, 64)),
        ("?revision=63", range(64, 70)),
        ("?direction=next&revision=69", range(0, 0)),
        ("?direction=previous", range(6, 70)),
        ("?direction=previous&revision=6", range(0, 6)),
        ("?direction=previous&revision=0", range(0, 0)),
        ("?direction=previous&revision=69", range(5, 69)),
    ] {
        assert_eq!(place.revisions(query).await, wanted, "{query}");
    }
    for bad in
        ["?revision=-1", "?revision=x", "?revision=", "?revision=2147483648", "?direction=", "?direction=up"]
    {
        place.ada.refused(400, "Bad Request", &[("GET", &format!("{}{bad}", place.path), "")]).await;
    }
    router.stop().await;
}

/// A filter that lets no configuration with `"wrong": true` pass.
const CHECK: &str = "plugin = \"stock:json-check\"\ntopics = [\"configurations/+\"]\n\
    [[config.fields]]\npath = \"/configuration/wrong\"\nenum = [false]\n";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_published_is_tried_again_also_after_a_restart_and_in_order() {
    let router = setup(Tenta::default()).binding("check", CHECK).start().await;
    let (first, second, token, sensor, path) = {
        let place = place(&router).await;
        place.configure(json!({"wrong": true})).await;
        place.configure(json!({"wrong": false})).await;
        // Another sensor does not wait for this one.
        let other = place.ada.network("other").await;
        let other_sensor = place.ada.sensor(&other, "s1").await;
        let other = format!("/networks/{other}/sensors/{other_sensor}/configurations");
        let other = Place {
            ada: Asker { router: &router, token: place.ada.token.clone() },
            sensor: other_sensor,
            path: other,
        };
        other.configure(json!({})).await;
        other.published().await;
        let all = place.list("").await;
        assert_eq!(all[0]["publication_timestamp"], Value::Null);
        assert_eq!(all[1]["publication_timestamp"], Value::Null, "it waits for the one before");
        (all[0].clone(), all[1].clone(), place.ada.token.clone(), place.sensor.clone(), place.path.clone())
    };
    let folders = router.stop().await;
    folders.remove("check.toml");
    let setup = Setup::over(&folders).config(|config| config.tenta = Some(Tenta::default()));
    let router = setup.start().await;
    let place = Place { ada: Asker { router: &router, token }, sensor, path };
    let all = place.published().await;
    for (before, after) in [first, second].iter().zip(&all) {
        assert_eq!(before["creation_timestamp"], after["creation_timestamp"]);
    }
    assert!(all[0]["publication_timestamp"].as_f64() <= all[1]["publication_timestamp"].as_f64());
    let (_, found) = retained(&router, &place.sensor).await;
    assert_eq!(found, json!({"revision": 1, "configuration": {"wrong": false}}));
    assert_eq!(place.published().await, all, "the first time counts");
    router.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_answered_survives_kill_9() {
    let setup = setup(Tenta::default()).binding("check", CHECK);
    setup.write_config("[tenta]\nlisten = \"127.0.0.1:0\"\n");
    let child = setup.spawn().await;
    let place_before = place(&child.reach).await;
    place_before.configure(json!({"wrong": true})).await;
    place_before.configure(json!({"a": "x".repeat(100_000)})).await;
    let (token, sensor, path) =
        (place_before.ada.token.clone(), place_before.sensor.clone(), place_before.path.clone());
    drop(place_before);
    child.kill();
    setup.folders.remove("check.toml");
    let child = setup.spawn().await;
    let place = Place { ada: Asker { router: &child.reach, token }, sensor, path };
    let all = place.published().await;
    assert_eq!(all.len(), 2);
    assert_eq!(all[1]["value"]["a"].as_str().unwrap().len(), 100_000);
    let again = json!({"user_name": "ada", "password": "12345678"});
    assert_eq!(place.ada.post("/authentication", again).await.status, 201);
    assert_eq!(place.ada.get("/networks").await.json.as_array().unwrap().len(), 1);
    assert_eq!(place.configure(json!({})).await, 2);
    child.kill();
}
