//! One WebSocket to the router.

use anyhow::{Context, Result, anyhow, bail};
use futures_util::{SinkExt, StreamExt};
use serde::Serialize;
use serde_json::Value;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error, Message};

use super::{Answer, Delivery, Login, PATIENCE};
use crate::clock;

/// Largest frame that we take, in bytes: a payload of 1 MiB, and what stands around it.
const FRAME_BYTES: usize = 2 << 20;

/// A connection on which messages go out and come in.
pub struct Socket(WebSocketStream<TcpStream>);

/// What the router sends.
#[derive(Clone, Debug, PartialEq)]
pub enum Frame {
    /// The answer to the frame with this id.
    Answer(u64, Answer),
    /// A message of a topic to which we subscribed.
    Message(Delivery),
    /// Something else: its name, and the whole of it.
    Event(String, Value),
}

/// A message to be sent.
#[derive(Debug, Serialize)]
pub struct Publish<'a, T> {
    /// To be found again in the answer.
    pub id: u64,
    /// Where to.
    pub topic: &'a str,
    /// The payload.
    pub data: &'a T,
}

#[derive(Serialize)]
struct Request<'a, T> {
    action: &'static str,
    #[serde(flatten)]
    rest: &'a T,
}

impl Socket {
    /// Connects and says who we are.
    pub async fn connect(login: &Login) -> Result<Self> {
        let authority = login.endpoint.authority();
        let stream = login.endpoint.connect().await?;
        let mut request = format!("ws://{authority}{}", login.claims("/v1/ws")).into_client_request()?;
        let key = HeaderValue::from_str(&login.key).context("the key holds what no key can hold")?;
        request.headers_mut().insert("X-API-Key", key);
        let config = WebSocketConfig::default().max_message_size(Some(FRAME_BYTES));
        let shake = tokio_tungstenite::client_async_with_config(request, stream, Some(config));
        match timeout(PATIENCE, shake).await {
            Ok(Ok((socket, _))) => Ok(Self(socket)),
            Ok(Err(error)) => Err(refused(error)).with_context(|| format!("the router at {authority}")),
            Err(_) => bail!("the router at {authority} does not answer the WebSocket handshake"),
        }
    }

    /// Subscribes, and waits until the router says that it did. For the beginning of a connection: what
    /// comes in meanwhile is lost, and there is nothing yet to lose.
    pub async fn subscribe(&mut self, pattern: &str) -> Result<()> {
        let id = 0;
        let rest = serde_json::json!({"id": id, "topic": pattern});
        self.send(&Request { action: "subscribe", rest: &rest }).await?;
        let answered = async {
            loop {
                match self.next().await? {
                    Frame::Answer(answered, answer) if answered == id => return Ok(answer),
                    _ => {}
                }
            }
        };
        let answer: Result<Answer> = timeout(PATIENCE, answered)
            .await
            .map_err(|_| anyhow!("subscribing to {pattern}: no answer within {} s", PATIENCE.as_secs()))?;
        let answer = answer.with_context(|| format!("subscribing to {pattern}"))?;
        if !answer.ok {
            bail!("subscribing to {pattern} was refused: {answer}");
        }
        Ok(())
    }

    /// Sends a message. The answer comes in as a [`Frame`].
    pub async fn publish<T: Serialize>(&mut self, message: &Publish<'_, T>) -> Result<()> {
        self.send(&Request { action: "publish", rest: message }).await
    }

    /// The next frame; an error when the connection has ended. May be dropped while it waits.
    pub async fn next(&mut self) -> Result<Frame> {
        loop {
            match self.0.next().await {
                Some(Ok(Message::Text(text))) => return parse(&text, clock::now_us()),
                Some(Ok(Message::Close(frame))) => bail!("the router closed the connection{}", why(frame)),
                // The library answers pings by itself.
                Some(Ok(_)) => {}
                Some(Err(error)) => return Err(error).context("the connection to the router broke"),
                None => bail!("the router ended the connection"),
            }
        }
    }

    /// Says goodbye. Nothing is awaited: the router has what was sent before.
    pub async fn close(mut self) {
        // The connection ends anyhow, whether or not the farewell arrives.
        let _ = timeout(PATIENCE, self.0.close(None)).await;
    }

    async fn send<T: Serialize>(&mut self, frame: &T) -> Result<()> {
        let text = serde_json::to_string(frame)?;
        let sent = timeout(PATIENCE, self.0.send(Message::text(text))).await;
        sent.map_err(|_| anyhow!("the router has taken nothing for {} s", PATIENCE.as_secs()))?
            .context("the connection to the router broke")
    }
}

/// One text frame.
fn parse(text: &str, received_us: u64) -> Result<Frame> {
    let not_ours = || format!("not a frame of the native protocol: {text:.200}");
    let mut frame: Value = serde_json::from_str(text).with_context(not_ours)?;
    let word = |name: &str| frame.get(name).and_then(Value::as_str).map(str::to_owned);
    let id = frame.get("id").and_then(Value::as_u64);
    match (word("event").as_deref(), id, word("topic"), word("from")) {
        (Some("message"), _, Some(topic), Some(from)) => {
            let data = frame.get_mut("data").map(Value::take);
            Ok(Frame::Message(Delivery { topic, from, data, received_us }))
        }
        (Some(event), ..) if event != "message" => Ok(Frame::Event(event.to_owned(), frame)),
        (None, Some(id), ..) => Ok(Frame::Answer(id, serde_json::from_value(frame).with_context(not_ours)?)),
        _ => bail!(not_ours()),
    }
}

/// A refusal comes before the upgrade, as a plain HTTP answer.
fn refused(error: Error) -> anyhow::Error {
    let Error::Http(response) = error else { return error.into() };
    let body = response.body().as_deref().unwrap_or_default();
    match serde_json::from_slice::<Answer>(body) {
        Ok(answer) => anyhow!("refused with {}: {answer}", response.status()),
        Err(_) => anyhow!("refused with {}", response.status()),
    }
}

fn why(frame: Option<CloseFrame>) -> String {
    frame.map_or_else(String::new, |frame| format!(" with {}: {}", frame.code, frame.reason))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_told_apart() {
        let text = r#"{"event":"message","topic":"a/b","time_us":5,"from":"dev","id":3,"data":{"n":1}}"#;
        let data = Some(serde_json::json!({"n": 1}));
        let delivery = Delivery { topic: "a/b".into(), from: "dev".into(), data, received_us: 7 };
        assert_eq!(parse(text, 7).unwrap(), Frame::Message(delivery));
        let answer = Answer { ok: true, outcome: "accepted".into(), ..Answer::default() };
        let text = r#"{"id":4,"ok":true,"outcome":"accepted","level":"routed","messages":[]}"#;
        assert_eq!(parse(text, 7).unwrap(), Frame::Answer(4, answer));
        assert!(
            matches!(parse(r#"{"event":"gap","from":1}"#, 7), Ok(Frame::Event(name, _)) if name == "gap")
        );
        for bad in ["", "[]", "{}", r#"{"event":"message"}"#, r#"{"id":"x","ok":true}"#] {
            parse(bad, 7).unwrap_err();
        }
    }

    #[test]
    fn a_publish_is_one_flat_object() {
        let publish = Publish { id: 3, topic: "a", data: &[1, 2] };
        let text = serde_json::to_string(&Request { action: "publish", rest: &publish }).unwrap();
        assert_eq!(text, r#"{"action":"publish","id":3,"topic":"a","data":[1,2]}"#);
    }
}
