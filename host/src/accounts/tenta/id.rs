//! Identifiers: random UUIDs (version 4), written in lower case.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::accounts::AccountsError;

/// Where the digits of a UUID are parted.
const DASHES: [usize; 4] = [8, 13, 18, 23];

/// An identifier.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Id(u128);

impl Id {
    /// A new one, of 122 random bits.
    pub fn random() -> Result<Self, AccountsError> {
        let mut bytes = [0; 16];
        getrandom::fill(&mut bytes).map_err(AccountsError::Random)?;
        let kept = u128::from_be_bytes(bytes) & !((0xf << 76) | (0b11 << 62));
        Ok(Self(kept | (4 << 76) | (0b10 << 62)))
    }

    /// Sixteen bytes, in the order of the digits.
    pub fn to_bytes(self) -> [u8; 16] {
        self.0.to_be_bytes()
    }

    /// The identifier of these bytes.
    pub fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(u128::from_be_bytes(bytes))
    }
}

/// It is no identifier.
#[derive(Debug, thiserror::Error)]
#[error("{0:?} is no identifier; accepted are UUIDs of version 4 in lower case")]
pub struct NoId(String);

impl FromStr for Id {
    type Err = NoId;

    fn from_str(text: &str) -> Result<Self, NoId> {
        let digit = |(at, byte): (usize, u8)| match byte {
            b'-' => DASHES.contains(&at),
            byte => !DASHES.contains(&at) && matches!(byte, b'0'..=b'9' | b'a'..=b'f'),
        };
        let is_one = text.len() == 36 && text.bytes().enumerate().all(digit);
        let number = is_one.then(|| u128::from_str_radix(&text.replace('-', ""), 16).ok()).flatten();
        let of_version_4 = |number: &u128| (number >> 76) & 0xf == 4 && (number >> 62) & 0b11 == 0b10;
        number.filter(of_version_4).map(Self).ok_or_else(|| NoId(text.chars().take(64).collect()))
    }
}

impl TryFrom<String> for Id {
    type Error = NoId;

    fn try_from(text: String) -> Result<Self, NoId> {
        text.parse()
    }
}

impl From<Id> for String {
    fn from(id: Id) -> Self {
        id.to_string()
    }
}

impl fmt::Display for Id {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let part = |from: u32, digits: u32| (self.0 >> from) & ((1 << (4 * digits)) - 1);
        let (a, b, c, d, e) = (part(96, 8), part(80, 4), part(64, 4), part(48, 4), part(0, 12));
        write!(out, "{a:08x}-{b:04x}-{c:04x}-{d:04x}-{e:012x}")
    }
}

impl fmt::Debug for Id {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_a_uuid_of_version_4_in_lower_case() {
        for _ in 0..100 {
            let id = Id::random().unwrap();
            assert_eq!(id.to_string().parse::<Id>().unwrap(), id);
            assert_eq!(Id::from_bytes(id.to_bytes()), id);
        }
        let good = "00000000-0000-4000-8000-00000000000f";
        assert_eq!(good.parse::<Id>().unwrap().to_string(), good);
        for bad in [
            "",
            "00000000-0000-4000-8000-00000000000F",
            "00000000-0000-1000-8000-000000000000",
            "00000000-0000-4000-c000-000000000000",
            "000000000000-4000-8000-00000000000000",
            "00000000000040008000000000000000",
            "00000000-0000-4000-8000-0000000000000",
            "{0000000-0000-4000-8000-000000000000",
            "+0000000-0000-4000-8000-000000000000",
        ] {
            assert!(bad.parse::<Id>().is_err(), "{bad}");
        }
    }
}
