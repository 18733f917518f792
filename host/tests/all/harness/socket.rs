//! A WebSocket of any protocol: what is said to it and what comes from it, as it stands.

use std::net::SocketAddr;

use futures_util::{SinkExt, StreamExt};
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::handshake::client::Response;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Error, Message};

use super::within;

/// What came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Heard {
    Text(String),
    Binary(Vec<u8>),
    Pong,
    /// Close code and reason; 1005: it had none.
    Closed(u16, String),
    /// The connection ended without a close frame (1006).
    Cut,
}

/// A connection.
pub struct Socket {
    pub stream: WebSocketStream<TcpStream>,
    /// The answer to the handshake.
    pub answer: Response,
}

impl Socket {
    /// Connects; the server must let it in.
    pub async fn open(address: SocketAddr, target: &str, headers: &[(&str, &str)]) -> Self {
        match Self::try_open(address, target, headers).await {
            Ok(socket) => socket,
            Err(status) => panic!("{target} was refused with {status}"),
        }
    }

    /// The same; Err = the HTTP status of the refusal, 0 if there was none.
    pub async fn try_open(address: SocketAddr, target: &str, headers: &[(&str, &str)]) -> Result<Self, u16> {
        let mut request = format!("ws://{address}{target}").into_client_request().expect("a URL");
        for (name, value) in headers {
            let name = name.parse::<hyper::header::HeaderName>().expect("a header's name");
            request.headers_mut().insert(name, value.parse().expect("a header's value"));
        }
        let shake = async {
            let stream = TcpStream::connect(address).await.map_err(|_| 0_u16)?;
            let config = WebSocketConfig::default().max_message_size(Some(64 << 20));
            match tokio_tungstenite::client_async_with_config(request, stream, Some(config)).await {
                Ok((stream, answer)) => Ok(Self { stream, answer }),
                Err(Error::Http(response)) => Err(response.status().as_u16()),
                Err(_) => Err(0),
            }
        };
        within("the handshake", shake).await
    }

    /// Says something. The connection may be gone: then what is heard next says so.
    pub async fn say(&mut self, message: impl Into<Message>) {
        drop(within("room to send", self.stream.send(message.into())).await);
    }

    /// What comes next.
    pub async fn hear(&mut self) -> Heard {
        loop {
            return match within("what comes next", self.stream.next()).await {
                Some(Ok(Message::Text(text))) => Heard::Text(text.to_string()),
                Some(Ok(Message::Binary(bytes))) => Heard::Binary(bytes.to_vec()),
                Some(Ok(Message::Pong(_))) => Heard::Pong,
                Some(Ok(Message::Close(None))) => Heard::Closed(1005, String::new()),
                Some(Ok(Message::Close(Some(close)))) => {
                    Heard::Closed(close.code.into(), close.reason.to_string())
                }
                Some(Ok(_)) => continue,
                Some(Err(_)) | None => Heard::Cut,
            };
        }
    }

    /// The next text; nothing else may come.
    pub async fn text(&mut self) -> String {
        match self.hear().await {
            Heard::Text(text) => text,
            other => panic!("no text, but {other:?}"),
        }
    }

    /// The next text, as JSON.
    pub async fn json(&mut self) -> serde_json::Value {
        let text = self.text().await;
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
    }

    /// Waits until the server has dealt with all that was said before: it answers a ping in its turn. What came
    /// meanwhile.
    pub async fn settle(&mut self) -> Vec<Heard> {
        self.say(Message::Ping(Vec::new().into())).await;
        let mut heard = Vec::new();
        loop {
            match self.hear().await {
                Heard::Pong => return heard,
                end @ (Heard::Closed(..) | Heard::Cut) => panic!("it has ended: {end:?}"),
                other => heard.push(other),
            }
        }
    }
}
