use weir_contract::packed;

/// A message's id: a ULID, 16 bytes, which sorts by time. As text, 26 characters of Crockford's base 32.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Id([u8; 16]);

impl Id {
    /// The bytes, big-endian as in ULID's specification.
    pub fn bytes(&self) -> &[u8; 16] {
        &self.0
    }

    #[cfg(not(target_family = "wasm"))]
    pub(crate) fn from_number(n: u128) -> Self {
        Self(n.to_be_bytes())
    }

    pub(super) fn read(meta: &[u8], tag: u8) -> Option<Self> {
        Some(Self(packed::first(meta, tag)?.try_into().ok()?))
    }
}

impl std::fmt::Display for Id {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        const ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
        let number = u128::from_be_bytes(self.0);
        for at in (0..26).rev() {
            let digit = usize::try_from((number >> (5 * at)) & 31).unwrap_or_default();
            let letter = ALPHABET.get(digit).copied().unwrap_or_default();
            std::fmt::Write::write_char(out, char::from(letter))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::Id;

    #[test]
    fn text_is_crockford() {
        assert_eq!(Id::from_number(0).to_string(), "0".repeat(26));
        assert_eq!(Id::from_number(u128::MAX).to_string(), "7ZZZZZZZZZZZZZZZZZZZZZZZZZ");
        assert_eq!(Id::from_number(32 + 31).to_string(), format!("{}1Z", "0".repeat(24)));
    }
}
