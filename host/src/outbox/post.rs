//! One HTTP POST: checked when a plugin asks for it, and as it waits in the store.

use std::fmt;

use bytes::Bytes;
use hyper::HeaderMap;
use hyper::header::{CONTENT_TYPE, HeaderValue};

use super::share::Owner;
use crate::config::{Endpoint, EndpointError, post_header};
use crate::dead_letters::Letter;

/// Most headers that a plugin may give.
const HEADERS: usize = 32;
/// Most bytes of their names and values together.
const HEADER_BYTES: usize = 8 * 1024;
/// Most bytes of a body that a plugin may give.
const BODY_BYTES: usize = 256 * 1024;
/// Most bytes of a key.
const KEY_BYTES: usize = 128;

/// A post that may be sent. Shows its destination only: the rest may hold secrets.
#[derive(Clone, PartialEq, Eq)]
pub struct Post {
    /// Where to.
    pub endpoint: Endpoint,
    /// Without those that are the router's own.
    pub headers: HeaderMap,
    /// Sent as `Idempotency-Key`: the same with each attempt.
    pub key: HeaderValue,
    /// The body.
    pub body: Bytes,
}

/// Why a post is not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RefusedPost {
    /// The binding does not let the plugin post there.
    #[error("it may not post to {0}: add post = [\"{0}/\"] to its binding if it should")]
    NotGranted(String),
    /// Its URL or a header cannot be used.
    #[error("a post to {0:?}: {1}")]
    Endpoint(String, EndpointError),
    /// It has more than it may.
    #[error("a post with {0}")]
    Limit(String),
}

impl Post {
    /// Checks what a plugin asks for.
    pub fn check<'h>(
        url: &str,
        headers: impl IntoIterator<Item = (&'h str, &'h str)>,
        key: &str,
        body: Vec<u8>,
        granted: impl FnOnce(&Endpoint) -> bool,
    ) -> Result<Self, RefusedPost> {
        let shown = || url.split(['?', '#']).next().unwrap_or_default().chars().take(200).collect::<String>();
        let endpoint: Endpoint = url.parse().map_err(|error| RefusedPost::Endpoint(shown(), error))?;
        if !granted(&endpoint) {
            return Err(RefusedPost::NotGranted(endpoint.destination()));
        }
        let mut checked = HeaderMap::new();
        let mut bytes = 0;
        for (name, value) in headers {
            let (header, content) = post_header(name, value)
                .map_err(|error| RefusedPost::Endpoint(endpoint.destination(), error))?;
            bytes += name.len() + value.len();
            checked.append(header, content);
        }
        if checked.len() > HEADERS || bytes > HEADER_BYTES {
            let what =
                format!("{} headers of {bytes} bytes: at most {HEADERS} and {HEADER_BYTES}", checked.len());
            return Err(RefusedPost::Limit(what));
        }
        if body.len() > BODY_BYTES {
            return Err(RefusedPost::Limit(format!("a body of {} bytes: at most {BODY_BYTES}", body.len())));
        }
        let plain = (1..=KEY_BYTES).contains(&key.len()) && key.bytes().all(|byte| byte.is_ascii_graphic());
        match HeaderValue::from_str(key) {
            Ok(key) if plain => Ok(Self { endpoint, headers: checked, key, body: body.into() }),
            _ => Err(RefusedPost::Limit(format!(
                "a key of {} bytes: 1 to {KEY_BYTES} of visible ASCII are accepted",
                key.len()
            ))),
        }
    }

    /// JSON of the router's own making. `key`: visible ASCII.
    pub fn json(endpoint: Endpoint, key: &str, body: Vec<u8>) -> Self {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        let key = HeaderValue::from_str(key).unwrap_or(HeaderValue::from_static("-"));
        Self { endpoint, headers, key, body: body.into() }
    }

    /// Whose it is. None: not one of a gateway.
    pub(super) fn owner(&self) -> Option<Owner> {
        Owner::of_key(&self.key)
    }

    /// The id of the endpoint that it was made for. None: for none.
    pub(super) fn made_for(&self) -> Option<&str> {
        Owner::endpoint_of_key(&self.key)
    }

    /// What a dead letter keeps of it, beside the body, to send it again.
    pub(super) fn for_letter(&self) -> Vec<u8> {
        Self { body: Bytes::new(), ..self.clone() }.encode()
    }

    /// The post of a dead letter. None: the letter does not have all of it.
    pub fn of_letter(letter: &Letter) -> Option<Self> {
        let post = Self::decode(letter.again.as_deref()?)?;
        Some(Self { body: letter.message.payload.clone(), ..post })
    }

    /// As it waits in the store: URL, key, number of headers, names and values, each but the number with its length
    /// before it (u32, little-endian); the rest is the body.
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut blob = Vec::with_capacity(self.body.len() + 256);
        put(&mut blob, self.endpoint.uri().to_string().as_bytes());
        put(&mut blob, self.key.as_bytes());
        blob.extend_from_slice(&length(self.headers.len()));
        for (name, value) in &self.headers {
            put(&mut blob, name.as_str().as_bytes());
            put(&mut blob, value.as_bytes());
        }
        blob.extend_from_slice(&self.body);
        blob
    }

    /// Reads what [`Self::encode`] wrote.
    pub(super) fn decode(blob: &[u8]) -> Option<Self> {
        let mut rest = blob;
        let endpoint = text(&mut rest)?.parse().ok()?;
        let key = HeaderValue::from_str(text(&mut rest)?).ok()?;
        let mut headers = HeaderMap::new();
        for _ in 0..take_length(&mut rest)? {
            let (name, value) = (text(&mut rest)?, text(&mut rest)?);
            let (name, value) = post_header(name, value).ok()?;
            headers.append(name, value);
        }
        Some(Self { endpoint, headers, key, body: Bytes::copy_from_slice(rest) })
    }

    /// The destination and the owner of a post of which only the beginning was read.
    pub(super) fn address(mut beginning: &[u8]) -> Option<(String, Option<Owner>)> {
        let destination = text(&mut beginning)?.parse::<Endpoint>().ok()?.destination();
        let key = text(&mut beginning).and_then(|key| HeaderValue::from_str(key).ok());
        Some((destination, key.and_then(|key| Owner::of_key(&key))))
    }
}

impl fmt::Debug for Post {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Post({}, {} bytes)", self.endpoint, self.body.len())
    }
}

fn length(bytes: usize) -> [u8; 4] {
    u32::try_from(bytes).unwrap_or(u32::MAX).to_le_bytes()
}

fn put(blob: &mut Vec<u8>, bytes: &[u8]) {
    blob.extend_from_slice(&length(bytes.len()));
    blob.extend_from_slice(bytes);
}

fn take_length(rest: &mut &[u8]) -> Option<usize> {
    let (length, after) = rest.split_first_chunk::<4>()?;
    *rest = after;
    usize::try_from(u32::from_le_bytes(*length)).ok()
}

fn text<'b>(rest: &mut &'b [u8]) -> Option<&'b str> {
    let length = take_length(rest)?;
    let (text, after) = rest.split_at_checked(length)?;
    *rest = after;
    std::str::from_utf8(text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Grant;

    fn check(url: &str, headers: &[(&str, &str)], key: &str, body: usize) -> Result<Post, RefusedPost> {
        let grant: Grant = "http://a/x".parse().unwrap();
        Post::check(url, headers.iter().copied(), key, vec![0; body], |endpoint| grant.covers(endpoint))
    }

    #[test]
    fn what_was_checked_comes_back_from_the_store() {
        let post =
            check("http://a/x/y?q=1", &[("Content-Type", "text/plain"), ("x-a", "1"), ("x-a", "2")], "k", 3)
                .unwrap();
        let blob = post.encode();
        assert_eq!(Post::decode(&blob), Some(post));
        assert_eq!(Post::address(&blob[..30]), Some(("http://a:80".to_owned(), None)));
        assert_eq!(Post::decode(&blob[..20]), None);
    }

    #[test]
    fn limits_are_named() {
        let long = "x".repeat(KEY_BYTES + 1);
        let wide = "x".repeat(HEADER_BYTES);
        let many: Vec<_> = (0..=HEADERS).map(|_| ("x-a", "1")).collect();
        for (refused, part) in [
            (check("http://b/", &[], "k", 0), "add post = [\"http://b:80/\"]"),
            (check("http://a/x?secret", &[("host", "b")], "k", 0), "router's own"),
            (check("http://a/../x?secret", &[], "k", 0), "`..`"),
            (check("http://a/x", &[("x-a", "secret\r\nb: c")], "k", 0), "visible ASCII"),
            (check("http://a/x", &[("x-a", &wide)], "k", 0), "at most 32 and 8192"),
            (check("http://a/x", &many, "k", 0), "33 headers"),
            (check("http://a/x", &[], "", 0), "a key of 0 bytes"),
            (check("http://a/x", &[], "a b", 0), "visible ASCII"),
            (check("http://a/x", &[], &long, 0), "a key of 129 bytes"),
            (check("http://a/x", &[], "k", BODY_BYTES + 1), "at most 262144"),
        ] {
            let said = refused.unwrap_err().to_string();
            assert!(said.contains(part) && !said.contains("secret"), "{said}");
        }
        for name in [
            "Content-Length",
            "transfer-encoding",
            "TE",
            "keep-alive",
            "Idempotency-Key",
            "Connection",
            "a b",
        ] {
            assert!(check("http://a/x", &[(name, "1")], "k", 0).is_err(), "{name}");
        }
    }
}
