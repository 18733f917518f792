//! Tenants: whoever belongs to one stays within the topics whose first level is its name. `main` is the
//! operator's own, always there, and stays nowhere. What a tenant published outlives it, in logs, retained messages,
//! consumers and the state of plugins: so the name of a deleted one is kept, and no other tenant has it by accident.

use serde::{Deserialize, Serialize};

use super::kept::Kept;
use super::{Accounts, AccountsError};
use crate::message::now_us;

/// The tenant that is always there.
pub const MAIN: &str = "main";

/// First levels of topics that gateways use for `main`: a tenant of such a name would own them.
const TAKEN: [&str; 10] = [
    MAIN,
    "events",
    "paikea",
    "rooms",
    "chat",
    "ganomics",
    "measurements",
    "logs",
    "acknowledgments",
    "configurations",
];

/// Longest name, in bytes.
const NAME_BYTES: usize = 63;

/// A tenant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tenant {
    /// One topic level.
    pub name: String,
    /// Unix microseconds; 0 of `main`.
    pub created_us: u64,
    /// Unix microseconds; none = it is there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deleted_us: Option<u64>,
}

impl Accounts {
    /// Makes a tenant of a name that no tenant has ever had. Blocks until it is on disk.
    pub fn create_tenant(&self, name: &str) -> Result<Tenant, AccountsError> {
        self.make_tenant(name, false)
    }

    /// The same, also where a deleted tenant had the name: the new one finds what is kept of it.
    pub fn create_tenant_again(&self, name: &str) -> Result<Tenant, AccountsError> {
        self.make_tenant(name, true)
    }

    fn make_tenant(&self, name: &str, again: bool) -> Result<Tenant, AccountsError> {
        let letter = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        let plain = name.bytes().all(letter) && !name.starts_with('-');
        if !(1..=NAME_BYTES).contains(&name.len()) || !plain || TAKEN.contains(&name) {
            return Err(AccountsError::TenantName(name.to_owned(), TAKEN.join(", ")));
        }
        let _changing = self.changing.lock();
        let most = self.limits.tenants;
        {
            let directory = self.directory.read();
            if directory.tenants.contains_key(name) {
                return Err(AccountsError::Exists { what: "tenant", name: name.to_owned() });
            }
            let before = directory.deleted_tenants.get(name);
            if let Some(at) = before.and_then(|before| before.deleted_us).filter(|_| !again) {
                let at = weir_contract::time::rfc3339(at);
                return Err(AccountsError::TenantNameKept { name: name.to_owned(), at });
            }
            if directory.tenants.len() + directory.deleted_tenants.len() - usize::from(before.is_some())
                >= most
            {
                return Err(AccountsError::Limit { what: "tenants", most, setting: "accounts.tenants" });
            }
        }
        let tenant = Tenant { name: name.to_owned(), created_us: now_us(), deleted_us: None };
        let kept = Kept::Tenant(tenant.clone());
        self.apply(&[kept.set()?])?;
        self.directory.write().insert(kept).map_err(AccountsError::Orphan)?;
        self.changed();
        Ok(tenant)
    }

    /// All tenants that there are, by name, `main` first.
    pub fn tenants(&self) -> Vec<Tenant> {
        let main = Tenant { name: MAIN.into(), created_us: 0, deleted_us: None };
        std::iter::once(main).chain(self.directory.read().tenants.values().cloned()).collect()
    }

    /// Whether there is such a tenant.
    pub fn has_tenant(&self, name: &str) -> bool {
        name == MAIN || self.directory.read().tenants.contains_key(name)
    }

    /// Deletes a tenant that no working key or login, no user and no network belongs to; its name is kept. Whoever calls this
    /// ends the sessions that it has by other means. Blocks until it is on disk.
    pub fn delete_tenant(&self, name: &str) -> Result<Tenant, AccountsError> {
        if name == MAIN {
            return Err(AccountsError::TenantMain);
        }
        let _changing = self.changing.lock();
        let tenant = self.directory.read().tenants.get(name).cloned();
        let tenant = tenant.ok_or_else(|| AccountsError::unknown("tenant", name))?;
        let now = now_us();
        let keys = self.keys.read();
        let keys = keys.values().filter(|e| e.account.tenant == name && e.is_valid(now)).count();
        let logins = self.logins.read().of_tenant(name, now);
        let (users, rooms) = self.directory.read().belongings(name);
        let (people, networks) = self.tenta.directory.read().belongings(name);
        let users = users + people;
        if keys + logins + users + networks > 0 {
            let name = name.to_owned();
            return Err(AccountsError::TenantInUse { name, keys, logins, users, rooms, networks });
        }
        let tenant = Tenant { deleted_us: Some(now), ..tenant };
        let kept = Kept::Tenant(tenant.clone());
        self.apply(&[kept.set()?])?;
        self.directory.write().insert(kept).map_err(AccountsError::Orphan)?;
        self.changed();
        Ok(tenant)
    }
}
