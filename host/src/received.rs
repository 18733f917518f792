//! Packet identifiers under which sessions that outlive their connections have sent messages of QoS 2, until they
//! release them: what comes again under one of them is no new message.
//!
//! A message carries its session and identifier ([`Key`]) into the log (`packed::tag::RECEIVED`), and the identifier is
//! written here in the submit in which its message is. The writer flushes the log first. So after a crash the log may know
//! more than these records, never less, and [`Received::open`] makes up for it by reading the log from its mark
//! (`store/mark.rs`) on. Whoever releases an identifier moves the marks, or it would be found in the log again.
//!
//! ```text
//! the session's key, packet identifier u16 → epoch u64, offset u64, the log's name: where the message is;
//!                                             nothing: in no log
//! NUL, a log's name                         → its mark
//! ```
//!
//! The identifier is big-endian, the rest little-endian. A record whose message a crash has taken does not count.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use parking_lot::Mutex;
use weir_contract::packed::{self, tag};

use crate::message::{Message, Place};
use crate::store::{
    Log, OnDurable, Queue, StateValue, Store, StoreError, SubmitError, behind_mark, mark_here, mark_key,
    marked_log,
};

/// The space in the store.
const SPACE: &str = "$received";
/// Messages that a log may be ahead of its mark before the mark follows: what a start after a crash reads.
const BEHIND: u64 = 10_000;
/// Messages and bytes of a log that are read at once.
const PAGE: (usize, usize) = (4_096, 4 << 20);

/// A packet identifier of a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    /// The key of the session, which is never reused and stands for its client too.
    pub session: Arc<str>,
    /// Not 0.
    pub packet: u16,
}

impl Key {
    /// As it stands in a message and here.
    pub fn encode(&self) -> Vec<u8> {
        [self.session.as_bytes(), &self.packet.to_be_bytes()].concat()
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let (session, packet) = bytes.split_last_chunk::<2>()?;
        let session = std::str::from_utf8(session).ok()?.into();
        Some(Self { session, packet: u16::from_be_bytes(*packet) })
    }
}

/// By session.
pub type Found = HashMap<Arc<str>, HashSet<u16>>;

/// Those of all sessions, on the disk.
pub struct Received {
    store: Store,
    space: Arc<str>,
    /// The mark of each log that was handed to the writer last, by the log's name.
    marks: Mutex<BTreeMap<Arc<str>, u64>>,
    /// False: what logs know beyond their marks is not all written, so the marks stay where they are.
    marking: AtomicBool,
}

impl Received {
    /// What the store has kept, made up to what the logs know. Waits for the disk.
    pub fn open(store: Store) -> Result<(Arc<Self>, Found), StoreError> {
        let (mut found, mut marks, mut dead) = (Found::new(), HashMap::new(), Vec::new());
        for pair in store.load_space(SPACE)? {
            if let Some(log) = marked_log(&pair.key) {
                marks.insert(log.to_vec(), pair.value);
            } else if let Some(key) = Key::decode(&pair.key).filter(|_| is_there(&store, &pair.value)) {
                found.entry(key.session).or_default().insert(key.packet);
            } else {
                dead.push(pair.key);
            }
        }
        let mut tails = Vec::new();
        for log in store.logs().iter().filter(|log| !log.is_input()) {
            // Without a mark there was no message with an identifier: it is written before the first.
            let mark = marks.get(log.name().as_bytes()).map(Vec::as_slice);
            let first = mark.map_or(Some(log.next_offset()), |mark| behind_mark(log, mark));
            tails.extend(read(log, first.unwrap_or_else(|| log.oldest()))?);
        }
        let (marks, marking) = (Mutex::default(), AtomicBool::new(true));
        let received = Self { store, space: SPACE.into(), marks, marking };
        if let Err(error) = received.write_back(&tails, dead) {
            // As long as the marks stay where they are it is found again at the next start.
            received.marking.store(false, Ordering::Relaxed);
            tracing::error!(%error, "what was read from the logs is not written: identifiers of messages");
        }
        for (key, _) in tails {
            found.entry(key.session).or_default().insert(key.packet);
        }
        Ok((Arc::new(received), found))
    }

    fn write_back(&self, tails: &[(Key, Place)], dead: Vec<Vec<u8>>) -> Result<(), SubmitError> {
        let (done, wait) = std::sync::mpsc::sync_channel(1);
        self.store.writer().submit(|queue| {
            dead.into_iter().for_each(|key| queue.state(&self.space, key, None));
            tails.iter().for_each(|(key, place)| self.put(queue, key.encode(), Some(place)));
            self.mark_all(queue);
            queue.on_durable(Box::new(move |result| drop(done.send(result))));
        })?;
        wait.recv().map_err(|_| SubmitError::Closed)?.map_err(SubmitError::Broken)
    }

    /// Writes the identifier of a message, if it has one, in the submit in which the message goes to this log.
    pub fn submit(&self, queue: &mut Queue, message: &Message, place: &Place, log: &Log) {
        if let Some(key) = packed::first(&message.meta, tag::RECEIVED) {
            self.put(queue, key.to_vec(), Some(place));
            self.mark(queue, log);
        }
    }

    /// Writes the identifier of a message that is in no log. `done` is called when that is on the disk, on the writer's
    /// thread: it must not block. An error: it is not called.
    pub fn receive(&self, key: &Key, done: OnDurable) -> Result<(), SubmitError> {
        self.store.writer().submit(|queue| {
            self.put(queue, key.encode(), None);
            queue.on_durable(done);
        })
    }

    /// Forgets an identifier. `done` as for [`receive`](Self::receive).
    pub fn release(&self, key: &Key, done: OnDurable) -> Result<(), SubmitError> {
        self.store.writer().submit(|queue| {
            queue.state(&self.space, key.encode(), None);
            self.mark_all(queue);
            queue.on_durable(done);
        })
    }

    /// Forgets those of a session that has ended.
    pub fn erase(
        &self,
        session: &Arc<str>,
        packets: impl IntoIterator<Item = u16>,
    ) -> Result<(), SubmitError> {
        self.store.writer().submit(|queue| {
            for packet in packets {
                let key = Key { session: Arc::clone(session), packet };
                queue.state(&self.space, key.encode(), None);
            }
            self.mark_all(queue);
        })
    }

    /// Lets the marks follow their logs where those are far ahead. Never waits.
    pub fn follow(&self) {
        let marks = self.marks.lock().clone();
        let is_behind =
            |log: &Log| log.assigned().saturating_sub(marks.get(log.name()).copied().unwrap_or(0)) >= BEHIND;
        if self.store.logs().iter().filter(|log| !log.is_input()).any(is_behind) {
            // A writer that takes nothing now does so later.
            drop(self.store.writer().submit(|queue| self.mark_all(queue)));
        }
    }

    fn put(&self, queue: &mut Queue, key: Vec<u8>, place: Option<&Place>) {
        let encode = |place: &Place| {
            [&place.epoch.to_le_bytes()[..], &place.offset.to_le_bytes(), place.log.as_bytes()].concat()
        };
        let bytes = Bytes::from(place.map(encode).unwrap_or_default());
        queue.state(&self.space, key, Some(StateValue { bytes, expires_us: None }));
    }

    fn mark_all(&self, queue: &mut Queue) {
        self.store.logs().iter().filter(|log| !log.is_input()).for_each(|log| self.mark(queue, log));
    }

    fn mark(&self, queue: &mut Queue, log: &Log) {
        if !self.marking.load(Ordering::Relaxed) {
            return;
        }
        let (mark, next) = mark_here(queue, log);
        queue.state(&self.space, mark_key(log.name()), Some(mark));
        self.marks.lock().insert(Arc::clone(log.name()), next);
    }
}

/// The message without its identifier: who publishes it is not the session any more.
pub fn strip(message: Message) -> Message {
    if packed::first(&message.meta, tag::RECEIVED).is_none() {
        return message;
    }
    let mut meta = Vec::with_capacity(message.meta.len());
    for (field, value) in packed::fields(&message.meta).flatten().filter(|(t, _)| *t != tag::RECEIVED) {
        packed::put(&mut meta, field, value);
    }
    Message { meta: Bytes::from(meta), ..message }
}

/// Whether the message of a record is, or was, in its log.
fn is_there(store: &Store, value: &[u8]) -> bool {
    let place = || {
        let (epoch, rest) = value.split_first_chunk::<8>()?;
        let (offset, name) = rest.split_first_chunk::<8>()?;
        let (epoch, offset) = (u64::from_le_bytes(*epoch), u64::from_le_bytes(*offset));
        let log = store.log(std::str::from_utf8(name).ok()?)?;
        Some(offset < log.oldest() || (offset < log.next_offset() && log.epoch_of(offset) == epoch))
    };
    // The log may be configured no more: its message was there.
    value.is_empty() || place().unwrap_or(true)
}

/// The identifiers in a log, from `next` on.
fn read(log: &Log, mut next: u64) -> Result<Vec<(Key, Place)>, StoreError> {
    let mut found = Vec::new();
    loop {
        let page = log.read(next, &|_| true, PAGE.0, PAGE.1)?;
        for stored in page.messages {
            let key = packed::first(&stored.message.meta, tag::RECEIVED).and_then(Key::decode);
            found.extend(key.map(|key| (key, stored.place)));
        }
        next = page.next.max(next);
        if page.end {
            break;
        }
    }
    if !found.is_empty() {
        tracing::info!(log = %log.name(), identifiers = found.len(), "read from the log");
    }
    Ok(found)
}

#[cfg(test)]
mod tests;
