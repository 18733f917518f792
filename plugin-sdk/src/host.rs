//! The one way to the host's functions: the component's imports in a plugin, the fake that
//! `testing::Host` installs everywhere else.

#[cfg(not(target_family = "wasm"))]
pub(crate) use crate::testing::fake::{get, increment, log, lookup, scan, set, threshold};

#[cfg(target_family = "wasm")]
pub(crate) use component::{get, increment, log, lookup, scan, set, threshold};

/// What a key is set to: a value, with the time when it goes, or nothing.
pub(crate) type Value<'a> = Option<(&'a [u8], Option<u64>)>;

#[cfg(target_family = "wasm")]
mod component {
    use super::Value;
    use crate::accounts::AccountsError;
    use crate::bindings::imports::weir::plugin::{accounts, logging, state, types};
    use crate::state::{Pair, StateError};
    use crate::{Account, Level, Range};

    pub(crate) fn get(key: &[u8]) -> Result<Option<Vec<u8>>, StateError> {
        Ok(state::get(key)?)
    }

    pub(crate) fn set(key: &[u8], value: Value<'_>) -> Result<(), StateError> {
        let Some((value, expires_us)) = value else { return Ok(state::delete(key)?) };
        Ok(state::set(&state::Pair { key: key.to_vec(), value: value.to_vec(), expires_us })?)
    }

    pub(crate) fn increment(key: &[u8], delta: i64) -> Result<i64, StateError> {
        Ok(state::increment(key, delta)?)
    }

    pub(crate) fn scan(range: &Range, limit: u32) -> Result<Vec<Pair>, StateError> {
        let pairs = state::scan(&range.start, &range.end, range.reverse, limit)?;
        Ok(pairs.into_iter().map(|pair| (pair.key, pair.value)).collect())
    }

    pub(crate) fn lookup(realm: &str, id: &str) -> Result<Option<Account>, AccountsError> {
        Ok(accounts::lookup(realm, id)?)
    }

    pub(crate) fn threshold() -> Level {
        match logging::threshold() {
            logging::Level::Trace => Level::Trace,
            logging::Level::Debug => Level::Debug,
            logging::Level::Info => Level::Info,
            logging::Level::Warn => Level::Warn,
            logging::Level::Error => Level::Error,
        }
    }

    pub(crate) fn log(level: Level, text: &str, fields: &[types::Attribute]) {
        let level = match level {
            Level::Trace => logging::Level::Trace,
            Level::Debug => logging::Level::Debug,
            Level::Info => logging::Level::Info,
            Level::Warn => logging::Level::Warn,
            Level::Error => logging::Level::Error,
        };
        logging::log(level, text, fields);
    }
}
