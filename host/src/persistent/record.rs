//! What is kept of a session on the disk, as JSON.
//!
//! ```text
//! ID        → the session and its subscriptions
//! ID/PACKET → a message of QoS 2 under way
//! ```

use serde::{Deserialize, Serialize};

/// One session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Record {
    pub(super) tenant: String,
    pub(super) principal: String,
    pub(super) client: String,
    pub(super) subscriptions: Vec<Subscription>,
    pub(super) expires_after_s: u64,
    /// When its connection ended, Unix microseconds; none: there was one.
    pub(super) ended_us: Option<u64>,
}

/// A subscription, with what its client has said of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subscription {
    /// The filter as it was given, `$share/...` included.
    pub filter: String,
    /// What it matches.
    pub pattern: String,
    /// The highest quality of service of its messages, 0 to 2.
    pub qos: u8,
    /// The client's own messages do not come back.
    pub no_local: bool,
    /// Messages say whether they were published as retained ones.
    pub retain_as_published: bool,
    /// The identifier that the client gave it.
    pub id: Option<u32>,
    /// The durable consumer that reads the logs for it.
    pub consumer: Option<String>,
    /// That is a group.
    pub shared: bool,
}

/// A message of QoS 2 that was sent under a packet identifier.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outgoing {
    /// The durable consumer that it came by.
    pub consumer: String,
    /// That is a group.
    pub shared: bool,
    /// The log.
    pub log: String,
    /// Life of the log.
    pub epoch: u64,
    /// Place in the log.
    pub offset: u64,
    /// The client has it: what remains is to release the identifier.
    pub released: bool,
}
