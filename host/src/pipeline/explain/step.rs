//! One step of a message's way, as it is shown.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// What one plugin, or the router itself, did with one message.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Step {
    /// `auth`, `filter`, `transform`, `re-authorize`.
    pub stage: Cow<'static, str>,
    /// The binding.
    pub plugin: Arc<str>,
    /// Its version; none where it was not called.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<Arc<str>>,
    /// How the call ended, in the words of the metric `weir_plugin_calls_total`; or `missing`.
    pub verdict: Cow<'static, str>,
    /// Why, in the plugin's words or the router's; at most 1 KiB. May be empty.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// What the binding's `on-error` made of it, where the plugin failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<Cow<'static, str>>,
    /// How often it was called: after a failure that may be the instance's own, once more.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub tries: usize,
    /// Wall-clock time of the call and of its repetition, if any, in microseconds; none where it was not called.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub us: Option<f64>,
    /// The message that came.
    #[serde(rename = "in")]
    pub input: Seen,
    /// The messages that went on.
    #[serde(rename = "out", default, skip_serializing_if = "Vec::is_empty")]
    pub output: Vec<Seen>,
    /// Messages that went on beside these.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub more: usize,
}

/// A message at one place.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Seen {
    /// Its topic.
    pub topic: Arc<str>,
    /// Bytes of its payload; none where only the topic was looked at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<usize>,
    /// Its payload, if it was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payload: Option<Payload>,
    /// The payload is longer than what is shown of it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub cut: bool,
}

/// Bytes that are shown as `{"text":…}`, or else as `{"base64":…}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "Written", try_from = "Written")]
pub struct Payload(pub Bytes);

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Written {
    Text(String),
    Base64(String),
}

impl From<Payload> for Written {
    fn from(payload: Payload) -> Self {
        match std::str::from_utf8(&payload.0) {
            Ok(text) => Self::Text(text.to_owned()),
            Err(_) => Self::Base64(STANDARD.encode(&payload.0)),
        }
    }
}

impl TryFrom<Written> for Payload {
    type Error = base64::DecodeError;

    fn try_from(written: Written) -> Result<Self, Self::Error> {
        Ok(Self(match written {
            Written::Text(text) => text.into(),
            Written::Base64(text) => STANDARD.decode(text)?.into(),
        }))
    }
}

impl Step {
    pub(super) fn new(stage: &'static str, plugin: Arc<str>, verdict: &'static str, input: Seen) -> Self {
        Self {
            stage: stage.into(),
            plugin,
            version: None,
            verdict: verdict.into(),
            reason: String::new(),
            policy: None,
            tries: 1,
            us: None,
            input,
            output: Vec::new(),
            more: 0,
        }
    }

    /// Leaves at most so many bytes of each payload.
    pub fn cut_to(&mut self, most: usize) {
        self.input.cut_to(most);
        self.output.iter_mut().for_each(|seen| seen.cut_to(most));
    }

    pub(super) fn size(&self) -> usize {
        size_of::<Self>() + self.reason.len() + self.input.size()
    }
}

impl Seen {
    /// A message, with at most `keep` bytes of its payload; 0 = none of it.
    pub(super) fn new(topic: &Arc<str>, payload: &Bytes, keep: usize) -> Self {
        let kept = payload.get(..cut_at(payload, keep)).unwrap_or_default();
        Self {
            topic: Arc::clone(topic),
            bytes: Some(payload.len()),
            // A copy of what is kept holds less than all of it, unless it is all of it.
            payload: (keep > 0).then(|| {
                Payload(if kept.len() < payload.len() {
                    Bytes::copy_from_slice(kept)
                } else {
                    payload.clone()
                })
            }),
            cut: keep > 0 && kept.len() < payload.len(),
        }
    }

    /// A topic without a message.
    pub(super) fn topic(topic: &str) -> Self {
        Self { topic: topic.into(), bytes: None, payload: None, cut: false }
    }

    /// Leaves at most so many bytes of the payload; 0 = none of it.
    pub fn cut_to(&mut self, most: usize) {
        match &mut self.payload {
            _ if most == 0 => (self.payload, self.cut) = (None, false),
            Some(Payload(bytes)) if bytes.len() > most => {
                bytes.truncate(cut_at(bytes, most));
                self.cut = true;
            }
            _ => {}
        }
    }

    pub(super) fn size(&self) -> usize {
        let payload = self.payload.as_ref().map_or(0, |payload| payload.0.len());
        size_of::<Self>() + self.topic.len() + payload
    }
}

/// Where to cut bytes of which at most so many are kept, so that what was text stays text.
pub fn cut_at(bytes: &[u8], most: usize) -> usize {
    let Some(head) = bytes.get(..most).filter(|_| bytes.len() > most) else { return bytes.len() };
    match std::str::from_utf8(head) {
        // The cut went through a character.
        Err(error) if error.error_len().is_none() => error.valid_up_to(),
        _ => most,
    }
}

/// With fractions, to the nanosecond.
pub(in crate::pipeline) fn microseconds(took: Duration) -> f64 {
    (took.as_secs_f64() * 1e9).round() / 1e3
}

pub(in crate::pipeline) fn is_zero(number: &usize) -> bool {
    *number == 0
}

fn one() -> usize {
    1
}

fn is_one(number: &usize) -> bool {
    *number == 1
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn seen(payload: &'static [u8], keep: usize) -> Seen {
        Seen::new(&"a".into(), &Bytes::from_static(payload), keep)
    }

    #[test]
    fn payloads_are_shown_as_text_if_they_are_and_cut_between_characters() {
        for (seen, shown) in [
            (seen(b"ab", 0), json!({"topic": "a", "bytes": 2})),
            (seen(b"ab", 2), json!({"topic": "a", "bytes": 2, "payload": {"text": "ab"}})),
            (
                seen("aä".as_bytes(), 2),
                json!({"topic": "a", "bytes": 3, "payload": {"text": "a"}, "cut": true}),
            ),
            (
                seen(b"\xff\0", 1),
                json!({"topic": "a", "bytes": 2, "payload": {"base64": "/w=="}, "cut": true}),
            ),
            (seen(b"a\xc3", 9), json!({"topic": "a", "bytes": 2, "payload": {"base64": "YcM="}})),
            (Seen::topic("a"), json!({"topic": "a"})),
        ] {
            let value = serde_json::to_value(&seen).unwrap();
            assert_eq!(value, shown);
            assert_eq!(serde_json::from_value::<Seen>(value).unwrap(), seen);
        }
    }

    #[test]
    fn what_was_kept_can_be_cut_further() {
        let mut long = seen(b"abcdef", 4);
        long.cut_to(9);
        assert_eq!((long.payload.as_ref().unwrap().0.len(), long.cut), (4, true));
        long.cut_to(2);
        assert_eq!(&long.payload.as_ref().unwrap().0[..], b"ab");
        long.cut_to(0);
        assert_eq!((long.payload, long.cut, long.bytes), (None, false, Some(6)));
    }

    #[test]
    fn times_have_fractions() {
        assert_eq!(microseconds(Duration::from_nanos(1_234)), 1.234);
    }
}
