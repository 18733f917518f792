//! tenta's and hermes' REST over raw sockets: each sentence of their contract.

mod configurations;
mod data;
mod import;

use serde_json::{Value, json};
use weir::config::{Tenta, TentaFlavour};

use crate::harness::{Answer, OPEN, Reach, Router, Setup, eventually, request};

/// The storage plugin as a deployer binds it.
const STORAGE: &str = "plugin = \"stock:tenta\"\naccounts = [\"sensors\"]\n\
    topics = [\"measurements/+\", \"logs/+\", \"acknowledgments/+\"]\n";
/// An identifier that is nobody's.
const NOBODY: &str = "00000000-0000-4000-8000-000000000000";

fn setup(tenta: Tenta) -> Setup {
    Setup::new().binding("open", OPEN).binding("tenta", STORAGE).config(|config| config.tenta = Some(tenta))
}

async fn router() -> Router {
    setup(Tenta::default()).start().await
}

fn hermes() -> Tenta {
    Tenta { flavour: TentaFlavour::Hermes, ..Tenta::default() }
}

/// Somebody who asks with an access token, or with none.
struct Asker<'a> {
    router: &'a Reach,
    token: String,
}

impl<'a> Asker<'a> {
    fn nobody(router: &'a Reach) -> Self {
        Self { router, token: String::new() }
    }

    /// A new user.
    async fn new(router: &'a Reach, name: &str) -> Self {
        let made =
            Self::nobody(router).post("/users", json!({"user_name": name, "password": "12345678"})).await;
        assert_eq!(made.status, 201, "{made:?}");
        Self { router, token: made.json["access_token"].as_str().unwrap().to_owned() }
    }

    async fn ask(&self, method: &str, path: &str, body: &str) -> Answer {
        let bearer = format!("Bearer {}", self.token);
        let headers = [("authorization", bearer.as_str())];
        let headers = if self.token.is_empty() { &headers[..0] } else { &headers };
        request(self.router.gateways["tenta"], method, path, headers, body.to_owned()).await
    }

    async fn get(&self, path: &str) -> Answer {
        self.ask("GET", path, "").await
    }

    async fn post(&self, path: &str, body: Value) -> Answer {
        self.ask("POST", path, &body.to_string()).await
    }

    /// A new network's identifier.
    async fn network(&self, name: &str) -> String {
        let made = self.post("/networks", json!({"network_name": name})).await;
        assert_eq!((made.status, made.json.as_object().unwrap().len()), (201, 1), "{made:?}");
        made.json["network_identifier"].as_str().unwrap().to_owned()
    }

    /// A new sensor's identifier.
    async fn sensor(&self, network: &str, name: &str) -> String {
        let made = self.post(&format!("/networks/{network}/sensors"), json!({"sensor_name": name})).await;
        assert_eq!((made.status, made.json.as_object().unwrap().len()), (201, 1), "{made:?}");
        made.json["sensor_identifier"].as_str().unwrap().to_owned()
    }

    /// Asserts that all of a list are refused alike.
    async fn refused(&self, status: u16, details: &str, requests: &[(&str, &str, &str)]) {
        for (method, path, body) in requests {
            let answer = self.ask(method, path, body).await;
            let wanted = json!({"details": details});
            assert_eq!(
                (answer.status, &answer.json),
                (status, &wanted),
                "{method} {path} {body}: {answer:?}"
            );
            assert_eq!(answer.header("content-type"), "application/json");
        }
    }
}

/// Publishes as a sensor does, and waits until it is stored.
async fn publish(router: &Reach, topic: &str, elements: Value) {
    let mut client = router.client("sensor").await;
    let frame = json!({"action": "publish", "topic": topic, "data": elements, "level": "stored"});
    let answer = client.ask(frame).await;
    assert_eq!((&answer["outcome"], &answer["level"]), (&json!("accepted"), &json!("stored")), "{answer}");
}

fn is_id(text: &Value) -> bool {
    text.as_str().unwrap().parse::<weir::accounts::tenta::Id>().is_ok()
}

fn keys(object: &Value) -> Vec<&str> {
    object.as_object().unwrap().keys().map(String::as_str).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_status_is_public_and_says_what_is_configured() {
    let config = Tenta {
        environment: "test".into(),
        commit_sha: "abc".into(),
        branch_name: "main".into(),
        mqtt_hostname: "mqtt.example".into(),
        mqtt_port: 8883,
        ..Tenta::default()
    };
    for flavour in [TentaFlavour::Tenta, TentaFlavour::Hermes] {
        let router = setup(Tenta { flavour, ..config.clone() }).start().await;
        let answer = Asker::nobody(&router).get("/status").await;
        assert_eq!(answer.status, 200);
        let mut said = answer.json;
        assert!(said["start_timestamp"].take().is_f64());
        let mut wanted = json!({"environment": "test", "commit_sha": "abc", "branch_name": "main",
            "start_timestamp": null});
        if flavour == TentaFlavour::Tenta {
            wanted["mqtt_hostname"] = json!("mqtt.example");
            wanted["mqtt_port"] = json!(8883);
        }
        assert_eq!(said, wanted);
        router.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn users_get_an_access_token_for_their_name_and_password() {
    let router = router().await;
    let nobody = Asker::nobody(&router);
    let ada = json!({"user_name": "ada", "password": "12345678"});
    let made = nobody.post("/users", ada.clone()).await;
    assert_eq!((made.status, keys(&made.json)), (201, vec!["access_token", "user_identifier"]));
    assert!(is_id(&made.json["user_identifier"]));
    let token = made.json["access_token"].as_str().unwrap();
    let digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    assert!(token.len() == 64 && token.bytes().all(digit));

    let again = nobody.post("/authentication", ada.clone()).await;
    assert_eq!((again.status, keys(&again.json)), (201, vec!["access_token", "user_identifier"]));
    assert_eq!(again.json["user_identifier"], made.json["user_identifier"]);
    assert_ne!(again.json["access_token"], made.json["access_token"], "each is a token of its own");
    for token in [&made.json["access_token"], &again.json["access_token"]] {
        let asker = Asker { router: &router, token: token.as_str().unwrap().into() };
        assert_eq!(asker.get("/networks").await.json, json!([]));
    }
    let (ada, wrong, unknown) = (
        ada.to_string(),
        json!({"user_name": "ada", "password": "87654321"}).to_string(),
        json!({"user_name": "bob", "password": "12345678"}).to_string(),
    );
    nobody.refused(409, "Conflict", &[("POST", "/users", &ada)]).await;
    nobody.refused(401, "Unauthorized", &[("POST", "/authentication", &wrong)]).await;
    nobody.refused(404, "Not Found", &[("POST", "/authentication", &unknown)]).await;
    router.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn names_and_passwords_that_are_not_accepted_are_bad_requests() {
    let user = |name: &str, password: &str| json!({"user_name": name, "password": password}).to_string();
    for (flavour, digit_first) in [(TentaFlavour::Tenta, 201), (TentaFlavour::Hermes, 400)] {
        let router = setup(Tenta { flavour, ..Tenta::default() }).start().await;
        let nobody = Asker::nobody(&router);
        let long = "a".repeat(65);
        let bad = [
            user("", "12345678"),
            user("Ada", "12345678"),
            user("a_b", "12345678"),
            user("a--b", "12345678"),
            user("a-", "12345678"),
            user("-a", "12345678"),
            user(&long, "12345678"),
            user("ada", "1234567"),
            user("ada", &"x".repeat(257)),
            json!({"user_name": "ada"}).to_string(),
            json!({"user_name": "ada", "password": 12_345_678}).to_string(),
            json!({"user_name": "ada", "password": "12345678", "more": null}).to_string(),
            "[]".into(),
            "{".into(),
            String::new(),
        ];
        for body in &bad {
            let requests = [("POST", "/users", body.as_str()), ("POST", "/authentication", body)];
            nobody.refused(400, "Bad Request", &requests).await;
        }
        let answer = nobody.ask("POST", "/users", &user("0-da", "12345678")).await;
        assert_eq!(answer.status, digit_first, "hermes wants a letter first");
        for good in [user(&long[..64], "12345678"), user("a-0-b", &"ä".repeat(256))] {
            assert_eq!(nobody.ask("POST", "/users", &good).await.status, 201, "{good}");
        }
        router.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn networks_have_names_of_their_own_and_are_seen_by_their_members_alone() {
    let router = router().await;
    let (ada, bob) = (Asker::new(&router, "ada").await, Asker::new(&router, "bob").await);
    let north = ada.network("north").await;
    let south = bob.network("south").await;
    assert!(is_id(&json!(north)));
    let taken = json!({"network_name": "north"}).to_string();
    bob.refused(409, "Conflict", &[("POST", "/networks", &taken)]).await;
    let list = ada.get("/networks").await;
    assert_eq!(
        (list.status, list.json),
        (200, json!([{"network_identifier": north, "network_name": "north"}]))
    );
    let sensor = json!({"sensor_name": "s1"}).to_string();
    let of = |network: &str| format!("/networks/{network}/sensors");
    ada.refused(403, "Forbidden", &[("POST", &of(&south), &sensor), ("GET", &of(&south), "")]).await;
    ada.refused(404, "Not Found", &[("POST", &of(NOBODY), &sensor), ("GET", &of(NOBODY), "")]).await;
    router.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sensors_have_names_of_their_own_in_their_network_and_may_be_renamed() {
    let router = router().await;
    let ada = Asker::new(&router, "ada").await;
    let (north, south) = (ada.network("north").await, ada.network("south").await);
    let (s1, s2) = (ada.sensor(&north, "s1").await, ada.sensor(&north, "s2").await);
    ada.sensor(&south, "s1").await;
    assert!(is_id(&json!(s1)));
    let path = format!("/networks/{north}/sensors");
    let named = |name: &str| json!({"sensor_name": name}).to_string();
    ada.refused(409, "Conflict", &[("POST", &path, &named("s1"))]).await;
    let list = |all: [(&str, &str); 2]| {
        json!(all.map(|(id, name)| json!({"sensor_identifier": id, "sensor_name": name})))
    };
    assert_eq!(ada.get(&path).await.json, list([(&s1, "s1"), (&s2, "s2")]), "oldest first");

    let one = |network: &str, sensor: &str| format!("/networks/{network}/sensors/{sensor}");
    let renamed = ada.ask("PUT", &one(&north, &s1), &named("s3")).await;
    assert_eq!((renamed.status, renamed.json), (200, json!({})));
    assert_eq!(ada.get(&path).await.json, list([(&s1, "s3"), (&s2, "s2")]));
    ada.refused(409, "Conflict", &[("PUT", &one(&north, &s1), &named("s2"))]).await;
    assert_eq!(
        ada.ask("PUT", &one(&north, &s1), &named("s3")).await.status,
        200,
        "its own name is no other's"
    );
    let absent = [one(&north, NOBODY), one(&south, &s1), one(NOBODY, &s1)];
    for path in &absent {
        ada.refused(404, "Not Found", &[("PUT", path, &named("x"))]).await;
    }
    let bob = Asker::new(&router, "bob").await;
    bob.refused(403, "Forbidden", &[("PUT", &one(&north, &s1), &named("x"))]).await;
    router.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_wrong_is_said_in_the_order_400_401_404_403() {
    let router = router().await;
    let (ada, nobody) = (Asker::new(&router, "ada").await, Asker::nobody(&router));
    let north = ada.network("north").await;
    let sensor = ada.sensor(&north, "s1").await;
    let below = |rest: &str| format!("/networks/{NOBODY}/sensors/{NOBODY}{rest}");
    let (configurations, measurements, logs) =
        (below("/configurations"), below("/measurements"), below("/logs"));
    let sensors = format!("/networks/{NOBODY}/sensors");
    let named = json!({"sensor_name": "x"}).to_string();
    let network = json!({"network_name": "x"}).to_string();
    let sound = [
        ("POST", "/networks", network.as_str()),
        ("GET", "/networks", ""),
        ("POST", &sensors, &named),
        ("GET", &sensors, ""),
        ("PUT", &below(""), &named),
        ("POST", &configurations, "{}"),
        ("GET", &configurations, ""),
        ("GET", &measurements, ""),
        ("GET", &logs, "{}"),
    ];
    nobody.refused(401, "Unauthorized", &sound).await;
    let stranger = Asker { router: &router, token: "0".repeat(64) };
    stranger.refused(401, "Unauthorized", &sound).await;
    ada.refused(404, "Not Found", &sound[2..]).await;
    // A value that is wrong is seen before who asks.
    let extra = sound.map(|(method, path, body)| (method, format!("{path}?x=1"), body));
    for (method, path, body) in &extra {
        nobody.refused(400, "Bad Request", &[(method, path, body)]).await;
    }
    for (method, path, body) in sound {
        let wrong =
            if body.is_empty() || body == "{}" { r#"{"more":1}"# } else { r#"{"sensor_name":"x","more":1}"# };
        if path != configurations || method == "GET" {
            nobody.refused(400, "Bad Request", &[(method, path, wrong)]).await;
        }
        nobody.refused(400, "Bad Request", &[(method, path, "[]")]).await;
    }
    for bad in ["x", "00000000-0000-4000-8000-00000000000A", "00000000-0000-1000-8000-000000000000"] {
        let (one, other) =
            (format!("/networks/{bad}/sensors"), format!("/networks/{NOBODY}/sensors/{bad}/logs"));
        let put = format!("/networks/{NOBODY}/sensors/{bad}");
        let requests =
            [("GET", one.as_str(), ""), ("POST", &one, &named), ("GET", &other, ""), ("PUT", &put, &named)];
        nobody.refused(400, "Bad Request", &requests).await;
    }
    let bob = Asker::new(&router, "bob").await;
    let path = format!("/networks/{north}/sensors/{sensor}");
    for (method, rest, body) in [
        ("POST", "/configurations", "{}"),
        ("GET", "/configurations", ""),
        ("GET", "/measurements", ""),
        ("GET", "/logs", ""),
    ] {
        bob.refused(403, "Forbidden", &[(method, &format!("{path}{rest}"), body)]).await;
    }
    router.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_access_token_is_the_second_of_exactly_two_words() {
    let router = router().await;
    let ada = Asker::new(&router, "ada").await;
    let token = &ada.token;
    for (value, status) in [
        (format!("Bearer {token}"), 200),
        (format!("bEARER   {token}"), 200),
        (token.clone(), 401),
        (format!("Bearer {token} x"), 401),
        (format!("Basic {token}"), 401),
        (format!("Bearer {}", token.to_uppercase()), 401),
        ("Bearer".into(), 401),
        (String::new(), 401),
    ] {
        let headers = [("authorization", value.as_str())];
        let answer = request(router.gateways["tenta"], "GET", "/networks", &headers, "").await;
        assert_eq!(answer.status, status, "{value}");
    }
    router.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pages_of_any_origin_may_call() {
    let router = router().await;
    let page = ("origin", "https://dashboard.example");
    let asks = [
        page,
        ("access-control-request-method", "PUT"),
        ("access-control-request-headers", "authorization,content-type"),
    ];
    let preflight = request(router.gateways["tenta"], "OPTIONS", "/networks", &asks, "").await;
    assert_eq!((preflight.status, preflight.header("access-control-allow-origin")), (200, "*"));
    assert!(preflight.header("access-control-allow-methods").contains("PUT"));
    assert_eq!(preflight.header("access-control-allow-headers"), "authorization,content-type");
    for (path, status) in [("/status", 200), ("/networks", 401), ("/nothing", 404)] {
        let answer = request(router.gateways["tenta"], "GET", path, &[page], "").await;
        assert_eq!((answer.status, answer.header("access-control-allow-origin")), (status, "*"));
    }
    router.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn other_methods_and_paths_are_refused_in_the_same_shape() {
    let router = router().await;
    let nobody = Asker::nobody(&router);
    let sensor = format!("/networks/{NOBODY}/sensors/{NOBODY}");
    let (configurations, logs) = (format!("{sensor}/configurations"), format!("{sensor}/logs"));
    for (method, path, allowed) in [
        ("POST", "/status", "GET, HEAD"),
        ("GET", "/users", "POST"),
        ("GET", "/authentication", "POST"),
        ("DELETE", "/networks", "GET, HEAD, POST"),
        ("GET", &sensor, "PUT"),
        ("PUT", &configurations, "GET, HEAD, POST"),
        ("POST", &logs, "GET, HEAD"),
    ] {
        nobody.refused(405, "Method Not Allowed", &[(method, path, "")]).await;
        assert_eq!(nobody.ask(method, path, "").await.header("allow"), allowed);
    }
    let aggregates = format!("{sensor}/logs/aggregates");
    let network = format!("/networks/{NOBODY}");
    let none = [("GET", "/", ""), ("GET", "/nothing", ""), ("GET", &network, ""), ("GET", &aggregates, "")];
    nobody.refused(404, "Not Found", &none).await;
    let head = nobody.ask("HEAD", "/status", "").await;
    assert_eq!((head.status, head.text.as_str()), (200, ""));
    router.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bodies_and_accounts_have_bounds() {
    let setup = setup(Tenta::default()).config(|config| {
        config.accounts.configuration_bytes = 1_000;
        config.accounts.tenta_users = 1;
        config.accounts.tenta_tokens_per_user = 2;
    });
    let router = setup.start().await;
    let ada = Asker::new(&router, "ada").await;
    let network = ada.network("north").await;
    let sensor = ada.sensor(&network, "s1").await;
    let path = format!("/networks/{network}/sensors/{sensor}/configurations");
    let of = |bytes: usize| json!({"text": "x".repeat(bytes)}).to_string();
    assert_eq!(ada.ask("POST", &path, &of(900)).await.status, 201);
    let (long, longer) = (of(1_000), of(7_000));
    ada.refused(413, "Payload Too Large", &[("POST", &path, &long), ("POST", &path, &longer)]).await;
    let bob = json!({"user_name": "bob", "password": "12345678"}).to_string();
    ada.refused(500, "Internal Server Error", &[("POST", "/users", &bob)]).await;
    let again = json!({"user_name": "ada", "password": "12345678"});
    for _ in 0..2 {
        assert_eq!(ada.post("/authentication", again.clone()).await.status, 201);
    }
    ada.refused(401, "Unauthorized", &[("GET", "/networks", "")]).await;
    router.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_tenant_has_users_and_topics_of_its_own() {
    let folders = {
        let router = router().await;
        assert_eq!(router.admin("POST", "/v1/tenants", r#"{"name":"lab"}"#).await.status, 201);
        Asker::new(&router, "ada").await.network("north").await;
        router.stop().await
    };
    let setup = Setup::over(&folders).config(|config| {
        config.tenta = Some(Tenta { tenant: "lab".into(), base_topic: "field".into(), ..Tenta::default() });
    });
    let router = setup.start().await;
    let ada = Asker::new(&router, "ada").await;
    let network = ada.network("north").await;
    let sensor = ada.sensor(&network, "s1").await;
    let path = format!("/networks/{network}/sensors/{sensor}/configurations");
    assert_eq!(ada.post(&path, json!({"a": 1})).await.status, 201);
    let retained = async || {
        let list = router.admin("GET", "/v1/retained", "").await.json;
        let found = list["retained"].as_array()?.first()?.clone();
        Some(found["topic"].as_str().unwrap().to_owned())
    };
    assert_eq!(eventually("it is published", retained).await, format!("lab/field/configurations/{sensor}"));
    let used = router.admin("DELETE", "/v1/tenants/lab", "").await;
    assert_eq!(used.status, 409);
    assert!(used.text.contains("1 users, 0 rooms and 1 networks"), "{used:?}");
    assert_eq!(router.admin("DELETE", "/v1/tenta/users/ada", "").await.status, 200);
    ada.refused(401, "Unauthorized", &[("GET", "/networks", "")]).await;
    assert_eq!(router.admin("DELETE", &format!("/v1/tenta/networks/{network}"), "").await.json["sensors"], 1);
    assert_eq!(router.admin("DELETE", "/v1/tenants/lab", "").await.status, 200);
    router.stop().await;
}
