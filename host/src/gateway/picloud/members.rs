//! Who is connected and subscribed, for the info socket.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use parking_lot::Mutex;

use super::wire::{go_time, put};
use crate::gateway::json::{Object, put_array};
use crate::message::now_us;

/// Events without a subscriber that stay listed, as with the original, which forgets none; beyond it the oldest go.
const KEPT: usize = 1_000;
/// Connections that one message shows, one that has several events once for each: more are only counted.
const SHOWN: usize = 10_000;
/// Bytes of a client's or an event's name that are shown.
const NAME_BYTES: usize = 128;

/// All connections but those of the info socket itself.
#[derive(Debug, Default)]
pub(super) struct Members(Mutex<Listed>);

#[derive(Debug, Default)]
struct Listed {
    /// Numbers given so far, to connections, events and subscriptions.
    numbers: u64,
    /// In the order in which they came.
    connections: BTreeMap<u64, Connection>,
    events: HashMap<Box<str>, u64>,
    /// In the order in which they were first named.
    named: BTreeMap<u64, Event>,
    /// Those that nobody has.
    idle: BTreeSet<u64>,
}

#[derive(Debug)]
struct Connection {
    shown: Arc<Shown>,
    /// Its subscriptions, by event.
    events: BTreeMap<u64, u64>,
}

#[derive(Debug)]
struct Shown {
    name: String,
    address: String,
    connected_us: u64,
}

#[derive(Debug)]
struct Event {
    name: Box<str>,
    /// Connections, in the order in which they subscribed.
    members: BTreeMap<u64, Arc<Shown>>,
}

/// A connection's place in the list; it goes with this.
#[derive(Debug)]
pub(super) struct Member {
    members: Arc<Members>,
    number: u64,
}

/// What one message of the info socket shows.
struct Snapshot {
    events: Vec<(String, Vec<Arc<Shown>>)>,
    all: Vec<Arc<Shown>>,
    omitted: usize,
}

impl Members {
    /// Lists a connection.
    pub(super) fn join(self: &Arc<Self>, name: &str, address: String) -> Member {
        let mut listed = self.0.lock();
        let number = listed.number();
        let shown = Arc::new(Shown { name: cut(name), address, connected_us: now_us() });
        listed.connections.insert(number, Connection { shown, events: BTreeMap::new() });
        Member { members: Arc::clone(self), number }
    }

    /// What the info socket shows, with a newline behind it. `null` where the original has a list without memory;
    /// `omitted` only if not all is shown.
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        let Snapshot { events, all, omitted } = self.0.lock().snapshot();
        let mut object = Object::begin(out);
        put_array(object.key("subscriptions"), &events, |out, (name, members)| {
            let mut object = Object::begin(out);
            put(object.key("name"), name);
            list_or_null(object.key("connections"), members);
            object.end();
        });
        list_or_null(object.key("all_connections"), &all);
        put(object.key("created_at"), &go_time(now_us()));
        if omitted > 0 {
            object.number("omitted", omitted as u64);
        }
        object.end();
        out.push(b'\n');
    }
}

impl Member {
    /// It subscribed; once, however often it says so.
    pub(super) fn subscribed(&self, event: &str) {
        let listed = &mut *self.members.0.lock();
        let at = listed.number_of(event);
        let number = listed.number();
        let (Some(connection), Some(known)) =
            (listed.connections.get_mut(&self.number), listed.named.get_mut(&at))
        else {
            return;
        };
        if let Entry::Vacant(free) = connection.events.entry(at) {
            free.insert(number);
            known.members.insert(number, Arc::clone(&connection.shown));
            listed.idle.remove(&at);
        }
    }

    pub(super) fn unsubscribed(&self, event: &str) {
        let listed = &mut *self.members.0.lock();
        if let Some(at) = listed.events.get(event).copied() {
            listed.leave(self.number, at);
        }
    }

    pub(super) fn unsubscribed_all(&self) {
        let listed = &mut *self.members.0.lock();
        let Some(connection) = listed.connections.get(&self.number) else { return };
        let all: Vec<u64> = connection.events.keys().copied().collect();
        all.into_iter().for_each(|at| listed.leave(self.number, at));
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        self.unsubscribed_all();
        self.members.0.lock().connections.remove(&self.number);
    }
}

impl Listed {
    fn number(&mut self) -> u64 {
        self.numbers += 1;
        self.numbers
    }

    fn number_of(&mut self, event: &str) -> u64 {
        if let Some(at) = self.events.get(event) {
            return *at;
        }
        let at = self.number();
        self.events.insert(event.into(), at);
        self.named.insert(at, Event { name: event.into(), members: BTreeMap::new() });
        self.idle.insert(at);
        at
    }

    fn leave(&mut self, connection: u64, event: u64) {
        let number = self.connections.get_mut(&connection).and_then(|found| found.events.remove(&event));
        let (Some(number), Some(known)) = (number, self.named.get_mut(&event)) else { return };
        known.members.remove(&number);
        if known.members.is_empty() {
            self.idle.insert(event);
        }
        while self.idle.len() > KEPT {
            let oldest = self.idle.pop_first().and_then(|at| self.named.remove(&at));
            oldest.map(|event| self.events.remove(&event.name));
        }
    }

    fn snapshot(&self) -> Snapshot {
        let mut room = SHOWN;
        let mut omitted = 0;
        let mut take = |all: &mut dyn Iterator<Item = &Arc<Shown>>, count: usize| {
            let shown: Vec<_> = all.take(room).cloned().collect();
            room -= shown.len();
            omitted += count - shown.len();
            shown
        };
        let connections = &self.connections;
        let all = take(&mut connections.values().map(|connection| &connection.shown), connections.len());
        let event =
            |event: &Event| (cut(&event.name), take(&mut event.members.values(), event.members.len()));
        let events = self.named.values().map(event).collect();
        Snapshot { events, all, omitted }
    }
}

fn cut(name: &str) -> String {
    name.get(..name.floor_char_boundary(NAME_BYTES)).unwrap_or_default().to_owned()
}

fn list_or_null(out: &mut Vec<u8>, connections: &[Arc<Shown>]) {
    if connections.is_empty() {
        return out.extend_from_slice(b"null");
    }
    put_array(out, connections, |out, connection| {
        let mut object = Object::begin(out);
        put(object.key("client_name"), &connection.name);
        put(object.key("ip_address"), &connection.address);
        put(object.key("connected_at"), &go_time(connection.connected_us));
        object.end();
    });
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
        let member = members.join("ada", "127.0.0.1:7".into());
        member.subscribed("e");
        member.subscribed("e");
        let one = shown(&members);
        assert_eq!(one["subscriptions"][0]["connections"], one["all_connections"]);
        assert_eq!(one["all_connections"][0]["client_name"], "ada");
        assert!(one.get("omitted").is_none());
        drop(member);
        assert_eq!(shown(&members)["subscriptions"], json!([{"name": "e", "connections": null}]));
    }

    #[test]
    fn connections_of_an_event_stand_in_the_order_in_which_they_subscribed() {
        let members = Arc::new(Members::default());
        let all = ["a", "b", "c"].map(|name| members.join(name, String::new()));
        for at in [2, 0, 1] {
            all[at].subscribed("e");
        }
        all[0].unsubscribed("e");
        all[0].subscribed("e");
        let shown = shown(&members);
        let names = |list: &Value| -> Vec<String> {
            list.as_array().unwrap().iter().map(|one| one["client_name"].as_str().unwrap().into()).collect()
        };
        assert_eq!(names(&shown["subscriptions"][0]["connections"]), ["c", "b", "a"]);
        assert_eq!(names(&shown["all_connections"]), ["a", "b", "c"]);
    }

    #[test]
    fn of_events_that_nobody_has_only_the_latest_are_kept() {
        let members = Arc::new(Members::default());
        let (member, other) = (members.join("a", String::new()), members.join("b", String::new()));
        other.subscribed("kept");
        for number in 0..KEPT + 10 {
            member.subscribed(&number.to_string());
            member.unsubscribed(&number.to_string());
        }
        let shown = shown(&members);
        let events = shown["subscriptions"].as_array().unwrap();
        assert!(events.len() == KEPT + 1 && events[0]["name"] == "kept", "{}", events.len());
        assert_eq!(events.last().unwrap()["name"], (KEPT + 9).to_string());
    }

    #[test]
    fn a_message_shows_so_many_and_no_longer_names() {
        let members = Arc::new(Members::default());
        let all: Vec<_> =
            (0..SHOWN / 2 + 5).map(|_| members.join(&"ä".repeat(30_000), String::new())).collect();
        all.iter().for_each(|member| member.subscribed("e"));
        let shown = shown(&members);
        assert_eq!(shown["omitted"], 10);
        let length = |name: &Value| name["client_name"].as_str().unwrap().len();
        assert_eq!(length(&shown["all_connections"][0]), NAME_BYTES);
    }
}
