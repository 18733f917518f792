//! All that a demand leads to, in the order in which it is sent: what the others are told, then the reply, then the
//! groups that the asker joins and leaves.

use serde_json::{Map, Value, json};
use weir_plugin::{Draft, Message, Meta, Outcome, Result, state};

use crate::room::Room;

#[derive(Debug)]
pub(crate) struct Answer {
    demand: String,
    newest: bool,
    told: Vec<(String, Value)>,
    reply: Map<String, Value>,
    joins: Vec<String>,
    leaves: Vec<String>,
    /// Of the room that is closed, and of the one that the asker is in: where their ends are told, in both flavours.
    closed: Option<Draft>,
    stays: Option<String>,
}

/// What the sockets of a room's members end with.
pub(crate) fn closing(room: &Room) -> Draft {
    Draft::new(group(room.id, "closed"), json!({"room": room.id}).to_string()).with(meta())
}

fn meta() -> Meta {
    Meta::new().with_content_type("application/json")
}

/// The topic of a group of a room.
pub(crate) fn group(room: u64, name: &str) -> String {
    format!("ganomics/group/{room}/{name}")
}

/// The topic of one user.
pub(crate) fn user(id: u64) -> String {
    format!("ganomics/user/{id}")
}

impl Answer {
    pub(crate) fn new(demand: &str, newest: bool) -> Self {
        let (told, joins, leaves) = Default::default();
        let (closed, stays) = (None, None);
        Self { demand: demand.to_owned(), newest, told, reply: Map::new(), joins, leaves, closed, stays }
    }

    pub(crate) fn is_newest(&self) -> bool {
        self.newest
    }

    /// Tells a group or a user, unasked. In the newest flavour nobody is.
    pub(crate) fn tell(&mut self, topic: String, body: Value) {
        if !self.newest {
            self.told.push((topic, body));
        }
    }

    /// The reply's fields.
    pub(crate) fn reply(&mut self, body: Value) {
        if let Value::Object(fields) = body {
            self.reply = fields;
        }
    }

    /// The asker is told what this group is told, from behind the reply on.
    pub(crate) fn join(&mut self, topic: String) {
        self.joins.push(topic);
    }

    pub(crate) fn leave(&mut self, topic: String) {
        self.leaves.push(topic);
    }

    /// A room is closed: its members' connections end.
    pub(crate) fn close(&mut self, room: &Room) {
        self.closed = Some(closing(room));
    }

    /// The asker's connection ends when this room is closed.
    pub(crate) fn stay(&mut self, room: &Room) {
        self.stays = Some(group(room.id, "closed"));
    }

    pub(crate) fn send(mut self, message: &Message) -> Result<Outcome> {
        self.reply.insert("demand".into(), self.demand.into());
        let mut meta = self.stays.iter().fold(meta(), |meta, topic| meta.joining(topic));
        if !self.newest {
            self.reply.insert("messageId".into(), state::increment("messages", 1)?.into());
            meta = self.leaves.iter().fold(meta, |meta, topic| meta.leaving(topic));
            meta = self.joins.iter().fold(meta, |meta, topic| meta.joining(topic));
        }
        let draft = |(topic, body): (String, Value)| Draft::new(topic, body.to_string()).with(self::meta());
        let mut sent: Vec<Draft> = self.closed.into_iter().chain(self.told.into_iter().map(draft)).collect();
        sent.push(message.reply(Value::Object(self.reply).to_string()).with(meta));
        Ok(Outcome::Replace(sent))
    }
}
