//! Inboxes: the topic `$inbox/SESSION` reaches one session. Only a transform sends there, in answer to a message of that
//! very session.

use weir_contract::packed::{self, tag};

use super::Message;

/// Before a session's id.
const INBOX: &str = "$inbox/";

/// The topic that reaches this session and nobody else.
pub fn inbox(session: &str) -> String {
    format!("{INBOX}{session}")
}

/// Whether a topic is the inbox of this session.
pub fn is_inbox_of(topic: &str, session: &str) -> bool {
    topic.strip_prefix(INBOX) == Some(session)
}

impl Message {
    /// Whether it goes to the inbox of the session that published it, or what it was made of.
    pub fn is_in_own_inbox(&self) -> bool {
        self.topic.starts_with(INBOX)
            && is_inbox_of(&self.topic, packed::text(&self.meta, tag::SESSION).unwrap_or_default())
    }
}
