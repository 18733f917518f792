//! Messages from publishers to their subscribers, as fast as the slowest of these takes them, each checked: it comes
//! once, and behind the one before it.

use std::cell::Cell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::task::{JoinHandle, LocalSet};

use super::publisher::{Publisher, Topic, half_of};
use super::server::{Kind, Server};
use super::{link, wire};

const WARM_UP: Duration = Duration::from_secs(1);
/// Nothing has come for so long: the rest is lost.
const SILENCE: Duration = Duration::from_secs(5);
const BUFFER: usize = 256 * 1024;

/// How many publish, each on a topic of its own, and how many hear each of them.
pub struct Flow {
    pub publishers: usize,
    pub subscribers: usize,
    pub seconds: Duration,
    /// Bytes of a payload.
    pub payload: usize,
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
    progress: Notify,
}

struct Subscriber {
    kind: Kind,
    counts: Rc<Counts>,
    topic: Rc<Topic>,
    stream: TcpStream,
    buffer: Vec<u8>,
    half: u64,
    /// What the next message must be.
    next: u64,
}

impl Flow {
    /// Runs for the time that is set, then until all has come.
    pub async fn run(&self, server: &Server) -> Outcome {
        LocalSet::new().run_until(self.run_local(server)).await
    }

    async fn run_local(&self, server: &Server) -> Outcome {
        let (counts, stop) = (Rc::new(Counts::default()), Rc::new(Cell::new(false)));
        let half = half_of(self.payload);
        let (mut topics, mut readers) = (Vec::new(), Vec::new());
        let all = self.publishers * self.subscribers;
        let mut streams =
            link::all(all, |n| link::subscribe(server, n, n / self.subscribers)).await.into_iter();
        for _ in 0..self.publishers {
            let topic = Rc::new(Topic::default());
            for stream in streams.by_ref().take(self.subscribers) {
                let (counts, topic) = (Rc::clone(&counts), Rc::clone(&topic));
                let buffer = Vec::new();
                let subscriber =
                    Subscriber { kind: server.kind, counts, topic, stream, buffer, half, next: 0 };
                readers.push(tokio::task::spawn_local(subscriber.read()));
            }
            topics.push(topic);
        }
        let mut sending: Vec<JoinHandle<u64>> = Vec::new();
        let streams = link::all(self.publishers, |number| link::publisher(server, number)).await;
        for (number, (stream, topic)) in streams.into_iter().zip(topics).enumerate() {
            let template = wire::publish(server.kind, number, self.payload);
            let publisher = Publisher { stream, template, topic, subscribers: self.subscribers, half };
            sending.push(tokio::task::spawn_local(publisher.run(Rc::clone(&stop))));
        }
        tokio::time::sleep(WARM_UP).await;
        let (began, cpu, before) = (Instant::now(), server.cpu(), counts.deliveries.get());
        tokio::time::sleep(self.seconds).await;
        let deliveries = counts.deliveries.get() - before;
        let (cpu, elapsed) = (server.cpu() - cpu, began.elapsed());
        stop.set(true);
        let lost = self.drain(sending, &counts).await;
        readers.iter().for_each(JoinHandle::abort);
        let (dup, reordered) = (counts.dup.get(), counts.reordered.get());
        Outcome { deliveries, cpu, elapsed, lost, dup, reordered }
    }

    /// Waits until all that was sent has come, or nothing comes any more. Returns how many are lost.
    async fn drain(&self, sending: Vec<JoinHandle<u64>>, counts: &Counts) -> u64 {
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
        wanted.saturating_sub(good())
    }
}

impl Subscriber {
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
            self.topic.tell(before, self.next, self.half);
        }
    }

    /// Looks at all whole frames. Returns how many bytes they were.
    fn take(&mut self) -> usize {
        let mut at = 0;
        while let Some((start, end)) = wire::payload_of(self.kind, &self.buffer[at..]) {
            for number in wire::numbers(&self.buffer[at + start..at + end]) {
                self.counts.deliveries.set(self.counts.deliveries.get() + 1);
                if number < self.next {
                    self.counts.dup.set(self.counts.dup.get() + 1);
                } else {
                    let skipped = u64::from(number > self.next);
                    self.counts.reordered.set(self.counts.reordered.get() + skipped);
                    self.next = number + 1;
                }
            }
            at += end;
        }
        at
    }
}
