//! What the router says of itself, under topics of its own: `$SYS/…`. Nobody else may publish there, no log keeps it, and no
//! plugin sees it.

use std::sync::Arc;

use weir_contract::packed::{put, put_u64, tag};

use super::Ingress;
use crate::message::{Mark, Message, Routed, now_us};
use crate::router::Readers;
use crate::session::Session;

impl Ingress {
    /// Tells all who have subscribed to the topic, which is the router's own.
    pub fn announce(&self, topic: &str, said: String) {
        let routed = Arc::new(Routed::new(own(topic, said), None));
        self.0.parts.router.dispatch(&mut Readers::default(), &routed, None);
    }

    /// Tells one session what it would have been told before, as a retained message.
    pub fn announce_to(&self, session: &Session, topic: &str, said: String) {
        let routed = Arc::new(Routed::marked(own(topic, said), None, Mark::Retained));
        let overflow = self.0.parts.router.overflow(topic);
        session.outbound.push_message(&routed, overflow);
    }

    /// How many messages are retained.
    pub fn retained_count(&self) -> i64 {
        self.0.parts.metrics.retained.messages.get()
    }
}

fn own(topic: &str, said: String) -> Message {
    let mut meta = Vec::with_capacity(64);
    put(&mut meta, tag::ID, &u128::from(ulid::Ulid::generate()).to_be_bytes());
    put_u64(&mut meta, tag::RECEIVED_US, now_us());
    put(&mut meta, tag::TENANT, crate::accounts::MAIN.as_bytes());
    put(&mut meta, tag::NAME, b"router");
    put(&mut meta, tag::ORIGIN, b"service");
    put(&mut meta, tag::CONTENT_TYPE, b"text/plain");
    Message { topic: topic.into(), meta: meta.into(), payload: said.into() }
}
