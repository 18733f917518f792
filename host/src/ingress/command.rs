//! What gateways ask of the router, in no wire's words.

use std::borrow::Cow;
use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::oneshot;

use crate::message::{Level, Places, Since, Stored};
use crate::received::Key;
use crate::session::Session;

/// What a client presents. All of it is a claim, but `gateway`, `address` and `tls_name`.
#[derive(Clone, Default)]
pub struct Credential {
    /// The gateway's name: `http` for the native one.
    pub gateway: &'static str,
    /// Peer address without port, after trusted proxies.
    pub address: String,
    /// Name in the certificate that the client has shown, and that was verified.
    pub tls_name: Option<String>,
    /// User name, if given.
    pub user: Option<String>,
    /// The client's own name for itself, if given.
    pub client_id: Option<String>,
    /// Where the secret was found (`bearer`, `header`, `query`, `password`, `path`) and the secret, at most 8 KiB.
    pub secret: Option<(&'static str, Vec<u8>)>,
    /// `path`, `origin`, `host`, `user-agent`, ... as the gateway documents. At most 32.
    pub attributes: Vec<(String, String)>,
}

impl std::fmt::Debug for Credential {
    /// Leaves the secret out, so that no log line can carry it.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Credential")
            .field("gateway", &self.gateway)
            .field("address", &self.address)
            .field("user", &self.user)
            .field("client_id", &self.client_id)
            .field("secret_from", &self.secret.as_ref().map(|(from, _)| *from))
            .finish_non_exhaustive()
    }
}

/// Why a session was not opened.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Rejected {
    /// No auth plugin knew the credential (HTTP 401).
    #[error(
        "no valid API key: send it as `X-API-Key: KEY` or `Authorization: Bearer KEY`, a name and a password as `Authorization: Basic`"
    )]
    Unauthenticated,
    /// An auth plugin said no, or failed (HTTP 403).
    #[error("refused")]
    Denied,
    /// Too many tries, or the authentication queue is full (HTTP 503).
    #[error("the router is busy authenticating: try again")]
    Busy,
    /// The router is stopping (HTTP 503).
    #[error("the router is stopping")]
    ShuttingDown,
}

/// One message to be published. The gateway has checked nothing but its own wire.
#[derive(Clone, Debug, Default)]
pub struct Publish {
    /// Checked by ingress. The message has it as it is.
    pub topic: Arc<str>,
    /// Opaque.
    pub payload: Bytes,
    /// Media type; `application/json` promises nothing, the bytes may be anything.
    pub content_type: Option<Cow<'static, str>>,
    /// Lower-case names; at most 64, user properties included.
    pub headers: Vec<(String, String)>,
    /// MQTT user properties, in order. Those whose name could be a header's are headers.
    pub user_properties: Vec<(String, String)>,
    /// At most 1 KiB, opaque.
    pub correlation: Option<Bytes>,
    /// As published by MQTT, 0 to 2; none elsewhere.
    pub qos: Option<u8>,
    /// The publisher says that the payload is UTF-8.
    pub is_text: bool,
    /// The publisher's own id, 1 to 64 bytes.
    pub message_id: Option<String>,
    /// Becomes its topic's retained message; with an empty payload it takes that away.
    pub retain: bool,
    /// Milliseconds after which it is not delivered any more.
    pub expires_in_ms: Option<u64>,
    /// A topic on which the publisher waits for replies.
    pub reply_to: Option<String>,
    /// Under which packet identifier of which session it came, at QoS 2.
    pub received: Option<Key>,
    /// The level to wait for before answering.
    pub level: Level,
}

impl Publish {
    /// A message of which nothing more is said. (The default's topic is shared by all threads, which shows when each
    /// message takes one and gives it back.)
    pub fn new(topic: impl Into<Arc<str>>, payload: impl Into<Bytes>) -> Self {
        Self {
            topic: topic.into(),
            payload: payload.into(),
            content_type: None,
            headers: Vec::new(),
            user_properties: Vec::new(),
            correlation: None,
            qos: None,
            is_text: false,
            message_id: None,
            retain: false,
            expires_in_ms: None,
            reply_to: None,
            received: None,
            level: Level::default(),
        }
    }
}

/// What a session wants to be sent.
#[derive(Clone, Debug, Default)]
pub struct Subscribe {
    /// Topic or pattern.
    pub pattern: String,
    /// Where it begins; none: now, and a pattern that the session holds stays as it is.
    pub since: Option<Since>,
    /// Whether the retained messages come first; none: unless `since` is given. Said of a pattern that the session
    /// holds, they come again.
    pub retained: Option<bool>,
    /// It is also told who joins and leaves these topics.
    pub presence: bool,
    /// A session that gives this very pattern up to this one: every message goes to just one of them.
    pub instead_of: Option<Arc<Session>>,
}

/// A subscription that stands. What it begins with, retained or in the past, comes when this is dropped, so that
/// the answer can be given before.
#[derive(Debug)]
pub struct Subscribed {
    /// False: the session had it before.
    pub new: bool,
    /// Of every log whose topics the pattern may meet, the message behind which deliveries begin; a log that
    /// never had one is left out.
    pub places: Places,
    /// If it begins in the past: whether nothing is missing.
    pub recovered: Option<bool>,
    /// Of the logs where something is missing, the first place that comes.
    pub oldest: Places,
    /// Retained messages may come, and [`RetainedSent`](crate::session::Notice::RetainedSent) behind them.
    pub retained: bool,
    /// Nothing is sent by it: the replay waits until it is dropped.
    pub(super) _go: Option<oneshot::Sender<()>>,
}

/// A page of messages, oldest first unless `reverse`.
#[derive(Clone, Debug, Default)]
pub struct HistoryRequest {
    /// Topic or pattern; authorised with action `history`.
    pub pattern: String,
    /// The log to read; none = all that may have matching messages, merged by time.
    pub log: Option<String>,
    /// Where it begins. With `reverse`: where going back begins, exclusive; a log that is not named, and all
    /// without places, at the newest message.
    pub since: Since,
    /// 1 to 1,000.
    pub limit: usize,
    /// Newest first.
    pub reverse: bool,
}

/// The answer to a [`HistoryRequest`].
#[derive(Clone, Debug)]
pub struct HistoryPage {
    /// At most `limit`; 1 MiB at most unless a single message is larger.
    pub messages: Vec<Stored>,
    /// Where the next page goes on (`since`), whether or not messages are there yet; a log that never had one is
    /// left out.
    pub next: Places,
    /// More messages may follow at once.
    pub more: bool,
    /// False: something behind `since` is missing.
    pub recovered: bool,
    /// Of the logs where something is missing, the place with which reading began.
    pub oldest: Places,
}

/// A question to a storage plugin.
#[derive(Clone, Debug, Default)]
pub struct Query {
    /// Binding name of the storage plugin.
    pub plugin: String,
    /// Topic or pattern; authorised with action `query`.
    pub topic: String,
    /// JSON object, at most 64 KiB.
    pub params: String,
    /// `next` of an earlier answer.
    pub cursor: Option<Vec<u8>>,
    /// 1 to 1,000.
    pub limit: u32,
}

/// A storage plugin's answer.
#[derive(Clone, Debug)]
pub struct QueryPage {
    /// Each one JSON text (checked by the host).
    pub items: Vec<String>,
    /// None = the end.
    pub next: Option<Vec<u8>>,
}

/// Why a question has no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QueryFailure {
    /// No storage binding of that name (HTTP 404).
    #[error("no storage plugin is named {0:?}: there are {1}")]
    NoPlugin(String, String),
    /// The principal may not ask about this topic (HTTP 403).
    #[error("denied")]
    Denied,
    /// The caller's fault (HTTP 400): reason, and JSON Pointer into `params`.
    #[error("{reason}")]
    Invalid {
        /// What is accepted.
        reason: String,
        /// JSON Pointer into `params`; empty = the whole.
        path: String,
    },
    /// Nothing is known about this topic (HTTP 404).
    #[error("nothing is stored for this topic")]
    NotFound,
    /// HTTP 503.
    #[error("the storage plugin cannot answer now: {0}")]
    Unavailable(Arc<str>),
    /// HTTP 500.
    #[error("the storage plugin failed")]
    Failed,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_message_is_the_default_but_for_topic_and_payload() {
        let new = Publish::new("", Bytes::new());
        assert_eq!(format!("{new:?}"), format!("{:?}", Publish::default()));
    }
}
