//! Load of QoS 1 and 2 over `kill -9`: publishers that send again what was not acknowledged, as the protocol says, and a
//! reader at QoS 2. All have sessions that stay, and remember what a client must.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

use super::{Came, Raw, id_of};
use crate::harness::{Child, Setup, eventually};

/// Messages that a publisher has under way at once.
const WINDOW: usize = 16;
const PUBLISHERS: usize = 3;

/// A message on its way to the router.
struct Sent {
    /// Its place in the order in which they were sent.
    number: u64,
    qos: u8,
    payload: String,
    /// PUBREC has come.
    released: bool,
}

/// A client that publishes, and what it knows.
struct Publisher {
    name: String,
    next: u64,
    /// What is not acknowledged to its end, by packet identifier.
    open: BTreeMap<u16, Sent>,
    /// What PUBACK or PUBCOMP has come for.
    acknowledged: [BTreeSet<String>; 2],
}

impl Publisher {
    fn new(number: usize) -> Self {
        Self {
            name: format!("publisher-{number}"),
            next: 0,
            open: BTreeMap::new(),
            acknowledged: Default::default(),
        }
    }

    /// Sends again what the session has not finished, then goes on until the connection ends, or with `last` until
    /// everything is acknowledged.
    async fn run(mut self, address: SocketAddr, acks: Arc<AtomicU64>, last: bool) -> Self {
        let Some(mut raw) = Raw::try_connect(address, &self.name, false).await else { return self };
        let known = self.acknowledged.iter().any(|all| !all.is_empty());
        assert!(
            raw.present || !known,
            "{}: a session with which something was acknowledged is there",
            self.name
        );
        if !self.repeat(&mut raw).await {
            return self;
        }
        loop {
            while !last && self.open.len() < WINDOW {
                if !self.send(&mut raw).await {
                    return self;
                }
            }
            if self.open.is_empty() {
                return self;
            }
            let Some((first, body)) = raw.try_next().await else { return self };
            if !self.heard(&mut raw, first, id_of(&body)).await {
                return self;
            }
            acks.fetch_add(1, SeqCst);
        }
    }

    /// In the order in which they were sent before (MQTT 4.6).
    async fn repeat(&mut self, raw: &mut Raw) -> bool {
        let mut again: Vec<_> = self.open.iter().collect();
        again.sort_by_key(|(_, sent)| sent.number);
        for (id, Sent { qos, payload, released, .. }) in again {
            let went = match released {
                true => raw.say(0x62, *id).await,
                false => raw.send(topic(*qos), *qos, *id, true, payload).await,
            };
            if !went {
                return false;
            }
        }
        true
    }

    async fn send(&mut self, raw: &mut Raw) -> bool {
        let number = self.next;
        self.next += 1;
        let (qos, payload) =
            (if number.is_multiple_of(3) { 1 } else { 2 }, format!("{}/{number}", self.name));
        // Identifiers are used again as soon as they are free.
        let id = (1..).find(|id| !self.open.contains_key(id)).expect("one is free");
        let went = raw.send(topic(qos), qos, id, false, &payload).await;
        self.open.insert(id, Sent { number, qos, payload, released: false });
        went
    }

    async fn heard(&mut self, raw: &mut Raw, first: u8, id: u16) -> bool {
        match first & 0xf0 {
            0x50 => {
                self.open.get_mut(&id).expect("PUBREC for what was sent").released = true;
                raw.say(0x62, id).await
            }
            0x40 | 0x70 => {
                let sent = self.open.remove(&id).expect("an acknowledgement of what was sent");
                assert_eq!(
                    (sent.qos, sent.released),
                    if first & 0xf0 == 0x40 { (1, false) } else { (2, true) }
                );
                self.acknowledged[usize::from(sent.qos) - 1].insert(sent.payload);
                true
            }
            _ => panic!("{first:x} of {id}"),
        }
    }
}

fn topic(qos: u8) -> &'static str {
    if qos == 1 { "load/one" } else { "load/two" }
}

/// A client of QoS 2: what it has, and what it must remember to have it once.
#[derive(Default)]
struct Reader {
    /// Identifiers of messages that it has taken and that are not released.
    taken: BTreeSet<u16>,
    once: Vec<String>,
    at_least: BTreeSet<String>,
    began: bool,
}

impl Reader {
    /// Reads until the connection ends, or `END` has come and everything is released.
    async fn run(mut self, address: SocketAddr) -> Self {
        let Some(mut raw) = Raw::try_connect(address, "reader", false).await else { return self };
        assert_eq!(raw.present, self.began);
        if !self.began {
            raw.subscribe("load/#", 2).await;
            self.began = true;
        }
        while let Some((first, body)) = raw.try_next().await {
            let alive = match first & 0xf0 {
                0x60 => {
                    self.taken.remove(&id_of(&body));
                    raw.say(0x70, id_of(&body)).await
                }
                _ => self.take(&mut raw, Came::of(first, &body)).await,
            };
            if !alive || (self.taken.is_empty() && self.once.last().is_some_and(|last| last == END)) {
                break;
            }
        }
        self
    }

    async fn take(&mut self, raw: &mut Raw, came: Came) -> bool {
        if came.qos == 1 {
            self.at_least.insert(came.payload);
            return raw.say(0x40, came.id).await;
        }
        if self.taken.insert(came.id) {
            self.once.push(came.payload);
        }
        raw.say(0x50, came.id).await
    }
}

const END: &str = "end";

/// So many rounds in which the router is killed after as many acknowledgements as `axe` says, and one to the end. What was
/// acknowledged is there, and what was published at QoS 2 is there once.
pub async fn storm(rounds: u32, mut axe: impl FnMut(u32) -> u64) {
    let setup = Setup::open();
    setup.write_config("[mqtt]\nlisten = \"127.0.0.1:0\"\n");
    let mut publishers: Vec<_> = (0..PUBLISHERS).map(Publisher::new).collect();
    let mut reader = Reader::default();
    for round in 0..rounds {
        let child = setup.spawn().await;
        (publishers, reader) = until_killed(child, publishers, reader, axe(round)).await;
    }
    let child = setup.spawn().await;
    let address = child.reach.gateways["mqtt"];
    let acks = Arc::<AtomicU64>::default();
    let reading = tokio::spawn(reader.run(address));
    let mut sent = Vec::new();
    for publisher in publishers {
        sent.push(publisher.run(address, Arc::clone(&acks), true).await);
    }
    Raw::connect(address, "last", true).await.publish(topic(2), 2, 1, END).await;
    let mut reader = reading.await.unwrap();
    assert_eq!(reader.once.pop().as_deref(), Some(END));
    check(&sent, &reader);
    child.kill();
}

/// All work until the axe falls.
async fn until_killed(
    child: Child,
    publishers: Vec<Publisher>,
    reader: Reader,
    answers: u64,
) -> (Vec<Publisher>, Reader) {
    let address = child.reach.gateways["mqtt"];
    let acks = Arc::<AtomicU64>::default();
    let began = reader.began;
    let reading = tokio::spawn(reader.run(address));
    if !began {
        // The subscription stands before the first message.
        let consumers = async || {
            let listed = child.reach.admin("GET", "/v1/consumers", "").await.text;
            listed.contains("$mqtt.").then_some(())
        };
        eventually("the reader has subscribed", consumers).await;
    }
    let run = |publisher: Publisher| tokio::spawn(publisher.run(address, Arc::clone(&acks), false));
    let running: Vec<_> = publishers.into_iter().map(run).collect();
    eventually("some acknowledgements", async || (acks.load(SeqCst) >= answers).then_some(())).await;
    child.kill();
    let mut publishers = Vec::new();
    for publisher in running {
        publishers.push(publisher.await.unwrap());
    }
    (publishers, reading.await.unwrap())
}

fn check(sent: &[Publisher], reader: &Reader) {
    let once: BTreeSet<_> = reader.once.iter().cloned().collect();
    let mut sorted = reader.once.clone();
    sorted.sort();
    let doubled: Vec<_> = sorted.windows(2).filter(|pair| pair[0] == pair[1]).map(|pair| &pair[0]).collect();
    assert!(doubled.is_empty(), "of QoS 2 and there twice: {doubled:?}");
    for Publisher { acknowledged: [one, two], open, next, .. } in sent {
        assert!(open.is_empty() && one.len() + two.len() == usize::try_from(*next).unwrap());
        let lost: Vec<_> = one.difference(&reader.at_least).chain(two.difference(&once)).collect();
        assert!(lost.is_empty(), "acknowledged and not there: {lost:?}");
    }
    let all = sent.iter().map(|publisher| publisher.next).sum::<u64>();
    println!("{all} messages, {} of them at QoS 2", once.len());
}
