//! Load on a real router over real sockets: publishers at a steady pace, one subscriber that checks what comes and
//! when.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use futures_util::{SinkExt, StreamExt};
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;

/// Publishes that may be on their way at once, per publisher, where there is no pace.
const WINDOW: u64 = 256;

/// One message that came.
#[derive(Clone, Copy)]
pub struct Arrival {
    /// When it should have been sent, and when it came, since the beginning.
    pub sent: Duration,
    pub came: Duration,
    /// Whether it had been through the second version of the plugin.
    pub second: bool,
}

/// What came, and what is wrong with it.
#[derive(Default)]
pub struct Report {
    pub arrivals: Vec<Arrival>,
    pub lost: u64,
    pub dup: u64,
    pub reordered: u64,
}

/// Publishers and a subscriber at work.
pub struct Load {
    pub began: Instant,
    stop: Arc<AtomicBool>,
    publishers: Vec<JoinHandle<u64>>,
    subscriber: JoinHandle<Report>,
    /// 1: the message that came last had been through the second version of the plugin.
    pub newest: Arc<AtomicU64>,
}

type Socket = WebSocketStream<TcpStream>;

async fn connect(http: std::net::SocketAddr, name: &str) -> Socket {
    let stream = TcpStream::connect(http).await.expect("a connection");
    stream.set_nodelay(true).expect("no delay");
    let url = format!("ws://{http}/v1/ws?client_id={name}");
    tokio_tungstenite::client_async(url, stream).await.expect("a handshake").0
}

impl Load {
    /// Begins: so many publishers, each of so many messages a second; 0 = as fast as they are answered.
    pub async fn begin(http: std::net::SocketAddr, publishers: u64, per_second: u64) -> Self {
        let began = Instant::now();
        let (stop, newest) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let mut reader = connect(http, "reader").await;
        let subscribe = r##"{"action":"subscribe","id":1,"topic":"healthy/#"}"##;
        reader.send(Message::text(subscribe)).await.expect("a subscription");
        reader.next().await.expect("an answer").expect("an answer");
        let subscriber = tokio::spawn(subscribe_until(reader, publishers, began, Arc::clone(&newest)));
        let start = |number| {
            let stop = Arc::clone(&stop);
            tokio::spawn(publish(http, number, per_second, began, stop))
        };
        let publishers = (0..publishers).map(start).collect();
        Self { began, stop, publishers, subscriber, newest }
    }

    /// Ends, and waits until all has come.
    pub async fn end(self) -> Report {
        self.stop.store(true, Ordering::Relaxed);
        let mut sent = 0;
        for publisher in self.publishers {
            sent += publisher.await.expect("a publisher's end");
        }
        let mut report = self.subscriber.await.expect("the subscriber's end");
        report.lost = sent.saturating_sub(report.arrivals.len() as u64 - report.dup);
        report
    }
}

/// Returns how many were sent and answered `accepted`.
async fn publish(
    http: std::net::SocketAddr,
    number: u64,
    per_second: u64,
    began: Instant,
    stop: Arc<AtomicBool>,
) -> u64 {
    let (mut sink, mut answers) = connect(http, &format!("publisher-{number}")).await.split();
    let answered = Arc::new(AtomicU64::new(0));
    let seen = Arc::clone(&answered);
    let counting = tokio::spawn(async move {
        while let Some(Ok(frame)) = answers.next().await {
            let Message::Text(text) = frame else { continue };
            assert!(text.contains("\"accepted\""), "a healthy message was not accepted: {text}");
            seen.fetch_add(1, Ordering::Relaxed);
            if text.contains("\"id\":\"end\"") {
                break;
            }
        }
    });
    let first = Instant::now();
    let mut next = 0;
    while !stop.load(Ordering::Relaxed) {
        let due = if per_second > 0 {
            let due = Duration::from_secs_f64(next as f64 / per_second as f64);
            tokio::time::sleep_until((first + due).into()).await;
            due
        } else {
            while next - answered.load(Ordering::Relaxed) >= WINDOW {
                tokio::task::yield_now().await;
            }
            first.elapsed()
        };
        let sent = (first + due).duration_since(began).as_micros();
        let frame = format!(
            r#"{{"action":"publish","id":{next},"topic":"healthy/{number}","data":{{"p":{number},"n":{next},"t":{sent}}}}}"#
        );
        sink.send(Message::text(frame)).await.expect("room to send");
        next += 1;
    }
    let end = format!(
        r#"{{"action":"publish","id":"end","topic":"healthy/{number}","data":{{"p":{number},"n":{next},"end":true}}}}"#
    );
    sink.send(Message::text(end)).await.expect("room to send");
    counting.await.expect("all answers");
    next
}

#[derive(Deserialize)]
struct Delivery<'a> {
    #[serde(borrow)]
    data: &'a RawValue,
    #[serde(borrow, default)]
    headers: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Data {
    p: usize,
    n: u64,
    #[serde(default)]
    t: u64,
    #[serde(default)]
    end: bool,
}

async fn subscribe_until(
    mut socket: Socket,
    publishers: u64,
    began: Instant,
    newest: Arc<AtomicU64>,
) -> Report {
    let mut report = Report::default();
    let mut next = vec![0; publishers as usize];
    let mut ended = 0;
    while ended < publishers {
        let frame = socket.next().await.expect("a frame").expect("a frame");
        let Message::Text(text) = frame else { continue };
        let came = began.elapsed();
        let delivery: Delivery<'_> = serde_json::from_str(&text).expect("a delivery");
        let data: Data = serde_json::from_str(delivery.data.get()).expect("its data");
        if data.end {
            ended += 1;
            continue;
        }
        let second = delivery.headers.is_some_and(|headers| headers.get().contains("\"stamp\":\"b"));
        newest.store(u64::from(second), Ordering::Relaxed);
        let expected = &mut next[data.p];
        match data.n.cmp(expected) {
            std::cmp::Ordering::Less => report.dup += 1,
            std::cmp::Ordering::Greater => report.reordered += u64::from(*expected > 0 || data.n > 0),
            std::cmp::Ordering::Equal => {}
        }
        *expected = (*expected).max(data.n + 1);
        report.arrivals.push(Arrival { sent: Duration::from_micros(data.t), came, second });
    }
    report
}

/// The value below which so many of a hundred are.
pub fn percentile(sorted: &[Duration], percent: f64) -> Duration {
    let at = (sorted.len() as f64 * percent / 100.0) as usize;
    sorted.get(at.min(sorted.len().saturating_sub(1))).copied().unwrap_or_default()
}
