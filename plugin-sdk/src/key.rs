use crate::Time;

/// A key that sorts like its parts: first by table, then by each part in turn.
///
/// ```
/// use weir_plugin::{Key, Time};
/// let early = Key::new("m").text("sensor").time(Time::from_micros(1));
/// let late = Key::new("m").text("sensor").time(Time::from_micros(2));
/// assert!(early < late);
/// ```
///
/// At most 512 bytes; longer ones are refused when they are used. A text takes two bytes more than it is
/// long, a time or a number takes eight.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(Vec<u8>);

impl Key {
    /// A key of a table: a name that keeps kinds of keys apart.
    pub fn new(table: &str) -> Self {
        Self(Vec::with_capacity(64)).text(table)
    }

    /// A key of your own making, as it is.
    pub fn raw(bytes: impl Into<Vec<u8>>) -> Self {
        Self(bytes.into())
    }

    /// Adds a text. Its end is marked, so that `("a", "bc")` and `("ab", "c")` differ and sort rightly.
    #[must_use]
    pub fn text(mut self, part: &str) -> Self {
        for byte in part.bytes() {
            self.0.push(byte);
            if byte == 0 {
                self.0.push(2);
            }
        }
        self.0.extend_from_slice(&[0, 1]);
        self
    }

    /// Adds a time.
    #[must_use]
    pub fn time(self, at: Time) -> Self {
        self.number(at.micros())
    }

    /// Adds a number.
    #[must_use]
    pub fn number(mut self, n: u64) -> Self {
        self.0.extend_from_slice(&n.to_be_bytes());
        self
    }

    /// All keys that begin with this one.
    pub fn range(self) -> Range {
        Range::prefix(self.0)
    }

    /// The bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl AsRef<[u8]> for Key {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

/// Which keys a scan reads, and in which direction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Range {
    pub(crate) start: Vec<u8>,
    pub(crate) end: Vec<u8>,
    pub(crate) reverse: bool,
}

impl Range {
    /// All keys.
    pub fn all() -> Self {
        Self { start: Vec::new(), end: Vec::new(), reverse: false }
    }

    /// All keys that begin with these bytes.
    pub fn prefix(bytes: impl Into<Vec<u8>>) -> Self {
        let start = bytes.into();
        let mut end = start.clone();
        // The end is the next prefix of the same length: the last byte that can grow does, the others go.
        while let Some(last) = end.pop() {
            if let Some(next) = last.checked_add(1) {
                end.push(next);
                break;
            }
        }
        Self { start, end, reverse: false }
    }

    /// The keys from `start` on and before `end`.
    pub fn between(start: impl AsRef<[u8]>, end: impl AsRef<[u8]>) -> Self {
        Self { start: start.as_ref().to_vec(), end: end.as_ref().to_vec(), reverse: false }
    }

    /// From the last key to the first.
    #[must_use]
    pub fn reversed(mut self) -> Self {
        self.reverse = true;
        self
    }

    /// What is left of the range when everything up to this key has been read: for the next page. A key
    /// outside the range widens nothing.
    #[must_use]
    pub fn beyond(mut self, key: &[u8]) -> Self {
        if self.reverse {
            if !key.is_empty() && (self.end.is_empty() || key < self.end.as_slice()) {
                self.end = key.to_vec();
            }
        } else if key >= self.start.as_slice() {
            self.start = [key, &[0]].concat();
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_sort_like_their_parts() {
        let key = |text: &str, n| Key::new("t").text(text).number(n);
        assert!(key("a", u64::MAX) < key("a\0", 0));
        assert!(key("a\0", 9) < key("a\u{1}", 0));
        assert!(key("a", 255) < key("a", 256));
        assert!(Key::new("a").text("bc") != Key::new("ab").text("c"));
    }

    #[test]
    fn prefixes_end_where_the_next_begins() {
        assert_eq!(Range::prefix("ab").end, b"ac");
        assert_eq!(Range::prefix([1, 255]).end, [2]);
        assert_eq!(Range::prefix([255, 255]).end, [0_u8; 0]);
        assert_eq!(Range::prefix("").end, b"");
    }

    #[test]
    fn pages_never_widen() {
        assert_eq!(Range::prefix("b").beyond(b"bx").start, b"bx\0");
        assert_eq!(Range::prefix("b").beyond(b"a"), Range::prefix("b"));
        assert_eq!(Range::prefix("b").reversed().beyond(b"bx").end, b"bx");
        assert_eq!(Range::prefix("b").reversed().beyond(b"z"), Range::prefix("b").reversed());
    }
}
