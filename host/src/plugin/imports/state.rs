//! `weir:plugin/state`: a binding's own key-value space. See `wit/state.wit`.

use wasmtime::StoreContextMut;
use wasmtime::component::Linker;

use super::interface;
use crate::metrics::Limit;
use crate::plugin::contract::{Pair, StateError};
use crate::plugin::guest::{Guest, StateAccess};
use crate::plugin::space::{Space, StateFault, Transaction, Value};
use crate::store::StoreError;

impl From<StateFault> for StateError {
    fn from(fault: StateFault) -> Self {
        match fault {
            StateFault::Quota(bytes) => Self::Quota(bytes),
            StateFault::TooLarge => Self::TooLarge,
            StateFault::ReadOnly => Self::ReadOnly,
            StateFault::NotANumber => Self::NotANumber,
        }
    }
}

impl From<StoreError> for StateError {
    fn from(error: StoreError) -> Self {
        Self::Unavailable(error.to_string())
    }
}

type Answer<T> = wasmtime::Result<(Result<T, StateError>,)>;

/// Links the interface.
pub fn add(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    let mut state = linker.instance(&interface("state"))?;
    state.func_wrap("get", |mut store: StoreContextMut<'_, Guest>, (key,): (Vec<u8>,)| -> Answer<_> {
        Ok((store.data_mut().get(&key),))
    })?;
    state.func_wrap("set", |mut store: StoreContextMut<'_, Guest>, (pair,): (Pair,)| -> Answer<()> {
        let value = Value { bytes: pair.value.into(), expires_us: pair.expires_us };
        Ok((store.data_mut().set(pair.key, Some(value)),))
    })?;
    state.func_wrap("delete", |mut store: StoreContextMut<'_, Guest>, (key,): (Vec<u8>,)| -> Answer<()> {
        Ok((store.data_mut().set(key, None),))
    })?;
    state.func_wrap(
        "increment",
        |mut store: StoreContextMut<'_, Guest>, (key, delta): (Vec<u8>, i64)| -> Answer<i64> {
            Ok((store.data_mut().increment(key, delta),))
        },
    )?;
    state.func_wrap(
        "scan",
        |mut store: StoreContextMut<'_, Guest>,
         (start, end, reverse, limit): (Vec<u8>, Vec<u8>, bool, u32)|
         -> Answer<_> { Ok((store.data_mut().scan(&start, &end, reverse, limit),)) },
    )
}

impl Guest {
    fn get(&mut self, key: &[u8]) -> Result<Option<Vec<u8>>, StateError> {
        match &self.shared.state {
            StateAccess::Space(space) => {
                let value = self.transaction.get(space, key)?;
                settle(self.direct, &mut self.transaction, space);
                Ok(value.map(|value| value.bytes.to_vec()))
            }
            StateAccess::Storage(space) => Ok(space.get(key)?.map(|pair| pair.value)),
        }
    }

    fn set(&mut self, key: Vec<u8>, value: Option<Value>) -> Result<(), StateError> {
        match &self.shared.state {
            StateAccess::Space(space) if self.may_write => {
                let set = self.transaction.set(space, key, value);
                settle(self.direct, &mut self.transaction, space);
                set.map_err(|fault| self.refused(fault))
            }
            _ => Err(StateError::ReadOnly),
        }
    }

    fn increment(&mut self, key: Vec<u8>, delta: i64) -> Result<i64, StateError> {
        match &self.shared.state {
            StateAccess::Space(space) if self.may_write => {
                let sum = self.transaction.increment(space, key, delta);
                settle(self.direct, &mut self.transaction, space);
                sum.map_err(|fault| self.refused(fault))
            }
            _ => Err(StateError::ReadOnly),
        }
    }

    fn refused(&self, fault: StateFault) -> StateError {
        if matches!(fault, StateFault::Quota(_)) {
            self.shared.used.hit(Limit::StateBytes);
        }
        fault.into()
    }

    fn scan(&mut self, start: &[u8], end: &[u8], reverse: bool, limit: u32) -> Result<Vec<Pair>, StateError> {
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        match &self.shared.state {
            StateAccess::Space(space) => {
                let found = self.transaction.scan(space, start, end, reverse, limit);
                settle(self.direct, &mut self.transaction, space);
                let pair = |(key, value): (Vec<u8>, Value)| Pair {
                    key,
                    value: value.bytes.to_vec(),
                    expires_us: value.expires_us,
                };
                Ok(found.into_iter().map(pair).collect())
            }
            StateAccess::Storage(space) => {
                let found = space.scan(start, end, reverse, limit)?;
                Ok(found
                    .into_iter()
                    .map(|p| Pair { key: p.key, value: p.value, expires_us: p.expires_us })
                    .collect())
            }
        }
    }
}

/// Nothing is put off, nor remembered, where nobody else reads or writes.
fn settle(direct: bool, transaction: &mut Transaction, space: &Space) {
    if direct {
        let changes = std::mem::take(transaction).into_changes(true);
        space.lock().apply(changes);
    }
}
