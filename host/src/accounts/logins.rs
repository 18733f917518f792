//! Logins: names with passwords, for clients that have no room for a key. Proving, making, changing and deleting them.

use std::collections::HashMap;
use std::sync::Arc;

use super::kept::KeptError;
use super::login::{Login, LoginInfo, LoginPassword};
use super::{Account, Accounts, AccountsError, NewKey, key, password};
use crate::message::now_us;

/// The realm of logins.
pub const LOGINS: &str = "logins";

/// What the id of a login's account begins with, which no key's does.
const ID_PREFIX: &str = "login:";

/// What is said to sessions whose login was deleted, or has another password.
pub const LOGIN_CHANGED: &str = "login changed";

/// Whether this is the id of a login's account.
pub fn is_login(account: &str) -> bool {
    account.starts_with(ID_PREFIX)
}

/// All logins in memory.
#[derive(Debug, Default)]
pub(super) struct Logins {
    by_name: HashMap<String, Login>,
    /// Names by the ids of accounts.
    ids: HashMap<String, String>,
}

impl Logins {
    /// Whether a record of this name is one of these.
    pub(super) fn is_name(name: &[u8]) -> bool {
        name.starts_with(b"logins/")
    }

    pub(super) fn load(&mut self, name: &[u8], value: &[u8]) -> Result<(), KeptError> {
        self.insert(Login::decode(name, value)?);
        Ok(())
    }

    fn insert(&mut self, login: Login) {
        let (name, id) = (login.account.name.clone(), login.account.id.clone());
        if let Some(before) = self.by_name.insert(name.clone(), login) {
            self.ids.remove(&before.account.id);
        }
        self.ids.insert(id, name);
    }

    fn remove(&mut self, name: &str) {
        if let Some(gone) = self.by_name.remove(name) {
            self.ids.remove(&gone.account.id);
        }
    }

    pub(super) fn of_id(&self, id: &str, now_us: u64) -> Option<Arc<Account>> {
        let account = &self.by_name.get(self.ids.get(id)?)?.account;
        is_valid(account, now_us).then(|| Arc::clone(account))
    }

    /// How many logins of a tenant work.
    pub(super) fn of_tenant(&self, tenant: &str, now_us: u64) -> usize {
        let accounts = self.by_name.values().map(|login| &login.account);
        accounts.filter(|account| account.tenant == tenant && is_valid(account, now_us)).count()
    }
}

fn is_valid(account: &Account, now_us: u64) -> bool {
    account.expires_us.is_none_or(|end| now_us < end)
}

impl Accounts {
    /// Whether there is any login: else no password proves anything, and none need be looked at.
    pub fn has_logins(&self) -> bool {
        !self.logins.read().by_name.is_empty()
    }

    /// The account that a name and its password prove. Takes some 20 ms of a processor, whether the name is unknown or the
    /// password wrong, so not for the thread of an async task.
    pub fn prove_login(&self, name: &str, presented: &[u8]) -> Option<Arc<Account>> {
        let known = self.logins.read().by_name.get(name).map(|login| {
            let Login { account, hash, .. } = login;
            (Arc::clone(account), Arc::clone(hash))
        });
        let hash = known.as_ref().map_or(password::NOBODY, |(_, hash)| &**hash);
        let right = password::verify(presented, hash);
        known.map(|(account, _)| account).filter(|account| right && is_valid(account, now_us()))
    }

    /// The account of this name, for who has proven otherwise to be it.
    pub fn login(&self, name: &str) -> Option<Arc<Account>> {
        let logins = self.logins.read();
        let account = logins.by_name.get(name).map(|login| &login.account);
        account.filter(|account| is_valid(account, now_us())).map(Arc::clone)
    }

    /// Makes a login, of what a key may be; its name is unique among all tenants. The text is its password, to be shown
    /// once and kept nowhere. Blocks until it is on disk.
    pub fn create_login(
        &self,
        new: NewKey,
        password: LoginPassword,
    ) -> Result<(String, LoginInfo), AccountsError> {
        let now = now_us();
        new.check(now)?;
        let text = password.text()?;
        // Slow, so before anybody waits for it.
        let hash = password::hash(&text)?.into();
        let _changing = self.changing.lock();
        if !self.has_tenant(new.tenant()) {
            return Err(AccountsError::unknown("tenant", new.tenant()));
        }
        {
            let logins = self.logins.read();
            if logins.by_name.contains_key(&new.name) {
                return Err(AccountsError::Exists { what: "login", name: new.name });
            }
            let most = self.limits.logins;
            if logins.by_name.len() >= most {
                return Err(AccountsError::Limit { what: "logins", most, setting: "accounts.logins" });
            }
        }
        let account = Account { realm: LOGINS, ..new.into_account(fresh_id()?, now) };
        let login = Login { account: Arc::new(account), changed_us: now, hash };
        Ok((text, self.keep_login(login)?))
    }

    /// Gives a login another password; the one before does not work any more, and its account has another id, so
    /// that nothing rests on it. Who calls this closes those sessions. Blocks until it is on disk.
    pub fn change_login(
        &self,
        name: &str,
        password: LoginPassword,
    ) -> Result<(String, LoginInfo), AccountsError> {
        let text = password.text()?;
        let hash = password::hash(&text)?.into();
        let _changing = self.changing.lock();
        let account = self.logins.read().by_name.get(name).map(|login| Account::clone(&login.account));
        let account = account.ok_or_else(|| AccountsError::unknown("login", name))?;
        let account = Arc::new(Account { id: fresh_id()?, ..account });
        let login = Login { account, changed_us: now_us(), hash };
        Ok((text, self.keep_login(login)?))
    }

    fn keep_login(&self, login: Login) -> Result<LoginInfo, AccountsError> {
        self.apply(&[login.kept()?])?;
        let info = login.info();
        self.logins.write().insert(login);
        self.changed();
        Ok(info)
    }

    /// All logins, by name.
    pub fn logins(&self) -> Vec<LoginInfo> {
        let mut all: Vec<_> = self.logins.read().by_name.values().map(Login::info).collect();
        all.sort_by(|a, b| a.name.cmp(&b.name));
        all
    }

    /// The id of a login's account; it changes with the password. None: there is no such login.
    pub fn login_account(&self, name: &str) -> Option<String> {
        self.logins.read().by_name.get(name).map(|login| login.account.id.clone())
    }

    /// Deletes a login. Who calls this closes the sessions of its account. Blocks until it is on disk.
    pub fn delete_login(&self, name: &str) -> Result<LoginInfo, AccountsError> {
        let _changing = self.changing.lock();
        let info = self.logins.read().by_name.get(name).map(Login::info);
        let info = info.ok_or_else(|| AccountsError::unknown("login", name))?;
        self.apply(&[(Login::place(name), None)])?;
        self.logins.write().remove(name);
        self.changed();
        Ok(info)
    }
}

fn fresh_id() -> Result<String, AccountsError> {
    // 50 bits beside those of a few others.
    key::random().map(|(id, _)| format!("{ID_PREFIX}{id}"))
}
