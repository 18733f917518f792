//! Users of tenta, and their access tokens. A token has 256 random bits; kept is its SHA-512, as the original keeps it. It
//! never expires; a user's oldest goes when there would be too many.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha512};

use super::kept::Kept;
use super::{Id, Tenta, limit, taken};
use crate::accounts::AccountsError;
use crate::message::now_us;

/// A user.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Person {
    /// Unique in all.
    pub id: Id,
    /// An existing tenant.
    pub tenant: String,
    /// Unique in the tenant.
    pub name: String,
    /// Of the password, in the PHC string format: see [`password`](crate::accounts::password).
    pub hash: String,
    /// Unix microseconds.
    pub created_us: u64,
}

impl fmt::Debug for Person {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Person").field("id", &self.id).field("name", &self.name).finish_non_exhaustive()
    }
}

/// SHA-512 of an access token, written as 128 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Hash([u8; 64]);

impl Hash {
    /// Of a token as it is presented.
    pub fn of(token: &[u8]) -> Self {
        Self(Sha512::digest(token).into())
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(out, "{byte:02x}"))
    }
}

impl From<Hash> for String {
    fn from(hash: Hash) -> Self {
        hash.to_string()
    }
}

impl TryFrom<String> for Hash {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let wrong = "a hash of a token is not 128 hexadecimal digits";
        let mut bytes = [0; 64];
        if text.len() != 128 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(wrong);
        }
        for (at, byte) in bytes.iter_mut().enumerate() {
            let digits = text.get(2 * at..2 * at + 2).ok_or(wrong)?;
            *byte = u8::from_str_radix(digits, 16).map_err(|_| wrong)?;
        }
        Ok(Self(bytes))
    }
}

/// An access token, of which the hash alone is known.
#[derive(Clone, Serialize, Deserialize)]
pub struct Token {
    /// What finds it.
    pub hash: Hash,
    /// Whose it is.
    pub user: Id,
    /// Unix microseconds.
    pub created_us: u64,
}

impl fmt::Debug for Token {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Token").field("user", &self.user).finish_non_exhaustive()
    }
}

impl Tenta<'_> {
    /// Makes a user with a first access token, which is shown this once. Blocks until it is on disk. The hash is made
    /// before, where that may take its time.
    pub fn create_person(
        &self,
        tenant: &str,
        name: &str,
        hash: String,
    ) -> Result<(Id, String), AccountsError> {
        let (token, token_hash) = random()?;
        let _changing = self.0.changing.lock();
        let id = Id::random()?;
        let now = now_us();
        let person = Person { id, tenant: tenant.into(), name: name.into(), hash, created_us: now };
        self.room_for_person(&person)?;
        let token_kept = Token { hash: token_hash, user: id, created_us: now };
        self.keep(vec![Kept::Person(person), Kept::Token(token_kept)])?;
        Ok((id, token))
    }

    fn room_for_person(&self, person: &Person) -> Result<(), AccountsError> {
        self.tenant(&person.tenant)?;
        let directory = self.0.tenta.directory.read();
        if directory.person_named(&person.tenant, &person.name).is_some_and(|other| other.id != person.id) {
            return Err(taken("user", &person.name));
        }
        if directory.person(person.id).is_none() {
            let most = self.0.limits.tenta_users;
            limit(directory.person_count(), most, "users of tenta", "accounts.tenta_users")?;
        }
        Ok(())
    }

    /// Keeps a user that was made elsewhere; one of this identifier is replaced. Blocks until it is on disk.
    pub fn put_person(&self, person: Person) -> Result<(), AccountsError> {
        let _changing = self.0.changing.lock();
        self.room_for_person(&person)?;
        if self.person(person.id).is_some_and(|before| before.tenant != person.tenant) {
            return Err(taken("user of another tenant", &person.name));
        }
        self.keep(vec![Kept::Person(person)])
    }

    /// Gives a user another access token, which is shown this once. Blocks until it is on disk.
    pub fn create_token(&self, user: Id) -> Result<String, AccountsError> {
        let (token, hash) = random()?;
        self.put_token(Token { hash, user, created_us: now_us() })?;
        Ok(token)
    }

    /// Keeps a token that was made elsewhere. The oldest go, as far as there are too many. Blocks until it is on disk.
    pub fn put_token(&self, token: Token) -> Result<(), AccountsError> {
        let _changing = self.0.changing.lock();
        let (old, other) = {
            let directory = self.0.tenta.directory.read();
            if directory.person(token.user).is_none() {
                return Err(AccountsError::unknown("user", &token.user.to_string()));
            }
            let other = directory.person_of_token(&token.hash).filter(|other| other.id != token.user);
            let all: Vec<_> = directory.tokens_of(token.user).collect();
            // The same token again, maybe of another time, is no further one.
            let (same, mut old): (Vec<_>, Vec<_>) =
                all.into_iter().partition(|(_, hash)| *hash == token.hash);
            old.truncate((old.len() + 1).saturating_sub(self.0.limits.tenta_tokens_per_user));
            ([same, old].concat(), other)
        };
        if other.is_some() {
            return Err(taken("access token of another user", ""));
        }
        let gone = |(created_us, hash)| Kept::Token(Token { hash, user: token.user, created_us });
        let old: Vec<_> = old.into_iter().map(gone).collect();
        let mut changes: Vec<_> = old.iter().map(Kept::gone).collect();
        changes.push(Kept::Token(token.clone()).set()?);
        self.0.apply(&changes)?;
        let mut directory = self.0.tenta.directory.write();
        old.iter().for_each(|kept| directory.remove(kept));
        directory.insert(Kept::Token(token));
        Ok(())
    }

    /// The user whose access token this is.
    pub fn person_of_token(&self, presented: &[u8]) -> Option<Arc<Person>> {
        self.0.tenta.directory.read().person_of_token(&Hash::of(presented))
    }

    /// The user of this identifier.
    pub fn person(&self, id: Id) -> Option<Arc<Person>> {
        self.0.tenta.directory.read().person(id)
    }

    /// The user of this name.
    pub fn person_named(&self, tenant: &str, name: &str) -> Option<Arc<Person>> {
        self.0.tenta.directory.read().person_named(tenant, name)
    }

    /// All users of a tenant, by name.
    pub fn people(&self, tenant: &str) -> Vec<Arc<Person>> {
        self.0.tenta.directory.read().people_of_tenant(tenant)
    }

    /// Deletes a user with its tokens and memberships, in one step. Networks stay. Blocks until it is on disk.
    pub fn delete_person(&self, tenant: &str, name: &str) -> Result<Arc<Person>, AccountsError> {
        let _changing = self.0.changing.lock();
        let (person, mut gone) = {
            let directory = self.0.tenta.directory.read();
            let person = directory.person_named(tenant, name);
            let person = person.ok_or_else(|| AccountsError::unknown("user", name))?;
            let token = |(created_us, hash)| Kept::Token(Token { hash, user: person.id, created_us });
            let mut gone: Vec<_> = directory.tokens_of(person.id).map(token).collect();
            let member = |network: Arc<super::Network>| network.member(person.id);
            gone.extend(directory.networks_of(person.id).into_iter().map(member));
            (person, gone)
        };
        gone.push(Kept::Person(Person::clone(&person)));
        self.forget(&gone)?;
        Ok(person)
    }
}

/// 64 hexadecimal digits, and what is kept of them.
fn random() -> Result<(String, Hash), AccountsError> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).map_err(AccountsError::Random)?;
    let token: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    let hash = Hash::of(token.as_bytes());
    Ok((token, hash))
}
