//! Messages from publishers to their subscribers, as fast as the slowest of these takes them, each checked: it comes
//! once, and behind the one before it.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::task::{JoinHandle, LocalSet};

use super::server::Server;
use super::wire;

/// Messages that a publisher sends before it looks whether half as many have come everywhere.
const WINDOW: u64 = 512;
const HALF: u64 = WINDOW / 2;
/// Messages in one write.
const BURST: u64 = 32;
const WARM_UP: Duration = Duration::from_secs(1);
/// Nothing has come for so long: the rest is lost.
const SILENCE: Duration = Duration::from_secs(5);
const BUFFER: usize = 256 * 1024;

/// How many publish, each on a topic of its own, and how many hear each of them.
pub struct Flow {
    pub publishers: usize,
    pub subscribers: usize,
    pub seconds: Duration,
}

/// What was measured.
pub struct Outcome {
    pub deliveries: u64,
    pub cpu: Duration,
    pub elapsed: Duration,
    pub lost: u64,
    pub dup: u64,
    pub reordered: u64,
}

#[derive(Default)]
struct Counts {
    deliveries: Cell<u64>,
    dup: Cell<u64>,
    reordered: Cell<u64>,
    stop: Cell<bool>,
    progress: Notify,
}

/// How far the subscribers of one topic are.
#[derive(Default)]
struct Topic {
    /// By half window, how many subscribers are through it: of those under way.
    through: RefCell<[usize; 4]>,
    notify: Notify,
}

struct Subscriber {
    counts: Rc<Counts>,
    topic: Rc<Topic>,
    stream: TcpStream,
    buffer: Vec<u8>,
    /// What the next message must be.
    next: u64,
}

impl Flow {
    /// Runs for the time that is set, then until all has come.
    pub async fn run(&self, server: &Server) -> Outcome {
        LocalSet::new().run_until(self.run_local(server)).await
    }

    async fn run_local(&self, server: &Server) -> Outcome {
        let counts = Rc::new(Counts::default());
        let (mut publishers, mut readers) = (Vec::new(), Vec::new());
        for number in 0..self.publishers {
            let topic = Rc::new(Topic::default());
            for reader in 0..self.subscribers {
                let own = number * self.subscribers + reader;
                let subscriber = Subscriber::connect(server, own, number, &counts, &topic).await;
                readers.push(tokio::task::spawn_local(subscriber.read()));
            }
            publishers.push((number, topic));
        }
        let mut sending: Vec<JoinHandle<u64>> = Vec::new();
        for (number, topic) in publishers {
            let publisher = connect(server, &wire::publisher_path(server.kind, number)).await.0;
            let everybody = self.subscribers;
            let publishing = publish(server.kind, publisher, number, topic, everybody, Rc::clone(&counts));
            sending.push(tokio::task::spawn_local(publishing));
        }
        tokio::time::sleep(WARM_UP).await;
        let (began, cpu, before) = (Instant::now(), server.cpu(), counts.deliveries.get());
        tokio::time::sleep(self.seconds).await;
        let deliveries = counts.deliveries.get() - before;
        let (cpu, elapsed) = (server.cpu() - cpu, began.elapsed());
        counts.stop.set(true);
        let mut wanted = 0;
        for publisher in sending {
            wanted += publisher.await.expect("a publisher's end") * self.subscribers as u64;
        }
        let good = || counts.deliveries.get() - counts.dup.get();
        while good() < wanted {
            if tokio::time::timeout(SILENCE, counts.progress.notified()).await.is_err() {
                break;
            }
        }
        readers.iter().for_each(JoinHandle::abort);
        Outcome {
            deliveries,
            cpu,
            elapsed,
            lost: wanted.saturating_sub(good()),
            dup: counts.dup.get(),
            reordered: counts.reordered.get(),
        }
    }
}

/// Opens a WebSocket. What comes behind the answer is kept.
async fn connect(server: &Server, path: &str) -> (TcpStream, Vec<u8>) {
    let mut stream = TcpStream::connect(server.address).await.expect("a connection");
    stream.set_nodelay(true).expect("no delay");
    let protocol = wire::subprotocol(server.kind)
        .map_or_else(String::new, |name| format!("Sec-WebSocket-Protocol: {name}\r\n"));
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: {}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n{protocol}\r\n",
        server.address
    );
    stream.write_all(request.as_bytes()).await.expect("room to send");
    let mut answer = Vec::new();
    await_bytes(&mut stream, &mut answer, b"\r\n\r\n").await;
    assert!(answer.starts_with(b"HTTP/1.1 101"), "{}", answer.escape_ascii());
    let end = answer.windows(4).position(|window| window == b"\r\n\r\n").expect("its end") + 4;
    (stream, answer.split_off(end))
}

async fn await_bytes(stream: &mut TcpStream, read: &mut Vec<u8>, wanted: &[u8]) {
    while !read.windows(wanted.len()).any(|window| window == wanted) {
        let count = stream.read_buf(read).await.expect("an answer");
        assert!(count > 0, "the connection ended: {}", read.escape_ascii());
    }
}

impl Subscriber {
    async fn connect(
        server: &Server,
        number: usize,
        topic: usize,
        counts: &Rc<Counts>,
        progress: &Rc<Topic>,
    ) -> Self {
        let path = wire::subscriber_path(server.kind, number, topic);
        let (mut stream, mut buffer) = connect(server, &path).await;
        let (frames, answer) = wire::subscribe(server.kind, number, topic);
        stream.write_all(&frames).await.expect("room to send");
        await_bytes(&mut stream, &mut buffer, answer).await;
        let (counts, topic) = (Rc::clone(counts), Rc::clone(progress));
        // Nothing is published yet: the buffer holds whole frames, which are not messages.
        Self { counts, topic, stream, buffer: Vec::new(), next: 0 }
    }

    async fn read(mut self) {
        self.buffer.reserve(BUFFER);
        loop {
            match self.stream.read_buf(&mut self.buffer).await {
                Ok(0) | Err(_) => return,
                Ok(_) => {}
            }
            let before = self.next;
            let used = self.take();
            self.buffer.drain(..used);
            self.buffer.reserve(BUFFER / 2);
            self.counts.progress.notify_one();
            self.tell(before);
        }
    }

    /// Looks at all whole frames. Returns how many bytes they were.
    fn take(&mut self) -> usize {
        let mut at = 0;
        while let Some((start, end)) = frame(&self.buffer[at..]) {
            let payload = &self.buffer[at + start..at + end];
            let mut rest = payload;
            while let Some(found) = memchr::memmem::find(rest, wire::MARK) {
                let digits = &rest[found + wire::MARK.len()..][..wire::DIGITS];
                let number = digits.iter().fold(0, |sum, digit| sum * 10 + u64::from(digit - b'0'));
                self.counts.deliveries.set(self.counts.deliveries.get() + 1);
                if number < self.next {
                    self.counts.dup.set(self.counts.dup.get() + 1);
                } else {
                    let skipped = u64::from(number > self.next);
                    self.counts.reordered.set(self.counts.reordered.get() + skipped);
                    self.next = number + 1;
                }
                rest = &rest[found + wire::MARK.len() + wire::DIGITS..];
            }
            at += end;
        }
        at
    }

    /// Tells the publisher which halves of its window are through.
    fn tell(&self, before: u64) {
        for half in before / HALF..self.next / HALF {
            self.topic.through.borrow_mut()[(half % 4) as usize] += 1;
            self.topic.notify.notify_one();
        }
    }
}

/// Where the payload of a server's frame is, when the frame is whole.
fn frame(bytes: &[u8]) -> Option<(usize, usize)> {
    let (start, length) = match bytes.get(1)? & 0x7f {
        126 => (4, usize::from(u16::from_be_bytes([*bytes.get(2)?, *bytes.get(3)?]))),
        127 => (10, u64::from_be_bytes(bytes.get(2..10)?.try_into().ok()?) as usize),
        short => (2, usize::from(short)),
    };
    (bytes.len() >= start + length).then_some((start, start + length))
}

/// Returns how many messages were sent: whole halves of the window.
async fn publish(
    kind: super::server::Kind,
    mut stream: TcpStream,
    number: usize,
    topic: Rc<Topic>,
    subscribers: usize,
    counts: Rc<Counts>,
) -> u64 {
    if let Some((frames, answer)) = wire::greet(kind, number) {
        stream.write_all(&frames).await.expect("room to send");
        await_bytes(&mut stream, &mut Vec::new(), answer).await;
    }
    let (template, digits) = wire::publish(kind, number);
    let mut burst = Vec::with_capacity(template.len() * BURST as usize);
    let mut sent = 0;
    loop {
        if sent % HALF == 0 {
            if counts.stop.get() {
                break;
            }
            let half = sent / HALF;
            if half >= 2 {
                let slot = ((half - 2) % 4) as usize;
                while topic.through.borrow()[slot] < subscribers {
                    topic.notify.notified().await;
                }
                topic.through.borrow_mut()[slot] = 0;
            }
        }
        burst.clear();
        for number in sent..sent + BURST {
            let from = burst.len() + digits;
            burst.extend_from_slice(&template);
            let text = format!("{number:0width$}", width = wire::DIGITS);
            burst[from..from + wire::DIGITS].copy_from_slice(text.as_bytes());
        }
        stream.write_all(&burst).await.expect("room to send");
        sent += BURST;
    }
    // The connection stays until all has come.
    tokio::task::spawn_local(async move {
        let _kept = stream;
        std::future::pending::<()>().await;
    });
    sent
}
