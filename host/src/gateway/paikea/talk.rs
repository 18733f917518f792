//! An open connection of a device or a page.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio_tungstenite::tungstenite::Utf8Bytes;

use super::Way;
use super::devices::Place;
use super::log::Log;
use crate::config::Limits;
use crate::gateway::foreign;
use crate::gateway::visit::Visit;
use crate::gateway::ws::{Encode, Handler, Next};
use crate::ingress::Publish;
use crate::message::Responder;

/// On which side of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    Device,
    Page,
}

impl Side {
    pub(super) fn origin(self) -> &'static str {
        match self {
            Self::Device => "device",
            Self::Page => "page",
        }
    }

    /// The topic that it publishes to.
    pub(super) fn says(self, way: &Way) -> &str {
        match self {
            Self::Device => &way.up,
            Self::Page => &way.down,
        }
    }

    /// The topic that it gets.
    pub(super) fn hears(self, way: &Way) -> &str {
        match self {
            Self::Device => &way.down,
            Self::Page => &way.up,
        }
    }

    /// In the log: where the message goes.
    fn mark(self) -> char {
        match self {
            Self::Device => '>',
            Self::Page => '<',
        }
    }
}

pub(super) struct Talker {
    pub(super) visit: Visit,
    /// A device's.
    pub(super) _place: Option<Place>,
    pub(super) side: Side,
    pub(super) key: Arc<str>,
    /// The topic of what it says.
    pub(super) topic: Arc<str>,
    pub(super) log: Option<Arc<Log>>,
    pub(super) most_bytes: usize,
}

impl Handler for Talker {
    const ENCODE: Encode = foreign::payload;

    fn most_bytes(&self) -> usize {
        self.most_bytes
    }

    fn silence(&self, _: &Limits) -> Option<Duration> {
        None
    }

    /// Nothing is acknowledged, nor is there a word for what goes wrong behind a message.
    async fn text(&mut self, text: Utf8Bytes) -> Next {
        if let Some(log) = &self.log {
            log.write(format!("{} {}/ {text}", self.side.mark(), self.key));
        }
        let publish = Publish {
            content_type: Some("text/plain; charset=utf-8".into()),
            ..Publish::new(Arc::clone(&self.topic), text)
        };
        self.visit.ingress().publish(self.visit.session(), publish, Responder::none()).await;
        Next::Read
    }

    async fn binary(&mut self, _: Bytes) -> Next {
        match self.side {
            Side::Device => Next::Close(1000, ""),
            Side::Page => Next::Close(1011, ""),
        }
    }
}
