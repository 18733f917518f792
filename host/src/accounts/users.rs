//! Users of the gateway of rooms: each has an API key and owns rooms.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::kept::Kept;
use super::text::check_level;
use super::{Accounts, AccountsError, codes};
use crate::message::now_us;

/// What a generated key begins with, so that scanners for leaked secrets find it.
const PREFIX: &str = "weir_user_";
/// 190 bits: nobody guesses it.
const RANDOM_CHARS: usize = 32;
/// A chosen key that is shorter must be wanted.
const WEAK_BYTES: usize = 16;
/// Longest chosen key.
const KEY_BYTES: usize = 256;

/// Whose a user is, and its name: unique together.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct UserName {
    /// An existing tenant.
    pub tenant: String,
    /// Any text that makes 1 to 128 bytes as one topic level.
    pub name: String,
}

/// Which API key a user shall have.
#[derive(Clone, PartialEq, Eq)]
pub enum UserKey {
    /// A random one.
    Generated,
    /// One of 16 bytes or more, that old clients have.
    Chosen(String),
    /// One of any length but 0: whoever guesses it is this user.
    Weak(String),
    /// None: whoever presents no key is this user.
    Absent,
}

/// What a user shall be.
#[derive(Debug)]
pub struct NewUser {
    /// Not taken yet.
    pub name: UserName,
    /// How it proves itself.
    pub key: UserKey,
}

/// How a user's key came about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum KeyKind {
    /// By chance.
    Generated,
    /// By the operator.
    Chosen,
    /// There is none.
    Absent,
}

/// A user. Holds the hash of its key only.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct User {
    /// Who.
    #[serde(flatten)]
    pub name: UserName,
    /// How its key came about.
    pub key: KeyKind,
    /// Unix microseconds.
    pub created_us: u64,
    /// SHA-256 of the key.
    pub(super) sha256: [u8; 32],
}

/// What may be shown of a user.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserInfo {
    /// Who.
    #[serde(flatten)]
    pub name: UserName,
    /// How its key came about.
    pub key_kind: KeyKind,
    /// Rooms that it owns.
    pub rooms: usize,
    /// Unix microseconds.
    pub created_us: u64,
}

impl Accounts {
    /// Makes a user; the text is its key, to be shown once and kept nowhere. Blocks until it is on disk.
    pub fn create_user(&self, new: NewUser) -> Result<(String, UserInfo), AccountsError> {
        check_level("the user's name", &new.name.name)?;
        let (text, kind) = new.key.text()?;
        let _changing = self.changing.lock();
        let most = self.limits.users;
        if !self.has_tenant(&new.name.tenant) {
            return Err(AccountsError::unknown("tenant", &new.name.tenant));
        }
        {
            let directory = self.directory.read();
            if directory.users.contains_key(&new.name) {
                return Err(AccountsError::Exists { what: "user", name: new.name.name });
            }
            if directory.users.len() >= most {
                return Err(AccountsError::Limit { what: "users", most, setting: "accounts.users" });
            }
        }
        let sha256 = self.unused(&text)?;
        let user = User { name: new.name, key: kind, created_us: now_us(), sha256 };
        Ok((text, self.keep_user(user)?))
    }

    /// Gives a user another key; the one before does not work any more. Blocks until it is on disk.
    pub fn replace_user_key(
        &self,
        name: &UserName,
        key: &UserKey,
    ) -> Result<(String, UserInfo), AccountsError> {
        let (text, kind) = key.text()?;
        let _changing = self.changing.lock();
        let user = self.user(name).ok_or_else(|| AccountsError::unknown("user", &name.name))?;
        let sha256 = self.unused(&text)?;
        let user = User { key: kind, sha256, ..User::clone(&user) };
        Ok((text, self.keep_user(user)?))
    }

    /// The hash of a key that no user has.
    fn unused(&self, key: &str) -> Result<[u8; 32], AccountsError> {
        let sha256 = Sha256::digest(key.as_bytes()).into();
        if self.directory.read().by_key.contains_key(&sha256) {
            return Err(AccountsError::KeyTaken);
        }
        Ok(sha256)
    }

    fn keep_user(&self, user: User) -> Result<UserInfo, AccountsError> {
        let name = user.name.clone();
        let kept = Kept::User(user);
        self.apply(&[kept.set()?])?;
        let mut directory = self.directory.write();
        directory.insert(kept).map_err(AccountsError::Orphan)?;
        directory.user_info(&name).ok_or_else(|| AccountsError::unknown("user", &name.name))
    }

    /// The user whose API key this is; the empty key is that of the user who has none. How long this takes
    /// depends on the hash of what is presented, from which nobody learns anything of other keys.
    pub fn user_of_key(&self, presented: &[u8]) -> Option<Arc<User>> {
        let hash: [u8; 32] = Sha256::digest(presented).into();
        let directory = self.directory.read();
        let name = directory.by_key.get(&hash)?;
        directory.users.get(name).cloned()
    }

    /// The user of this name.
    pub fn user(&self, name: &UserName) -> Option<Arc<User>> {
        self.directory.read().users.get(name).cloned()
    }

    /// All users, by tenant and name.
    pub fn users(&self) -> Vec<UserInfo> {
        let directory = self.directory.read();
        directory.users.keys().filter_map(|name| directory.user_info(name)).collect()
    }

    /// Deletes a user with its rooms and their endpoints, in one step. Blocks until it is on disk.
    pub fn delete_user(&self, name: &UserName) -> Result<UserInfo, AccountsError> {
        let _changing = self.changing.lock();
        let (info, gone) = {
            let directory = self.directory.read();
            let user = directory.users.get(name).ok_or_else(|| AccountsError::unknown("user", &name.name))?;
            let info = directory.user_info(name).ok_or(AccountsError::unknown("user", &name.name))?;
            let mut gone: Vec<_> =
                directory.rooms_of(name).iter().flat_map(|room| directory.with_endpoints(room)).collect();
            gone.push(Kept::User(User::clone(user)));
            (info, gone)
        };
        self.remove(&gone)?;
        Ok(info)
    }

    /// Removes from disk and memory what is given, and tells who watches for endpoints.
    pub(super) fn remove(&self, gone: &[Kept]) -> Result<(), AccountsError> {
        self.apply(&gone.iter().map(Kept::gone).collect::<Vec<_>>())?;
        let mut directory = self.directory.write();
        gone.iter().for_each(|kept| directory.remove(kept));
        drop(directory);
        if gone.iter().any(|kept| matches!(kept, Kept::Endpoint(_))) {
            self.departed();
        }
        Ok(())
    }
}

impl UserKey {
    /// The key itself, and how it came about.
    fn text(&self) -> Result<(String, KeyKind), AccountsError> {
        let chosen = |key: &str, least: usize| {
            if !key.bytes().all(|byte| byte.is_ascii_graphic()) || key.len() > KEY_BYTES {
                return Err(AccountsError::KeyText);
            }
            if key.len() < least {
                return Err(AccountsError::KeyWeak { bytes: key.len(), least });
            }
            Ok((key.to_owned(), KeyKind::Chosen))
        };
        match self {
            Self::Generated => Ok((format!("{PREFIX}{}", codes::random(RANDOM_CHARS)?), KeyKind::Generated)),
            Self::Chosen(key) => chosen(key, WEAK_BYTES),
            Self::Weak(key) => chosen(key, 1),
            Self::Absent => Ok((String::new(), KeyKind::Absent)),
        }
    }
}

impl std::fmt::Debug for UserKey {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str(match self {
            Self::Generated => "Generated",
            Self::Chosen(_) => "Chosen(…)",
            Self::Weak(_) => "Weak(…)",
            Self::Absent => "Absent",
        })
    }
}
