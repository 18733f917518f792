//! Writing JSON straight into bytes, and telling whether bytes are JSON.

pub(crate) mod syntax;

/// Deepest nesting of a payload that goes out as JSON. Common parsers give up at 128 levels or more, and the
/// frame around the payload has a few of its own.
pub(crate) const MAX_DEPTH: usize = 120;

/// Appends `text` as a JSON string.
pub(crate) fn put_text(out: &mut Vec<u8>, text: &str) {
    if syntax::is_plain(text) {
        out.reserve(text.len() + 2);
        out.push(b'"');
        out.extend_from_slice(text.as_bytes());
        out.push(b'"');
    } else {
        // Writing into memory cannot fail, and every `str` is a JSON string.
        let _ = serde_json::to_writer(out, text);
    }
}

/// Appends a number.
pub(crate) fn put_number(out: &mut Vec<u8>, number: u64) {
    let _ = serde_json::to_writer(out, &number);
}

/// `payload` as text, if it is exactly one JSON value of at most [`MAX_DEPTH`] levels: then it can be put
/// into a JSON text as it stands, and cannot be mistaken for anything but a value.
pub(crate) fn as_value(payload: &[u8]) -> Option<&str> {
    let text = std::str::from_utf8(payload).ok()?;
    let end = syntax::value_end(payload, syntax::skip_space(payload, 0))?;
    (syntax::skip_space(payload, end) == payload.len()).then_some(text)
}

/// One JSON object being written. Names are ours and need no escaping.
pub(crate) struct Object<'a> {
    out: &'a mut Vec<u8>,
    empty: bool,
}

impl<'a> Object<'a> {
    /// Opens it.
    pub(crate) fn begin(out: &'a mut Vec<u8>) -> Self {
        out.push(b'{');
        Self { out, empty: true }
    }

    /// Writes a name; the caller appends the value.
    #[inline]
    pub(crate) fn key(&mut self, name: &'static str) -> &mut Vec<u8> {
        self.out.reserve(name.len() + 4);
        self.out.extend_from_slice(if self.empty { b"\"" } else { b",\"" });
        self.empty = false;
        self.out.extend_from_slice(name.as_bytes());
        self.out.extend_from_slice(b"\":");
        self.out
    }

    /// Writes a name that is not ours; the caller appends the value.
    pub(crate) fn any_key(&mut self, name: &str) -> &mut Vec<u8> {
        if !self.empty {
            self.out.push(b',');
        }
        self.empty = false;
        put_text(self.out, name);
        self.out.push(b':');
        self.out
    }

    /// A string.
    #[inline]
    pub(crate) fn text(&mut self, name: &'static str, value: &str) {
        put_text(self.key(name), value);
    }

    /// A string, left out when it is empty.
    pub(crate) fn text_if_any(&mut self, name: &'static str, value: &str) {
        if !value.is_empty() {
            self.text(name, value);
        }
    }

    /// A number.
    #[inline]
    pub(crate) fn number(&mut self, name: &'static str, value: u64) {
        put_number(self.key(name), value);
    }

    /// A truth value.
    pub(crate) fn flag(&mut self, name: &'static str, value: bool) {
        self.raw(name, if value { "true" } else { "false" });
    }

    /// A value that is JSON already.
    #[inline]
    pub(crate) fn raw(&mut self, name: &'static str, value: &str) {
        self.key(name).extend_from_slice(value.as_bytes());
    }

    /// Closes it.
    pub(crate) fn end(self) {
        self.out.push(b'}');
    }
}

/// Appends a JSON array of what `put` writes for each item.
pub(crate) fn put_array<T>(
    out: &mut Vec<u8>,
    items: impl IntoIterator<Item = T>,
    mut put: impl FnMut(&mut Vec<u8>, T),
) {
    out.push(b'[');
    for (index, item) in items.into_iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        put(out, item);
    }
    out.push(b']');
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn nested(levels: usize) -> Vec<u8> {
        let mut json = "[".repeat(levels).into_bytes();
        json.extend("]".repeat(levels).bytes());
        json
    }

    #[test]
    fn exactly_one_value() {
        for good in ["1", " {\"a\":1}\n", "\"x\"", "null", "[1,2]", "-1e400", "{\"a\":1,\"a\":2}"] {
            assert_eq!(as_value(good.as_bytes()), Some(good));
        }
        for bad in ["", " ", "1 2", "{}}", "{\"a\":1},\"b\":2", "'x'", "01", "NaN", "\"a\nb\"", "tru"] {
            assert_eq!(as_value(bad.as_bytes()), None, "{bad}");
        }
        assert_eq!(as_value(b"\"\xff\""), None);
    }

    #[test]
    fn depth_is_bounded() {
        assert!(as_value(&nested(MAX_DEPTH)).is_some());
        assert!(as_value(&nested(MAX_DEPTH + 1)).is_none());
        // Brackets inside of strings are no levels.
        let flat = format!("\"{}\\\"{}\"", "[".repeat(300), "{".repeat(300));
        assert!(as_value(flat.as_bytes()).is_some());
    }

    proptest! {
        #[test]
        fn what_passes_is_one_member(payload in proptest::collection::vec(any::<u8>(), 0..40)) {
            if let Some(text) = as_value(&payload) {
                let mut out = Vec::new();
                let mut object = Object::begin(&mut out);
                object.raw("data", text);
                object.flag("end", true);
                object.end();
                let parsed: serde_json::Map<String, serde_json::Value> = serde_json::from_slice(&out).unwrap();
                prop_assert_eq!(parsed.len(), 2);
                prop_assert_eq!(&parsed["end"], &serde_json::Value::Bool(true));
            }
        }

        #[test]
        fn jsonish_never_forges(payload in "[\\[\\]{}\",:0-9a\\\\ ]{0,24}") {
            if let Some(text) = as_value(payload.as_bytes()) {
                let whole = format!("{{\"data\":{text},\"end\":true}}");
                let parsed: serde_json::Map<String, serde_json::Value> = serde_json::from_str(&whole).unwrap();
                prop_assert_eq!(parsed.len(), 2);
            }
        }

        #[test]
        fn texts_read_back(text in any::<String>()) {
            let mut out = Vec::new();
            put_text(&mut out, &text);
            prop_assert_eq!(&out, &serde_json::to_vec(&text).unwrap());
            prop_assert_eq!(serde_json::from_slice::<String>(&out).unwrap(), text);
        }
    }
}
