//! Who is connected and subscribed, for the info socket.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;

use super::wire::{go_time, put};
use crate::gateway::json::Object;
use crate::message::now_us;

/// Events without a subscriber that stay listed, as with the original, which forgets none; beyond it the oldest go.
const KEPT: usize = 1_000;

/// All connections but those of the info socket itself.
#[derive(Debug, Default)]
pub(super) struct Members(Mutex<Listed>);

#[derive(Debug, Default)]
struct Listed {
    joined: u64,
    /// In the order in which they came.
    connections: BTreeMap<u64, Connection>,
    /// In the order in which they were first named.
    events: Vec<Event>,
}

#[derive(Debug)]
struct Connection {
    name: Arc<str>,
    address: String,
    connected_us: u64,
}

#[derive(Debug)]
struct Event {
    name: String,
    /// In the order in which they subscribed.
    members: Vec<u64>,
}

/// A connection's place in the list; it goes with this.
#[derive(Debug)]
pub(super) struct Member {
    members: Arc<Members>,
    number: u64,
}

impl Members {
    /// Lists a connection.
    pub(super) fn join(self: &Arc<Self>, name: Arc<str>, address: String) -> Member {
        let mut listed = self.0.lock();
        listed.joined += 1;
        let number = listed.joined;
        listed.connections.insert(number, Connection { name, address, connected_us: now_us() });
        Member { members: Arc::clone(self), number }
    }

    /// What the info socket shows, with a newline behind it. `null` where the original has a list without memory.
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        let listed = self.0.lock();
        let mut object = Object::begin(out);
        list(object.key("subscriptions"), &listed.events, |event, out| {
            let mut object = Object::begin(out);
            put(object.key("name"), &event.name);
            let members: Vec<_> =
                event.members.iter().filter_map(|number| listed.connections.get(number)).collect();
            list_or_null(object.key("connections"), &members);
            object.end();
        });
        list_or_null(object.key("all_connections"), &listed.connections.values().collect::<Vec<_>>());
        put(object.key("created_at"), &go_time(now_us()));
        object.end();
        out.push(b'\n');
    }
}

impl Member {
    /// It subscribed; once, however often it says so.
    pub(super) fn subscribed(&self, event: &str) {
        let mut listed = self.members.0.lock();
        let number = self.number;
        match listed.events.iter_mut().find(|known| known.name == event) {
            Some(known) if known.members.contains(&number) => {}
            Some(known) => known.members.push(number),
            None => {
                listed.events.push(Event { name: event.to_owned(), members: vec![number] });
                listed.forget();
            }
        }
    }

    pub(super) fn unsubscribed(&self, event: &str) {
        let mut listed = self.members.0.lock();
        let known = listed.events.iter_mut().find(|known| known.name == event);
        known.into_iter().for_each(|known| known.members.retain(|number| *number != self.number));
    }

    pub(super) fn unsubscribed_all(&self) {
        let mut listed = self.members.0.lock();
        listed.events.iter_mut().for_each(|known| known.members.retain(|number| *number != self.number));
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        self.unsubscribed_all();
        self.members.0.lock().connections.remove(&self.number);
    }
}

impl Listed {
    fn forget(&mut self) {
        let idle = self.events.iter().filter(|event| event.members.is_empty()).count();
        let mut over = idle.saturating_sub(KEPT);
        self.events.retain(|event| {
            let goes = over > 0 && event.members.is_empty();
            over -= usize::from(goes);
            !goes
        });
    }
}

fn list_or_null(out: &mut Vec<u8>, connections: &[&Connection]) {
    if connections.is_empty() {
        return out.extend_from_slice(b"null");
    }
    list(out, connections, |connection, out| {
        let mut object = Object::begin(out);
        put(object.key("client_name"), &connection.name);
        put(object.key("ip_address"), &connection.address);
        put(object.key("connected_at"), &go_time(connection.connected_us));
        object.end();
    });
}

fn list<T>(out: &mut Vec<u8>, all: &[T], write: impl Fn(&T, &mut Vec<u8>)) {
    out.push(b'[');
    for (at, item) in all.iter().enumerate() {
        if at > 0 {
            out.push(b',');
        }
        write(item, out);
    }
    out.push(b']');
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn shown(members: &Members) -> Value {
        let mut out = Vec::new();
        members.write(&mut out);
        assert_eq!(out.last(), Some(&b'\n'));
        serde_json::from_slice(&out).unwrap()
    }

    #[test]
    fn nobody_is_null_and_an_event_that_was_left_stays() {
        let members = Arc::new(Members::default());
        let nobody = shown(&members);
        assert_eq!((&nobody["subscriptions"], &nobody["all_connections"]), (&json!([]), &Value::Null));
        let member = members.join("ada".into(), "127.0.0.1:7".into());
        member.subscribed("e");
        member.subscribed("e");
        let one = shown(&members);
        assert_eq!(one["subscriptions"][0]["connections"], one["all_connections"]);
        assert_eq!(one["all_connections"][0]["client_name"], "ada");
        drop(member);
        assert_eq!(shown(&members)["subscriptions"], json!([{"name": "e", "connections": null}]));
    }

    #[test]
    fn of_events_that_nobody_has_only_the_latest_are_kept() {
        let members = Arc::new(Members::default());
        let (member, other) =
            (members.join("a".into(), String::new()), members.join("b".into(), String::new()));
        other.subscribed("kept");
        for number in 0..KEPT + 10 {
            member.subscribed(&number.to_string());
            member.unsubscribed(&number.to_string());
        }
        let shown = shown(&members);
        let events = shown["subscriptions"].as_array().unwrap();
        assert!(events.len() <= KEPT + 2 && events[0]["name"] == "kept", "{}", events.len());
        assert_eq!(events.last().unwrap()["name"], (KEPT + 9).to_string());
    }
}
