//! `weir:plugin/accounts`: what the router knows of an account, without its secrets. See `wit/accounts.wit`.

use wasmtime::StoreContextMut;
use wasmtime::component::Linker;

use super::interface;
use crate::plugin::contract::{Account, AccountsError};
use crate::plugin::guest::Guest;

/// Links the interface.
pub fn add(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    linker.instance(&interface("accounts"))?.func_wrap(
        "lookup",
        |store: StoreContextMut<'_, Guest>,
         (realm, id): (String, String)|
         -> wasmtime::Result<(Result<Option<Account>, AccountsError>,)> {
            let shared = &store.data().shared;
            if !shared.realms.contains(&realm) {
                return Ok((Err(AccountsError::NotGranted),));
            }
            Ok((Ok(shared.accounts.lookup(&realm, &id)),))
        },
    )
}
