//! The least that a WebSocket broadcaster has to do, on tokio-tungstenite: what the wire itself costs. A connection to
//! `/pub/T` says what those to `/sub/T` hear. Coalesced like any server that is made for it: as many messages as
//! wait go out in one write.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;

use futures_util::{SinkExt, StreamExt};
use parking_lot::Mutex;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::mpsc::{Sender, channel};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::server::{Request, Response};

/// Messages that may wait for one subscriber; then its publisher waits.
const QUEUE: usize = 4_096;
/// Messages in one write.
const COALESCED: usize = 64;

type Topics = Arc<Mutex<HashMap<String, Vec<Sender<Message>>>>>;

/// Serves until it is killed.
pub fn serve(address: SocketAddr) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let listener = TcpListener::bind(address).await.expect("a free port");
        let topics = Topics::default();
        loop {
            let (stream, _) = listener.accept().await.expect("a connection");
            tokio::spawn(attend(stream, Arc::clone(&topics)));
        }
    });
}

async fn attend(stream: TcpStream, topics: Topics) {
    stream.set_nodelay(true).expect("no delay");
    let mut path = String::new();
    #[allow(clippy::result_large_err, reason = "the signature is tungstenite's")]
    let look = |request: &Request, response: Response| {
        path = request.uri().path().to_owned();
        Ok(response)
    };
    let Ok(socket) = tokio_tungstenite::accept_hdr_async(stream, look).await else { return };
    let (mut sink, mut frames) = socket.split();
    if let Some(topic) = path.strip_prefix("/pub/") {
        let subscribers = topics.lock().get(topic).cloned().unwrap_or_default();
        while let Some(Ok(message)) = frames.next().await {
            for subscriber in &subscribers {
                // Without waiting, so that a burst is in all queues before the first of them is looked at.
                if let Err(TrySendError::Full(message)) = subscriber.try_send(message.clone()) {
                    drop(subscriber.send(message).await);
                }
            }
        }
    } else if let Some(topic) = path.strip_prefix("/sub/") {
        let (sender, mut queue) = channel(QUEUE);
        topics.lock().entry(topic.to_owned()).or_default().push(sender);
        sink.send(Message::text("subscribed")).await.expect("room to send");
        let mut waiting = Vec::with_capacity(COALESCED);
        while queue.recv_many(&mut waiting, COALESCED).await > 0 {
            for message in waiting.drain(..) {
                if sink.feed(message).await.is_err() {
                    return;
                }
            }
            if sink.flush().await.is_err() {
                return;
            }
        }
    }
}
