//! Posts to the world outside: how they are sent, and webhooks.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use hyper::HeaderMap;
use hyper::header::{self, HeaderName, HeaderValue};
use serde::Deserialize;

use super::endpoint::{Endpoint, EndpointError, Network};
use super::unit;

/// How posts of storage plugins and webhooks are sent.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Outbox {
    /// Networks that are not public and to which host names may lead nevertheless.
    pub networks: Vec<Network>,
    /// Posts of one plugin that may wait; more, and the plugin stands still.
    #[serde(deserialize_with = "unit::count")]
    pub max_posts: usize,
    /// Their bytes.
    #[serde(deserialize_with = "unit::size")]
    pub max_bytes: usize,
    /// A post that failed so often becomes a dead letter.
    #[serde(deserialize_with = "unit::count")]
    pub max_attempts: u32,
    /// Longest pause after the first failed attempt; doubled with each further one.
    #[serde(deserialize_with = "unit::duration")]
    pub first_pause: Duration,
    /// Longest pause of all.
    #[serde(deserialize_with = "unit::duration")]
    pub longest_pause: Duration,
    /// Until a connection stands.
    #[serde(deserialize_with = "unit::duration")]
    pub connect: Duration,
    /// Until the status of the answer is there, connecting included.
    #[serde(deserialize_with = "unit::duration")]
    pub timeout: Duration,
}

impl Default for Outbox {
    fn default() -> Self {
        Self {
            networks: Vec::new(),
            max_posts: 10_000,
            max_bytes: 64 << 20,
            max_attempts: 10,
            first_pause: Duration::from_secs(1),
            longest_pause: Duration::from_secs(5 * 60),
            connect: Duration::from_secs(5),
            timeout: Duration::from_secs(30),
        }
    }
}

/// Each message of some topics is posted to a URL.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Webhook {
    /// `[a-z0-9][a-z0-9-]*`, at most 63 bytes; its place in the logs is kept under it.
    pub name: String,
    /// Patterns of the topics.
    pub topics: Vec<String>,
    /// Where to.
    pub url: Endpoint,
    /// Further headers.
    #[serde(default)]
    pub headers: BTreeMap<String, HeaderText>,
    /// Instead of that of `[outbox]`.
    #[serde(default)]
    pub max_attempts: Option<u32>,
}

impl Webhook {
    /// The headers of its posts, with what the environment has for them. The error never shows a value.
    pub fn headers(&self) -> Result<HeaderMap, String> {
        let mut headers = HeaderMap::new();
        for (name, text) in &self.headers {
            let header = Self::header(name, text).map_err(|why| format!("webhook {}: {why}", self.name))?;
            headers.insert(header.0, header.1);
        }
        Ok(headers)
    }

    /// One of them.
    pub(super) fn header(name: &str, text: &HeaderText) -> Result<(HeaderName, HeaderValue), String> {
        let value = text.resolve().map_err(|variable| {
            format!("header {name:?}: the environment has no {variable}, or it is not UTF-8")
        })?;
        post_header(name, &value).map_err(|error| error.to_string())
    }
}

/// A header's value, or `env:NAME` for the value of an environment variable. Never shows itself.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct HeaderText(String);

impl HeaderText {
    /// The value as it stands in the file; none = the environment has it.
    pub(super) fn literal(&self) -> Option<&str> {
        (!self.0.starts_with("env:")).then_some(&self.0)
    }

    /// The value; err = the environment variable that is missing or not UTF-8.
    pub fn resolve(&self) -> Result<String, String> {
        match self.0.strip_prefix("env:") {
            Some(name) => std::env::var(name).map_err(|_| name.to_owned()),
            None => Ok(self.0.clone()),
        }
    }
}

impl From<&str> for HeaderText {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

impl fmt::Debug for HeaderText {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(if self.0.starts_with("env:") { &self.0 } else { "(hidden)" })
    }
}

/// Headers that are the router's own: those that frame a request or belong to one connection, and the key.
const RESERVED: [HeaderName; 11] = [
    header::CONNECTION,
    header::CONTENT_LENGTH,
    header::EXPECT,
    header::HOST,
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    HeaderName::from_static("idempotency-key"),
];

/// A header that a post may have. The error names the header and never shows its value.
pub fn post_header(name: &str, value: &str) -> Result<(HeaderName, HeaderValue), EndpointError> {
    let Ok(parsed) = HeaderName::try_from(name) else {
        return Err(EndpointError::new(format!("header {name:?}: not a header's name")));
    };
    if RESERVED.contains(&parsed) || matches!(parsed.as_str(), "keep-alive" | "proxy-connection") {
        return Err(EndpointError::new(format!("header {name:?} is the router's own: leave it out")));
    }
    let Ok(mut value) = HeaderValue::from_str(value) else {
        return Err(EndpointError::new(format!(
            "header {name:?}: its value may only have visible ASCII and spaces"
        )));
    };
    value.set_sensitive(true);
    Ok((parsed, value))
}
