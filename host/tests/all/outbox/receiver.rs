//! An HTTP server that remembers what it was sent, and answers as the test wants.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{HeaderMap, Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::watch;

use super::super::harness::eventually;

/// A request.
#[derive(Clone, Debug)]
pub struct Received {
    pub path: String,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Received {
    /// A header as text; empty when there is none.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// The number in a body of `{"n":7,…}`.
    pub fn n(&self) -> u64 {
        serde_json::from_slice::<Value>(&self.body).unwrap()["n"].as_u64().unwrap()
    }
}

pub struct Receiver {
    pub address: SocketAddr,
    seen: Arc<Mutex<Vec<Received>>>,
    gate: watch::Sender<bool>,
}

/// Status and headers.
pub type Reply = (u16, Vec<(&'static str, String)>);

impl Receiver {
    /// `answer` gets the number of requests before this one, and the request.
    pub async fn start(answer: impl Fn(usize, &Received) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::<Mutex<Vec<Received>>>::default();
        let (gate, open) = watch::channel(true);
        let (answer, all) = (Arc::new(answer), Arc::clone(&seen));
        tokio::spawn(async move {
            loop {
                let Ok((socket, _)) = listener.accept().await else { return };
                let (answer, all, open) = (Arc::clone(&answer), Arc::clone(&all), open.clone());
                let service = service_fn(move |request: Request<Incoming>| {
                    let (answer, all, mut open) = (Arc::clone(&answer), Arc::clone(&all), open.clone());
                    async move {
                        let (parts, body) = request.into_parts();
                        let body = body.collect().await?.to_bytes();
                        let received = Received { path: parts.uri.to_string(), headers: parts.headers, body };
                        let before = {
                            let mut all = all.lock().unwrap();
                            all.push(received.clone());
                            all.len() - 1
                        };
                        drop(open.wait_for(|open| *open).await);
                        let (status, headers) = answer(before, &received);
                        let mut response = Response::builder().status(status);
                        for (name, value) in headers {
                            response = response.header(name, value);
                        }
                        Ok::<_, hyper::Error>(response.body(Full::new(Bytes::from("an answer"))).unwrap())
                    }
                });
                tokio::spawn(
                    hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(socket), service),
                );
            }
        });
        Self { address, seen, gate }
    }

    /// Answers everything with this status.
    pub async fn always(status: u16) -> Self {
        Self::start(move |_, _| (status, Vec::new())).await
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// While it is shut, requests are taken and not answered.
    pub fn set_open(&self, open: bool) {
        self.gate.send_replace(open);
    }

    pub fn seen(&self) -> Vec<Received> {
        self.seen.lock().unwrap().clone()
    }

    /// Numbers of all bodies, as they came.
    pub fn numbers(&self) -> Vec<u64> {
        self.seen().iter().map(Received::n).collect()
    }

    /// Waits until so many requests have come.
    pub async fn until(&self, count: usize) -> Vec<Received> {
        eventually(&format!("{count} requests at {}", self.address), async || {
            Some(self.seen()).filter(|seen| seen.len() >= count)
        })
        .await
    }
}
