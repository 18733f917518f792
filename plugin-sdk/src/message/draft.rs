use super::Meta;
use crate::Result;
use crate::bindings::imports::weir::plugin::types as wit;
use serde::Serialize;

/// A message to be: what a transform or a ticker returns. The host gives it an id, a time and the sender of
/// the message from which it comes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Draft {
    /// 1 to 512 bytes. Another topic than the input's must be one to which the publisher may publish, or be
    /// covered by the binding's `emit` grant.
    pub topic: String,
    /// None: the input's own (content type, headers, …); nothing from a ticker.
    pub meta: Option<Meta>,
    /// At most 1 MiB.
    pub payload: Vec<u8>,
}

impl Draft {
    /// A message with the metadata of the input.
    pub fn new(topic: impl ToString, payload: impl Into<Vec<u8>>) -> Self {
        Self { topic: topic.to_string(), meta: None, payload: payload.into() }
    }

    /// A message whose payload is JSON, and whose metadata is the content type `application/json` alone.
    pub fn json(topic: impl ToString, body: &impl Serialize) -> Result<Self> {
        let payload = serde_json::to_vec(body)?;
        Ok(Self::new(topic, payload).with(Meta::new().with_content_type("application/json")))
    }

    /// Sets the metadata.
    #[must_use]
    pub fn with(mut self, meta: Meta) -> Self {
        self.meta = Some(meta);
        self
    }
}

impl From<Draft> for wit::Message {
    fn from(draft: Draft) -> Self {
        let meta = draft.meta.map(Meta::into_bytes).unwrap_or_default();
        Self { topic: draft.topic, meta, payload: draft.payload }
    }
}
