//! A WebSocket client of the native protocol.

use std::collections::VecDeque;
use std::net::SocketAddr;

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Error, Message};

use super::within;

/// What a connection may run over.
pub trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Duplex for S {}

/// A connection. What comes unasked waits until it is asked for.
pub struct Client {
    name: String,
    socket: WebSocketStream<Box<dyn Duplex>>,
    waiting: VecDeque<Value>,
    last_id: u64,
    closed: Option<(u16, String)>,
}

impl Client {
    /// Connects; the server must let it in.
    pub async fn connect(http: SocketAddr, query: &str, headers: &[(&str, &str)]) -> Self {
        match Self::try_connect(http, query, headers).await {
            Ok(client) => client,
            Err(status) => panic!("connecting with {query:?} was refused with {status}"),
        }
    }

    /// The same; Err = the HTTP status of the refusal, 0 if there was none.
    pub async fn try_connect(http: SocketAddr, query: &str, headers: &[(&str, &str)]) -> Result<Self, u16> {
        let Ok(stream) = TcpStream::connect(http).await else { return Err(0) };
        Self::over(Box::new(stream), &format!("ws://{http}/v1/ws{query}"), headers).await
    }

    /// The same over a connection that is open already.
    pub async fn over(stream: Box<dyn Duplex>, url: &str, headers: &[(&str, &str)]) -> Result<Self, u16> {
        let mut request = url.into_client_request().expect("a URL");
        for (name, value) in headers {
            let name = name.parse::<hyper::header::HeaderName>().expect("a header's name");
            request.headers_mut().insert(name, value.parse().expect("a header's value"));
        }
        let shake = async {
            // Large enough for what the tests send, so that a full socket is never their own doing.
            let config = WebSocketConfig::default().max_message_size(Some(64 << 20));
            match tokio_tungstenite::client_async_with_config(request, stream, Some(config)).await {
                Ok((socket, _)) => Ok(socket),
                Err(Error::Http(response)) => Err(response.status().as_u16()),
                Err(_) => Err(0),
            }
        };
        let socket = within("the handshake", shake).await?;
        let name = format!("{url}{headers:?}");
        Ok(Self { name, socket, waiting: VecDeque::new(), last_id: 0, closed: None })
    }

    /// Sends a frame. False: the connection is gone.
    pub async fn send(&mut self, frame: &Value) -> bool {
        self.send_text(frame.to_string()).await
    }

    /// Sends the very text.
    pub async fn send_text(&mut self, text: String) -> bool {
        within("room to send", self.socket.send(Message::text(text))).await.is_ok()
    }

    /// Sends several frames in one go.
    pub async fn send_all(&mut self, frames: impl IntoIterator<Item = Value>) -> bool {
        for frame in frames {
            if self.socket.feed(Message::text(frame.to_string())).await.is_err() {
                return false;
            }
        }
        within("room to send", self.socket.flush()).await.is_ok()
    }

    /// The next frame from the socket; none once it is closed.
    async fn read(&mut self) -> Option<Value> {
        loop {
            if self.closed.is_some() {
                return None;
            }
            match within(&format!("a frame for {}", self.name), self.socket.next()).await {
                Some(Ok(Message::Text(text))) => {
                    return Some(
                        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}")),
                    );
                }
                Some(Ok(Message::Close(Some(close)))) => {
                    self.closed = Some((u16::from(close.code), close.reason.to_string()));
                }
                Some(Ok(Message::Close(None))) => self.closed = Some((1005, String::new())),
                Some(Ok(_)) => {}
                Some(Err(_)) | None => self.closed = Some((1006, "cut without a close frame".to_owned())),
            }
        }
    }

    /// The next frame, whatever it is; none once the connection is closed.
    pub async fn try_next(&mut self) -> Option<Value> {
        match self.waiting.pop_front() {
            Some(frame) => Some(frame),
            None => self.read().await,
        }
    }

    /// The next frame, whatever it is.
    pub async fn next(&mut self) -> Value {
        match self.try_next().await {
            Some(frame) => frame,
            None => panic!("{} was closed: {:?}", self.name, self.closed),
        }
    }

    /// The next event of this kind; the test expects no other frame before it.
    pub async fn event(&mut self, event: &str) -> Value {
        let frame = self.next().await;
        assert_eq!(frame["event"], event, "{frame}");
        frame
    }

    /// The next message.
    pub async fn message(&mut self) -> Value {
        self.event("message").await
    }

    /// What waits already; nothing is read.
    pub fn take_waiting(&mut self) -> Vec<Value> {
        self.waiting.drain(..).collect()
    }

    /// Sends a frame with an id and waits for its answer. Events in between wait.
    pub async fn ask(&mut self, mut frame: Value) -> Value {
        self.last_id += 1;
        frame["id"] = json!(format!("ask-{}", self.last_id));
        let id = frame["id"].clone();
        assert!(self.send(&frame).await, "{} is gone: {:?}", self.name, self.closed);
        loop {
            match self.read().await {
                Some(answer) if answer["id"] == id => return answer,
                Some(other) => self.waiting.push_back(other),
                None => panic!("{} was closed before the answer to {frame}: {:?}", self.name, self.closed),
            }
        }
    }

    pub async fn publish(&mut self, topic: &str, data: Value) -> Value {
        self.ask(json!({"action": "publish", "topic": topic, "data": data})).await
    }

    pub async fn publish_at(&mut self, level: &str, topic: &str, data: Value) -> Value {
        self.ask(json!({"action": "publish", "topic": topic, "data": data, "level": level})).await
    }

    /// Subscribes; must be allowed.
    pub async fn subscribe(&mut self, pattern: &str) {
        let answer = self.ask(json!({"action": "subscribe", "topic": pattern})).await;
        assert_eq!(answer["ok"], true, "{answer}");
    }

    /// Everything that came before now: what the server had for this client when the answer was given.
    pub async fn drain(&mut self) -> Vec<Value> {
        let pong = self.ask(json!({"action": "ping"})).await;
        assert_eq!(pong["ok"], true, "{pong}");
        self.take_waiting()
    }

    /// All pages of a log's history, oldest first.
    pub async fn history(&mut self, topic: &str) -> Vec<Value> {
        let mut all = Vec::new();
        let mut frame = json!({"action": "history", "topic": topic, "limit": 1000});
        loop {
            let page = self.ask(frame.clone()).await;
            assert_eq!(page["ok"], true, "{page}");
            all.extend(page["messages"].as_array().cloned().unwrap_or_default());
            if page["more"] == false {
                return all;
            }
            frame["since"] = page["next"].clone();
        }
    }

    /// Everything that comes until the close.
    pub async fn drain_closed(&mut self) -> Vec<Value> {
        let mut all = Vec::new();
        while let Some(frame) = self.try_next().await {
            all.push(frame);
        }
        all
    }

    /// Waits for the close; what comes before it is thrown away.
    pub async fn closed(&mut self) -> (u16, String) {
        while self.read().await.is_some() {}
        self.closed.clone().unwrap_or_default()
    }
}

/// A delivery's payload, whichever way it came.
pub fn payload(message: &Value) -> (&'static str, Value) {
    let of = |key: &'static str| message.get(key).map(|value| (key, value.clone()));
    of("data")
        .or_else(|| of("text"))
        .or_else(|| of("base64"))
        .unwrap_or_else(|| panic!("no payload: {message}"))
}
