use crate::{Id, Message, Time};
use serde::Serialize;
use std::sync::atomic::{AtomicU64, Ordering};
use weir_contract::packed::{self, FORMAT, tag};
use weir_contract::topic;

/// Every message of a test run gets another id.
static NEXT_ID: AtomicU64 = AtomicU64::new(1);

pub(super) fn next_id() -> Id {
    Id::from_number(u128::from(NEXT_ID.fetch_add(1, Ordering::Relaxed)))
}

/// A message as the router would stamp it: tenant `main`, sensor `s1` over MQTT, session `test`, received on
/// 2026-11-21 at 08:00 UTC. The methods of [`Build`] change that.
///
/// # Panics
/// If the topic is none.
pub fn message(topic: &str, payload: impl Into<Vec<u8>>) -> Build {
    if let Err(error) = topic::check(topic) {
        super::fail(&format!("`{topic}` is no topic: {error}"));
    }
    Build {
        topic: topic.to_owned(),
        payload: payload.into(),
        received: Time::from_micros(1_795_248_000_000_000),
        tenant: "main".to_owned(),
        origin: "sensor".to_owned(),
        name: "s1".to_owned(),
        session: "test".to_owned(),
        gateway: "mqtt".to_owned(),
        owned: Vec::new(),
        published: Vec::new(),
    }
}

/// [`message`] with a JSON payload and its content type.
///
/// # Panics
/// If the topic is none, or the body is no JSON.
pub fn message_json(topic: &str, body: &impl Serialize) -> Build {
    match serde_json::to_vec(body) {
        Ok(payload) => message(topic, payload).content_type("application/json"),
        Err(error) => super::fail(&error.to_string()),
    }
}

/// A message being built.
#[derive(Debug, Clone)]
#[must_use]
pub struct Build {
    topic: String,
    payload: Vec<u8>,
    received: Time,
    tenant: String,
    origin: String,
    name: String,
    session: String,
    gateway: String,
    owned: Vec<(u8, Vec<u8>)>,
    published: Vec<(u8, Vec<u8>)>,
}

impl Build {
    /// Who published it: origin (`device`, `page`, `sensor`, `service`) and name.
    pub fn from(mut self, origin: &str, name: &str) -> Self {
        (self.origin, self.name) = (origin.to_owned(), name.to_owned());
        self
    }

    /// The publisher's tenant.
    pub fn tenant(mut self, tenant: &str) -> Self {
        tenant.clone_into(&mut self.tenant);
        self
    }

    /// The publisher's session, 1 to 32 bytes of `A-Za-z0-9`.
    pub fn session(mut self, id: &str) -> Self {
        id.clone_into(&mut self.session);
        self
    }

    /// The gateway through which it came.
    pub fn gateway(mut self, gateway: &str) -> Self {
        gateway.clone_into(&mut self.gateway);
        self
    }

    /// When the router took it.
    pub fn received(mut self, at: Time) -> Self {
        self.received = at;
        self
    }

    /// The account on which the session rests.
    pub fn account(self, id: &str) -> Self {
        self.own(tag::ACCOUNT, id.as_bytes().to_vec())
    }

    /// What the grant said about the publisher.
    pub fn attribute(self, name: &str, value: &str) -> Self {
        self.own(tag::ATTRIBUTE, named(name, value))
    }

    /// Its place in a log, for storage plugins. Without it [`super::Host::store`] numbers the messages
    /// itself.
    pub fn logged(self, log: &str, epoch: u64, offset: u64) -> Self {
        self.own(tag::EPOCH, epoch.to_le_bytes().to_vec())
            .own(tag::OFFSET, offset.to_le_bytes().to_vec())
            .own(tag::LOG, log.as_bytes().to_vec())
    }

    /// The content type.
    pub fn content_type(self, value: &str) -> Self {
        self.publish(tag::CONTENT_TYPE, value.as_bytes().to_vec())
    }

    /// Adds a header.
    pub fn header(self, name: &str, value: &str) -> Self {
        self.publish(tag::HEADER, named(name, value))
    }

    /// The publisher's own id.
    pub fn dedup_id(self, id: impl AsRef<[u8]>) -> Self {
        self.publish(tag::DEDUP_ID, id.as_ref().to_vec())
    }

    /// Where the publisher wants the reply.
    pub fn reply_to(self, topic: &str) -> Self {
        self.publish(tag::REPLY_TO, topic.as_bytes().to_vec())
    }

    /// What the publisher wants back in the reply.
    pub fn correlation(self, value: impl AsRef<[u8]>) -> Self {
        self.publish(tag::CORRELATION, value.as_ref().to_vec())
    }

    /// Whether it stays as its topic's last value.
    pub fn retain(self, on: bool) -> Self {
        self.publish(tag::RETAIN, vec![u8::from(on)])
    }

    /// When it is of no more use.
    pub fn expires(self, at: Time) -> Self {
        self.publish(tag::EXPIRES_US, at.micros().to_le_bytes().to_vec())
    }

    /// As published by MQTT.
    pub fn qos(self, qos: u8) -> Self {
        self.publish(tag::QOS, vec![qos])
    }

    /// The message.
    ///
    /// # Panics
    /// If a field is one that no gateway could have stamped: over its limit, twice, or no text.
    pub fn build(mut self) -> Message {
        let mut host_owned = vec![
            (tag::ID, next_id().bytes().to_vec()),
            (tag::RECEIVED_US, self.received.micros().to_le_bytes().to_vec()),
            (tag::TENANT, self.tenant.into_bytes()),
            (tag::NAME, self.name.into_bytes()),
            (tag::ORIGIN, self.origin.into_bytes()),
            (tag::SESSION, self.session.into_bytes()),
            (tag::GATEWAY, self.gateway.into_bytes()),
        ];
        host_owned.append(&mut self.owned);
        host_owned.append(&mut self.published);
        host_owned.sort_by_key(|(tag, _)| *tag);
        let mut meta = vec![FORMAT];
        let fits = host_owned.iter().all(|(tag, value)| packed::put(&mut meta, *tag, value));
        match packed::check_output(&meta) {
            Ok(()) if fits => Message { topic: self.topic, meta, payload: self.payload },
            Ok(()) => super::fail("a field is longer than 65,535 bytes"),
            Err(error) => super::fail(&error.to_string()),
        }
    }

    fn own(mut self, tag: u8, value: Vec<u8>) -> Self {
        self.owned.push((tag, value));
        self
    }

    fn publish(mut self, tag: u8, value: Vec<u8>) -> Self {
        self.published.push((tag, value));
        self
    }
}

/// A named text, as the value of its field.
fn named(name: &str, value: &str) -> Vec<u8> {
    let len = u8::try_from(name.len()).unwrap_or_else(|_| super::fail("a name is longer than 255 bytes"));
    [&[len], name.as_bytes(), value.as_bytes()].concat()
}
