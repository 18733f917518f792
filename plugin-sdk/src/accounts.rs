//! Accounts that the router keeps: API keys, users, endpoints, sensors. Secrets never cross.

use crate::{Error, Result, host};

/// One account, with its rights.
pub use crate::bindings::imports::weir::plugin::accounts::Account;

impl Account {
    /// An account without rights, to be filled; tests need one more often than plugins do.
    pub fn new(realm: &str, id: &str, tenant: &str) -> Self {
        Self {
            realm: realm.to_owned(),
            id: id.to_owned(),
            tenant: tenant.to_owned(),
            name: id.to_owned(),
            origin: String::new(),
            publish: Vec::new(),
            subscribe: Vec::new(),
            expires_us: None,
            attributes: Vec::new(),
        }
    }

    /// The value of the first attribute with this name.
    pub fn attribute(&self, name: &str) -> Option<&str> {
        self.attributes.iter().find(|attribute| attribute.name == name).map(|found| found.value.as_str())
    }
}

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AccountsError {
    /// The binding does not grant this realm (`accounts = ["sensors"]`).
    NotGranted,
    /// The accounts cannot be read now.
    Unavailable(String),
}

impl std::fmt::Display for AccountsError {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::NotGranted => write!(out, "the binding does not grant this realm of accounts"),
            Self::Unavailable(text) => write!(out, "the accounts are unavailable: {text}"),
        }
    }
}

impl From<AccountsError> for Error {
    fn from(error: AccountsError) -> Self {
        match error {
            AccountsError::NotGranted => Self::Internal(error.to_string()),
            AccountsError::Unavailable(_) => Self::Unavailable(error.to_string()),
        }
    }
}

impl From<crate::bindings::imports::weir::plugin::accounts::AccountsError> for AccountsError {
    fn from(error: crate::bindings::imports::weir::plugin::accounts::AccountsError) -> Self {
        use crate::bindings::imports::weir::plugin::accounts::AccountsError as Raw;
        match error {
            Raw::NotGranted => Self::NotGranted,
            Raw::Unavailable(text) => Self::Unavailable(text),
        }
    }
}

/// An account by its id. None: no such account, revoked or expired. The binding must grant the realm.
pub fn lookup(realm: &str, id: &str) -> Result<Option<Account>, AccountsError> {
    host::lookup(realm, id)
}
