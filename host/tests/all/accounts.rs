//! Tenants that stay within their topics, and users, rooms and endpoints as the operator makes them: by the
//! listener, by the command line, over restarts and kill -9.

use std::process::Output;

use serde_json::{Value, json};

use crate::harness::{Folders, Reach, Setup, weir};

/// A key of a tenant that may do everything that the tenant may.
async fn key_of(router: &Reach, tenant: &str, name: &str) -> (String, String) {
    let asked =
        json!({"name": name, "tenant": tenant, "origin": "service", "publish": ["#"], "subscribe": ["#"]});
    let answer = router.admin("POST", "/v1/keys", &asked.to_string()).await;
    assert_eq!((answer.status, &answer.json["tenant"]), (201, &json!(tenant)), "{answer:?}");
    let text = |field: &str| answer.json[field].as_str().unwrap().to_owned();
    (text("key"), text("id"))
}

async fn tenant(router: &Reach, name: &str) {
    let made = router.admin("POST", "/v1/tenants", &json!({"name": name}).to_string()).await;
    assert_eq!(made.status, 201, "{made:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tenant_stays_within_its_topics_whatever_its_keys_allow() {
    let storage = "plugin = \"stock:latest\"\n";
    let router = Setup::keyed().binding("latest", storage).start().await;
    tenant(&router, "lab").await;
    tenant(&router, "labs").await;
    let (key, _) = key_of(&router, "lab", "ada").await;
    let (labs, _) = key_of(&router, "labs", "bob").await;
    let (main, _) = router.key("op", &["#"], &["#"], "").await;
    let (mut lab, mut labs, mut main) =
        (router.keyed(&key).await, router.keyed(&labs).await, router.keyed(&main).await);
    main.subscribe("#").await;
    lab.subscribe("lab/#").await;
    labs.subscribe("labs/+").await;

    for pattern in ["#", "+", "+/a", "labs/#", "labs/a", "", "/lab", "LAB/#", "$SYS/#", "$share/g/lab/#"] {
        let asked = json!({"action": "subscribe", "topic": pattern});
        let answer = lab.ask(asked).await;
        assert_ne!(answer["ok"], true, "{pattern}: {answer}");
        let history = lab.ask(json!({"action": "history", "topic": pattern})).await;
        assert_ne!(history["ok"], true, "{pattern}: {history}");
        let durable = json!({"action": "subscribe", "topic": pattern, "consumer": "c"});
        let durable = lab.ask(durable).await;
        assert_ne!(durable["ok"], true, "{pattern}: {durable}");
    }
    for topic in ["a", "labs/a", "/lab/a", "la", "$SYS/a"] {
        let answer = lab.publish(topic, json!(1)).await;
        assert_eq!(answer["outcome"], "denied", "{topic}: {answer}");
        let presence = lab.ask(json!({"action": "presence", "topic": topic})).await;
        assert_eq!(presence["outcome"], "denied", "{topic}: {presence}");
        let query = lab.ask(json!({"action": "query", "plugin": "latest", "topic": topic})).await;
        assert_eq!(query["outcome"], "denied", "{topic}: {query}");
        let body = json!({"topic": topic, "data": 1}).to_string();
        let explained = router.http("POST", "/v1/publish?explain=1", &[("x-api-key", &key)], &body).await;
        assert_eq!(explained.json["outcome"], "denied", "{topic}: {explained:?}");
    }
    // Nor does somebody with more rights answer for it elsewhere.
    let asked = json!({"action": "publish", "topic": "lab/a", "data": 1, "reply_to": "labs/a"});
    assert_eq!(lab.ask(asked).await["outcome"], "denied");

    assert_eq!(lab.publish("lab/a", json!("inside")).await["outcome"], "accepted");
    assert_eq!(lab.message().await["data"], "inside");
    assert_eq!(main.message().await["data"], "inside", "main may be let in everywhere");
    assert_eq!(main.publish("labs/a", json!("for labs")).await["outcome"], "accepted");
    assert_eq!(labs.message().await["data"], "for labs");
    assert_eq!(lab.publish("lab/b", json!("last")).await["outcome"], "accepted");
    assert_eq!(lab.message().await["data"], "last", "nothing of another tenant came between");
    router.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_plugin_leads_a_message_out_of_its_tenant() {
    // May send everywhere, and for `main` it does.
    let reroute = "emit = [\"#\"]\n";
    let router = Setup::keyed().guest("reroute").binding("reroute", reroute).start().await;
    router.until_live("reroute", "reroute").await;
    tenant(&router, "lab").await;
    let (lab, _) = key_of(&router, "lab", "ada").await;
    let (main, _) = router.key("op", &["#"], &["#"], "").await;
    let (mut lab, mut main) = (router.keyed(&lab).await, router.keyed(&main).await);
    main.subscribe("#").await;
    let answer = lab
        .ask(json!({"action": "publish", "topic": "lab/a", "data": {"to": ["other/a"], "how": "replace"}}))
        .await;
    assert_eq!(answer["outcome"], "denied", "{answer}");
    assert!(answer["reason"].as_str().unwrap().contains("for tenant lab"), "{answer}");
    let answer = lab
        .ask(json!({"action": "publish", "topic": "lab/a", "data": {"to": ["lab/b"], "how": "add"}}))
        .await;
    assert_eq!(answer["outcome"], "accepted", "{answer}");
    let topics = [main.message().await["topic"].clone(), main.message().await["topic"].clone()];
    assert_eq!(topics, ["lab/a", "lab/b"], "the message that was stopped went nowhere");
    router.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tenant_must_exist_and_its_sessions_end_with_it() {
    let open = "plugin = \"stock:open\"\n[config]\ntenant = \"lab\"\n";
    let router = Setup::new().binding("open", open).start().await;
    let refused = crate::harness::Client::try_connect(router.http, "?client_id=a", &[]).await.err();
    assert_eq!(refused, Some(403), "the auth plugin names a tenant that there is not");
    tenant(&router, "lab").await;
    let mut client = router.client("a").await;
    client.subscribe("lab/a").await;
    assert_eq!(client.publish("lab/a", json!(1)).await["outcome"], "accepted");
    assert_eq!(client.publish("a", json!(1)).await["outcome"], "denied");
    let gone = router.admin("DELETE", "/v1/tenants/lab", "").await;
    assert_eq!(gone.status, 200, "{gone:?}");
    assert_eq!(client.closed().await.0, 1008);
    router.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_tenant_does_not_find_what_a_deleted_one_of_its_name_left() {
    let open = "plugin = \"stock:open\"\n[config]\ntenant = \"lab\"\n";
    let router = Setup::new().binding("open", open).start().await;
    tenant(&router, "lab").await;
    let mut client = router.client("a").await;
    let secret = json!({"action": "publish", "topic": "lab/a", "data": "secret", "retain": true});
    assert_eq!(client.ask(secret).await["outcome"], "accepted");
    assert_eq!(router.admin("DELETE", "/v1/tenants/lab", "").await.status, 200);
    assert_eq!(client.closed().await.0, 1008);
    let folders = router.stop().await;
    let router = Setup::over(&folders).binding("open", open).start().await;
    let refused = router.admin("POST", "/v1/tenants", r#"{"name":"lab"}"#).await;
    assert_eq!(refused.status, 409, "{refused:?}");
    let reason = refused.json["reason"].as_str().unwrap();
    assert!(reason.starts_with("a tenant lab was deleted at 2"), "{reason}");
    let nobody = crate::harness::Client::try_connect(router.http, "?client_id=b", &[]).await.err();
    assert_eq!(nobody, Some(403));
    // Only who asks for it has it.
    let again = router.admin("POST", "/v1/tenants", r#"{"name":"lab","again":true}"#).await;
    assert_eq!(again.status, 201, "{again:?}");
    let mut client = router.client("b").await;
    client.subscribe("lab/a").await;
    assert_eq!(client.message().await["data"], "secret");
    router.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_operator_makes_and_deletes_accounts() {
    let router = Setup::new().start().await;
    tenant(&router, "lab").await;
    let list = router.admin("GET", "/v1/tenants", "").await;
    assert_eq!(
        (&list.json["tenants"][0]["name"], &list.json["tenants"][1]["name"]),
        (&json!("main"), &json!("lab"))
    );
    let refused = async |method: &str, path: &str, body: Value, status: u16, reason: &str| {
        let answer = router.admin(method, path, &body.to_string()).await;
        assert_eq!(answer.status, status, "{answer:?}");
        assert!(answer.json["reason"].as_str().unwrap().contains(reason), "{answer:?}");
    };
    let alice = router.admin("POST", "/v1/users", r#"{"name":"al ice"}"#).await;
    assert_eq!((alice.status, &alice.json["key_kind"]), (201, &json!("generated")), "{alice:?}");
    let key = alice.json["key"].as_str().unwrap();
    refused("POST", "/v1/users", json!({"name": "bob", "key": key}), 409, "another user's").await;
    refused("POST", "/v1/users", json!({"name": "bob", "key": "short"}), 400, "at least 16").await;
    refused("POST", "/v1/users", json!({"name": "bob", "key": key, "absent": true}), 400, "exclude").await;
    refused("POST", "/v1/users", json!({"name": "bob", "kee": key}), 400, "unknown field").await;
    refused("POST", "/v1/users", json!({"name": "bob", "tenant": "x"}), 404, "no tenant \"x\"").await;
    refused("POST", "/v1/users", json!({"name": "al ice"}), 409, "exists already").await;
    let users = router.admin("GET", "/v1/users", "").await;
    assert!(!users.text.contains(key) && users.json["users"][0]["name"] == "al ice", "{users:?}");

    let made = router.admin("POST", "/v1/rooms", r#"{"owner":"al ice","room":"r/1"}"#).await;
    assert_eq!(made.status, 201, "{made:?}");
    let webhook = "/v1/rooms/main/al%20ice/r%2F1/webhook";
    refused("PUT", webhook, json!({"webhook": "ftp://x/"}), 400, "not a URL of HTTP").await;
    let set = router.admin("PUT", webhook, r#"{"webhook":"https://example.org/hook"}"#).await;
    assert_eq!((set.status, &set.json["webhook"]), (200, &json!("https://example.org/hook")), "{set:?}");
    refused("PUT", "/v1/rooms/lab/al%20ice/r%2F1/webhook", json!({"webhook": ""}), 404, "no room").await;

    let body = json!({"owner": "al ice", "room": "r/1", "permissions": "read_and_write", "identity": "e1"});
    let endpoint = router.admin("POST", "/v1/endpoints", &body.to_string()).await;
    assert_eq!((endpoint.status, &endpoint.json["permissions"]), (201, &json!("readwrite")), "{endpoint:?}");
    let wrong = json!({"owner": "al ice", "room": "r/1", "permissions": "all"});
    refused("POST", "/v1/endpoints", wrong, 400, "accepted are read, write, readwrite").await;
    let list = router.admin("GET", "/v1/endpoints", "").await;
    assert_eq!(list.json["endpoints"], json!([endpoint.json]));
    assert_eq!(router.admin("GET", "/v1/rooms", "").await.json["rooms"][0]["endpoints"], 1);
    let id = endpoint.json["id"].as_str().unwrap();
    assert_eq!(router.admin("DELETE", &format!("/v1/endpoints/{id}"), "").await.status, 200);
    assert_eq!(router.admin("DELETE", &format!("/v1/endpoints/{id}"), "").await.status, 404);

    let new = router.admin("POST", "/v1/users/main/al%20ice/key", "").await;
    assert!(new.status == 200 && new.json["key"].as_str().unwrap() != key, "{new:?}");
    let gone = router.admin("DELETE", "/v1/users/main/al%20ice", "").await;
    assert_eq!((gone.status, &gone.json["rooms"]), (200, &json!(1)), "{gone:?}");
    assert_eq!(router.admin("GET", "/v1/rooms", "").await.json["rooms"], json!([]));
    refused("DELETE", "/v1/tenants/main", json!(null), 400, "cannot be deleted").await;
    router.stop().await;
}

/// `weir` on the folders of a server.
fn run(folders: &Folders, line: &[&str]) -> Output {
    let config = folders.root().join("weir.toml");
    weir().args(line).arg("--config").arg(config).output().unwrap()
}

fn said(folders: &Folders, line: &[&str]) -> String {
    let output = run(folders, line);
    assert!(output.status.success(), "{line:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

fn listed(folders: &Folders, what: &str) -> Value {
    serde_json::from_str(&said(folders, &[what, "list", "--json"])).unwrap()
}

fn all(folders: &Folders) -> Vec<Value> {
    ["tenant", "user", "room", "endpoint", "key"].iter().map(|what| listed(folders, what)).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_command_line_makes_the_same_with_and_without_a_server() {
    let setup = Setup::new();
    let folders = std::sync::Arc::clone(&setup.folders);
    setup.write_config("");
    // Before the first start.
    said(&folders, &["tenant", "create", "lab"]);
    let key = said(&folders, &["user", "create", "ada", "--tenant", "lab"]);
    assert!(key.starts_with("weir_user_") && key.len() == 42, "{key}");
    said(&folders, &["user", "create", "default", "--no-key"]);
    said(&folders, &["room", "create", "default", "r 1", "--webhook", "https://example.org/"]);
    let code = said(&folders, &["endpoint", "create", "default", "r 1", "read", "--code", "Old_1"]);
    assert_eq!(code, "Old_1");
    let lab = ["key", "create", "--name", "k", "--origin", "page", "--tenant", "lab"];
    assert!(said(&folders, &lab).starts_with("weir_"));
    let before = all(&folders);
    assert_eq!(before[3][0]["identity"], "Anonymous");
    assert_eq!(before[4][0]["tenant"], "lab");

    // While a server runs, and after each was killed.
    for round in 0..3 {
        let child = setup.spawn().await;
        if round == 0 {
            assert_eq!(all(&folders), before, "a server sees what was made without one");
        }
        let name = format!("user-{round}");
        let key = format!("a-key-of-an-old-deployment-{round}");
        let mut user = weir();
        user.args(["user", "create", &name, "--config"]).arg(folders.root().join("weir.toml"));
        assert!(user.env("WEIR_USER_KEY", key).output().unwrap().status.success());
        said(&folders, &["room", "create", &name, "r/1"]);
        let code = said(&folders, &["endpoint", "create", &name, "r/1", "readwrite"]);
        assert_eq!(code.len(), 100);
        said(&folders, &["room", "webhook", &name, "r/1", "http://127.0.0.1:1/"]);
        let room = listed(&folders, "room");
        let made = room.as_array().unwrap().iter().find(|room| room["owner"] == *name).unwrap();
        assert_eq!((&made["webhook"], &made["endpoints"]), (&json!("http://127.0.0.1:1/"), &json!(1)));
        said(&folders, &["room", "webhook", &name, "r/1"]);
        let id = listed(&folders, "endpoint").as_array().unwrap().last().unwrap()["id"].clone();
        said(&folders, &["endpoint", "delete", id.as_str().unwrap()]);
        let there = all(&folders);
        child.kill();
        let child = setup.spawn().await;
        assert_eq!(all(&folders), there, "round {round}: what was answered is there after kill -9");
        child.kill();
    }
    // And without one again.
    said(&folders, &["room", "delete", "user-0", "r/1"]);
    said(&folders, &["user", "delete", "user-1"]);
    said(&folders, &["user", "key", "user-2"]);
    let refused = run(&folders, &["tenant", "delete", "lab"]);
    let why = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && why.contains("has 1 keys, 0 logins, 1 users"), "{why}");
    assert_eq!(listed(&folders, "room").as_array().unwrap().len(), 2);
    let table = said(&folders, &["user", "list"]);
    assert!(table.contains("none needed") && table.contains("chosen"), "{table}");
}
