//! Requests as clients send them, and what they may not do.

use std::collections::BTreeMap;

use axum::body::Body;
use axum::http::{Request, StatusCode};
use axum::response::Response;
use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tower::ServiceExt;
use weir_contract::topic::Pattern;

use super::*;
use crate::accounts::{Change, Records};
use crate::consumer::{Beginning, RebuildRefused, RebuildReport, RebuildState};
use crate::ingress::Requeued;
use crate::message::{Grant, Principal};
use crate::plugin::shadow::ShadowReport;
use crate::plugin::{Deed, Event, HistoryLine, PluginInfo, PluginState, Refused};
use crate::session::{Item, OutboundLimits, Session, Subscription};

#[derive(Default)]
struct Memory(Mutex<BTreeMap<Vec<u8>, Vec<u8>>>);

impl Records for Memory {
    fn load(&self) -> Result<Vec<(Vec<u8>, Vec<u8>)>, Box<dyn std::error::Error + Send + Sync>> {
        Ok(self.0.lock().clone().into_iter().collect())
    }

    fn save(&self, key: &[u8], value: &[u8]) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        self.0.lock().insert(key.to_vec(), value.to_vec());
        Ok(())
    }

    fn apply(&self, changes: &[Change]) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        for (key, value) in changes.iter().cloned() {
            match value {
                Some(value) => drop(self.0.lock().insert(key, value)),
                None => drop(self.0.lock().remove(&key)),
            }
        }
        Ok(())
    }
}

struct OnePlugin;

impl PluginView for OnePlugin {
    fn act(&self, name: &str, deed: Deed) -> Result<String, Refused> {
        match name {
            "gone" => Ok(format!("{deed:?}")),
            "open" => Err(Refused::Impossible("open is not gone".into())),
            _ => Err(Refused::Unknown { name: name.into(), known: vec!["open".into()] }),
        }
    }

    fn history(&self, name: &str) -> Result<Vec<HistoryLine>, Refused> {
        Ok(vec![HistoryLine::new(Event::Live, name)])
    }

    fn list(&self) -> Vec<PluginInfo> {
        vec![PluginInfo {
            name: "open".into(),
            file: "stock:open".into(),
            kind: "auth".into(),
            version: "0123456789ab".into(),
            order: 100,
            topics: vec!["#".into()],
            state: PluginState::Active,
            reason: None,
            notes: Vec::new(),
            grants: crate::plugin::Grants::default(),
            loaded_us: None,
            calls: 3,
            failures: 0,
            lag: None,
            missed: None,
            shadow: None,
        }]
    }

    fn shadow(&self, _: &str) -> Option<ShadowReport> {
        None
    }
}

struct OneRebuild;

impl RebuildView for OneRebuild {
    fn rebuild(&self, name: &str, _: bool) -> Result<RebuildReport, RebuildRefused> {
        Err(RebuildRefused::Unknown { name: name.into(), there_are: "latest".into() })
    }

    fn rebuilds(&self) -> BTreeMap<String, RebuildReport> {
        let begins = vec![Beginning { log: "default".into(), offset: 7, time_us: Some(1) }];
        let report = RebuildReport {
            state: RebuildState::Running,
            version: "0123456789ab".into(),
            started_us: 1,
            ended_us: None,
            done: 3,
            of: 9,
            begins,
            error: None,
        };
        [("open".to_owned(), report)].into()
    }
}

struct NoRequeue;

impl crate::ingress::RequeueLetters for NoRequeue {
    fn requeue(&self, _: crate::dead_letters::Letter) -> BoxFuture<'_, Requeued> {
        Box::pin(async { Requeued { outcome: "accepted", reason: String::new(), gone: false } })
    }
}

struct NoConsumer;

impl ConsumerView for NoConsumer {
    fn list(&self) -> Vec<crate::durable::ConsumerInfo> {
        Vec::new()
    }

    fn reset(&self, id: &str, _: &crate::message::Since) -> Result<(), crate::durable::Refused> {
        self.delete(id)
    }

    fn delete(&self, id: &str) -> Result<(), crate::durable::Refused> {
        Err(crate::durable::Refused::Invalid(format!("there is no {id}")))
    }
}

fn state() -> AdminState {
    let folder = tempfile::tempdir().unwrap();
    let store = crate::store::Store::open(&folder.path().join("data"), crate::store::StoreOptions::default());
    let store = store.unwrap();
    let metrics = Metrics::new();
    let most = crate::retained::Most { messages: 9, bytes: 9_000 };
    let retained = crate::retained::Retained::load(store.clone(), most, metrics.retained.clone()).unwrap();
    let (received, _) = crate::received::Received::open(store.clone()).unwrap();
    let log_metrics = |log: &str| metrics.log(log);
    let sequencer = Arc::new(Sequencer::new(
        store.clone(),
        Arc::default(),
        retained,
        received,
        vec![Vec::new()],
        log_metrics,
    ));
    let dead_letters = crate::dead_letters::DeadLetters::open(
        store.clone(),
        Default::default(),
        metrics.dead_letters.clone(),
    );
    AdminState {
        dead_letters: Arc::new(dead_letters.unwrap()),
        requeue: Arc::new(NoRequeue),
        trials: Arc::new(()),
        sequencer,
        token: AdminToken::load_or_create(folder.path()).unwrap(),
        hosts: vec!["weir.internal".into()],
        accounts: Arc::new(Accounts::open(Box::<Memory>::default()).unwrap()),
        sessions: Arc::default(),
        metrics: Arc::default(),
        traces: Arc::default(),
        plugins: Arc::new(OnePlugin),
        rebuilds: Arc::new(OneRebuild),
        consumers: Arc::new(NoConsumer),
        tenta: None,
        ready: Arc::default(),
        logs: Logs::new(store, &[crate::config::LogRule::default()]),
    }
}

/// Sends a request with the token; `extra` headers replace the usual ones.
async fn send(state: &AdminState, line: &str, extra: &[(&str, &str)], body: &str) -> Response {
    let (method, path) = line.split_once(' ').unwrap();
    let bearer = format!("Bearer {}", state.token.secret());
    let mut request = Request::builder().method(method).uri(path);
    for (name, value) in [("host", "127.0.0.1:8081"), ("authorization", bearer.as_str())] {
        if !extra.iter().any(|(other, _)| *other == name) {
            request = request.header(name, value);
        }
    }
    for (name, value) in extra.iter().filter(|(_, value)| !value.is_empty()) {
        request = request.header(*name, *value);
    }
    let request = request.body(Body::from(body.to_owned())).unwrap();
    router(state.clone()).oneshot(request).await.unwrap()
}

async fn body(response: Response) -> Value {
    let bytes = axum::body::to_bytes(response.into_body(), usize::MAX).await.unwrap();
    serde_json::from_slice(&bytes).unwrap_or_else(|_| Value::String(String::from_utf8_lossy(&bytes).into()))
}

async fn ask(state: &AdminState, line: &str, text: &str) -> (u16, Value) {
    let response = send(state, line, &[], text).await;
    (response.status().as_u16(), body(response).await)
}

/// A session that rests on an account.
fn connect(state: &AdminState, id: &str, account: &str) -> Arc<Session> {
    let grant = Grant {
        tenant: "main".into(),
        name: "dev-7".into(),
        origin: "device".into(),
        account: Some(account.into()),
        ..Grant::default()
    };
    let principal = Principal::new(grant, "api-key".into(), "http", id).unwrap();
    let limits = OutboundLimits { messages: 8, bytes: 1 << 20 };
    let session = Arc::new(Session::new(id.into(), principal, "http", "10.0.0.7".into(), limits, None));
    let pattern = Pattern::parse("rooms/+").unwrap();
    session.note_subscribed(&Subscription::new(pattern, 1, &[(0, 0)], false));
    state.sessions.insert(&session);
    session
}

const KEY: &str = r#"{"name":"dev-7","origin":"device","publish":["a/{principal}"],"expires":"30d"}"#;

#[tokio::test]
async fn a_key_is_made_listed_and_revoked_with_its_connections() {
    let state = state();
    let (status, made) = ask(&state, "POST /v1/keys", KEY).await;
    assert_eq!((status, &made["state"]), (201, &json!("active")), "{made}");
    let (key, id) = (made["key"].as_str().unwrap(), made["id"].as_str().unwrap());
    let account = state.accounts.verify(key.as_bytes()).unwrap();
    let lasts_us = account.expires_us.unwrap() - account.created_us;
    assert!((30 * 86_400_000_000 - 5_000_000..=30 * 86_400_000_000).contains(&lasts_us), "{lasts_us}");
    let (_, listed) = ask(&state, "GET /v1/keys", "").await;
    assert_eq!(listed["keys"][0]["id"], id);
    assert!(!listed.to_string().contains(key.rsplit('_').next().unwrap()));

    let (doomed, other) = (connect(&state, "s1", id), connect(&state, "s2", "another"));
    let (status, revoked) = ask(&state, &format!("DELETE /v1/keys/{id}"), "").await;
    assert_eq!(
        (status, &revoked["state"], &revoked["connections_closed"]),
        (200, &json!("revoked"), &json!(1))
    );
    assert!(doomed.outbound.is_closed() && !other.outbound.is_closed());
    let mut items = Default::default();
    assert!(doomed.outbound.try_take(&mut items));
    assert!(matches!(&items[0], Item::Close(1008, reason) if reason == "key revoked"));
    assert!(state.accounts.verify(key.as_bytes()).is_none());
    assert_eq!(ask(&state, "DELETE /v1/keys/nope", "").await.0, 404);
}

#[tokio::test]
async fn bad_requests_say_what_is_accepted() {
    let state = state();
    for (text, wanted) in [
        ("", "the body: EOF"),
        ("{\"nam\":1}", "the body: unknown field `nam`, expected one of `name`"),
        ("{\"name\":\"a\"}", "the body: missing field `origin`"),
        ("{\"name\":\"a/b\",\"origin\":\"page\"}", "the name \"a/b\" cannot be used"),
        (
            "{\"name\":\"a\",\"origin\":\"page\",\"expires\":\"soon\"}",
            "expires: found \"soon\", expected a duration",
        ),
    ] {
        let (status, answer) = ask(&state, "POST /v1/keys", text).await;
        assert_eq!((status, &answer["outcome"]), (400, &json!("invalid")), "{answer}");
        assert!(answer["reason"].as_str().unwrap().starts_with(wanted), "{answer}");
    }
    let big = "x".repeat(300 * 1024);
    assert!(
        ask(&state, "POST /v1/keys", &big).await.1["reason"]
            .as_str()
            .unwrap()
            .contains("at most 262144 bytes")
    );
    let (status, answer) = ask(&state, "GET /v1/keyz", "").await;
    assert_eq!((status, &answer["ok"], &answer["outcome"]), (404, &json!(false), &json!("not-found")));
    let response = send(&state, "PUT /v1/keys", &[], "").await;
    assert_eq!(response.status(), StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(response.headers()["allow"], "GET,HEAD,POST");
    assert_eq!(body(response).await["outcome"], "invalid");
}

#[tokio::test]
async fn nothing_under_v1_without_the_token() {
    let state = state();
    for bad in ["", "Bearer", "Bearer ", "Bearer 0123456789abcdef", "Basic abc"] {
        for line in
            ["GET /v1/keys", "POST /v1/keys", "DELETE /v1/keys/x", "GET /v1/nothing", "GET /v1/plugins"]
        {
            let response = send(&state, line, &[("authorization", bad)], KEY).await;
            assert_eq!(response.status(), StatusCode::UNAUTHORIZED, "{line} {bad}");
            assert_eq!(response.headers()["www-authenticate"], "Bearer");
        }
    }
    let lower = format!("bearer {}", state.token.secret());
    let response = send(&state, "GET /v1/keys", &[("authorization", &lower)], "").await;
    assert_eq!(response.status(), StatusCode::OK);
    assert!(state.accounts.list().is_empty());
}

#[tokio::test]
async fn foreign_names_and_pages_are_refused() {
    let state = state();
    let status = async |host: &str, origin: &str| {
        send(&state, "GET /v1/keys", &[("host", host), ("origin", origin)], "").await.status().as_u16()
    };
    for host in
        ["localhost", "LOCALHOST:8081", "127.0.0.1", "[::1]:8081", "192.168.1.5:8081", "weir.internal:80"]
    {
        assert_eq!(status(host, "").await, 200, "{host}");
        assert_eq!(status(host, &format!("http://{host}")).await, 200, "{host}");
    }
    for host in [
        "",
        "evil.example",
        "evil.example:8081",
        "localhost.evil.example",
        "127.0.0.1.evil.example",
        "[evil]",
    ] {
        assert_eq!(status(host, "").await, 403, "{host}");
    }
    for origin in ["http://evil.example", "null", "http://127.0.0.1:9999", "127.0.0.1:8081"] {
        assert_eq!(status("127.0.0.1:8081", origin).await, 403, "{origin}");
    }
    let metrics = send(&state, "GET /metrics", &[("host", "evil.example")], "").await;
    assert_eq!(metrics.status(), StatusCode::FORBIDDEN);
    let twice = [("host", "localhost"), ("host", "evil.example")];
    assert_eq!(send(&state, "GET /v1/keys", &twice, "").await.status(), StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn health_and_metrics_are_open() {
    let state = state();
    connect(&state, "s1", "a");
    let open = [("authorization", ""), ("host", "probe")];
    assert_eq!(send(&state, "GET /healthz", &open, "").await.status(), StatusCode::OK);
    let response = send(&state, "GET /readyz", &open, "").await;
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(body(response).await, json!({"ready": false, "reasons": {"server": "starting"}}));
    state.ready.done("server");
    assert_eq!(send(&state, "GET /readyz", &open, "").await.status(), StatusCode::OK);

    let response = send(&state, "GET /metrics", &[("authorization", "")], "").await;
    assert_eq!(response.headers()["content-type"], "text/plain; version=0.0.4; charset=utf-8");
    let text = body(response).await;
    for line in ["weir_connections{gateway=\"http\"} 1", "weir_subscriptions{gateway=\"http\"} 1"] {
        assert!(text.as_str().unwrap().lines().any(|found| found == line), "{text}");
    }
}

#[tokio::test]
async fn what_runs_is_shown() {
    let state = state();
    connect(&state, "s1", "a");
    let (_, plugins) = ask(&state, "GET /v1/plugins", "").await;
    assert_eq!(plugins["plugins"][0]["state"], "active");
    for (request, body, deed) in [
        ("DELETE /v1/plugins/gone", "", "Forget"),
        ("POST /v1/plugins/gone/rollback", "", "Rollback(None)"),
        ("POST /v1/plugins/gone/rollback", r#"{"to":"3"}"#, r#"Rollback(Some("3"))"#),
        ("POST /v1/plugins/gone/disable", "", "Disable"),
        ("POST /v1/plugins/gone/enable", "", "Enable"),
    ] {
        assert_eq!(ask(&state, request, body).await, (200, json!({"name": "gone", "done": deed})));
    }
    let (status, wrong) = ask(&state, "POST /v1/plugins/gone/rollback", r#"{"version":3}"#).await;
    assert!(status == 400 && wrong["reason"].as_str().unwrap().contains("accepted are"), "{wrong}");
    let (status, unknown) = ask(&state, "POST /v1/plugins/nobody/disable", "").await;
    assert_eq!((status, &unknown["reason"]), (404, &json!("no plugin is named \"nobody\": there are open")));
    let (_, history) = ask(&state, "GET /v1/plugins/x/history", "").await;
    assert_eq!(history["history"][0]["event"], "live", "{history}");
    let (status, refused) = ask(&state, "DELETE /v1/plugins/open", "").await;
    assert_eq!((status, &refused["reason"]), (409, &json!("open is not gone")));
    let (_, connections) = ask(&state, "GET /v1/connections", "").await;
    assert_eq!(connections["connections"][0]["address"], "10.0.0.7");
    let (_, subscriptions) = ask(&state, "GET /v1/subscriptions", "").await;
    assert_eq!(
        subscriptions["subscriptions"][0],
        json!({"pattern": "rooms/+", "connection": "s1", "name": "dev-7", "origin": "device", "gateway": "http"})
    );
}

#[tokio::test]
async fn a_rebuild_is_shown_and_refused_by_name() {
    let state = state();
    let (status, report) = ask(&state, "GET /v1/plugins/open/rebuild", "").await;
    let wanted = json!({"state": "running", "version": "0123456789ab", "started_us": 1, "done": 3, "of": 9,
        "begins": [{"log": "default", "offset": 7, "time_us": 1}]});
    assert_eq!((status, &report), (200, &wanted));
    assert_eq!(ask(&state, "GET /v1/plugins", "").await.1["plugins"][0]["rebuild"], wanted);
    assert_eq!(ask(&state, "GET /v1/plugins/nobody/rebuild", "").await.0, 404);
    let (status, refused) = ask(&state, "POST /v1/plugins/open/rebuild", "").await;
    assert_eq!(status, 409);
    assert!(refused["reason"].as_str().unwrap().contains("kind auth: only storage plugins"), "{refused}");
    let (status, refused) = ask(&state, "POST /v1/plugins/nobody/rebuild", "").await;
    assert_eq!((status, &refused["outcome"]), (404, &json!("not-found")));
    assert!(refused["reason"].as_str().unwrap().contains("there are latest"), "{refused}");
}
