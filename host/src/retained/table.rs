//! The retained messages in memory, in order of their topics, so that a pattern costs no more than the topics that
//! begin as it does.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::{Bound, ControlFlow};
use std::sync::Arc;

use weir_contract::topic::Pattern;

use super::Most;
use crate::message::{Mark, Message, Place, Routed, now_us};

/// A retained message.
#[derive(Clone, Debug)]
pub struct Kept {
    /// As it was accepted.
    pub message: Message,
    /// None: its topic belonged to no log.
    pub place: Option<Place>,
    /// The position of its log among those that there are.
    pub log: Option<usize>,
    /// As [`Message::expires_us`].
    pub expires_us: Option<u64>,
}

impl Kept {
    pub(super) fn new(message: Message, place: Option<(usize, &Place)>) -> Self {
        let (log, place) = place.unzip();
        let expires_us = message.expires_us();
        Self { message, place: place.cloned(), log, expires_us }
    }

    /// Whether it is not delivered any more.
    pub fn has_expired(&self, now_us: u64) -> bool {
        self.expires_us.is_some_and(|at| at <= now_us)
    }

    /// On its way to a subscriber.
    pub fn routed(&self) -> Arc<Routed> {
        Arc::new(Routed::marked(self.message.clone(), self.place.clone(), Mark::Retained))
    }
}

/// How far a look has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Looked {
    /// Up to this topic, included.
    UpTo(Arc<str>),
    /// Who looked had enough; what it was shown last is to be shown again.
    Stopped,
    /// At everything.
    All,
}

#[derive(Debug, Default)]
pub(super) struct Table {
    by_topic: BTreeMap<Arc<str>, Kept>,
    expiries: BTreeSet<(u64, Arc<str>)>,
    bytes: usize,
    /// Room for what is being accepted: messages and bytes.
    reserved: (usize, usize),
}

impl Table {
    pub(super) fn get(&self, topic: &str) -> Option<&Kept> {
        self.by_topic.get(topic)
    }

    pub(super) fn insert(&mut self, kept: Kept) {
        let topic = Arc::clone(&kept.message.topic);
        self.remove(&topic);
        self.bytes += kept.message.size();
        if let Some(at) = kept.expires_us {
            self.expiries.insert((at, Arc::clone(&topic)));
        }
        self.by_topic.insert(topic, kept);
    }

    pub(super) fn remove(&mut self, topic: &str) {
        if let Some((topic, kept)) = self.by_topic.remove_entry(topic) {
            self.bytes -= kept.message.size();
            if let Some(at) = kept.expires_us {
                self.expiries.remove(&(at, topic));
            }
        }
    }

    /// Takes room for so much more. Err: which limit is in the way.
    pub(super) fn reserve(&mut self, messages: usize, bytes: usize, most: Most) -> Result<(), String> {
        let how = "delete some (`retain` with an empty payload, or `weir retained delete TOPIC`)";
        if messages > 0 && self.by_topic.len() + self.reserved.0 + messages > most.messages {
            let most = most.messages;
            return Err(format!("more than {most} retained messages ([limits] retained_messages): {how}"));
        }
        if bytes > 0 && self.bytes + self.reserved.1 + bytes > most.bytes {
            let most = most.bytes;
            return Err(format!(
                "more than {most} bytes of retained messages ([limits] retained_bytes): {how}"
            ));
        }
        self.reserved = (self.reserved.0 + messages, self.reserved.1 + bytes);
        Ok(())
    }

    /// Gives back room that was taken.
    pub(super) fn release(&mut self, messages: usize, bytes: usize) {
        self.reserved = (self.reserved.0.saturating_sub(messages), self.reserved.1.saturating_sub(bytes));
    }

    pub(super) fn usage(&self) -> (usize, usize) {
        (self.by_topic.len(), self.bytes)
    }

    pub(super) fn expired(&self, now_us: u64, most: usize) -> Vec<Arc<str>> {
        let due = self.expiries.iter().take_while(|(at, _)| *at <= now_us);
        due.map(|(_, topic)| Arc::clone(topic)).take(most).collect()
    }

    pub(super) fn may_match(&self, pattern: &Pattern) -> bool {
        let prefix = pattern.literal_prefix();
        if pattern.is_literal() {
            return self.by_topic.contains_key(prefix);
        }
        self.from(Bound::Included(prefix)).next().is_some_and(|(topic, _)| topic.starts_with(prefix))
    }

    pub(super) fn look(
        &self,
        pattern: &Pattern,
        after: Option<&str>,
        most: usize,
        mut see: impl FnMut(&Arc<str>, &Kept) -> ControlFlow<()>,
    ) -> Looked {
        let (prefix, now) = (pattern.literal_prefix(), now_us());
        let from = match after {
            Some(after) if after >= prefix => Bound::Excluded(after),
            _ => Bound::Included(prefix),
        };
        let begins_so = |(topic, _): &(&Arc<str>, &Kept)| topic.starts_with(prefix);
        for (looked, (topic, kept)) in (1..).zip(self.from(from).take_while(begins_so)) {
            let shown = pattern.matches(topic) && !kept.has_expired(now);
            if shown && see(topic, kept).is_break() {
                return Looked::Stopped;
            }
            // One topic begins as a literal pattern does and is meant; the others only begin so.
            if pattern.is_literal() {
                break;
            }
            if looked >= most {
                return Looked::UpTo(Arc::clone(topic));
            }
        }
        Looked::All
    }

    fn from<'a>(&'a self, from: Bound<&str>) -> impl Iterator<Item = (&'a Arc<str>, &'a Kept)> {
        self.by_topic.range::<str, _>((from, Bound::Unbounded))
    }
}
