//! Sample messages of a binding: what a new version must do with them before it goes live.

use serde::Deserialize;
use weir_contract::topic;

/// Most bytes of a sample's payload: the contract's own limit.
const PAYLOAD_BYTES: usize = 1024 * 1024;

/// One message, and what the plugin is to make of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// Its topic.
    pub topic: String,
    /// Its payload.
    pub payload: Vec<u8>,
    /// `application/json` for `json`, `text/plain` for `text`, none for `base64`.
    pub content_type: Option<&'static str>,
    /// What must come of it.
    pub expect: Expect,
}

/// What the plugin must answer to a sample. Any answer but a failure, if nothing is said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Expect {
    /// Anything but a trap, a timeout or an error.
    #[default]
    Answer,
    /// A filter keeps it; a transform returns at least one message.
    Keep,
    /// A filter drops it; a transform returns none.
    Drop,
    /// It is refused.
    Refuse,
    /// A transform leaves it as it is.
    Unchanged,
    /// A transform changes it.
    Changed,
}

/// A sample, as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SampleTable {
    topic: String,
    json: Option<toml::Value>,
    text: Option<String>,
    base64: Option<String>,
    #[serde(default)]
    expect: Expect,
}

impl SampleTable {
    pub(super) fn check(self) -> Result<Sample, String> {
        use base64::Engine as _;
        topic::check(&self.topic).map_err(|error| format!("topic {:?}: {error}", self.topic))?;
        let (payload, content_type) = match (self.json, self.text, self.base64) {
            (Some(json), None, None) => {
                let text = serde_json::to_vec(&json).map_err(|error| format!("json: {error}"))?;
                (text, Some("application/json"))
            }
            (None, Some(text), None) => (text.into_bytes(), Some("text/plain")),
            (None, None, Some(text)) => {
                let decoded = base64::engine::general_purpose::STANDARD.decode(text);
                (decoded.map_err(|error| format!("base64: {error}"))?, None)
            }
            _ => return Err("wants exactly one of json, text, base64".into()),
        };
        if payload.len() > PAYLOAD_BYTES {
            return Err(format!("a payload of {} bytes: at most {PAYLOAD_BYTES}", payload.len()));
        }
        Ok(Sample { topic: self.topic, payload, content_type, expect: self.expect })
    }
}
