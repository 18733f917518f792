//! What another tenta server had, taken over.

use super::*;
use crate::harness::weir;

const USER: &str = "11111111-1111-4111-8111-111111111111";
const OTHER: &str = "22222222-2222-4222-8222-222222222222";
const NETWORK: &str = "33333333-3333-4333-8333-333333333333";
const SENSOR: &str = "44444444-4444-4444-8444-444444444444";
const TOKEN: &str = "5555555555555555555555555555555555555555555555555555555555555555";
/// Of `abc`, as FIPS 180 has it.
const SHA512: &str = "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a\
    2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f";

fn file() -> Value {
    let hash = weir::accounts::password::hash("87654321").unwrap();
    let configuration = |revision: u32, acknowledged: Value, success: Value| {
        json!({"sensor_identifier": SENSOR, "value": {"n": revision}, "revision": revision,
            "creation_timestamp": 100, "publication_timestamp": 101, "acknowledgement_timestamp": acknowledged,
            "receipt_timestamp": acknowledged, "success": success})
    };
    let measurement = |attribute: &str, at: u32| {
        json!({"sensor_identifier": SENSOR, "attribute": attribute, "value": 1.5, "revision": null,
            "creation_timestamp": at, "receipt_timestamp": at})
    };
    let log = |at: u32| {
        json!({"sensor_identifier": SENSOR, "message": "fine", "severity": "info", "revision": 0,
            "creation_timestamp": at, "receipt_timestamp": at})
    };
    json!({
        "user": [
            {"identifier": USER, "name": "ada", "creation_timestamp": 0, "password": "12345678"},
            {"identifier": OTHER, "name": "bob", "creation_timestamp": 0, "password_hash": hash}
        ],
        "network": [{"identifier": NETWORK, "name": "north", "creation_timestamp": 0}],
        "sensor": [{"identifier": SENSOR, "name": "s1", "network_identifier": NETWORK, "creation_timestamp": 0}],
        "permission": [{"user_identifier": USER, "network_identifier": NETWORK, "creation_timestamp": 0}],
        "session": [
            {"access_token": TOKEN, "user_identifier": USER, "creation_timestamp": 0},
            {"access_token_hash": SHA512, "user_identifier": OTHER, "creation_timestamp": 0}
        ],
        "configuration": [configuration(0, json!(110), json!(true)), configuration(1, Value::Null, Value::Null)],
        "measurement": [measurement("t", 0), measurement("h", 0), measurement("h", 0), measurement("t", 100)],
        "log": [log(0), log(100)]
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn accounts_and_data_are_taken_over_twice_if_need_be() {
    let setup = setup(Tenta::default());
    let config = setup.write_config("[tenta]\nlisten = \"127.0.0.1:0\"\n");
    let router = setup.spawn().await;
    let path = setup.folders.root().join("data.json");
    std::fs::write(&path, file().to_string()).unwrap();
    let import = |more: &'static [&'static str]| {
        let (path, config, admin) = (path.clone(), config.clone(), router.reach.admin.to_string());
        let run = move || {
            let mut program = weir();
            program.args(["tenta", "import"]).arg(path).args(more).arg("--config").arg(config);
            program.args(["--admin", &admin]).output().unwrap()
        };
        async move { tokio::task::spawn_blocking(run).await.unwrap() }
    };
    let done = import(&["--offset", "1000"]).await;
    assert!(done.status.success(), "{done:?}");
    let said = String::from_utf8(done.stdout).unwrap();
    let wanted = "2 users, 2 tokens, 1 networks, 1 permissions, 1 sensors, 2 configurations, 1 acknowledgments, \
        4 measurements and 2 logs are imported\n";
    assert_eq!(said, wanted);

    let nobody = Asker::nobody(&router.reach);
    for (name, password) in [("ada", "12345678"), ("bob", "87654321")] {
        let answer = nobody.post("/authentication", json!({"user_name": name, "password": password})).await;
        assert_eq!(answer.status, 201, "{name}: {answer:?}");
    }
    let bob = Asker { router: &router.reach, token: "abc".into() };
    assert_eq!(bob.get("/networks").await.json, json!([]));
    let ada = Asker { router: &router.reach, token: TOKEN.into() };
    assert_eq!(ada.get("/networks").await.json[0]["network_identifier"], NETWORK);
    let sensor = format!("/networks/{NETWORK}/sensors/{SENSOR}");
    let of = |revision: u32, acknowledged: Value, success: Value| {
        json!({"value": {"n": revision}, "revision": revision, "creation_timestamp": 1100.0,
            "publication_timestamp": 1101.0, "acknowledgment_timestamp": acknowledged, "success": success})
    };
    let configurations = json!([of(0, json!(1110.0), json!(true)), of(1, Value::Null, Value::Null)]);
    assert_eq!(ada.get(&format!("{sensor}/configurations")).await.json, configurations);
    let measurements = ada.get(&format!("{sensor}/measurements")).await.json;
    assert_eq!(measurements.as_array().unwrap().len(), 2);
    assert_eq!(
        measurements[0],
        json!({"value": {"h": 1.5, "t": 1.5}, "revision": null, "creation_timestamp": 1000.0})
    );
    let logs = ada.get(&format!("{sensor}/logs")).await.json;
    assert_eq!(logs[1]["creation_timestamp"], 1100.0);
    // The newest is there for who subscribes, though it was published elsewhere.
    let mut late = router.reach.client("late").await;
    late.ask(json!({"action": "subscribe", "topic": format!("configurations/{SENSOR}"), "retained": true}))
        .await;
    assert_eq!(late.message().await["data"], json!({"revision": 1, "configuration": {"n": 1}}));

    let again = import(&["--offset", "1000", "--json"]).await;
    assert!(again.status.success(), "{again:?}");
    assert_eq!(ada.get(&format!("{sensor}/configurations")).await.json, configurations);
    assert_eq!(ada.get("/networks").await.json.as_array().unwrap().len(), 1);
    let logs = ada.get(&format!("{sensor}/logs")).await.json;
    assert_eq!(logs.as_array().unwrap().len(), 4, "data are published once more");
    let listed = router.reach.admin("GET", "/v1/tenta/users", "").await.json;
    assert_eq!(listed["users"].as_array().unwrap().len(), 2);
    let listed = router.reach.admin("GET", "/v1/tenta/networks", "").await.json;
    assert_eq!(
        (&listed["networks"][0]["name"], &listed["networks"][0]["sensors"]),
        (&json!("north"), &json!(1))
    );
    router.kill();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_import_says_where_the_file_is_wrong() {
    let router = router().await;
    let import = async |body: Value| {
        let answer = router.admin("POST", "/v1/tenta/import", &body.to_string()).await;
        (answer.status, answer.json["reason"].as_str().unwrap_or_default().to_owned())
    };
    let user = |name: &str| json!({"identifier": USER, "name": name, "password": "12345678"});
    for (body, place) in [
        (json!({"users": []}), "unknown field `users`"),
        (json!({"user": [{"identifier": "x", "name": "ada"}]}), "\"x\" is no identifier"),
        (json!({"user": [user("Ada")]}), "user[0]: the name \"Ada\""),
        (json!({"user": [{"identifier": USER, "name": "ada"}]}), "user[0]: expected either password_hash"),
        (
            json!({"user": [{"identifier": USER, "name": "ada", "password_hash": "x"}]}),
            "user[0]: password_hash",
        ),
        (
            json!({"user": [user("ada")], "permission": [{"user_identifier": USER, "network_identifier": NETWORK}]}),
            "permission[0]: there is no network",
        ),
        (
            json!({"sensor": [{"identifier": SENSOR, "name": "s1", "network_identifier": NETWORK}]}),
            "sensor[0]: there is no network",
        ),
        (
            json!({"configuration": [{"sensor_identifier": SENSOR, "revision": 0, "value": []}]}),
            "configuration[0]: expected a revision",
        ),
        (
            json!({"session": [{"user_identifier": OTHER, "access_token": "x"}]}),
            "session[0]: there is no user",
        ),
    ] {
        let (status, reason) = import(body).await;
        assert_eq!(status, 400, "{reason}");
        assert!(reason.contains(place), "{place}: {reason}");
    }
    let (status, reason) = import(json!({"user": 1})).await;
    assert!(status == 400 && reason.contains("line 1 column"), "{reason}");
    // What stands before it is there.
    assert_eq!(router.admin("GET", "/v1/tenta/users", "").await.json["users"][0]["name"], "ada");
    router.stop().await;
    let router = Setup::new().start().await;
    let answer = router.admin("POST", "/v1/tenta/import", "{}").await;
    assert_eq!((answer.status, answer.text.contains("[tenta] is not")), (409, true), "{answer:?}");
    router.stop().await;
}
