//! One login: how it lies in the store, which password it shall have, and what may be shown of it.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::kept::{self, KeptError};
use super::{Account, AccountsError, Change, LOGINS, codes, password};

/// 190 bits: nobody guesses it.
const RANDOM_CHARS: usize = 32;
/// A chosen password that is shorter must be wanted.
const WEAK_BYTES: usize = 8;

/// Which password a login shall have.
#[derive(Clone, PartialEq, Eq)]
pub enum LoginPassword {
    /// A random one of 32 letters and digits.
    Generated,
    /// This one, of 8 to 1,024 bytes.
    Chosen(String),
    /// This one, of 1 to 1,024 bytes.
    Weak(String),
}

/// What may be shown of a login.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LoginInfo {
    /// What clients give as their user name; the principal's name.
    pub name: String,
    /// The principal's tenant.
    pub tenant: String,
    /// The principal's origin.
    pub origin: String,
    /// Patterns of topics to publish to.
    pub publish: Vec<String>,
    /// Patterns of topics to subscribe to.
    pub subscribe: Vec<String>,
    /// As the operator set them.
    pub attributes: BTreeMap<String, String>,
    /// Unix microseconds.
    pub created_us: u64,
    /// When it got its password, Unix microseconds.
    pub changed_us: u64,
    /// Unix microseconds; none = never.
    pub expires_us: Option<u64>,
}

/// A login as it is in memory.
#[derive(Debug)]
pub(super) struct Login {
    pub(super) account: Arc<Account>,
    pub(super) changed_us: u64,
    /// Of the password, as [`password::hash`] makes it.
    pub(super) hash: Arc<str>,
}

/// The same in the store, under `logins/NAME`.
#[derive(Serialize, Deserialize)]
struct Record {
    id: String,
    tenant: String,
    name: String,
    origin: String,
    publish: Vec<String>,
    subscribe: Vec<String>,
    attributes: Vec<(String, String)>,
    created_us: u64,
    changed_us: u64,
    expires_us: Option<u64>,
    argon2: String,
}

impl LoginPassword {
    /// The password itself, if it may be one.
    pub(super) fn text(self) -> Result<String, AccountsError> {
        let (text, least) = match self {
            Self::Generated => return codes::random(RANDOM_CHARS),
            Self::Chosen(text) => (text, WEAK_BYTES),
            Self::Weak(text) => (text, 1),
        };
        match text.len() {
            bytes if (least..=password::MOST_BYTES).contains(&bytes) => Ok(text),
            bytes => Err(AccountsError::Password { bytes }),
        }
    }
}

impl std::fmt::Debug for LoginPassword {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str(match self {
            Self::Generated => "Generated",
            Self::Chosen(_) => "Chosen(…)",
            Self::Weak(_) => "Weak(…)",
        })
    }
}

impl Login {
    pub(super) fn info(&self) -> LoginInfo {
        let account = Account::clone(&self.account);
        LoginInfo {
            name: account.name,
            tenant: account.tenant,
            origin: account.origin,
            publish: account.publish,
            subscribe: account.subscribe,
            attributes: account.attributes.into_iter().collect(),
            created_us: account.created_us,
            changed_us: self.changed_us,
            expires_us: account.expires_us,
        }
    }

    /// The name of its record: names are one topic level, so they need no escape.
    pub(super) fn place(name: &str) -> Vec<u8> {
        format!("{LOGINS}/{name}").into_bytes()
    }

    /// The change that keeps it.
    pub(super) fn kept(&self) -> Result<Change, AccountsError> {
        let account = Account::clone(&self.account);
        let record = Record {
            id: account.id,
            tenant: account.tenant,
            name: account.name,
            origin: account.origin,
            publish: account.publish,
            subscribe: account.subscribe,
            attributes: account.attributes,
            created_us: account.created_us,
            changed_us: self.changed_us,
            expires_us: account.expires_us,
            argon2: self.hash.to_string(),
        };
        let value = kept::encode(&record).map_err(|error| AccountsError::Store(error.into()))?;
        Ok((Self::place(&record.name), Some(value)))
    }

    pub(super) fn decode(place: &[u8], value: &[u8]) -> Result<Self, KeptError> {
        let record: Record = kept::decode(value)?;
        if Self::place(&record.name) != place {
            return Err(KeptError::Name);
        }
        let account = Account {
            realm: LOGINS,
            id: record.id,
            tenant: record.tenant,
            name: record.name,
            origin: record.origin,
            publish: record.publish,
            subscribe: record.subscribe,
            attributes: record.attributes,
            created_us: record.created_us,
            expires_us: record.expires_us,
        };
        Ok(Self { account: Arc::new(account), changed_us: record.changed_us, hash: record.argon2.into() })
    }
}
