//! tenta and hermes: one line takes over from server, broker and database, and sensors that were made by others notice
//! nothing.

use serde_json::json;

use crate::clients::program::{foreign, packaged, packaged_with};
use crate::harness::{Child, Setup, weir};

/// The ports of their own servers may be taken here, and the variables know not all of them.
const PORTS: &str = "[http]\nlisten = \"127.0.0.1:0\"\n[admin]\nlisten = \"127.0.0.1:0\"\n\
    [mqtt]\nlisten = \"127.0.0.1:0\"\n[tenta]\nlisten = \"127.0.0.1:0\"\n";

async fn serving(flag: &str, variables: &[(&str, &str)]) -> (Setup, Child) {
    let setup = Setup::new();
    std::fs::write(setup.folders.root().join("weir.toml"), PORTS).unwrap();
    let router = setup.serve(&[flag], variables).await;
    for plugin in ["api-key", "tenta-validate", "tenta"] {
        router.reach.until_plugin(plugin, |plugin| plugin["state"] == "active").await;
    }
    (setup, router)
}

fn addresses(router: &Child) -> [(&'static str, String); 2] {
    [("MQTT", "mqtt"), ("REST", "tenta")].map(|(name, of)| (name, router.reach.gateways[of].to_string()))
}

async fn stop(mut router: Child) {
    router.terminate();
    let status = router.ended().await;
    assert!(status.success(), "{status}: {}", router.log());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tentas_own_client_finds_all_that_it_had() {
    let variables = [("MQTT_IDENTIFIER", "server"), ("MQTT_PASSWORD", "correct horse"), ("MQTT_PORT", "0")];
    let (_setup, router) = serving("--tenta", &variables).await;
    let said = packaged(&foreign().join("tenta_client.py")).run(&addresses(&router)).await;
    assert!(said.contains("tenta's client is content"), "{said}");
    let log = router.log();
    assert!(log.contains("Malformed message") && !log.contains("Not A Key"), "{log}");
    stop(router).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_station_of_hermes_finds_all_that_it_had() {
    let variables = [
        ("HERMES_MQTT_IDENTIFIER", "hermes_server"),
        ("HERMES_MQTT_USERNAME", "server"),
        ("HERMES_MQTT_PASSWORD", "12345678"),
        ("HERMES_MQTT_BASE_TOPIC", "sensortopic/"),
        ("HERMES_MQTT_PORT", "0"),
        ("HERMES_POSTGRESQL_URL", "127.0.0.1"),
    ];
    let (setup, router) = serving("--hermes", &variables).await;
    let script = foreign().join("hermes_station.py");
    let said = packaged_with("paho1.txt", &script).run(&addresses(&router)).await;
    assert!(said.contains("hermes' station is content"), "{said}");
    assert!(router.log().contains("the router keeps the data itself"), "{}", router.log());
    assert!(setup.folders.data().join("self-signed.pem").exists());
    stop(router).await;
}

#[test]
fn a_user_without_a_password_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let mut serve = weir();
    serve
        .args(["serve", "--tenta", "--data", "data"])
        .current_dir(folder.path())
        .env("MQTT_IDENTIFIER", "server");
    let ended = serve.output().unwrap();
    let said = String::from_utf8_lossy(&ended.stderr);
    assert!(
        !ended.status.success() && said.contains("MQTT_IDENTIFIER is set: MQTT_PASSWORD must be set, too"),
        "{said}"
    );
}

/// Without accounts, so that nothing else is needed.
const STORAGE: &str = "plugin = \"stock:tenta\"\ntopics = [\"measurements/+\", \"logs/+\", \"acknowledgments/+\"]\n[config]\nsensors = \"any\"\n";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_stored_outlives_the_router_and_what_is_malformed_becomes_a_dead_letter() {
    let router = Setup::open().binding("tenta", STORAGE).start().await;
    let mut client = router.client("sensor").await;
    for n in 0..130 {
        let data =
            json!([{"value": {"n": n}, "timestamp": 1_763_712_000.5 + f64::from(n), "revision": null}]);
        let answer = client.publish_at("stored", "measurements/s1", data).await;
        assert_eq!(answer["level"], "stored", "{answer}");
    }
    let answer = client.publish_at("stored", "measurements/s1", json!([{"value": {"n": "1"}}])).await;
    assert!(
        answer["note"].as_str().is_some_and(|note| note.contains("must be a number at /0/value/n")),
        "{answer}"
    );
    let many: Vec<_> =
        (0..5_000).map(|n| json!({"severity": "info", "message": "x", "timestamp": n})).collect();
    assert_eq!(client.publish_at("stored", "logs/s1", json!(many)).await["level"], "stored");
    let folders = router.stop().await;

    let router = Setup::over(&folders).start().await;
    let mut client = router.client("page").await;
    let mut frame = json!({"action": "query", "plugin": "tenta", "topic": "measurements/s1", "limit": 64,
        "params": {"direction": "previous"}});
    let mut sizes = Vec::new();
    loop {
        let page = client.ask(frame.clone()).await;
        let items = page["items"].as_array().unwrap();
        sizes.push(items.len());
        if page["next"].is_null() {
            assert_eq!(
                items[0],
                json!({"value": {"n": 0}, "revision": null, "creation_timestamp": 1_763_712_000.5})
            );
            break;
        }
        frame["cursor"] = page["next"].clone();
    }
    assert_eq!(sizes, [64, 64, 2]);
    let lines = router.http("GET", "/v1/query/tenta?topic=logs/s1&limit=1000", &[], "").await;
    assert_eq!(lines.json["items"].as_array().unwrap().len(), 1_000, "{}", lines.text);
    router.stop().await;
}
