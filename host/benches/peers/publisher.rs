//! A publisher that is as far ahead of its slowest subscriber as its window allows, and no further.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Notify;

use super::mqtt;
use super::wire::Template;

/// Half of the window: messages that a publisher sends before it looks whether those before them have come everywhere.
const HALF: u64 = 256;
/// Bytes of payloads in half a window, at most: fewer messages when they are large.
const HALF_BYTES: u64 = 1024 * 1024;
/// Messages in one write.
const BURST: u64 = 32;
/// Messages of QoS 1 that may wait for their acknowledgment.
const UNACKNOWLEDGED: u64 = 128;
/// When for so long no subscriber has come further, one is gone.
const PATIENCE: Duration = Duration::from_secs(20);

/// Messages in half a window when payloads are so large.
pub fn half_of(payload: usize) -> u64 {
    let fit = HALF_BYTES / payload as u64;
    if fit == 0 { 1 } else { HALF.min(1 << fit.ilog2()) }
}

/// How far the subscribers of one topic are.
#[derive(Default)]
pub struct Topic {
    /// By half window, how many subscribers are through it: of those under way.
    through: RefCell<[usize; 4]>,
    notify: Notify,
}

impl Topic {
    /// A subscriber came from its message `before` to `now`.
    pub fn tell(&self, before: u64, now: u64, half: u64) {
        for half in before / half..now / half {
            self.through.borrow_mut()[(half % 4) as usize] += 1;
            self.notify.notify_one();
        }
    }

    async fn all_through(&self, half: u64, subscribers: usize) {
        let slot = (half % 4) as usize;
        while self.through.borrow()[slot] < subscribers {
            let progress = tokio::time::timeout(PATIENCE, self.notify.notified()).await;
            assert!(progress.is_ok(), "a subscriber is not through half window {half}: was it cut off?");
        }
        self.through.borrow_mut()[slot] = 0;
    }
}

/// What one publisher does.
pub struct Publisher {
    pub stream: TcpStream,
    pub template: Template,
    pub topic: Rc<Topic>,
    pub subscribers: usize,
    pub half: u64,
}

impl Publisher {
    /// Publishes until it is told to stop. Returns how many messages were sent: whole halves of the window.
    pub async fn run(mut self, stop: Rc<Cell<bool>>) -> u64 {
        let size = BURST.min(self.half);
        let mut burst = Vec::with_capacity(self.template.bytes.len() * size as usize);
        let (mut sent, mut acknowledged) = (0, Acknowledged::default());
        loop {
            if sent % self.half == 0 {
                if stop.get() {
                    break;
                }
                let half = sent / self.half;
                if half >= 2 {
                    self.topic.all_through(half - 2, self.subscribers).await;
                }
            }
            burst.clear();
            (sent..sent + size).for_each(|number| self.template.write(number, &mut burst));
            self.stream.write_all(&burst).await.expect("room to send");
            sent += size;
            if self.template.packet_id.is_some() {
                acknowledged.reach(sent.saturating_sub(UNACKNOWLEDGED - size), &mut self.stream).await;
            }
        }
        if self.template.packet_id.is_some() {
            acknowledged.reach(sent, &mut self.stream).await;
        }
        // The connection stays until all has come.
        let stream = self.stream;
        tokio::task::spawn_local(async move {
            let _kept = stream;
            std::future::pending::<()>().await;
        });
        sent
    }
}

/// Acknowledgments of QoS 1 that have come: each once, in order.
#[derive(Default)]
struct Acknowledged {
    count: u64,
    buffer: Vec<u8>,
}

impl Acknowledged {
    async fn reach(&mut self, wanted: u64, stream: &mut TcpStream) {
        while self.count < wanted {
            let read = stream.read_buf(&mut self.buffer).await.expect("acknowledgments");
            assert!(read > 0, "the connection ended after {} acknowledgments", self.count);
            let whole = self.buffer.len() / 4 * 4;
            for packet in self.buffer[..whole].chunks(4) {
                let id = mqtt::packet_id(self.count).to_be_bytes();
                assert_eq!(packet, [mqtt::ACKNOWLEDGED, &id].concat(), "each once and in order");
                self.count += 1;
            }
            self.buffer.drain(..whole);
        }
    }
}
