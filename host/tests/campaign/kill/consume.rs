//! Durable consumers, alone and as a group, which acknowledge a part of what they get.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::{Value, json};

use super::Load;
use super::kept::{Kept, LOGS, Message};
use crate::Dice;
use crate::harness::Client;

/// What one connection got, in its order.
#[derive(Default)]
pub(super) struct Taken {
    messages: Vec<Message>,
    /// Log and offset of those that it is done with: an acknowledgement was sent.
    handled: Vec<(usize, u64)>,
    /// Log and offset of those whose acknowledgement was answered: it is on the disk.
    acknowledged: Vec<(usize, u64)>,
}

/// Reads until the router is dead.
pub(super) async fn consume(mut client: Client, name: Name, load: Arc<Load>, mut dice: Dice) -> Taken {
    let (mut taken, mut open) = (Taken::default(), BTreeMap::new());
    let frame = json!({"action": "subscribe", "id": "s", "topic": "load/#", name.0: name.1, "since": "start",
        "ack_wait_ms": 1_000, "max_in_flight": 10_000});
    let mut alive = client.send(&frame).await;
    let mut newest = [None; 2];
    while alive {
        let Some(frame) = client.try_next().await else { break };
        if frame["event"] != "message" {
            assert_eq!(frame["ok"], true, "{frame}");
            taken.acknowledged.extend(frame["id"].as_u64().and_then(|id| open.remove(&id)));
            continue;
        }
        let message = Message::delivered(&frame);
        let (log, offset) = (message.log, message.offset);
        if frame["delivery"] == 1 {
            assert!(newest[log] < Some(offset), "{name:?}: {frame} after {:?}", newest[log]);
            newest[log] = Some(offset);
        }
        let mut ack = json!({"action": "ack", name.0: name.1, "log": LOGS[log], "epoch": message.epoch,
            "offset": offset});
        taken.messages.push(message);
        let roll = dice.below(10);
        if load.is_last() || roll < 5 {
            let id = taken.messages.len() as u64;
            ack["id"] = json!(id);
            open.insert(id, (log, offset));
        }
        if load.is_last() || roll < 9 {
            taken.handled.push((log, offset));
            alive = client.send(&ack).await;
        }
    }
    load.must_be_dead();
    taken
}

/// `consumer` or `group`, and its name.
pub(super) type Name = (&'static str, &'static str);

/// A consumer, through all its connections.
pub(super) struct Consumer {
    pub(super) name: Name,
    /// Of each log the highest offset that was delivered, and one.
    next: [u64; 2],
    /// Offsets that need not come any more,
    handled: [BTreeSet<u64>; 2],
    /// and those that must not.
    acknowledged: [BTreeSet<u64>; 2],
}

impl Consumer {
    pub(super) fn new(name: Name) -> Self {
        let (next, handled, acknowledged) = Default::default();
        Self { name, next, handled, acknowledged }
    }

    /// What its connections got before the crash.
    pub(super) fn settle(&mut self, kept: &Kept, taken: Vec<Taken>) {
        let alone = taken.len() == 1;
        for message in taken.iter().flat_map(|taken| &taken.messages) {
            let (log, offset) = (message.log, message.offset);
            let there = kept.log(log).get(offset as usize);
            assert_eq!(there, Some(message), "{:?}: only what is on the disk is delivered", self.name);
            let again = self.acknowledged[log].contains(&offset);
            assert!(!again, "{:?}: {message:?} was acknowledged before the last crash", self.name);
            let in_order = offset <= self.next[log];
            assert!(in_order || !alone, "{:?}: something before {message:?} never came", self.name);
            self.next[log] = self.next[log].max(offset + 1);
        }
        for (log, offset) in taken.iter().flat_map(|taken| &taken.handled) {
            self.handled[*log].insert(*offset);
        }
        for (log, offset) in taken.into_iter().flat_map(|taken| taken.acknowledged) {
            self.acknowledged[log].insert(offset);
        }
    }

    /// It has got everything at least once, and until it was done with it.
    pub(super) fn check_complete(&self, kept: &Kept) {
        for (log, handled) in self.handled.iter().enumerate() {
            let missing = kept.log(log).iter().find(|message| !handled.contains(&message.offset));
            assert_eq!(missing, None, "{:?}", self.name);
        }
    }
}

/// Everything that is on the disk was acknowledged by these consumers.
pub(super) fn all_acknowledged(listed: &Value, names: &[Name]) -> bool {
    let of = |name: &Name| {
        let all = listed["consumers"].as_array().into_iter().flatten();
        let mut mine = all.filter(|one| one["kind"] == name.0 && one["name"] == name.1);
        mine.next().and_then(|one| one["logs"].as_array())
    };
    names.iter().all(|name| of(name).is_some_and(|logs| logs.iter().all(|log| log["lag"] == 0)))
}
