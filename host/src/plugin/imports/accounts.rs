//! `weir:plugin/accounts`: what the router knows of an account, without its secrets. See `wit/accounts.wit`.

use wasmtime::StoreContextMut;
use wasmtime::component::Linker;

use super::interface;
use crate::accounts;
use crate::metrics::Granted;
use crate::plugin::contract::{Account, AccountsError, Attribute};
use crate::plugin::guest::Guest;

/// Links the interface.
pub fn add(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    linker.instance(&interface("accounts"))?.func_wrap(
        "lookup",
        |store: StoreContextMut<'_, Guest>,
         (realm, id): (String, String)|
         -> wasmtime::Result<(Result<Option<Account>, AccountsError>,)> {
            let shared = &store.data().shared;
            if !shared.realms.contains(&realm) && !shared.ungranted.lets_pass(Granted::Accounts, &realm) {
                return Ok((Err(AccountsError::NotGranted),));
            }
            let Some(accounts) = &shared.accounts else {
                return Ok((Err(AccountsError::Unavailable(
                    "there are none while a plugin is checked".into(),
                )),));
            };
            let found = accounts.lookup(&realm, &id);
            Ok((Ok(found.as_deref().map(Account::from)),))
        },
    )
}

impl From<&accounts::Account> for Account {
    fn from(account: &accounts::Account) -> Self {
        let attribute =
            |(name, value): &(String, String)| Attribute { name: name.clone(), value: value.clone() };
        Self {
            realm: account.realm.to_owned(),
            id: account.id.clone(),
            tenant: account.tenant.clone(),
            name: account.name.clone(),
            origin: account.origin.clone(),
            publish: account.publish.clone(),
            subscribe: account.subscribe.clone(),
            expires_us: account.expires_us,
            attributes: account.attributes.iter().map(attribute).collect(),
        }
    }
}
