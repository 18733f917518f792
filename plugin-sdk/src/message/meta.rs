use crate::Time;
use weir_contract::packed::{self, FORMAT, tag};

/// The publisher's part of a message's metadata. It edits the packed bytes, so fields that this version does
/// not know are carried along.
///
/// Limits, kept by the host (a message that breaks one counts as a trap, `testing::Host` says which): 16 KiB
/// in all, 64 headers, content type 255 bytes, header names of lower-case ASCII.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Meta(Vec<u8>);

impl Meta {
    /// No field at all.
    pub fn new() -> Self {
        Self(vec![FORMAT])
    }

    /// The publisher-owned fields of a whole blob.
    pub(crate) fn of(blob: &[u8]) -> Self {
        packed::publisher_fields(blob).fold(Self::new(), |meta, (tag, value)| meta.with(tag, value))
    }

    /// Sets the content type.
    #[must_use]
    pub fn with_content_type(self, value: &str) -> Self {
        self.without(tag::CONTENT_TYPE).with(tag::CONTENT_TYPE, value.as_bytes())
    }

    /// Sets a header, in place of all of that name.
    #[must_use]
    pub fn with_header(self, name: &str, value: &str) -> Self {
        let Self(mut blob) = self.without_header(name);
        if !packed::put_named(&mut blob, tag::HEADER, name, value) {
            blob.resize(packed::MAX_META + 1, 0);
        }
        Self(blob)
    }

    /// Removes all headers of that name.
    #[must_use]
    pub fn without_header(self, name: &str) -> Self {
        self.keep(|tag, value| tag != tag::HEADER || !is_named(value, name))
    }

    /// Whether the message stays as its topic's last value.
    #[must_use]
    pub fn with_retain(self, on: bool) -> Self {
        self.without(tag::RETAIN).with(tag::RETAIN, &[u8::from(on)])
    }

    /// When the message is of no more use.
    #[must_use]
    pub fn with_expiry(self, at: Time) -> Self {
        self.without(tag::EXPIRES_US).with(tag::EXPIRES_US, &at.micros().to_le_bytes())
    }

    /// Subscribes the session to a pattern, after the message has reached it. Only in a message to an inbox
    /// ([`crate::Message::reply`]), and only within the binding's `emit` grant.
    #[must_use]
    pub fn joining(self, topic: &str) -> Self {
        self.with(tag::JOIN, topic.as_bytes())
    }

    /// Unsubscribes the session likewise.
    #[must_use]
    pub fn leaving(self, topic: &str) -> Self {
        self.with(tag::LEAVE, topic.as_bytes())
    }

    /// The packed bytes, as they cross.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    pub(crate) fn into_bytes(self) -> Vec<u8> {
        self.0
    }

    /// Appends a field. A value that no field can hold makes the whole longer than the host accepts: it is
    /// refused there, loudly, and never left out in silence.
    pub(crate) fn with(mut self, tag: u8, value: &[u8]) -> Self {
        if !packed::put(&mut self.0, tag, value) {
            self.0.resize(packed::MAX_META + 1, 0);
        }
        self
    }

    fn without(self, gone: u8) -> Self {
        self.keep(|tag, _| tag != gone)
    }

    fn keep(self, wanted: impl Fn(u8, &[u8]) -> bool) -> Self {
        if packed::publisher_fields(&self.0).all(|(tag, value)| wanted(tag, value)) {
            return self;
        }
        packed::publisher_fields(&self.0)
            .filter(|(tag, value)| wanted(*tag, value))
            .fold(Self::new(), |meta, (tag, value)| meta.with(tag, value))
    }
}

impl Default for Meta {
    fn default() -> Self {
        Self::new()
    }
}

/// Whether a named text has this name.
fn is_named(value: &[u8], name: &str) -> bool {
    value.split_first().is_some_and(|(len, rest)| {
        usize::from(*len) == name.len() && rest.get(..name.len()) == Some(name.as_bytes())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edits_keep_the_unknown() {
        let mut blob = vec![FORMAT];
        assert!(packed::put_text(&mut blob, tag::NAME, "dev-7") && packed::put(&mut blob, 0xf0, b"new"));
        let meta = Meta::of(&blob).with_header("unit", "K").with_header("unit", "°C").with_retain(true);
        assert_eq!(packed::first(meta.as_bytes(), 0xf0), Some(&b"new"[..]));
        assert_eq!(packed::first(meta.as_bytes(), tag::NAME), None);
        assert_eq!(packed::named(meta.as_bytes(), tag::HEADER).collect::<Vec<_>>(), [("unit", "°C")]);
        assert_eq!(packed::check_output(meta.as_bytes()), Ok(()));
        assert_eq!(packed::named(meta.without_header("unit").as_bytes(), tag::HEADER).count(), 0);
    }

    #[test]
    fn what_does_not_fit_is_refused_and_not_lost() {
        assert!(packed::check_output(Meta::new().with_header("h", &"x".repeat(70_000)).as_bytes()).is_err());
        assert!(packed::check_output(Meta::new().with_content_type(&"x".repeat(70_000)).as_bytes()).is_err());
    }
}
