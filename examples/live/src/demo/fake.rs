//! A router for tests: does what the demo's plugins do, and goes wrong in the way that a test wants.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::server::Request as Handshake;

use super::folder::{Folder, Unit};
use crate::client::Endpoint;

/// What goes wrong; if it has a number, with this reading of the device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    None,
    Loses(u64),
    Doubles(u64),
    /// Delivers it only after the next one.
    Delays(u64),
    /// Says `denied`, and delivers it all the same.
    Leaks(u64),
    /// Takes malformed batches.
    TakesAll,
    /// Counts repeated batches again.
    Forgets,
    /// Swaps the unit, and not the amounts.
    Muddles,
    /// Stores nothing.
    StoresNothing,
    /// Closes connections instead of delivering it.
    Breaks(u64),
}

pub(super) struct Fake {
    folder: Arc<Folder>,
    fault: Fault,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    subscribers: Vec<(String, mpsc::Sender<String>)>,
    posts: BTreeSet<String>,
    latest: BTreeMap<String, Value>,
    calls: u64,
    /// Readings of the device so far, and the one that waits for the next.
    readings: u64,
    delayed: Option<String>,
}

impl Fake {
    /// Listens, and answers for both listeners of a router.
    pub(super) async fn start(folder: &Arc<Folder>, fault: Fault) -> Endpoint {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("ws://{}", listener.local_addr().unwrap()).parse().unwrap();
        let fake = Arc::new(Self { folder: Arc::clone(folder), fault, state: Mutex::default() });
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(Arc::clone(&fake).serve(stream));
            }
        });
        endpoint
    }

    async fn serve(self: Arc<Self>, stream: TcpStream) {
        let mut start = [0; 10];
        while stream.peek(&mut start).await.unwrap_or(0) < start.len() {
            tokio::task::yield_now().await;
        }
        if start.starts_with(b"GET /v1/ws") {
            return self.socket(stream).await;
        }
        let service = service_fn(move |request| Arc::clone(&self).http(request));
        let _ =
            hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
    }

    async fn socket(self: Arc<Self>, stream: TcpStream) {
        let (mut name, mut key) = (String::new(), String::new());
        #[expect(clippy::result_large_err, reason = "the library's own type")]
        let look = |request: &Handshake, response| {
            name = client_id(request.uri().query().unwrap());
            key = request.headers()["x-api-key"].to_str().unwrap().to_owned();
            Ok(response)
        };
        let mut socket = tokio_tungstenite::accept_hdr_async(stream, look).await.unwrap();
        assert_eq!(key, format!("key of {name}"));
        let (deliver, mut deliveries) = mpsc::channel(1_000);
        loop {
            let sent = tokio::select! {
                Some(text) = deliveries.recv() => socket.send(Message::text(text)).await,
                frame = socket.next() => match frame {
                    Some(Ok(Message::Text(text))) => {
                        let frame: Value = serde_json::from_str(&text).unwrap();
                        match self.act(&frame, &name, &deliver) {
                            Some(answer) => socket.send(Message::text(answer.to_string())).await,
                            None => return,
                        }
                    }
                    _ => return,
                },
            };
            if sent.is_err() {
                return;
            }
        }
    }

    fn act(&self, frame: &Value, name: &str, deliver: &mpsc::Sender<String>) -> Option<Value> {
        let topic = frame["topic"].as_str().unwrap();
        if frame["action"] == "subscribe" {
            let prefix = topic.trim_end_matches('#').to_owned();
            self.state.lock().subscribers.push((prefix, deliver.clone()));
            return Some(json!({"id": frame["id"], "ok": true, "topic": topic, "new": true}));
        }
        let outcome = self.publish(topic, name, &frame["data"])?;
        let ok = outcome == "accepted";
        Some(json!({"id": frame["id"], "ok": ok, "outcome": outcome, "messages": []}))
    }

    async fn http(self: Arc<Self>, request: Request<Incoming>) -> hyper::Result<Response<Full<Bytes>>> {
        let (path, query) = (request.uri().path().to_owned(), request.uri().query().unwrap_or("").to_owned());
        let once = request.headers().get("idempotency-key").map(|value| value.to_str().unwrap().to_owned());
        let method = request.method().clone();
        let body = request.into_body().collect().await?.to_bytes();
        let text = match (method, path.as_str()) {
            (Method::GET, "/metrics") => self.metrics(),
            (Method::GET, "/v1/query/latest") => {
                let latest = self.state.lock().latest.clone();
                let items = latest.into_iter().map(|(topic, data)| json!({"topic": topic, "data": data}));
                json!({"ok": true, "items": items.collect::<Vec<_>>(), "next": null}).to_string()
            }
            (Method::POST, "/v1/publish") => {
                let topic = query.split('&').find_map(|pair| pair.strip_prefix("topic=")).unwrap();
                let outcome = self.post(topic, &client_id(&query), &once.unwrap(), &body);
                json!({"ok": outcome != "invalid", "outcome": outcome}).to_string()
            }
            other => panic!("nobody asks for {other:?}"),
        };
        let mut response = Response::new(Full::new(text.into()));
        *response.status_mut() = StatusCode::OK;
        Ok(response)
    }

    fn metrics(&self) -> String {
        let calls = self.state.lock().calls;
        ["auth", "filter", "transform", "storage"]
            .map(|stage| format!("weir_plugin_calls_total{{stage=\"{stage}\",plugin=\"p\"}} {calls}\n"))
            .concat()
    }

    fn post(&self, topic: &str, name: &str, once: &str, body: &[u8]) -> &'static str {
        let sound = serde_json::from_slice::<Vec<Value>>(body).ok().filter(|batch| {
            batch.iter().all(|reading| {
                let percent = reading["cpu_percent"].as_f64().is_some_and(|percent| percent <= 100.0);
                percent && reading["memory_used"].is_number() && reading["load"].is_number()
            })
        });
        let Some(batch) = sound else {
            return if self.fault == Fault::TakesAll { "accepted" } else { "invalid" };
        };
        if !self.state.lock().posts.insert(once.to_owned()) && self.fault != Fault::Forgets {
            return "filtered";
        }
        for reading in batch {
            self.publish(topic, name, &reading);
        }
        "accepted"
    }

    /// The outcome; none when the connection breaks.
    fn publish(&self, topic: &str, name: &str, data: &Value) -> Option<&'static str> {
        let levels: Vec<&str> = topic.split('/').collect();
        let (topic, mut data) = match levels.as_slice() {
            ["devices", _, "commands"] => (topic.to_owned(), data.clone()),
            ["devices", device, what] => (format!("page/devices/{device}/{what}"), data.clone()),
            ["sensors", sensor, "batches"] => (format!("page/sensors/{sensor}/readings"), data.clone()),
            other => panic!("nobody publishes to {other:?}"),
        };
        let mut state = self.state.lock();
        state.calls += 1;
        if topic.starts_with("page/") {
            self.map(&mut data, name);
            if self.fault != Fault::StoresNothing {
                state.latest.insert(topic.clone(), data.clone());
            }
        }
        let text = json!({"event": "message", "topic": topic, "from": name, "data": data}).to_string();
        if !(topic.starts_with("page/devices/") && topic.ends_with("/readings")) {
            state.deliver(&topic, text);
            return Some("accepted");
        }
        state.readings += 1;
        let this = state.readings;
        match self.fault {
            Fault::Loses(number) if number == this => return Some("accepted"),
            Fault::Breaks(number) if number == this => return None,
            Fault::Doubles(number) if number == this => state.deliver(&topic, text.clone()),
            Fault::Delays(number) if number == this => {
                state.delayed = Some(text);
                return Some("accepted");
            }
            _ => {}
        }
        state.deliver(&topic, text);
        if let Some(delayed) = state.delayed.take() {
            state.deliver(&topic, delayed);
        }
        Some(if self.fault == Fault::Leaks(this) { "denied" } else { "accepted" })
    }

    fn map(&self, data: &mut Value, name: &str) {
        data["by"] = name.into();
        if data.get("command").is_some() {
            return;
        }
        let unit = self.folder.mapped_to();
        let bytes = if self.fault == Fault::Muddles { Unit::Mebi.bytes() } else { unit.bytes() };
        for amount in ["memory_used", "memory_total", "received", "sent"] {
            data[amount] = (data[amount].as_f64().unwrap() / bytes).into();
        }
        data["unit"] = unit.name().into();
    }
}

impl State {
    fn deliver(&self, topic: &str, text: String) {
        for (prefix, deliver) in &self.subscribers {
            if topic.starts_with(prefix) {
                let _ = deliver.try_send(text.clone());
            }
        }
    }
}

fn client_id(query: &str) -> String {
    query.split('&').find_map(|pair| pair.strip_prefix("client_id=")).unwrap().to_owned()
}
