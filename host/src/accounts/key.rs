//! API keys: their text, what is asked of a new one, and what may be shown of it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use weir_contract::time::rfc3339;
use weir_contract::topic::{self, Pattern};

use super::{Account, AccountsError, Entry, KEYS, MAIN};

/// Digits and lower-case letters without those that are mistaken for others (`i l o u`): 5 bits each.
const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
/// 50 bits: enough to tell keys apart.
const ID_CHARS: usize = 10;
/// 160 bits: nobody guesses it.
const SECRET_CHARS: usize = 32;
/// What a key begins with, so that scanners for leaked secrets find it.
const PREFIX: &str = "weir_";

const ORIGINS: [&str; 4] = ["device", "page", "sensor", "service"];
const MAX_PATTERNS: usize = 64;
const MAX_ATTRIBUTES: usize = 32;
/// What a principal may carry, see `message::Principal`.
const MAX_ATTRIBUTE_BYTES: usize = 1_024;

/// What a key shall be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NewKey {
    /// Becomes the principal's name: one topic level, 1 to 128 bytes.
    pub name: String,
    /// An existing tenant, which bounds what the key may do; none = `main`, which bounds nothing.
    pub tenant: Option<String>,
    /// `device`, `page`, `sensor` or `service`.
    pub origin: String,
    /// Patterns, which may contain `{principal}` and `{tenant}`; at most 64. Empty = may not publish.
    pub publish: Vec<String>,
    /// Likewise.
    pub subscribe: Vec<String>,
    /// Stamped on every message; at most 32, names lower-case ASCII, 1 KiB in all.
    pub attributes: Vec<(String, String)>,
    /// Unix microseconds; none = never.
    pub expires_us: Option<u64>,
}

/// What may be shown of a key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyInfo {
    /// Stands in the key's text and in logs; no secret.
    pub id: String,
    /// The principal's name.
    pub name: String,
    /// The principal's origin.
    pub origin: String,
    /// The principal's tenant.
    pub tenant: String,
    /// Patterns of topics to publish to.
    pub publish: Vec<String>,
    /// Patterns of topics to subscribe to.
    pub subscribe: Vec<String>,
    /// As the operator set them.
    pub attributes: BTreeMap<String, String>,
    /// Unix microseconds.
    pub created_us: u64,
    /// Unix microseconds; none = never.
    pub expires_us: Option<u64>,
    /// Unix microseconds; none = it was not.
    pub revoked_us: Option<u64>,
    /// Whether it works now.
    pub state: KeyState,
}

/// Whether a key works.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum KeyState {
    /// It does.
    Active,
    /// Its time is over.
    Expired,
    /// It was taken back.
    Revoked,
}

impl NewKey {
    pub(super) fn check(&self, now_us: u64) -> Result<(), AccountsError> {
        topic::check_name(&self.name)
            .map_err(|error| AccountsError::Name { name: self.name.clone(), error })?;
        if !ORIGINS.contains(&self.origin.as_str()) {
            return Err(AccountsError::Origin(self.origin.clone()));
        }
        for (action, patterns) in [("publish", &self.publish), ("subscribe", &self.subscribe)] {
            let count = patterns.len();
            if count > MAX_PATTERNS {
                return Err(AccountsError::Patterns { action, count, most: MAX_PATTERNS });
            }
            for pattern in patterns {
                let pattern = topic::fill(pattern, &self.name, self.tenant());
                if let Err(error) = Pattern::check(&pattern) {
                    return Err(AccountsError::Pattern { action, pattern, error });
                }
            }
        }
        self.check_attributes()?;
        match self.expires_us {
            Some(end) if end <= now_us => Err(AccountsError::Expired(rfc3339(end))),
            _ => Ok(()),
        }
    }

    fn check_attributes(&self) -> Result<(), AccountsError> {
        let names = self.attributes.iter().map(|(name, _)| name.as_str());
        let plain = |name: &str| {
            let letter = |byte: u8| byte.is_ascii_graphic() && !byte.is_ascii_uppercase();
            (1..=64).contains(&name.len()) && name.bytes().all(letter)
        };
        if !names.clone().all(plain) {
            return Err(AccountsError::Attributes("names are 1 to 64 bytes of lower-case ASCII"));
        }
        if names.clone().collect::<std::collections::HashSet<_>>().len() != self.attributes.len() {
            return Err(AccountsError::Attributes("a name is given twice"));
        }
        if self.attributes.iter().any(|(_, value)| value.contains('\0')) {
            return Err(AccountsError::Attributes("a value contains NUL"));
        }
        let bytes: usize = self.attributes.iter().map(|(name, value)| name.len() + value.len()).sum();
        if self.attributes.len() > MAX_ATTRIBUTES || bytes > MAX_ATTRIBUTE_BYTES {
            return Err(AccountsError::Attributes("at most 32, of 1024 bytes in all, are accepted"));
        }
        Ok(())
    }

    pub(super) fn tenant(&self) -> &str {
        self.tenant.as_deref().unwrap_or(MAIN)
    }

    pub(super) fn into_account(self, id: String, created_us: u64) -> Account {
        Account {
            realm: KEYS,
            id,
            tenant: self.tenant().into(),
            name: self.name,
            origin: self.origin,
            publish: self.publish,
            subscribe: self.subscribe,
            attributes: self.attributes,
            created_us,
            expires_us: self.expires_us,
        }
    }
}

impl KeyInfo {
    pub(super) fn new(entry: &Entry, now_us: u64) -> Self {
        let account = Account::clone(&entry.account);
        let state = match entry.revoked_us {
            Some(_) => KeyState::Revoked,
            None if entry.is_valid(now_us) => KeyState::Active,
            None => KeyState::Expired,
        };
        Self {
            id: account.id,
            name: account.name,
            origin: account.origin,
            tenant: account.tenant,
            publish: account.publish,
            subscribe: account.subscribe,
            attributes: account.attributes.into_iter().collect(),
            created_us: account.created_us,
            expires_us: account.expires_us,
            revoked_us: entry.revoked_us,
            state,
        }
    }
}

/// A fresh id and secret.
pub(super) fn random() -> Result<(String, String), AccountsError> {
    let mut bytes = [0; ID_CHARS + SECRET_CHARS];
    getrandom::fill(&mut bytes).map_err(AccountsError::Random)?;
    let mut chars =
        bytes.iter().filter_map(|byte| ALPHABET.get(usize::from(byte & 31))).map(|b| char::from(*b));
    let id = chars.by_ref().take(ID_CHARS).collect();
    Ok((id, chars.collect()))
}

pub(super) fn text(id: &str, secret: &str) -> String {
    format!("{PREFIX}{id}_{secret}")
}

/// Id and secret of a key's text; none if it is no key.
pub(super) fn split(text: &[u8]) -> Option<(&str, &[u8])> {
    let (id, secret) = text.strip_prefix(PREFIX.as_bytes())?.split_at_checked(ID_CHARS)?;
    Some((std::str::from_utf8(id).ok()?, secret.strip_prefix(b"_")?))
}
