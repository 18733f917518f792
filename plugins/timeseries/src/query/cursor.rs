//! Where a page ended, as bytes: `key length u16, key`, and, when it ended within a key, `1, name of the field
//! behind which to go on`.

use weir_plugin::QueryError;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Cursor {
    /// The first key to look at.
    pub(super) key: Vec<u8>,
    /// Only fields of that key behind this one; none: all of them.
    pub(super) field: Option<String>,
}

impl Cursor {
    pub(super) fn at(key: Vec<u8>) -> Self {
        Self { key, field: None }
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        let length = u16::try_from(self.key.len()).unwrap_or(u16::MAX);
        let mut out = [&length.to_le_bytes(), self.key.as_slice()].concat();
        if let Some(field) = &self.field {
            out.push(1);
            out.extend_from_slice(field.as_bytes());
        }
        out
    }

    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let (length, rest) = bytes.split_first_chunk::<2>()?;
        let (key, rest) = rest.split_at_checked(usize::from(u16::from_le_bytes(*length)))?;
        let field = match rest.split_first() {
            None => None,
            Some((1, name)) => Some(std::str::from_utf8(name).ok()?.to_owned()),
            Some(_) => return None,
        };
        Some(Self { key: key.to_vec(), field })
    }
}

pub(super) fn made_up() -> QueryError {
    QueryError::invalid("", "the cursor is none of ours: the `next` of an earlier answer is accepted")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cursors_come_back_or_are_refused() {
        for field in [None, Some(String::new()), Some("/a".to_owned())] {
            let cursor = Cursor { key: vec![1, 2, 3], field };
            assert_eq!(Cursor::decode(&cursor.encode()), Some(cursor));
        }
        for wrong in [&b""[..], b"\x01", b"\x02\0a", b"\x01\0a\x02", b"\x01\0a\x01\xff"] {
            assert_eq!(Cursor::decode(wrong), None);
        }
    }
}
