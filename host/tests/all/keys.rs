//! Rights that end: keys that are revoked or expire, auth plugins that vanish.

use serde_json::json;

use crate::harness::{API_KEY, Client, OPEN, Reach, Setup, eventually};

async fn refusal(router: &Reach, key: &str) -> u16 {
    match Client::try_connect(router.http, "", &[("x-api-key", key)]).await {
        Ok(_) => 101,
        Err(status) => status,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revoked_key_loses_its_session_and_cannot_come_back() {
    let router = Setup::keyed().start().await;
    let (good, _) = router.key("good", &["#"], &["#"], "").await;
    let (bad, id) = router.key("bad", &["#"], &["#"], "").await;
    let (mut stays, mut goes, mut also) =
        (router.keyed(&good).await, router.keyed(&bad).await, router.keyed(&bad).await);
    stays.subscribe("#").await;
    goes.subscribe("#").await;
    let revoked = router.admin("DELETE", &format!("/v1/keys/{id}"), "").await;
    assert_eq!((revoked.status, &revoked.json["connections_closed"]), (200, &json!(2)), "{revoked:?}");
    for gone in [&mut goes, &mut also] {
        assert_eq!(gone.closed().await, (1008, "key revoked".to_owned()));
    }
    assert_eq!(refusal(&router, &bad).await, 401);
    let body = r#"{"topic":"a","data":1}"#;
    let published = router.http("POST", "/v1/publish", &[("x-api-key", &bad)], body).await;
    assert_eq!((published.status, &published.json["outcome"]), (401, &json!("unauthenticated")));
    assert_eq!(stays.publish("a", json!("still here")).await["outcome"], "accepted");
    assert_eq!(stays.message().await["data"], "still here");
    // Nor after a restart.
    let folders = router.stop().await;
    let router = Setup::over(&folders).start().await;
    assert_eq!((refusal(&router, &bad).await, refusal(&router, &good).await), (401, 101));
    router.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_expired_key_loses_its_session_and_cannot_come_back() {
    let router = Setup::keyed().start().await;
    let (key, _) = router.key("brief", &["#"], &["#"], "2s").await;
    let mut session = router.keyed(&key).await;
    session.subscribe("#").await;
    assert_eq!(session.closed().await, (1008, "key expired".to_owned()));
    assert_eq!(refusal(&router, &key).await, 401);
    router.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_vanished_auth_plugin_opens_nothing_until_it_is_forgotten() {
    let strict = format!("{API_KEY}order = 1\n");
    let router = Setup::new().binding("api-key", &strict).binding("open", OPEN).start().await;
    let (key, _) = router.key("keyed", &["#"], &["#"], "").await;
    let (mut keyed, mut anybody) = (router.keyed(&key).await, router.client("anybody").await);
    keyed.subscribe("#").await;
    router.folders.remove("api-key.toml");
    let (code, reason) = keyed.closed().await;
    assert!(code == 1008 && reason.contains("api-key"), "{code} {reason}");
    let listed = router.until_plugin("api-key", |plugin| plugin["state"] == "tombstone").await;
    assert!(listed["reason"].as_str().unwrap().contains("weir plugin forget api-key"), "{listed}");
    // Its place refuses everybody, also those whom the next plugin would let in.
    assert_eq!((refusal(&router, &key).await, refusal(&router, "nonsense").await), (403, 403));
    // Who came in by the other one stays.
    assert_eq!(anybody.publish("a", json!(1)).await["outcome"], "accepted");
    let folders = router.stop().await;
    let router = Setup::over(&folders).start().await;
    assert_eq!(refusal(&router, &key).await, 403, "a restart forgets nothing");
    let forgotten = router.admin("DELETE", "/v1/plugins/api-key", "").await;
    assert!((200..300).contains(&forgotten.status), "{forgotten:?}");
    router.until_plugin("api-key", |plugin| plugin.is_null()).await;
    assert_eq!(refusal(&router, &key).await, 101, "the plugin `open` lets everybody in");
    router.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_no_auth_plugin_left_nobody_gets_in() {
    let router = Setup::keyed().start().await;
    let (key, _) = router.key("keyed", &["#"], &["#"], "").await;
    let live = router.admin("DELETE", "/v1/plugins/api-key", "").await;
    assert!(live.status >= 400 && live.json["reason"].as_str().unwrap().contains("live"), "{live:?}");
    router.folders.remove("api-key.toml");
    router.until_plugin("api-key", |plugin| plugin["state"] == "tombstone").await;
    assert_eq!(refusal(&router, &key).await, 403);
    router.admin("DELETE", "/v1/plugins/api-key", "").await;
    router.until_plugin("api-key", |plugin| plugin.is_null()).await;
    assert_eq!(refusal(&router, &key).await, 401);
    // Putting the file back opens the door again, for those with a key.
    router.folders.write("api-key.toml", API_KEY);
    router.until_plugin("api-key", |plugin| plugin["state"] == "active").await;
    assert_eq!((refusal(&router, &key).await, refusal(&router, "nonsense").await), (101, 401));
    router.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_auth_plugin_that_breaks_keeps_the_version_that_works() {
    let router = Setup::keyed().start().await;
    let (key, _) = router.key("keyed", &["#"], &["#"], "").await;
    let mut session = router.keyed(&key).await;
    router.folders.write("api-key.toml", &format!("{API_KEY}on-error = \"pass\"\n"));
    let listed = router.until_plugin("api-key", |plugin| plugin["state"] == "failed").await;
    assert!(listed["reason"].as_str().unwrap().contains("would let everybody in"), "{listed}");
    assert_eq!(session.publish("a", json!(1)).await["outcome"], "accepted");
    assert_eq!((refusal(&router, &key).await, refusal(&router, "nonsense").await), (101, 401));
    router.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_auth_plugin_that_fails_lets_nobody_in_and_allows_nothing() {
    let config = "[config]\npresence = false\n";
    let router = Setup::new().guest("doorman").binding("doorman", config).start().await;
    let mut client = router.client("device").await;
    for topic in ["panic", "loop"] {
        let answer = client.publish(topic, json!(1)).await;
        assert_eq!(answer["outcome"], "plugin-failed", "{answer}");
    }
    let refused = Client::try_connect(router.http, "?client_id=panic", &[]).await.err();
    assert_eq!(refused, Some(403));
    assert_eq!(
        client.publish("fine", json!(1)).await["outcome"],
        "accepted",
        "others are let in and allowed"
    );
    // The second timeout opens the breaker: then nobody is let in, until it answers again.
    let refused = Client::try_connect(router.http, "?client_id=loop", &[]).await.err();
    assert_eq!(refused, Some(403));
    let refused = Client::try_connect(router.http, "?client_id=device", &[]).await.err();
    assert_eq!(refused, Some(403), "while the breaker is open nobody passes");
    eventually("the door opens again", async || {
        Client::try_connect(router.http, "?client_id=device", &[]).await.ok()
    })
    .await;
    router.stop().await;
}
